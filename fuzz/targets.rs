//! One function for each boundary where bytes of strangers come in. Any result will do, a panic or an overrun will not; what is read must
//! also survive being used.

pub mod fixed;
mod pfx_build;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use intune_connector::adapters::{DangerousStaticChallenge, LocalCa, NoNotification, RecordingSink, StdRuntime, VolatileJournal};
use intune_connector::crypto::{CryptoProvider, SignatureAlgorithm, unwrap_now};
use intune_connector::ids::{Oid, SerialNumber, Sid, TransactionId};
use intune_connector::limits::{Budget, Limits};
use intune_connector::message::certificate::Certificate;
use intune_connector::message::crl::Crl;
use intune_connector::message::csr::Csr;
use intune_connector::message::enveloped::{CmsErrorKind, LegacyCiphers, Opening, decrypt_encrypted_data};
use intune_connector::message::name::Name;
use intune_connector::message::pfx;
use intune_connector::message::private_key;
use intune_connector::message::public_key::RsaPublicKey;
use intune_connector::message::scep::{IssuerAndSerialNumber, IssuerAndSubject, ScepRequest, next_ca_certificates};
use intune_connector::message::signed::{LegacyDigests, Signed, VerifyOptions};
use intune_connector::policy::IssuancePolicy;
use intune_connector::scep::{RegistrationAuthority, Request, Service};
use intune_connector::secret::{Password, PrivateKeyPkcs8, SecretBytes};
use intune_connector::terms::{KeyAlgorithm, KeyUsage};
pub use pfx_build::pfx_build;

/// A target.
pub type Target = fn(&[u8]);

/// Every target by the name of its seeds.
#[allow(dead_code, reason = "the fuzzer's binaries name their target, the replay takes all")]
pub const ALL: &[(&str, Target)] = &[
    ("pfx", pfx),
    ("pfx_build", pfx_build),
    ("certificate", certificate),
    ("csr", csr),
    ("crl", crl),
    ("enveloped", enveloped),
    ("signed", signed),
    ("scep", scep),
    ("name_text", name_text),
    ("identifiers", identifiers),
    ("keys", keys),
    ("http", http),
];

fn provider() -> CryptoProvider {
    CryptoProvider::ring_and_aws_lc_rs()
}

/// Small, so that an input costs little even when it asks for much.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.kdf_iterations = 4_096;
    limits
}

/// PKCS#12 with a password that the seeds have and without one; and the input as a clear safe, where no MAC and no cipher is in the way.
pub fn pfx(data: &[u8]) {
    let password = Password::from("pw");
    let _ = pfx::has_mac(data, &limits());
    pfx_public_key(data, &password);
    for (data, password) in [(data, Some(&password)), (data, None), (&around_safe(data)[..], None)] {
        if let Ok(opened) = pfx::open(data, password, &provider(), &limits()) {
            let contents = opened.contents();
            let _ = (
                format!("{contents:?}"),
                contents.identities().count(),
                contents.identity().map(|identity| identity.certificates().count()),
            );
        }
    }
}

/// PKCS#12 signed by and encrypted to the keys of the seeds.
fn pfx_public_key(data: &[u8], password: &Password) {
    let (provider, mut budget) = (provider(), Budget::new(&limits()));
    let signers = [fixed::rsa().parsed().clone(), fixed::ec().parsed().clone()];
    let options = pfx::OpenOptions::new(password).signers(&signers).legacy_digests(LegacyDigests::AllowSha1);
    let _ = pfx::unverified_signer_certificates(data, &limits());
    for identity in [fixed::rsa(), fixed::ec()] {
        let Ok(mut opening) = pfx::PfxOpening::parse(data, &options, &provider, &mut budget) else { return };
        let encrypted = opening.is_encrypted_to_public_keys();
        if let Ok(requests) = opening.unwrap_requests(identity.parsed(), &provider) {
            assert_eq!(encrypted, !requests.is_empty(), "a key is asked when there is something to ask");
            let answers = requests.iter().map(|request| unwrap_now(&*fixed::decryption(identity), request)).collect();
            let _ = opening.finish(answers, &provider, &mut budget).map(|opened| opened.contents().identities().count());
        }
        if !encrypted {
            return;
        }
    }
}

/// A PFX without MAC and with one safe in clear, of indefinite lengths.
fn around_safe(contents: &[u8]) -> Vec<u8> {
    const DATA: &[u8] = &[0x30, 0x80, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1, 0xa0, 0x80, 0x24, 0x80];
    let octets = |contents: &[u8]| [&[4, 0x84], &(contents.len() as u32).to_be_bytes()[..], contents].concat();
    let data = |contents: &[u8]| [DATA, &octets(contents), &[0; 6]].concat();
    let safes = [&[0x30, 0x80], &data(contents)[..], &[0; 2]].concat();
    [&[0x30, 0x80, 2, 1, 3], &data(&safes)[..], &[0; 2]].concat()
}

/// X.509 certificates.
pub fn certificate(data: &[u8]) {
    if let Ok(certificate) = Certificate::from_der(data, &limits()) {
        let _ = certificate.verify_signed_by(&provider(), certificate.spki());
        let _ = (certificate.subject().to_string(), certificate.issuer().matches(certificate.subject()));
        assert_eq!(certificate.der().as_ref(), data, "received bytes are kept");
    }
}

/// PKCS#10 requests.
pub fn csr(data: &[u8]) {
    if let Ok(csr) = Csr::from_der(data, &limits()) {
        let _ = (csr.verify_self_signature(&provider()), csr.subject().to_string(), format!("{csr:?}"));
    }
}

/// Certificate revocation lists.
pub fn crl(data: &[u8]) {
    let _ = Crl::from_der(data, &limits()).map(|crl| format!("{crl:?}"));
}

/// CMS EnvelopedData, AuthEnvelopedData and EncryptedData, opened by each kind of recipient: with the keys of the seeds, and with answers of
/// a key that no RSA and no ECDH stands before.
pub fn enveloped(data: &[u8]) {
    let (provider, limits, shared) = (provider(), limits(), |len| SecretBytes::new(vec![7; len]));
    let parse = || Opening::parse(data, &limits).map(|opening| opening.legacy_ciphers(LegacyCiphers::AllowTripleDes));
    let Ok(opening) = parse() else {
        for len in [16, 24, 32] {
            let _ = decrypt_encrypted_data(data, &shared(len), LegacyCiphers::AllowTripleDes, &provider, &limits);
        }
        return;
    };
    let _ = (opening.content_cipher(), opening.is_authenticated(), format!("{opening:?}"));
    for identity in [fixed::rsa(), fixed::ec()] {
        let ask = |answer: Option<usize>| {
            let mut opening = parse()?;
            let request = opening.unwrap_request(identity.parsed(), &provider)?;
            let unwrapped = match answer {
                Some(len) => Ok(shared(len)),
                None => unwrap_now(&*fixed::decryption(identity), &request),
            };
            opening.finish(unwrapped, &provider)
        };
        for answer in [Some(16), Some(24), Some(32), None] {
            if ask(answer).is_err_and(|error| error.kind() != CmsErrorKind::Decryption) {
                break;
            }
        }
    }
    if let Some(identifier) = opening.recipients().iter().find_map(|recipient| recipient.kek_identifier()) {
        for len in [16, 24, 32] {
            let _ = parse().and_then(|opening| opening.decrypt_with_kek(identifier, &shared(len), &provider));
        }
    }
    let _ = parse().and_then(|opening| opening.decrypt_with_password(&Password::from("pw"), &provider));
}

/// CMS SignedData.
pub fn signed(data: &[u8]) {
    if let Ok(signed) = Signed::parse(data, &limits()) {
        let _ = signed.verify(VerifyOptions::default(), &provider()).map(|verified| verified.signers().len());
        let _ = (signed.certificates().count(), signed.crls().count());
    }
}

/// SCEP requests, and the envelope inside opened with the key of the seeds.
pub fn scep(data: &[u8]) {
    let provider = provider();
    query(data);
    let _ = next_ca_certificates(data, fixed::rsa().parsed(), &provider, &limits());
    if let Ok(request) = ScepRequest::parse(data, LegacyDigests::AllowSha1, &provider, &limits()) {
        let _ = (format!("{request:?}"), request.reply_to(), request.reply_signature_algorithm());
        if let Ok(mut opening) = request.open(LegacyCiphers::AllowTripleDes, &limits())
            && let Ok(asked) = opening.unwrap_request(fixed::rsa().parsed(), &provider)
            && let Ok(content) = opening.finish(unwrap_now(&*fixed::decryption(fixed::rsa()), &asked), &provider)
        {
            csr(content.secret_bytes());
            query(content.secret_bytes());
        }
    }
}

/// The bodies of queries: what is read is written as it is read again.
fn query(data: &[u8]) {
    if let Ok(asked) = IssuerAndSubject::from_der(data, &limits()) {
        assert_eq!(IssuerAndSubject::from_der(&asked.to_der(), &limits()).ok(), Some(asked));
    }
    if let Ok(asked) = IssuerAndSerialNumber::from_der(data, &limits()) {
        assert_eq!(IssuerAndSerialNumber::from_der(&asked.to_der(), &limits()).ok(), Some(asked));
    }
}

/// Subject names in CertStrToName syntax.
pub fn name_text(data: &[u8]) {
    if let Ok(text) = core::str::from_utf8(data)
        && let Ok(name) = Name::parse_cert_str(text)
    {
        let again = Name::from_der(name.as_der()).expect("what we write, we read");
        assert!(again.matches(&name));
        let _ = again.to_string();
    }
}

/// Identifiers as text.
pub fn identifiers(data: &[u8]) {
    let _ = TransactionId::try_from(data.to_vec()).map(|id| id.to_string());
    if let Ok(text) = core::str::from_utf8(data) {
        if let Ok(serial) = SerialNumber::from_hex(text) {
            assert_eq!(SerialNumber::from_hex(&serial.to_string()), Ok(serial));
        }
        if let Ok(sid) = text.parse::<Sid>() {
            assert_eq!(sid.to_string(), text);
        }
        let _ = text.parse::<Oid>().map(|oid| oid.arcs().count());
    }
}

/// Private and public keys: PKCS#8 and SubjectPublicKeyInfo, key blobs, PEM.
pub fn keys(data: &[u8]) {
    let provider = provider();
    let key = PrivateKeyPkcs8::new(data.to_vec());
    if let Ok(loader) = provider.signing_keys() {
        let _ = loader.load(&key).map(|key| key.algorithms());
    }
    if let Ok(loader) = provider.decryption_keys() {
        let _ = loader.load(&key).map(|key| key.public_key());
    }
    if let Ok(verification) = provider.verification() {
        for algorithm in [SignatureAlgorithm::RsaPkcs1Sha256, SignatureAlgorithm::EcdsaP256Sha256, SignatureAlgorithm::Ed25519] {
            let _ = verification.verify(algorithm, data, b"message", &[1; 64]);
        }
    }
    if let Ok(key) = RsaPublicKey::read(data) {
        let again = RsaPublicKey::read(&key.to_cng_public_blob()).expect("what is written is read");
        assert_eq!((key.modulus(), key.exponent()), (again.modulus(), again.exponent()));
        let _ = RsaPublicKey::read(key.to_pem().as_bytes()).expect("what is written is read");
    }
    // A blob, PEM or DER; the password is that of the seed.
    let mut limits = Limits::default();
    limits.kdf_iterations = 10_000;
    if let Ok(key) = private_key::read(data, Some(&Password::from("fuzz")), &provider, &limits) {
        private_key::read(key.secret_pkcs8_der(), None, &provider, &limits).expect("what is given is PKCS#8");
        if let Ok(blob) = private_key::to_cng_full_private_blob(&key) {
            private_key::read(blob.secret_bytes(), None, &provider, &limits).expect("what is written is read");
        }
    }
}

/// The SCEP service: the input as the query of a GET and as the body of a POST. It never answers with a certificate.
pub fn http(data: &[u8]) {
    static SERVICE: OnceLock<(Arc<StdRuntime>, Service)> = OnceLock::new();
    let (runtime, service) = SERVICE.get_or_init(service);
    if let Ok(query) = core::str::from_utf8(data) {
        let answer = runtime.block_on(service.handle(Request::get(query)));
        assert!(answer.status < 500, "a GET is answered, whatever it says");
    }
    let answer = runtime.block_on(service.handle(Request::post("operation=PKIOperation", data.to_vec())));
    assert!(answer.status < 500, "a POST is answered, whatever it holds");
}

fn service() -> (Arc<StdRuntime>, Service) {
    let provider = provider();
    let runtime = Arc::new(StdRuntime::new().expect("threads start"));
    let ca = Arc::new(LocalCa::new(provider.clone(), "fuzz".parse().expect("a name"), KeyAlgorithm::EcP256).expect("a CA"));
    let key = provider.key_generation().expect("the slot").generate(KeyAlgorithm::Rsa2048).expect("a key");
    let signing = provider.signing_keys().expect("the slot").load(&key).expect("it signs");
    let decryption = provider.decryption_keys().expect("the slot").load(&key).expect("it decrypts");
    let subject = Name::parse_cert_str("CN=RA").expect("a name");
    let day = Duration::from_secs(86_400);
    let ra = ca.issue_service_certificate(subject, &signing.public_key(), KeyUsage::SIGN_AND_ENCIPHER, &[], day).expect("an RA");
    let builder = Service::builder(
        provider,
        Arc::new(VolatileJournal::new()),
        ca.name().clone(),
        ca.clone(),
        RegistrationAuthority::single(ra.der().clone(), signing, decryption),
        Arc::new(DangerousStaticChallenge::new(Password::from("unknown to the fuzzer")).expect("a challenge")),
        Arc::new(NoNotification),
    );
    let builder = builder.tenant("fuzz".parse().expect("an id")).instance("fuzz".parse().expect("an id"));
    let builder = builder.runtime(runtime.clone()).sink(Arc::new(RecordingSink::with_capacity(1_000))).policy(IssuancePolicy::deny_all());
    let service = runtime.block_on(builder.build()).expect("a service");
    (runtime, service)
}
