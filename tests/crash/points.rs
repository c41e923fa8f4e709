//! Points at which the process can be killed: around each commit, by the states that it stores, and around each call.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use intune_connector::adapters::SqliteJournal;
use intune_connector::ports::{
    Change, ClaimRequest, CommitAnswer, Journal, JournalScope, JournalStats, LoadRequest, PortError, PruneRequest, RenewRequest, Row,
    RowKey, RowKind, RowState,
};

use crate::wire::{Ask, Client};

#[derive(Debug)]
pub struct Points {
    client: Client,
    stop: Option<(String, u32, bool)>,
    passed: Mutex<BTreeMap<String, u32>>,
}

impl Points {
    pub fn new(client: Client, stop: Option<(String, u32, bool)>) -> Self {
        Self { client, stop, passed: Mutex::default() }
    }

    /// Counts, and stops the thread for ever at the chosen point: the judges' process then kills this one.
    pub fn pass(&self, point: &str) {
        let count = {
            let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
            let count = passed.entry(point.to_owned()).or_default();
            *count += 1;
            *count
        };
        if let Some((stop, nth, goes_on)) = &self.stop
            && stop == point
            && *nth == count
        {
            self.client.call_now(&Ask::Reached { point: point.to_owned() }).unwrap();
            if !goes_on {
                loop {
                    std::thread::park();
                }
            }
        }
    }

    pub fn census(&self) -> BTreeMap<String, u32> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A journal with points around its calls. It can also lie about one state, to show that the tests notice.
#[derive(Debug)]
pub struct WatchedJournal {
    journal: SqliteJournal,
    points: Arc<Points>,
    skip: Option<RowState>,
    /// By row: the version that was claimed for what was never stored, and the one that is stored.
    lies: Mutex<HashMap<RowKey, (u64, u64)>>,
    client: Client,
}

impl WatchedJournal {
    pub fn new(journal: SqliteJournal, points: &Arc<Points>, skip: Option<RowState>, client: Client) -> Self {
        Self { journal, points: Arc::clone(points), skip, lies: Mutex::default(), client }
    }

    /// Requests that are not finished, at most one, without passing a point.
    pub async fn open_requests(&self) -> Result<usize, String> {
        let open = self.journal.load(LoadRequest::Open { kind: RowKind::Request, max: 1 }).await;
        open.map(|rows| rows.len()).map_err(|error| error.to_string())
    }

    /// Leaves out what is to be skipped, and gives the rest the versions that are really stored.
    async fn commit_or_lie(&self, changes: Vec<Change>) -> Result<Vec<CommitAnswer>, PortError> {
        let Some(skip) = self.skip else { return self.journal.commit(changes).await };
        let (mut answers, mut honest) = (vec![None; changes.len()], Vec::new());
        {
            let mut lies = self.lies.lock().unwrap_or_else(PoisonError::into_inner);
            for (at, mut change) in changes.into_iter().enumerate() {
                let row = &mut change.row;
                if row.state == skip {
                    let stored =
                        lies.get(&row.key).filter(|(claimed, _)| *claimed == row.version).map_or(row.version, |(_, stored)| *stored);
                    lies.insert(row.key, (row.version + 1, stored));
                    answers[at] = Some(CommitAnswer::Stored(row.version + 1));
                    continue;
                }
                if let Some((_, stored)) = lies.remove(&row.key).filter(|(claimed, _)| *claimed == row.version) {
                    row.version = stored;
                }
                honest.push((at, change));
            }
        }
        let (places, changes): (Vec<usize>, Vec<Change>) = honest.into_iter().unzip();
        let honestly = if changes.is_empty() { Vec::new() } else { self.journal.commit(changes).await? };
        for (at, answer) in places.into_iter().zip(honestly) {
            answers[at] = Some(answer);
        }
        Ok(answers.into_iter().flatten().collect())
    }
}

#[async_trait]
impl Journal for WatchedJournal {
    fn scope(&self) -> JournalScope {
        self.journal.scope()
    }

    fn is_durable(&self) -> bool {
        self.journal.is_durable()
    }

    async fn load(&self, request: LoadRequest) -> Result<Vec<Row>, PortError> {
        self.points.pass("load:before");
        let mut rows = self.journal.load(request).await?;
        self.points.pass("load:after");
        let lies = self.lies.lock().unwrap_or_else(PoisonError::into_inner);
        for row in &mut rows {
            if let Some((claimed, _)) = lies.get(&row.key) {
                row.version = *claimed;
            }
        }
        Ok(rows)
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<CommitAnswer>, PortError> {
        let mut names: Vec<String> =
            changes.iter().map(|change| format!("commit {:?} {:?}", change.row.key.kind, change.row.state)).collect();
        names.sort();
        names.dedup();
        names.iter().for_each(|name| self.points.pass(&format!("{name}:before")));
        let keys: Vec<RowKey> = changes.iter().map(|change| change.row.key).collect();
        let answers = self.commit_or_lie(changes).await;
        let away = |error: std::io::Error| PortError::transient(error.to_string());
        if let Ok(answers) = &answers {
            let stored = keys.into_iter().zip(answers).filter_map(|(key, answer)| match answer {
                CommitAnswer::Stored(version) => Some((key, *version)),
                _ => None,
            });
            self.client.call_now(&Ask::Stored { rows: stored.collect() }).map_err(away)?;
        }
        if answers.is_ok() && names.iter().any(|name| name == "commit Request Received") {
            self.client.call_now(&Ask::Kept).map_err(away)?;
        }
        names.iter().for_each(|name| self.points.pass(&format!("{name}:after")));
        answers
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Row>, PortError> {
        let rows = self.journal.claim(request).await?;
        if !rows.is_empty() {
            self.points.pass("claim:after");
        }
        let mut lies = self.lies.lock().unwrap_or_else(PoisonError::into_inner);
        lies.retain(|key, _| rows.iter().all(|row| row.key != *key));
        Ok(rows)
    }

    async fn renew(&self, request: RenewRequest) -> Result<Vec<RowKey>, PortError> {
        self.journal.renew(request).await
    }

    async fn prune(&self, request: PruneRequest) -> Result<u64, PortError> {
        self.journal.prune(request).await
    }

    async fn stats(&self) -> Result<JournalStats, PortError> {
        self.journal.stats().await
    }
}
