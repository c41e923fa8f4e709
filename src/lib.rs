//! The certificate connector for Microsoft Intune as a library: any CA, any platform, no Windows Server, IIS or NDES.
//!
//! Not affiliated with Microsoft.
//!
//! # Two doors
//!
//! - *Codecs, no ports*: [`message`] has plain functions over bytes: open and build PKCS#12, CMS, SCEP messages, CSRs and certificates.
//! - *The connector*: [`connector::Connector`] over the traits in [`ports`]; [`adapters`] has implementations for tests and small needs.
//!
//! What is weak has `dangerous` in its name; what the queue says is input, not authority: see [`policy`].
//!
//! # A connector in 30 lines
//!
//! ```
//! use std::sync::Arc;
//!
//! use intune_connector::adapters::{InMemoryQueue, LocalCa, RecordingSink, StdRuntime, VolatileJournal};
//! use intune_connector::connector::Connector;
//! use intune_connector::crypto::CryptoProvider;
//! use intune_connector::ids::CaName;
//! use intune_connector::pkcs::PkcsConfig;
//! use intune_connector::policy::{IssuancePolicy, RecipientPolicy};
//! use intune_connector::revoke::RevokeConfig;
//! use intune_connector::terms::{KeyAlgorithm, oids};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let provider = CryptoProvider::ring_and_aws_lc_rs();
//!     let name: CaName = "Contoso Issuing CA".parse()?;
//!     let ca = Arc::new(LocalCa::new(provider.clone(), name.clone(), KeyAlgorithm::EcP256)?); // yours: impl CertificateAuthority
//!     let queue = Arc::new(InMemoryQueue::new()); // yours: impl IntuneQueue
//!     let runtime = Arc::new(StdRuntime::new()?);
//!
//!     let issuance = IssuancePolicy::deny_all()
//!         .allow_upn_suffix("contoso.example")
//!         .allow_extended_key_usage(oids::CLIENT_AUTH.parse()?);
//!     let recipients = RecipientPolicy::new().trust_root(ca.certificate().der().clone());
//!     let connector = Connector::builder(provider, Arc::new(VolatileJournal::new()))
//!         .tenant("contoso.example".parse()?)
//!         .instance("connector-1".parse()?)
//!         .runtime(runtime.clone())
//!         .sink(Arc::new(RecordingSink::new())) // yours: impl EventSink
//!         .flow(PkcsConfig::new(queue.clone(), name.clone(), ca.clone(), issuance, recipients))
//!         .flow(RevokeConfig::new(queue, name, ca))
//!         .build()?;
//!
//!     let report = runtime.block_on(connector.run_once()); // a service: connector.run_until(stop)
//!     println!("next poll in {:?}", report.next_due);
//!     Ok(())
//! }
//! ```
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
//! | `legacy-ciphers` | yes | 3DES, RC2 and RC4 for old PFX files and devices, single DES to read |
//! | `rare-digests` | yes | SHA-512/224 and BLAKE2 for few PFX files |
//! | `scrypt` | no | scrypt for the few PFX files that use it |
//! | `tokio` | no | timers and CPU off-load on tokio |
//! | `intune` | no | Intune online: tokens, service discovery, SCEP validation and notification, revocation |
//! | `graph` | no | the admin side of PFX import: Graph's userPfxCertificates, bulk import |
//! | `http-queue` | no | an `IntuneQueue` over an open HTTP protocol, for PKCS and import from a back end of your own |
//! | `doctor` | no | checks an installation and names cures |
//! | `sim` | no | a simulated Intune, in process or on loopback addresses; for development |
//! | `scep-http` | no | HTTP in front of the SCEP server, for hyper, axum and their like |
//! | `event-log` | no | an event sink that writes JSON lines |
//! | `tracing` | no | an event sink that forwards to `tracing` |
//! | `sqlite` | no | the durable journal, in one SQLite file |
//! | `postgres` | no | the durable journal that a fleet shares, in a PostgreSQL database |
//! | `conformance` | no | the suite that checks your own adapters |

#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr, clippy::exit, clippy::mem_forget)
)]

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
#[cfg(feature = "doctor")]
pub mod doctor;
pub mod dry_run;
pub mod event;
#[cfg_attr(
    not(all(feature = "pkcs", feature = "import", feature = "revoke", feature = "scep")),
    allow(dead_code, reason = "the contract serves all flows; one alone uses a part of it")
)]
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
#[cfg(feature = "sim")]
pub mod sim;
pub mod terms;
pub mod time;
