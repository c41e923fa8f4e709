//! The admin side of PFX import: Microsoft Graph's `userPfxCertificates`.
//!
//! | what | by |
//! |---|---|
//! | list, find, create, update, delete records | [`GraphPfx`] |
//! | check a PFX and encrypt its password before the upload | [`PfxChecks`] |
//! | import a folder of files by a list | [`BulkImport`] |
//!
//! The service wants the application permission DeviceManagementConfiguration.ReadWrite.All of Microsoft Graph with admin consent, and
//! User.Read.All to look up users. Whoever may read the records' traffic or the files has the PFX; its password protects the key in it, so give
//! each file a random one. The connector's half of the work is the flow `import`.

mod bulk;
mod check;
mod client;
mod error;
mod odata;
mod pages;
mod purpose;
mod record;
mod settings;
mod upload;

pub use bulk::{
    BulkImport, CsvProblem, Decision, ImportList, ImportProgress, ImportRow, ImportSummary, ListError, OnExisting, PasswordSource,
    PfxFolder, PlannedRow, ResultFile, ResultsError, RowOutcome, RowResult, decide, plan,
};
pub use check::{CheckedPfx, ImportKey, ImportKeyError, PasswordEncoding, PfxCandidate, PfxChecks, PfxProblem, PfxRefused, Strictness};
pub use client::{Created, GraphPfx, Removal};
pub use error::{GraphError, GraphErrorKind};
pub use pages::{PfxFilter, PfxPages};
pub use purpose::{IntendedPurpose, UnknownPurpose};
pub use record::{PfxId, PfxRecord};
pub use settings::GraphSettings;
pub use upload::UserPfxCertificate;
