//! What the connector would do with given requests: nothing is issued, revoked or uploaded.
//!
//! [`DryRun`] takes the flows as the connector takes them, and requests that were recorded or made up. Policies, recipients, keys and PFX
//! files are judged by the connector's own code; in front of each CA stands one that writes down what it is asked and does nothing. The
//! queues in the flows' settings are not touched: there is no way to download from one here. SCEP has no queue: [`judge_csr`] says what the
//! issuance policy says to a CSR.
//!
//! Requests are recorded in the form of the open queue: `read_recorded` and `write_recorded`, with the feature `http-queue`.
//!
//! What a dry run cannot know: what the CA would have answered, and whether the challenge in a CSR is good.

mod ca;
mod drive;
mod judge;
#[cfg(feature = "http-queue")]
mod recorded;
mod report;
mod run;
mod scep;
mod table;

#[cfg(feature = "http-queue")]
pub use recorded::{InvalidRecord, read_recorded, write_recorded};
pub use report::{ConfigurationFinding, DryRunReport, Recipient, RequestReport, Verdict, WouldIssue};
pub use run::DryRun;
pub use scep::judge_csr;
