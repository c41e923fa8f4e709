//! What client and server really send, against `docs/open-queue.openapi.json`; and golden bodies, so that the protocol does not change
//! unnoticed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use intune_connector::adapters::http::{HttpMethod, HttpResponse};
use intune_connector::ids::{SerialNumber, Thumbprint};
use intune_connector::ports::{
    CompleteAnswer, CompleteRequest, ExtendLeaseRequest, Failure, FlowCounters, HealthMessage, ImportKeyName, ImportPayload, ImportRequest,
    ImportResult, IntuneQueue as _, Outcome, Payload, PkcsRequest, PkcsResult, QueueItem, ReceiveRequest, RecryptRequest, RecryptResult,
    ResultItem, RevocationError, RevokeRequest, RevokeResult, Runtime as _,
};
use intune_connector::retry::ErrorClass;
use intune_connector::secret::SecretBytes;
use intune_connector::terms::{Flow, KeyAlgorithm, PaddingScheme, PfxProfile, RevocationReason, SubjectAltName};
use intune_connector::time::Timestamp;
use serde_json::Value;

use crate::schema::{faults, resolve};
use crate::wire::{Exchange, Lab, block_on, id, meta};

fn document() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/open-queue.openapi.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// What is wrong with a call and its answer by the document.
fn exchange_faults(document: &Value, exchange: &Exchange) -> Vec<String> {
    let path = exchange.url.strip_prefix(crate::wire::BASE).unwrap();
    let method = exchange.method.as_str().to_ascii_lowercase();
    let Some(operation) = document.get("paths").and_then(|paths| paths.get(path)?.get(&method)) else {
        return vec![format!("{method} {path} is not documented")];
    };
    let mut wrong = Vec::new();
    for parameter in operation.get("parameters").and_then(Value::as_array).into_iter().flatten() {
        let parameter = resolve(document, parameter);
        assert_eq!((&parameter["in"], &parameter["required"]), (&Value::from("header"), &Value::from(true)));
        let value = Value::from(exchange.header(parameter["name"].as_str().unwrap()));
        wrong.extend(faults(document, &parameter["schema"], &value).into_iter().map(|fault| format!("{}: {fault}", parameter["name"])));
    }
    let described = operation.pointer("/requestBody/content/application~1json/schema");
    match (described, &exchange.body) {
        (Some(schema), Some(body)) => wrong.extend(faults(document, schema, &serde_json::from_str(body).unwrap())),
        (None, None) => {}
        _ => wrong.push("a body where none is documented, or none where one is".to_owned()),
    }
    if described.is_some() && exchange.header("Content-Type") != "application/json" {
        wrong.push("the content type of the call".to_owned());
    }
    let Some(response) = operation["responses"].get(exchange.status.to_string()) else {
        wrong.push(format!("the status {} is not documented", exchange.status));
        return wrong;
    };
    let response = resolve(document, response);
    let schema = response.pointer("/content/application~1json/schema").unwrap();
    match serde_json::from_str(&exchange.answer) {
        Ok(answer) => wrong.extend(faults(document, schema, &answer)),
        Err(error) => wrong.push(format!("the answer is no JSON: {error}")),
    }
    let sent = |name: &str| exchange.answer_headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
    if sent("content-type").map(|(_, value)| value.as_str()) != Some("application/json") {
        wrong.push("the content type of the answer".to_owned());
    }
    for header in response.get("headers").and_then(Value::as_object).into_iter().flat_map(|headers| headers.keys()) {
        if sent(header).is_none() {
            wrong.push(format!("the header {header} of the answer"));
        }
    }
    wrong
}

/// One request of each kind, with every member.
fn items() -> Vec<QueueItem> {
    let mut pkcs = PkcsRequest::new("Contoso Issuing CA".parse().unwrap(), "CN=\"Doe, Jane\"", b"device".to_vec().into());
    pkcs.template = Some("User".parse().unwrap());
    pkcs.subject_alt_names = vec![
        SubjectAltName::Upn("jane@contoso.com".to_owned()),
        SubjectAltName::Email("jane@contoso.com".to_owned()),
        SubjectAltName::Dns("jane.contoso.com".to_owned()),
        SubjectAltName::Uri("tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-1013".to_owned()),
        SubjectAltName::Ip("2001:db8::1".parse().unwrap()),
    ];
    pkcs.extended_key_usage = vec!["1.3.6.1.5.5.7.3.2".parse().unwrap()];
    (pkcs.key, pkcs.validity) = (KeyAlgorithm::EcP256, Duration::from_secs(31_536_000));
    (pkcs.sid, pkcs.pfx_profile) = (Some("S-1-5-21-1-2-3-1013".parse().unwrap()), PfxProfile::Compat);
    pkcs.friendly_name = Some("Wi-Fi \u{2013} Jane".to_owned());
    let mut first = meta(Flow::Pkcs, "pkcs-1");
    first.device = Some("device-1".parse().unwrap());
    first.user = Some("jane".parse().unwrap());
    first.correlation = vec!["activity-1".parse().unwrap()];
    first.deadline = Some(Timestamp::from_micros(1_800_003_600_250_001));
    let name = ImportKeyName { provider: "Microsoft Software Key Storage Provider".to_owned(), key: "import".to_owned() };
    let import = ImportRequest::new(
        name,
        PaddingScheme::OaepSha512,
        b"encrypted".to_vec(),
        SecretBytes::copy_from(b"a PFX file"),
        b"device".to_vec().into(),
    );
    let mut revoke = RevokeRequest::new("0a:1b");
    (revoke.issuer, revoke.reason) = (Some("Contoso Issuing CA".to_owned()), Some(RevocationReason::CaCompromise));
    vec![
        QueueItem::new(first, Payload::Pkcs(Box::new(pkcs))),
        QueueItem::new(
            meta(Flow::PkcsRecrypt, "recrypt-1"),
            Payload::Recrypt(Box::new(RecryptRequest::new(vec![0xfb, 0xff], b"device".to_vec().into()))),
        ),
        QueueItem::new(meta(Flow::PkcsImport, "import-1"), Payload::Import(Box::new(import))),
        QueueItem::new(meta(Flow::Revoke, "revoke-1"), Payload::Revoke(revoke)),
        QueueItem::new(meta(Flow::Revoke, "revoke-2"), Payload::Revoke(RevokeRequest::new("01"))),
        QueueItem::new(meta(Flow::Revoke, "malformed-1"), Payload::Malformed("`serial` is missing".to_owned())),
        QueueItem::new(meta(Flow::Revoke, "later-1"), Payload::Unknown("attest".to_owned())),
    ]
}

/// The results to them, and to one that nobody asked for.
fn results() -> Vec<ResultItem> {
    let pkcs = PkcsResult::new(
        b"pfx".to_vec(),
        b"password".to_vec(),
        Thumbprint::new([0xab; 20]),
        SerialNumber::from_hex("0a1b").unwrap(),
        Timestamp::from_secs(1_831_536_000),
        "Contoso Issuing CA".parse().unwrap(),
    );
    let failure = Failure::new(ErrorClass::Policy, "the policy refuses it").with_code(Some("0x80094800".to_owned()));
    let of = |flow, id: &str, outcome| ResultItem::new(meta(flow, id), outcome);
    vec![
        of(Flow::Pkcs, "pkcs-1", Outcome::Pkcs(Box::new(pkcs))),
        of(Flow::PkcsRecrypt, "recrypt-1", Outcome::Recrypt(RecryptResult::new(b"envelope".to_vec()))),
        of(
            Flow::PkcsImport,
            "import-1",
            Outcome::Import(ImportResult::new(ImportPayload::Pfx, b"password".to_vec(), Some(b"pfx".to_vec()))),
        ),
        of(Flow::Revoke, "revoke-1", Outcome::Revoke(RevokeResult::succeeded(Some("already revoked".to_owned())))),
        of(Flow::Revoke, "revoke-2", Outcome::Revoke(RevokeResult::failed(RevocationError::CertificateNotFoundError, "no such serial"))),
        of(Flow::Revoke, "malformed-1", Outcome::Failed(failure)),
        of(Flow::Revoke, "never", Outcome::Revoke(RevokeResult::succeeded(None))),
    ]
}

/// Every operation with every kind of content, as client and server do it.
fn all_calls() -> Lab {
    let lab = Lab::new();
    items().into_iter().for_each(|item| lab.server.enqueue(item).unwrap());
    lab.server.set_next_poll(Some(Duration::from_millis(29_500)));
    lab.server.answer_next(Flow::PkcsRecrypt, id("recrypt-1"), CompleteAnswer::TryAgain("the service is busy".to_owned()));
    for flow in [Flow::Pkcs, Flow::PkcsRecrypt, Flow::PkcsImport, Flow::Revoke] {
        let received = block_on(lab.queue.receive(ReceiveRequest::new(flow, "one".parse().unwrap(), 9))).unwrap();
        assert_eq!(received.next_poll, Some(Duration::from_secs(30)));
        let requests = received.items.iter().map(|item| item.meta.id.clone()).collect();
        block_on(lab.queue.extend_lease(ExtendLeaseRequest::new(flow, "one".parse().unwrap(), requests))).unwrap();
        let done = results().into_iter().filter(|result| result.meta.flow == flow).collect();
        block_on(lab.queue.complete(CompleteRequest::new(flow, "one".parse().unwrap(), done))).unwrap();
    }
    let lost = ExtendLeaseRequest::new(Flow::Revoke, "two".parse().unwrap(), vec![id("later-1")]);
    block_on(lab.queue.extend_lease(lost)).unwrap_err();
    block_on(lab.queue.report_health(health(lab.clock.now()))).unwrap();
    lab
}

fn health(at: Timestamp) -> HealthMessage {
    let mut counters = FlowCounters::default();
    (counters.received, counters.succeeded, counters.failed, counters.retried, counters.poll_failures) = (5, 3, 2, 1, u64::MAX);
    let mut message = HealthMessage::new("contoso.com".parse().unwrap(), "one".parse().unwrap(), at);
    message.version = "1.2.3".to_owned();
    message.flows = BTreeMap::from([(Flow::PkcsImport, counters)]);
    message.events = BTreeMap::from([(1000, 7), (1005, 1)]);
    message.findings = vec!["The CA's certificate ends in 12 days.".to_owned()];
    message.credentials = BTreeMap::from([("Contoso CA".to_owned(), at.saturating_add(Duration::from_secs(12 * 86_400)))]);
    message
}

#[test]
fn what_client_and_server_send_is_what_the_document_says() {
    let document = document();
    let calls = all_calls().wire.calls();
    let operations: BTreeSet<String> = calls.iter().map(|call| call.operation().to_owned()).collect();
    assert_eq!(operations.len(), 5, "{operations:?}");
    for call in &calls {
        assert_eq!(exchange_faults(&document, call), Vec::<String>::new(), "{call:?}");
    }
}

#[test]
fn the_refusals_are_what_the_document_says() {
    let document = document();
    let lab = Lab::with(|settings| settings.with_max_body(2_000).with_most_kept(5), |config| config);
    assert!(lab.receive(1).is_ok());
    let call = lab.wire.last();
    let mut statuses = BTreeSet::new();
    let mut ask = |number: u8, edit: &dyn Fn(&mut Exchange)| {
        let mut call = call.clone();
        if number > 0 {
            call.headers.iter_mut().filter(|(name, _)| name == "Request-Id").for_each(|(_, id)| {
                *id = format!("00000000-0000-4000-8000-{number:012}");
            });
        }
        edit(&mut call);
        let answer: HttpResponse = lab.server.handle(&call.request());
        // Only the answer: the call is wrong on purpose.
        call.status = answer.status;
        call.answer_headers = answer.headers;
        call.answer = String::from_utf8(answer.body.secret_bytes().to_vec()).unwrap();
        statuses.insert(call.status);
        let path = "/open-queue/v1/receive";
        let response = resolve(&document, &document["paths"][path]["post"]["responses"][call.status.to_string()]);
        let schema = response.pointer("/content/application~1json/schema").unwrap();
        assert_eq!(faults(&document, schema, &serde_json::from_str(&call.answer).unwrap()), Vec::<String>::new(), "{}", call.answer);
        for header in response.get("headers").and_then(Value::as_object).into_iter().flat_map(|headers| headers.keys()) {
            assert!(call.answer_headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(header)), "{header} of {}", call.status);
        }
    };
    ask(0, &|_| ());
    ask(1, &|call| call.body = Some("{}".to_owned()));
    ask(2, &|call| call.headers.retain(|(name, _)| name != "Authorization"));
    ask(3, &|call| call.url.push('x'));
    ask(4, &|call| call.method = HttpMethod::Get);
    ask(5, &|call| call.body = Some(" ".repeat(2_001)));
    ask(6, &|call| call.headers.retain(|(name, _)| name != "Content-Type"));
    ask(7, &|call| call.body = Some(call.body.clone().unwrap().replace("revoke", "scep")));
    ask(8, &|call| call.body = Some(call.body.clone().unwrap().replace("contoso.com", "fabrikam.com")));
    (9..20).for_each(|number| ask(number, &|_| ()));
    assert_eq!(statuses, BTreeSet::from([200, 400, 401, 404, 405, 409, 413, 415, 422, 503]));
}

#[test]
fn a_message_that_strays_from_the_document_is_found() {
    let document = document();
    let calls = all_calls().wire.calls();
    // Each change is one that a mistake in the code could make.
    for (operation, from, to) in [
        ("capabilities", "\"maxBatch\"", "\"max_batch\""),
        ("capabilities", "\"pkcs-import\"", "\"pkcsImport\""),
        ("receive", "\"keyAlgorithm\":\"ec-p256\"", "\"keyAlgorithm\":\"EcP256\""),
        ("receive", "\"validitySeconds\":31536000", "\"validitySeconds\":\"31536000\""),
        ("receive", "\"pfx\":\"YSBQRlggZmlsZQ==\"", "\"pfx\":\"YSBQRlggZmlsZQ\""),
        ("receive", "\"reason\":\"cACompromise\"", "\"reason\":\"caCompromise\""),
        ("receive", "\"kind\":\"pkcs\"", "\"kind\":\"import\""),
        ("receive", "\"deadline\":\"2027-01-15T", "\"deadline\":\"2027-01-15 "),
        ("receive", "\"friendlyName\"", "\"friendly_name\""),
        ("complete", "\"answer\":\"tryAgain\"", "\"answer\":\"try-again\""),
        ("complete", "\"answers\"", "\"results\""),
        ("extend-lease", "\"lost\":[\"later-1\"]", "\"lost\":[7]"),
        ("extend-lease", "{\"lost\":[]}", "{}"),
    ] {
        let call = calls.iter().find(|call| call.operation() == operation && call.answer.contains(from));
        let mut call = call.unwrap_or_else(|| panic!("{from} is in no answer to {operation}")).clone();
        call.answer = call.answer.replace(from, to);
        assert_ne!(exchange_faults(&document, &call), Vec::<String>::new(), "{to} in {operation} passes");
    }
    for (operation, from, to) in [
        ("receive", "\"maxBytes\"", "\"max_bytes\""),
        ("complete", "\"thumbprint\":\"AB", "\"thumbprint\":\""),
        ("complete", "\"succeeded\":true", "\"succeeded\":\"yes\""),
        ("complete", "\"class\":\"policy\"", "\"class\":\"Policy\""),
        ("extend-lease", "\"requests\"", "\"ids\""),
        ("health", "\"pollFailures\"", "\"poll_failures\""),
    ] {
        let call = calls.iter().find(|call| call.operation() == operation && call.body.as_ref().is_some_and(|body| body.contains(from)));
        let mut call = call.unwrap_or_else(|| panic!("{from} is in no call of {operation}")).clone();
        call.body = call.body.map(|body| body.replace(from, to));
        assert_ne!(exchange_faults(&document, &call), Vec::<String>::new(), "{to} in {operation} passes");
    }
    let mut call = calls.last().unwrap().clone();
    call.headers.retain(|(name, _)| name != "Request-Id");
    assert_ne!(exchange_faults(&document, &call), Vec::<String>::new(), "a call without an id passes");
    call.url.push('x');
    assert_ne!(exchange_faults(&document, &call), Vec::<String>::new(), "an operation that is not documented passes");
}

#[test]
fn every_reference_of_the_document_leads_somewhere_and_every_schema_is_used() {
    let document = document();
    let (mut references, mut nodes) = (BTreeSet::new(), vec![&document]);
    while let Some(node) = nodes.pop() {
        if let Some(Value::String(to)) = node.get("$ref") {
            assert!(document.pointer(to.strip_prefix('#').unwrap()).is_some(), "{to}");
            references.insert(to.clone());
        }
        nodes.extend(node.as_object().into_iter().flat_map(|object| object.values()));
        nodes.extend(node.as_array().into_iter().flatten());
    }
    for part in ["schemas", "responses", "parameters"] {
        for name in document["components"][part].as_object().unwrap().keys() {
            assert!(references.contains(&format!("#/components/{part}/{name}")), "{part}/{name} is not used");
        }
    }
}

/// `INTUNE_CONNECTOR_WRITE_GOLDEN=1` rewrites the files.
#[test]
fn the_bodies_are_the_golden_ones() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/open_queue");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for call in all_calls().wire.calls() {
        let number = counts.entry(call.operation().to_owned()).or_default();
        *number += 1;
        let name = format!("{}-{number}", call.operation());
        for (part, text) in [("call", call.body.as_deref()), ("answer", Some(call.answer.as_str()))] {
            let Some(text) = text else { continue };
            let mut value: Value = serde_json::from_str(text).unwrap();
            // The one member that is random.
            if let Some(delivery) = value.get_mut("delivery") {
                *delivery = Value::from("00000000-0000-4000-8000-000000000000");
            }
            let text = serde_json::to_string_pretty(&value).unwrap() + "\n";
            let path = folder.join(format!("{name}.{part}.json"));
            if std::env::var_os("INTUNE_CONNECTOR_WRITE_GOLDEN").is_some_and(|value| value == "1") {
                std::fs::write(&path, &text).unwrap();
            }
            let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}\n{text}", path.display()));
            assert_eq!(text, golden, "{}", path.display());
        }
    }
}
