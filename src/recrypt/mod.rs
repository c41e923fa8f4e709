//! Flow: decrypt a stored PKCS payload with the connector's key and encrypt it to another recipient.
//!
//! Such requests come when a device's certificate changed or a user's certificate goes to another device. The content is not looked at;
//! the recipient must pass the same policy as that of a new certificate.

mod config;
mod run;
mod step;

pub use config::{RecryptConfig, RecryptKey};
