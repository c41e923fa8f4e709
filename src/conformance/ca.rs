//! Checks of a certificate authority.

use core::time::Duration;

use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};

use super::report::{Report, Stop, broken, demand, only_if};
use crate::crypto::{CryptoProvider, SignatureAlgorithm, sign_now};
use crate::ids::{CaName, IdempotencyKey, RequestId, SerialNumber, Sid, TemplateName, TenantId};
use crate::limits::Limits;
use crate::message::certificate::Certificate;
use crate::message::crl::Crl;
use crate::message::csr::{Csr, CsrBuilder};
use crate::message::name::Name;
use crate::policy::post_issue::{self, Expected};
use crate::policy::{IssuancePolicy, SidPolicy, SubjectRule};
use crate::ports::{
    Approved, CaCapabilities, CertificateAuthority, CertificatePlan, FindAnswer, FindRequest, IssueAnswer, IssueRequest, Issued,
    LookupAnswer, LookupRequest, PortError, PortErrorKind, RequestMeta, RevokeAnswer, RevokeBy, RevokeCall, Runtime, StatusRequest,
};
use crate::terms::{Flow, KeyAlgorithm, KeyUsage, RevocationReason, SID_URI_PREFIX, oid, oids};
use crate::time::Timestamp;

const VALIDITY: Duration = Duration::from_secs(30 * 86_400);
const SID: &str = "S-1-5-21-1004336348-1177238915-682003330-4711";
/// Enough to see a status change; patience ends the polls before.
const MOST_POLLS: usize = 1_000;

/// A CA that may issue throw-away certificates.
#[derive(Debug)]
#[non_exhaustive]
pub struct CaUnderTest<'a> {
    /// The CA. It issues about ten certificates for `CN=conformance test …` and revokes some.
    pub ca: &'a dyn CertificateAuthority,
    /// Its name.
    pub name: CaName,
    /// The template or profile to ask for.
    pub template: Option<TemplateName>,
    /// The keys to have certified.
    pub key: KeyAlgorithm,
    /// Makes keys, signs and verifies.
    pub provider: &'a CryptoProvider,
    /// For the time, and to wait for pending requests.
    pub runtime: &'a dyn Runtime,
    /// How long a request may stay pending. Default 60 s.
    pub patience: Duration,
}

impl<'a> CaUnderTest<'a> {
    /// A CA with RSA-2048 keys and its default template.
    #[must_use]
    pub fn new(ca: &'a dyn CertificateAuthority, name: CaName, provider: &'a CryptoProvider, runtime: &'a dyn Runtime) -> Self {
        Self { ca, name, template: None, key: KeyAlgorithm::Rsa2048, provider, runtime, patience: Duration::from_secs(60) }
    }

    /// Sets the template.
    #[must_use]
    pub fn with_template(mut self, template: TemplateName) -> Self {
        self.template = Some(template);
        self
    }

    /// Sets the keys to have certified.
    #[must_use]
    pub fn with_key(mut self, key: KeyAlgorithm) -> Self {
        self.key = key;
        self
    }

    /// Sets how long a request may stay pending.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

/// Checks a CA. Each issued certificate was approved by a policy of this function, which allows nothing but `CN=conformance test …`.
pub async fn check_certificate_authority(test: &CaUnderTest<'_>) -> Report {
    let mut report = Report::new("CertificateAuthority");
    let can = test.ca.capabilities();
    report.run("the capabilities stay", async { demand(test.ca.capabilities() == can, || "a second call gave others".to_owned()) }).await;
    report.run("the chain begins with the issuing certificate", test.chain()).await;
    report.run("a certificate is issued as planned", test.issues_as_planned()).await;
    report.run("two requests get two serial numbers", test.two_requests()).await;
    report.run("the same idempotency key gives the same certificate", test.idempotent(&can)).await;
    report.run("find knows what was issued", test.finds(&can)).await;
    report.run("find says Absent for what was never asked", test.finds_nothing(&can)).await;
    report.run("what was issued is never called Absent", test.never_denies()).await;
    report.run("the SID extension is written", test.sid_extension(&can)).await;
    report.run("the SID URI is written", test.sid_uri(&can)).await;
    report.run("an issued certificate is revoked once, and the second time already revoked", test.revokes(&can)).await;
    report.run("an unknown serial number is called unknown", test.revokes_unknown(&can)).await;
    report.run("lookup knows the serial numbers that were issued", test.looks_up(&can)).await;
    report.run("the CRL is signed by the CA and lists what was revoked", test.crl(&can)).await;
    report
}

/// A request to issue, with all that is needed to judge the answer.
struct Asked {
    key: IdempotencyKey,
    csr: CertificateSigningRequestDer<'static>,
    public_key: Vec<u8>,
    plan: CertificatePlan,
    approved: Approved,
}

impl CaUnderTest<'_> {
    fn deadline(&self) -> Timestamp {
        self.runtime.now().saturating_add(self.patience)
    }

    fn random<const N: usize>(&self) -> Result<[u8; N], Stop> {
        let mut bytes = [0; N];
        self.provider.random().map_err(broken)?.fill(&mut bytes).map_err(broken)?;
        Ok(bytes)
    }

    /// Makes a request: key pair, CSR, and the approval of the throw-away policy.
    fn prepare(&self, sid: SidPolicy) -> Result<Asked, Stop> {
        let number = u64::from_be_bytes(self.random()?);
        let subject = Name::parse_cert_str(&format!("CN=conformance test {number:016x}")).map_err(broken)?;
        let now = self.runtime.now();
        let usage = oid(oids::CLIENT_AUTH);
        let account: Sid = SID.parse().map_err(broken)?;

        let mut plan = CertificatePlan::new(self.name.clone(), subject.as_der().to_vec(), self.key, now.saturating_add(VALIDITY));
        plan.template.clone_from(&self.template);
        plan.extended_key_usage = vec![usage.clone()];
        if !self.key.is_rsa() {
            plan.key_usage = KeyUsage { digital_signature: true, ..KeyUsage::default() };
        }
        plan.sid_extension = sid.writes_extension().then(|| account.clone());
        if sid.writes_uri() {
            plan.subject_alt_names.push(crate::terms::SubjectAltName::Uri(format!("{SID_URI_PREFIX}{account}")));
        }

        let pair = self.provider.key_generation().map_err(broken)?.generate(self.key).map_err(broken)?;
        let signer = self.provider.signing_keys().map_err(broken)?.load(&pair).map_err(broken)?;
        let public_key = signer.public_key().to_vec();
        let algorithm = match self.key {
            KeyAlgorithm::EcP256 => SignatureAlgorithm::EcdsaP256Sha256,
            KeyAlgorithm::EcP384 => SignatureAlgorithm::EcdsaP384Sha384,
            _ => SignatureAlgorithm::RsaPkcs1Sha256,
        };
        let to_be_signed = CsrBuilder::new(subject, &public_key)
            .subject_alt_names(&plan.subject_alt_names)
            .extended_key_usage(&plan.extended_key_usage)
            .key_usage(plan.key_usage)
            .sid(plan.sid_extension.clone())
            .to_be_signed(algorithm)
            .map_err(broken)?;
        let signature = sign_now(&*signer, to_be_signed.algorithm(), to_be_signed.message()).map_err(broken)?;
        let csr = to_be_signed.finish(&signature);

        let mut policy = IssuancePolicy::deny_all()
            .subject_rule(SubjectRule::AnyName)
            .allow_extended_key_usage(usage)
            .allow_built_in_sid(account)
            .sid_policy(sid)
            .max_validity(VALIDITY.saturating_mul(2));
        if let Some(template) = &self.template {
            policy = policy.allow_template(template.clone());
        }
        let id = RequestId::try_from(format!("conformance test {number:016x}")).map_err(broken)?;
        let tenant = TenantId::try_from("conformance-test".to_owned()).map_err(broken)?;
        let meta = RequestMeta::new(id, tenant, Flow::Pkcs);
        let parsed = Csr::from_der(&csr, &Limits::default()).map_err(broken)?;
        let approved = policy.approve(self.provider, &parsed, &plan, &meta, now).map_err(broken)?;
        Ok(Asked { key: IdempotencyKey::new(self.random()?), csr: csr.into(), public_key, plan, approved })
    }

    /// Asks, and waits while the request is pending.
    async fn ask(&self, asked: &Asked) -> Result<Issued, Stop> {
        let request =
            IssueRequest { approved: &asked.approved, key: asked.key, csr: &asked.csr, plan: &asked.plan, deadline: self.deadline() };
        let mut answer = self.ca.issue(request).await?;
        let until = self.runtime.monotonic() + self.patience;
        for _ in 0..MOST_POLLS {
            let (poll_id, after) = match answer {
                IssueAnswer::Issued(issued) => return Ok(*issued),
                IssueAnswer::Pending { poll_id, after } => (poll_id, after),
            };
            demand(self.ca.capabilities().pending, || "it answered Pending, which it does not claim".to_owned())?;
            demand(self.runtime.monotonic() < until, || format!("still pending after {:?}", self.patience))?;
            self.runtime.sleep(after.max(Duration::from_millis(10))).await;
            answer = self.ca.status(StatusRequest::new(asked.key, &poll_id, self.deadline())).await?;
        }
        Err(Stop::Failed(format!("still pending after {MOST_POLLS} polls")))
    }

    async fn issue(&self) -> Result<(Asked, Issued), Stop> {
        let asked = self.prepare(SidPolicy::Off)?;
        let issued = self.ask(&asked).await?;
        Ok((asked, issued))
    }

    async fn find(&self, asked: &Asked) -> Result<FindAnswer, PortError> {
        self.ca.find(FindRequest::new(asked.key, &asked.csr, &asked.public_key, &asked.plan, self.deadline())).await
    }

    async fn lookup(&self, serial: &SerialNumber) -> Result<LookupAnswer, PortError> {
        self.ca.lookup(LookupRequest::new(serial, self.deadline())).await
    }

    async fn revoke(&self, issued: &Issued) -> Result<RevokeAnswer, Stop> {
        let serial = serial(issued)?;
        let call = RevokeCall::new(
            &serial,
            Some(&issued.certificate),
            issued.ca_side_id.as_deref(),
            RevocationReason::CessationOfOperation,
            self.deadline(),
        );
        Ok(self.ca.revoke(call).await?)
    }

    /// A serial number that nobody issued.
    fn unissued(&self) -> Result<SerialNumber, Stop> {
        let mut bytes: [u8; 19] = self.random()?;
        bytes[0] |= 0x40;
        SerialNumber::from_be_bytes(&bytes).map_err(broken)
    }

    async fn chain(&self) -> Result<(), Stop> {
        let chain = self.ca.chain().await?;
        let issuer = chain.first().ok_or_else(|| Stop::Failed("the chain is empty".to_owned()))?;
        let issuer = parse(issuer)?;
        demand(issuer.is_ca(), || "the first certificate is no CA's".to_owned())?;
        let (_, issued) = self.issue().await?;
        let verified = parse(&issued.certificate)?.verify_signed_by(self.provider, issuer.spki());
        demand(verified.is_ok(), || "an issued certificate is not signed by the first certificate of the chain".to_owned())
    }

    async fn issues_as_planned(&self) -> Result<(), Stop> {
        let (asked, issued) = self.issue().await?;
        self.judge(&asked, &issued).await
    }

    async fn judge(&self, asked: &Asked, issued: &Issued) -> Result<(), Stop> {
        let chain: Vec<CertificateDer<'static>> = self.ca.chain().await?;
        let roots: Vec<_> = chain.last().cloned().into_iter().collect();
        let issuers: Vec<_> = issued.chain.iter().chain(&chain).cloned().collect();
        let expected = Expected::new(&asked.plan, &asked.public_key, &roots, self.runtime.now());
        post_issue::check(self.provider, &Limits::default(), &issued.certificate, &issuers, &expected)
            .map(|_| ())
            .map_err(|error| Stop::Failed(error.to_string()))
    }

    async fn two_requests(&self) -> Result<(), Stop> {
        let (_, first) = self.issue().await?;
        let (_, second) = self.issue().await?;
        demand(serial(&first)? != serial(&second)?, || "they got one serial number".to_owned())
    }

    async fn idempotent(&self, can: &CaCapabilities) -> Result<(), Stop> {
        only_if(can.idempotent_issue, "it does not claim idempotent issue")?;
        let (asked, first) = self.issue().await?;
        let again = self.ask(&asked).await?;
        demand(first.certificate == again.certificate, || "the second call with one key issued a second certificate".to_owned())
    }

    async fn finds(&self, can: &CaCapabilities) -> Result<(), Stop> {
        only_if(can.find, "it does not claim find")?;
        let (asked, issued) = self.issue().await?;
        match self.find(&asked).await? {
            FindAnswer::Found(found) => demand(found.certificate == issued.certificate, || "it found another certificate".to_owned()),
            other => Err(Stop::Failed(format!("it answered {other:?} for a certificate that it had issued"))),
        }
    }

    async fn finds_nothing(&self, can: &CaCapabilities) -> Result<(), Stop> {
        only_if(can.find, "it does not claim find")?;
        let answer = self.find(&self.prepare(SidPolicy::Off)?).await?;
        demand(answer == FindAnswer::Absent, || format!("it answered {answer:?}"))
    }

    /// Whatever it claims: an `Absent` makes the connector ask again, or tell Intune that there is no such certificate.
    async fn never_denies(&self) -> Result<(), Stop> {
        let (asked, issued) = self.issue().await?;
        let found = self.find(&asked).await;
        demand(!matches!(found, Ok(FindAnswer::Absent)), || "find answered Absent".to_owned())?;
        let serial = serial(&issued)?;
        let looked_up = self.lookup(&serial).await;
        demand(!matches!(looked_up, Ok(LookupAnswer::Absent)), || "lookup answered Absent".to_owned())
    }

    async fn sid_extension(&self, can: &CaCapabilities) -> Result<(), Stop> {
        only_if(can.sid_extension, "it does not claim the SID extension")?;
        let asked = self.prepare(SidPolicy::Extension)?;
        let issued = self.ask(&asked).await?;
        self.judge(&asked, &issued).await
    }

    async fn sid_uri(&self, can: &CaCapabilities) -> Result<(), Stop> {
        only_if(can.uri_san, "it does not claim URI names")?;
        let asked = self.prepare(SidPolicy::Uri)?;
        let issued = self.ask(&asked).await?;
        self.judge(&asked, &issued).await
    }

    async fn revokes(&self, can: &CaCapabilities) -> Result<(), Stop> {
        only_if(!can.revoke_by.is_empty(), "it does not claim to revoke")?;
        let (_, issued) = self.issue().await?;
        let (_, other) = self.issue().await?;
        let first = self.revoke(&issued).await?;
        demand(first == RevokeAnswer::Revoked, || format!("the first call answered {first:?}"))?;
        let second = self.revoke(&issued).await?;
        demand(second == RevokeAnswer::AlreadyRevoked, || format!("the second call answered {second:?}"))?;
        let untouched = self.revoke(&other).await?;
        demand(untouched == RevokeAnswer::Revoked, || format!("another certificate was {untouched:?} although nobody had revoked it"))
    }

    async fn revokes_unknown(&self, can: &CaCapabilities) -> Result<(), Stop> {
        only_if(can.revoke_by.contains(&RevokeBy::Serial), "it does not claim to revoke by serial number")?;
        let call = || async {
            let serial = self.unissued()?;
            let call = RevokeCall::new(&serial, None, None, RevocationReason::CessationOfOperation, self.deadline());
            Ok::<_, Stop>(self.ca.revoke(call).await?)
        };
        let answer = call().await?;
        demand(answer == RevokeAnswer::UnknownSerial, || format!("it answered {answer:?}"))
    }

    async fn looks_up(&self, can: &CaCapabilities) -> Result<(), Stop> {
        only_if(can.lookup_by_serial, "it does not claim lookup by serial number")?;
        let (_, issued) = self.issue().await?;
        let serial = serial(&issued)?;
        let found = |answer: LookupAnswer| match answer {
            LookupAnswer::Found(known) => {
                let same = known.certificate.as_ref().is_none_or(|certificate| *certificate == issued.certificate);
                demand(same, || "it found another certificate".to_owned())
            }
            other => Err(Stop::Failed(format!("it answered {other:?} for a serial number that it had issued"))),
        };
        found(self.lookup(&serial).await?)?;
        if !can.revoke_by.is_empty() {
            self.revoke(&issued).await?;
            found(self.lookup(&serial).await?)?;
        }
        let answer = self.lookup(&self.unissued()?).await?;
        demand(answer == LookupAnswer::Absent, || format!("it answered {answer:?} for a serial number that nobody issued"))
    }

    async fn crl(&self, can: &CaCapabilities) -> Result<(), Stop> {
        let issued = if can.revoke_by.is_empty() {
            None
        } else {
            let (_, issued) = self.issue().await?;
            self.revoke(&issued).await?;
            Some(issued)
        };
        let crl = match self.ca.crl().await {
            Ok(crl) => crl,
            Err(error) if error.kind() == PortErrorKind::Unsupported => return Err(Stop::Skipped("it gives no CRL".to_owned())),
            Err(error) => return Err(error.into()),
        };
        let crl = Crl::from_der(&crl, &Limits::default()).map_err(|error| Stop::Failed(format!("the CRL cannot be read: {error}")))?;
        let chain = self.ca.chain().await?;
        let issuer = parse(chain.first().ok_or_else(|| Stop::Failed("the chain is empty".to_owned()))?)?;
        let signed = crl.verify_signed_by(self.provider, issuer.spki());
        demand(signed.is_ok(), || "the CRL is not signed by the issuing certificate's key".to_owned())?;
        let Some(issued) = issued else { return Ok(()) };
        let serial = serial(&issued)?;
        demand(crl.entries().iter().any(|entry| entry.serial.as_ref() == Some(&serial)), || {
            "the revoked certificate is not listed".to_owned()
        })
    }
}

fn serial(issued: &Issued) -> Result<SerialNumber, Stop> {
    let number = parse(&issued.certificate)?.serial().cloned();
    number.ok_or_else(|| Stop::Failed("a certificate's serial number is not positive or longer than 20 octets".to_owned()))
}

fn parse(certificate: &CertificateDer<'_>) -> Result<Certificate, Stop> {
    Certificate::from_der(certificate, &Limits::default()).map_err(|error| Stop::Failed(format!("a certificate cannot be read: {error}")))
}
