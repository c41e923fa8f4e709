//! The SCEP server (RFC 8894), sans-IO: an HTTP request's parts in, an answer out, over the ports.

mod admission;
mod ask;
mod authority;
mod builder;
mod caps;
mod config;
mod enrol;
mod http;
mod locks;
mod maintain;
mod news;
mod nonces;
mod orphan;
mod orphans;
mod query;
mod record;
mod registration;
mod renewal;
mod service;
mod step;
mod stored;
mod suspicion;
mod wire;

pub use authority::{NextCa, RolloverError};
pub use builder::{ScepBuildError, ServiceBuilder};
pub use config::{Admission, AlgorithmPolicy, CaCertificates, NotificationPolicy, PendingPolicy, Persistence, RenewalPolicy};
pub use http::{Method, Request, Response, media_type};
pub use maintain::Maintained;
pub use orphans::{OrphanError, OrphanRecord};
pub use registration::{ManagedRegistrationAuthority, RegistrationAuthoritySource};
pub use service::Service;

pub use crate::flow::Finding;
pub use crate::flow::ca_gate::{BreakerState, CaLimits, CaStatus};
pub use crate::message::scep::EmptyContent;
pub use crate::ports::RegistrationAuthority;
