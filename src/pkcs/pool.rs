//! Key pairs made ahead of their requests, so that a burst does not wait for primes.

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::crypto::CryptoProvider;
use crate::flow::Context;
use crate::ports::Runtime;
use crate::secret::PrivateKeyPkcs8;
use crate::terms::KeyAlgorithm;

/// Ready keys by algorithm. They live in memory that is wiped when they are dropped, and end with the flow's configuration.
pub(super) struct KeyPool {
    sizes: BTreeMap<KeyAlgorithm, usize>,
    ready: Mutex<BTreeMap<KeyAlgorithm, VecDeque<PrivateKeyPkcs8>>>,
    /// Nothing else wants the CPU threads.
    is_idle: AtomicBool,
    /// A job that makes a key waits or runs: one at a time, so that a request waits behind one key at most.
    is_filling: AtomicBool,
    failures: AtomicUsize,
}

/// Keys that could not be made in a row, after which it is left to the requests, which report it.
const MOST_FAILURES: usize = 3;

impl fmt::Debug for KeyPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ready = self.ready().values().map(VecDeque::len).sum::<usize>();
        f.debug_struct("KeyPool").field("sizes", &self.sizes).field("ready", &ready).finish_non_exhaustive()
    }
}

impl KeyPool {
    pub(super) fn new(sizes: BTreeMap<KeyAlgorithm, usize>) -> Self {
        Self {
            sizes,
            ready: Mutex::default(),
            is_idle: AtomicBool::new(false),
            is_filling: AtomicBool::new(false),
            failures: AtomicUsize::new(0),
        }
    }

    fn ready(&self) -> MutexGuard<'_, BTreeMap<KeyAlgorithm, VecDeque<PrivateKeyPkcs8>>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A ready key, which nobody else gets.
    pub(super) fn take(&self, algorithm: KeyAlgorithm) -> Option<PrivateKeyPkcs8> {
        self.ready().get_mut(&algorithm)?.pop_front()
    }

    /// Which algorithm lacks a key.
    fn wanted(&self) -> Option<KeyAlgorithm> {
        let ready = self.ready();
        let has = |algorithm: &KeyAlgorithm| ready.get(algorithm).map_or(0, VecDeque::len);
        self.sizes.iter().find(|(algorithm, size)| has(algorithm) < **size).map(|(algorithm, _)| *algorithm)
    }

    /// Lets it be filled while nothing else is to be done, and stops that.
    pub(super) fn set_idle(self: &Arc<Self>, context: &Context, is_idle: bool) {
        self.is_idle.store(is_idle && !self.sizes.is_empty(), Ordering::Release);
        if is_idle {
            self.fill(&context.provider, &context.runtime);
        }
    }

    fn fill(self: &Arc<Self>, provider: &Arc<CryptoProvider>, runtime: &Arc<dyn Runtime>) {
        let may = self.is_idle.load(Ordering::Acquire) && self.failures.load(Ordering::Acquire) < MOST_FAILURES;
        if !may || self.wanted().is_none() || self.is_filling.swap(true, Ordering::AcqRel) {
            return;
        }
        // Weak: neither flow nor runtime lives on for the sake of a key.
        let job = Filling { pool: Arc::downgrade(self) };
        let (provider, weak) = (Arc::clone(provider), Arc::downgrade(runtime));
        // A full queue drops the job, and with it the mark: the next idle moment tries again.
        let _ = runtime.offload(Box::new(move || {
            let Some(pool) = job.pool.upgrade() else { return };
            pool.make_one(&provider);
            drop(job);
            if let Some(runtime) = weak.upgrade() {
                pool.fill(&provider, &runtime);
            }
        }));
    }

    fn make_one(&self, provider: &CryptoProvider) {
        let Some(algorithm) = self.wanted().filter(|_| self.is_idle.load(Ordering::Acquire)) else { return };
        match provider.key_generation().ok().and_then(|generation| generation.generate(algorithm).ok()) {
            Some(key) => {
                self.failures.store(0, Ordering::Release);
                self.ready().entry(algorithm).or_default().push_back(key);
            }
            None => {
                self.failures.fetch_add(1, Ordering::AcqRel);
            }
        }
    }
}

/// Says that a key is being made, until it is dropped, run or unrun.
struct Filling {
    pool: Weak<KeyPool>,
}

impl Drop for Filling {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.is_filling.store(false, Ordering::Release);
        }
    }
}
