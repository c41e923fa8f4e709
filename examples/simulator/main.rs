//! A simulated Intune over HTTP on a loopback address, to develop against: tokens, discovery, SCEP validation, revocation, Graph.
//!
//! `cargo run --features sim --example simulator -- --listen 127.0.0.1:8080 --seed 7 --faults mild`
//!
//! Prints one line of JSON with addresses, ids and secrets, all made at this start, and serves until Ctrl-C or SIGTERM.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program talks to its user")]

mod arguments;

use std::error::Error;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;

use intune_connector::adapters::TokioRuntime;
use intune_connector::crypto::CryptoProvider;
use intune_connector::sim::{SimServer, SimulatedIntune};
use serde_json::{Value, json};

use crate::arguments::{Arguments, Command};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match arguments::parse(std::env::args().skip(1)) {
        Ok(Command::Serve(arguments)) => arguments,
        Ok(Command::Help) => {
            print!("{}", arguments::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprint!("simulator: {wrong}\n\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simulator: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let runtime = Arc::new(TokioRuntime::new(tokio::runtime::Handle::current(), 64));
    let mut builder = SimulatedIntune::builder(CryptoProvider::aws_lc_rs(), runtime)
        .seed(arguments.seed)
        .faults(arguments.faults)
        .record_bodies(arguments.record_bodies);
    if let Some(base) = arguments.base_url {
        builder = builder.base_url(base);
    }
    let intune = builder.build()?;
    for user in &arguments.users {
        intune.add_user(user)?;
    }
    // Before the line is printed, so that whoever reads it can end the program in good order.
    let stop = stop();
    let server = intune.listen(TcpListener::bind(arguments.listen)?)?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", description(&intune, &server))?;
    stdout.flush()?;
    server.run(stop).await?;
    Ok(())
}

/// All that a client needs.
fn description(intune: &SimulatedIntune, server: &SimServer) -> Value {
    let (cloud, base, tenant) = (intune.cloud(), server.base_url(), intune.tenant_id());
    json!({
        "authority": cloud.authority,
        "tokenEndpoint": format!("{}{tenant}/oauth2/v2.0/token", cloud.authority),
        "graph": cloud.graph,
        "tenant": tenant,
        "domain": intune.domain(),
        "clientId": intune.client_id(),
        "clientSecret": intune.client_secret(),
        "graphScope": cloud.graph_scope,
        "intuneScope": cloud.intune_scope,
        "openQueue": format!("{base}/open-queue/v1"),
        "openQueueToken": intune.open_queue_token(),
        "control": format!("{base}/control/v1"),
        "controlKey": intune.control_key(),
    })
}

/// Ready at Ctrl-C or SIGTERM, whose handlers are in place when this returns.
fn stop() -> impl Future<Output = ()> {
    #[cfg(unix)]
    let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    #[cfg(unix)]
    let interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
    async move {
        #[cfg(unix)]
        if let (Ok(mut terminate), Ok(mut interrupt)) = (terminate, interrupt) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            return;
        }
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
