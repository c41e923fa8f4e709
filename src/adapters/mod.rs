//! Ready-made implementations of the ports. The in-memory ones are always there and lose everything with the process.

#[cfg(feature = "scep")]
mod challenge;
#[cfg(feature = "_online")]
pub mod entra;
#[cfg(feature = "event-log")]
mod event_log;
#[cfg(feature = "graph")]
pub mod graph;
#[cfg(feature = "_online")]
#[cfg_attr(
    not(all(feature = "intune", feature = "graph")),
    allow(dead_code, unused_imports, reason = "each feature uses its part of what all share")
)]
pub mod http;
#[cfg(feature = "http-queue")]
pub mod http_queue;
#[cfg(feature = "intune")]
pub mod intune;
mod journal;
mod local_ca;
mod memory;
mod runtime;
#[cfg(feature = "scep-http")]
mod scep_http;
mod sealing_key;
#[cfg(feature = "_tls")]
mod tls;
#[cfg(feature = "tracing")]
mod tracing;

#[cfg(feature = "tracing")]
pub use self::tracing::TracingSink;
#[cfg(feature = "scep")]
pub use challenge::{CallbackValidator, DangerousStaticChallenge, EmptyChallenge, NoNotification};
#[cfg(feature = "event-log")]
pub use event_log::JsonLinesSink;
#[cfg(feature = "sqlite")]
pub use journal::{JournalOpenError, JournalOpenErrorKind, PowerCut, SqliteJournal, SqliteJournalOptions};
#[cfg(feature = "postgres")]
pub use journal::{PostgresJournal, PostgresJournalOptions, PostgresOpenError, PostgresOpenErrorKind};
pub use local_ca::{LedgerEntry, LocalCa, LocalCaError, LocalCaFault, LocalCaFaults, Repeats};
pub use memory::{InMemoryQueue, InMemoryRegistrationAuthorities, MemoryDecryptionKeys, RecordingSink, VolatileJournal};
#[cfg(feature = "tokio")]
pub use runtime::TokioRuntime;
pub use runtime::{Stalled, StdRuntime, VirtualRuntime};
#[cfg(feature = "scep-http")]
pub use scep_http::{
    ForwardingHeader, IpPrefix, IpPrefixError, PeerAddr, RateLimit, ScepHttp, ScepHttpBody, ScepHttpRefusals, ScepTask, TrustedProxies,
};
pub use sealing_key::{SealingKeyError, SealingKeyFile, SealingKeyVariable, UnwrapSealingKey, WrappedSealingKeys};
#[cfg(feature = "_tls")]
pub use tls::TrustAnchors;
