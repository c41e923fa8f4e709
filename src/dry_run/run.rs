//! The dry run itself.

use core::future::Future;
use core::pin::Pin;
use core::time::Duration;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::ca::{DryRunCa, Notebook};
use super::drive::{End, drive, panicked};
use super::judge::{conclude, done, recipient};
use super::report::{DryRunReport, RequestReport, Verdict};
use crate::connector::{idempotency_key, worker_findings};
use crate::crypto::CryptoProvider;
use crate::event::{Event, EventId};
use crate::flow::{Accepted, Context, FlowSpec, Job, Worker};
use crate::ids::{CaName, IdempotencyKey, InstanceId, RequestId, TenantId};
use crate::limits::Limits;
use crate::ports::{CertificateAuthority, EventSink, Payload, QueueItem, Runtime};
use crate::retry::ErrorClass;
use crate::terms::Flow;

/// Requests judged at a time: key pairs are made for them, which costs CPU.
const CONCURRENCY: usize = 4;
/// The longest work on one request. RSA-4096 keys and remote keys need seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Issuing, revoking and uploading switched off: says what the connector would do with requests.
///
/// Give it the same flows as the connector's builder. Their queues are never called, not even for their capabilities; their CAs tell their
/// capabilities and are asked for nothing, unless [`allow_lookups`](Self::allow_lookups). Keys are used: recrypt and import requests are
/// decrypted and encrypted in memory, and the results dropped. Journal and events are not touched.
#[derive(Debug)]
pub struct DryRun {
    provider: Arc<CryptoProvider>,
    tenant: TenantId,
    instance: InstanceId,
    runtime: Arc<dyn Runtime>,
    limits: Limits,
    workers: Vec<Arc<dyn Worker>>,
    lookups: bool,
    concurrency: usize,
    request_timeout: Duration,
}

#[derive(Debug)]
struct NullSink;

impl EventSink for NullSink {
    fn enabled(&self, _: EventId) -> bool {
        false
    }
    fn emit(&self, _: &Event) {}
}

/// What is done with an item that is not worked on.
enum Sorted {
    Work(Box<QueueItem>, IdempotencyKey),
    Not(Verdict),
}

impl DryRun {
    /// Without flows; provider, tenant and instance are those of the connector. Requests of another tenant are left to others.
    #[must_use]
    pub fn new(provider: CryptoProvider, tenant: TenantId, instance: InstanceId, runtime: Arc<dyn Runtime>) -> Self {
        Self {
            provider: Arc::new(provider),
            tenant,
            instance,
            runtime,
            limits: Limits::default(),
            workers: Vec::new(),
            lookups: false,
            concurrency: CONCURRENCY,
            request_timeout: REQUEST_TIMEOUT,
        }
    }

    /// Adds a flow, configured as for the connector.
    #[must_use]
    pub fn flow(mut self, flow: impl Into<FlowSpec>) -> Self {
        self.workers.push(flow.into().worker);
        self
    }

    /// Sets the bounds for reading input.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Lets [`CertificateAuthority::lookup`] reach the CAs: revocations that name no issuer, and CAs that do not revoke by serial number, are
    /// undecided without. A look-up changes nothing, but the CA may write it into its log.
    #[must_use]
    pub fn allow_lookups(mut self) -> Self {
        self.lookups = true;
        self
    }

    /// Sets how many requests are judged at a time, at least one. Default 4.
    #[must_use]
    pub fn concurrency(mut self, requests: usize) -> Self {
        self.concurrency = requests.max(1);
        self
    }

    /// Sets the longest work on one request. Default 60 s.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Judges each request. The deadlines of recorded requests are noted and do not end them.
    pub async fn run(&self, items: Vec<QueueItem>) -> DryRunReport {
        let context = Context {
            tenant: self.tenant.clone(),
            instance: self.instance.clone(),
            provider: Arc::clone(&self.provider),
            runtime: Arc::clone(&self.runtime),
            sink: Arc::new(NullSink),
            limits: self.limits.clone(),
            gates: Arc::default(),
        };
        let mut report = DryRunReport::new(self.tenant.clone(), self.runtime.now());
        for worker in &self.workers {
            report.configuration.extend(worker_findings(&**worker, &self.provider).into_iter().map(Into::into));
        }
        let mut seen = HashMap::new();
        let mut jobs: Vec<Pin<Box<dyn Future<Output = RequestReport> + Send + '_>>> = Vec::with_capacity(items.len());
        for item in items {
            let mut about = self.describe(&item);
            match self.sort(&mut seen, item) {
                Sorted::Not(verdict) => {
                    about.verdict = verdict;
                    jobs.push(Box::pin(core::future::ready(about)));
                }
                Sorted::Work(item, key) => {
                    let context = &context;
                    jobs.push(Box::pin(async move {
                        about.verdict = self.work(context, *item, key).await;
                        about
                    }));
                }
            }
        }
        let mut reports = stream::iter(jobs).buffered(self.concurrency);
        while let Some(request) = reports.next().await {
            report.push(request);
        }
        report
    }

    fn describe(&self, item: &QueueItem) -> RequestReport {
        let meta = &item.meta;
        let mut about = RequestReport::new(meta.id.as_str(), meta.flow, Verdict::Repeated { same: true });
        (about.device, about.user, about.correlation) = (meta.device.clone(), meta.user.clone(), meta.correlation.clone());
        if meta.deadline.is_some_and(|deadline| deadline <= self.runtime.now()) {
            about.notes.push("its deadline has passed: the connector would give it up".to_owned());
        }
        about
    }

    /// What the engine decides before a flow sees an item, in its order.
    fn sort(&self, seen: &mut HashMap<(Flow, RequestId), IdempotencyKey>, item: QueueItem) -> Sorted {
        let meta = &item.meta;
        if meta.tenant != self.tenant {
            return Sorted::Not(Verdict::LeftToOthers { reason: format!("it is of the tenant {}", meta.tenant) });
        }
        if !self.workers.iter().any(|worker| worker.flow() == meta.flow) {
            let reason = format!("the flow {} is not configured: the connector would not ask for it", meta.flow);
            return Sorted::Not(Verdict::LeftToOthers { reason });
        }
        if let Payload::Unknown(kind) = &item.payload {
            let reason = crate::event::printable(&format!("this version does not know the kind `{kind}`"));
            return Sorted::Not(Verdict::LeftToOthers { reason });
        }
        let Ok(key) = idempotency_key(&self.provider, &item) else {
            let reason = "the crypto provider gives no SHA-256, by which requests are told apart".to_owned();
            return Sorted::Not(Verdict::WouldFail { class: ErrorClass::Configuration, code: None, reason });
        };
        if let Some(first) = seen.get(&(meta.flow, meta.id.clone())) {
            return Sorted::Not(Verdict::Repeated { same: *first == key });
        }
        seen.insert((meta.flow, meta.id.clone()), key);
        match &item.payload {
            Payload::Malformed(problem) => Sorted::Not(Verdict::Malformed { reason: crate::event::printable(problem) }),
            _ => Sorted::Work(Box::new(item), key),
        }
    }

    async fn work(&self, context: &Context, item: QueueItem, key: IdempotencyKey) -> Verdict {
        let Some(worker) = self.workers.iter().find(|worker| worker.flow() == item.meta.flow) else {
            return Verdict::LeftToOthers { reason: "its flow is not configured".to_owned() };
        };
        let notebook = Arc::new(Notebook::default());
        let replace = |name: &CaName, real: Arc<dyn CertificateAuthority>| -> Arc<dyn CertificateAuthority> {
            Arc::new(DryRunCa::new(name.clone(), real, self.lookups, Arc::clone(&notebook)))
        };
        let job = Job {
            meta: item.meta.clone(),
            key,
            delivery: 1,
            attempt: 1,
            deadline: context.runtime.now().saturating_add(self.request_timeout),
            find_first: false,
            lease: crate::flow::Lease::for_ever(),
        };
        let recipient = recipient(&item.payload, &self.limits);
        let accepted = catch_unwind(AssertUnwindSafe(|| worker.with_authorities(&replace).accept(context, item)));
        let task = match accepted {
            Ok(Accepted::Task(task)) => task,
            Ok(Accepted::Foreign(reason)) => return Verdict::LeftToOthers { reason },
            Ok(Accepted::Refused(outcome)) => return done(outcome, recipient),
            Err(_) => return conclude(Vec::new(), End::Failed(panicked()), recipient),
        };
        match context.within(self.request_timeout, drive(context, task, job)).await {
            Some(end) => conclude(notebook.take(), end, recipient),
            None => Verdict::WouldTryAgain { reason: format!("there was no verdict within {:?}", self.request_timeout) },
        }
    }
}
