//! A sink that keeps what it gets.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::event::{Channel, Event, EventId};
use crate::ports::EventSink;

/// Keeps the last events in memory; older ones are dropped and counted.
#[derive(Debug)]
pub struct RecordingSink {
    most: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Event>,
    lost: u64,
}

impl Default for RecordingSink {
    fn default() -> Self {
        Self::new()
    }
}

impl RecordingSink {
    /// Keeps the last million events.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(1_000_000)
    }

    /// Keeps the last `most` events.
    #[must_use]
    pub fn with_capacity(most: usize) -> Self {
        Self { most, kept: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The kept events, oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.lock().events.iter().cloned().collect()
    }

    /// The kept events about one request, batch or component, oldest first.
    #[must_use]
    pub fn events_of(&self, scope: &str) -> Vec<Event> {
        self.lock().events.iter().filter(|event| event.key.scope == scope).cloned().collect()
    }

    /// The kept events of the Admin log, oldest first.
    #[must_use]
    pub fn admin_events(&self) -> Vec<Event> {
        self.lock().events.iter().filter(|event| event.id.channel() == Channel::Admin).cloned().collect()
    }

    /// How many of the kept events have this id.
    #[must_use]
    pub fn count(&self, id: EventId) -> usize {
        self.lock().events.iter().filter(|event| event.id == id).count()
    }

    /// Takes the kept events out, oldest first.
    #[must_use]
    pub fn take(&self) -> Vec<Event> {
        core::mem::take(&mut self.lock().events).into()
    }

    /// How many events were dropped since there was no room.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lock().lost
    }
}

impl EventSink for RecordingSink {
    fn emit(&self, event: &Event) {
        let event = event.clone();
        let mut kept = self.lock();
        if kept.events.len() >= self.most {
            kept.events.pop_front();
            kept.lost += 1;
        }
        if self.most > 0 {
            kept.events.push_back(event);
        }
    }
}
