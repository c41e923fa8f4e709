//! Certificates that may exist and that no client got: listed, looked for, and closed by hand where the CA cannot be searched.

use std::sync::atomic::Ordering;

use intune_connector::message::certificate::CertificateBuilder;
use intune_connector::message::scep::{FailInfo, MessageType, PkiStatus};
use intune_connector::scep::{OrphanError, OrphanRecord};
use intune_connector::terms::{KeyUsage, oids};
use intune_connector::time::Timestamp;

use crate::scep_lab::{Fault, Lab, TestCa, shared_key};
use crate::{DAY, ask, enrolled, outcome, read};

const REFUSED: (PkiStatus, Option<FailInfo>) = (PkiStatus::Failure, Some(FailInfo::BadRequest));

fn lab(blind: bool) -> Lab {
    let ca = TestCa::new(shared_key(0)).that_looks_up();
    ca.blind.store(blind, Ordering::SeqCst);
    Lab::with_ca(ca, |builder| builder)
}

fn orphans(lab: &Lab) -> Vec<OrphanRecord> {
    lab.runtime.block_on(lab.service.orphans(10)).unwrap()
}

fn maintain(lab: &Lab, days: u32) -> u64 {
    lab.runtime.block_on(lab.service.maintain(Timestamp::system_now().saturating_add(days * DAY))).revoked
}

#[test]
fn what_a_ca_that_cannot_be_searched_may_have_issued_stays_listed_until_it_is_closed() {
    let lab = lab(true);
    lab.ca.faults.lock().unwrap().push(Fault::LoseAnswer);
    let client = lab.client();
    assert_eq!(outcome(&ask(&lab, &client, MessageType::PkcsReq, &client.csr.clone())), REFUSED);
    assert_eq!(lab.ca.certificates(), 1, "it lives, and nobody has it");
    let [listed] = &orphans(&lab)[..] else { panic!("{:?}", orphans(&lab)) };
    assert_eq!((&listed.transaction_id, listed.most, &listed.known), (&client.transaction, 1, &None));
    for days in [1, 9, 40] {
        assert_eq!(maintain(&lab, days), 0);
        let [after] = &orphans(&lab)[..] else { panic!("after {days} days: {:?}", orphans(&lab)) };
        assert!(after.note.as_ref().unwrap().contains("look there"), "{after:?}");
    }
    lab.runtime.block_on(lab.service.close_orphan(listed.key)).unwrap();
    assert!(orphans(&lab).is_empty());
    let unknown = intune_connector::ids::IdempotencyKey::new([1; 32]);
    assert!(matches!(lab.runtime.block_on(lab.service.close_orphan(unknown)), Err(OrphanError::Unknown)));
}

#[test]
fn a_second_certificate_is_found_and_revoked_and_the_released_one_is_not() {
    let lab = lab(false);
    // The CA seems not to have issued, is asked again, and then the first one shows up.
    lab.ca.faults.lock().unwrap().push(Fault::Panic);
    let (client, released) = enrolled(&lab);
    assert_eq!((lab.ca.asks.load(Ordering::SeqCst), orphans(&lab).len()), (2, 1));
    assert_eq!(maintain(&lab, 1), 0, "the one that is found was released");
    let usage = [oids::CLIENT_AUTH.parse().unwrap()];
    let fill = |builder: CertificateBuilder| builder.key_usage(KeyUsage::SIGN_AND_ENCIPHER).extended_key_usage(&usage);
    let until = Timestamp::system_now().saturating_add(90 * DAY);
    let late = lab.ca.make(released.subject().clone(), &client.key.spki, fill, until);
    *lab.ca.finds.lock().unwrap() = Some(late.clone());
    assert_eq!(maintain(&lab, 4), 1);
    assert_eq!(lab.ca.revoked.lock().unwrap()[..], [read(&late).serial().unwrap().clone()]);
    assert!(orphans(&lab).is_empty(), "all that it may be is revoked");
}

#[test]
fn where_nothing_was_lost_nothing_is_listed() {
    let lab = lab(true);
    enrolled(&lab);
    assert!(orphans(&lab).is_empty());
}
