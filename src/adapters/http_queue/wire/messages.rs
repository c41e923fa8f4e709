//! The bodies of the operations.

use core::time::Duration;
use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::json::{Document, MAX_LIST, MAX_TEXT, Object, Problem, parsed, read_time, text, write, write_time};
use super::names::{read_flow, write_flow};
use super::request::read_item;
use super::result::{AnswerBody, ResultBody, answer_body, read_answer, result_body};
use crate::event::printable;
use crate::ids::{InstanceId, RequestId, TenantId};
use crate::ports::{Batch, CompleteAnswer, FlowCounters, HealthMessage, QueueCapabilities, ResultItem};
use crate::secret::SecretBytes;
use crate::terms::Flow;
use crate::time::Timestamp;

/// A client reads batches of at least so many bytes.
pub(crate) const LEAST_BYTES: usize = 64 << 10;
/// No list of items, results, answers or ids is longer.
pub(crate) const MAX_BATCH: usize = 1_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CapabilitiesBody {
    flows: Vec<&'static str>,
    minimum_interval_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_seconds: Option<u64>,
    redelivers_elsewhere: bool,
    max_batch: usize,
}

pub(crate) fn write_capabilities(capabilities: &QueueCapabilities) -> Result<SecretBytes, Problem> {
    write(&CapabilitiesBody {
        flows: capabilities.flows.iter().map(|flow| write_flow(*flow)).collect(),
        minimum_interval_seconds: whole_seconds_up(capabilities.minimum_interval),
        lease_seconds: capabilities.lease.map(|lease| lease.as_secs().max(1)),
        redelivers_elsewhere: capabilities.redelivers_elsewhere,
        max_batch: capabilities.max_batch,
    })
}

/// Flows of a later version are passed over.
pub(crate) fn read_capabilities(body: &[u8]) -> Result<QueueCapabilities, Problem> {
    let document = Document::read(body)?;
    let top = document.top()?;
    let mut flows = Vec::new();
    for flow in top.required_list("flows", MAX_LIST)? {
        flows.extend(read_flow(text(flow, "flows")?));
    }
    let mut capabilities = QueueCapabilities::new(flows);
    capabilities.minimum_interval = Duration::from_secs(top.optional_number("minimumIntervalSeconds")?.unwrap_or(0));
    capabilities.lease = top.optional_number("leaseSeconds")?.map(Duration::from_secs);
    capabilities.redelivers_elsewhere = top.flag("redeliversElsewhere")?;
    let most = usize::try_from(top.number("maxBatch")?).unwrap_or(MAX_BATCH).min(MAX_BATCH);
    if most == 0 || capabilities.lease.is_some_and(|lease| lease.is_zero()) {
        return Err(Problem("`maxBatch` and `leaseSeconds` are at least 1".to_owned()));
    }
    capabilities.max_batch = most;
    Ok(capabilities)
}

pub(crate) fn whole_seconds_up(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

/// Asks for requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Receive {
    pub(crate) tenant: TenantId,
    #[serde(serialize_with = "flow_name")]
    pub(crate) flow: Flow,
    pub(crate) instance: InstanceId,
    pub(crate) max: usize,
    /// The longest answer that the client reads.
    pub(crate) max_bytes: usize,
    /// The same as long as the answer did not come.
    pub(crate) delivery: String,
}

fn flow_name<S: Serializer>(flow: &Flow, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(write_flow(*flow))
}

impl Receive {
    pub(crate) fn write(&self) -> Result<SecretBytes, Problem> {
        write(self)
    }

    pub(crate) fn read(body: &[u8]) -> Result<Self, Problem> {
        let document = Document::read(body)?;
        let top = document.top()?;
        let (tenant, flow, instance) = addressed(top)?;
        let size = |name| Ok(usize::try_from(top.number(name)?).unwrap_or(usize::MAX));
        let delivery = top.text("delivery")?;
        if !is_guid(delivery) {
            return Err(Problem("`delivery` is no GUID".to_owned()));
        }
        let asked =
            Self { tenant, flow, instance, max: size("max")?, max_bytes: size("maxBytes")?, delivery: delivery.to_ascii_lowercase() };
        if asked.max == 0 || asked.max_bytes < LEAST_BYTES {
            return Err(Problem(format!("`max` is at least 1 and `maxBytes` at least {LEAST_BYTES}")));
        }
        Ok(asked)
    }
}

/// Tenant, flow and instance: who asks for what.
fn addressed(top: Object<'_>) -> Result<(TenantId, Flow, InstanceId), Problem> {
    Ok((top.parsed("tenant")?, top.name("flow", read_flow)?, top.parsed("instance")?))
}

/// 8-4-4-4-12 hexadecimal digits.
pub(crate) fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| if matches!(at, 8 | 13 | 18 | 23) { byte == b'-' } else { byte.is_ascii_hexdigit() })
}

/// The answer to `receive`, around items that are written already.
pub(crate) fn write_batch(items: &[SecretBytes], next_poll: Option<Duration>, lease: Option<Duration>) -> SecretBytes {
    let mut tail = "]".to_owned();
    if let Some(next_poll) = next_poll {
        tail.push_str(&format!(",\"nextPollSeconds\":{}", whole_seconds_up(next_poll)));
    }
    if let Some(lease) = lease {
        tail.push_str(&format!(",\"leaseSeconds\":{}", lease.as_secs().max(1)));
    }
    tail.push('}');
    let commas = items.len().saturating_sub(1);
    let length = BATCH_HEAD.len() + items.iter().map(SecretBytes::len).sum::<usize>() + commas + tail.len();
    let mut body = SecretBytes::zeroed(length);
    let mut rest = body.secret_bytes_mut();
    let mut put = |bytes: &[u8]| {
        let (place, after) = core::mem::take(&mut rest).split_at_mut(bytes.len());
        place.copy_from_slice(bytes);
        rest = after;
    };
    put(BATCH_HEAD);
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            put(b",");
        }
        put(item.secret_bytes());
    }
    put(tail.as_bytes());
    body
}

const BATCH_HEAD: &[u8] = b"{\"items\":[";
/// What a batch has beside its items and the commas between them, at most.
pub(crate) const BATCH_OVERHEAD: usize = 128;

pub(crate) fn read_batch(body: &[u8], tenant: &TenantId, asked: Flow) -> Result<Batch, Problem> {
    let document = Document::read(body)?;
    let top = document.top()?;
    let items = top.required_list("items", MAX_BATCH)?.iter();
    let mut batch = Batch::new(items.map(|item| read_item(item, tenant, asked)).collect::<Result<_, _>>()?);
    batch.next_poll = top.optional_number("nextPollSeconds")?.map(Duration::from_secs);
    Ok(batch)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CompleteBody<'a> {
    tenant: &'a str,
    flow: &'static str,
    instance: &'a str,
    results: Vec<ResultBody<'a>>,
}

pub(crate) fn write_complete(tenant: &TenantId, flow: Flow, instance: &InstanceId, results: &[ResultItem]) -> Result<SecretBytes, Problem> {
    let results = results.iter().map(result_body).collect();
    write(&CompleteBody { tenant: tenant.as_str(), flow: write_flow(flow), instance: instance.as_str(), results })
}

/// Uploaded results; each is read on its own.
pub(crate) struct Complete {
    pub(crate) tenant: TenantId,
    pub(crate) flow: Flow,
    pub(crate) results: Vec<Result<ResultItem, Problem>>,
}

impl Complete {
    pub(crate) fn read(body: &[u8]) -> Result<Self, Problem> {
        let document = Document::read(body)?;
        let top = document.top()?;
        let (tenant, flow, _) = addressed(top)?;
        let results = top.required_list("results", MAX_BATCH)?.iter().map(super::result::read_result).collect();
        Ok(Self { tenant, flow, results })
    }
}

#[derive(Serialize)]
struct AnswersBody<'a> {
    answers: Vec<AnswerBody<'a>>,
}

pub(crate) fn write_answers(answers: &[CompleteAnswer]) -> Result<SecretBytes, Problem> {
    write(&AnswersBody { answers: answers.iter().map(answer_body).collect() })
}

pub(crate) fn read_answers(body: &[u8]) -> Result<Vec<CompleteAnswer>, Problem> {
    let document = Document::read(body)?;
    Ok(document.top()?.required_list("answers", MAX_BATCH)?.iter().map(read_answer).collect())
}

/// Prolongs leases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ExtendLease {
    pub(crate) tenant: TenantId,
    #[serde(serialize_with = "flow_name")]
    pub(crate) flow: Flow,
    pub(crate) instance: InstanceId,
    pub(crate) requests: Vec<RequestId>,
}

impl ExtendLease {
    pub(crate) fn write(&self) -> Result<SecretBytes, Problem> {
        write(self)
    }

    pub(crate) fn read(body: &[u8]) -> Result<Self, Problem> {
        let document = Document::read(body)?;
        let top = document.top()?;
        let (tenant, flow, instance) = addressed(top)?;
        Ok(Self { tenant, flow, instance, requests: ids(top, "requests")? })
    }
}

fn ids(top: Object<'_>, name: &str) -> Result<Vec<RequestId>, Problem> {
    top.required_list(name, MAX_BATCH)?.iter().map(|id| parsed(text(id, name)?, name)).collect()
}

#[derive(Serialize)]
struct LostBody<'a> {
    lost: &'a [RequestId],
}

/// The requests whose lease is not this instance's any more.
pub(crate) fn write_lost(lost: &[RequestId]) -> Result<SecretBytes, Problem> {
    write(&LostBody { lost })
}

pub(crate) fn read_lost(body: &[u8]) -> Result<Vec<RequestId>, Problem> {
    ids(Document::read(body)?.top()?, "lost")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HealthBody<'a> {
    tenant: &'a str,
    instance: &'a str,
    at: String,
    version: &'a str,
    flows: BTreeMap<&'static str, CountersBody>,
    events: &'a BTreeMap<u16, u64>,
    findings: Vec<String>,
    credentials: BTreeMap<&'a str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CountersBody {
    received: u64,
    succeeded: u64,
    failed: u64,
    retried: u64,
    poll_failures: u64,
}

pub(crate) fn write_health(message: &HealthMessage) -> Result<SecretBytes, Problem> {
    let counters = |counters: &FlowCounters| {
        let FlowCounters { received, succeeded, failed, retried, poll_failures } = *counters;
        CountersBody { received, succeeded, failed, retried, poll_failures }
    };
    write(&HealthBody {
        tenant: message.tenant.as_str(),
        instance: message.instance.as_str(),
        at: write_time(message.at),
        version: &message.version,
        flows: message.flows.iter().map(|(flow, counts)| (write_flow(*flow), counters(counts))).collect(),
        events: &message.events,
        findings: message.findings.iter().take(MAX_LIST).map(|finding| printable(finding)).collect(),
        credentials: message.credentials.iter().map(|(name, end)| (name.as_str(), write_time(*end))).collect(),
    })
}

/// Counts of flows of a later version are passed over.
pub(crate) fn read_health(body: &[u8]) -> Result<HealthMessage, Problem> {
    let document = Document::read(body)?;
    let top = document.top()?;
    let mut message = HealthMessage::new(top.parsed("tenant")?, top.parsed("instance")?, top.time("at")?);
    top.text("version")?.clone_into(&mut message.version);
    for (name, value) in top.optional_object("flows")?.iter().flat_map(|flows| flows.members()) {
        let counts = Object::of(value, "an entry of `flows`")?;
        let count = |name| Ok(counts.optional_number(name)?.unwrap_or(0));
        let read = FlowCounters {
            received: count("received")?,
            succeeded: count("succeeded")?,
            failed: count("failed")?,
            retried: count("retried")?,
            poll_failures: count("pollFailures")?,
        };
        if let Some(flow) = read_flow(name) {
            message.flows.insert(flow, read);
        }
    }
    for (name, value) in top.optional_object("events")?.iter().flat_map(|events| events.members()) {
        let (Ok(event), Some(count)) = (name.parse(), value.as_u64()) else {
            return Err(Problem("`events` counts by event number".to_owned()));
        };
        message.events.insert(event, count);
    }
    for finding in top.list("findings", MAX_LIST)? {
        message.findings.push(text(finding, "findings")?.to_owned());
    }
    for (name, end) in top.optional_object("credentials")?.iter().flat_map(|credentials| credentials.members()) {
        let end = text(end, "credentials")?;
        let end = read_time(end).ok_or_else(|| Problem("`credentials` gives the time of RFC 3339 when each ends".to_owned()))?;
        message.credentials.insert(name.to_owned(), end);
    }
    Ok(message)
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorDetail<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorDetail<'a> {
    code: &'a str,
    message: &'a str,
    server_time: String,
}

pub(crate) fn write_error(code: &str, message: &str, server_time: Timestamp) -> Result<SecretBytes, Problem> {
    let message: String = message.chars().take(MAX_TEXT / 4).collect();
    write(&ErrorBody { error: ErrorDetail { code, message: &message, server_time: write_time(server_time) } })
}

/// The code and the server's clock, where the body is an error of this protocol.
pub(crate) fn read_error(body: &[u8]) -> Option<(String, Option<Timestamp>)> {
    let document = Document::read(body).ok()?;
    let error = document.top().ok()?.object("error").ok()?;
    Some((error.text("code").ok()?.to_owned(), error.optional_time("serverTime").ok().flatten()))
}
