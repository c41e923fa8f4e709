//! What is written into the folder: PEM files and event logs.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

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

/// Writes each event as one line of JSON.
#[derive(Debug)]
pub struct JsonLines {
    admin: Mutex<BufWriter<File>>,
    operational: Mutex<BufWriter<File>>,
}

impl JsonLines {
    pub fn create(dir: &Path) -> Result<Self> {
        let open = |name| File::create(dir.join(name)).map(|file| Mutex::new(BufWriter::new(file)));
        Ok(Self { admin: open("admin.jsonl")?, operational: open("operational.jsonl")? })
    }
}

impl EventSink for JsonLines {
    fn emit(&self, event: &Event) {
        let log = if event.id.channel() == Channel::Admin { &self.admin } else { &self.operational };
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk must not stop the service.
        let _ = serde_json::to_writer(&mut *log, event);
        let _ = log.write_all(b"\n");
        let _ = log.flush();
    }
}
