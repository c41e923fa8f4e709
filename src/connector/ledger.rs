//! The ledger of orphans: certificates that may exist and that nobody gets, watched at their CA until they are revoked.

use core::time::Duration;

use super::inner::{Held, Inner};
use super::intake::row_key;
use super::item;
use crate::event::EventId;
use crate::flow::record::{RecordReader, RecordWriter};
use crate::flow::seal::SealError;
use crate::flow::{EventScope, FlowSpec, Suspicion, Swept};
use crate::ids::{CaName, IdempotencyKey};
use crate::ports::{ClaimRequest, RequestMeta, Row, RowKey, RowKind, RowState, SealedBlob};
use crate::secret::SecretBytes;
use crate::terms::Flow;
use crate::time::Timestamp;

/// Rows looked at in one go.
const BATCH: usize = 16;
/// Between two looks at the CA; doubled each time.
const PAUSE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(86_400));
/// How long a CA that can be searched is watched for what may still show up. Longer than any CA keeps a request in hand.
const WATCH: Duration = Duration::from_secs(7 * 86_400);

/// For so long a result that the queue refused may be offered again; then its certificate is revoked.
pub(super) const REDRIVE: Duration = Duration::from_secs(86_400);

/// The numbers of the fields never change: old rows must be read.
mod field {
    pub(super) const META: u8 = 1;
    pub(super) const CA: u8 = 2;
    pub(super) const RECORD: u8 = 3;
    pub(super) const MOST: u8 = 4;
    pub(super) const DELIVERED: u8 = 5;
    pub(super) const REVOKED: u8 = 6;
    pub(super) const NOTE: u8 = 7;
    pub(super) const SETTLED: u8 = 8;
}

/// A row of the ledger.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) meta: RequestMeta,
    pub(super) ca: Option<CaName>,
    record: SecretBytes,
    /// How many certificates it may be.
    pub(super) most: u32,
    /// The request has ended, with this certificate delivered, or with none.
    settled: bool,
    delivered: Option<Vec<u8>>,
    pub(super) revoked: Vec<String>,
    pub(super) note: Option<String>,
}

impl Entry {
    fn encode(&self) -> RecordWriter {
        let mut w = RecordWriter::with_capacity(2_048 + self.record.len() + self.delivered.as_ref().map_or(0, Vec::len));
        w.field(field::META, item::write_meta(&self.meta).bytes())
            .optional(field::CA, self.ca.as_ref().map(|ca| ca.as_str().as_bytes()))
            .field(field::RECORD, self.record.secret_bytes())
            .field(field::MOST, &i64::from(self.most).to_be_bytes())
            .optional(field::DELIVERED, self.delivered.as_deref())
            .optional(field::NOTE, self.note.as_deref().map(str::as_bytes))
            .optional(field::SETTLED, self.settled.then_some(&[1][..]));
        for serial in &self.revoked {
            w.field(field::REVOKED, serial.as_bytes());
        }
        w
    }

    fn decode(opened: SecretBytes) -> Option<Self> {
        let r = RecordReader::new(opened);
        let revoked = r.fields().filter(|(number, _)| *number == field::REVOKED);
        Some(Self {
            meta: item::read_meta(r.get(field::META)?)?,
            ca: r.text(field::CA).and_then(|name| name.parse().ok()),
            record: SecretBytes::copy_from(r.get(field::RECORD)?),
            most: u32::try_from(r.integer(field::MOST)?).ok()?,
            settled: r.get(field::SETTLED).is_some(),
            delivered: r.get(field::DELIVERED).map(<[u8]>::to_vec),
            revoked: revoked.filter_map(|(_, serial)| Some(core::str::from_utf8(serial).ok()?.to_owned())).collect(),
            note: r.text(field::NOTE).map(str::to_owned),
        })
    }
}

/// Pure: what becomes of a row after a look: whether it is done, and else when to look again.
fn after(swept: &Swept, revoked: usize, most: u32, age: Duration) -> Option<Duration> {
    let all = revoked >= usize::try_from(most).unwrap_or(usize::MAX);
    // The older it is, the rarer it is looked at: next when it is twice as old.
    let pause = age.clamp(PAUSE.0, PAUSE.1);
    match swept {
        Swept::Revoked(_) if all => None,
        Swept::Revoked(_) | Swept::Nothing if age >= WATCH => None,
        Swept::Revoked(_) | Swept::Nothing => Some(pause),
        // Until an operator says that it is settled.
        Swept::CannotTell => Some(PAUSE.1),
        Swept::NotNow(_) => Some(PAUSE.0),
    }
}

fn orphan_key(key: IdempotencyKey) -> RowKey {
    RowKey { kind: RowKind::Orphan, key }
}

impl Inner {
    pub(super) fn open_orphan(&self, row: &Row) -> Result<Entry, SealError> {
        Entry::decode(self.sealer.open(row)?).ok_or(SealError::Foreign)
    }

    fn seal_orphan(&self, mut row: Row, entry: &Entry) -> Option<Row> {
        row.blob = self.sealer.seal(&row, entry.encode().bytes()).ok()?;
        Some(row)
    }

    /// The row that remembers a suspicion; an inner `None` when it is there already. `None` when the journal is away.
    pub(super) async fn orphan_row(&self, held: &Held, suspicion: Suspicion) -> Option<Option<Row>> {
        let key = orphan_key(held.row.key.key);
        let known = self.load(vec![key]).await?.into_iter().next();
        let now = self.now();
        let record = suspicion.record;
        let (mut row, entry) = match known.and_then(|row| Some((self.open_orphan(&row).ok()?, row))) {
            Some((entry, row)) if entry.most >= suspicion.most && !row.state.is_final() => return Some(None),
            Some((entry, row)) => (row, Entry { record, most: entry.most.max(suspicion.most), settled: false, note: None, ..entry }),
            None => {
                let mut row = Row::new(key, held.row.flow, now, SealedBlob::new(Vec::new()));
                row.route = held.row.route.clone();
                let (meta, ca) = (held.content.meta.clone(), held.content.ca.clone());
                let entry =
                    Entry { meta, ca, record, most: suspicion.most, settled: false, delivered: None, revoked: Vec::new(), note: None };
                (row, entry)
            }
        };
        (row.state, row.owner, row.updated) = (RowState::OrphanSuspected, None, now);
        row.due = now.saturating_add(suspicion.after.max(Duration::from_secs(1)));
        Some(Some(self.seal_orphan(row, &entry)?))
    }

    /// Looks at what is due in the ledger.
    pub(super) async fn sweep(&self, spec: &FlowSpec) {
        let flow = spec.flow();
        let request = ClaimRequest::new(RowKind::Orphan, flow, self.context.instance.clone(), BATCH, self.now(), self.options.lease);
        // One look at a time: what this instance still has was left by a run that ended.
        let request = self.with_routes(request, spec).with_own();
        let call = async { self.journal.claim(request).await };
        let rows = match self.guarded("Journal::claim", Some(flow), self.options.journal_timeout, call).await {
            Ok(rows) => rows,
            Err(error) => return self.journal_failed("Journal::claim", &error),
        };
        for row in rows {
            self.sweep_row(spec, row).await;
        }
    }

    async fn sweep_row(&self, spec: &FlowSpec, mut row: Row) {
        let now = self.now();
        let mut entry = match self.open_orphan(&row) {
            Ok(entry) => entry,
            Err(error) => return self.refuse_row(&row, spec.flow(), error).await,
        };
        if !entry.settled {
            let Some(rows) = self.load(vec![row_key(row.key.key)]).await else { return };
            match rows.first().map(|request| (request, self.open(request))) {
                // It goes on: what it gets is not known yet.
                Some((request, _)) if !request.state.is_final() && !is_ended(request.state) => {
                    return self.put_off(row, &entry, now.saturating_add(PAUSE.0)).await;
                }
                // Parked before there was a result: it may be taken up again.
                Some((request, Ok(content))) if request.state == RowState::Parked && content.outcome().is_none() => {
                    return self.put_off(row, &entry, now.saturating_add(PAUSE.1)).await;
                }
                // The queue refused its result; an operator may still offer it again.
                Some((request, Ok(_))) if request.state == RowState::Parked && now.since(request.updated) < REDRIVE => {
                    return self.put_off(row, &entry, request.updated.saturating_add(REDRIVE)).await;
                }
                Some((request, Ok(content))) => {
                    let is_taken = matches!(request.state, RowState::Acknowledged | RowState::Packed | RowState::Uploading);
                    let has_failed = !is_taken || content.outcome().is_none_or(|outcome| outcome.failure().is_some());
                    entry.delivered = content.certificate.filter(|_| !has_failed);
                    entry.settled = true;
                }
                // Nothing is revoked without knowing what was delivered.
                Some((_, Err(_))) | None => {
                    entry.note = Some("the row of its request is gone or does not open; look at the CA by hand".to_owned());
                    return self.put_off(row, &entry, now.saturating_add(PAUSE.1)).await;
                }
            }
        }
        let reader = RecordReader::new(SecretBytes::copy_from(entry.record.secret_bytes()));
        let call = async { Ok(spec.worker.sweep(&self.context, &reader, entry.delivered.as_deref()).await) };
        let swept = match self.guarded("sweep", Some(spec.flow()), Duration::from_secs(600), call).await {
            Ok(swept) => swept,
            Err(error) => Swept::NotNow(error.to_string()),
        };
        if let Swept::Revoked(serials) = &swept {
            for serial in serials.iter().filter(|serial| !entry.revoked.contains(serial)).cloned().collect::<Vec<_>>() {
                self.tell_orphan(&row, &entry, &serial);
                entry.revoked.push(serial);
            }
        }
        entry.note = match &swept {
            Swept::CannotTell => Some("the CA cannot tell; look there by hand, then close the entry".to_owned()),
            Swept::NotNow(reason) => Some(reason.clone()),
            _ => None,
        };
        match after(&swept, entry.revoked.len(), entry.most, now.since(row.created)) {
            Some(pause) => self.put_off(row, &entry, now.saturating_add(pause)).await,
            None => {
                (row.state, row.owner, row.updated) = (RowState::Acknowledged, None, now);
                if let Some(row) = self.seal_orphan(row, &entry) {
                    let _ = self.commit(vec![row]).await;
                }
            }
        }
    }

    async fn put_off(&self, mut row: Row, entry: &Entry, due: Timestamp) {
        (row.owner, row.due, row.updated) = (None, due, self.now());
        if let Some(row) = self.seal_orphan(row, entry) {
            let _ = self.commit(vec![row]).await;
        }
    }

    fn tell_orphan(&self, row: &Row, entry: &Entry, serial: &str) {
        let scope = EventScope { flow: Some(row.flow), name: entry.meta.id.as_str(), delivery: row.delivery, attempt: row.attempt };
        self.context.emit(EventId::CertificateHandedToRevocation, scope, |event| {
            event
                .with_ca(entry.ca.clone())
                .with_correlation(entry.meta.correlation.clone())
                .with_message("A certificate of an earlier attempt was found at the CA; nobody got it.")
                .with_detail("serial", serial)
                .with_detail("revocation", "Revoked")
        });
    }

    /// Whether the certificate of a request was revoked, or will be in a moment, since the queue refused the result.
    pub(super) async fn is_revoked_as_orphan(&self, key: IdempotencyKey) -> Option<bool> {
        let rows = self.load(vec![orphan_key(key)]).await?;
        Some(rows.first().is_some_and(|row| {
            row.state.is_final() || self.open_orphan(row).map_or(true, |entry| entry.settled || !entry.revoked.is_empty())
        }))
    }

    /// An entry as it is when an operator has settled it; `None` when it does not open.
    pub(super) fn closed_orphan(&self, mut row: Row) -> Option<Row> {
        let entry = self.open_orphan(&row).ok()?;
        (row.state, row.owner, row.updated) = (RowState::Acknowledged, None, self.now());
        self.seal_orphan(row, &entry)
    }

    /// A row whose seal does not hold is never used: it is put aside, and told of.
    pub(super) async fn refuse_row(&self, row: &Row, flow: Flow, error: SealError) {
        let number = self.control.next_number();
        self.emit(EventId::JournalRowRefused, Some(flow), "row", number, |event| {
            event.with_detail("row", &row.key.key.as_hex()).with_message(&format!("It is left as it is for now: {error}."))
        });
        let pause = match error {
            SealError::Foreign => PAUSE.1,
            // The key may be on its way: it was rotated, or the key store was away.
            _ => PAUSE.0,
        };
        let mut aside = row.clone();
        (aside.owner, aside.due) = (None, self.now().saturating_add(pause));
        let _ = self.commit(vec![aside]).await;
    }
}

/// Whether a request has its result, though nobody may have accepted it yet.
fn is_ended(state: RowState) -> bool {
    matches!(state, RowState::Packed | RowState::Uploading)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_done_when_all_that_may_exist_is_revoked_or_the_watch_is_over_and_never_when_the_ca_cannot_tell() {
        let (young, old) = (Duration::from_secs(5), WATCH);
        let revoked = Swept::Revoked(vec!["01".into()]);
        assert_eq!(after(&revoked, 1, 1, young), None);
        assert_eq!(after(&revoked, 1, 2, young), Some(PAUSE.0));
        assert_eq!(after(&Swept::Nothing, 0, 1, young), Some(PAUSE.0));
        assert_eq!(after(&Swept::Nothing, 0, 1, Duration::from_secs(7_200)), Some(Duration::from_secs(7_200)));
        assert_eq!(after(&Swept::Nothing, 0, 1, old), None);
        assert_eq!(after(&Swept::CannotTell, 0, 1, old), Some(PAUSE.1));
        assert_eq!(after(&Swept::NotNow(String::new()), 0, 1, old), Some(PAUSE.0));
    }
}
