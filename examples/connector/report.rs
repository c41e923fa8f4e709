//! What the reader sees: progress, the event log, the table.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use intune_connector::event::{Channel, Event, Level};

/// A progress bar on a terminal, plain lines otherwise; drawn by a thread of its own until dropped.
pub struct Progress {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    pub fn start(total: usize, done: Arc<AtomicUsize>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let terminal = std::io::stdout().is_terminal();
            let mut said = 0;
            loop {
                let last = stopped.load(Ordering::Acquire);
                let now = done.load(Ordering::Relaxed).min(total);
                if terminal {
                    let filled = now * 40 / total.max(1);
                    print!("\r[{}{}] {now}/{total}", "#".repeat(filled), "·".repeat(40 - filled));
                    let _ = std::io::stdout().flush();
                } else if now * 10 / total.max(1) > said {
                    said = now * 10 / total.max(1);
                    println!("{now} of {total} requests answered");
                }
                if last {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            if terminal {
                println!();
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The event log as an operator sees it: the whole Admin log, and of the Operational log what is no plain information.
pub fn print_events(events: &[Event], all: bool) {
    println!("\nEvent log (Admin, and Operational from Warning on; --all-events prints every step)");
    for event in events {
        let channel = event.id.channel();
        if all || channel == Channel::Admin || event.id.level() != Level::Information {
            let class = event.error_class.map(|class| format!(" [{class}]")).unwrap_or_default();
            println!(
                "{} {:<11} {:<5} {:>4} {:<31} {}{class} {}",
                event.at,
                format!("{:?}", event.id.level()),
                if channel == Channel::Admin { "Admin" } else { "Oper." },
                event.id.code(),
                event.id.name(),
                event.key.scope,
                event.message
            );
        }
    }
}

/// One line of the table.
pub struct Line {
    pub flow: String,
    pub received: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub retried: u64,
    pub median: Option<Duration>,
    pub p99: Option<Duration>,
}

pub fn print_table(lines: &[Line]) {
    println!("\n{:<14}{:>10}{:>11}{:>9}{:>9}{:>12}{:>12}", "flow", "received", "succeeded", "failed", "retried", "median", "p99");
    let time = |time: Option<Duration>| time.map_or_else(|| "-".to_owned(), |time| format!("{:.1} ms", time.as_secs_f64() * 1e3));
    for line in lines {
        println!(
            "{:<14}{:>10}{:>11}{:>9}{:>9}{:>12}{:>12}",
            line.flow,
            line.received,
            line.succeeded,
            line.failed,
            line.retried,
            time(line.median),
            time(line.p99)
        );
    }
}
