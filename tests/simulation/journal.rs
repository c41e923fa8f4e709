//! A durable journal: what was answered survives every restart; of what was under way the seed decides.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::adapters::VirtualRuntime;
use intune_connector::ports::{
    Change, ClaimRequest, CommitAnswer, Journal, JournalScope, JournalStats, LoadRequest, PortError, PruneRequest, RenewRequest, Row,
    RowKey, Runtime as _,
};
use intune_connector::time::Timestamp;

use crate::plan::Chance;
use crate::process::Process;

/// A commit that the storage has, and has not done.
#[derive(Debug)]
struct Ticket {
    due: Duration,
    process: u32,
    now: Timestamp,
    changes: Vec<Change>,
}

#[derive(Debug, Default)]
struct State {
    rows: BTreeMap<RowKey, Row>,
    tickets: BTreeMap<u64, Ticket>,
    answers: BTreeMap<u64, Vec<CommitAnswer>>,
    next: u64,
}

/// The storage.
#[derive(Debug)]
pub struct Store {
    pub scope: JournalScope,
    pub chance: Arc<Chance>,
    pub runtime: VirtualRuntime,
    state: Mutex<State>,
}

impl Store {
    pub fn new(scope: JournalScope, chance: Arc<Chance>, runtime: VirtualRuntime) -> Self {
        Self { scope, chance, runtime, state: Mutex::default() }
    }

    /// Copies of all rows.
    pub fn rows(&self) -> Vec<Row> {
        self.state().rows.values().cloned().collect()
    }

    /// Into the trace: what is left in the journal, with its times from now on by the true clock.
    pub fn tell_rows(&self) {
        let now = self.runtime.now().as_secs();
        for row in self.rows() {
            self.chance.tell(|| {
                let (key, owner) = (&row.key.key.as_hex()[..8], row.owner.as_ref().map(|owner| owner.as_str()));
                let (due, lease) = (row.due.as_secs() - now, row.lease_until.as_secs() - now);
                format!("row {key} {:?} {} {:?} owner {owner:?} due {due} lease {lease}", row.key.kind, row.flow, row.state)
            });
        }
    }

    /// Of what a process had under way, the seed decides what was stored.
    pub fn process_ended(&self, process: u32) {
        let mut state = self.state();
        let open: Vec<u64> = state.tickets.iter().filter(|(_, ticket)| ticket.process == process).map(|(number, _)| *number).collect();
        for number in open {
            let ticket = state.tickets.remove(&number);
            if let Some(ticket) = ticket.filter(|_| self.chance.one_in(2)) {
                self.chance.tell(|| "a commit that was under way is stored".to_owned());
                apply(&mut state.rows, self.scope, ticket.now, ticket.changes);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap();
        let now = self.runtime.monotonic();
        let due: Vec<u64> = {
            let mut due: Vec<(Duration, u64)> =
                state.tickets.iter().filter(|(_, ticket)| ticket.due <= now).map(|(number, ticket)| (ticket.due, *number)).collect();
            due.sort_unstable();
            due.into_iter().map(|(_, number)| number).collect()
        };
        for number in due {
            if let Some(Ticket { due, now, changes, .. }) = state.tickets.remove(&number) {
                // A database's clock goes on while a commit waits.
                let now = if self.scope == JournalScope::Fleet { crate::shared::START.saturating_add(due) } else { now };
                let answers = apply(&mut state.rows, self.scope, now, changes);
                state.answers.insert(number, answers);
            }
        }
        state
    }
}

fn apply(rows: &mut BTreeMap<RowKey, Row>, scope: JournalScope, now: Timestamp, changes: Vec<Change>) -> Vec<CommitAnswer> {
    changes
        .into_iter()
        .map(|Change { mut row, lease, .. }| {
            let fits = match rows.get(&row.key) {
                Some(stored) => stored.version == row.version && stored.lease_epoch == row.lease_epoch,
                None => row.version == 0,
            };
            if !fits {
                return CommitAnswer::Conflict;
            }
            if let (Some(lease), JournalScope::Fleet) = (lease, scope) {
                row.lease_until = now.saturating_add(lease);
            }
            row.version += 1;
            let version = row.version;
            rows.insert(row.key, row);
            CommitAnswer::Stored(version)
        })
        .collect()
}

/// The journal as one process reaches it.
#[derive(Debug)]
pub struct JournalPort {
    pub store: Arc<Store>,
    pub process: Arc<Process>,
}

impl JournalPort {
    fn tell(&self, line: impl FnOnce() -> String) {
        self.store.chance.tell(|| format!("{}/{} {}", self.process.instance, self.process.number, line()));
    }

    /// A database's clock, or the caller's.
    fn now(&self, callers: Timestamp) -> Timestamp {
        if self.store.scope == JournalScope::Fleet { self.store.runtime.now() } else { callers }
    }

    async fn call<T>(&self, name: &str, work: impl FnOnce(&mut State) -> T) -> Result<T, PortError> {
        self.process.pass().await;
        let fault = self.store.chance.strikes().then(|| self.store.chance.below(3));
        if fault.is_some() {
            self.tell(|| format!("journal {name} fault {fault:?}"));
        }
        if fault == Some(0) {
            return Err(PortError::transient("the journal is away"));
        }
        let done = work(&mut self.store.state());
        match fault {
            Some(1) => return Err(PortError::transient("the journal's answer was lost")),
            Some(_) => self.store.runtime.sleep(self.store.chance.seconds(0, 50)).await,
            None => {}
        }
        self.process.pass().await;
        Ok(done)
    }
}

#[async_trait]
impl Journal for JournalPort {
    fn scope(&self) -> JournalScope {
        self.store.scope
    }

    fn is_durable(&self) -> bool {
        true
    }

    async fn load(&self, request: LoadRequest) -> Result<Vec<Row>, PortError> {
        self.call("load", |state| match request {
            LoadRequest::Keys(keys) => keys.iter().filter_map(|key| state.rows.get(key).cloned()).collect(),
            LoadRequest::Open { kind, max } => {
                let mut open: Vec<Row> = state.rows.values().filter(|row| row.key.kind == kind && !row.state.is_final()).cloned().collect();
                open.sort_by_key(|row| (row.created, row.key));
                open.truncate(max);
                open
            }
            _ => Vec::new(),
        })
        .await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<CommitAnswer>, PortError> {
        self.process.pass().await;
        let (store, chance) = (&*self.store, &*self.store.chance);
        let fault = chance.strikes().then(|| chance.below(5));
        self.tell(|| {
            let rows: Vec<String> = changes
                .iter()
                .map(|Change { row, .. }| {
                    let key = &row.key.key.as_hex()[..8];
                    format!("{key} {:?} {:?} v{} e{}", row.key.kind, row.state, row.version, row.lease_epoch)
                })
                .collect();
            format!("commit {rows:?} fault {fault:?}")
        });
        let time = match fault {
            Some(0) => return Err(PortError::transient("the disk is full")),
            // Longer than anybody waits, or not quite.
            Some(1 | 2) => chance.seconds(0, 60),
            _ if chance.one_in(4) => Duration::from_millis(chance.below(200)),
            _ => Duration::ZERO,
        };
        let number = {
            let mut state = store.state();
            state.next += 1;
            let number = state.next;
            let (now, due) = (self.now(self.process.clock.at(store.runtime.now())), store.runtime.monotonic() + time);
            state.tickets.insert(number, Ticket { due, process: self.process.number, now, changes });
            number
        };
        if !time.is_zero() {
            store.runtime.sleep(time).await;
        }
        let answers = store.state().answers.remove(&number);
        if fault == Some(3) {
            return Err(PortError::transient("the answer to the commit was lost"));
        }
        self.process.pass().await;
        answers.ok_or_else(|| PortError::transient("the journal was closed"))
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Row>, PortError> {
        let now = self.now(request.now);
        let owner = request.owner.clone();
        let claimed = self
            .call("claim", move |state| {
                let free = |row: &&Row| {
                    let is_own = request.own && row.owner.as_ref() == Some(&owner);
                    row.key.kind == request.kind
                        && row.flow == request.flow
                        && !row.state.is_final()
                        && (is_own || row.due <= now)
                        && request.routes.as_ref().is_none_or(|routes| row.route.as_ref().is_none_or(|route| routes.contains(route)))
                        && (is_own || row.owner.is_none() || row.lease_until <= now)
                };
                let mut claimed: Vec<Row> = state.rows.values().filter(free).cloned().collect();
                claimed.sort_by_key(|row| (row.created, row.key));
                claimed.truncate(request.max);
                for row in &mut claimed {
                    row.version += 1;
                    row.lease_epoch += 1;
                    row.owner = Some(request.owner.clone());
                    row.lease_until = now.saturating_add(request.lease);
                    row.updated = now;
                    state.rows.insert(row.key, row.clone());
                }
                claimed
            })
            .await?;
        if !claimed.is_empty() {
            self.tell(|| format!("claimed {:?}", claimed.iter().map(|row| row.key.key.as_hex()[..8].to_owned()).collect::<Vec<_>>()));
        }
        Ok(claimed)
    }

    async fn renew(&self, request: RenewRequest) -> Result<Vec<RowKey>, PortError> {
        let now = self.now(request.now);
        self.call("renew", move |state| {
            let mut held = Vec::new();
            for (key, epoch) in request.rows {
                if let Some(row) = state.rows.get_mut(&key)
                    && row.lease_epoch == epoch
                    && row.owner.as_ref() == Some(&request.owner)
                {
                    row.lease_until = now.saturating_add(request.lease);
                    held.push(key);
                }
            }
            held
        })
        .await
    }

    async fn prune(&self, request: PruneRequest) -> Result<u64, PortError> {
        self.call("prune", move |state| {
            let old: Vec<RowKey> = state
                .rows
                .values()
                .filter(|row| row.state.is_final() && row.updated < request.before)
                .map(|row| row.key)
                .take(request.max)
                .collect();
            for key in &old {
                state.rows.remove(key);
            }
            old.len() as u64
        })
        .await
    }

    async fn stats(&self) -> Result<JournalStats, PortError> {
        let state = self.store.state();
        let mut stats = JournalStats::default();
        for row in state.rows.values() {
            if row.state.is_final() {
                stats.finished += 1;
            } else {
                stats.open += 1;
                stats.oldest_open = Some(stats.oldest_open.map_or(row.created, |oldest| oldest.min(row.created)));
            }
        }
        Ok(stats)
    }
}
