//! Bytes and keys in, bytes out: certificates, requests, PKCS#12, CMS, SCEP. No network, no clock, no state.

pub mod pfx;
