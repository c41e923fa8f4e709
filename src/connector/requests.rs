//! What an operator sees of requests in the journal, and does about those that are parked.

use super::content::Content;
use super::handle::Handle;
use super::intake::row_key;
use crate::ids::{CaName, IdempotencyKey, SerialNumber};
use crate::message::certificate::Certificate;
use crate::ports::{Change, CommitAnswer, LoadRequest, Outcome, PortError, RequestMeta, Row, RowKey, RowKind, RowState};
use crate::time::Timestamp;

/// A request as the journal knows it. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestRecord {
    /// What it is known by, in this journal and at CAs.
    pub key: IdempotencyKey,
    /// Who it is.
    pub meta: RequestMeta,
    /// Where it stands.
    pub state: RowState,
    /// Attempts so far.
    pub attempt: u32,
    /// How often the process ended in the middle of an attempt, one after the other.
    pub crashes: u32,
    /// The CA that it is for.
    pub ca: Option<CaName>,
    /// The serial number of the certificate that was issued for it.
    pub serial: Option<SerialNumber>,
    /// The CA's own name for that certificate.
    pub ca_side_id: Option<String>,
    /// Why it failed, or was parked.
    pub problem: Option<String>,
    /// When it was first seen.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

/// An entry of the ledger of orphans: certificates that may exist at a CA and that nobody gets.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OrphanRecord {
    /// What its request is known by.
    pub key: IdempotencyKey,
    /// Its request.
    pub meta: RequestMeta,
    /// The CA.
    pub ca: Option<CaName>,
    /// How many certificates it may be.
    pub most: u32,
    /// Serial numbers that were found and revoked.
    pub revoked: Vec<String>,
    /// What an operator should know.
    pub note: Option<String>,
    /// When the CA was asked.
    pub since: Timestamp,
    /// When the connector looks next.
    pub next_look: Timestamp,
}

/// Why something could not be done about a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The journal has no such row.
    #[error("the journal has no such request: it was pruned, or the key is another's")]
    Unknown,
    /// It is in another state.
    #[error("the request is in the state {0:?}; only parked ones are taken up again or dropped")]
    NotParked(RowState),
    /// Its row does not open with the sealing keys.
    #[error("the row does not open with the sealing keys that are given: it was sealed with another one, or changed")]
    DoesNotOpen,
    /// The queue refused its result more than a day ago.
    #[error("the certificate of the request was revoked, since the queue refused the result a day ago or longer; drop the request")]
    Revoked,
    /// Somebody changed it in the meantime.
    #[error("the request was changed in the meantime; look at it again")]
    Changed,
    /// The journal failed.
    #[error("the journal failed: {0}")]
    Journal(#[from] PortError),
}

impl Handle {
    /// Requests that are parked for an operator, oldest first: those whose result no queue took, and those that ended the process again and
    /// again.
    ///
    /// # Errors
    /// [`RequestError::Journal`].
    pub async fn parked(&self, max: usize) -> Result<Vec<RequestRecord>, RequestError> {
        let rows = self.inner.journal.load(LoadRequest::Parked { kind: RowKind::Request, max }).await?;
        Ok(rows.iter().filter_map(|row| Some(self.record(row, &self.inner.open(row).ok()?))).collect())
    }

    /// One request.
    ///
    /// # Errors
    /// [`RequestError`], when there is none, it does not open, or the journal fails.
    pub async fn request(&self, key: IdempotencyKey) -> Result<RequestRecord, RequestError> {
        let (row, content) = self.row(key).await?;
        Ok(self.record(&row, &content))
    }

    /// Takes a parked request up again, as if it had come just now; a certificate that was issued for it is used.
    ///
    /// # Errors
    /// [`RequestError`]; nothing is changed then, unless the journal failed.
    pub async fn redrive(&self, key: IdempotencyKey) -> Result<(), RequestError> {
        self.unpark(key, None).await
    }

    /// Ends a parked request: the queue gets a failure, and a certificate that was issued for it goes to the ledger of orphans. One whose
    /// result the queue has refused ends without another answer, and its certificate is revoked.
    ///
    /// # Errors
    /// [`RequestError`]; nothing is changed then, unless the journal failed.
    pub async fn drop_request(&self, key: IdempotencyKey) -> Result<(), RequestError> {
        self.unpark(key, Some("an operator dropped the request")).await
    }

    /// The open entries of the ledger of orphans, oldest first.
    ///
    /// # Errors
    /// [`RequestError::Journal`].
    pub async fn orphans(&self, max: usize) -> Result<Vec<OrphanRecord>, RequestError> {
        let rows = self.inner.journal.load(LoadRequest::Open { kind: RowKind::Orphan, max }).await?;
        let record = |row: &Row| {
            let entry = self.inner.open_orphan(row).ok()?;
            Some(OrphanRecord {
                key: row.key.key,
                meta: entry.meta,
                ca: entry.ca,
                most: entry.most,
                revoked: entry.revoked,
                note: entry.note,
                since: row.created,
                next_look: row.due,
            })
        };
        Ok(rows.iter().filter_map(record).collect())
    }

    /// Closes an entry of the ledger, after an operator has looked at the CA.
    ///
    /// # Errors
    /// [`RequestError`]; nothing is changed then, unless the journal failed.
    pub async fn close_orphan(&self, key: IdempotencyKey) -> Result<(), RequestError> {
        let key = RowKey { kind: RowKind::Orphan, key };
        let row = self.inner.journal.load(LoadRequest::Keys(vec![key])).await?.into_iter().next().ok_or(RequestError::Unknown)?;
        let row = self.inner.closed_orphan(row).ok_or(RequestError::DoesNotOpen)?;
        self.commit(row).await
    }

    async fn row(&self, key: IdempotencyKey) -> Result<(Row, Content), RequestError> {
        let rows = self.inner.journal.load(LoadRequest::Keys(vec![row_key(key)])).await?;
        let row = rows.into_iter().next().ok_or(RequestError::Unknown)?;
        let content = self.inner.open(&row).map_err(|_| RequestError::DoesNotOpen)?;
        Ok((row, content))
    }

    async fn unpark(&self, key: IdempotencyKey, given_up: Option<&str>) -> Result<(), RequestError> {
        let inner = &self.inner;
        let (mut row, mut content) = self.row(key).await?;
        if row.state != RowState::Parked {
            return Err(RequestError::NotParked(row.state));
        }
        if given_up.is_none() && content.outcome().is_some() {
            match inner.is_revoked_as_orphan(key).await {
                Some(false) => {}
                Some(true) => return Err(RequestError::Revoked),
                None => return Err(RequestError::Journal(PortError::transient("the ledger of orphans could not be read"))),
            }
        }
        let now = inner.now();
        (content.crashes, content.given_back, content.problem) = (0, true, None);
        row.state = match (content.outcome().is_some(), given_up) {
            // Its result was made, and refused: there is nothing to tell the queue but the same.
            (true, Some(_)) => RowState::Failed,
            (true, None) => RowState::Packed,
            (false, _) => RowState::Received,
        };
        content.given_up = given_up.map(str::to_owned);
        (row.owner, row.due, row.created, row.updated, row.attempt) = (None, now, now, now, 0);
        row.delivery = row.delivery.saturating_add(1);
        let row = inner.seal(row, &content).ok_or(RequestError::DoesNotOpen)?;
        self.commit(row).await?;
        // It is looked for at once.
        inner.control.look_again();
        Ok(())
    }

    async fn commit(&self, row: Row) -> Result<(), RequestError> {
        match self.inner.journal.commit(vec![Change::new(row)]).await?.as_slice() {
            [CommitAnswer::Stored(_)] => Ok(()),
            _ => Err(RequestError::Changed),
        }
    }

    fn record(&self, row: &Row, content: &Content) -> RequestRecord {
        let certificate = content.certificate.as_ref().and_then(|der| Certificate::from_der(der, &self.inner.context.limits).ok());
        let failure = content.outcome().as_ref().and_then(Outcome::failure);
        RequestRecord {
            key: row.key.key,
            meta: content.meta.clone(),
            state: row.state,
            attempt: row.attempt,
            crashes: content.crashes,
            ca: content.ca.clone(),
            serial: certificate.and_then(|certificate| certificate.serial().cloned()),
            ca_side_id: content.ca_side_id.clone(),
            problem: content.problem.clone().or(failure),
            created: row.created,
            updated: row.updated,
        }
    }
}
