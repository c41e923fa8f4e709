//! Certificate connector for Microsoft Intune, as a library. (The crate documentation is written with the examples.)

pub mod crypto;
pub mod event;
mod flow;
pub mod ids;
pub mod limits;
pub mod ports;
pub mod retry;
pub mod secret;
pub mod terms;
pub mod time;
