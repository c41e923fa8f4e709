//! Flow: issue a certificate for a key pair that the connector makes, and deliver both as a PKCS#12 file.
//!
//! Policy → key pair → CSR → CA → post-issue check → PKCS#12 → CMS envelopes to the recipient → upload. The PKCS#12 password is random,
//! made anew for each request, ASCII with 160 bits of entropy, and travels beside the file in a CMS envelope of its own to the same
//! recipient: it is never written anywhere in the clear, and nobody types it.

mod config;
mod kept;
mod pool;
mod run;
mod step;
mod sweep;

pub use config::PkcsConfig;
