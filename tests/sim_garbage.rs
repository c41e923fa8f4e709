//! Whatever arrives, the simulator answers, and with no 500.

#![cfg(all(feature = "sim", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod sim_support;

use intune_connector::adapters::http::{HttpMethod, HttpRequest};
use intune_connector::secret::SecretBytes;
use intune_connector::sim::SimOutcome;
use proptest::prelude::*;
use sim_support::{GRAPH_SCOPE, INTUNE_SCOPE, Lab};

const SCEP: &str = "msub01/RACerts/ScepRequestValidationFEService/Gateway/StatelessScepRequestValidationService/ScepActions";
const REVOCATION: &str = "msub01/RACerts/StatelessPkiConnectorService/Gateway/StatelessPkiConnectorService/CertificateAuthorityRequests";

fn path() -> impl Strategy<Value = String> {
    let known = [
        format!("{SCEP}/validateRequest"),
        format!("{SCEP}/successNotification"),
        format!("{SCEP}/failureNotification"),
        format!("{REVOCATION}/downloadRevocationRequests"),
        format!("{REVOCATION}/uploadRevocationResults"),
        "TENANT/oauth2/v2.0/token".to_owned(),
        "TENANT/oauth2/token".to_owned(),
        "beta/deviceManagement/userPfxCertificates".to_owned(),
        "beta/deviceManagement/userPfxCertificates('a')".to_owned(),
        "beta/users".to_owned(),
        "control/v1/challenges".to_owned(),
        "control/v1/faults".to_owned(),
        "control/v1/revocations".to_owned(),
        "open-queue/v1/items".to_owned(),
    ];
    let query = prop_oneof![Just(String::new()), "[?&=%'$a-z()\u{e9} ]{0,40}".prop_map(|query| format!("?$filter={query}"))];
    (prop_oneof![4 => proptest::sample::select(known.to_vec()), 1 => "[a-z/%'().?#:@\\[\\]]{0,60}"], query)
        .prop_map(|(path, query)| path + &query)
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let members = "(request|notification|downloadParameters|results|transactionId|certificateRequest|hResult|maxRequests|requestContext|succeeded|errorCode|expected|subject|thumbprint|userPrincipalName)";
    let value = r#"("[a-zA-Z0-9+/= ]{0,20}"|-?[0-9]{1,22}|null|true|\[\]|\{\})"#;
    let object = format!(r#"\{{"{members}":\{{("{members}":{value},){{0,4}}"{members}":{value}\}}\}}"#);
    let form =
        "(grant_type=client_credentials|client_id=x|client_secret=%|client_assertion=a.b.c|scope=x)(&[a-z_]{1,20}=[a-z%/.:]{0,20}){0,5}";
    prop_oneof![
        proptest::string::string_regex(&object).unwrap().prop_map(String::into_bytes),
        proptest::string::string_regex(form).unwrap().prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..200),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_request_has_an_answer(method in 0..4_usize, path in path(), body in body(), token in 0..4_usize, typed in 0..3_usize) {
        thread_local!(static LAB: (Lab, [String; 2]) = {
            let lab = Lab::new();
            let tokens = [lab.token(INTUNE_SCOPE), lab.token(GRAPH_SCOPE)];
            (lab, tokens)
        });
        LAB.with(|(lab, tokens)| {
            let method = [HttpMethod::Get, HttpMethod::Post, HttpMethod::Patch, HttpMethod::Delete][method];
            let url = format!("{}/{}", lab.base, path.replace("TENANT", lab.intune.tenant_id()));
            let mut request = HttpRequest::new(method, url).with_header("api-version", "2018-02-20").with_header("x-control-key", lab.intune.control_key());
            if let Some(token) = tokens.get(token) {
                request = request.with_bearer(token);
            }
            let media_type = ["application/json", "application/x-www-form-urlencoded", "text/plain"][typed];
            request = request.with_body(media_type, SecretBytes::new(body));
            if let SimOutcome::Respond(answer) = lab.intune.answer(&request).outcome {
                prop_assert!(answer.status != 500, "{}", String::from_utf8_lossy(answer.body.secret_bytes()));
            }
            Ok(())
        })?;
    }
}
