//! The end of a process: at a call, at a commit, before it or after it. What it had in memory is gone; the journals stay.

use std::future::{Future, pending, poll_fn};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use async_trait::async_trait;
use intune_connector::adapters::http::{HttpError, HttpRequest, HttpResponse, HttpTransport};
use intune_connector::adapters::{LocalCa, VolatileJournal};
use intune_connector::ports::{
    CaCapabilities, CertificateAuthority, Change, ClaimRequest, CommitAnswer, FindAnswer, FindRequest, IssueAnswer, IssueRequest, Journal,
    JournalScope, JournalStats, LoadRequest, LookupAnswer, LookupRequest, PortError, PruneRequest, RenewRequest, RevokeAnswer, RevokeCall,
    Row, RowKey, RowKind, StatusRequest,
};
use rustls_pki_types::CertificateDer;

/// The points that other work passes while a batch is being stored.
const STORED_BY_THEN: u64 = 30;

/// Ends one process, and with it everything that it has under way.
#[derive(Debug)]
pub struct Doom(Mutex<Fate>);

#[derive(Debug)]
struct Fate {
    /// Points that are still passed; `None` for ever.
    left: Option<u64>,
    /// Points that do not count.
    spared: u64,
    waiting: Vec<Waker>,
}

impl Doom {
    /// The process ends at its so many-th point; never without a number.
    pub fn after(points: Option<u64>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Fate { left: points.map(|points| points.max(1)), spared: 0, waiting: Vec::new() })))
    }

    fn has_fallen(&self) -> bool {
        self.0.lock().unwrap().left == Some(0)
    }

    /// The process does not end at the next so many points.
    fn spare(&self, points: u64) {
        self.0.lock().unwrap().spared = points;
    }

    /// Returns when the process has ended.
    pub async fn fallen(&self) {
        poll_fn(|context| {
            let mut fate = self.0.lock().unwrap();
            if fate.left == Some(0) {
                return Poll::Ready(());
            }
            fate.waiting.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// A point at which the process may end: then nothing comes after it.
    async fn pass(&self) {
        let waiting = {
            let mut fate = self.0.lock().unwrap();
            if fate.spared > 0 && fate.left != Some(0) {
                fate.spared -= 1;
                return;
            }
            match &mut fate.left {
                Some(0) => Vec::new(),
                Some(left) => {
                    *left -= 1;
                    if *left == 0 { std::mem::take(&mut fate.waiting) } else { return }
                }
                None => return,
            }
        };
        waiting.into_iter().for_each(Waker::wake);
        pending().await
    }

    /// A call with a point on either side.
    async fn around<T>(&self, call: impl Future<Output = T>) -> T {
        self.pass().await;
        let answer = call.await;
        self.pass().await;
        answer
    }
}

/// A port of a process that may end.
#[derive(Debug, Clone)]
pub struct Mortal<P> {
    port: P,
    doom: Arc<Doom>,
}

impl<P> Mortal<P> {
    pub fn new(port: P, doom: &Arc<Doom>) -> Self {
        Self { port, doom: Arc::clone(doom) }
    }
}

#[async_trait]
impl HttpTransport for Mortal<Arc<dyn HttpTransport>> {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if !request.url.ends_with("downloadRevocationRequests") {
            return self.doom.around(self.port.send(request)).await;
        }
        // What a process has in its hands between Intune's answer and the journal is lost unless Intune offers it again. It is stored at once.
        self.doom.pass().await;
        let answer = self.port.send(request).await;
        self.doom.spare(STORED_BY_THEN);
        answer
    }
}

#[async_trait]
impl Journal for Mortal<Arc<VolatileJournal>> {
    fn scope(&self) -> JournalScope {
        self.port.scope()
    }
    fn is_durable(&self) -> bool {
        self.port.is_durable()
    }
    async fn load(&self, request: LoadRequest) -> Result<Vec<Row>, PortError> {
        self.doom.around(self.port.load(request)).await
    }
    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<CommitAnswer>, PortError> {
        let is_batch = changes.iter().any(|change| change.row.key.kind == RowKind::Revocation);
        self.doom.pass().await;
        let answer = self.port.commit(changes).await;
        if is_batch {
            self.doom.spare(0);
        }
        self.doom.pass().await;
        answer
    }
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Row>, PortError> {
        self.doom.around(self.port.claim(request)).await
    }
    async fn renew(&self, request: RenewRequest) -> Result<Vec<RowKey>, PortError> {
        self.doom.around(self.port.renew(request)).await
    }
    async fn prune(&self, request: PruneRequest) -> Result<u64, PortError> {
        self.doom.around(self.port.prune(request)).await
    }
    async fn stats(&self) -> Result<JournalStats, PortError> {
        self.port.stats().await
    }
}

#[async_trait]
impl CertificateAuthority for Mortal<Arc<LocalCa>> {
    fn capabilities(&self) -> CaCapabilities {
        self.port.capabilities()
    }
    async fn issue(&self, request: IssueRequest<'_>) -> Result<IssueAnswer, PortError> {
        self.doom.around(self.port.issue(request)).await
    }
    async fn status(&self, request: StatusRequest<'_>) -> Result<IssueAnswer, PortError> {
        self.doom.around(self.port.status(request)).await
    }
    async fn find(&self, request: FindRequest<'_>) -> Result<FindAnswer, PortError> {
        self.doom.around(self.port.find(request)).await
    }
    async fn lookup(&self, request: LookupRequest<'_>) -> Result<LookupAnswer, PortError> {
        self.doom.around(self.port.lookup(request)).await
    }
    async fn revoke(&self, call: RevokeCall<'_>) -> Result<RevokeAnswer, PortError> {
        self.doom.around(self.port.revoke(call)).await
    }
    async fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PortError> {
        self.doom.around(self.port.chain()).await
    }
}

/// Where devices knock: the service of the process that lives, if one does.
#[derive(Default)]
pub struct Door(Mutex<Option<(Arc<intune_connector::scep::Service>, Arc<Doom>)>>);

impl Door {
    pub fn open(&self, service: Arc<intune_connector::scep::Service>, doom: &Arc<Doom>) {
        *self.0.lock().unwrap() = Some((service, Arc::clone(doom)));
    }

    pub fn close(&self) {
        *self.0.lock().unwrap() = None;
    }

    /// The answer, unless nobody is there, or the process ends meanwhile.
    pub async fn handle(&self, request: intune_connector::scep::Request) -> Option<intune_connector::scep::Response> {
        let (service, doom) = self.0.lock().unwrap().clone()?;
        let (answer, end) = (std::pin::pin!(service.handle(request)), std::pin::pin!(doom.fallen()));
        match futures_util::future::select(end, answer).await {
            futures_util::future::Either::Right((answer, _)) if !doom.has_fallen() => Some(answer),
            _ => None,
        }
    }
}
