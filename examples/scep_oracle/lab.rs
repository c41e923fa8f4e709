//! The service in process: on one thread, with keys that look at the clock, and a validator and a CA that must never be asked.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use intune_connector::adapters::{LocalCa, NoNotification, RecordingSink, StdRuntime, VolatileJournal};
use intune_connector::crypto::{CryptoProvider, DecryptionKey, SignError, SignatureAlgorithm, SigningKey, UnwrapError, UnwrapRequest};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::name::Name;
use intune_connector::policy::IssuancePolicy;
use intune_connector::ports::{
    Busy, CaCapabilities, CertificateAuthority, ChallengeValidator, FindAnswer, FindRequest, IssueAnswer, IssueRequest, PortError,
    RevokeAnswer, RevokeCall, Runtime, ValidateRequest, Verdict,
};
use intune_connector::scep::{RegistrationAuthority, Request, Response, Service};
use intune_connector::secret::{PrivateKeyPkcs8, SecretBytes};
use intune_connector::terms::{KeyAlgorithm, KeyUsage};
use intune_connector::time::Timestamp;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};

use crate::Result;
use crate::tape::Tape;

/// Between which two points of a request the time is taken.
pub const INTERVALS: [&str; 3] =
    ["the whole request", "from the decryption to the reply's signature", "from behind the decryption to the reply's signature"];

/// One answered request.
pub struct Answered {
    pub response: Response,
    /// In nanoseconds, in the order of [`INTERVALS`].
    pub took: [u32; 3],
}

/// A service under test.
pub struct Lab {
    pub ra: Certificate,
    pub sink: Arc<RecordingSink>,
    /// The private-key operations and other primitives since it was last cleared.
    pub tape: Tape,
    never: Arc<Never>,
    runtime: Arc<OneThread>,
    service: Service,
    clock: Arc<Clock>,
}

impl Lab {
    /// With `recorded` the primitives are written down, which costs time.
    pub fn new(provider: &CryptoProvider, ra_key: &PrivateKeyPkcs8, recorded: bool) -> Result<Self> {
        let tape = Tape::default();
        let below = if recorded { tape.record(provider) } else { provider.clone() };
        let ca = LocalCa::new(provider.clone(), "Oracle test CA".parse()?, KeyAlgorithm::EcP256)?;
        let (signing, decryption) = (below.signing_keys()?.load(ra_key)?, below.decryption_keys()?.load(ra_key)?);
        let year = Duration::from_secs(365 * 86_400);
        let ra = ca.issue_service_certificate(
            Name::parse_cert_str("CN=Oracle test RA")?,
            signing.public_key().as_ref(),
            KeyUsage::SIGN_AND_ENCIPHER,
            &[],
            year,
        )?;
        let clock = Arc::new(Clock::default());
        let never = Arc::new(Never { ca, asked: AtomicU64::new(0) });
        let (sink, runtime) = (Arc::new(RecordingSink::with_capacity(64)), Arc::new(OneThread(StdRuntime::with_threads(1, 16)?)));
        let service = Service::builder(
            below,
            Arc::new(VolatileJournal::new()),
            never.ca.name().clone(),
            never.clone(),
            RegistrationAuthority::single(
                ra.der().clone(),
                Arc::new(Clocked { key: signing, clock: clock.clone() }),
                Arc::new(Clocked { key: decryption, clock: clock.clone() }),
            ),
            never.clone(),
            Arc::new(NoNotification),
        )
        .tenant("example.invalid".parse()?)
        .instance("oracle-test".parse()?)
        .sink(sink.clone())
        .runtime(runtime.clone())
        .policy(IssuancePolicy::dangerous_allow_any_identity());
        let service = runtime.0.block_on(service.build())?;
        let ra = Certificate::from_der(ra.der(), &Limits::default())?;
        tape.clear();
        Ok(Self { ra, sink, tape, never, runtime, service, clock })
    }

    /// Answers one request; `delay` is put in on purpose, behind the decryption.
    pub fn answer(&self, message: Vec<u8>, delay: Duration) -> Answered {
        let request = Request::post("operation=PKIOperation", message);
        self.clock.delay.store(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let start = self.clock.now();
        let response = self.runtime.0.block_on(self.service.handle(request));
        let end = self.clock.now();
        let [from, behind, signature] = self.clock.marks.each_ref().map(|mark| mark.load(Ordering::Relaxed));
        let took = [end - start, signature - from, signature - behind].map(|nanos| u32::try_from(nanos).unwrap_or(u32::MAX));
        Answered { response, took }
    }

    /// How often validator or CA were asked.
    pub fn asked(&self) -> u64 {
        self.never.asked.load(Ordering::Relaxed)
    }
}

/// Runs CPU work where it is asked for, so that the clock sees all of it and no other thread.
#[derive(Debug)]
struct OneThread(StdRuntime);

impl Runtime for OneThread {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.0.sleep(duration)
    }

    fn offload(&self, job: Box<dyn FnOnce() + Send>) -> core::result::Result<(), Busy> {
        job();
        Ok(())
    }
}

/// Where a request was when: before the decryption, behind it, before the signature.
#[derive(Debug)]
struct Clock {
    zero: Instant,
    marks: [AtomicU64; 3],
    delay: AtomicU64,
}

impl Default for Clock {
    fn default() -> Self {
        Self { zero: Instant::now(), marks: Default::default(), delay: AtomicU64::new(0) }
    }
}

impl Clock {
    fn now(&self) -> u64 {
        u64::try_from(self.zero.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn mark(&self, place: usize) {
        self.marks[place].store(self.now(), Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Clocked<K: ?Sized> {
    clock: Arc<Clock>,
    key: Arc<K>,
}

#[async_trait]
impl DecryptionKey for Clocked<dyn DecryptionKey> {
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.key.public_key()
    }

    fn is_local(&self) -> bool {
        true
    }

    async fn unwrap(&self, request: &UnwrapRequest) -> core::result::Result<SecretBytes, UnwrapError> {
        self.clock.mark(0);
        let unwrapped = self.key.unwrap(request).await;
        self.clock.mark(1);
        let until = self.clock.now().saturating_add(self.clock.delay.load(Ordering::Relaxed));
        while self.clock.now() < until {
            core::hint::spin_loop();
        }
        unwrapped
    }
}

#[async_trait]
impl SigningKey for Clocked<dyn SigningKey> {
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.key.public_key()
    }

    fn algorithms(&self) -> Vec<SignatureAlgorithm> {
        self.key.algorithms()
    }

    fn is_local(&self) -> bool {
        true
    }

    async fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> core::result::Result<Vec<u8>, SignError> {
        self.clock.mark(2);
        self.key.sign(algorithm, message).await
    }
}

/// A validator and a CA that count how often they are asked for something.
#[derive(Debug)]
struct Never {
    ca: LocalCa,
    asked: AtomicU64,
}

impl Never {
    fn refuse<T>(&self) -> core::result::Result<T, PortError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Err(PortError::rejected("nothing of this test may get here"))
    }
}

#[async_trait]
impl ChallengeValidator for Never {
    async fn validate(&self, _: ValidateRequest<'_>) -> core::result::Result<Verdict, PortError> {
        self.refuse()
    }
}

#[async_trait]
impl CertificateAuthority for Never {
    fn capabilities(&self) -> CaCapabilities {
        self.ca.capabilities()
    }

    async fn issue(&self, _: IssueRequest<'_>) -> core::result::Result<IssueAnswer, PortError> {
        self.refuse()
    }

    async fn find(&self, _: FindRequest<'_>) -> core::result::Result<FindAnswer, PortError> {
        self.refuse()
    }

    async fn revoke(&self, _: RevokeCall<'_>) -> core::result::Result<RevokeAnswer, PortError> {
        self.refuse()
    }

    async fn chain(&self) -> core::result::Result<Vec<CertificateDer<'static>>, PortError> {
        self.ca.chain().await
    }
}
