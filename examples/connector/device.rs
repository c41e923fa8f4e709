//! The devices: each opens what was delivered to it, as a real one would, and says what is wrong.

use std::sync::Arc;

use intune_connector::crypto::{CryptoProvider, DecryptionKey, unwrap_now};
use intune_connector::ids::DeviceId;
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::enveloped::Opening;
use intune_connector::message::{path, pfx};
use intune_connector::ports::PkcsResult;
use intune_connector::secret::{Password, PrivateKeyPkcs8, SecretBytes};
use intune_connector::time::Timestamp;
use rustls_pki_types::CertificateDer;

pub type Checked<T> = Result<T, Box<dyn std::error::Error>>;

/// A managed device: its id, and the certificate and key that its results are encrypted to.
pub struct Device {
    pub id: DeviceId,
    pub certificate: CertificateDer<'static>,
    pub key: Arc<dyn DecryptionKey>,
}

impl Device {
    /// Decrypts a CMS envelope for this device.
    pub fn open_envelope(&self, provider: &CryptoProvider, envelope: &[u8]) -> Checked<SecretBytes> {
        let limits = Limits::default();
        let own = Certificate::from_der(&self.certificate, &limits)?;
        let mut opening = Opening::parse(envelope, &limits)?;
        let request = opening.unwrap_request(&own, provider)?;
        Ok(opening.finish(unwrap_now(&*self.key, &request), provider)?)
    }

    /// Opens the result of a PKCS request: envelope, password, PKCS#12 file; the key must fit the certificate, which must chain to a root.
    pub fn check_pkcs(&self, provider: &CryptoProvider, result: &PkcsResult, roots: &[CertificateDer<'static>]) -> Checked<()> {
        let password = Password::from(self.open_envelope(provider, &result.password_envelope)?);
        let file = self.open_envelope(provider, &result.pfx_envelope)?;
        let leaf = check_pfx(provider, file.secret_bytes(), &password, roots)?;
        if leaf.thumbprint(provider)? != result.thumbprint || leaf.serial() != Some(&result.serial) {
            return Err("the result names another certificate than the file holds".into());
        }
        Ok(())
    }
}

/// Opens a PKCS#12 file; its MAC, the fit of key and certificate, and (with roots) the chain must be right.
pub fn check_pfx(provider: &CryptoProvider, file: &[u8], password: &Password, roots: &[CertificateDer<'static>]) -> Checked<Certificate> {
    let limits = Limits::default();
    let opened = pfx::open(file, Some(password), provider, &limits)?.into_mac_verified()?;
    let identity = opened.contents().identity()?;
    let leaf = Certificate::from_der(&identity.certificate.der, &limits)?;
    check_key(provider, &identity.key.key, &leaf)?;
    if !roots.is_empty() {
        let issuers = parse_all(identity.chain.iter().map(|certificate| &certificate.der))?;
        path::verify_chain(provider, &leaf, &issuers, &parse_all(roots)?, Timestamp::system_now())?;
    }
    Ok(leaf)
}

fn check_key(provider: &CryptoProvider, key: &PrivateKeyPkcs8, leaf: &Certificate) -> Checked<()> {
    if provider.signing_keys()?.load(key)?.public_key().as_ref() == leaf.spki() {
        Ok(())
    } else {
        Err("the private key is not that of the certificate".into())
    }
}

fn parse_all<'a>(certificates: impl IntoIterator<Item = &'a CertificateDer<'static>>) -> Checked<Vec<Certificate>> {
    certificates.into_iter().map(|der| Ok(Certificate::from_der(der, &Limits::default())?)).collect()
}
