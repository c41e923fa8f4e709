//! The connector: flows, queue, journal and events brought together.

pub use crate::flow::{Finding, FlowSpec, QueueSettings};
