//! The SCEP server (RFC 8894), sans-IO: an HTTP request's parts in, an answer out, over the ports.

mod admission;
mod builder;
mod caps;
mod config;
mod enrol;
mod http;
mod maintain;
mod record;
mod service;
mod step;
mod wire;

pub use builder::{ScepBuildError, ServiceBuilder};
pub use config::{Admission, AlgorithmPolicy, NotificationPolicy, Persistence, RegistrationAuthority};
pub use http::{Method, Request, Response, media_type};
pub use maintain::Maintained;
pub use service::Service;

pub use crate::flow::Finding;
