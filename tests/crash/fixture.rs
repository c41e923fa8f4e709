//! What all runs share, since RSA keys are slow to make: the CA's key, and those of device, connector, RA and import. The connector's process
//! reads its part from a file.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use intune_connector::crypto::{CryptoProvider, DecryptionKey, SignatureAlgorithm, SigningKey, sign_now};
use intune_connector::ids::{Oid, SerialNumber};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::{Certificate, CertificateBuilder};
use intune_connector::message::enveloped::Opening;
use intune_connector::message::name::Name;
use intune_connector::message::pfx::{PfxBuilder, PfxProfile};
use intune_connector::secret::{Password, PrivateKeyPkcs8, SecretBytes};
use intune_connector::terms::{KeyAlgorithm, KeyUsage, SubjectAltName};
use intune_connector::time::Timestamp;
use serde::{Deserialize, Serialize};

pub const CA: &str = "Contoso Issuing CA";
pub const TENANT: &str = "contoso.example";
pub const IMPORT_PASSWORD: &str = "import-me";
pub const PAYLOAD: &[u8] = b"a stored PKCS payload";
const SIGN: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;
const YEAR: Duration = Duration::from_secs(365 * 86_400);

pub fn provider() -> &'static CryptoProvider {
    static PROVIDER: LazyLock<CryptoProvider> = LazyLock::new(CryptoProvider::ring_and_aws_lc_rs);
    &PROVIDER
}

/// What the connector has in its configuration.
#[derive(Debug, Serialize, Deserialize)]
pub struct Configuration {
    pub root: Vec<u8>,
    pub device: Vec<u8>,
    pub connector: (Vec<u8>, Vec<u8>),
    pub ra: (Vec<u8>, Vec<u8>),
    pub import: Vec<u8>,
}

pub struct Key {
    pub pkcs8: PrivateKeyPkcs8,
    pub signing: Arc<dyn SigningKey>,
    pub decryption: Option<Arc<dyn DecryptionKey>>,
}

impl Key {
    pub fn new(algorithm: KeyAlgorithm) -> Self {
        Self::load(provider().key_generation().unwrap().generate(algorithm).unwrap())
    }

    pub fn load(pkcs8: PrivateKeyPkcs8) -> Self {
        let signing = provider().signing_keys().unwrap().load(&pkcs8).unwrap();
        let decryption = provider().decryption_keys().unwrap().load(&pkcs8).ok();
        Self { pkcs8, signing, decryption }
    }
}

pub struct Fixture {
    pub ca: Key,
    pub root: Certificate,
    pub device: (Key, Certificate),
    pub connector: (Key, Certificate),
    pub ra: (Key, Certificate),
    pub import: Key,
    pub pfx: Vec<u8>,
}

pub static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let ca = Key::new(KeyAlgorithm::EcP256);
    let now = Timestamp::system_now();
    let subject = Name::parse_cert_str(&format!("CN={CA},O=TEST ONLY do not trust")).unwrap();
    let usage = KeyUsage { key_cert_sign: true, crl_sign: true, ..KeyUsage::default() };
    let spki = ca.signing.public_key();
    let root = CertificateBuilder::new(subject, &spki, now.saturating_sub(YEAR), now.saturating_add(20 * YEAR), "01".parse().unwrap())
        .key_usage(usage)
        .ca(None)
        .key_identifiers_of(provider(), &spki)
        .unwrap();
    let root = sign(&ca, root);
    let certified = |name: &str| {
        let (key, subject) = (Key::new(KeyAlgorithm::Rsa2048), Name::parse_cert_str(&format!("CN={name}")).unwrap());
        let certificate = certify(&ca, &root, subject, &key.signing.public_key(), now, (KeyUsage::SIGN_AND_ENCIPHER, &[], &[]));
        (key, certificate)
    };
    let (device, connector, ra) = (certified("device"), certified("connector"), certified("RA"));
    let own = Key::new(KeyAlgorithm::EcP256);
    let jane = Name::parse_cert_str("CN=Jane Doe").unwrap();
    let certificate = certify(&ca, &root, jane, &own.signing.public_key(), now, (KeyUsage::SIGN_AND_ENCIPHER, &[], &[]));
    let pfx = PfxBuilder::new(PfxProfile::Modern)
        .key(&own.pkcs8)
        .certificate(certificate.der())
        .iterations(2_000)
        .build(&Password::from(IMPORT_PASSWORD), provider())
        .unwrap();
    let pfx = pfx.secret_bytes().to_vec();
    Fixture { ca, root, device, connector, ra, import: Key::new(KeyAlgorithm::Rsa2048), pfx }
});

impl Fixture {
    pub fn configuration(&self) -> Configuration {
        let pair = |of: &(Key, Certificate)| (of.0.pkcs8.secret_pkcs8_der().to_vec(), of.1.der().to_vec());
        Configuration {
            root: self.root.der().to_vec(),
            device: self.device.1.der().to_vec(),
            connector: pair(&self.connector),
            ra: pair(&self.ra),
            import: self.import.pkcs8.secret_pkcs8_der().to_vec(),
        }
    }

    /// Decrypts what was encrypted to the device.
    pub fn open(&self, envelope: &[u8]) -> Result<SecretBytes, String> {
        let mut opening = Opening::parse(envelope, &Limits::default()).map_err(|error| error.to_string())?;
        let request = opening.unwrap_request(&self.device.1, provider()).map_err(|error| error.to_string())?;
        let key = self.device.0.decryption.as_ref().unwrap();
        opening.finish(intune_connector::crypto::unwrap_now(&**key, &request), provider()).map_err(|error| error.to_string())
    }
}

fn sign(key: &Key, builder: CertificateBuilder) -> Certificate {
    let unsigned = builder.to_be_signed(SIGN).unwrap();
    let signature = sign_now(&*key.signing, SIGN, unsigned.message()).unwrap();
    Certificate::from_der(&unsigned.finish(&signature), &Limits::default()).unwrap()
}

/// A certificate by that CA, valid for a year.
pub fn certify(
    ca: &Key,
    root: &Certificate,
    subject: Name,
    spki: &[u8],
    now: Timestamp,
    (usage, purposes, names): (KeyUsage, &[Oid], &[SubjectAltName]),
) -> Certificate {
    let mut serial = [0; 16];
    provider().random().unwrap().fill(&mut serial).unwrap();
    let serial = SerialNumber::from_be_bytes(&serial).unwrap();
    let start = now.saturating_sub(Duration::from_secs(300));
    // Shorter than any plan of these tests.
    let end = now.saturating_add(Duration::from_secs(300 * 86_400));
    let builder = CertificateBuilder::new(subject, spki, start, end, serial)
        .issuer(root.subject().clone())
        .end_entity()
        .key_usage(usage)
        .extended_key_usage(purposes)
        .subject_alt_names(names)
        .key_identifiers_of(provider(), root.spki())
        .unwrap();
    sign(ca, builder)
}
