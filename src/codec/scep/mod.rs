//! Syntax of SCEP (RFC 8894 section 3.2): the attributes.

pub mod oids;
mod string;

pub use string::ScepString;
