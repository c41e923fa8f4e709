//! Requests in a file, in the form in which the open queue delivers them.

use crate::adapters::http_queue::wire::{Document, MAX_BATCH, Problem, read_item_strictly, write_batch, write_item};
use crate::ports::QueueItem;
use crate::secret::SecretBytes;

/// A record that cannot be read or written. It says which member is wrong, and quotes none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the recorded requests {0}")]
pub struct InvalidRecord(String);

impl InvalidRecord {
    fn at(index: usize, problem: &Problem) -> Self {
        Self(format!("are wrong at number {index} (from 0): {problem}"))
    }
}

/// Reads recorded requests, of any flows and tenants: `{"items":[...]}`, each item as the schema `Item` of `docs/open-queue.openapi.json` has
/// it, which is the answer of an open queue to `receive`. At most 1,000 requests.
///
/// Security duty: such a record holds PFX files, and names of people and devices: keep it as you keep the queue.
///
/// # Errors
/// When it is no such document, or a request in it cannot be read. A queue's own unreadable request is the kind `malformed`.
pub fn read_recorded(json: &[u8]) -> Result<Vec<QueueItem>, InvalidRecord> {
    let wrong = |problem: Problem| InvalidRecord(format!("cannot be read: {problem}"));
    let document = Document::read(json).map_err(wrong)?;
    let items = document.top().and_then(|top| top.required_list("items", MAX_BATCH)).map_err(wrong)?;
    items.iter().enumerate().map(|(at, item)| read_item_strictly(item).map_err(|problem| InvalidRecord::at(at, &problem))).collect()
}

/// Writes requests, such as those that a queue of yours has delivered, for [`read_recorded`]. At most 1,000.
///
/// Security duty: as for [`read_recorded`]. The bytes are wiped when they are dropped; what is written to a file stays.
///
/// # Errors
/// When there are too many, or one is larger than the open queue's messages may be.
pub fn write_recorded(items: &[QueueItem]) -> Result<SecretBytes, InvalidRecord> {
    if items.len() > MAX_BATCH {
        return Err(InvalidRecord(format!("are {}; write at most {MAX_BATCH} into a record", items.len())));
    }
    let write = |(at, item)| write_item(item).map_err(|problem| InvalidRecord::at(at, &problem));
    let written = items.iter().enumerate().map(write).collect::<Result<Vec<_>, _>>()?;
    Ok(write_batch(&written, None, None))
}
