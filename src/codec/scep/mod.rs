//! Syntax of SCEP (RFC 8894 section 3.2): attributes and the bodies of polls and queries.

mod issuer_and_subject;
pub mod oids;
mod string;

pub use issuer_and_subject::IssuerAndSubject;
pub use string::ScepString;
