//! What all worlds of this process share since it is slow to make: keys, certificates, stored payloads. None of it differs in what it does.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use intune_connector::crypto::{
    ContentCipherAlgorithm, CryptoError, CryptoProvider, DecryptionKey, DigestAlgorithm, KeyTransportAlgorithm, Pbkdf2, SigningKey, sign_now,
    unwrap_now,
};
use intune_connector::ids::SerialNumber;
use intune_connector::import::{GeneratedImportKey, generate_import_key};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::{Certificate, CertificateBuilder};
use intune_connector::message::enveloped::{EnvelopeBuilder, Opening};
use intune_connector::message::name::Name;
use intune_connector::message::pfx::PfxBuilder;
use intune_connector::message::reencrypt::{LegacyPadding, encrypt_password};
use intune_connector::secret::{Password, SecretBytes};
use intune_connector::terms::{KeyAlgorithm, KeyUsage, PaddingScheme, PfxProfile};
use intune_connector::time::Timestamp;

pub const START: Timestamp = Timestamp::from_secs(1_800_000_000);
pub const DAY: Duration = Duration::from_secs(86_400);
pub const PAYLOAD: &[u8] = b"a stored PKCS payload";
pub const IMPORT_PASSWORD: &str = "import-me";

/// A key with a certificate of the CA.
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
    pub import_key: GeneratedImportKey,
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

impl Shared {
    fn new() -> Self {
        let backend = CryptoProvider::ring_and_aws_lc_rs();
        let provider = backend.clone().with_pbkdf2(Arc::new(OneRound(backend)));
        let ca_pkcs8 = provider.key_generation().unwrap().generate(KeyAlgorithm::EcP256).unwrap();
        let ca_key = provider.signing_keys().unwrap().load(&ca_pkcs8).unwrap();
        let usage = KeyUsage { key_cert_sign: true, crl_sign: true, ..KeyUsage::default() };
        let name = Name::parse_cert_str("CN=\"TEST CA of the simulation\"").unwrap();
        let (begin, end) = (START.saturating_sub(30 * DAY), START.saturating_add(3_650 * DAY));
        let builder = CertificateBuilder::new(name, &ca_key.public_key(), begin, end, "01".parse().unwrap()).key_usage(usage).ca(None);
        let ca = sign(&*ca_key, builder);
        let certify = |number: u8, name: &str| {
            let pkcs8 = provider.key_generation().unwrap().generate(KeyAlgorithm::Rsa2048).unwrap();
            let signing = provider.signing_keys().unwrap().load(&pkcs8).unwrap();
            let decryption = provider.decryption_keys().unwrap().load(&pkcs8).unwrap();
            let subject = Name::parse_cert_str(&format!("CN={name}")).unwrap();
            let serial = SerialNumber::from_be_bytes(&[number]).unwrap();
            let builder = CertificateBuilder::new(subject, &signing.public_key(), begin, end, serial)
                .issuer(ca.subject().clone())
                .end_entity()
                .key_usage(KeyUsage::SIGN_AND_ENCIPHER);
            Certified { certificate: sign(&*ca_key, builder), signing, decryption }
        };
        let (device, stored) = (certify(2, "device"), certify(3, "connector"));
        let payload = EnvelopeBuilder::new(ContentCipherAlgorithm::Aes256Cbc, KeyTransportAlgorithm::RsaOaepSha256)
            .recipient(&stored.certificate)
            .build(PAYLOAD, &provider)
            .unwrap();
        let import_key = generate_import_key(&provider, KeyAlgorithm::Rsa2048).unwrap();
        let password = Password::from(IMPORT_PASSWORD);
        let spki = import_key.public_key.spki();
        let encrypted_password = encrypt_password(&provider, spki, PaddingScheme::OaepSha256, LegacyPadding::Refuse, &password).unwrap();
        let own = provider.key_generation().unwrap().generate(KeyAlgorithm::EcP256).unwrap();
        let own_key = provider.signing_keys().unwrap().load(&own).unwrap();
        let subject = Name::parse_cert_str("CN=Jane Doe").unwrap();
        let builder = CertificateBuilder::new(subject, &own_key.public_key(), begin, end, "04".parse().unwrap())
            .issuer(ca.subject().clone())
            .end_entity()
            .key_usage(KeyUsage::SIGN_AND_ENCIPHER);
        let certificate = sign(&*ca_key, builder);
        let pfx = PfxBuilder::new(PfxProfile::Pbmac1).key(&own).certificate(certificate.der()).iterations(2_000);
        let pfx = pfx.build(&password, &provider).unwrap().secret_bytes().to_vec();
        Self { provider, ca_key, ca, device, stored, payload, import_key, encrypted_password, pfx }
    }

    /// Decrypts what was encrypted to the device.
    pub fn open(&self, envelope: &[u8]) -> Result<SecretBytes, String> {
        let mut opening = Opening::parse(envelope, &Limits::default()).map_err(|error| error.to_string())?;
        let request = opening.unwrap_request(&self.device.certificate, &self.provider).map_err(|error| error.to_string())?;
        opening.finish(unwrap_now(&*self.device.decryption, &request), &self.provider).map_err(|error| error.to_string())
    }
}

fn sign(key: &dyn SigningKey, builder: CertificateBuilder) -> Certificate {
    let unsigned = builder.to_be_signed(key.algorithms()[0]).unwrap();
    let signature = sign_now(key, unsigned.algorithm(), unsigned.message()).unwrap();
    Certificate::from_der(&unsigned.finish(&signature), &Limits::default()).unwrap()
}
