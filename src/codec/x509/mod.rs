//! X.509 certificates and revocation lists (RFC 5280).

pub mod certificate;
pub mod crl;
pub mod extensions;
pub mod name;
pub mod spki;
pub mod string;
