//! Syntax of the standards, one file for each structure: bytes to structures and back. No keys, no crypto.
#![allow(unreachable_pub, reason = "public to the crate's own fuzz targets and benches by the feature `_internals`")]
#![cfg_attr(not(feature = "_internals"), allow(dead_code, reason = "some structures serve one flow only, and flows are features"))]

pub mod cms;
pub mod der;
pub mod pkcs10;
pub mod pkcs12;
pub mod pkcs5;
pub mod rsassa_pss;
pub mod scep;
pub mod time;
pub mod x509;
