//! An allocator that looks at each block before it is freed, for secrets that somebody planted.
//!
//! It sees the heap of Rust. What the C libraries allocate for themselves (BIGNUMs, key schedules) and what lies on the stack is out of its reach.

#![allow(unsafe_code, reason = "an allocator cannot be written without it; nothing else here needs it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::Mutex;

#[derive(Debug)]
pub struct Recorder;

// SAFETY: every call goes to the system's allocator unchanged; `dealloc` only reads the block before.
unsafe impl GlobalAlloc for Recorder {
    /// Zeroed, so that a block holds nothing that was left by another and every byte of it may be read.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's duties are the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's duties are the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    // `realloc` is the trait's own: a new block, a copy, `dealloc` of the old one. So what a growing vector leaves behind is seen here.
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if WATCHING.get() {
            // SAFETY: the block is still the caller's, `layout.size()` bytes long, and was zeroed when it was made.
            look(unsafe { core::slice::from_raw_parts(block, layout.size()) });
        }
        // SAFETY: the caller's duties are the same.
        unsafe { System.dealloc(block, layout) }
    }
}

thread_local! {
    static WATCHING: Cell<bool> = const { Cell::new(false) };
    static PLANTED: Cell<Option<&'static Planted>> = const { Cell::new(None) };
}

static FOUND: Mutex<Vec<(std::thread::ThreadId, String)>> = Mutex::new(Vec::new());

#[derive(Debug)]
struct Planted {
    needles: Vec<(&'static str, Vec<u8>)>,
    /// Which pairs of bytes start a needle: most positions are passed over by this alone.
    starts: Box<[bool]>,
}

/// How many bytes of a secret are looked for at its start, middle and end: a part that was copied counts as much as the whole.
const PART: usize = 12;
/// Shorter ones would be found by chance.
const SHORTEST: usize = 5;

/// Does something that is no business of the watch.
pub fn unwatched<T>(action: impl FnOnce() -> T) -> T {
    let before = WATCHING.replace(false);
    let result = action();
    WATCHING.set(before);
    result
}

/// From now on this thread's freed blocks are searched for `secret`, at its start, middle and end.
pub fn plant(what: &'static str, secret: &[u8]) {
    let part = secret.len().min(PART);
    for at in [0, (secret.len() - part) / 2, secret.len() - part] {
        plant_exactly(what, &secret[at..at + part]);
    }
}

/// The same for bytes that are looked for as they are. What is too short, or one byte repeated, is not looked for.
pub fn plant_exactly(what: &'static str, needle: &[u8]) {
    if needle.len() < SHORTEST || needle.windows(2).all(|pair| pair[0] == pair[1]) {
        return;
    }
    unwatched(|| {
        let known = PLANTED.get();
        let mut needles = known.map_or_else(Vec::new, |planted| planted.needles.clone());
        if needles.iter().any(|(_, bytes)| bytes == needle) {
            return;
        }
        needles.push((what, needle.to_vec()));
        let mut starts = vec![false; 1 << 16].into_boxed_slice();
        for (_, needle) in &needles {
            starts[usize::from(needle[0]) << 8 | usize::from(needle[1])] = true;
        }
        // Leaked: what is planted is never freed, so it is never found in the planting itself.
        PLANTED.set(Some(Box::leak(Box::new(Planted { needles, starts }))));
    });
}

/// Forgets what was planted.
pub fn clear() {
    PLANTED.set(None);
}

/// Watches `action` and gives what was found in the blocks that it freed: the secret's name and who freed the block.
pub fn watch(action: impl FnOnce()) -> Vec<String> {
    WATCHING.set(true);
    action();
    WATCHING.set(false);
    let mut found = FOUND.lock().expect("nobody panics while recording");
    let own = std::thread::current().id();
    let mine = found.extract_if(.., |(thread, _)| *thread == own).map(|(_, what)| what).collect();
    drop(found);
    mine
}

fn look(block: &[u8]) {
    let Some(planted) = PLANTED.get() else { return };
    for at in 0..block.len().saturating_sub(SHORTEST - 1) {
        if planted.starts[usize::from(block[at]) << 8 | usize::from(block[at + 1])] {
            for (what, needle) in &planted.needles {
                if block[at..].starts_with(needle) {
                    record(what, block.len(), at);
                    return;
                }
            }
        }
    }
}

fn record(what: &str, size: usize, at: usize) {
    unwatched(|| {
        let trace = Backtrace::force_capture().to_string();
        let places = trace.lines().map(str::trim).filter(|line| line.starts_with("at ") && !line.contains("/rustc/"));
        let places = places.filter(|line| !line.contains("recorder.rs")).take(5).collect::<Vec<_>>();
        let finding = format!("{what}: in a block of {size} bytes at {at}, freed {}", places.join(" "));
        FOUND.lock().expect("nobody panics while recording").push((std::thread::current().id(), finding));
    });
}
