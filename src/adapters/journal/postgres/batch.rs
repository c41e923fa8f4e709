//! Commits that wait while another one is on its way are stored together, at the cost of one.

use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_channel::oneshot;

use super::calls;
use super::error::Fault;
use super::pool::Pool;
use crate::ports::{Change, CommitAnswer, PortError, RowKey};
use crate::retry::Effect;

/// Most changes in one transaction: an answer waits for no more than these.
const BATCH: usize = 256;
/// Most bytes in one transaction.
const BATCH_BYTES: usize = 8 << 20;

pub(super) type Answer = Result<Vec<CommitAnswer>, PortError>;

/// The changes of one call.
pub(super) struct Call {
    pub(super) changes: Vec<Change>,
    pub(super) caller: oneshot::Sender<Answer>,
    /// Room among what waits, which is given up with the call.
    pub(super) _admitted: super::Admitted,
}

/// What waits.
#[derive(Default)]
pub(super) struct Commits {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Call>,
    running: bool,
}

impl Commits {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a call into the line; whether [`run`](Self::run) is to be started for it.
    pub(super) fn push(&self, call: Call) -> bool {
        let mut state = self.lock();
        state.waiting.push_back(call);
        !core::mem::replace(&mut state.running, true)
    }

    /// Stores what waits until nothing does: one transaction after the other, so that the changes of a row keep their order.
    pub(super) async fn run(&self, pool: &Pool, place: &str) {
        let _abandon = Abandon(self);
        while let Some(batch) = self.take() {
            store(batch, pool, place).await;
        }
    }

    fn take(&self) -> Option<Vec<Call>> {
        let mut state = self.lock();
        let (mut batch, mut keys, mut changes, mut bytes) = (Vec::new(), HashSet::new(), 0, 0usize);
        while let Some(call) = state.waiting.front() {
            let (more, size) = (call.changes.len(), call.changes.iter().map(size).fold(0, usize::saturating_add));
            let fits = changes + more <= BATCH && bytes.saturating_add(size) <= BATCH_BYTES;
            if !batch.is_empty() && (!fits || call.changes.iter().any(|change| keys.contains(&change.row.key))) {
                break;
            }
            (changes, bytes) = (changes + more, bytes.saturating_add(size));
            keys.extend(call.changes.iter().map(|change| change.row.key));
            batch.extend(state.waiting.pop_front());
            // A call that has a row twice goes alone.
            if keys.len() < changes {
                break;
            }
        }
        state.running = !batch.is_empty();
        state.running.then_some(batch)
    }
}

/// However the work ends, the next call starts it again, and nobody waits for what is not done.
struct Abandon<'a>(&'a Commits);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        // When the work has come to its end, another run may have begun.
        if std::thread::panicking() {
            let mut state = self.0.lock();
            state.running = false;
            let waiting = core::mem::take(&mut state.waiting);
            drop(state);
            drop(waiting);
        }
    }
}

fn size(change: &Change) -> usize {
    super::ROW.saturating_add(change.row.blob.as_bytes().len())
}

async fn store(mut batch: Vec<Call>, pool: &Pool, place: &str) {
    if let [call] = &mut batch[..] {
        let parts = parts(&call.changes);
        if parts.len() != 1 {
            let answer = in_parts(parts, pool, place).await;
            if let Some(call) = batch.pop() {
                tell(call.caller, answer);
            }
            return;
        }
    }
    let changes: Vec<&Change> = batch.iter().flat_map(|call| &call.changes).collect();
    let mut answers = match transact(pool, &changes).await {
        Ok(answers) => Ok(answers.into_iter()),
        Err(fault) => Err(fault),
    };
    for call in batch {
        let answer = match &mut answers {
            Ok(answers) => Ok(answers.by_ref().take(call.changes.len()).collect()),
            Err(fault) => Err(fault.port_error(place)),
        };
        tell(call.caller, answer);
    }
}

/// The caller may have gone; its waker is foreign code, whose panic is not the end of this work.
fn tell(caller: oneshot::Sender<Answer>, answer: Answer) {
    let _ = catch_unwind(AssertUnwindSafe(|| caller.send(answer)));
}

/// Changes in the parts that one transaction takes: different rows each, and not too many.
fn parts(changes: &[Change]) -> Vec<Vec<&Change>> {
    let mut parts = Vec::new();
    let (mut part, mut keys, mut bytes) = (Vec::new(), HashSet::<RowKey>::new(), 0usize);
    for change in changes {
        bytes = bytes.saturating_add(size(change));
        if !part.is_empty() && (part.len() >= BATCH || bytes > BATCH_BYTES || keys.contains(&change.row.key)) {
            parts.push(core::mem::take(&mut part));
            keys.clear();
            bytes = size(change);
        }
        keys.insert(change.row.key);
        part.push(change);
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

async fn in_parts(parts: Vec<Vec<&Change>>, pool: &Pool, place: &str) -> Answer {
    let mut answers = Vec::new();
    for part in parts {
        match transact(pool, &part).await {
            Ok(more) => answers.extend(more),
            Err(fault) if answers.is_empty() => return Err(fault.port_error(place)),
            // Earlier parts are stored.
            Err(fault) => return Err(fault.port_error(place).with_effect(Effect::Unknown)),
        }
    }
    Ok(answers)
}

async fn transact(pool: &Pool, changes: &[&Change]) -> Result<Vec<CommitAnswer>, Fault> {
    let lent = pool.take().await?;
    let answer = calls::commit(&lent.link, changes).await;
    lent.give_back(answer.as_ref().err());
    answer
}
