//! Syntax of SCEP (RFC 8894 section 3.2): the attributes.

mod issuer_and;
pub mod oids;
mod string;

pub use issuer_and::{IssuerAndSerialNumber, IssuerAndSubject};
pub use string::ScepString;
