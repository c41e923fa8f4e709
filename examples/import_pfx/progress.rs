//! A bar on a terminal, a line for each row that wants somebody's attention.

use std::io::{IsTerminal as _, Write as _};

use intune_connector::adapters::graph::{ImportProgress, RowOutcome};

const WIDTH: usize = 30;

pub(crate) struct Bar {
    terminal: bool,
    failures: usize,
}

impl Bar {
    pub(crate) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), failures: 0 }
    }

    pub(crate) fn show(&mut self, progress: &ImportProgress<'_>) {
        let row = progress.last;
        let mut out = std::io::stderr().lock();
        if self.terminal {
            let _ = write!(out, "\r\x1b[K");
        }
        if row.outcome.is_failure() {
            self.failures += 1;
        }
        if row.outcome.is_failure() || !row.message.is_empty() && row.outcome != RowOutcome::DoneBefore {
            let _ = writeln!(out, "line {} {} {}: {}: {}", row.line, row.file, row.upn, row.outcome, row.message);
        }
        let (done, total) = (progress.done, progress.total);
        if self.terminal {
            let filled = WIDTH * done / total.max(1);
            let _ = write!(out, "[{}{}] {done}/{total}, {} not done", "#".repeat(filled), ".".repeat(WIDTH - filled), self.failures);
            if done == total {
                let _ = writeln!(out);
            }
        } else if done == total || done * 10 / total != (done - 1) * 10 / total {
            let _ = writeln!(out, "{done}/{total} rows, {} not done", self.failures);
        }
        let _ = out.flush();
    }
}
