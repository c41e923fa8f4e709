//! Judges a world from outside the connector: by the ledgers of the queue and the CA, and by what administrators were told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use intune_connector::crypto::DigestAlgorithm;
use intune_connector::event::EventId;
use intune_connector::ids::{IdempotencyKey, Thumbprint};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::pfx;
use intune_connector::ports::{Failure, Outcome, RowKind, RowState};
use intune_connector::retry::ErrorClass;
use intune_connector::secret::Password;
use intune_connector::terms::Flow;
use rustls_pki_types::CertificateDer;

use crate::device::{Enrolled, Refused};
use crate::queue::Entry;
use crate::shared::{IMPORT_PASSWORD, PAYLOAD, SHARED, START};
use crate::world::{DEADLINE, World};

/// By so much a certificate may begin in the future.
const CLOCK_DIFFERENCE: Duration = Duration::from_secs(300);

/// What went wrong, one sentence each.
pub fn wrong(world: &World) -> Vec<String> {
    let mut wrong = Vec::new();
    for entry in world.service.entries.lock().unwrap().iter() {
        let problems = ended_once(world, entry).into_iter().chain(told_once(world, entry));
        wrong.extend(problems.map(|problem| format!("{}: {problem}", entry.id)));
    }
    wrong.extend(devices(world));
    wrong.extend(certificates(world));
    wrong
}

/// Each device has a certificate, and Intune was told of it and of no other that lives.
fn devices(world: &World) -> Vec<String> {
    let mut wrong = Vec::new();
    let (told, enrolled) = (world.desk.told.lock().unwrap(), world.desk.enrolled.lock().unwrap());
    let living: BTreeSet<Thumbprint> =
        world.ca.ledger().iter().filter(|issued| !issued.revoked).map(|issued| thumbprint(&issued.certificate)).collect();
    for Enrolled { transaction, got } in enrolled.iter() {
        let told: &[Thumbprint] = told.get(transaction).map_or(&[], Vec::as_slice);
        match got {
            Ok(certificate) if told == [thumbprint(certificate.der())] => {}
            Err(Refused::ForGood) if !told.iter().any(|told| living.contains(told)) => {}
            got => wrong.push(format!("{transaction}: {got:?}, Intune was told of {told:?}")),
        }
    }
    let served = enrolled.iter().filter(|enrolled| enrolled.got.is_ok()).count();
    // A machine whose clock was set back takes every certificate for one of the future.
    if served != world.devices && jumped(world) <= CLOCK_DIFFERENCE {
        wrong.push(format!("{served} of {} devices have a certificate", world.devices));
    }
    wrong
}

fn thumbprint(certificate: &CertificateDer<'_>) -> Thumbprint {
    let digest = SHARED.provider.digest().unwrap().digest(DigestAlgorithm::Sha1, &[certificate]).unwrap();
    Thumbprint::new(digest.as_ref().try_into().unwrap())
}

/// It ended once, with a result that opens or a failure that the faults explain, and every repeat is the same.
fn ended_once(world: &World, entry: &Entry) -> Vec<String> {
    let mut wrong = Vec::new();
    if entry.changed {
        wrong.push("another result was uploaded after one was accepted".to_owned());
    }
    let mut results = entry.uploads.iter().filter(|outcome| !outcome.is_offered_again());
    let first = results.next();
    if results.any(|other| Some(other) != first) {
        wrong.push("the results that were uploaded differ".to_owned());
    }
    match &entry.accepted {
        _ if entry.refused => {}
        None => wrong.push("lost: the queue has no result".to_owned()),
        Some((outcome, at)) => wrong.extend(judged(world, entry, outcome, *at).err()),
    }
    wrong
}

fn judged(world: &World, entry: &Entry, outcome: &Outcome, at: Duration) -> Result<(), String> {
    match outcome {
        Outcome::Failed(failure) if is_explained(world, entry, failure, at) => Ok(()),
        Outcome::Pkcs(result) => {
            let password = Password::from(SHARED.open(&result.password_envelope)?);
            let file = SHARED.open(&result.pfx_envelope)?;
            let opened = pfx::open(file.secret_bytes(), Some(&password), &SHARED.provider, &Limits::default());
            let opened = opened.and_then(|opened| opened.into_mac_verified()).map_err(|error| error.to_string())?;
            let identity = opened.contents().identity().map_err(|error| error.to_string())?;
            let leaf = Certificate::from_der(&identity.certificate.der, &Limits::default()).map_err(|error| error.to_string())?;
            let key = SHARED.provider.signing_keys().unwrap().load(&identity.key.key).map_err(|error| error.to_string())?;
            if leaf.serial() != Some(&result.serial) || key.public_key().as_ref() != leaf.spki() {
                return Err("the result names another certificate or key than the file holds".to_owned());
            }
            // By the machine's clock it may have been so; by the true time only as far as that clock was wrong.
            let latest = START.saturating_add(at).saturating_add(CLOCK_DIFFERENCE).saturating_add(jumped(world));
            if leaf.not_before() > latest {
                return Err(format!("a certificate that begins at {} was delivered", leaf.not_before()));
            }
            Ok(())
        }
        Outcome::Recrypt(result) if SHARED.open(&result.envelope)?.secret_bytes() == PAYLOAD => Ok(()),
        Outcome::Import(result) if SHARED.open(&result.password_envelope)?.secret_bytes() == IMPORT_PASSWORD.as_bytes() => Ok(()),
        Outcome::Revoke(result) if result.error.is_none() => {
            let is_revoked = world.ca.ledger().iter().any(|issued| Some(&issued.serial) == entry.serial.as_ref() && issued.revoked);
            if is_revoked { Ok(()) } else { Err("reported as revoked, and it is not".to_owned()) }
        }
        other => Err(format!("unexplained: {other:?}")),
    }
}

/// By how much wall clocks jumped in all.
fn jumped(world: &World) -> Duration {
    Duration::from_micros(*world.jumped.lock().unwrap())
}

fn subject(entry: &Entry) -> String {
    format!("CN={}@contoso.example", entry.id)
}

fn is_explained(world: &World, entry: &Entry, failure: &Failure, at: Duration) -> bool {
    let took = at.saturating_sub(entry.first_delivery.unwrap_or_default());
    let spoilt = || world.ca.ledger().iter().any(|issued| issued.spoilt && issued.subject == subject(entry));
    match failure.class {
        ErrorClass::Deadline => took + jumped(world) >= DEADLINE,
        ErrorClass::Request => world.ca.refused().contains(&subject(entry)),
        // The certificate was not as planned, or begins in the future by a clock that was set back.
        ErrorClass::Policy => entry.flow == Flow::Pkcs && (spoilt() || jumped(world) > CLOCK_DIFFERENCE),
        _ => false,
    }
}

/// One Admin event, or repeats of it after a process has ended, which the key tells.
fn told_once(world: &World, entry: &Entry) -> Vec<String> {
    let log = world.log.lock().unwrap();
    let told: Vec<_> = log.iter().filter(|told| told.key.flow == Some(entry.flow) && told.key.scope == entry.id.as_str()).collect();
    let keys: BTreeSet<_> = told.iter().map(|told| &told.key).collect();
    let ended = world.ends.lock().unwrap();
    let mut wrong = Vec::new();
    let offered_again = entry.uploads.iter().any(Outcome::is_offered_again);
    if told.is_empty() {
        wrong.push("no Admin event".to_owned());
    }
    if keys.len() > 1 && !offered_again {
        wrong.push(format!("{} different Admin events: {keys:?}", keys.len()));
    }
    if let (Some(first), Some(last)) = (entry.first_delivery, told.last())
        && told.len() > keys.len()
        && !ended.iter().any(|end| (first..=last.at).contains(end))
    {
        wrong.push(format!("{} Admin events though no process ended meanwhile", told.len()));
    }
    let failed = entry.refused || entry.accepted.as_ref().is_some_and(|(outcome, _)| outcome.failure().is_some());
    let says_failed = |id: EventId| {
        [EventId::PkcsRequestFailure, EventId::PkcsRecryptRequestFailure, EventId::PkcsImportRequestFailure, EventId::RevokeRequestFailure]
            .contains(&id)
    };
    if let Some(last) = told.last()
        && says_failed(last.key.event) != failed
    {
        wrong.push(format!("the Admin event is {}, failed: {failed}", last.key.event.name()));
    }
    wrong
}

/// What lives at the CA was delivered, or is known as an orphan.
fn certificates(world: &World) -> Vec<String> {
    let mut wrong = Vec::new();
    let entries = world.service.entries.lock().unwrap();
    let delivered: BTreeMap<String, _> = entries
        .iter()
        .filter_map(|entry| match &entry.accepted {
            Some((Outcome::Pkcs(result), _)) if !entry.refused => Some((subject(entry), result.serial.clone())),
            _ => None,
        })
        .chain(world.desk.enrolled.lock().unwrap().iter().filter_map(|enrolled| {
            let certificate = enrolled.got.as_ref().ok()?;
            Some((certificate.subject().to_string(), certificate.serial()?.clone()))
        }))
        .collect();
    for issued in world.ca.ledger().iter().filter(|issued| issued.key.is_some()) {
        let is_delivered = delivered.get(&issued.subject) == Some(&issued.serial);
        match (is_delivered, issued.revoked) {
            (true, true) => wrong.push(format!("{}: {} was delivered and is revoked", issued.subject, issued.serial)),
            (false, false) if !is_ledgered(world, issued) => {
                wrong.push(format!("{}: {} lives, was not delivered, and nobody knows of it", issued.subject, issued.serial));
            }
            _ => {}
        }
    }
    wrong
}

/// Whether the orphan ledger has it and goes on watching: where the CA cannot be searched, or a clock that jumped has put the look off.
fn is_ledgered(world: &World, issued: &crate::ca::Entry) -> bool {
    let is_watched = !world.ca.is_searchable() || jumped(world) > CLOCK_DIFFERENCE;
    world.store.rows().iter().filter(|row| row.key.kind == RowKind::Orphan).any(|row| {
        let is_refused = parked(world, row.key.key);
        (is_watched || is_refused) && Some(row.key.key) == issued.key && !row.state.is_final()
    })
}

/// Whether the queue refused its result: for a day an operator may offer it again, then the certificate is revoked.
fn parked(world: &World, key: IdempotencyKey) -> bool {
    world.store.rows().iter().any(|row| row.key.kind == RowKind::Request && row.key.key == key && row.state == RowState::Parked)
}
