//! The requests of a simulated queue, their leases, and the ledger.

use core::time::Duration;
use std::collections::{BTreeMap, HashMap, VecDeque};

use super::settings::OpenQueueSettings;
use crate::adapters::http_queue::wire::{BATCH_OVERHEAD, ExtendLease, Problem, Receive, write_item};
use crate::ids::{InstanceId, RequestId};
use crate::ports::{CompleteAnswer, HealthMessage, Outcome, Payload, QueueItem, RequestMeta, ResultItem};
use crate::secret::SecretBytes;
use crate::terms::Flow;

pub(super) type Key = (Flow, RequestId);

/// What became of a request.
#[derive(Debug)]
enum Place {
    /// In line for its next delivery.
    Waiting,
    /// Delivered, and kept from others until then.
    Leased { by: InstanceId, delivery: String, until: Duration },
    /// It has a result.
    Done,
}

#[derive(Debug)]
struct Entry {
    item: QueueItem,
    place: Place,
    deliveries: u32,
    accepted: Option<Outcome>,
}

/// All that a queue holds.
#[derive(Debug, Default)]
pub(super) struct Store {
    entries: HashMap<Key, Entry>,
    /// The ids of each flow that wait or are leased; what waits comes in this order.
    open: BTreeMap<Flow, VecDeque<RequestId>>,
    pub(super) uploads: VecDeque<ResultItem>,
    pub(super) changed: Vec<Key>,
    pub(super) health: VecDeque<HealthMessage>,
    pub(super) receives: u64,
    pub(super) answers: HashMap<Key, VecDeque<CompleteAnswer>>,
}

impl Store {
    /// Puts a request in line; its id is a new one.
    pub(super) fn enqueue(&mut self, item: QueueItem, settings: &OpenQueueSettings) -> Result<(), Problem> {
        let key = (item.meta.flow, item.meta.id.clone());
        if !settings.flows.contains(&key.0) {
            return Err(Problem(format!("the queue does not serve the flow {}", key.0)));
        }
        if item.meta.tenant != settings.tenant {
            return Err(Problem("the request is of another tenant".to_owned()));
        }
        if self.entries.contains_key(&key) {
            return Err(Problem(format!("there is a request {} of the flow {} already; offer it again, or give another id", key.1, key.0)));
        }
        if self.entries.len() >= settings.most_kept {
            return Err(Problem(format!("the queue keeps no more than {} requests", settings.most_kept)));
        }
        self.open.entry(key.0).or_default().push_back(key.1.clone());
        self.entries.insert(key, Entry { item, place: Place::Waiting, deliveries: 0, accepted: None });
        Ok(())
    }

    /// Puts a known request in line again, whatever became of it; false when it is not known.
    pub(super) fn offer_again(&mut self, key: &Key) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return false };
        if matches!(entry.place, Place::Done) {
            self.open.entry(key.0).or_default().push_back(key.1.clone());
        }
        entry.place = Place::Waiting;
        true
    }

    /// The items of a batch as they are written, at most so many and so long.
    pub(super) fn receive(&mut self, asked: &Receive, lease: Duration, most: usize, now: Duration) -> Result<Vec<SecretBytes>, Problem> {
        self.receives = self.receives.saturating_add(1);
        let wanted = self.select(asked, asked.max.min(most), now);
        let until = now.saturating_add(lease);
        let room = asked.max_bytes.saturating_sub(BATCH_OVERHEAD);
        let (mut written, mut length, mut is_full) = (Vec::new(), 0_usize, false);
        for id in wanted {
            let Some(entry) = self.entries.get_mut(&(asked.flow, id)) else { continue };
            if is_full {
                entry.place = Place::Waiting;
                continue;
            }
            let mut body = write_item(&entry.item)?;
            if body.len() > room {
                // It would be in the way for ever: it is answered as what it is.
                let problem = format!("the request has {} bytes, more than the {} that the client reads", body.len(), asked.max_bytes);
                let meta = &entry.item.meta;
                let meta = RequestMeta::new(meta.id.clone(), meta.tenant.clone(), meta.flow);
                body = write_item(&QueueItem::new(meta, Payload::Malformed(problem)))?;
            }
            length = length.saturating_add(body.len() + 1);
            if length > room && !written.is_empty() {
                entry.place = Place::Waiting;
                is_full = true;
                continue;
            }
            // A delivery that is sent again is the same one.
            if !matches!(&entry.place, Place::Leased { delivery, .. } if *delivery == asked.delivery) {
                entry.deliveries = entry.deliveries.saturating_add(1);
            }
            entry.place = Place::Leased { by: asked.instance.clone(), delivery: asked.delivery.clone(), until };
            written.push(body);
        }
        Ok(written)
    }

    /// Which requests go out: those of the same delivery when its answer was lost, and else what waits. What no longer fits is put back.
    fn select(&mut self, asked: &Receive, most: usize, now: Duration) -> Vec<RequestId> {
        let Some(open) = self.open.get(&asked.flow) else { return Vec::new() };
        let (mut same, mut waiting) = (Vec::new(), Vec::new());
        for id in open {
            let Some(entry) = self.entries.get_mut(&(asked.flow, id.clone())) else { continue };
            match &entry.place {
                Place::Leased { by, delivery, until } if *until > now => {
                    if *by == asked.instance && *delivery == asked.delivery {
                        same.push(id.clone());
                    }
                }
                Place::Leased { .. } => {
                    entry.place = Place::Waiting;
                    waiting.push(id.clone());
                }
                Place::Waiting => waiting.push(id.clone()),
                Place::Done => {}
            }
        }
        let mut chosen = if same.is_empty() { waiting } else { same };
        for id in chosen.split_off(most.min(chosen.len())) {
            if let Some(entry) = self.entries.get_mut(&(asked.flow, id)) {
                entry.place = Place::Waiting;
            }
        }
        chosen
    }

    /// Judges one result: the first that is taken stands.
    pub(super) fn judge(&mut self, result: ResultItem, most_kept: usize) -> CompleteAnswer {
        keep(&mut self.uploads, result.clone(), most_kept);
        let ResultItem { meta, outcome } = result;
        let key = (meta.flow, meta.id);
        if let Some(answer) = self.answers.get_mut(&key).and_then(VecDeque::pop_front) {
            return answer;
        }
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.deliveries > 0) else {
            return CompleteAnswer::Refused("no such request was delivered".to_owned());
        };
        match &entry.accepted {
            Some(accepted) if *accepted == outcome => {}
            Some(accepted) if !accepted.is_offered_again() => {
                if self.changed.len() < most_kept {
                    self.changed.push(key);
                }
                return CompleteAnswer::Refused("another result was accepted before".to_owned());
            }
            _ => entry.accepted = Some(outcome),
        }
        // What failed for a reason that may pass stays leased, and comes again when that ends.
        if !entry.accepted.as_ref().is_some_and(Outcome::is_offered_again) {
            entry.place = Place::Done;
            if let Some(open) = self.open.get_mut(&key.0) {
                open.retain(|id| *id != key.1);
            }
        }
        CompleteAnswer::Accepted
    }

    /// Prolongs leases; gives those that are not this instance's.
    pub(super) fn extend(&mut self, asked: ExtendLease, lease: Duration, now: Duration) -> Vec<RequestId> {
        let mut lost = Vec::new();
        for id in asked.requests {
            match self.entries.get_mut(&(asked.flow, id.clone())).map(|entry| &mut entry.place) {
                Some(Place::Leased { by, until, .. }) if *by == asked.instance && *until > now => *until = now.saturating_add(lease),
                _ => lost.push(id),
            }
        }
        lost
    }

    pub(super) fn keep_health(&mut self, message: HealthMessage, most_kept: usize) {
        keep(&mut self.health, message, most_kept);
    }

    pub(super) fn waiting(&self, now: Duration) -> usize {
        let waits = |entry: &&Entry| match &entry.place {
            Place::Waiting => true,
            Place::Leased { until, .. } => *until <= now,
            Place::Done => false,
        };
        self.entries.values().filter(waits).count()
    }

    pub(super) fn leases(&self, now: Duration) -> BTreeMap<Key, InstanceId> {
        let lease = |(key, entry): (&Key, &Entry)| match &entry.place {
            Place::Leased { by, until, .. } if *until > now => Some((key.clone(), by.clone())),
            _ => None,
        };
        self.entries.iter().filter_map(lease).collect()
    }

    pub(super) fn deliveries(&self) -> HashMap<Key, u32> {
        self.entries.iter().filter(|(_, entry)| entry.deliveries > 0).map(|(key, entry)| (key.clone(), entry.deliveries)).collect()
    }

    pub(super) fn accepted(&self) -> HashMap<Key, Outcome> {
        self.entries.iter().filter_map(|(key, entry)| Some((key.clone(), entry.accepted.clone()?))).collect()
    }

    pub(super) fn result_of(&self, key: &Key) -> Option<Outcome> {
        self.entries.get(key)?.accepted.clone()
    }

    pub(super) fn unanswered(&self) -> Vec<Key> {
        let open = self.entries.iter().filter(|(_, entry)| entry.deliveries > 0 && entry.accepted.is_none());
        let mut open: Vec<Key> = open.map(|(key, _)| key.clone()).collect();
        open.sort();
        open
    }
}

/// Keeps the last of them.
fn keep<T>(all: &mut VecDeque<T>, new: T, most: usize) {
    while all.len() >= most.max(1) {
        all.pop_front();
    }
    all.push_back(new);
}
