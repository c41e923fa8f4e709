//! What this crate's clients send over real sockets, beside what Microsoft's reference library sent for the same data.
//!
//! Its Java library was run against the simulator (docs/simulator.md, *Other clients*); [`reference`] is what arrived, written down by hand.

#![cfg(all(feature = "sim", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod sim_support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::FutureExt as _;
use intune_connector::adapters::entra::{ClientCredentials, Credential};
use intune_connector::adapters::http::{HttpClient, HttpTransport, ProxySetting, TrustAnchors};
use intune_connector::adapters::intune::{ErrorCodeForm, IntuneOnline, IntuneRevocations, IntuneScep, ProviderName};
use intune_connector::adapters::{StdRuntime, TokioRuntime, VolatileJournal};
use intune_connector::ids::{SerialNumber, Thumbprint, TransactionId};
use intune_connector::ports::{
    ChallengeValidator as _, CompleteRequest, FailureNotification, IntuneQueue as _, Outcome, ReceiveRequest, ResultItem, RevocationError,
    RevokeResult, ScepNotifier as _, SuccessNotification, ValidateRequest, Verdict,
};
use intune_connector::secret::Password;
use intune_connector::sim::{Endpoint, ExpectedCsr, RevocationRequest, SimulatedIntune};
use intune_connector::terms::{Flow, KeyAlgorithm};
use intune_connector::time::Timestamp;
use rustls_pki_types::CertificateSigningRequestDer;
use serde_json::{Value, json};
use sim_support::{Device, provider, upn};

const NAME: &str = "Contoso-SCEP/2.1";

/// A body of Microsoft's Java library. `null` stands where it leaves a member out and its C# library writes null.
fn reference(endpoint: Endpoint, csr: &str, contexts: &[String]) -> Value {
    match endpoint {
        Endpoint::ValidateRequest => json!({ "request": { "transactionId": "T-1", "certificateRequest": csr, "callerInfo": NAME } }),
        Endpoint::SuccessNotification => json!({ "notification": {
            "transactionId": "T-1", "certificateRequest": csr, "certificateThumbprint": "AB".repeat(20), "certificateSerialNumber": "01AB",
            "certificateExpirationDateUtc": "2027-06-11T16:11:20.000Z", "issuingCertificateAuthority": "Contoso CA", "callerInfo": NAME,
            "caConfiguration": null, "certificateAuthority": null } }),
        Endpoint::FailureNotification => json!({ "notification": {
            "transactionId": "T-1", "certificateRequest": csr, "hResult": -2_147_418_113, "errorDescription": "the CA is down",
            "callerInfo": NAME } }),
        Endpoint::DownloadRevocationRequests => json!({ "downloadParameters": { "maxRequests": 10, "issuerName": null } }),
        Endpoint::UploadRevocationResults => json!({ "results": [
            { "requestContext": contexts[0], "succeeded": true, "errorCode": "0", "errorMessage": null },
            { "requestContext": contexts[1], "succeeded": false, "errorCode": "4004", "errorMessage": "no such certificate" } ] }),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_crates_clients_send_what_microsofts_library_sends() {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let served = Arc::new(TokioRuntime::new(tokio.handle().clone(), 4));
    let intune = SimulatedIntune::builder(provider(), served).record_bodies(true).build().unwrap();
    let server = intune.listen(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = thread::spawn(move || tokio.block_on(server.run(stopped.map(|_| ()))).unwrap());

    let runtime = Arc::new(StdRuntime::new().unwrap());
    let client = HttpClient::builder().proxy(ProxySetting::Direct).trust(TrustAnchors::Only(Vec::new())).build().unwrap();
    let transport: Arc<dyn HttpTransport> = Arc::new(client);
    let (cloud, name) = (intune.cloud(), NAME.parse::<ProviderName>().unwrap());
    let tokens = ClientCredentials::builder(
        intune.tenant_id(),
        intune.client_id(),
        Credential::client_secret(Password::from(intune.client_secret())),
    )
    .authority(&cloud.authority)
    .dangerous_plain_http_on_loopback(true)
    .build(transport.clone(), runtime.clone(), provider())
    .unwrap();
    let online = IntuneOnline::builder(intune.tenant_id(), Arc::new(tokens), transport, runtime.clone(), provider());
    let online = Arc::new(online.cloud(cloud).provider_name(name.clone()).build().unwrap());
    let scep = IntuneScep::new(online.clone()).with_provider_name(name);

    let issued = intune.issue_challenge(&ExpectedCsr::new("CN=Jane,O=Contoso").with_subject_alt_names([upn()])).unwrap();
    let csr = CertificateSigningRequestDer::from(Device::new(KeyAlgorithm::EcP256).csr(issued.challenge.secret_str()));
    let transaction = TransactionId::try_from(b"T-1".to_vec()).unwrap();
    let verdict = runtime.block_on(scep.validate(ValidateRequest::new(&csr, &transaction))).unwrap();
    assert!(matches!(verdict, Verdict::Accepted(_)));
    let success = SuccessNotification::new(
        &transaction,
        &csr,
        Thumbprint::new([0xab; 20]),
        SerialNumber::from_be_bytes(&[1, 0xab]).unwrap(),
        Timestamp::from_secs(1_812_730_280),
        "Contoso CA".to_owned(),
    );
    runtime.block_on(scep.success(success)).unwrap();
    runtime.block_on(scep.failure(FailureNotification::new(&transaction, &csr, -2_147_418_113, "the CA is down"))).unwrap();

    for serial in ["01AB", "01AC"] {
        intune.enqueue_revocation(RevocationRequest::new(serial).with_issuer_name("Contoso CA")).unwrap();
    }
    let journal = Arc::new(VolatileJournal::new());
    let queue = IntuneRevocations::builder(online, journal, "contoso.example".parse().unwrap(), runtime.clone(), provider());
    let queue = queue.max_requests(10).error_codes(ErrorCodeForm::Numbers).build().unwrap();
    let instance: intune_connector::ids::InstanceId = "one".parse().unwrap();
    let given = runtime.block_on(queue.receive(ReceiveRequest::new(Flow::Revoke, instance.clone(), 10))).unwrap().items;
    let contexts: Vec<String> = intune.revocations().iter().filter_map(|entry| entry.request.request_context.clone()).collect();
    let results = [RevokeResult::succeeded(None), RevokeResult::failed(RevocationError::CertificateNotFoundError, "no such certificate")];
    let results = given.iter().zip(results).map(|(item, result)| ResultItem::new(item.meta.clone(), Outcome::Revoke(result))).collect();
    runtime.block_on(queue.complete(CompleteRequest::new(Flow::Revoke, instance, results))).unwrap();
    drop(stop);
    serving.join().unwrap();

    let csr = BASE64_STANDARD.encode(&csr);
    let arrivals = intune.arrivals();
    let sent: Vec<_> = arrivals.iter().filter(|arrival| arrival.endpoint.is_discovered()).collect();
    assert_eq!(sent.len(), 5);
    let mut ids = BTreeSet::new();
    for arrival in sent {
        let body: Value = serde_json::from_slice(arrival.body.as_ref().unwrap().secret_bytes()).unwrap();
        assert_eq!(body, reference(arrival.endpoint, &csr, &contexts), "{:?}", arrival.endpoint);
        let mut headers: BTreeMap<&str, &str> = arrival.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(headers.len(), arrival.headers.len(), "a header comes twice");
        let id = headers.remove("client-request-id").unwrap();
        assert!(id.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && ids.insert(id), "{id}");
        // Those of HTTP itself.
        let _ = (headers.remove("host").unwrap(), headers.remove("content-length").unwrap());
        let version = if arrival.url.contains("/ScepActions/") { "2018-02-20" } else { "5019-05-05" };
        let expected = [
            ("authorization", "(hidden)"),
            ("api-version", version),
            ("useragent", NAME),
            // Three on purpose: Microsoft's Java library names no charset and sends Latin-1, and has its HTTP client's user agent and
            // `Accept-Encoding: gzip,deflate`; reqwest adds an `Accept` that says nothing.
            ("content-type", "application/json; charset=utf-8"),
            ("user-agent", NAME),
            ("accept", "*/*"),
        ];
        assert_eq!(headers, BTreeMap::from(expected), "{:?}", arrival.endpoint);
    }
}
