//! Health messages: counts by flow and by event, sent to the queue from time to time.

mod config;
mod count;
mod run;
mod step;

pub use config::HealthConfig;
pub(crate) use count::CountingSink;
pub(crate) use run::send;
