//! Several instances over one journal, and requests of other CAs.

use async_trait::async_trait;
use intune_connector::adapters::intune::{HttpAnswer, RevocationAction, RevocationActions, RevocationCall};
use intune_connector::ports::{ExtendLeaseRequest, IntuneQueue, JournalScope, Payload, PortError, RowKind, RowState};
use intune_connector::terms::Flow;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

use crate::rig::{
    Bench, DOWNLOAD, Faulty, HOUR, MINUTE, UPLOAD, answer, block_on, brings, complete, ids, item, key, provider, receive, receive_as,
    revoked,
};

#[test]
fn one_download_serves_the_fleet_and_another_instance_takes_over_when_the_lease_ends() {
    let journal = Faulty::new(JournalScope::Fleet);
    let bench = Bench::on(journal);
    bench.script.then(DOWNLOAD, brings(&[item("a", "01", None), item("b", "02", None), item("c", "03", None)]));
    let (one, two) = (bench.queue(), bench.queue());
    let first = receive_as(&one, "one", 1).unwrap();
    let second = receive_as(&two, "two", 9).unwrap();
    assert_eq!((first.items.len(), second.items.len()), (1, 2), "they share what one download brought");
    assert!(receive_as(&two, "two", 9).unwrap().items.is_empty());
    assert_eq!(bench.script.count(DOWNLOAD), 1);

    // `two` goes on working, `one` is gone.
    let held: Vec<_> = second.items.iter().map(|item| item.meta.id.clone()).collect();
    bench.clock.advance(10 * MINUTE);
    block_on(two.extend_lease(ExtendLeaseRequest::new(Flow::Revoke, "two".parse().unwrap(), held))).unwrap();
    assert!(receive_as(&two, "two", 9).unwrap().items.is_empty(), "the lease of `one` lives");
    bench.clock.advance(6 * MINUTE);
    let third = bench.queue();
    let taken = receive_as(&third, "three", 9).unwrap();
    assert_eq!(ids(&taken.items), ids(&first.items));
    assert_eq!(taken.next_poll, Some(44 * MINUTE));
}

#[test]
fn foreign_issuers_are_neither_given_out_nor_stored_nor_answered() {
    let journal = Faulty::new(JournalScope::Instance);
    let bench = Bench::on(journal.clone());
    let own = |configuration: &str| json!({ "requestContext": configuration, "serialNumber": "01", "issuerName": "CN=Contoso CA", "caConfiguration": configuration });
    bench.script.then(
        DOWNLOAD,
        brings(&[
            item("foreign", "01", Some("Fabrikam CA")),
            item("own", "01", Some(" Contoso CA ")),
            own("profile A"),
            own("profile B"),
            item("nameless", "01", None),
        ]),
    );
    let queue = bench.builder().own_issuers(["Contoso CA", "profile A"]).build().unwrap();
    let given = receive(&queue, 9).unwrap().items;
    let mut found = ids(&given);
    found.sort_unstable();
    assert_eq!(found, ["nameless", "own", "profile A"]);
    let named: Vec<_> = given
        .iter()
        .filter_map(|item| match &item.payload {
            Payload::Revoke(request) => request.issuer.clone(),
            _ => None,
        })
        .collect();
    assert!(named.contains(&"profile A".to_owned()), "the name that is known: {named:?}");
    assert_eq!(journal.rows.rows().iter().filter(|row| row.key.kind == RowKind::Revocation).count(), 3);
    let answers = complete(&queue, &[("foreign", revoked())]).unwrap();
    assert!(matches!(answers[..], [intune_connector::ports::CompleteAnswer::Refused(_)]));
    assert_eq!(bench.script.count(UPLOAD), 0);
}

#[test]
fn what_the_connector_lets_go_of_twice_is_not_given_out_again_until_intune_offers_it() {
    let journal = Faulty::new(JournalScope::Instance);
    let bench = Bench::on(journal.clone());
    let (queue, given) = bench.with(&[item("others", "01", Some("Fabrikam CA"))]);
    assert_eq!(given.len(), 1);
    let state = || journal.rows.rows().into_iter().find(|row| row.key.kind == RowKind::Revocation).unwrap().state;
    bench.clock.advance(20 * MINUTE);
    assert_eq!(ids(&receive(&queue, 9).unwrap().items), ["others"], "once more, in case that the first one came to nobody");
    bench.clock.advance(20 * MINUTE);
    assert!(receive(&queue, 9).unwrap().items.is_empty());
    assert_eq!(state(), RowState::Parked);
    bench.clock.advance(HOUR);
    bench.script.then(DOWNLOAD, brings(&[item("others", "01", Some("Fabrikam CA"))]));
    assert_eq!(ids(&receive(&queue, 9).unwrap().items), ["others"]);
    // A late result is sent all the same.
    for _ in 0..2 {
        bench.clock.advance(20 * MINUTE);
        receive(&queue, 9).unwrap();
    }
    assert_eq!(state(), RowState::Parked);
    complete(&queue, &[("others", revoked())]).unwrap();
    assert_eq!((state(), bench.script.count(UPLOAD)), (RowState::Acknowledged, 1));
}

/// A service that cuts its list before it filters it, as users report.
#[derive(Debug)]
struct CutsBeforeItFilters(Mutex<Vec<Value>>);

#[async_trait]
impl RevocationActions for CutsBeforeItFilters {
    async fn post(&self, call: RevocationCall<'_>) -> Result<HttpAnswer, PortError> {
        let body: Value = serde_json::from_slice(call.body.secret_bytes()).unwrap();
        if call.action == RevocationAction::UploadRevocationResults {
            let done: Vec<&str> =
                body["results"].as_array().unwrap().iter().map(|result| result["requestContext"].as_str().unwrap()).collect();
            self.0.lock().unwrap().retain(|item| !done.contains(&item["requestContext"].as_str().unwrap()));
            return Ok(answer(200, r#"{"value":true}"#));
        }
        let most = body["downloadParameters"]["maxRequests"].as_u64().unwrap() as usize;
        let filter = body["downloadParameters"]["issuerName"].as_str().map(str::to_owned);
        let waiting = self.0.lock().unwrap().clone();
        let cut = waiting.into_iter().take(most);
        let items: Vec<Value> = cut.filter(|item| filter.is_none() || item["caConfiguration"].as_str() == filter.as_deref()).collect();
        Ok(brings(&items))
    }
}

#[test]
fn a_service_that_filters_after_it_cut_its_list_hides_nothing_from_the_local_filter() {
    let of =
        |context: &str, ca: &str| json!({ "requestContext": context, "serialNumber": "01", "issuerName": null, "caConfiguration": ca });
    let service = Arc::new(CutsBeforeItFilters(Mutex::new(vec![of("f1", "Fabrikam"), of("f2", "Fabrikam"), of("own", "Contoso")])));
    let bench = Bench::new();
    let build = |adjust: &dyn Fn(crate::Builder) -> crate::Builder| {
        let journal = Arc::new(intune_connector::adapters::VolatileJournal::new());
        let tenant = "contoso.example".parse().unwrap();
        let builder = crate::Queue::builder(service.clone(), journal, tenant, bench.clock.clone(), provider()).sealing_key(key());
        adjust(builder).build().unwrap()
    };
    let filtered = build(&|builder| builder.max_requests(2).issuer_filter("Contoso"));
    assert!(receive(&filtered, 9).unwrap().items.is_empty(), "an empty answer, though one waits");
    let local = build(&|builder| builder.own_issuers(["Contoso"]));
    assert_eq!(ids(&receive(&local, 9).unwrap().items), ["own"]);
    complete(&local, &[("own", revoked())]).unwrap();
    assert_eq!(service.0.lock().unwrap().len(), 2, "the others' requests wait as before");
}

#[test]
fn of_two_instances_that_download_at_once_one_does() {
    let journal = Faulty::new(JournalScope::Fleet);
    let bench = Bench::on(journal);
    bench.script.then_never_answers(DOWNLOAD);
    let (one, two) = (bench.queue(), bench.queue());
    let request = |name: &str| intune_connector::ports::ReceiveRequest::new(Flow::Revoke, name.parse().unwrap(), 9);
    let mut first = Box::pin(one.receive(request("one")));
    assert!(futures_util::FutureExt::now_or_never(&mut first).is_none());
    assert_eq!(block_on(two.receive(request("two"))).unwrap().next_poll, Some(HOUR));
    assert_eq!(bench.script.count(DOWNLOAD), 1);
}
