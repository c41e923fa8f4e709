//! Keeps what an administrator would see.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use intune_connector::adapters::VirtualRuntime;
use intune_connector::event::{Channel, Event, EventId, EventKey};
use intune_connector::ports::{EventSink, Runtime as _};

use crate::plan::Chance;
use crate::process::Process;

/// One event of the Admin log.
#[derive(Debug, Clone)]
pub struct Told {
    pub key: EventKey,
    pub at: Duration,
}

/// The log of all machines.
pub type AdminLog = Arc<Mutex<Vec<Told>>>;

#[derive(Debug)]
pub struct Sink {
    pub log: AdminLog,
    pub process: Arc<Process>,
    pub chance: Arc<Chance>,
    pub runtime: VirtualRuntime,
}

impl Sink {
    fn is_admin(id: EventId) -> bool {
        id.is_documented() && id.channel() == Channel::Admin
    }
}

impl EventSink for Sink {
    fn enabled(&self, id: EventId) -> bool {
        Self::is_admin(id) || self.chance.is_traced()
    }

    fn emit(&self, event: &Event) {
        self.chance.tell(|| {
            let process = &self.process;
            format!("{}/{} event {} {} of {}", process.instance, process.number, event.id as u16, event.id.name(), event.key.scope)
        });
        if Self::is_admin(event.id) {
            self.log.lock().unwrap().push(Told { key: event.key.clone(), at: self.runtime.monotonic() });
        }
    }
}
