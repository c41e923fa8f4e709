//! A simulated Intune: the public services and an open queue, with faults on request. For development; it refuses other than loopback addresses.

mod open_queue;

pub use open_queue::{NotEnqueued, OpenQueue, OpenQueueSettings};
