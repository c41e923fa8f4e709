//! A sink around the user's that counts events by number.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::event::{Event, EventId};
use crate::ports::EventSink;

/// Counts every event, and passes on what the inner sink wants.
#[derive(Debug)]
pub(crate) struct CountingSink {
    inner: Arc<dyn EventSink>,
    counts: Mutex<BTreeMap<u16, u64>>,
}

impl CountingSink {
    pub(crate) fn new(inner: Arc<dyn EventSink>) -> Self {
        Self { inner, counts: Mutex::default() }
    }

    /// Takes the counts since the last call.
    pub(crate) fn take(&self) -> BTreeMap<u16, u64> {
        core::mem::take(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl EventSink for CountingSink {
    fn enabled(&self, id: EventId) -> bool {
        // Asked exactly once for each event, wanted or not.
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(id.code()).or_insert(0) += 1;
        self.inner.enabled(id)
    }

    fn emit(&self, event: &Event) {
        self.inner.emit(event);
    }
}
