//! What a row holds of a request before it is sealed: who it is, what it asks for, what was made for it, and how it ended.

use super::item;
use super::stored;
use crate::flow::Kept;
use crate::flow::record::{RecordReader, RecordWriter};
use crate::ids::{CaName, InstanceId};
use crate::ports::{Outcome, Payload, QueueItem, RequestMeta};
use crate::secret::SecretBytes;

/// The numbers of the fields never change: old rows must be read, and rows of newer instances too.
mod field {
    pub(super) const META: u8 = 1;
    pub(super) const PAYLOAD: u8 = 2;
    pub(super) const TASK: u8 = 3;
    pub(super) const OUTCOME: u8 = 4;
    pub(super) const CRASHES: u8 = 5;
    pub(super) const CERTIFICATE: u8 = 6;
    pub(super) const CA_SIDE_ID: u8 = 7;
    pub(super) const CA: u8 = 8;
    pub(super) const PROBLEM: u8 = 9;
    pub(super) const FIND_FIRST: u8 = 10;
    pub(super) const GIVEN_BACK: u8 = 11;
    pub(super) const TELLER: u8 = 12;
    pub(super) const GIVEN_UP: u8 = 13;
    pub(super) const IF_NOT_TAKEN: u8 = 14;
}

/// The content of the row of a request.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) meta: RequestMeta,
    /// What it asks for, until there is a result.
    payload: Option<SecretBytes>,
    /// What the flow has made of it, a private key among it, until there is a result.
    task: Option<SecretBytes>,
    /// The result, as it is uploaded.
    outcome: Option<Vec<u8>>,
    /// Attempts that did not end before the process did, one after the other.
    pub(super) crashes: u32,
    /// The CA may have been asked by somebody whose word is not in the row.
    pub(super) find_first: bool,
    /// Whoever had it last gave it back, and did not end in the middle.
    pub(super) given_back: bool,
    pub(super) ca: Option<CaName>,
    pub(super) certificate: Option<Vec<u8>>,
    pub(super) ca_side_id: Option<String>,
    /// The instance that made the result: the request's last events are told in its name, whoever uploads, so that they are known as repeats.
    pub(super) teller: Option<InstanceId>,
    /// What goes to the ledger of orphans if the queue does not take the result.
    pub(super) if_not_taken: Option<SecretBytes>,
    /// An operator wants no more of it, for this reason.
    pub(super) given_up: Option<String>,
    /// Why it was left for an operator.
    pub(super) problem: Option<String>,
}

impl Content {
    /// Of a request as it was delivered.
    pub(super) fn new(request: &QueueItem) -> Self {
        let ca = match &request.payload {
            Payload::Pkcs(request) => Some(request.ca.clone()),
            _ => None,
        };
        Self {
            meta: request.meta.clone(),
            payload: Some(SecretBytes::copy_from(item::write_payload(&request.payload).bytes())),
            task: None,
            outcome: None,
            crashes: 0,
            find_first: false,
            given_back: false,
            ca,
            certificate: None,
            ca_side_id: None,
            teller: None,
            if_not_taken: None,
            given_up: None,
            problem: None,
        }
    }

    /// Takes over what the task has made so far.
    pub(super) fn keep(&mut self, kept: Kept) {
        if let Some(task) = kept.task {
            self.task = Some(SecretBytes::copy_from(task.bytes()));
        }
        if let Some((certificate, ca_side_id)) = kept.certificate {
            (self.certificate, self.ca_side_id) = (Some(certificate), ca_side_id);
        }
    }

    /// Takes over the result: key, CSR and payload are of no use any more, and are forgotten.
    pub(super) fn end(&mut self, outcome: &Outcome, teller: &InstanceId) {
        self.teller = Some(teller.clone());
        self.outcome = Some(stored::write(outcome));
        (self.payload, self.task) = (None, None);
    }

    /// Keeps who it was alone: nobody will answer it.
    pub(super) fn forget(&mut self) {
        (self.payload, self.task, self.outcome) = (None, None, None);
    }

    /// The result.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        stored::read(self.outcome.as_deref()?)
    }

    /// The request as it was delivered, while there is no result.
    pub(super) fn request(&self) -> Option<QueueItem> {
        Some(QueueItem::new(self.meta.clone(), item::read_payload(self.payload.as_ref()?.secret_bytes())?))
    }

    /// What the flow has made of it.
    pub(super) fn task(&self) -> Option<&SecretBytes> {
        self.task.as_ref()
    }

    pub(super) fn encode(&self) -> RecordWriter {
        let parts = [self.payload.as_ref(), self.task.as_ref(), self.if_not_taken.as_ref()]
            .into_iter()
            .flatten()
            .map(SecretBytes::len)
            .sum::<usize>();
        let open = [&self.outcome, &self.certificate].into_iter().flatten().map(Vec::len).sum::<usize>();
        let mut w = RecordWriter::with_capacity(parts + open + 2_048);
        w.field(field::META, item::write_meta(&self.meta).bytes())
            .optional(field::PAYLOAD, self.payload.as_ref().map(SecretBytes::secret_bytes))
            .optional(field::TASK, self.task.as_ref().map(SecretBytes::secret_bytes))
            .optional(field::OUTCOME, self.outcome.as_deref())
            .optional(field::CRASHES, (self.crashes > 0).then(|| i64::from(self.crashes).to_be_bytes()).as_ref().map(|bytes| &bytes[..]))
            .optional(field::CERTIFICATE, self.certificate.as_deref())
            .optional(field::CA_SIDE_ID, self.ca_side_id.as_deref().map(str::as_bytes))
            .optional(field::CA, self.ca.as_ref().map(|ca| ca.as_str().as_bytes()))
            .optional(field::TELLER, self.teller.as_ref().map(|teller| teller.as_str().as_bytes()))
            .optional(field::IF_NOT_TAKEN, self.if_not_taken.as_ref().map(SecretBytes::secret_bytes))
            .optional(field::GIVEN_UP, self.given_up.as_deref().map(str::as_bytes))
            .optional(field::PROBLEM, self.problem.as_deref().map(str::as_bytes))
            .optional(field::FIND_FIRST, self.find_first.then_some(&[1][..]))
            .optional(field::GIVEN_BACK, self.given_back.then_some(&[1][..]));
        w
    }

    /// `None` when it is not whole.
    pub(super) fn decode(opened: SecretBytes) -> Option<Self> {
        let r = RecordReader::new(opened);
        Some(Self {
            meta: item::read_meta(r.get(field::META)?)?,
            payload: r.get(field::PAYLOAD).map(SecretBytes::copy_from),
            task: r.get(field::TASK).map(SecretBytes::copy_from),
            outcome: r.get(field::OUTCOME).map(<[u8]>::to_vec),
            crashes: r.integer(field::CRASHES).and_then(|count| u32::try_from(count).ok()).unwrap_or(0),
            find_first: r.get(field::FIND_FIRST).is_some(),
            given_back: r.get(field::GIVEN_BACK).is_some(),
            ca: r.text(field::CA).and_then(|name| name.parse().ok()),
            certificate: r.get(field::CERTIFICATE).map(<[u8]>::to_vec),
            ca_side_id: r.text(field::CA_SIDE_ID).map(str::to_owned),
            teller: r.text(field::TELLER).and_then(|name| name.parse().ok()),
            if_not_taken: r.get(field::IF_NOT_TAKEN).map(SecretBytes::copy_from),
            given_up: r.text(field::GIVEN_UP).map(str::to_owned),
            problem: r.text(field::PROBLEM).map(str::to_owned),
        })
    }
}
