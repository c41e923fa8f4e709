//! Entries in memory, with every certificate.

use std::collections::HashMap;

use super::{By, LedgerEntry};
use crate::ids::{IdempotencyKey, SerialNumber};

#[derive(Debug, Default)]
pub(super) struct MemoryStore {
    entries: Vec<LedgerEntry>,
    by_key: HashMap<IdempotencyKey, u32>,
    by_serial: HashMap<SerialNumber, u32>,
}

impl MemoryStore {
    pub(super) fn record(&mut self, entry: LedgerEntry) {
        let number = self.len();
        if let Some(key) = entry.idempotency_key {
            self.by_key.insert(key, number);
        }
        self.by_serial.insert(entry.serial.clone(), number);
        self.entries.push(entry);
    }

    pub(super) fn find(&self, by: By<'_>) -> Option<(u32, LedgerEntry)> {
        let number = match by {
            By::Key(key) => self.by_key.get(key),
            By::Serial(serial) => self.by_serial.get(serial),
        };
        number.and_then(|number| self.get(*number).map(|entry| (*number, entry)))
    }

    pub(super) fn get(&self, number: u32) -> Option<LedgerEntry> {
        self.entries.get(number as usize).cloned()
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }
}
