//! What one call costs: the most heap that it holds at a time, processor time, and key derivation in the units of `Limits::kdf_iterations`.
//!
//! Heap is that of Rust, of this thread. The C libraries allocate a few kilobytes for themselves, which no input makes larger.

#![allow(unsafe_code, reason = "an allocator cannot be written without it; nothing else here needs it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use intune_connector::crypto::{
    CryptoError, CryptoProvider, Digest, DigestAlgorithm, DigestOutput, Hmac, Pbkdf2, Scrypt, ScryptParameters,
};

#[derive(Debug)]
pub struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    let held = HELD.get() + change;
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

// SAFETY: every call goes to the system's allocator unchanged; the counters neither allocate nor touch the blocks.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller's duties are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller's duties are the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    // `realloc` is the trait's own: both blocks count while one is copied to the other.
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: the caller's duties are the same.
        unsafe { System.dealloc(block, layout) }
    }
}

/// What a call cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Most heap held at a time above what was held before, in bytes.
    pub heap: usize,
    /// Time on the processor, where the system tells it, else on the clock.
    pub time: Duration,
    /// Key derivation.
    pub work: u64,
}

/// Runs `action` with a provider that counts.
pub fn measure<T>(action: impl FnOnce(&CryptoProvider) -> T) -> (T, Cost) {
    let counter = Arc::new(Counter { inner: CryptoProvider::ring_and_aws_lc_rs(), halves: AtomicU64::new(0) });
    let provider = CryptoProvider::ring_and_aws_lc_rs()
        .with_digest(counter.clone())
        .with_hmac(counter.clone())
        .with_pbkdf2(counter.clone())
        .with_scrypt(counter.clone());
    let before = HELD.get();
    PEAK.set(before);
    let (clock, processor) = (Instant::now(), on_processor());
    let result = action(&provider);
    let time = on_processor().zip(processor).map_or_else(|| clock.elapsed(), |(after, before)| after - before);
    let heap = (PEAK.get() - before).unsigned_abs();
    (result, Cost { heap, time, work: counter.halves.load(Ordering::Relaxed) / 2 })
}

/// How long this thread has run: the clock would measure the machine's other work as well.
fn on_processor() -> Option<Duration> {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(statistics.split(' ').next()?.parse().ok()?))
}

/// Counts half units: one compression of a digest; a PBKDF2 round is two.
#[derive(Debug)]
struct Counter {
    inner: CryptoProvider,
    halves: AtomicU64,
}

impl Counter {
    fn add(&self, halves: u64) {
        self.halves.fetch_add(halves, Ordering::Relaxed);
    }
}

impl Digest for Counter {
    fn digest(&self, algorithm: DigestAlgorithm, parts: &[&[u8]]) -> Result<DigestOutput, CryptoError> {
        self.add(1);
        self.inner.digest().expect("the slot").digest(algorithm, parts)
    }
}

impl Hmac for Counter {
    fn hmac(&self, algorithm: DigestAlgorithm, key: &[u8], parts: &[&[u8]]) -> Result<DigestOutput, CryptoError> {
        self.add(4);
        self.inner.hmac().expect("the slot").hmac(algorithm, key, parts)
    }
}

impl Pbkdf2 for Counter {
    fn derive(&self, prf: DigestAlgorithm, password: &[u8], salt: &[u8], iterations: u32, out: &mut [u8]) -> Result<(), CryptoError> {
        self.add(2 * u64::from(iterations) * out.len().div_ceil(prf.output_len()) as u64);
        self.inner.pbkdf2().expect("the slot").derive(prf, password, salt, iterations, out)
    }
}

impl Scrypt for Counter {
    fn derive(&self, parameters: ScryptParameters, password: &[u8], salt: &[u8], out: &mut [u8]) -> Result<(), CryptoError> {
        let ScryptParameters { cost, block_size, parallelization } = parameters;
        self.add(2 * cost * u64::from(block_size) * u64::from(parallelization));
        self.inner.scrypt().map_err(|_| CryptoError::Unsupported("scrypt"))?.derive(parameters, password, salt, out)
    }
}
