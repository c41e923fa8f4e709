//! What a SCEP service is made of and goes by.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::crypto::{ContentCipherAlgorithm, DigestAlgorithm};
use crate::message::enveloped::LegacyCiphers;
use crate::ports::{Row, RowState};
use crate::time::Timestamp;

/// When the client gets its certificate: before or after the notifier accepted the news of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NotificationPolicy {
    /// The contract of Intune's validation API: a certificate that Intune could not be told of is withheld, handed to revocation, and the
    /// client gets FAILURE.
    #[default]
    NotifyBeforeRelease,
    /// What Microsoft's connector does: the certificate goes out, the notification is stored in the journal and retried by
    /// [`Service::maintain`](super::Service::maintain).
    IssueThenNotify,
}

/// Which algorithms clients may use. MD5 is never among them, and nothing is ever written with single DES.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AlgorithmPolicy {
    /// AES-CBC and SHA-2.
    #[default]
    Modern,
    /// 3DES and SHA-1 too, for devices that know nothing better. Replies to them are as weak as their requests.
    DangerousAllow3DesAndSha1,
    /// Whoever records a request and searches 56 bits reads its CSR with the challenge in it. RFC 8894 section 2.9 says MUST NOT. Only
    /// micromdm's `scepclient`, which sends nothing else, and old Cisco devices need it.
    ///
    /// All that [`DangerousAllow3DesAndSha1`](Self::DangerousAllow3DesAndSha1) allows, and single DES in requests that are signed with SHA-1.
    /// In a request that is signed with SHA-2 it is refused as under every policy: that client knows AES, and was talked out of it. Answers
    /// to single DES are encrypted with AES-128-CBC and signed with SHA-256. Needs the feature `legacy-ciphers`.
    DangerousReadSingleDes,
}

impl AlgorithmPolicy {
    /// Whether 3DES and SHA-1 are allowed, both ways.
    pub(crate) fn allows_3des_and_sha1(self) -> bool {
        matches!(self, Self::DangerousAllow3DesAndSha1 | Self::DangerousReadSingleDes)
    }

    /// Whether a request is let in by its content cipher, if that is known here, and the weakest digest under its signature.
    pub(crate) fn allows(self, cipher: Option<ContentCipherAlgorithm>, digest: DigestAlgorithm) -> bool {
        let weak_digest = digest == DigestAlgorithm::Sha1;
        match cipher {
            Some(ContentCipherAlgorithm::DesCbc) => self == Self::DangerousReadSingleDes && weak_digest,
            Some(ContentCipherAlgorithm::DesEde3Cbc) => self.allows_3des_and_sha1(),
            _ => !weak_digest || self.allows_3des_and_sha1(),
        }
    }

    /// The ciphers that envelopes are read with.
    pub(crate) fn ciphers(self) -> LegacyCiphers {
        match self {
            Self::Modern => LegacyCiphers::Refuse,
            Self::DangerousAllow3DesAndSha1 => LegacyCiphers::AllowTripleDes,
            Self::DangerousReadSingleDes => LegacyCiphers::DangerousReadSingleDes,
        }
    }
}

/// Whether a certificate of ours gets its holder a new one. Chain, validity, status at the CA, subject and names are checked in each case;
/// the key may be a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RenewalPolicy {
    /// The request needs a challenge as well, as Intune demands.
    #[default]
    WithChallenge,
    /// The certificate suffices: whoever has stolen a key keeps its identity until the certificate is revoked. The names are held against the
    /// lists of the issuance policy, since no validator has seen them.
    CertificateSuffices,
    /// Nothing is renewed.
    Refuse,
}

/// What becomes of a request that the CA holds for approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PendingPolicy {
    /// The CA is asked again while the client waits; at the deadline the request fails. Intune knows no pending requests.
    #[default]
    WaitForTheDeadline,
    /// The client gets PENDING and polls (RFC 8894 section 4.4). Only with a validator whose challenges outlive that.
    AnswerPending,
}

/// How GetCACert answers when the CA serves SCEP itself, without an RA, and has issuers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CaCertificates {
    /// The chain as `application/x-x509-ca-ra-cert` (RFC 8894 section 4.2.1.2).
    #[default]
    Chain,
    /// The issuing certificate alone as `application/x-x509-ca-cert`: iOS and macOS take the other media type to mean that there are RA
    /// certificates, and fail without them.
    IssuingCertificateAlone,
}

/// How much is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Admission {
    /// Largest PKIOperation message in bytes. Default 64 KiB: requests of real clients have 2 to 3 kB, with Intune's challenge up to 30 kB.
    pub max_message: usize,
    /// Time for one request. Default 60 s; clients wait 30 s to minutes.
    pub deadline: Duration,
    /// Requests in hand at a time, whatever they wait for; more get 503. Default 512.
    pub requests: usize,
    /// Private-key operations at a time. Default 16; set it to what the token bears, or to the number of cores.
    pub key_operations: usize,
    /// Requests that wait for a private-key operation; more get 503. Default 256.
    pub key_queue: usize,
    /// What a client that gets 503 is told to wait. Default 5 s.
    pub retry_after: Duration,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            max_message: 64 << 10,
            deadline: Duration::from_secs(60),
            requests: 512,
            key_operations: 16,
            key_queue: 256,
            retry_after: Duration::from_secs(5),
        }
    }
}

impl Admission {
    /// Sets the largest PKIOperation message in bytes.
    #[must_use]
    pub fn with_max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Sets the time for one request.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets how many requests may be in hand at a time.
    #[must_use]
    pub fn with_requests(mut self, requests: usize) -> Self {
        self.requests = requests;
        self
    }

    /// Sets how many private-key operations may run at a time, and how many requests may wait for one.
    #[must_use]
    pub fn with_key_operations(mut self, at_once: usize, waiting: usize) -> Self {
        self.key_operations = at_once;
        self.key_queue = waiting;
        self
    }
}

/// How persistent the service is while a client waits, and after.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Persistence {
    /// How often the CA is asked before the request fails. Default 3.
    pub issue_attempts: u32,
    /// How often the notifier is called while the client waits. Default 3.
    pub notify_attempts: u32,
    /// How often a stored notification is tried before it is given up with event 4002. Default 20: about a day with the default backoff.
    pub spool_attempts: u32,
    /// The first backoff; each further one is twice as long. Default 500 ms.
    pub backoff_base: Duration,
    /// No backoff of stored notifications is longer. Default 2 h.
    pub backoff_cap: Duration,
    /// How long the same CSR in the same transaction gets the same answer, from its begin, or from the first release of its certificate.
    /// Default 24 h. Shorter than the time between two enrolments with
    /// the same key, or a renewal would get the old certificate.
    pub replay_window: Duration,
    /// How long finished rows stay in the journal, also those of others that share it. Default 7 days.
    pub keep_finished: Duration,
    /// How long a pending request waits for the CA before it is given up; what the CA issues later is revoked. Default 7 days.
    pub pending_lifetime: Duration,
    /// How long clients may go by an old answer to GetCACert: an RA key that was replaced opens requests for so long. Default 14 days.
    pub cached_certificates: Duration,
}

impl Default for Persistence {
    fn default() -> Self {
        Self {
            issue_attempts: 3,
            notify_attempts: 3,
            spool_attempts: 20,
            backoff_base: Duration::from_millis(500),
            backoff_cap: Duration::from_secs(7_200),
            replay_window: Duration::from_secs(86_400),
            keep_finished: Duration::from_secs(7 * 86_400),
            pending_lifetime: Duration::from_secs(7 * 86_400),
            cached_certificates: Duration::from_secs(14 * 86_400),
        }
    }
}

impl Persistence {
    /// Sets how often the CA is asked, and how often the notifier is called while the client waits.
    #[must_use]
    pub fn with_attempts(mut self, issue: u32, notify: u32) -> Self {
        self.issue_attempts = issue;
        self.notify_attempts = notify;
        self
    }

    /// Sets how often a stored notification is tried.
    #[must_use]
    pub fn with_spool_attempts(mut self, attempts: u32) -> Self {
        self.spool_attempts = attempts;
        self
    }

    /// Sets the bounds of the backoff.
    #[must_use]
    pub fn with_backoff(mut self, base: Duration, cap: Duration) -> Self {
        self.backoff_base = base;
        self.backoff_cap = cap;
        self
    }

    /// Sets how long the same CSR in the same transaction gets the same answer.
    #[must_use]
    pub fn with_replay_window(mut self, window: Duration) -> Self {
        self.replay_window = window;
        self
    }

    /// Sets how long a pending request waits for the CA.
    #[must_use]
    pub fn with_pending_lifetime(mut self, lifetime: Duration) -> Self {
        self.pending_lifetime = lifetime;
        self
    }

    /// Sets how long clients may go by an old answer to GetCACert.
    #[must_use]
    pub fn with_cached_certificates(mut self, lifetime: Duration) -> Self {
        self.cached_certificates = lifetime;
        self
    }

    /// How long finished rows are needed.
    pub(crate) fn longest(&self) -> Duration {
        self.keep_finished.max(self.replay_window.saturating_add(self.pending_lifetime))
    }

    /// Until when a finished transaction gets the same answer. One that the CA held was finished long after it began.
    pub(crate) fn repeats_until(&self, row: &Row) -> Timestamp {
        let from = if row.state == RowState::Acknowledged { row.updated } else { row.created };
        from.saturating_add(self.replay_window)
    }

    /// The wait before the attempt after `attempt` (from 1).
    pub(crate) fn backoff(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.backoff_base.saturating_mul(1 << doublings).min(self.backoff_cap)
    }
}
