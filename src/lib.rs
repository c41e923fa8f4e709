//! The certificate connector for Microsoft Intune as a library: any CA, any platform, no Windows Server, IIS or NDES.
//!
//! Not affiliated with Microsoft.
//!
//! # Crate features
//!
//! Features only add. The defaults are the four flows and a complete crypto provider.
//!
//! | feature | default | what it brings |
//! |---|---|---|
//! | `pkcs` | yes | flow: issue for a generated key, deliver as PKCS#12; PKCS recrypt |
//! | `import` | yes | flow: re-encrypt imported PFX files for the device |
//! | `scep` | yes | flow: the SCEP server, sans-IO |
//! | `revoke` | yes | flow: revocation |
//! | `ring` | yes | crypto slots from *ring* |
//! | `aws-lc-rs` | yes | a complete crypto provider from *aws-lc-rs* |
//! | `legacy-ciphers` | yes | 3DES, RC2 and RC4 for old PFX files and devices |
//! | `scrypt` | no | scrypt for the few PFX files that use it |
//! | `tokio` | no | timers and CPU off-load on tokio |
//! | `event-log` | no | an event sink that writes JSON lines |
//! | `tracing` | no | an event sink that forwards to `tracing` |
//! | `conformance` | no | the suite that checks your own adapters |

pub mod adapters;
#[cfg(not(feature = "_internals"))]
pub(crate) mod codec;
#[cfg(feature = "_internals")]
#[doc(hidden)]
pub mod codec;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod connector;
pub mod crypto;
pub mod event;
mod flow;
pub mod health;
pub mod ids;
#[cfg(feature = "import")]
pub mod import;
pub mod lifecycle;
pub mod limits;
pub mod message;
#[cfg(feature = "pkcs")]
pub mod pkcs;
pub mod policy;
pub mod ports;
#[cfg(feature = "pkcs")]
pub mod recrypt;
pub mod retry;
#[cfg(feature = "revoke")]
pub mod revoke;
#[cfg(feature = "scep")]
pub mod scep;
pub mod secret;
pub mod terms;
pub mod time;
