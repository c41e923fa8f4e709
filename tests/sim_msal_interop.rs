//! Microsoft's MSAL for Python as the simulator's client, by secret and by certificate, through a proxy that adds TLS.

#![cfg(all(feature = "sim", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod sim_support;
mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::FutureExt as _;
use intune_connector::adapters::TokioRuntime;
use intune_connector::adapters::http::{HttpMethod, HttpRequest};
use intune_connector::sim::{Endpoint, SimOutcome, SimulatedIntune};
use serde_json::{Value, json};
use sim_support::{post, provider};

/// The status that Intune's SCEP service gives to an empty call with that token: 400 when the token opens it, 401 otherwise.
fn knock(intune: &SimulatedIntune, token: &str) -> u16 {
    let base = intune.cloud().graph;
    let scep = format!("{base}/msub01/RACerts/ScepRequestValidationFEService/Gateway/StatelessScepRequestValidationService");
    status(intune, &post(&format!("{scep}/ScepActions/validateRequest"), token, "2018-02-20", &json!({})))
}

fn status(intune: &SimulatedIntune, request: &HttpRequest) -> u16 {
    match intune.answer(request).outcome {
        SimOutcome::Respond(response) => response.status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn msal_gets_tokens_by_secret_and_by_certificate_and_reads_what_is_refused() {
    let Some(python) = support::python_msal() else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sim_support/msal_client.py");
    let mut client = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
    let mut line = move || serde_json::from_str::<Value>(&lines.next().expect("the script ended early").unwrap()).unwrap();
    let ready = line();

    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let runtime = Arc::new(TokioRuntime::new(tokio.handle().clone(), 4));
    let base = format!("https://localhost:{}", ready["port"]);
    let intune = SimulatedIntune::builder(provider(), runtime).base_url(base.as_str()).build().unwrap();
    let certificate = BASE64_STANDARD.decode(ready["certificate"].as_str().unwrap()).unwrap();
    intune.register_certificate(&certificate).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = intune.listen(listener).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = thread::spawn(move || tokio.block_on(server.run(stopped.map(|_| ()))).unwrap());

    let told = json!({
        "port": port, "authority": format!("{base}/{}", intune.tenant_id()), "clientId": intune.client_id(),
        "clientSecret": intune.client_secret(),
    });
    writeln!(client.stdin.take().unwrap(), "{told}").unwrap();
    let got = line();
    assert!(client.wait().unwrap().success());
    drop(stop);
    serving.join().unwrap();

    let token = |name: &str, number: usize| {
        let answer = &got[name][number];
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{name}: {answer}")).to_owned()
    };
    for (name, number) in [("secret", 0), ("certificate", 0), ("thumbprint", 0)] {
        assert_eq!(knock(&intune, &token(name, number)), 400, "{name}");
    }
    let graph = token("secret", 1);
    assert_eq!(knock(&intune, &graph), 401);
    let discovery = format!("{base}/v1.0/servicePrincipals/appId={}/endpoints", sim_support::INTUNE_APP);
    assert_eq!(status(&intune, &HttpRequest::new(HttpMethod::Get, discovery).with_bearer(&graph)), 200);
    // MSAL keeps what it understood.
    assert_eq!((token("secret", 2), &got["secret"][2]["token_source"]), (token("secret", 0), &json!("cache")));
    assert_eq!(got["wrongSecret"][0]["error_codes"], json!([7_000_215]));
    assert_eq!(got["oneSlash"][0]["error_codes"], json!([500_011]));
    let tokens = intune.arrivals().iter().filter(|arrival| arrival.endpoint == Endpoint::Token).count();
    assert_eq!(tokens, 6);
}
