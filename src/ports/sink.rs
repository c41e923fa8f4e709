//! Where events go.

use core::fmt::Debug;

use crate::event::{Event, EventId};

/// Takes events. Synchronous, cheap, cannot fail: a sink that writes elsewhere buffers boundedly and counts what it loses.
///
/// Called from any thread, in the order of the request's steps. A panic in it is contained. Delivery is at least once after a crash;
/// drop repeats by [`Event::key`].
pub trait EventSink: Debug + Send + Sync {
    /// Whether events of this id are wanted; asked before an event is built.
    fn enabled(&self, id: EventId) -> bool {
        let _ = id;
        true
    }

    /// Takes one event.
    fn emit(&self, event: &Event);
}
