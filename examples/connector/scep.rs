//! The SCEP half: the service as a real front end would call it, and devices that enrol with keys of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use intune_connector::adapters::{CallbackValidator, StdRuntime, VolatileJournal};
use intune_connector::crypto::{CryptoProvider, DecryptionKey, SignatureAlgorithm, SigningKey, sign_now, unwrap_now};
use intune_connector::ids::TransactionId;
use intune_connector::limits::Limits;
use intune_connector::message::certificate::{Certificate, CertificateBuilder};
use intune_connector::message::csr::CsrBuilder;
use intune_connector::message::enveloped::LegacyCiphers;
use intune_connector::message::name::Name;
use intune_connector::message::scep::{PkiRequestBuilder, PkiStatus, ReplyTo, ScepResponse};
use intune_connector::message::signed::{LegacyDigests, Signed};
use intune_connector::policy::IssuancePolicy;
use intune_connector::ports::{EventSink, FailureNotification, PortError, ScepNotifier, SuccessNotification, Verdict, Vouched};
use intune_connector::scep::{Persistence, RegistrationAuthority, Request, Service};
use intune_connector::secret::Password;
use intune_connector::terms::{KeyAlgorithm, KeyUsage, SubjectAltName, oids};
use intune_connector::time::Timestamp;

use crate::device::Checked;
use crate::tenant::Tenant;

const DAY: Duration = Duration::from_secs(86_400);
const SIGN: SignatureAlgorithm = SignatureAlgorithm::RsaPkcs1Sha256;

/// The service and the certificate that its clients encrypt to.
pub struct Scep {
    service: Service,
    ra: Certificate,
    notifications: Arc<Notifications>,
    keys: Vec<Key>,
}

struct Key {
    signing: Arc<dyn SigningKey>,
    decryption: Arc<dyn DecryptionKey>,
}

/// What became of the enrolments.
#[derive(Default)]
pub struct Enrolments {
    pub sent: u64,
    pub issued: u64,
    pub refused: u64,
    pub times: Vec<Duration>,
    pub faults: Vec<String>,
}

/// Stands for Intune: counts what it is told.
#[derive(Debug, Default)]
struct Notifications(AtomicUsize);

#[async_trait]
impl ScepNotifier for Notifications {
    async fn success(&self, _: SuccessNotification<'_>) -> Result<(), PortError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn failure(&self, _: FailureNotification<'_>) -> Result<(), PortError> {
        Ok(())
    }
}

impl Scep {
    pub async fn new(provider: &CryptoProvider, tenant: &Tenant, runtime: Arc<StdRuntime>, sink: Arc<dyn EventSink>) -> Checked<Self> {
        let keys = (0..5).map(|_| key(provider)).collect::<Checked<Vec<_>>>()?;
        let ra_key = key(provider)?;
        let subject = Name::parse_cert_str("CN=Contoso RA")?;
        let ra = tenant.ca.issue_service_certificate(subject, &ra_key.signing.public_key(), KeyUsage::SIGN_AND_ENCIPHER, &[], 90 * DAY)?;
        // As Intune does: the challenge was made for one device and one profile; whoever knows it gets those names and no others.
        let validator = CallbackValidator::new(|csr, _| {
            let expected = csr.subject().common_name().map(|name| challenge(&name)).unwrap_or_default();
            if csr.challenge_password().is_some_and(|given| given.secret_bytes() == expected.as_bytes()) {
                let mut vouched = Vouched::default();
                vouched.names_checked = true;
                Ok(Verdict::Accepted(vouched))
            } else {
                Ok(Verdict::Rejected {
                    code: "ChallengeDecryptionError".into(),
                    description: "the challenge is not for this device".into(),
                })
            }
        });
        let notifications = Arc::new(Notifications::default());
        let authority = RegistrationAuthority::single(ra.der().clone(), ra_key.signing, ra_key.decryption);
        let policy = IssuancePolicy::deny_all().accept_names_checked_by_validator().allow_extended_key_usage(oids::CLIENT_AUTH.parse()?);
        let service = Service::builder(
            provider.clone(),
            Arc::new(VolatileJournal::new()),
            tenant.ca_name.clone(),
            tenant.ca.clone(),
            authority,
            Arc::new(validator),
            notifications.clone(),
        )
        .tenant(tenant.id.clone())
        .instance("demonstration-1".parse()?)
        .runtime(runtime)
        .sink(sink)
        .policy(policy)
        // The CA of this demonstration fails up to nine times in a row, and these devices do not ask again as real ones do.
        .persistence(Persistence::default().with_attempts(12, 3).with_backoff(Duration::from_millis(50), Duration::from_secs(1)))
        .build()
        .await?;
        Ok(Self { service, ra, notifications, keys })
    }

    /// Enrols so many devices one after the other; then one message again, and one with another's challenge.
    pub async fn enrol(&self, provider: &CryptoProvider, devices: usize) -> Enrolments {
        let mut done = Enrolments::default();
        for number in 0..devices {
            let name = format!("scep-device-{number}");
            if let Err(error) = self.enrol_one(provider, number, &name, &challenge(&name), &mut done).await {
                done.faults.push(format!("{name}: {error}"));
            }
        }
        if devices > 0 {
            let thief = self.enrol_one(provider, 0, "scep-thief", &challenge("scep-device-1"), &mut done).await;
            if thief.is_ok() {
                done.faults.push("scep-thief: enrolled with another's challenge".into());
            }
        }
        let told = self.notifications.0.load(Ordering::Relaxed) as u64;
        if told != done.issued {
            done.faults.push(format!("{} certificates were released, {told} were notified", done.issued));
        }
        done
    }

    async fn enrol_one(&self, provider: &CryptoProvider, number: usize, name: &str, challenge: &str, done: &mut Enrolments) -> Checked<()> {
        let key = &self.keys[number % self.keys.len()];
        let (message, reply_to, signer) = self.request(provider, key, name, challenge)?;
        let started = Instant::now();
        let reply = self.post(provider, &message, &reply_to, done).await?;
        done.times.push(started.elapsed());
        if reply.status() != PkiStatus::Success {
            done.refused += 1;
            return Err(format!("refused with {:?}", reply.fail_info()).into());
        }
        let certificate = read_certificate(provider, key, &signer, &reply)?;
        done.issued += 1;
        if number == 0 {
            // A client that lost the answer sends the same again: it gets the same certificate, and nothing is issued.
            let again = self.post(provider, &message, &reply_to, done).await?;
            if read_certificate(provider, key, &signer, &again)?.der() != certificate.der() {
                return Err("the same request got another certificate".into());
            }
        }
        if certificate.spki() == key.signing.public_key().as_ref() && certificate.subject().common_name().as_deref() == Some(name) {
            Ok(())
        } else {
            Err("the certificate is for another key or name".into())
        }
    }

    fn request(&self, provider: &CryptoProvider, key: &Key, name: &str, challenge: &str) -> Checked<(Vec<u8>, ReplyTo, Certificate)> {
        let spki = key.signing.public_key();
        let subject = Name::parse_cert_str(&format!("CN={name}"))?;
        let csr = CsrBuilder::new(subject.clone(), &spki)
            .subject_alt_names(&[SubjectAltName::Dns(format!("{name}.contoso.example"))])
            .extended_key_usage(&[oids::CLIENT_AUTH.parse()?])
            .key_usage(KeyUsage::SIGN_AND_ENCIPHER)
            .challenge_password(&Password::from(challenge))
            .to_be_signed(SIGN)?;
        let signature = sign_now(&*key.signing, SIGN, csr.message())?;
        let csr = csr.finish(&signature);

        let now = Timestamp::system_now();
        let own = CertificateBuilder::new(subject, &spki, now.saturating_sub(DAY), now.saturating_add(DAY), "01".parse()?)
            .key_usage(KeyUsage::SIGN_AND_ENCIPHER)
            .to_be_signed(SIGN)?;
        let signature = sign_now(&*key.signing, SIGN, own.message())?;
        let own = Certificate::from_der(&own.finish(&signature), &Limits::default())?;

        let transaction = TransactionId::try_from(name.as_bytes().to_vec())?;
        let message = PkiRequestBuilder::pkcs_req(transaction, &csr).to_be_signed(&own, &self.ra, SIGN, provider)?;
        let signature = sign_now(&*key.signing, SIGN, message.message())?;
        let (message, reply_to) = message.finish(&signature);
        Ok((message, reply_to, own))
    }

    async fn post(&self, provider: &CryptoProvider, message: &[u8], to: &ReplyTo, done: &mut Enrolments) -> Checked<ScepResponse> {
        done.sent += 1;
        let response = self.service.handle(Request::post("operation=PKIOperation", message.to_vec())).await;
        Ok(ScepResponse::parse(&response.body, to, &self.ra, LegacyDigests::Refuse, provider, &Limits::default())?)
    }
}

fn key(provider: &CryptoProvider) -> Checked<Key> {
    let key = provider.key_generation()?.generate(KeyAlgorithm::Rsa2048)?;
    Ok(Key { signing: provider.signing_keys()?.load(&key)?, decryption: provider.decryption_keys()?.load(&key)? })
}

fn challenge(device: &str) -> String {
    format!("made for {device}")
}

fn read_certificate(provider: &CryptoProvider, key: &Key, own: &Certificate, reply: &ScepResponse) -> Checked<Certificate> {
    let limits = Limits::default();
    let mut opening = reply.open(LegacyCiphers::Refuse, &limits)?;
    let request = opening.unwrap_request(own, provider)?;
    let content = opening.finish(unwrap_now(&*key.decryption, &request), provider)?;
    let signed = Signed::parse(content.secret_bytes(), &limits)?;
    let certificate = signed.certificates().next().ok_or("the reply holds no certificate")?;
    Ok(Certificate::from_der(&certificate, &limits)?)
}
