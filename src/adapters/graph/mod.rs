//! The admin side of PFX import: Microsoft Graph's `userPfxCertificates`.
mod check;
mod client;
mod error;
mod odata;
mod pages;
mod purpose;
mod record;
mod settings;
mod upload;

pub use check::{CheckedPfx, ImportKey, ImportKeyError, PasswordEncoding, PfxCandidate, PfxChecks, PfxProblem, PfxRefused, Strictness};
pub use client::{Created, GraphPfx, Removal};
pub use error::{GraphError, GraphErrorKind};
pub use pages::{PfxFilter, PfxPages};
pub use purpose::{IntendedPurpose, UnknownPurpose};
pub use record::{PfxId, PfxRecord};
pub use settings::GraphSettings;
pub use upload::UserPfxCertificate;
