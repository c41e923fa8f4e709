//! What an operator sees of certificates that nobody got, and says about them.

use super::record::Record;
use super::service::Service;
use crate::ids::{CaName, IdempotencyKey, SerialNumber, TransactionId};
use crate::ports::{Change, CommitAnswer, LoadRequest, PortError, Row, RowKey, RowKind};
use crate::terms::Flow;
use crate::time::Timestamp;

/// Rows read at most: other flows may share the journal.
const MOST_ROWS: usize = 10_000;

/// An entry of the ledger of orphans: certificates that may exist at a CA and that no client got.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OrphanRecord {
    /// What the CA knows the request by.
    pub key: IdempotencyKey,
    /// The SCEP transaction.
    pub transaction_id: TransactionId,
    /// The CA that was asked.
    pub ca: Option<CaName>,
    /// How many certificates it may be.
    pub most: u32,
    /// A certificate that is known, and still to be revoked.
    pub known: Option<SerialNumber>,
    /// Serial numbers that were found and revoked.
    pub revoked: Vec<String>,
    /// What an operator should know.
    pub note: Option<String>,
    /// When it was listed.
    pub since: Timestamp,
    /// When [`Service::maintain`] looks next.
    pub next_look: Timestamp,
}

/// Why something could not be done about an entry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OrphanError {
    /// The journal has no such row.
    #[error("the journal has no such entry: it was pruned, or the key is another's")]
    Unknown,
    /// Its row does not open with the sealing keys.
    #[error("the row does not open with the sealing keys that are given: it was sealed with another one, or changed")]
    DoesNotOpen,
    /// Somebody changed it in the meantime.
    #[error("the entry was changed in the meantime; look at it again")]
    Changed,
    /// The journal failed.
    #[error("the journal failed: {0}")]
    Journal(#[from] PortError),
}

impl Service {
    /// The open entries of the ledger of orphans, oldest first, at most so many. Those that the service cannot settle itself, since the CA
    /// cannot be searched, stay until [`close_orphan`](Self::close_orphan).
    ///
    /// # Errors
    /// [`OrphanError::Journal`].
    pub async fn orphans(&self, max: usize) -> Result<Vec<OrphanRecord>, OrphanError> {
        let inner = &self.0;
        let rows = inner.journal.load(LoadRequest::Open { kind: RowKind::Orphan, max: MOST_ROWS }).await?;
        let record = |row: &Row| {
            let record = inner.sealer.open(row).and_then(Record::decode).ok()?;
            let known = inner.serial_of(&record);
            let suspicion = record.suspicion;
            Some(OrphanRecord {
                key: row.key.key,
                transaction_id: record.transaction_id,
                ca: record.ca,
                most: suspicion.as_ref().map_or(1, |suspicion| suspicion.most),
                known,
                revoked: suspicion.as_ref().map(|suspicion| suspicion.revoked.clone()).unwrap_or_default(),
                note: suspicion.and_then(|suspicion| suspicion.note),
                since: row.created,
                next_look: row.due,
            })
        };
        Ok(rows.iter().filter(|row| row.flow == Flow::Scep).filter_map(record).take(max).collect())
    }

    /// Closes an entry of the ledger, after an operator has looked at the CA, and revoked there what nobody has.
    ///
    /// # Errors
    /// [`OrphanError`]; nothing is changed then, unless the journal failed.
    pub async fn close_orphan(&self, key: IdempotencyKey) -> Result<(), OrphanError> {
        let inner = &self.0;
        let key = RowKey { kind: RowKind::Orphan, key };
        let rows = inner.journal.load(LoadRequest::Keys(vec![key])).await?;
        let row = rows.into_iter().next().filter(|row| row.flow == Flow::Scep).ok_or(OrphanError::Unknown)?;
        let row = inner.closed(row).map_err(|_| OrphanError::DoesNotOpen)?;
        match inner.journal.commit(vec![Change::new(row)]).await?.as_slice() {
            [CommitAnswer::Stored(_)] => Ok(()),
            _ => Err(OrphanError::Changed),
        }
    }
}
