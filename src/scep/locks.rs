//! One lock for each transaction in hand, so that the same request at the same time is done once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::lock;

use crate::ids::IdempotencyKey;

/// The locks of the transactions in hand, and of no others.
#[derive(Debug, Default)]
pub(super) struct KeyLocks(Mutex<HashMap<IdempotencyKey, Entry>>);

#[derive(Debug, Default)]
struct Entry {
    lock: Arc<lock::Mutex<()>>,
    /// Who holds it or waits for it.
    users: usize,
}

/// The lock of one transaction. Dropping the last one forgets it, also when a request is dropped while it works or waits.
#[derive(Debug)]
pub(super) struct KeyLock<'a> {
    all: &'a KeyLocks,
    key: IdempotencyKey,
    lock: Arc<lock::Mutex<()>>,
}

impl KeyLocks {
    pub(super) fn of(&self, key: IdempotencyKey) -> KeyLock<'_> {
        let mut entries = self.entries();
        let entry = entries.entry(key).or_default();
        entry.users += 1;
        KeyLock { all: self, key, lock: entry.lock.clone() }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<IdempotencyKey, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyLock<'_> {
    /// Waits for its turn, which ends with the guard.
    pub(super) async fn turn(&self) -> lock::MutexGuard<'_, ()> {
        self.lock.lock().await
    }

    /// Its turn, when nobody else has it.
    pub(super) fn try_turn(&self) -> Option<lock::MutexGuard<'_, ()>> {
        self.lock.try_lock()
    }
}

impl Drop for KeyLock<'_> {
    fn drop(&mut self) {
        let mut entries = self.all.entries();
        if let Some(entry) = entries.get_mut(&self.key) {
            entry.users -= 1;
            if entry.users == 0 {
                entries.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use core::pin::pin;
    use core::sync::atomic::{AtomicU32, Ordering};
    use core::task::{Context, Waker};

    use futures_util::FutureExt as _;

    use super::*;

    const KEY: IdempotencyKey = IdempotencyKey::new([7; 32]);

    #[test]
    fn a_lock_is_forgotten_when_its_last_user_is_dropped_at_work_or_while_it_waits() {
        let locks = KeyLocks::default();
        let at_work = locks.of(KEY);
        let turn = at_work.turn().now_or_never().unwrap();
        {
            let waiting = locks.of(KEY);
            assert!(waiting.try_turn().is_none());
            let mut turn = pin!(waiting.turn());
            assert!(turn.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert_eq!(locks.entries().len(), 1);
        let other = locks.of(IdempotencyKey::new([8; 32]));
        assert!(other.turn().now_or_never().is_some(), "another transaction does not wait");
        drop(other);
        drop(turn);
        drop(at_work);
        assert!(locks.entries().is_empty());
    }

    #[test]
    fn of_many_users_one_has_its_turn_and_nothing_stays() {
        let (locks, inside) = (KeyLocks::default(), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let lock = locks.of(KEY);
                        if let Some(_turn) = lock.turn().now_or_never() {
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                            inside.fetch_sub(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        assert!(locks.entries().is_empty());
    }
}
