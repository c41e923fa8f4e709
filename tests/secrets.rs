//! Plants secrets and escapes in every place that comes from outside, runs all flows, and scans everything that can be read afterwards:
//! events, log files, errors, results, health messages, journal rows and `Debug` output.

#![cfg(all(feature = "pkcs", feature = "import", feature = "revoke", feature = "scep", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/pki.rs"]
mod pki;
#[path = "support/scan.rs"]
mod scan;
#[path = "support/scep_lab.rs"]
mod scep_lab;
#[path = "support/scripted_ca.rs"]
mod scripted_ca;
#[path = "support/tenant.rs"]
mod tenant;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::adapters::{DangerousStaticChallenge, JsonLinesSink, MemoryDecryptionKeys, VolatileJournal};
use intune_connector::connector::Connector;
use intune_connector::crypto::{CryptoError, KeyGeneration, unwrap_now};
use intune_connector::event::{Event, EventId};
use intune_connector::ids::{CaName, CorrelationId, DeviceId, RequestId, TemplateName, TransactionId, UserId};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::csr::{Csr, CsrBuilder};
use intune_connector::message::enveloped::Opening;
use intune_connector::message::name::Name;
use intune_connector::message::pfx::{self, PfxBuilder, PfxProfile};
use intune_connector::message::reencrypt::{LegacyPadding, PasswordOpening, encrypt_password};
use intune_connector::message::scep::{PkiRequestBuilder, ScepRequest};
use intune_connector::message::signed::LegacyDigests;
use intune_connector::policy::IssuancePolicy;
use intune_connector::ports::{
    ChallengeValidator, CompleteAnswer, EventSink, FailureNotification, ImportRequest, Outcome, Payload, PkcsRequest, PortError,
    ScepNotifier, SuccessNotification, ValidateRequest, Verdict,
};
use intune_connector::retry::Effect;
use intune_connector::scep::{NotificationPolicy, RegistrationAuthority, Request, Service};
use intune_connector::secret::{Password, PrivateKeyPkcs8, SecretBytes};
use intune_connector::terms::{Flow, KeyAlgorithm, PaddingScheme, SubjectAltName};
use intune_connector::time::Timestamp;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use scan::{Marker, Report};
use scep_lab::{CHALLENGE, Client, Fault, Lab, shared_key};
use scripted_ca::Next;
use tenant::{
    FLOWS, IMPORT_PASSWORD, KEYS, RECRYPT_CONTENT, Tenant, import, import_request, pkcs, pkcs_request, recrypt, recrypt_request, revoke,
};

const WRONG_PASSWORD: &str = "Wr0ng-Imp0rt-Marker-91";
const WRONG_CHALLENGE: &str = "Guessed-Challenge-Marker-5";
const PANIC_SECRET: &str = "Panic-Secret-Marker-13";
const SOURCE_SECRET: &str = "Source-Secret-Marker-55";
const SEALING_KEY: &[u8; 32] = b"Sealing-Key-Marker-of-32-bytes!!";

/// What a log must not take as it is.
fn hostile() -> String {
    format!("\u{1b}[2J\r\n1000 PkcsRequestSuccess\u{202e}\u{2066}\u{61c}\u{200b}\u{feff}\u{85}\0\u{7}{}", "long ".repeat(2_000))
}

/// Short enough for names.
const SHORT: &str = "a\u{1b}[31m\r\nb\u{202e}c\u{2067}d\0e";

fn hostile_error(kind: fn(String) -> PortError) -> PortError {
    kind(hostile()).with_code(hostile()).with_source(format!("{SOURCE_SECRET} {}", hostile())).with_effect(Effect::None)
}

/// Gives the same key each time, so that its bytes can be looked for.
#[derive(Debug)]
struct KnownKey(PrivateKeyPkcs8);

impl KeyGeneration for KnownKey {
    fn generate(&self, _: KeyAlgorithm) -> Result<PrivateKeyPkcs8, CryptoError> {
        Ok(PrivateKeyPkcs8::new(self.0.secret_pkcs8_der().to_vec()))
    }
}

/// The private scalar of a P-256 key.
fn scalar(key: &PrivateKeyPkcs8) -> Vec<u8> {
    let der = key.secret_pkcs8_der();
    let at = der.windows(2).position(|window| window == [4, 32]).expect("ECPrivateKey holds its scalar");
    der[at + 2..at + 34].to_vec()
}

#[derive(Debug)]
struct Tee(Vec<Arc<dyn EventSink>>);

impl EventSink for Tee {
    fn emit(&self, event: &Event) {
        self.0.iter().for_each(|sink| sink.emit(event));
    }
}

fn markers(generated: &PrivateKeyPkcs8) -> Vec<Marker> {
    let middle = |bytes: &[u8]| bytes[bytes.len() / 2..bytes.len() / 2 + 24].to_vec();
    vec![
        Marker::new("import password", IMPORT_PASSWORD),
        Marker::new("wrong import password", WRONG_PASSWORD),
        Marker::new("recrypt content", RECRYPT_CONTENT),
        Marker::new("generated private key", scalar(generated)),
        Marker::new("imported private key", scalar(&KEYS.imported.key)),
        Marker::new("import decryption key", middle(KEYS.import.private_key.secret_pkcs8_der())),
        Marker::new("imported PFX file", middle(&KEYS.pfx)),
        Marker::new("panic message", PANIC_SECRET),
        Marker::new("source of an error", SOURCE_SECRET),
        Marker::new("challenge", CHALLENGE),
        Marker::new("wrong challenge", WRONG_CHALLENGE),
        Marker::new("sealing key", SEALING_KEY),
    ]
}

fn pkcs_with(edit: impl FnOnce(&mut PkcsRequest)) -> Payload {
    let mut request = pkcs_request("ca");
    edit(&mut request);
    Payload::Pkcs(Box::new(request))
}

/// Everything hostile that a queue, a CA or a key store can say, flow by flow. Gives the ids of the requests.
fn run_hostile(tenant: &Tenant) -> Vec<(Flow, String)> {
    let mut done = Vec::new();
    let mut number = 0;
    let mut run = |flow: Flow, payload: Payload| {
        number += 1;
        let id = format!("hostile-{number}");
        tenant.run(flow, &id, payload);
        done.push((flow, id));
    };
    // PKCS: what the request says.
    run(Flow::Pkcs, pkcs_with(|r| r.subject = format!("CN=\"{}\"", hostile())));
    run(Flow::Pkcs, pkcs_with(|r| r.subject = format!("CN=\"{SHORT}\"")));
    run(Flow::Pkcs, pkcs_with(|r| r.subject = hostile()));
    run(Flow::Pkcs, pkcs_with(|r| r.friendly_name = Some(hostile())));
    run(Flow::Pkcs, pkcs_with(|r| r.recipient = CertificateDer::from(hostile().into_bytes())));
    for text in [hostile(), SHORT.to_owned()] {
        for name in [
            SubjectAltName::Upn(format!("{text}@contoso.com")),
            SubjectAltName::Upn(format!("jane@{text}")),
            SubjectAltName::Email(format!("{text}@contoso.com")),
            SubjectAltName::Dns(format!("{text}.contoso.com")),
            SubjectAltName::Uri(format!("{text}:contoso")),
        ] {
            run(Flow::Pkcs, pkcs_with(|r| r.subject_alt_names = vec![name]));
        }
    }
    // PKCS: what the CA says.
    tenant.ca.next(Next::Fail(hostile_error(PortError::transient)));
    run(Flow::Pkcs, pkcs("ca"));
    tenant.ca.next(Next::Fail(hostile_error(PortError::rejected)));
    run(Flow::Pkcs, pkcs("ca"));
    tenant.ca.next(Next::IssueAndFail(hostile_error(PortError::transient).with_effect(Effect::Unknown)));
    tenant.ca.fail_next_find(hostile_error(PortError::transient));
    run(Flow::Pkcs, pkcs("ca"));
    tenant.ca.next(Next::Subject("CN=\"a\u{1b}[31m\r\nb\u{202e}c\""));
    tenant.ca.fail_next_revoke(hostile_error(PortError::rejected));
    run(Flow::Pkcs, pkcs("ca"));
    tenant.ca.next(Next::Panic);
    run(Flow::Pkcs, pkcs("ca"));
    // Every flow: what the queue says.
    for flow in FLOWS {
        run(flow, Payload::Malformed(hostile()));
        tenant.queue(flow).fail_next_receive(hostile_error(PortError::transient));
        tenant.queue(flow).fail_next_complete(hostile_error(PortError::transient));
        tenant.run(flow, &format!("unknown-{flow}"), Payload::Unknown(hostile()));
        let good = || match flow {
            Flow::Pkcs => pkcs("ca"),
            Flow::PkcsRecrypt => recrypt(),
            Flow::PkcsImport => import(IMPORT_PASSWORD),
            _ => revoke("0123", "ca"),
        };
        let refused: RequestId = format!("refused-{flow}").parse().unwrap();
        tenant.queue(flow).answer_next(refused.clone(), CompleteAnswer::TryAgain(hostile()));
        tenant.queue(flow).answer_next(refused.clone(), CompleteAnswer::Refused(hostile()));
        tenant.run(flow, refused.as_str(), good());
        run(flow, good());
    }
    // Recrypt.
    for payload in [hostile().into_bytes(), RECRYPT_CONTENT.to_vec(), Vec::new()] {
        let mut request = recrypt_request();
        request.payload = payload;
        run(Flow::PkcsRecrypt, Payload::Recrypt(Box::new(request)));
    }
    let mut request = recrypt_request();
    request.recipient = CertificateDer::from(hostile().into_bytes());
    run(Flow::PkcsRecrypt, Payload::Recrypt(Box::new(request)));
    // Import.
    run(Flow::PkcsImport, import(WRONG_PASSWORD));
    let edits: [fn(&mut ImportRequest); 7] = [
        |r| r.key_name.provider = hostile(),
        |r| r.key_name.key = hostile(),
        |r| r.encrypted_password = IMPORT_PASSWORD.as_bytes().to_vec(),
        |r| r.pfx = SecretBytes::copy_from(IMPORT_PASSWORD.as_bytes()),
        |r| r.pfx = SecretBytes::copy_from(&KEYS.pfx[..KEYS.pfx.len() / 2 + 60]),
        |r| r.padding = PaddingScheme::Pkcs1,
        |r| r.recipient = CertificateDer::from(hostile().into_bytes()),
    ];
    for edit in edits {
        let mut request = import_request(IMPORT_PASSWORD);
        edit(&mut request);
        run(Flow::PkcsImport, Payload::Import(Box::new(request)));
    }
    for error in [hostile_error(PortError::misconfigured), hostile_error(PortError::transient)] {
        tenant.keys.errors.lock().unwrap().push_back(error);
        run(Flow::PkcsImport, import(IMPORT_PASSWORD));
    }
    *tenant.keys.panic.lock().unwrap() = Some(PANIC_SECRET.to_owned());
    run(Flow::PkcsImport, import(IMPORT_PASSWORD));
    // Revocation.
    run(Flow::Revoke, revoke(&hostile(), "ca"));
    run(Flow::Revoke, revoke(SHORT, "ca"));
    tenant.run(Flow::Revoke, "revoke-foreign", revoke("01", &hostile()));
    tenant.run(Flow::Revoke, "revoke-foreign-short", revoke("01", SHORT));
    for error in [hostile_error(PortError::transient), hostile_error(PortError::rejected)] {
        tenant.revoker.errors.lock().unwrap().push_back(error);
        run(Flow::Revoke, revoke("0456", "ca"));
    }
    // Health.
    tenant.queue(Flow::Pkcs).fail_next_health(hostile_error(PortError::transient));
    tenant.queue(Flow::Pkcs).fail_next_health(hostile_error(PortError::rejected));
    (0..4).for_each(|_| {
        std::thread::sleep(Duration::from_millis(2));
        tenant.settle();
    });
    done
}

/// The password of an issued PFX, as the device decrypts it.
fn issued_password(envelope: &[u8]) -> Vec<u8> {
    let certificate = Certificate::from_der(&KEYS.device.certificate, &Limits::default()).unwrap();
    let mut opening = Opening::parse(envelope, &Limits::default()).unwrap();
    let request = opening.unwrap_request(&certificate, &KEYS.provider).unwrap();
    let key = KEYS.provider.decryption_keys().unwrap().load(&KEYS.device.key).unwrap();
    opening.finish(unwrap_now(&*key, &request), &KEYS.provider).unwrap().secret_bytes().to_vec()
}

fn scan_events(report: &mut Report, events: &[Event]) {
    for event in events {
        report.event(event);
    }
}

#[test]
fn the_scanner_finds_what_is_planted() {
    let marker = || vec![Marker::new("marker", "Hunter-2-Marker-Zz")];
    let bytes = b"Hunter-2-Marker-Zz";
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let utf16: Vec<u8> = bytes.iter().flat_map(|byte| [*byte, 0]).collect();
    for planted in [
        bytes.to_vec(),
        format!("x{hex}").into_bytes(),
        hex.to_uppercase().into_bytes(),
        format!("{:?}", [b"ab".as_slice(), bytes].concat()).into_bytes(),
        scan::base64(bytes).into_bytes(),
        scan::base64(&[b"x", bytes.as_slice()].concat()).into_bytes(),
        scan::base64(&[b"xy", bytes.as_slice()].concat()).replace('+', "-").replace('/', "_").into_bytes(),
        utf16.clone(),
        [&[0], utf16.as_slice()].concat(),
    ] {
        let mut report = Report::new(marker());
        report.bytes("planted", &planted);
        assert_eq!(report.problems().len(), 1, "{}", String::from_utf8_lossy(&planted));
    }
    for text in ["\u{1b}[2J", "a\nb", "\u{202e}", "\u{2069}", "\u{200f}", "\0", "\u{85}", &"x".repeat(20_000)] {
        let mut report = Report::new(marker());
        report.text("planted", text);
        assert_eq!(report.problems().len(), 1, "{text:?}");
    }
    let mut report = Report::new(marker());
    report.text("clean", "Zürich: the CA is away (code 0x80094800)…");
    assert!(report.problems().is_empty());
}

#[test]
fn no_secret_and_no_escape_gets_out_of_the_queue_driven_flows() {
    let generated = KEYS.provider.key_generation().unwrap().generate(KeyAlgorithm::EcP256).unwrap();
    let mut report = Report::new(markers(&generated));
    let provider = KEYS.provider.clone().with_key_generation(Arc::new(KnownKey(generated)));
    let folder = tempfile::tempdir().unwrap();
    let lines = Arc::new(JsonLinesSink::new(folder.path()).unwrap());
    let traced = scan::Traced::install();
    let tenant = Tenant::with(provider, |recording| {
        let mut sinks: Vec<Arc<dyn EventSink>> = vec![recording, lines.clone()];
        sinks.extend(scan::tracing_sink());
        Arc::new(Tee(sinks))
    });
    let requests = run_hostile(&tenant);

    let mut succeeded = 0;
    for (flow, id) in &requests {
        let outcome = tenant.outcome(*flow, id).unwrap_or_else(|| panic!("{id} was not answered: {:?}", tenant.codes(id)));
        if let Outcome::Pkcs(result) = &outcome {
            report.marker(Marker::new("issued PFX password", issued_password(&result.password_envelope)));
            succeeded += 1;
        }
        report.bytes(id, format!("{outcome:?}").as_bytes());
        report.bytes(id, serde_json::to_string(&outcome).unwrap().as_bytes());
        if let Some(text) = outcome.failure() {
            report.text(id, &text);
        }
    }
    assert!(succeeded >= 3, "{succeeded}");
    let events = tenant.sink.events();
    assert!(events.len() > 300, "{}", events.len());
    for id in [6, 7, 10, 11, 12, 16, 1001, 1003, 1101, 1051, 1252, 2051, 2052, 3051, 3052, 5001, 5002] {
        assert!(events.iter().any(|event| event.id.code() == id), "{id} is not among the scanned events");
    }
    scan_events(&mut report, &events);
    lines.flush();
    for file in ["admin.jsonl", "operational.jsonl"] {
        let text = std::fs::read_to_string(folder.path().join(file)).unwrap();
        assert!(!text.is_empty());
        report.bytes(file, text.as_bytes());
        for line in text.lines() {
            report.json(file, &serde_json::from_str(line).expect("each line is one event"));
        }
    }
    let rows = tenant.journal.rows();
    assert!(rows.len() > 20);
    for row in &rows {
        report.bytes("journal row", row.blob.as_bytes());
        report.bytes("journal row", format!("{row:?}").as_bytes());
    }
    for message in tenant.queue(Flow::Pkcs).health_messages() {
        report.json("health message", &serde_json::to_value(&message).unwrap());
    }
    let handle = tenant.connector.handle();
    report.bytes("Connector", format!("{:?}", tenant.connector).as_bytes());
    report.bytes("Handle", format!("{handle:?} {:?}", handle.status()).as_bytes());
    report.bytes("queue", format!("{:?}", tenant.queues).as_bytes());
    report.bytes("journal", format!("{:?}", tenant.journal).as_bytes());
    for line in traced.lines() {
        report.text("tracing", &line);
    }
    report.finish();
}

#[test]
fn work_in_hand_shows_no_secret_in_debug() {
    let mut report = Report::new(markers(&KEYS.imported.key));
    let tenant = Tenant::new();
    // A retry leaves requests in hand, with their key pairs made.
    tenant.ca.next(Next::Fail(hostile_error(PortError::transient)));
    tenant.keys.errors.lock().unwrap().push_back(hostile_error(PortError::transient));
    tenant.push(Flow::Pkcs, "held", pkcs("ca"));
    tenant.push(Flow::PkcsImport, "held", import(IMPORT_PASSWORD));
    let report_of_run = tenant.runtime.block_on(tenant.connector.run_once());
    assert!(report_of_run.held > 0);
    report.bytes("Connector", format!("{:?}", tenant.connector).as_bytes());
    report.finish();
}

/// Says hostile things about each SCEP request.
#[derive(Debug)]
struct HostileService(bool);

#[async_trait]
impl ChallengeValidator for HostileService {
    async fn validate(&self, _: ValidateRequest<'_>) -> Result<Verdict, PortError> {
        if self.0 { Err(hostile_error(PortError::rejected)) } else { Ok(Verdict::Rejected { code: hostile(), description: hostile() }) }
    }
}

#[async_trait]
impl ScepNotifier for HostileService {
    async fn success(&self, _: SuccessNotification<'_>) -> Result<(), PortError> {
        Err(hostile_error(PortError::transient))
    }
    async fn failure(&self, _: FailureNotification<'_>) -> Result<(), PortError> {
        Err(hostile_error(PortError::rejected))
    }
}

#[test]
fn no_secret_and_no_escape_gets_out_of_the_scep_service() {
    let mut report = Report::new(markers(&KEYS.imported.key));
    // Hostile devices.
    let lab =
        Lab::new(|builder| builder.notification(NotificationPolicy::IssueThenNotify).sealing_key(SecretBytes::copy_from(SEALING_KEY)));
    lab.ca.faults.lock().unwrap().extend([Fault::WrongSubject, Fault::Panic, Fault::Reject, Fault::LoseAnswer]);
    lab.notifier.fail.store(3, Ordering::SeqCst);
    let hostile_name = format!("CN=\"{SHORT}\"");
    let mut clients = vec![
        Client::new(shared_key(2), "CN=device-1", "t-1"),
        Client::new(shared_key(2), "CN=device-2", "t-2"),
        Client::new(shared_key(2), "CN=device-3", "t-3"),
        Client::new(shared_key(2), "CN=device-4", "t-4"),
        Client::new(shared_key(2), &hostile_name, "t\u{1b}[2J\r\n\u{202e}5"),
        Client::with_challenge(shared_key(2), &hostile_name, "t-6", WRONG_CHALLENGE),
        Client::with_challenge(shared_key(2), "CN=device-7", "t-7", &format!("{WRONG_CHALLENGE}{SHORT}")),
    ];
    let mut broken = Client::new(shared_key(2), "CN=device-8", "t-8");
    broken.csr = hostile().into_bytes();
    clients.push(broken);
    for client in &clients {
        let (message, to) = client.message(&lab.ra);
        let response = lab.post(&message);
        report.bytes("response", format!("{response:?}").as_bytes());
        let reply = client.reply(&response, &to, &lab.ra);
        report.bytes("reply", format!("{reply:?} {to:?}").as_bytes());
        let request = ScepRequest::parse(&message, LegacyDigests::Refuse, scep_lab::provider(), &Limits::default()).unwrap();
        report.bytes("ScepRequest", format!("{request:?}").as_bytes());
    }
    for message in [hostile().into_bytes(), CHALLENGE.as_bytes().to_vec(), clients[0].csr.clone()] {
        report.bytes("response", &lab.post(&message).body);
        let request = Request::post("operation=PKIOperation", message);
        report.bytes("Request", format!("{request:?}").as_bytes());
    }
    report.bytes("response", &lab.handle(Request::get(format!("operation={SHORT}&message={SHORT}"))).body);
    for hours in 1..4 {
        lab.runtime.block_on(lab.service.maintain(Timestamp::system_now().saturating_add(Duration::from_secs(hours * 3_600))));
    }
    assert!(lab.sink.events().len() > 25, "{:?}", lab.codes());
    scan_events(&mut report, &lab.sink.events());
    for row in lab.journal.rows.rows() {
        report.bytes("journal row", row.blob.as_bytes());
        report.bytes("journal row", format!("{row:?}").as_bytes());
    }
    report.bytes("Service", format!("{:?}", lab.service).as_bytes());
    // A hostile validation service.
    for away in [false, true] {
        let (service, ra_key) = (Arc::new(HostileService(away)), shared_key(1));
        let authority = RegistrationAuthority::single(lab.ra.der().clone(), ra_key.signing.clone(), ra_key.decryption.clone().unwrap());
        let name: CaName = "Lab CA".parse().unwrap();
        let builder =
            Service::builder(KEYS.provider.clone(), lab.journal.clone(), name, lab.ca.clone(), authority, service.clone(), service)
                .tenant("contoso.example".parse().unwrap())
                .instance("lab-1".parse().unwrap())
                .sink(lab.sink.clone())
                .runtime(lab.runtime.clone())
                .policy(IssuancePolicy::dangerous_allow_any_identity())
                .sealing_key(SecretBytes::copy_from(SEALING_KEY));
        report.bytes("ServiceBuilder", format!("{builder:?}").as_bytes());
        let service = lab.runtime.block_on(builder.build()).unwrap();
        let client = Client::new(shared_key(2), &hostile_name, "hostile service");
        let (message, to) = client.message(&lab.ra);
        let response = lab.runtime.block_on(service.handle(Request::post("operation=PKIOperation", message)));
        report.bytes("reply", format!("{:?}", client.reply(&response, &to, &lab.ra)).as_bytes());
    }
    assert!(lab.sink.count(EventId::ScepVerifyFailure) >= 4);
    scan_events(&mut report, &lab.sink.events());
    report.finish();
}

#[test]
fn debug_of_everything_that_holds_a_secret_hides_it() {
    let mut report = Report::new(markers(&KEYS.imported.key));
    let (provider, limits) = (&KEYS.provider, Limits::default());
    let mut debug = |what: &str, value: &dyn std::fmt::Debug| {
        report.bytes(what, format!("{value:?}").as_bytes());
        report.bytes(what, format!("{value:#?}").as_bytes());
    };
    let password = || Password::from(IMPORT_PASSWORD);
    debug("Password", &password());
    debug("SecretBytes", &SecretBytes::copy_from(RECRYPT_CONTENT));
    debug("PrivateKeyPkcs8", &KEYS.imported.key);
    debug("GeneratedImportKey", &KEYS.import);
    debug("SigningKey", &KEYS.imported.signer);
    debug("CryptoProvider", &provider);
    let store = MemoryDecryptionKeys::new();
    let name = import_request(IMPORT_PASSWORD).key_name;
    store.insert(name, KEYS.import.decryption_key.clone());
    debug("MemoryDecryptionKeys", &store);
    debug("ImportRequest", &import_request(IMPORT_PASSWORD));
    debug("Payload", &import(IMPORT_PASSWORD));
    debug("PkcsRequest", &pkcs_request("ca"));
    debug("RecryptRequest", &recrypt_request());
    debug("OpenedPfx", &pfx::open(&KEYS.pfx, Some(&password()), provider, &limits).unwrap());
    let opened = pfx::open(&KEYS.pfx, Some(&password()), provider, &limits).unwrap().into_mac_verified().unwrap();
    debug("PfxContents", opened.contents());
    debug("Identity", &opened.contents().identity().unwrap());
    let builder = PfxBuilder::new(PfxProfile::Modern).key(&KEYS.imported.key).certificate(&KEYS.imported.certificate);
    debug("PfxBuilder", &builder);
    let mut opening = Opening::parse(&recrypt_request().payload, &limits).unwrap();
    let service = Certificate::from_der(&KEYS.service.certificate, &limits).unwrap();
    let request = opening.unwrap_request(&service, provider).unwrap();
    debug("Opening", &opening);
    debug("UnwrapRequest", &request);
    let key = provider.decryption_keys().unwrap().load(&KEYS.service.key).unwrap();
    debug("content", &opening.finish(unwrap_now(&*key, &request), provider).unwrap());
    let sealed = import_request(IMPORT_PASSWORD).encrypted_password;
    let opening = PasswordOpening::new(sealed, PaddingScheme::OaepSha256, LegacyPadding::Refuse, provider).unwrap();
    debug("PasswordOpening", &opening);
    let unwrapped = unwrap_now(&*KEYS.import.decryption_key, opening.unwrap_request());
    debug("TransportedPassword", &opening.finish(unwrapped).unwrap());
    // A CSR with a challenge, wherever it goes.
    let spki = &shared_key(2).spki;
    let builder = CsrBuilder::new(scep_lab::name("CN=device"), spki).challenge_password(&Password::from(CHALLENGE));
    debug("CsrBuilder", &builder);
    let unsigned = builder.to_be_signed(intune_connector::crypto::SignatureAlgorithm::RsaPkcs1Sha256).unwrap();
    debug("ToBeSigned", &unsigned);
    let der = scep_lab::sign(shared_key(2).signing.as_ref(), unsigned);
    let csr = Csr::from_der(&der, &limits).unwrap();
    assert_eq!(csr.challenge_password().map(Password::secret_bytes), Some(CHALLENGE.as_bytes()));
    debug("Csr", &csr);
    let (csr, transaction) = (CertificateSigningRequestDer::from(der.as_slice()), TransactionId::try_from(b"t".to_vec()).unwrap());
    debug("ValidateRequest", &ValidateRequest::new(&csr, &transaction));
    debug("FailureNotification", &FailureNotification::new(&transaction, &csr, 1, "no"));
    let print = service.thumbprint(provider).unwrap();
    let serial = service.serial().unwrap().clone();
    debug("SuccessNotification", &SuccessNotification::new(&transaction, &csr, print, serial, service.not_after(), "CA".to_owned()));
    debug("DangerousStaticChallenge", &DangerousStaticChallenge::new(Password::from(CHALLENGE)).unwrap());
    debug("PkiRequestBuilder", &PkiRequestBuilder::pkcs_req(transaction.clone(), &der));
    report.finish();
}

#[test]
fn errors_hold_no_secret_and_no_escape() {
    let mut report = Report::new(markers(&KEYS.imported.key));
    let (provider, limits) = (&KEYS.provider, Limits::default());
    let mut error = |what: &str, error: &dyn std::error::Error| report.error(what, error);
    // Names and ids.
    for text in [SHORT.to_owned(), hostile(), String::new()] {
        error("RequestId", &text.parse::<RequestId>().unwrap_err());
        error("TemplateName", &text.parse::<TemplateName>().unwrap_err());
        error("CorrelationId", &text.parse::<CorrelationId>().unwrap_err());
        error("DeviceId", &text.parse::<DeviceId>().unwrap_err());
        error("UserId", &text.parse::<UserId>().unwrap_err());
        if !text.is_empty() {
            error("NameError", &Name::parse_cert_str(&text).unwrap_err());
        }
        for der in [text.as_bytes(), IMPORT_PASSWORD.as_bytes(), CHALLENGE.as_bytes(), &KEYS.pfx[..200]] {
            error("certificate", &Certificate::from_der(der, &limits).unwrap_err());
            error("CSR", &Csr::from_der(der, &limits).unwrap_err());
            error("envelope", &Opening::parse(der, &limits).unwrap_err());
            error("SCEP", &ScepRequest::parse(der, LegacyDigests::Refuse, provider, &limits).unwrap_err());
            error("PFX", &pfx::open(der, Some(&Password::from(IMPORT_PASSWORD)), provider, &limits).unwrap_err());
        }
    }
    // PFX: wrong and absent passwords, damage at many places.
    error("PFX", &pfx::open(&KEYS.pfx, Some(&Password::from(WRONG_PASSWORD)), provider, &limits).unwrap_err());
    error("PFX", &pfx::open(&KEYS.pfx, None, provider, &limits).unwrap_err());
    for at in (0..KEYS.pfx.len()).step_by(37) {
        let mut damaged = KEYS.pfx.clone();
        damaged[at] ^= 0x55;
        if let Err(problem) = pfx::open(&damaged, Some(&Password::from(IMPORT_PASSWORD)), provider, &limits) {
            error("PFX", &problem);
        }
    }
    let wrong = PfxBuilder::new(PfxProfile::Modern).key(&KEYS.imported.key).certificate(&KEYS.device.certificate).iterations(2_000);
    error("PfxBuilder", &wrong.build(&Password::from(IMPORT_PASSWORD), provider).unwrap_err());
    // Passwords that do not fit, content keys that do not open.
    let long = Password::from(IMPORT_PASSWORD.repeat(40));
    let spki = KEYS.import.public_key.spki();
    error("password", &encrypt_password(provider, spki, PaddingScheme::OaepSha512, LegacyPadding::Refuse, &long).unwrap_err());
    // A wrong content key passes the padding check of CBC once in 256 times.
    let service = Certificate::from_der(&KEYS.service.certificate, &limits).unwrap();
    let other = provider.decryption_keys().unwrap().load(&KEYS.device.key).unwrap();
    let mut failed = 0;
    for _ in 0..4 {
        let mut opening = Opening::parse(&recrypt_request().payload, &limits).unwrap();
        let request = opening.unwrap_request(&service, provider).unwrap();
        if let Err(problem) = opening.finish(unwrap_now(&*other, &request), provider) {
            error("envelope", &problem);
            failed += 1;
        }
    }
    assert!(failed > 0);
    let garbage = PrivateKeyPkcs8::new(KEYS.imported.key.secret_pkcs8_der()[..60].to_vec());
    error("key", &provider.signing_keys().unwrap().load(&garbage).unwrap_err());
    error("key", &provider.decryption_keys().unwrap().load(&garbage).unwrap_err());
    // Ports and build.
    let port = PortError::rejected(hostile()).with_code(hostile());
    error("PortError", &port);
    // One line for each finding.
    let build = Connector::builder(provider.clone(), Arc::new(VolatileJournal::new())).build().unwrap_err();
    assert!(!build.findings().is_empty());
    build.to_string().lines().for_each(|line| report.text("BuildError", line));
    report.finish();
}
