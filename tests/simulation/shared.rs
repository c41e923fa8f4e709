//! What all worlds share: keys, certificates, stored payloads. It is the same in each process, since idempotency keys, and with them the order of
//! rows, follow from it. The certificates are made once; the private keys of the RSA ones are gone.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::crypto::{
    ContentCipherAlgorithm, CryptoError, CryptoProvider, DecryptionKey, DigestAlgorithm, KeyTransport, KeyTransportAlgorithm, Pbkdf2,
    SignError, SignatureAlgorithm, SignatureVerification, SigningKey, UnwrapError, UnwrapRequest, unwrap_now,
};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::enveloped::{EnvelopeBuilder, Opening};
use intune_connector::message::pfx::PfxBuilder;
use intune_connector::message::reencrypt::{LegacyPadding, encrypt_password};
use intune_connector::secret::{Password, PrivateKeyPkcs8, SecretBytes};
use intune_connector::terms::{PaddingScheme, PfxProfile};
use intune_connector::time::Timestamp;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};

use crate::random::Seeded;

pub const START: Timestamp = Timestamp::from_secs(1_800_000_000);
pub const DAY: Duration = Duration::from_secs(86_400);
pub const PAYLOAD: &[u8] = b"a stored PKCS payload";
pub const IMPORT_PASSWORD: &str = "import-me";

/// Who can decrypt and sign.
pub struct Certified {
    pub signing: Arc<dyn SigningKey>,
    pub decryption: Arc<dyn DecryptionKey>,
    pub certificate: Certificate,
}

pub struct Shared {
    pub provider: CryptoProvider,
    pub ca_key: Arc<dyn SigningKey>,
    pub ca: Certificate,
    /// For whom results are encrypted.
    pub device: Certified,
    /// For whom stored payloads are.
    pub stored: Certified,
    pub payload: Vec<u8>,
    pub encrypted_password: Vec<u8>,
    pub pfx: Vec<u8>,
}

pub static SHARED: LazyLock<Shared> = LazyLock::new(Shared::new);

/// What a PKCS#12 file costs to open is not what is tried here: one round, whatever is asked for.
#[derive(Debug)]
struct OneRound(CryptoProvider);

impl Pbkdf2 for OneRound {
    fn derive(&self, prf: DigestAlgorithm, password: &[u8], salt: &[u8], _: u32, out: &mut [u8]) -> Result<(), CryptoError> {
        self.0.pbkdf2().map_err(|_| CryptoError::Failed)?.derive(prf, password, salt, 1, out)
    }
}

/// Nor what RSA decryption costs: the secret, behind the digest of the key that alone opens it, in 256 bytes.
#[derive(Debug)]
struct Box256(CryptoProvider);

fn fingerprint(provider: &CryptoProvider, spki: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let digest = provider.digest().map_err(|_| CryptoError::Failed)?;
    Ok(digest.digest(DigestAlgorithm::Sha256, &[spki])?.as_ref().to_vec())
}

impl KeyTransport for Box256 {
    fn supports(&self, _: KeyTransportAlgorithm) -> bool {
        true
    }

    fn encrypt(&self, _: KeyTransportAlgorithm, spki: &[u8], secret: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut ciphertext = fingerprint(&self.0, spki)?;
        ciphertext.push(secret.len() as u8);
        ciphertext.extend_from_slice(secret);
        ciphertext.resize(256, 0);
        Ok(ciphertext)
    }
}

#[derive(Debug)]
struct BoxKey {
    provider: CryptoProvider,
    spki: Vec<u8>,
}

#[async_trait]
impl DecryptionKey for BoxKey {
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.spki.clone().into()
    }

    fn is_local(&self) -> bool {
        true
    }

    async fn unwrap(&self, request: &UnwrapRequest) -> Result<SecretBytes, UnwrapError> {
        let ciphertext = request.ciphertext().ok_or(UnwrapError::Unsupported("key agreement"))?;
        let own = fingerprint(&self.provider, &self.spki).map_err(|_| UnwrapError::Rejected)?;
        let (key, secret) = ciphertext.split_at_checked(own.len()).ok_or(UnwrapError::Rejected)?;
        let (length, secret) = secret.split_first().ok_or(UnwrapError::Rejected)?;
        let secret = secret.get(..usize::from(*length)).filter(|_| key == own).ok_or(UnwrapError::Rejected)?;
        Ok(SecretBytes::copy_from(secret))
    }
}

/// Nor RSA signatures: a digest over key and message, which is not secret and always the same.
#[derive(Debug)]
struct Seals(CryptoProvider);

fn seal(provider: &CryptoProvider, spki: &[u8], message: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let digest = provider.digest().map_err(|_| CryptoError::Failed)?;
    let mut signature = digest.digest(DigestAlgorithm::Sha256, &[spki, message])?.as_ref().to_vec();
    signature.resize(256, 0x5e);
    Ok(signature)
}

impl SignatureVerification for Seals {
    fn verify(&self, algorithm: SignatureAlgorithm, spki: &[u8], message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        if algorithm == SignatureAlgorithm::RsaPkcs1Sha256 {
            return if seal(&self.0, spki, message)? == signature { Ok(()) } else { Err(CryptoError::Failed) };
        }
        self.0.verification().map_err(|_| CryptoError::Failed)?.verify(algorithm, spki, message, signature)
    }
}

#[derive(Debug)]
struct SealKey {
    provider: CryptoProvider,
    spki: Vec<u8>,
}

#[async_trait]
impl SigningKey for SealKey {
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.spki.clone().into()
    }

    fn algorithms(&self) -> Vec<SignatureAlgorithm> {
        vec![SignatureAlgorithm::RsaPkcs1Sha256]
    }

    fn is_local(&self) -> bool {
        true
    }

    async fn sign(&self, _: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, SignError> {
        seal(&self.provider, &self.spki, message).map_err(|_| SignError::Rejected)
    }
}

impl Shared {
    fn new() -> Self {
        let backend = CryptoProvider::ring_and_aws_lc_rs();
        let provider = backend
            .clone()
            .with_pbkdf2(Arc::new(OneRound(backend.clone())))
            .with_key_transport(Arc::new(Box256(backend.clone())))
            .with_verification(Arc::new(Seals(backend)))
            .with_random(Arc::new(Seeded::new(0)));
        let key = published_key();
        let ca_key = provider.signing_keys().unwrap().load(&key).unwrap();
        let mut certificates = CertificateDer::pem_slice_iter(include_bytes!("certificates.pem"))
            .map(|der| Certificate::from_der(&der.unwrap(), &Limits::default()).unwrap());
        let mut next = || certificates.next().unwrap();
        let ca = next();
        let mut certified = || {
            let certificate = next();
            let decryption = Arc::new(BoxKey { provider: provider.clone(), spki: certificate.spki().to_vec() });
            let signing = Arc::new(SealKey { provider: provider.clone(), spki: certificate.spki().to_vec() });
            Certified { decryption, signing, certificate }
        };
        let (device, stored) = (certified(), certified());
        let payload = EnvelopeBuilder::new(ContentCipherAlgorithm::Aes256Cbc, KeyTransportAlgorithm::RsaOaepSha256)
            .recipient(&stored.certificate)
            .build(PAYLOAD, &provider)
            .unwrap();
        let password = Password::from(IMPORT_PASSWORD);
        let spki = stored.certificate.spki();
        let encrypted_password = encrypt_password(&provider, spki, PaddingScheme::OaepSha256, LegacyPadding::Refuse, &password).unwrap();
        let pfx = PfxBuilder::new(PfxProfile::Pbmac1).key(&key).certificate(ca.der()).iterations(2_000);
        let pfx = pfx.build(&password, &provider).unwrap().secret_bytes().to_vec();
        Self { provider, ca_key, ca, device, stored, payload, encrypted_password, pfx }
    }

    /// Decrypts what was encrypted to the device.
    pub fn open(&self, envelope: &[u8]) -> Result<SecretBytes, String> {
        let mut opening = Opening::parse(envelope, &Limits::default()).map_err(|error| error.to_string())?;
        let request = opening.unwrap_request(&self.device.certificate, &self.provider).map_err(|error| error.to_string())?;
        opening.finish(unwrap_now(&*self.device.decryption, &request), &self.provider).map_err(|error| error.to_string())
    }
}

/// The P-256 key that RFC 6979 publishes in A.2.5, as PKCS#8: everyone knows it.
fn published_key() -> PrivateKeyPkcs8 {
    const HEX: &str = "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420\
        c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721a14403420004\
        60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6\
        7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299";
    let bytes = (0..HEX.len() / 2).map(|at| u8::from_str_radix(&HEX[2 * at..2 * at + 2], 16).unwrap()).collect();
    PrivateKeyPkcs8::new(bytes)
}
