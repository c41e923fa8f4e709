//! The thread that has the file: takes what waits, does it in one transaction, then answers.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;

use super::error::port_error;
use super::queue::{Access, Operation, Queue};
use super::store::Store;
use crate::retry::Effect;

type Batch = Vec<Box<dyn Operation>>;

/// Takes operations until the queue is closed and empty.
pub(super) fn run<'c>(connection: &'c Connection, store: &mut Store<'c>, path: &Path, queue: &Queue, transactions: &AtomicU64) {
    let mut writer = Writer { connection, store, path, transactions };
    while let Some(batch) = queue.take() {
        writer.work(batch);
    }
}

struct Writer<'a, 'c> {
    connection: &'c Connection,
    store: &'a mut Store<'c>,
    path: &'a Path,
    transactions: &'a AtomicU64,
}

impl Writer<'_, '_> {
    /// Reads that came first need not wait for the disk; those that came after a change see it.
    fn work(&mut self, batch: Batch) {
        let (mut writes, mut later): (Batch, Batch) = (Vec::new(), Vec::new());
        for operation in batch {
            if operation.access() != Access::Read {
                writes.push(operation);
            } else if writes.is_empty() {
                self.read(operation);
            } else {
                later.push(operation);
            }
        }
        self.write(writes);
        for operation in later {
            self.read(operation);
        }
    }

    fn read(&mut self, mut operation: Box<dyn Operation>) {
        if operation.is_awaited() {
            let error = operation.run(self.store).err();
            operation.answer(error.map(|error| port_error(&error, Effect::None, self.path)));
        }
    }

    fn write(&mut self, mut batch: Batch) {
        batch.retain(|operation| operation.access() != Access::Claim || operation.is_awaited());
        if batch.is_empty() {
            return;
        }
        let error = self.transact(&mut batch).err();
        for operation in batch {
            operation.answer(error.as_ref().map(|(error, effect)| port_error(error, *effect, self.path)));
        }
    }

    fn transact(&mut self, batch: &mut Batch) -> Result<(), (rusqlite::Error, Effect)> {
        let result = self.attempt(batch);
        if !self.connection.is_autocommit() {
            // When this fails too, the next BEGIN fails, and so on until it works: nothing is answered as stored meanwhile.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        result
    }

    fn attempt(&mut self, batch: &mut Batch) -> Result<(), (rusqlite::Error, Effect)> {
        let nothing_done = |error| (error, Effect::None);
        self.store.begin().map_err(nothing_done)?;
        for operation in batch.iter_mut() {
            operation.run(self.store).map_err(nothing_done)?;
        }
        // When this fails, the log may hold the changes all the same, and the next start may find them.
        self.store.commit().map_err(|error| (error, Effect::Unknown))?;
        self.transactions.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
