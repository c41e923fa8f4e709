//! The simulated tenant: devices, certificate authorities, and a queue full of requests with faults among them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use intune_connector::adapters::{LocalCa, LocalCaFault, LocalCaFaults, MemoryDecryptionKeys};
use intune_connector::crypto::{ContentCipherAlgorithm, CryptoProvider, DecryptionKey, KeyTransportAlgorithm};
use intune_connector::ids::{CaName, CorrelationId, DeviceId, RequestId, SerialNumber, Sid, TenantId};
use intune_connector::import::generate_import_key;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::enveloped::EnvelopeBuilder;
use intune_connector::message::name::Name;
use intune_connector::message::reencrypt::{LegacyPadding, encrypt_password};
use intune_connector::ports::{ImportKeyName, ImportRequest, Payload, PkcsRequest, QueueItem, RecryptRequest, RequestMeta, RevokeRequest};
use intune_connector::recrypt::RecryptKey;
use intune_connector::secret::{Password, SecretBytes};
use intune_connector::terms::{Flow, KeyAlgorithm, KeyUsage, PaddingScheme, PfxProfile, SubjectAltName, oids};

use rustls_pki_types::CertificateDer;

use crate::device::{Checked, Device};
use crate::intune::Intune;

pub const IMPORT_PASSWORD: &str = "import-me";
pub const PAYLOAD: &[u8] = b"a stored PKCS payload";

/// PFX files as users upload them, made by OpenSSL (new and old defaults), NSS and Java's keytool.
const IMPORTED: &[(&str, &[u8])] = &[
    ("openssl-modern", include_bytes!("imported/openssl-modern.p12")),
    ("openssl-legacy", include_bytes!("imported/openssl-legacy.p12")),
    ("openssl-ec", include_bytes!("imported/openssl-ec.p12")),
    ("keytool", include_bytes!("imported/keytool.p12")),
    ("nss", include_bytes!("imported/nss.p12")),
];
const WRONG_PASSWORD: &[u8] = include_bytes!("imported/wrong-password.p12");

/// What must become of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    Success,
    Failure,
    /// It is another connector's: it must stay unanswered.
    Untouched,
}

pub struct Tenant {
    pub id: TenantId,
    pub intune: Box<dyn Intune>,
    pub ca: Arc<LocalCa>,
    pub ca_name: CaName,
    pub digicert: Arc<LocalCa>,
    pub digicert_name: CaName,
    pub devices: Vec<Device>,
    pub import_keys: Arc<MemoryDecryptionKeys>,
    pub recrypt_key: RecryptKey,
    pub expected: BTreeMap<(Flow, RequestId), Expect>,
    recrypt_certificate: Certificate,
    import_key_name: ImportKeyName,
    import_key: Arc<dyn DecryptionKey>,
}

impl Tenant {
    /// Makes CAs, devices and keys; no requests yet.
    pub fn new(provider: &CryptoProvider, id: TenantId, intune: Box<dyn Intune>) -> Checked<Self> {
        let ca_name: CaName = "Contoso Issuing CA".parse()?;
        let digicert_name: CaName = "Symantec".parse()?;
        let ca = Arc::new(LocalCa::new(provider.clone(), ca_name.clone(), KeyAlgorithm::Rsa2048)?);
        let digicert = Arc::new(LocalCa::new(provider.clone(), digicert_name.clone(), KeyAlgorithm::EcP256)?);

        let certified_key = |common_name: &str| -> Checked<(Certificate, Arc<dyn DecryptionKey>)> {
            let key = provider.key_generation()?.generate(KeyAlgorithm::Rsa2048)?;
            let key = provider.decryption_keys()?.load(&key)?;
            let subject = Name::parse_cert_str(&format!("CN={common_name}"))?;
            let usage = KeyUsage { key_encipherment: true, ..KeyUsage::default() };
            let certificate = ca.issue_service_certificate(subject, &key.public_key(), usage, &[], Duration::from_secs(90 * 86_400))?;
            Ok((certificate, key))
        };
        let mut devices = Vec::new();
        for number in 1..=8 {
            let id: DeviceId = format!("device-{number}").parse()?;
            let (certificate, key) = certified_key(id.as_str())?;
            devices.push(Device { id, certificate: certificate.der().clone(), key });
        }
        let (recrypt_certificate, recrypt_key) = certified_key("connector")?;

        let import_key = generate_import_key(provider, KeyAlgorithm::Rsa2048)?.decryption_key;
        let import_key_name = ImportKeyName { provider: "Demonstration Key Storage".into(), key: "import-2026".into() };
        let import_keys = Arc::new(MemoryDecryptionKeys::new());
        import_keys.insert(import_key_name.clone(), Arc::clone(&import_key));

        Ok(Self {
            id,
            intune,
            ca,
            ca_name,
            digicert,
            digicert_name,
            devices,
            import_keys,
            recrypt_key: RecryptKey::new(recrypt_certificate.der().clone(), recrypt_key),
            expected: BTreeMap::new(),
            recrypt_certificate,
            import_key_name,
            import_key,
        })
    }

    /// The certificates that a device trusts.
    pub fn roots(&self) -> Vec<CertificateDer<'static>> {
        [&self.ca, &self.digicert].map(|ca| ca.certificate().der().clone()).to_vec()
    }

    /// Fills the queue with about `total` requests over the queue-driven flows, and arranges faults.
    pub fn fill(&mut self, provider: &CryptoProvider, total: usize) -> Checked<()> {
        for number in 0..total * 45 / 100 {
            self.pkcs(number)?;
        }
        self.refused_by_policy()?;
        for number in 0..total * 15 / 100 {
            self.recrypt(provider, number)?;
        }
        for number in 0..total * 20 / 100 {
            self.import(provider, number)?;
        }
        for number in 0..total * 15 / 100 {
            self.revoke(provider, number)?;
        }
        self.arrange_faults()
    }

    fn push(&mut self, flow: Flow, id: &str, device: usize, payload: Payload, expect: Expect) -> Checked<()> {
        let meta = self.meta(flow, id, device)?;
        self.expected.insert((flow, meta.id.clone()), expect);
        self.intune.push(QueueItem::new(meta, payload))
    }

    fn meta(&self, flow: Flow, id: &str, device: usize) -> Checked<RequestMeta> {
        let mut meta = RequestMeta::new(id.parse()?, self.id.clone(), flow);
        meta.device = Some(self.devices[device].id.clone());
        meta.correlation = vec![format!("activity-{id}").parse::<CorrelationId>()?];
        Ok(meta)
    }

    fn pkcs_request(&self, number: usize, account: &str) -> Checked<PkcsRequest> {
        let device = number % self.devices.len();
        let ca = if number % 15 == 14 { &self.digicert_name } else { &self.ca_name };
        let mut request = PkcsRequest::new(ca.clone(), format!("CN={account}"), self.devices[device].certificate.clone());
        request.subject_alt_names = vec![SubjectAltName::Upn(account.to_owned()), SubjectAltName::Email(account.to_owned())];
        request.extended_key_usage = vec![oids::CLIENT_AUTH.parse()?];
        request.sid = Some(format!("S-1-5-21-1004336348-1177238915-682003330-{}", 1_100 + number).parse::<Sid>()?);
        request.key = if number.is_multiple_of(10) { KeyAlgorithm::Rsa2048 } else { KeyAlgorithm::EcP256 };
        request.pfx_profile = if number % 4 == 3 { PfxProfile::Compat } else { PfxProfile::Modern };
        request.friendly_name = Some(format!("Wi-Fi {account}"));
        Ok(request)
    }

    fn pkcs(&mut self, number: usize) -> Checked<()> {
        let request = self.pkcs_request(number, &format!("user{number}@contoso.example"))?;
        self.push(Flow::Pkcs, &format!("pkcs-{number}"), number % self.devices.len(), Payload::Pkcs(Box::new(request)), Expect::Success)
    }

    fn refused_by_policy(&mut self) -> Checked<()> {
        let request = self.pkcs_request(0, "administrator@elsewhere.example")?;
        self.push(Flow::Pkcs, "pkcs-stranger", 0, Payload::Pkcs(Box::new(request)), Expect::Failure)
    }

    fn recrypt(&mut self, provider: &CryptoProvider, number: usize) -> Checked<()> {
        let device = number % self.devices.len();
        let payload = EnvelopeBuilder::new(ContentCipherAlgorithm::Aes256Cbc, KeyTransportAlgorithm::RsaOaepSha256)
            .recipient(&self.recrypt_certificate)
            .build(PAYLOAD, provider)?;
        let request = RecryptRequest::new(payload, self.devices[device].certificate.clone());
        self.push(Flow::PkcsRecrypt, &format!("recrypt-{number}"), device, Payload::Recrypt(Box::new(request)), Expect::Success)
    }

    fn import(&mut self, provider: &CryptoProvider, number: usize) -> Checked<()> {
        let device = number % self.devices.len();
        // NSS writes 600,000 rounds, over a second of work a file: two of them show it.
        let files = if number < 2 * IMPORTED.len() { IMPORTED.len() } else { IMPORTED.len() - 1 };
        let (name, file) = IMPORTED[number % files];
        self.push_import(provider, &format!("import-{number}-{name}"), device, file, Expect::Success)?;
        if number == 0 {
            self.push_import(provider, "import-wrong-password", device, WRONG_PASSWORD, Expect::Failure)?;
        }
        Ok(())
    }

    fn push_import(&mut self, provider: &CryptoProvider, id: &str, device: usize, file: &[u8], expect: Expect) -> Checked<()> {
        let scheme = PaddingScheme::OaepSha512;
        let encrypted =
            encrypt_password(provider, &self.import_key.public_key(), scheme, LegacyPadding::Refuse, &Password::from(IMPORT_PASSWORD))?;
        let recipient = self.devices[device].certificate.clone();
        let request = ImportRequest::new(self.import_key_name.clone(), scheme, encrypted, SecretBytes::copy_from(file), recipient);
        self.push(Flow::PkcsImport, id, device, Payload::Import(Box::new(request)), expect)
    }

    fn revoke(&mut self, provider: &CryptoProvider, number: usize) -> Checked<()> {
        let serial = self.certificate_to_revoke(provider)?;
        let mut request = RevokeRequest::new(serial.to_string());
        if number.is_multiple_of(2) {
            request.issuer = Some(self.ca_name.to_string());
        }
        self.push(Flow::Revoke, &format!("revoke-{number}"), 0, Payload::Revoke(request.clone()), Expect::Success)?;
        match number {
            0 => self.push(Flow::Revoke, "revoke-again", 0, Payload::Revoke(request), Expect::Success),
            1 => {
                let mut unknown = RevokeRequest::new("00DEADBEEF");
                unknown.issuer = Some(self.ca_name.to_string());
                self.push(Flow::Revoke, "revoke-unknown-serial", 0, Payload::Revoke(unknown), Expect::Failure)
            }
            2 => {
                let mut foreign = RevokeRequest::new("00C0FFEE");
                foreign.issuer = Some("Fabrikam Issuing CA".into());
                self.push(Flow::Revoke, "revoke-foreign", 0, Payload::Revoke(foreign), Expect::Untouched)
            }
            _ => Ok(()),
        }
    }

    fn certificate_to_revoke(&self, provider: &CryptoProvider) -> Checked<SerialNumber> {
        let key = provider.key_generation()?.generate(KeyAlgorithm::EcP256)?;
        let spki = provider.signing_keys()?.load(&key)?.public_key();
        let subject = Name::parse_cert_str("CN=left the company")?;
        let usage = KeyUsage { digital_signature: true, ..KeyUsage::default() };
        let certificate = self.ca.issue_service_certificate(subject, &spki, usage, &[], Duration::from_secs(86_400))?;
        Ok(certificate.serial().ok_or("the CA issued without a serial number")?.clone())
    }

    /// Failing CAs, lost answers, refused uploads, failed polls, a repeated delivery.
    fn arrange_faults(&mut self) -> Checked<()> {
        let faults = LocalCaFaults::none().then(6, LocalCaFault::FailTransiently).then(3, LocalCaFault::LoseAnswer);
        self.ca.inject_faults(faults.every(25, LocalCaFault::FailTransiently).fail_revocations(2));
        self.digicert.inject_faults(LocalCaFaults::none().then(1, LocalCaFault::FailTransiently));
        let repeated = Payload::Pkcs(Box::new(self.pkcs_request(5, "user5@contoso.example")?));
        let again = QueueItem::new(self.meta(Flow::Pkcs, "pkcs-5", 5)?, repeated);
        self.intune.arrange_faults(&["pkcs-3", "recrypt-2", "import-1-openssl-legacy"], again)
    }
}
