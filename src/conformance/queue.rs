//! Checks of a queue.

use std::collections::BTreeSet;

use super::report::{CheckResult, Report, Stop, broken, demand, only_if};
use crate::ids::{InstanceId, RequestId};
use crate::ports::{
    CompleteAnswer, CompleteRequest, ExtendLeaseRequest, Failure, HealthMessage, IntuneQueue, Outcome, PortErrorKind, QueueItem,
    ReceiveRequest, RequestMeta, ResultItem,
};
use crate::retry::ErrorClass;
use crate::terms::Flow;
use crate::time::Timestamp;

/// A reserved queue.
#[derive(Debug)]
#[non_exhaustive]
pub struct QueueUnderTest<'a> {
    /// The queue. At least three requests of the flow wait in it; they are answered with failures.
    pub queue: &'a dyn IntuneQueue,
    /// The flow.
    pub flow: Flow,
    /// As whom the suite takes requests.
    pub instance: InstanceId,
    /// A request id that the queue has never given out.
    pub unknown_request: RequestId,
}

impl<'a> QueueUnderTest<'a> {
    /// A queue from its parts.
    #[must_use]
    pub fn new(queue: &'a dyn IntuneQueue, flow: Flow, instance: InstanceId, unknown_request: RequestId) -> Self {
        Self { queue, flow, instance, unknown_request }
    }

    async fn receive(&self, max: usize) -> Result<Vec<QueueItem>, Stop> {
        Ok(self.queue.receive(ReceiveRequest::new(self.flow, self.instance.clone(), max)).await?.items)
    }

    async fn complete(&self, metas: &[RequestMeta]) -> Result<Vec<CompleteAnswer>, Stop> {
        let failure = || Outcome::Failed(Failure::new(ErrorClass::Request, "answered by the conformance suite"));
        let results = metas.iter().map(|meta| ResultItem::new(meta.clone(), failure())).collect();
        Ok(self.queue.complete(CompleteRequest::new(self.flow, self.instance.clone(), results)).await?)
    }
}

/// Checks a queue. Takes all its steps at once, whatever minimum interval the queue declares.
pub async fn check_queue(test: &QueueUnderTest<'_>) -> Report {
    let mut report = Report::new("IntuneQueue");
    let capabilities = test.queue.capabilities();
    report
        .run("the capabilities can be worked with, and stay", async {
            demand(test.queue.capabilities() == capabilities, || "a second call gave others".to_owned())?;
            demand(capabilities.flows.contains(&test.flow), || format!("the flow {} is not among its flows", test.flow))?;
            demand(capabilities.max_batch > 0, || "max_batch is zero".to_owned())?;
            demand(capabilities.lease.is_none_or(|lease| !lease.is_zero()), || "a lease of no time".to_owned())
        })
        .await;

    let mut items: Vec<RequestMeta> = Vec::new();
    report
        .run("a batch holds no more than was asked for", async {
            for max in [1, 2] {
                let batch = test.receive(max).await?;
                let count = batch.len();
                items.extend(batch.into_iter().map(|item| item.meta));
                demand(count <= max, || format!("{count} requests instead of {max}"))?;
            }
            demand(items.len() == 3, || format!("{} requests were received, and three should wait in the queue", items.len()))
        })
        .await;
    let items = items;
    let enough = |report: &Report| !matches!(report.checks.last().map(|check| &check.result), Some(CheckResult::Failed(_)));
    let ready = enough(&report) && items.len() == 3;
    report
        .run("requests are of the flow asked for and have ids of their own", async {
            let ids: BTreeSet<&RequestId> = items.iter().map(|meta| &meta.id).collect();
            demand(ids.len() == items.len(), || "one id came twice although nothing was redelivered".to_owned())?;
            demand(items.iter().all(|meta| meta.flow == test.flow), || "another flow's request came".to_owned())
        })
        .await;
    report
        .run("a flow that the queue does not serve has no requests", async {
            let all = [Flow::Pkcs, Flow::PkcsRecrypt, Flow::PkcsImport, Flow::Revoke, Flow::Health];
            let other = all.into_iter().find(|flow| !capabilities.flows.contains(flow));
            let other = other.ok_or_else(|| Stop::Skipped("it serves every flow".to_owned()))?;
            match test.queue.receive(ReceiveRequest::new(other, test.instance.clone(), 1)).await {
                Ok(batch) => demand(batch.items.is_empty(), || format!("it gave a request for {other}")),
                Err(_) => Ok(()),
            }
        })
        .await;
    report
        .run("the lease of a received request can be prolonged", async {
            only_if(capabilities.lease.is_some(), "requests are not leased")?;
            only_if(ready, "too few requests were received")?;
            let requests = items.iter().map(|meta| meta.id.clone()).collect();
            Ok(test.queue.extend_lease(ExtendLeaseRequest::new(test.flow, test.instance.clone(), requests)).await?)
        })
        .await;
    report
        .run("each result has its answer, in order, whatever the others are", async {
            only_if(ready, "too few requests were received")?;
            let [first, second, _] = items.as_slice() else { return Err(broken("three requests are three")) };
            let mut unknown = second.clone();
            unknown.id = test.unknown_request.clone();
            let answers = test.complete(&[first.clone(), unknown, second.clone()]).await?;
            demand(answers.len() == 3, || format!("{} answers to three results", answers.len()))?;
            let taken = |index: usize| answers.get(index) == Some(&CompleteAnswer::Accepted);
            demand(taken(0) && taken(2), || format!("good results around an unknown one were not taken: {answers:?}"))
        })
        .await;
    report
        .run("a repeated result is accepted again", async {
            only_if(ready, "too few requests were received")?;
            for _ in 0..2 {
                let answers = test.complete(items.get(2..).unwrap_or_default()).await?;
                demand(answers == [CompleteAnswer::Accepted], || format!("it answered {answers:?}"))?;
            }
            Ok(())
        })
        .await;
    report
        .run("a health message is taken, or called unsupported", async {
            let tenant = items.first().map(|meta| meta.tenant.clone());
            let tenant = tenant.ok_or_else(|| Stop::Skipped("no request named the tenant".to_owned()))?;
            let message = HealthMessage::new(tenant, test.instance.clone(), Timestamp::system_now());
            match test.queue.report_health(message).await {
                Ok(()) => Ok(()),
                Err(error) if error.kind() == PortErrorKind::Unsupported => Err(Stop::Skipped("it takes none".to_owned())),
                Err(error) => Err(error.into()),
            }
        })
        .await;
    report
}
