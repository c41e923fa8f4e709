//! What is written is read as it was, and what is read badly harms nothing else.

use core::fmt::Debug;
use core::time::Duration;
use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use super::json::{Document, MAX_TEXT};
use super::messages::{
    Complete, ExtendLease, Receive, read_answers, read_batch, read_capabilities, read_error, read_health, read_lost, write_answers,
    write_batch, write_capabilities, write_complete, write_error, write_health, write_lost,
};
use super::request::{read_item, read_item_strictly, write_item};
use crate::ids::{CaName, Oid, RequestId, SerialNumber, Sid, TenantId, Thumbprint};
use crate::ports::{
    CompleteAnswer, Failure, FlowCounters, HealthMessage, ImportKeyName, ImportPayload, ImportRequest, ImportResult, Outcome, Payload,
    PkcsRequest, PkcsResult, QueueCapabilities, QueueItem, RecryptRequest, RecryptResult, RequestMeta, ResultItem, RevocationError,
    RevokeRequest, RevokeResult,
};
use crate::retry::ErrorClass;
use crate::secret::SecretBytes;
use crate::terms::{Flow, KeyAlgorithm, PaddingScheme, PfxProfile, RevocationReason, SubjectAltName};
use crate::time::Timestamp;

const FLOWS: [Flow; 6] = [Flow::Pkcs, Flow::PkcsRecrypt, Flow::PkcsImport, Flow::Revoke, Flow::Scep, Flow::Health];

fn an_id<T: core::str::FromStr + Debug>() -> impl Strategy<Value = T> {
    "[ -~\u{e4}\u{6771}\"\\\\]{1,60}".prop_filter_map("an id", |text| text.parse().ok())
}

fn a_text() -> impl Strategy<Value = String> {
    "\\PC{0,40}"
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..80)
}

/// What RFC 3339 can say.
fn a_time() -> impl Strategy<Value = Timestamp> {
    (-62_167_219_200_000_000..=253_402_300_799_999_999_i64).prop_map(Timestamp::from_micros)
}

fn a_meta() -> impl Strategy<Value = RequestMeta> {
    let times = of(a_time());
    (an_id(), an_id(), select(&FLOWS[..]), of(an_id()), of(an_id()), vec(an_id(), 0..3), times).prop_map(
        |(id, tenant, flow, device, user, correlation, deadline)| {
            let mut meta = RequestMeta::new(id, tenant, flow);
            (meta.device, meta.user, meta.correlation, meta.deadline) = (device, user, correlation, deadline);
            meta
        },
    )
}

fn a_san() -> impl Strategy<Value = SubjectAltName> {
    prop_oneof![
        a_text().prop_map(SubjectAltName::Upn),
        a_text().prop_map(SubjectAltName::Email),
        a_text().prop_map(SubjectAltName::Dns),
        a_text().prop_map(SubjectAltName::Uri),
        any::<std::net::IpAddr>().prop_map(SubjectAltName::Ip),
    ]
}

fn pkcs() -> impl Strategy<Value = Payload> {
    let oids = || (0..2_u32, 0..40_u32, any::<u32>()).prop_map(|(a, b, c)| format!("{a}.{b}.{c}").parse::<Oid>().unwrap());
    let sid = any::<[u32; 4]>().prop_map(|[a, b, c, d]| format!("S-1-5-21-{a}-{b}-{c}-{d}").parse::<Sid>().unwrap());
    let keys =
        select(&[KeyAlgorithm::Rsa2048, KeyAlgorithm::Rsa3072, KeyAlgorithm::Rsa4096, KeyAlgorithm::EcP256, KeyAlgorithm::EcP384][..]);
    let profiles = select(&[PfxProfile::Modern, PfxProfile::Compat, PfxProfile::Pbmac1][..]);
    let first = (an_id::<CaName>(), of(an_id()), a_text(), vec(a_san(), 0..4), vec(oids(), 0..3), keys);
    let second = (any::<u64>(), of(sid), bytes(), profiles, of(a_text()));
    (first, second).prop_map(|((ca, template, subject, names, usages, key), (validity, sid, recipient, profile, friendly_name))| {
        let mut request = PkcsRequest::new(ca, subject, recipient.into());
        (request.template, request.subject_alt_names, request.extended_key_usage, request.key) = (template, names, usages, key);
        (request.validity, request.sid, request.pfx_profile) = (Duration::from_secs(validity), sid, profile);
        request.friendly_name = friendly_name;
        Payload::Pkcs(Box::new(request))
    })
}

fn a_payload() -> impl Strategy<Value = Payload> {
    use PaddingScheme as P;
    use RevocationReason as R;
    let paddings = select(&[P::Pkcs1, P::OaepSha1, P::OaepSha256, P::OaepSha384, P::OaepSha512][..]);
    let reasons = select(
        &[
            R::Unspecified,
            R::KeyCompromise,
            R::CaCompromise,
            R::AffiliationChanged,
            R::Superseded,
            R::CessationOfOperation,
            R::PrivilegeWithdrawn,
        ][..],
    );
    prop_oneof![
        pkcs(),
        (bytes(), bytes()).prop_map(|(payload, to)| Payload::Recrypt(Box::new(RecryptRequest::new(payload, to.into())))),
        (a_text(), a_text(), paddings, bytes(), bytes(), bytes()).prop_map(|(provider, key, padding, password, pfx, to)| {
            let name = ImportKeyName { provider, key };
            Payload::Import(Box::new(ImportRequest::new(name, padding, password, SecretBytes::new(pfx), to.into())))
        }),
        (a_text(), of(a_text()), of(reasons))
            .prop_map(|(serial, issuer, reason)| { Payload::Revoke(RevokeRequest { serial, issuer, reason }) }),
        a_text().prop_map(|text| Payload::Malformed(crate::event::printable(&text))),
        "[a-z]{8,12}".prop_filter("a kind that is known", |kind| kind != "malformed").prop_map(Payload::Unknown),
    ]
}

fn an_outcome() -> impl Strategy<Value = Outcome> {
    use ErrorClass as C;
    use RevocationError as E;
    let serial = vec(1..=255_u8, 1..20).prop_map(|bytes| SerialNumber::from_be_bytes(&bytes).unwrap());
    let errors = select(
        &[
            E::NonRetryableServiceException,
            E::DataSerializationError,
            E::ParameterDataInvalidError,
            E::CryptographyError,
            E::CertificateNotFoundError,
            E::ConflictError,
            E::NotSupportedError,
            E::PayloadTooLargeError,
            E::RetryableServiceException,
            E::ServiceUnavailableException,
            E::ServiceTooBusyException,
            E::AuthenticationException,
        ][..],
    );
    let classes =
        select(&[C::Transient, C::Throttled, C::Request, C::Policy, C::Configuration, C::Unsupported, C::Deadline, C::Internal][..]);
    let payloads = select(&[ImportPayload::Password, ImportPayload::Pfx][..]);
    prop_oneof![
        (bytes(), bytes(), any::<[u8; 20]>(), serial, a_time(), an_id()).prop_map(|(pfx, password, thumbprint, serial, until, ca)| {
            Outcome::Pkcs(Box::new(PkcsResult::new(pfx, password, Thumbprint::new(thumbprint), serial, until, ca)))
        }),
        bytes().prop_map(|envelope| Outcome::Recrypt(RecryptResult::new(envelope))),
        (payloads, bytes(), of(bytes())).prop_map(|(payload, password, pfx)| Outcome::Import(ImportResult::new(payload, password, pfx))),
        (errors, a_text()).prop_map(|(error, message)| Outcome::Revoke(RevokeResult::failed(error, message))),
        Just(Outcome::Revoke(RevokeResult::succeeded(None))),
        (classes, of(a_text()), a_text()).prop_map(|(class, code, text)| Outcome::Failed(Failure::new(class, text).with_code(code))),
    ]
}

fn some_counters() -> impl Strategy<Value = FlowCounters> {
    any::<[u64; 5]>().prop_map(|[received, succeeded, failed, retried, poll_failures]| FlowCounters {
        received,
        succeeded,
        failed,
        retried,
        poll_failures,
    })
}

/// A payload's every field; secrets as well, which `Debug` hides.
fn all_of(item: &QueueItem) -> String {
    let secret = match &item.payload {
        Payload::Import(request) => request.pfx.secret_bytes(),
        _ => &[],
    };
    format!("{item:?} {secret:?}")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_are_read_as_they_were_written(items in vec((a_meta(), a_payload()), 0..4), next in of(0..1_000_000_u64)) {
        let items: Vec<QueueItem> = items.into_iter().map(|(meta, payload)| QueueItem::new(meta, payload)).collect();
        let bodies: Vec<SecretBytes> = items.iter().map(|item| write_item(item).unwrap()).collect();
        let next = next.map(Duration::from_secs);
        let body = write_batch(&bodies, next, Some(Duration::from_secs(300)));
        let tenant: TenantId = "another.example".parse().unwrap();
        let read = read_batch(body.secret_bytes(), &tenant, Flow::Pkcs).unwrap();
        prop_assert_eq!(read.next_poll, next);
        prop_assert_eq!(read.items.iter().map(all_of).collect::<Vec<_>>(), items.iter().map(all_of).collect::<Vec<_>>());
        for (item, body) in items.iter().zip(&bodies) {
            let value = serde_json::from_slice(body.secret_bytes()).unwrap();
            prop_assert_eq!(all_of(&read_item_strictly(&value).unwrap()), all_of(item));
        }
    }

    #[test]
    fn results_are_read_as_they_were_written(results in vec((a_meta(), an_outcome()), 0..4), flow in select(&FLOWS[..])) {
        let results: Vec<ResultItem> = results.into_iter().map(|(meta, outcome)| ResultItem::new(meta, outcome)).collect();
        let tenant: TenantId = "contoso.example".parse().unwrap();
        let body = write_complete(&tenant, flow, &"one".parse().unwrap(), &results).unwrap();
        let read = Complete::read(body.secret_bytes()).unwrap();
        prop_assert_eq!((read.tenant, read.flow), (tenant, flow));
        prop_assert_eq!(read.results.into_iter().map(Result::unwrap).collect::<Vec<_>>(), results);
    }

    #[test]
    fn health_messages_are_read_as_they_were_written(
        tenant in an_id(), instance in an_id(), at in a_time(), version in a_text(),
        flows in btree_map(select(&FLOWS[..]), some_counters(), 0..4),
        events in btree_map(any::<u16>(), any::<u64>(), 0..4),
        findings in vec(a_text().prop_map(|text| crate::event::printable(&text)), 0..3),
        credentials in btree_map(a_text(), a_time(), 0..3),
    ) {
        let mut message = HealthMessage::new(tenant, instance, at);
        (message.version, message.flows, message.events, message.findings) = (version, flows, events, findings);
        message.credentials = credentials;
        let body = write_health(&message).unwrap();
        prop_assert_eq!(read_health(body.secret_bytes()).unwrap(), message);
    }

    #[test]
    fn calls_and_answers_are_read_as_they_were_written(
        tenant in an_id::<TenantId>(), flow in select(&FLOWS[..]), instance in an_id(), max in 1..=usize::MAX, ids in vec(an_id(), 0..4),
        flows in vec(select(&FLOWS[..]), 0..4), seconds in 1..1_000_000_u64, batch in 1..=1_000_usize, flag in any::<bool>(),
    ) {
        let delivery = "00000000-0000-4000-8000-0000000000ab".to_owned();
        let receive = Receive { tenant: tenant.clone(), flow, instance, max, max_bytes: max.max(1 << 16), delivery };
        let written = receive.write().unwrap();
        prop_assert_eq!(Receive::read(written.secret_bytes()).unwrap(), receive.clone());

        let extend = ExtendLease { tenant, flow, instance: receive.instance, requests: ids.clone() };
        prop_assert_eq!(ExtendLease::read(extend.write().unwrap().secret_bytes()).unwrap(), extend);
        prop_assert_eq!(read_lost(write_lost(&ids).unwrap().secret_bytes()).unwrap(), ids);

        let mut capabilities = QueueCapabilities::new(flows);
        capabilities.minimum_interval = Duration::from_secs(seconds);
        capabilities.lease = flag.then_some(Duration::from_secs(seconds));
        (capabilities.redelivers_elsewhere, capabilities.max_batch) = (flag, batch);
        prop_assert_eq!(read_capabilities(write_capabilities(&capabilities).unwrap().secret_bytes()).unwrap(), capabilities);
    }

    /// No input stops a reader, and none of its problems quotes what it read.
    #[test]
    fn a_damaged_batch_is_read_or_refused_and_never_quoted(
        item in (a_meta(), a_payload()), cuts in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let body = write_batch(&[write_item(&QueueItem::new(item.0, item.1)).unwrap()], None, None);
        let mut body = body.secret_bytes().to_vec();
        for (at, byte) in cuts {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let _ = read_batch(&body, &"contoso.example".parse().unwrap(), Flow::Pkcs).map(|batch| format!("{batch:?}"));
        let _ = (Complete::read(&body).is_ok(), read_health(&body).is_ok(), read_answers(&body).is_ok(), read_capabilities(&body).is_ok());
    }
}

fn read(item: &str) -> QueueItem {
    read_item(&serde_json::from_str(item).unwrap(), &"contoso.example".parse().unwrap(), Flow::Revoke).unwrap()
}

#[test]
fn a_kind_of_a_later_version_is_kept_as_unknown() {
    let item = read(r#"{"meta": {"id": "r1"}, "kind": "attest", "request": {"new": [1, 2]}, "more": true}"#);
    assert!(matches!(&item.payload, Payload::Unknown(kind) if kind == "attest"), "{item:?}");
    assert_eq!((item.meta.id.as_str(), item.meta.flow, item.meta.tenant.as_str()), ("r1", Flow::Revoke, "contoso.example"));
    let odd = read(r#"{"meta": {"id": "r1", "device": {"new": 1}}, "kind": "attest"}"#);
    assert!(matches!(odd.payload, Payload::Unknown(_)), "what cannot be known is not answered as malformed: {odd:?}");
}

#[test]
fn what_is_wrong_with_an_item_is_its_own() {
    let problem = |item: &str| match read(item).payload {
        Payload::Malformed(problem) => problem,
        other => panic!("{other:?}"),
    };
    let with = |request: &str| problem(&format!(r#"{{"meta": {{"id": "r1"}}, {request}}}"#));
    assert_eq!(with(r#""kind": "revoke""#), "`request` is missing");
    assert_eq!(with(r#""kind": 7"#), "`kind` is no text");
    assert_eq!(with(r#""kind": "revoke", "request": {}"#), "`serial` is missing");
    assert_eq!(
        with(r#""kind": "revoke", "request": {"serial": "1", "reason": "hunter2"}"#),
        "`reason` has a value that this version does not know"
    );
    assert_eq!(
        with(r#""kind": "recrypt", "request": {"payload": "hunter2", "recipient": ""}"#),
        "`payload` is no standard base64 with padding"
    );
    let san =
        r#""kind": "pkcs", "request": {"ca": "ca", "subject": "", "recipient": "", "subjectAltNames": [{"type": "x400", "value": ""}]}"#;
    assert_eq!(with(san), "an entry of `subjectAltNames` has a `type` that this version does not know");
    let long = format!(r#""kind": "revoke", "request": {{"serial": "{}"}}"#, "1".repeat(MAX_TEXT + 1));
    assert_eq!(with(&long), "`serial` is longer than 8192 bytes");
    let device = problem(r#"{"meta": {"id": "r1", "device": "a\u0000"}, "kind": "revoke", "request": {"serial": "1"}}"#);
    assert_eq!(device, "`device`: not a valid device id: it holds a control character or an invisible formatting character");
}

#[test]
fn an_item_that_cannot_be_answered_is_kept_for_the_report_alone() {
    for item in ["7", "{}", r#"{"meta": {}}"#, r#"{"meta": {"id": "a\u0000"}}"#, r#"{"meta": {"id": "r", "tenant": 7}}"#] {
        assert!(matches!(&read(item).payload, Payload::Unknown(text) if text.starts_with("unreadable: ")), "{item}");
    }
    let flow = read(r#"{"meta": {"id": "r", "flow": "attest"}, "kind": "revoke", "request": {"serial": "1"}}"#);
    assert!(matches!(flow.payload, Payload::Unknown(_)), "{flow:?}");
}

#[test]
fn answers_that_are_not_understood_let_the_result_be_offered_again() {
    let known = [CompleteAnswer::Accepted, CompleteAnswer::TryAgain("busy".to_owned()), CompleteAnswer::Refused("gone".to_owned())];
    assert_eq!(read_answers(write_answers(&known).unwrap().secret_bytes()).unwrap(), known);
    let odd = read_answers(br#"{"answers": [{"answer": "deferred"}, 7, {}, {"answer": "refused", "reason": 7}, {"answer": "refused"}]}"#)
        .unwrap();
    assert!(odd[..4].iter().all(|answer| matches!(answer, CompleteAnswer::TryAgain(_))), "{odd:?}");
    assert_eq!(odd[4], CompleteAnswer::Refused("no reason was given".to_owned()));
}

#[test]
fn flows_of_a_later_version_are_passed_over() {
    let read = read_capabilities(br#"{"flows": ["attest", "pkcs"], "maxBatch": 5000}"#).unwrap();
    assert_eq!((read.flows, read.max_batch, read.lease), (vec![Flow::Pkcs], 1_000, None));
    for bad in [r#"{"flows": [], "maxBatch": 0}"#, r#"{"flows": [], "maxBatch": 1, "leaseSeconds": 0}"#, r#"{"maxBatch": 1}"#] {
        assert!(read_capabilities(bad.as_bytes()).is_err(), "{bad}");
    }
    let health = br#"{"tenant": "t", "instance": "i", "at": "2026-01-01T00:00:00Z", "version": "9", "flows": {"attest": {"received": 1}}}"#;
    assert_eq!(read_health(health).unwrap().flows, BTreeMap::new());
}

#[test]
fn an_error_is_read_by_its_code_and_time() {
    let time = Timestamp::from_secs(1_000);
    let body = write_error("clockSkew", "m", time).unwrap();
    assert_eq!(read_error(body.secret_bytes()), Some(("clockSkew".to_owned(), Some(time))));
    assert_eq!(read_error(b"<html>"), None);
}

#[test]
fn a_revocation_that_contradicts_itself_is_refused() {
    for result in [r#"{"succeeded": true, "error": "ConflictError"}"#, r#"{"succeeded": false}"#, "{}"] {
        let meta = r#"{"id": "r", "tenant": "t", "flow": "revoke"}"#;
        let body = format!(r#"{{"meta": {meta}, "kind": "revoke", "result": {result}}}"#);
        assert!(super::result::read_result(&serde_json::from_str(&body).unwrap()).is_err(), "{result}");
    }
}

#[test]
fn the_id_of_a_request_may_be_any_text_that_is_one() {
    let id: RequestId = "Z\u{fc}rich \"\\ 東京".parse().unwrap();
    let lost = read_lost(write_lost(core::slice::from_ref(&id)).unwrap().secret_bytes()).unwrap();
    assert_eq!(lost, [id]);
    assert!(Document::read(b"{}").is_ok());
}
