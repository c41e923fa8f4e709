//! Bytes and keys in, bytes out: certificates, requests, PKCS#12, CMS, SCEP. No network, no clock, no state.

pub mod algorithm;
pub mod certificate;
mod cms_error;
pub mod crl;
pub mod csr;
pub mod enveloped;
pub mod name;
pub mod path;
mod pem;
pub mod pfx;
pub mod private_key;
pub mod public_key;
pub mod reencrypt;
pub mod scep;
pub mod signed;
mod to_be_signed;
mod x509_error;

pub use to_be_signed::ToBeSigned;
pub use x509_error::X509Error;
