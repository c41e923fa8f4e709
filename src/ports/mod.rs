//! What the connector asks of the world: a queue, certificate authorities, an event sink, a journal, keys, a runtime.
//!
//! Implement the traits or take the adapters. All are usable as `Arc<dyn Port>`. Futures may be dropped at any await: a dropped
//! call counts as [`Effect::Unknown`](crate::retry::Effect::Unknown).

mod approved;
mod ca;
mod error;
mod journal;
mod keys;
mod queue;
mod registration_authority;
mod revocation_error;
mod runtime;
mod scep;
mod sealing_key;
mod sink;

pub use approved::{ApprovalSubject, Approved};
pub use ca::{
    CaCapabilities, CertificateAuthority, CertificatePlan, CertificateStatus, FindAllAnswer, FindAnswer, FindRequest, IssueAnswer,
    IssueRequest, Issued, KnownCertificate, LookupAnswer, LookupRequest, RevokeAnswer, RevokeBy, RevokeCall, SignNextCaRequest,
    StatusRequest,
};
pub use error::{PortError, PortErrorKind};
pub use journal::{
    Change, ClaimRequest, CommitAnswer, Journal, JournalScope, JournalStats, LoadRequest, PruneRequest, RenewRequest, Row, RowKey, RowKind,
    RowState, SealedBlob, StorageRoom,
};
pub use keys::{DecryptionKeys, ImportKeyName};
pub use queue::{
    Batch, CompleteAnswer, CompleteRequest, ExtendLeaseRequest, Failure, FlowCounters, HealthMessage, ImportPayload, ImportRequest,
    ImportResult, IntuneQueue, Outcome, Payload, PkcsRequest, PkcsResult, QueueCapabilities, QueueItem, ReceiveRequest, RecryptRequest,
    RecryptResult, RequestMeta, ResultItem, RevokeRequest, RevokeResult,
};
pub use registration_authority::{RegistrationAuthority, RegistrationAuthorityStore, RegistrationKey, RegistrationKeys};
pub use revocation_error::{RevocationError, UnknownRevocationError};
pub use runtime::{Busy, Runtime};
pub use scep::{
    ChallengeValidator, FailureNotification, ScepNotifier, SuccessNotification, ValidateRequest, ValidatorCapabilities, Verdict, Vouched,
};
pub use sealing_key::{SealingKey, SealingKeys};
pub use sink::EventSink;

/// In place of a CSR in `Debug`: one from a SCEP client holds its challenge.
struct HiddenCsr<'a>(&'a rustls_pki_types::CertificateSigningRequestDer<'a>);

impl core::fmt::Debug for HiddenCsr<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}
