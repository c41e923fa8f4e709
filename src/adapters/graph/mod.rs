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
//!
//! ```no_run
//! use std::path::Path;
//! use std::sync::Arc;
//!
//! use intune_connector::adapters::StdRuntime;
//! use intune_connector::adapters::entra::{ClientCredentials, Credential, SecretSource};
//! use intune_connector::adapters::graph::{
//!     BulkImport, GraphPfx, GraphSettings, ImportKey, ImportList, IntendedPurpose, PfxChecks, PfxFolder, ResultFile,
//! };
//! use intune_connector::adapters::http::HttpClient;
//! use intune_connector::crypto::CryptoProvider;
//! use intune_connector::secret::SecretBytes;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (provider, runtime) = (CryptoProvider::ring_and_aws_lc_rs(), Arc::new(StdRuntime::new()?));
//! let transport = Arc::new(HttpClient::builder().build()?);
//! let secret = Credential::client_secret(SecretSource::file("/run/secrets/graph"));
//! let tokens = ClientCredentials::builder("contoso.example", "0000000a-0000-0000-c000-000000000001", secret)
//!     .build(transport.clone(), runtime.clone(), provider.clone())?;
//! let graph = GraphPfx::new(transport, Arc::new(tokens), runtime.clone(), provider.clone(), GraphSettings::global())?;
//!
//! let key = ImportKey::read(&std::fs::read("import-key.pem")?, "Microsoft Software Key Storage Provider", "PFXEncryptionKey")?;
//! let list = ImportList::read(&SecretBytes::new(std::fs::read("list.csv")?), Some(IntendedPurpose::SmimeEncryption))?;
//! let mut results = ResultFile::open(Path::new("results.csv"))?;
//! let import = BulkImport::new(graph, PfxChecks::new(key), PfxFolder::new("pfx"), provider);
//! let summary = runtime.block_on(import.run(list, Some(&mut results), |progress| println!("{}/{}", progress.done, progress.total)))?;
//! assert!(summary.is_clean(), "run it again: what succeeded is passed over");
//! # Ok(())
//! # }
//! ```

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
