//! What callers want from the journal's thread: bounded, in order, each with an answer of its own.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use futures_channel::oneshot;

use super::store::{Store, StoreError};
use crate::ports::PortError;

/// Most operations in one transaction: an answer waits for no more than these.
const BATCH: usize = 256;
/// Most bytes in one transaction, so that the log beside the file stays small.
const BATCH_BYTES: usize = 8 << 20;

/// Whether an operation changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Outside of a transaction; not done when the caller has gone.
    Read,
    /// In the transaction of its batch, also when the caller has gone.
    Write,
    /// The same, but not begun when the caller has gone: nobody would work on what is claimed.
    Claim,
}

/// One call.
pub(super) trait Operation: Send {
    fn access(&self) -> Access;
    /// Whether anybody waits for the answer.
    fn is_awaited(&self) -> bool;
    /// Does it and keeps the answer. An error of SQLite is for the whole batch.
    fn run(&mut self, store: &mut Store<'_>) -> Result<(), rusqlite::Error>;
    /// Gives the answer, or the error when there is one.
    fn answer(self: Box<Self>, error: Option<PortError>);
}

type Answer<T> = Result<T, PortError>;

struct Call<F, T> {
    access: Access,
    work: F,
    done: Option<Answer<T>>,
    caller: oneshot::Sender<Answer<T>>,
}

impl<T: Send, F: FnMut(&mut Store<'_>) -> Result<T, StoreError> + Send> Operation for Call<F, T> {
    fn access(&self) -> Access {
        self.access
    }

    fn is_awaited(&self) -> bool {
        !self.caller.is_canceled()
    }

    fn run(&mut self, store: &mut Store<'_>) -> Result<(), rusqlite::Error> {
        self.done = Some(match (self.work)(store) {
            Ok(answer) => Ok(answer),
            Err(StoreError::Row(error)) => Err(error),
            Err(StoreError::Sql(error)) => return Err(error),
        });
        Ok(())
    }

    fn answer(self: Box<Self>, error: Option<PortError>) {
        let Self { done, caller, .. } = *self;
        if let Some(answer) = error.map(Err).or(done) {
            // The caller's waker is foreign code: its panic is not this thread's end.
            let _ = catch_unwind(AssertUnwindSafe(|| caller.send(answer)));
        }
    }
}

/// An operation and where its answer comes.
pub(super) fn call<T: Send + 'static>(
    access: Access,
    work: impl FnMut(&mut Store<'_>) -> Result<T, StoreError> + Send + 'static,
) -> (Box<dyn Operation>, oneshot::Receiver<Answer<T>>) {
    let (caller, answer) = oneshot::channel();
    (Box::new(Call { access, work, done: None, caller }), answer)
}

/// Why an operation was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    TooLarge,
    Closed,
}

pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    most: usize,
    most_bytes: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Box<dyn Operation>, usize)>,
    bytes: usize,
    closed: bool,
    thread_sleeps: bool,
}

impl Queue {
    pub(super) fn new(most: usize, most_bytes: usize) -> Self {
        Self { state: Mutex::default(), filled: Condvar::new(), most: most.max(1), most_bytes }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, operation: Box<dyn Operation>, bytes: usize) -> Result<(), Refused> {
        if bytes > self.most_bytes {
            return Err(Refused::TooLarge);
        }
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.waiting.len() >= self.most || bytes > self.most_bytes - state.bytes {
            return Err(Refused::Full);
        }
        state.waiting.push_back((operation, bytes));
        state.bytes += bytes;
        let wake = state.thread_sleeps;
        drop(state);
        if wake {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// The next batch, in order; waits for one. `None` when the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Vec<Box<dyn Operation>>> {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return None;
            }
            state.thread_sleeps = true;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.thread_sleeps = false;
        }
        let mut batch = Vec::with_capacity(state.waiting.len().min(BATCH));
        let mut taken = 0usize;
        while batch.len() < BATCH {
            match state.waiting.front() {
                Some((_, bytes)) if batch.is_empty() || taken.saturating_add(*bytes) <= BATCH_BYTES => taken += bytes,
                _ => break,
            }
            batch.extend(state.waiting.pop_front().map(|(operation, _)| operation));
        }
        state.bytes -= taken;
        Some(batch)
    }

    /// Takes no more; what waits is still done.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    /// Takes no more and drops what waits: its callers learn that they get no answer.
    pub(super) fn abandon(&self) {
        let waiting = {
            let mut state = self.lock();
            state.closed = true;
            state.bytes = 0;
            core::mem::take(&mut state.waiting)
        };
        drop(waiting);
    }
}
