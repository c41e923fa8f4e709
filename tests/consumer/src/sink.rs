//! Keeps the events.

use std::sync::{Mutex, PoisonError};

use intune_connector::event::{Channel, Event, EventId, Level};
use intune_connector::ports::EventSink;

#[derive(Debug, Default)]
pub struct OwnSink(Mutex<Vec<Event>>);

impl OwnSink {
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The numbers of the Admin events about requests, in order.
    pub fn outcomes(&self) -> Vec<u16> {
        let admin = |event: &Event| event.id.channel() == Channel::Admin && event.id.is_documented();
        self.events().into_iter().filter(admin).map(|event| event.id.code()).collect()
    }

    /// What went wrong, for the message of a failed test.
    pub fn complaints(&self) -> Vec<String> {
        let told = self.events().into_iter().filter(|event| event.id.level() != Level::Information);
        told.map(|event| format!("{} {}: {}", event.id.code(), event.id.name(), event.message)).collect()
    }
}

impl EventSink for OwnSink {
    fn enabled(&self, id: EventId) -> bool {
        id != EventId::FlowPaused
    }

    fn emit(&self, event: &Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
    }
}
