//! Sealing keys from a file, from an environment variable, and from a key management service.

mod error;
mod file;
mod text;
mod variable;
mod wrapped;

pub use error::SealingKeyError;
pub use file::SealingKeyFile;
pub use variable::SealingKeyVariable;
pub use wrapped::{UnwrapSealingKey, WrappedSealingKeys};
