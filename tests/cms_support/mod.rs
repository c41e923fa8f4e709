//! Keys and certificates made by openssl, for the CMS and SCEP tests.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use intune_connector::crypto::{CryptoProvider, DecryptionKey, SigningKey};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::secret::PrivateKeyPkcs8;

use crate::support::run;

/// One party: its certificate, its keys, and the files that openssl reads.
pub(crate) struct Party {
    pub(crate) certificate: Certificate,
    pub(crate) pkcs8: PrivateKeyPkcs8,
    pub(crate) cert_file: PathBuf,
    pub(crate) key_file: PathBuf,
}

impl Party {
    /// Makes a self-signed certificate with openssl; `key` is what `-newkey` takes.
    pub(crate) fn make(openssl: &Path, dir: &Path, name: &str, key: &[&str]) -> Self {
        let (cert_file, key_file) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
        let mut command = Command::new(openssl);
        command.args(["req", "-x509", "-nodes", "-days", "30", "-newkey"]).args(key);
        command.arg("-subj").arg(format!("/O=Test/CN={name}")).arg("-keyout").arg(&key_file).arg("-out").arg(&cert_file);
        run(&mut command);
        let der = run(Command::new(openssl).args(["x509", "-outform", "DER", "-in"]).arg(&cert_file)).stdout;
        let pkcs8 = run(Command::new(openssl).args(["pkcs8", "-topk8", "-nocrypt", "-outform", "DER", "-in"]).arg(&key_file)).stdout;
        let certificate = Certificate::from_der(&der, &Limits::default()).expect("openssl's certificate is read");
        Self { certificate, pkcs8: PrivateKeyPkcs8::new(pkcs8), cert_file, key_file }
    }

    pub(crate) fn rsa(openssl: &Path, dir: &Path, name: &str) -> Self {
        Self::make(openssl, dir, name, &["rsa:2048"])
    }

    pub(crate) fn decryption_key(&self, provider: &CryptoProvider) -> Arc<dyn DecryptionKey> {
        provider.decryption_keys().expect("a slot").load(&self.pkcs8).expect("a key")
    }

    pub(crate) fn signing_key(&self, provider: &CryptoProvider) -> Arc<dyn SigningKey> {
        provider.signing_keys().expect("a slot").load(&self.pkcs8).expect("a key")
    }
}
