//! Events as JSON lines in an Admin and an Operational file.

use core::fmt;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::event::{Channel, Event, EventId};
use crate::ports::EventSink;

/// Writes each event as one line of JSON to `admin.jsonl` or `operational.jsonl` in a folder, appending.
///
/// A thread of its own writes; what waits for it is bounded, and events that find no room, or that the disk refuses, are dropped and
/// counted. Dropping the sink writes what waits and joins the thread. The files grow without bound: rotate them from outside and make a
/// new sink.
pub struct JsonLinesSink {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    most: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<(Channel, String)>,
    writing: bool,
    closed: bool,
    lost: u64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for JsonLinesSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonLinesSink").field("most", &self.most).field("lost", &self.lost()).finish_non_exhaustive()
    }
}

impl JsonLinesSink {
    /// Files in that folder, which must exist; up to 10,000 events wait to be written.
    ///
    /// # Errors
    /// When a file cannot be opened, or the system refuses a thread.
    pub fn new(folder: impl AsRef<Path>) -> std::io::Result<Self> {
        Self::with_capacity(folder, 10_000)
    }

    /// As [`JsonLinesSink::new`], with at most `most` events waiting to be written.
    ///
    /// # Errors
    /// When a file cannot be opened, or the system refuses a thread.
    pub fn with_capacity(folder: impl AsRef<Path>, most: usize) -> std::io::Result<Self> {
        let open = |name: &str| OpenOptions::new().create(true).append(true).open(folder.as_ref().join(name));
        let files = [open("admin.jsonl")?, open("operational.jsonl")?];
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let writer = thread::Builder::new().name("connector-events".to_owned()).spawn(move || write_lines(&theirs, files))?;
        Ok(Self { shared, writer: Some(writer), most })
    }

    /// How many events were dropped.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lock().lost
    }

    /// Waits until all events taken so far are in the files.
    pub fn flush(&self) {
        let mut state = self.shared.lock();
        while !state.lines.is_empty() || state.writing {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn write_lines(shared: &Shared, [mut admin, mut operational]: [File; 2]) {
    loop {
        let lines = {
            let mut state = shared.lock();
            state.writing = false;
            shared.changed.notify_all();
            while state.lines.is_empty() && !state.closed {
                state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.lines.is_empty() {
                return;
            }
            state.writing = true;
            core::mem::take(&mut state.lines)
        };
        let mut lost = 0;
        for (file, channel) in [(&mut admin, Channel::Admin), (&mut operational, Channel::Operational)] {
            let mut text = String::new();
            let mut count = 0;
            for (_, line) in lines.iter().filter(|(of, _)| *of == channel) {
                text.push_str(line);
                text.push('\n');
                count += 1;
            }
            if count > 0 && file.write_all(text.as_bytes()).and_then(|()| file.flush()).is_err() {
                lost += count;
            }
        }
        shared.lock().lost += lost;
    }
}

/// One line: the event's number, name and category beside its serialised form.
fn line(event: &Event) -> Option<String> {
    let mut value = serde_json::to_value(event).ok()?;
    let members = value.as_object_mut()?;
    members.insert("name".to_owned(), event.id.name().into());
    members.insert("category".to_owned(), event.id.task_category().as_str().into());
    members.insert("level".to_owned(), serde_json::to_value(event.id.level()).ok()?);
    members.insert("time".to_owned(), event.at.to_string().into());
    serde_json::to_string(&value).ok()
}

impl EventSink for JsonLinesSink {
    fn enabled(&self, _: EventId) -> bool {
        true
    }

    fn emit(&self, event: &Event) {
        let line = line(event);
        let mut state = self.shared.lock();
        match line {
            Some(line) if state.lines.len() < self.most => {
                state.lines.push_back((event.id.channel(), line));
                drop(state);
                self.shared.changed.notify_all();
            }
            _ => state.lost += 1,
        }
    }
}

impl Drop for JsonLinesSink {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKey;
    use crate::time::Timestamp;

    fn event(id: EventId, scope: &str) -> Event {
        let key = EventKey {
            tenant: "t".parse().unwrap(),
            instance: "i".parse().unwrap(),
            flow: None,
            scope: scope.to_owned(),
            delivery: 1,
            attempt: 1,
            event: id,
        };
        Event::new(key, Timestamp::from_secs(1)).with_message("line\nbreak")
    }

    #[test]
    fn each_channel_has_its_file_and_each_event_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let sink = JsonLinesSink::new(folder.path()).unwrap();
        sink.emit(&event(EventId::PkcsRequestSuccess, "a"));
        sink.emit(&event(EventId::PkcsDownloadSuccess, "b"));
        sink.emit(&event(EventId::PkcsRequestFailure, "c"));
        sink.flush();
        assert_eq!(std::fs::read_to_string(folder.path().join("operational.jsonl")).unwrap().lines().count(), 1);
        drop(sink);
        let admin = std::fs::read_to_string(folder.path().join("admin.jsonl")).unwrap();
        let lines: Vec<serde_json::Value> = admin.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["id"], &lines[0]["name"]), (&1000.into(), &"PkcsRequestSuccess".into()));
        assert_eq!(lines[1]["key"]["scope"], "c");
        let read: Event = serde_json::from_str(admin.lines().next().unwrap()).unwrap();
        assert_eq!(read, event(EventId::PkcsRequestSuccess, "a"));
    }

    #[test]
    fn events_without_room_are_counted_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let sink = JsonLinesSink::with_capacity(folder.path(), 0).unwrap();
        sink.emit(&event(EventId::PkcsRequestSuccess, "a"));
        assert_eq!(sink.lost(), 1);
    }
}
