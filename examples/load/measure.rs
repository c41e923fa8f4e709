//! What the system says of a process. Linux alone; elsewhere nothing is known.

use std::fs;
use std::time::Duration;

/// Memory in KiB: now, and at most so far.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub now: u64,
    pub most: u64,
}

pub fn memory() -> Option<Memory> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    Some(Memory { now: field("VmRSS:")?, most: field("VmHWM:")? })
}

pub fn descriptors() -> Option<usize> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count())
}

/// Processor time of this process, all threads. The clock has 100 ticks a second on Linux.
pub fn processor_time() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

pub fn mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1_024.0)
}
