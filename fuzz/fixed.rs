//! Identities that do not change from run to run; the seeds are encrypted to them. Made by `make-seeds.sh`.

use std::sync::{Arc, OnceLock};

use intune_connector::crypto::{CryptoProvider, DecryptionKey};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::secret::PrivateKeyPkcs8;
use rustls_pki_types::CertificateDer;

/// A key with its certificate.
#[derive(Debug)]
pub struct Identity {
    key: PrivateKeyPkcs8,
    certificate: CertificateDer<'static>,
    parsed: Certificate,
}

impl Identity {
    fn new(key: &[u8], certificate: &'static [u8]) -> Self {
        let parsed = Certificate::from_der(certificate, &Limits::default()).expect("a fixed certificate is sound");
        Self { key: PrivateKeyPkcs8::new(key.to_vec()), certificate: CertificateDer::from(certificate), parsed }
    }

    pub fn key(&self) -> &PrivateKeyPkcs8 {
        &self.key
    }

    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub fn parsed(&self) -> &Certificate {
        &self.parsed
    }
}

pub fn rsa() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| Identity::new(include_bytes!("fixed/rsa.pk8"), include_bytes!("fixed/rsa.der")))
}

pub fn ec() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| Identity::new(include_bytes!("fixed/ec.pk8"), include_bytes!("fixed/ec.der")))
}

/// Another one on a curve.
pub fn second() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| Identity::new(include_bytes!("fixed/second.pk8"), include_bytes!("fixed/second.der")))
}

/// The issuer of all.
pub fn ca() -> CertificateDer<'static> {
    CertificateDer::from(&include_bytes!("fixed/ca.der")[..])
}

/// Loaded each time: that is little beside what is done with it.
pub fn decryption(identity: &Identity) -> Arc<dyn DecryptionKey> {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    provider.decryption_keys().expect("the slot").load(identity.key()).expect("a fixed key is sound")
}
