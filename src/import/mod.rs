//! PKCS import: re-encrypt the password of an imported PFX file, or the file with it, for a device.
//!
//! The password was encrypted to a key that this connector holds. It is decrypted, proven by opening the PFX with a verified MAC, and
//! encrypted to the device that the recipient policy allows. It is opaque bytes all the way.
//!
//! Keys for it are made by [`generate_import_key`]; the public half goes to the tool that uploads PFX files. Keys of Microsoft's connector
//! are read by [`private_key::read`](crate::message::private_key::read); `docs/import-keys.md` tells how a tenant moves.

mod config;
mod key;
mod run;
mod step;

pub use config::ImportConfig;
pub use key::{GeneratedImportKey, ImportKeyError, generate_import_key};
