//! The SCEP half: the service as a real front end would call it, and devices that enrol with keys of their own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use intune_connector::adapters::{StdRuntime, VolatileJournal};
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
use intune_connector::ports::{EventSink, Runtime as _};
use intune_connector::scep::{Persistence, RegistrationAuthority, Request, Service};
use intune_connector::secret::Password;
use intune_connector::terms::{KeyAlgorithm, KeyUsage, SubjectAltName, oids};
use intune_connector::time::Timestamp;

use crate::device::Checked;
use crate::intune::Intune;
use crate::tenant::Tenant;

const DAY: Duration = Duration::from_secs(86_400);
/// How many challenges a device gets before it gives up.
const CHALLENGES: usize = 20;
const PAUSE: Duration = Duration::from_millis(500);
const SIGN: SignatureAlgorithm = SignatureAlgorithm::RsaPkcs1Sha256;

/// The service and the certificate that its clients encrypt to.
pub struct Scep {
    service: Service,
    ra: Certificate,
    runtime: Arc<StdRuntime>,
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

impl Scep {
    pub async fn new(provider: &CryptoProvider, tenant: &Tenant, runtime: Arc<StdRuntime>, sink: Arc<dyn EventSink>) -> Checked<Self> {
        let keys = (0..5).map(|_| key(provider)).collect::<Checked<Vec<_>>>()?;
        let ra_key = key(provider)?;
        let subject = Name::parse_cert_str("CN=Contoso RA")?;
        let ra = tenant.ca.issue_service_certificate(subject, &ra_key.signing.public_key(), KeyUsage::SIGN_AND_ENCIPHER, &[], 90 * DAY)?;
        let authority = RegistrationAuthority::single(ra.der().clone(), ra_key.signing, ra_key.decryption);
        let policy = IssuancePolicy::deny_all().accept_names_checked_by_validator().allow_extended_key_usage(oids::CLIENT_AUTH.parse()?);
        let service = Service::builder(
            provider.clone(),
            Arc::new(VolatileJournal::new()),
            tenant.ca_name.clone(),
            tenant.ca.clone(),
            authority,
            tenant.intune.validator(),
            tenant.intune.notifier(),
        )
        .tenant(tenant.id.clone())
        .instance("demonstration-1".parse()?)
        .runtime(runtime.clone())
        .sink(sink)
        .policy(policy)
        // The CA of this demonstration fails up to nine times in a row, and these devices do not ask again as real ones do.
        .persistence(Persistence::default().with_attempts(12, 3).with_backoff(Duration::from_millis(50), Duration::from_secs(1)))
        .build()
        .await?;
        Ok(Self { service, ra, runtime, keys })
    }

    /// Enrols so many devices one after the other; one sends its message again, and one comes with another's challenge.
    pub async fn enrol(&self, provider: &CryptoProvider, intune: &dyn Intune, devices: usize) -> Enrolments {
        let mut done = Enrolments::default();
        for number in 0..devices {
            let name = format!("scep-device-{number}");
            if let Err(error) = self.enrol_device(provider, intune, number, &name, &mut done).await {
                done.faults.push(format!("{name}: {error}"));
            }
        }
        if devices > 0 {
            let thief = match intune.challenge("scep-device-1") {
                Ok(stolen) => self.enrol_once(provider, 0, "scep-thief", &stolen, &mut done).await,
                Err(error) => Err(error),
            };
            if !matches!(thief, Ok(None)) {
                done.faults.push("scep-thief: not refused with another's challenge".into());
            }
        }
        done
    }

    /// A device that is refused, since Intune did not answer or could not be told, gets a new challenge with its profile.
    async fn enrol_device(
        &self,
        provider: &CryptoProvider,
        intune: &dyn Intune,
        number: usize,
        name: &str,
        done: &mut Enrolments,
    ) -> Checked<()> {
        for _ in 0..CHALLENGES {
            if let Some(certificate) = self.enrol_once(provider, number, name, &intune.challenge(name)?, done).await? {
                let told = intune.notified();
                if !told.contains(&certificate.thumbprint(provider)?.to_string()) {
                    return Err("Intune was not told of its certificate".into());
                }
                return Ok(());
            }
            // A real device waits for its next check-in.
            self.runtime.sleep(PAUSE).await;
        }
        Err(format!("refused {CHALLENGES} times").into())
    }

    /// One challenge under one transactionID; `None` when it is refused.
    async fn enrol_once(
        &self,
        provider: &CryptoProvider,
        number: usize,
        name: &str,
        challenge: &str,
        done: &mut Enrolments,
    ) -> Checked<Option<Certificate>> {
        let key = &self.keys[number % self.keys.len()];
        let transaction = format!("{name}-{}", done.sent);
        let (message, reply_to, signer) = self.request(provider, key, (name, &transaction), challenge)?;
        let started = Instant::now();
        let reply = self.post(provider, &message, &reply_to, done).await?;
        done.times.push(started.elapsed());
        if reply.status() != PkiStatus::Success {
            done.refused += 1;
            return Ok(None);
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
            Ok(Some(certificate))
        } else {
            Err("the certificate is for another key or name".into())
        }
    }

    fn request(
        &self,
        provider: &CryptoProvider,
        key: &Key,
        (name, transaction): (&str, &str),
        challenge: &str,
    ) -> Checked<(Vec<u8>, ReplyTo, Certificate)> {
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

        let transaction = TransactionId::try_from(transaction.as_bytes().to_vec())?;
        let message = PkiRequestBuilder::pkcs_req(transaction, &csr).to_be_signed(&own, &self.ra, SIGN, provider)?;
        let signature = sign_now(&*key.signing, SIGN, message.message())?;
        let (message, reply_to) = message.finish(&signature);
        Ok((message, reply_to, own))
    }

    async fn post(&self, provider: &CryptoProvider, message: &[u8], to: &ReplyTo, done: &mut Enrolments) -> Checked<ScepResponse> {
        let mut response = self.service.handle(Request::post("operation=PKIOperation", message.to_vec())).await;
        for _ in 0..CHALLENGES {
            let Some(wait) = response.retry_after.filter(|_| response.status == 503) else { break };
            self.runtime.sleep(wait).await;
            response = self.service.handle(Request::post("operation=PKIOperation", message.to_vec())).await;
        }
        done.sent += 1;
        Ok(ScepResponse::parse(&response.body, to, &self.ra, LegacyDigests::Refuse, provider, &Limits::default())?)
    }
}

fn key(provider: &CryptoProvider) -> Checked<Key> {
    let key = provider.key_generation()?.generate(KeyAlgorithm::Rsa2048)?;
    Ok(Key { signing: provider.signing_keys()?.load(&key)?, decryption: provider.decryption_keys()?.load(&key)? })
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
