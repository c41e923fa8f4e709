//! What the next process knows about a request that the one before has begun.

use core::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::rig::{Rig, item};
use crate::adapters::VolatileJournal;
use crate::ports::{
    Change, ClaimRequest, CommitAnswer, Journal, JournalScope, JournalStats, LoadRequest, PortError, PruneRequest, RenewRequest, Row,
    RowKey, RowState, SealedBlob,
};
use crate::secret::SecretBytes;

/// Remembers the states that were stored.
#[derive(Debug)]
struct Spy {
    inner: Arc<VolatileJournal>,
    states: Mutex<Vec<RowState>>,
}

#[async_trait]
impl Journal for Spy {
    fn scope(&self) -> JournalScope {
        self.inner.scope()
    }
    fn is_durable(&self) -> bool {
        true
    }
    async fn load(&self, request: LoadRequest) -> Result<Vec<Row>, PortError> {
        self.inner.load(request).await
    }
    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<CommitAnswer>, PortError> {
        self.states.lock().unwrap().extend(changes.iter().map(|change| change.row.state));
        self.inner.commit(changes).await
    }
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Row>, PortError> {
        self.inner.claim(request).await
    }
    async fn renew(&self, request: RenewRequest) -> Result<Vec<RowKey>, PortError> {
        self.inner.renew(request).await
    }
    async fn prune(&self, request: PruneRequest) -> Result<u64, PortError> {
        self.inner.prune(request).await
    }
    async fn stats(&self) -> Result<JournalStats, PortError> {
        self.inner.stats().await
    }
}

#[test]
fn a_result_that_no_process_can_open_any_more_is_looked_for_at_the_ca_first() {
    for state in [RowState::Packed, RowState::Uploading] {
        let rig = Rig::new();
        rig.queue.push(item("r1", "ok"));
        rig.run_for(&rig.connector(rig.settings()), 1);
        let mut row = rig.journal.rows().remove(0);
        (row.state, row.blob) = (state, SealedBlob::new(vec![1; 60]));
        let stored = rig.block_on(rig.journal.commit(vec![Change::new(row)]));
        assert!(matches!(stored.unwrap()[..], [CommitAnswer::Stored(_)]));
        rig.queue.push(item("r1", "ok"));
        rig.run_for(&rig.connector(rig.settings()), 1);
        assert_eq!(rig.ledger.found_first.load(Ordering::SeqCst), 1, "{state:?}");
    }
}

#[test]
fn a_row_never_forgets_that_the_ca_was_asked_while_the_request_begins_anew() {
    let rig = Rig::new();
    rig.queue.push(item("r1", "slow:300"));
    assert_eq!(rig.run_for(&rig.connector(rig.settings()), 1).left, 1);
    let spy = Arc::new(Spy { inner: Arc::clone(&rig.journal), states: Mutex::default() });
    rig.queue.push(item("r1", "slow:300"));
    let builder = rig.builder_on(Arc::clone(&spy) as _).sealing_key(SecretBytes::new(vec![7; 32]));
    let connector = builder.flow(rig.spec(rig.settings())).build().unwrap();
    rig.run_for(&connector, 400);
    let states = spy.states.lock().unwrap().clone();
    assert!(!states.contains(&RowState::Planned) && !states.contains(&RowState::Received), "{states:?}");
    assert_eq!(rig.admin_count("r1"), 1);
}
