//! A connector that stands still in the middle of its work for longer than its lease, and then goes on.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join;
use intune_connector::adapters::{VirtualRuntime, VolatileJournal};
use intune_connector::connector::Connector;
use intune_connector::ports::{
    Change, ClaimRequest, CommitAnswer, Journal, JournalScope, JournalStats, LoadRequest, PortError, PruneRequest, RenewRequest, Row,
    RowKey, RowKind, RowState, Runtime as _,
};
use intune_connector::secret::SecretBytes;

use crate::START;
use crate::fleet_lab::{Lab, Way, flows, provider};

/// Whether a process stands still.
#[derive(Debug, Default)]
struct Halt {
    stands: AtomicBool,
    happened: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// Is not polled while it stands still.
struct Halting<F> {
    work: Pin<Box<F>>,
    halt: Arc<Halt>,
}

impl<F: Future> Future for Halting<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        *self.halt.waker.lock().unwrap() = Some(context.waker().clone());
        if self.halt.stands.load(Ordering::SeqCst) { Poll::Pending } else { self.work.as_mut().poll(context) }
    }
}

/// Lets its process stand still right after the first commit of a request in this state, before the connector hears of it.
#[derive(Debug)]
struct HaltingJournal {
    journal: Arc<VolatileJournal>,
    at: RowState,
    /// It goes on until it waits, which is for the CA.
    late: bool,
    halt: Arc<Halt>,
}

#[async_trait]
impl Journal for HaltingJournal {
    fn scope(&self) -> JournalScope {
        self.journal.scope()
    }
    fn is_durable(&self) -> bool {
        false
    }
    async fn load(&self, request: LoadRequest) -> Result<Vec<Row>, PortError> {
        self.journal.load(request).await
    }
    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<CommitAnswer>, PortError> {
        let halts = changes.iter().any(|change| change.row.key.kind == RowKind::Request && change.row.state == self.at);
        let answers = self.journal.commit(changes).await;
        if halts && !self.halt.happened.swap(true, Ordering::SeqCst) {
            self.halt.stands.store(true, Ordering::SeqCst);
            let mut first = !self.late;
            futures_util::future::poll_fn(|context| {
                context.waker().wake_by_ref();
                if std::mem::take(&mut first) { Poll::Pending } else { Poll::Ready(()) }
            })
            .await;
        }
        answers
    }
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Row>, PortError> {
        self.journal.claim(request).await
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

/// An instance stands still at that point of a request's work, another one takes it over, the first one goes on.
fn play(at: RowState, revokes: bool, late: bool) -> Arc<Lab> {
    let runtime = VirtualRuntime::new(START);
    let lab = Lab::new(START);
    let way = Way::Here(Arc::clone(&lab), Arc::new(runtime.clone()), Duration::from_millis(1));
    if revokes {
        lab.push_revocation()
    } else {
        lab.push_pkcs(0)
    }
    let shared = Arc::new(VolatileJournal::shared());
    let halt = Arc::new(Halt::default());
    let instance = |name: &str, journal: Arc<dyn Journal>| {
        let builder = Connector::builder(provider().clone(), journal)
            .sealing_key(SecretBytes::copy_from(&[7; 32]))
            .runtime(Arc::new(runtime.clone()))
            .without_events_nobody_learns_of_failures();
        let settings = |settings: intune_connector::connector::QueueSettings| settings.with_poll_interval(Duration::from_secs(5));
        flows(builder, name, &way, &lab.configuration, &[0], true, settings).build().unwrap()
    };
    let halting = HaltingJournal { journal: Arc::clone(&shared), at, late, halt: Arc::clone(&halt) };
    let (paused, other) = (instance("paused", Arc::new(halting)), instance("other", shared));
    let work = Halting { work: Box::pin(paused.run_until(runtime.sleep(Duration::from_secs(600)))), halt: Arc::clone(&halt) };
    let rest = async {
        runtime.sleep(Duration::from_secs(1)).await;
        let woken = async {
            runtime.sleep(Duration::from_secs(300)).await;
            assert!(lab.state().requests[0].by.as_deref() == Some("other"), "{at:?}");
            halt.stands.store(false, Ordering::SeqCst);
            halt.waker.lock().unwrap().take().unwrap().wake();
        };
        join(other.run_until(runtime.sleep(Duration::from_secs(900))), woken).await
    };
    let (summary, _) = runtime.block_on(join(work, rest)).unwrap();
    assert!(halt.happened.load(Ordering::SeqCst), "{at:?}");
    assert_eq!((summary.refused, lab.wrong()), (None, vec![]), "{at:?}");
    lab
}

/// No check can stop a call that is under way.
#[test]
fn what_an_instance_got_that_stood_still_in_its_call_is_revoked() {
    let lab = play(RowState::Asked, false, true);
    let state = lab.state();
    assert_eq!((state.requests[0].results.len(), state.issued.len()), (1, 2));
    assert_eq!(
        state.issued.iter().map(|entry| (entry.asked_by.as_str(), entry.revoked)).collect::<Vec<_>>(),
        [("other", 0), ("paused", 1)]
    );
}

#[test]
fn an_instance_that_stood_still_beyond_its_lease_asks_no_ca_and_uploads_nothing() {
    for (at, revokes) in [
        (RowState::Planned, false),
        (RowState::Asked, false),
        (RowState::Issued, false),
        (RowState::Packed, false),
        (RowState::Received, true),
        (RowState::Asked, true),
        (RowState::Packed, true),
    ] {
        let lab = play(at, revokes, false);
        let state = lab.state();
        // The seventh part of the requests is delivered twice: the first one is.
        assert_eq!((state.requests[0].uploads, state.issued.len()), (2, 1), "{at:?} {revokes}");
        let before = matches!(at, RowState::Issued | RowState::Packed);
        if revokes {
            assert_eq!(state.issued[0].revoked, 1, "{at:?}");
        } else {
            assert_eq!(state.issued[0].asked_by, if before { "paused" } else { "other" }, "{at:?}");
        }
    }
}
