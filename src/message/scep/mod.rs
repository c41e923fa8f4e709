//! SCEP messages (RFC 8894 section 3): reading requests and writing CertReps, and the client's side of both.
//!
//! A request's outer signature is verified before anything inside it is read. The inner envelope is an [`Opening`](super::enveloped::Opening).

mod attributes;
mod error;
mod next_ca;
mod query;
mod reply;
mod request;
mod response;

pub use attributes::{FailInfo, MessageType, Nonce, PkiStatus, TransactionName};
pub use error::ScepMessageError;
pub use next_ca::{next_ca_certificates, next_ca_certificates_to_be_signed};
pub use query::{IssuerAndSerialNumber, IssuerAndSubject};
pub use reply::{CertRep, EmptyContent, ReplyTo};
pub use request::{PkiRequestBuilder, PkiRequestToBeSigned, ScepRequest};
pub use response::ScepResponse;
