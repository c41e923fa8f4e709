//! The SCEP server (RFC 8894), sans-IO: an HTTP request's parts in, an answer out, over the ports.

mod admission;
mod caps;
mod config;
mod http;
mod step;

pub use config::{Admission, AlgorithmPolicy, NotificationPolicy, Persistence, RegistrationAuthority};
pub use http::{Method, Request, Response, media_type};
