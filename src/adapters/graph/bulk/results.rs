//! What became of each row, in a file that a later run reads.

use core::fmt;
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

use super::csv::{self, Records};
use crate::event::printable;
use crate::ids::Thumbprint;

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RowOutcome {
    /// The record is new.
    Created,
    /// The record was there, and holds this PFX now.
    Updated,
    /// The record was there, and was left as it is.
    Kept,
    /// An earlier run did it, by the result file.
    DoneBefore,
    /// A dry run: the checks passed, nothing was sent.
    Checked,
    /// A check failed, or Graph refuses it: change the row or the file.
    Refused,
    /// It did not work, and may later: run again.
    Failed,
    /// Something that concerns all rows was wrong, so this one was not tried: mend that, and run again.
    NotTried,
}

impl RowOutcome {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Created, Self::Updated, Self::Kept, Self::DoneBefore, Self::Checked, Self::Refused, Self::Failed, Self::NotTried];

    /// The name in the result file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Kept => "kept",
            Self::DoneBefore => "done-before",
            Self::Checked => "checked",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::NotTried => "not-tried",
        }
    }

    /// Whether the record is in Graph, so that a later run passes over the row.
    #[must_use]
    pub const fn is_done(self) -> bool {
        matches!(self, Self::Created | Self::Updated | Self::Kept | Self::DoneBefore)
    }

    /// Whether somebody must act.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Refused | Self::Failed | Self::NotTried)
    }
}

impl fmt::Display for RowOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One result. It holds no password.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RowResult {
    /// The line in the list.
    pub line: usize,
    /// The file.
    pub file: String,
    /// Whose it is.
    pub upn: String,
    /// The certificate, as far as it was found.
    pub thumbprint: Option<Thumbprint>,
    /// What became of it.
    pub outcome: RowOutcome,
    /// Graph's `request-id`, for Microsoft's support.
    pub request_id: Option<String>,
    /// What to know, or to do.
    pub message: String,
}

/// The result file: CSV with the columns `file, upn, thumbprint, result, request_id, message`, one line for each row of a run, appended as
/// each is done and on disk before the next is told. It holds no password.
///
/// A run that finds a file takes what was done there as done, by `file` and `upn`: a renewed PFX under the same name wants a new result file.
/// A last line that a crash cut off is taken away; its row is tried again. One run at a time has the file.
#[derive(Debug)]
pub struct ResultFile {
    file: File,
    done: HashSet<(String, String)>,
}

const HEADER: [&str; 6] = ["file", "upn", "thumbprint", "result", "request_id", "message"];
const MAX_BYTES: u64 = 256 << 20;

impl ResultFile {
    /// Opens or makes the file.
    ///
    /// # Errors
    /// When it cannot be opened, another run has it, or it is no result file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        file.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => io::Error::new(io::ErrorKind::WouldBlock, "another run is writing this result file"),
            std::fs::TryLockError::Error(error) => error,
        })?;
        if file.metadata()?.len() > MAX_BYTES {
            return Err(io::Error::other("the result file is longer than 256 MiB: start another"));
        }
        let mut text = Vec::new();
        (&mut file).take(MAX_BYTES).read_to_end(&mut text)?;
        let (done, end) = read(&text)?;
        file.set_len(end as u64)?;
        file.seek(io::SeekFrom::End(0))?;
        if end == 0 {
            file.write_all(csv::line(&HEADER).as_bytes())?;
            file.sync_data()?;
        }
        Ok(Self { file, done })
    }

    /// One whose disk takes nothing.
    #[cfg(test)]
    pub(super) fn unwritable() -> Self {
        Self { file: File::open("Cargo.toml").unwrap(), done: HashSet::new() }
    }

    /// Whether an earlier run did that row.
    #[must_use]
    pub fn is_done(&self, file: &str, upn: &str) -> bool {
        self.done.contains(&(file.to_owned(), upn.to_lowercase()))
    }

    /// How many rows earlier runs did.
    #[must_use]
    pub fn done_before(&self) -> usize {
        self.done.len()
    }

    /// Appends a line; it is on disk when this returns.
    ///
    /// # Errors
    /// When the disk is full, or the like.
    pub fn append(&mut self, result: &RowResult) -> io::Result<()> {
        let thumbprint = result.thumbprint.map(|thumbprint| thumbprint.to_string()).unwrap_or_default();
        let id = result.request_id.as_deref().unwrap_or_default();
        let line = csv::line(&[&result.file, &result.upn, &thumbprint, result.outcome.as_str(), id, &printable(&result.message)]);
        self.file.write_all(line.as_bytes())?;
        self.file.sync_data()
    }
}

/// The rows that are done, and where the last whole line ends.
fn read(text: &[u8]) -> io::Result<(HashSet<(String, String)>, usize)> {
    let foreign =
        |line: usize| io::Error::new(io::ErrorKind::InvalidData, format!("line {line} of the result file is not one of this program's"));
    let mut done = HashSet::new();
    let mut end = 0;
    for record in Records::new(text) {
        // What a crash cut off is the last, and may end inside of quotes.
        let record = match record {
            Ok(record) if record.complete => record,
            Ok(_) => break,
            Err(_) if end > 0 && !text.ends_with(b"\n") => break,
            Err(problem) => return Err(foreign(problem.line)),
        };
        let fields: Vec<&str> = record.fields.iter().map(|field| core::str::from_utf8(field.secret_bytes()).unwrap_or_default()).collect();
        match fields.as_slice() {
            header if end == 0 && header == HEADER => {}
            [file, upn, _, result, _, _] if end > 0 => {
                if RowOutcome::ALL.iter().any(|outcome| outcome.is_done() && outcome.as_str() == *result) {
                    done.insert(((*file).to_owned(), upn.to_lowercase()));
                }
            }
            _ => return Err(foreign(record.line)),
        }
        end = record.end;
    }
    // Something is in the file, and it does not begin as a result file does: it is not ours to cut.
    let ours = end > 0 || csv::line(&HEADER).as_bytes().starts_with(text);
    if ours { Ok((done, end)) } else { Err(foreign(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "file,upn,thumbprint,result,request_id,message\r\n";

    #[test]
    fn what_a_crash_cut_off_is_taken_away_and_tried_again() {
        let whole = format!("{HEAD}a.pfx,A@contoso.example,,created,,\r\nb.pfx,b@contoso.example,,failed,,\r\n");
        for torn in
            ["", "c", "c.pfx,c@contoso.example,,created,,", "c.pfx,c@contoso.example,,failed,,\"half a mess", "c,c@x,,created,,\"a\nb"]
        {
            let (done, end) = read(format!("{whole}{torn}").as_bytes()).unwrap();
            assert_eq!(end, whole.len(), "{torn}");
            assert_eq!(done, HashSet::from([("a.pfx".to_owned(), "a@contoso.example".to_owned())]));
        }
        assert_eq!(read(b"file,up").unwrap().1, 0);
    }

    #[test]
    fn a_foreign_file_is_left_alone() {
        for foreign in ["hello", "hello\r\n", "a,b,c,d,e,f\r\n", &format!("{HEAD}a,b\r\n"), &format!("{HEAD}a,b,c\"d,e\r\n")] {
            assert!(read(foreign.as_bytes()).is_err(), "{foreign}");
        }
    }
}
