//! What the journal keeps: the downloaded requests, sealed, and the end of the cool-down.

use std::sync::Arc;

use super::record::Record;
use crate::crypto::{CryptoProvider, DigestAlgorithm};
use crate::flow::seal::{SealError, Sealer};
use crate::ids::{IdempotencyKey, RequestId, TenantId};
use crate::ports::{Change, CommitAnswer, Journal, LoadRequest, PortError, Row, RowKey, RowKind, RowState, SealedBlob};
use crate::terms::Flow;
use crate::time::Timestamp;

/// So many open rows are looked at: those in hand (at most two for each of 10,000 workers), and one download.
const MOST_ROWS: usize = 25_000;

/// An id with this prefix is the digest of a context that is no id as it is.
const DIGEST_PREFIX: &str = "sha256:";

/// The journal of one tenant's revocation requests.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) tenant: TenantId,
    sealer: Sealer,
    provider: Arc<CryptoProvider>,
}

/// What is in a row.
#[derive(Debug)]
pub(super) enum Content {
    /// A request of this tenant.
    Own(RequestId, Record),
    /// Another tenant's.
    OfOthers,
    /// It does not open: its key is missing, or it was changed.
    Sealed(SealError),
}

fn failed(error: SealError) -> PortError {
    PortError::misconfigured(format!("a revocation request cannot be kept or read: {error}"))
}

impl Store {
    pub(super) fn new(journal: Arc<dyn Journal>, sealer: Sealer, provider: Arc<CryptoProvider>, tenant: TenantId) -> Self {
        Self { journal, tenant, sealer, provider }
    }

    fn sha256(&self, parts: &[&[u8]]) -> Result<[u8; 32], PortError> {
        let digest = self.provider.digest().map_err(|error| failed(error.into()))?.digest(DigestAlgorithm::Sha256, parts);
        digest.ok().and_then(|digest| digest.as_ref().try_into().ok()).ok_or_else(|| failed(SealError::Crypto))
    }

    /// The context itself where it can stand in a log, else its digest: contexts are Intune's, ids are at most 256 bytes and printable.
    pub(super) fn request_id(&self, context: &str) -> Result<RequestId, PortError> {
        if let Ok(id) = context.parse::<RequestId>()
            && !context.starts_with(DIGEST_PREFIX)
        {
            return Ok(id);
        }
        let hex = IdempotencyKey::new(self.sha256(&[context.as_bytes()])?).as_hex();
        format!("{DIGEST_PREFIX}{hex}").parse().map_err(|_| failed(SealError::Crypto))
    }

    /// Fields with their lengths, so that no two lists of fields give the same key.
    fn key(&self, kind: RowKind, label: &str, id: &str) -> Result<RowKey, PortError> {
        let parts = [label, self.tenant.as_str(), id];
        let lengths = parts.map(|part| (part.len() as u64).to_be_bytes());
        let fields: Vec<&[u8]> = lengths.iter().zip(parts).flat_map(|(length, part)| [&length[..], part.as_bytes()]).collect();
        Ok(RowKey { kind, key: IdempotencyKey::new(self.sha256(&fields)?) })
    }

    pub(super) fn row_key(&self, id: &RequestId) -> Result<RowKey, PortError> {
        self.key(RowKind::Revocation, "intune-revocation", id.as_str())
    }

    /// Puts the record into its row, which must be as it will be stored.
    pub(super) fn seal(&self, row: &mut Row, record: &Record) -> Result<(), PortError> {
        row.blob = self.sealer.seal(row, record.encode().bytes()).map_err(failed)?;
        Ok(())
    }

    pub(super) fn open(&self, row: &Row) -> Result<Content, PortError> {
        let record = match self.sealer.open(row).and_then(Record::decode) {
            Ok(record) => record,
            Err(error @ (SealError::Foreign | SealError::UnknownKey)) => return Ok(Content::Sealed(error)),
            Err(error) => return Err(failed(error)),
        };
        let id = self.request_id(&record.context)?;
        Ok(if self.row_key(&id)? == row.key { Content::Own(id, record) } else { Content::OfOthers })
    }

    pub(super) async fn open_rows(&self) -> Result<Vec<Row>, PortError> {
        self.journal.load(LoadRequest::Open { kind: RowKind::Revocation, max: MOST_ROWS }).await
    }

    pub(super) async fn rows(&self, keys: Vec<RowKey>) -> Result<Vec<Row>, PortError> {
        self.journal.load(LoadRequest::Keys(keys)).await
    }

    /// Stores rows and gives for each whether it is stored; otherwise somebody else changed it.
    pub(super) async fn commit(&self, rows: Vec<Row>) -> Result<Vec<bool>, PortError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let count = rows.len();
        let answers = self.journal.commit(rows.into_iter().map(Change::new).collect()).await?;
        if answers.len() != count {
            return Err(PortError::transient("the journal did not answer for each change"));
        }
        Ok(answers.into_iter().map(|answer| matches!(answer, CommitAnswer::Stored(_))).collect())
    }

    /// The row of the cool-down; its `due` is the end.
    pub(super) async fn cool_down(&self) -> Result<Option<Row>, PortError> {
        let key = self.key(RowKind::CoolDown, "intune-revocation-download", "")?;
        Ok(self.rows(vec![key]).await?.into_iter().next())
    }

    /// Begins a cool-down in place of that row. `None` when another instance was quicker.
    pub(super) async fn begin_cool_down(&self, before: Option<Row>, until: Timestamp, now: Timestamp) -> Result<Option<Row>, PortError> {
        let mut row = match before {
            Some(row) => row,
            // Nothing in it is secret, and it must be readable whatever the sealing key is: a forged one delays a download by a day at most.
            None => {
                Row::new(self.key(RowKind::CoolDown, "intune-revocation-download", "")?, Flow::Revoke, now, SealedBlob::new(Vec::new()))
            }
        };
        set_end(&mut row, until, now);
        match self.journal.commit(vec![Change::new(row.clone())]).await?.first() {
            Some(CommitAnswer::Stored(version)) => {
                row.version = *version;
                Ok(Some(row))
            }
            _ => Ok(None),
        }
    }

    /// Ends it at another time than it was begun with.
    pub(super) async fn end_cool_down(&self, mut row: Row, until: Timestamp, now: Timestamp) -> Result<(), PortError> {
        set_end(&mut row, until, now);
        self.commit(vec![row]).await.map(|_| ())
    }
}

fn set_end(row: &mut Row, until: Timestamp, now: Timestamp) {
    // Final, so that it is forgotten some day, but as if changed at its end, so that no retention is too short for it.
    row.state = RowState::Acknowledged;
    row.due = until;
    row.updated = until.max(now);
}
