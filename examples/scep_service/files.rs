//! What is written into the folder: PEM files and event logs.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use intune_connector::event::{Channel, Event};
use intune_connector::ports::EventSink;

use crate::Result;

pub fn write_pem(path: &Path, label: &str, der: &[u8]) -> Result<()> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        for chunk in line.chunks(3) {
            let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
            for at in 0..4 {
                text.push(if at <= chunk.len() { char::from(LETTERS[(word >> (18 - 6 * at)) as usize & 63]) } else { '=' });
            }
        }
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    // Whoever reads it meanwhile sees the old file or the new one.
    let new = path.with_extension("new");
    std::fs::write(&new, text)?;
    Ok(std::fs::rename(new, path)?)
}

/// Writes each event as one line of JSON; both files are up to date at each Admin event, and otherwise within a tenth of a second of the
/// next event.
#[derive(Debug)]
pub struct JsonLines(Mutex<Files>);

#[derive(Debug)]
struct Files {
    admin: BufWriter<File>,
    operational: BufWriter<File>,
    written: Instant,
}

impl JsonLines {
    pub fn create(dir: &Path) -> Result<Self> {
        let open = |name| File::create(dir.join(name)).map(BufWriter::new);
        let (admin, operational) = (open("admin.jsonl")?, open("operational.jsonl")?);
        Ok(Self(Mutex::new(Files { admin, operational, written: Instant::now() })))
    }
}

impl EventSink for JsonLines {
    fn emit(&self, event: &Event) {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_admin = event.id.channel() == Channel::Admin;
        let log = if is_admin { &mut files.admin } else { &mut files.operational };
        // A full disk must not stop the service.
        let _ = serde_json::to_writer(&mut *log, event);
        let _ = log.write_all(b"\n");
        if is_admin || files.written.elapsed() > Duration::from_millis(100) {
            let _ = files.operational.flush();
            let _ = files.admin.flush();
            files.written = Instant::now();
        }
    }
}
