//! One function for each boundary where bytes of strangers come in. Any result will do, a panic or an overrun will not; what is read must
//! also survive being used.

use intune_connector::crypto::CryptoProvider;
use intune_connector::ids::{Oid, SerialNumber, Sid, TransactionId};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::crl::Crl;
use intune_connector::message::csr::Csr;
use intune_connector::message::enveloped::Opening;
use intune_connector::message::name::Name;
use intune_connector::message::pfx;
use intune_connector::message::scep::ScepRequest;
use intune_connector::message::signed::{LegacyDigests, Signed, VerifyOptions};
use intune_connector::secret::Password;

/// A target.
pub type Target = fn(&[u8]);

/// Every target by the name of its seeds.
#[allow(dead_code, reason = "the fuzzer's binaries name their target, the replay takes all")]
pub const ALL: &[(&str, Target)] = &[
    ("pfx", pfx),
    ("certificate", certificate),
    ("csr", csr),
    ("crl", crl),
    ("enveloped", enveloped),
    ("signed", signed),
    ("scep", scep),
    ("name_text", name_text),
    ("identifiers", identifiers),
];

fn provider() -> CryptoProvider {
    CryptoProvider::ring_and_aws_lc_rs()
}

/// Small, so that an input costs little even when it asks for much.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.kdf_iterations = 50_000;
    limits
}

/// PKCS#12 with a password that the seeds have, and without one.
pub fn pfx(data: &[u8]) {
    let password = Password::from("pw");
    for password in [Some(&password), None] {
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

/// CMS EnvelopedData.
pub fn enveloped(data: &[u8]) {
    if let Ok(opening) = Opening::parse(data, &limits()) {
        let _ = (opening.content_cipher(), opening.recipients().len(), format!("{opening:?}"));
    }
}

/// CMS SignedData.
pub fn signed(data: &[u8]) {
    if let Ok(signed) = Signed::parse(data, &limits()) {
        let _ = signed.verify(VerifyOptions::default(), &provider()).map(|verified| verified.signers().len());
        let _ = (signed.certificates().count(), signed.crls().count());
    }
}

/// SCEP requests.
pub fn scep(data: &[u8]) {
    let _ = ScepRequest::parse(data, LegacyDigests::default(), &provider(), &limits()).map(|request| format!("{request:?}"));
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
