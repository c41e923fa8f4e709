#![no_main]

#[path = "../open_queue.rs"]
mod open_queue;

libfuzzer_sys::fuzz_target!(|data: &[u8]| open_queue::open_queue(data));
