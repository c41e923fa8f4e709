//! Judges a plan from outside the connector: by what Intune and the CA wrote down.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use intune_connector::event::{Channel, EventId};
use intune_connector::ids::RequestId;
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::pfx;
use intune_connector::ports::Outcome;
use intune_connector::secret::Password;
use intune_connector::sim::{Endpoint, RevocationState};
use intune_connector::terms::Flow;

use crate::device::{KEYS, Refused, open};
use crate::world::{DEVICES, IMPORT_PASSWORD, PAYLOAD, World};

/// What went wrong, one sentence each.
pub fn wrong(world: &World) -> Vec<String> {
    let mut wrong = queue(world);
    wrong.extend(revocations(world));
    wrong.extend(scep(world));
    wrong.extend(certificates(world));
    wrong.extend(told_once(world));
    wrong.extend(downloads(world));
    wrong
}

fn queue(world: &World) -> Vec<String> {
    let mut wrong = Vec::new();
    for (flow, id) in &world.queued {
        match world.queue.result_of(*flow, id) {
            None => wrong.push(format!("{id}: lost, the queue has no result")),
            Some(outcome) => {
                let opened = outcome.failure().map_or_else(|| opens(world, &outcome), Err);
                let error = opened.err().filter(|_| !is_anothers(world, *flow, id));
                wrong.extend(error.map(|error| format!("{id}: {error}")));
            }
        }
    }
    wrong.extend(world.queue.changed_results().iter().map(|(_, id)| format!("{id}: a second, different result was uploaded")));
    wrong
}

/// A CA that gives the same certificate for a repeated request gives the successor of an ended process a certificate for the lost key: the
/// request then fails, and the operator is told of the certificate.
fn is_anothers(world: &World, flow: Flow, id: &RequestId) -> bool {
    let told = EventId::CertificateHandedToRevocation;
    world.was_ended() && world.sink.events_of(id.as_str()).iter().any(|event| event.id == told && event.key.flow == Some(flow))
}

fn opens(world: &World, outcome: &Outcome) -> Result<(), String> {
    let open = |envelope: &[u8]| open(&world.provider, &KEYS[0], &world.recipient, envelope);
    match outcome {
        Outcome::Pkcs(result) => {
            let password = Password::from(open(&result.password_envelope)?);
            let file = open(&result.pfx_envelope)?;
            let opened = pfx::open(file.secret_bytes(), Some(&password), &world.provider, &Limits::default());
            let opened = opened.and_then(|opened| opened.into_mac_verified()).map_err(|error| error.to_string())?;
            let identity = opened.contents().identity().map_err(|error| error.to_string())?;
            let leaf = Certificate::from_der(&identity.certificate.der, &Limits::default()).map_err(|error| error.to_string())?;
            let key = world.provider.signing_keys().unwrap().load(&identity.key.key).map_err(|error| error.to_string())?;
            if leaf.serial() != Some(&result.serial) || key.public_key().as_ref() != leaf.spki() {
                return Err("the result names another certificate or key than the file holds".to_owned());
            }
            Ok(())
        }
        Outcome::Recrypt(result) if open(&result.envelope)?.secret_bytes() == PAYLOAD => Ok(()),
        Outcome::Import(result) if open(&result.password_envelope)?.secret_bytes() == IMPORT_PASSWORD.as_bytes() => Ok(()),
        other => Err(format!("the content changed, or it is of another flow: {other:?}")),
    }
}

fn revocations(world: &World) -> Vec<String> {
    let mut wrong: Vec<String> = world.intune.open_revocations().iter().map(|context| format!("{context}: no revocation result")).collect();
    let at_intune: BTreeMap<String, RevocationState> = world
        .intune
        .revocations()
        .into_iter()
        .map(|entry| (entry.request.request_context.clone().unwrap_or_default(), entry.state))
        .collect();
    let at_the_ca = world.ca.issued();
    for (context, serial) in &world.revocations {
        if at_intune.get(context) != Some(&RevocationState::Succeeded) {
            wrong.push(format!("{context}: {:?} at Intune", at_intune.get(context)));
        }
        if at_the_ca.iter().find(|entry| entry.serial == *serial).is_none_or(|entry| entry.revoked.is_none()) {
            wrong.push(format!("{context}: not revoked at the CA"));
        }
    }
    wrong
}

fn scep(world: &World) -> Vec<String> {
    let mut wrong = Vec::new();
    wrong.extend(world.intune.findings().iter().map(|finding| format!("Intune's ledger: {finding:?}")));
    // Intune may have said yes without an answer that came (then nothing was issued), or could not be told, which 4002 says.
    let has = |id: EventId, name: &str| world.sink.events().iter().any(|event| event.id == id && event.key.scope == name);
    let lost = world.intune.lost().into_iter();
    let lost = lost.filter(|name| has(EventId::ScepVerifySuccess, name) && !has(EventId::ScepRequestUploadFailure, name));
    wrong.extend(lost.map(|lost| format!("Intune's ledger, lost: {lost}")));
    wrong.extend(world.intune.doubled().iter().map(|doubled| format!("Intune's ledger, doubled: {doubled}")));
    let transactions = world.intune.transactions();
    let living: BTreeSet<String> =
        world.ca.issued().into_iter().filter(|issued| issued.revoked.is_none()).map(|issued| issued.thumbprint.to_string()).collect();
    for (name, got) in world.enrolled.lock().unwrap().iter() {
        let told = transactions.iter().find(|transaction| transaction.transaction_id == *name);
        let told: Vec<&String> = told.iter().flat_map(|told| &told.certificates).map(|certificate| &certificate.thumbprint).collect();
        match got {
            Ok(certificate) => {
                let thumbprint = certificate.thumbprint(&world.provider).unwrap().to_string();
                if told != [&thumbprint] {
                    wrong.push(format!("{name}: Intune was told of {told:?}, the device has {thumbprint}"));
                }
            }
            // Intune may have been told without an answer that said so: then the certificate is withheld, and must not live.
            Err(Refused::ForGood) if told.iter().all(|told| !living.contains(*told)) => {}
            Err(error) => wrong.push(format!("{name}: {error:?}, Intune was told of {told:?}")),
        }
    }
    let served = world.enrolled.lock().unwrap().iter().filter(|(_, got)| got.is_ok()).count();
    if served != DEVICES {
        wrong.push(format!("{served} of {DEVICES} devices have a certificate"));
    }
    wrong
}

/// Each key has one living certificate, and what lives is what was delivered.
///
/// A key pair that a PKCS request was given is in memory alone until its result is packed. When the process ends before, and the CA has
/// issued, there is a certificate that nobody can use: its successor must say so, once for each.
fn certificates(world: &World) -> Vec<String> {
    let mut by_request: BTreeMap<_, Vec<Certificate>> = BTreeMap::new();
    for issued in world.ca.issued().into_iter().filter(|issued| issued.revoked.is_none()) {
        if let Some(key) = issued.idempotency_key {
            by_request.entry(key).or_default().push(Certificate::from_der(&issued.certificate, &Limits::default()).unwrap());
        }
    }
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    for event in world.sink.events().iter().filter(|event| event.id == EventId::AnswerLost && event.key.flow == Some(Flow::Pkcs)) {
        if event.details.get("orphan").is_some_and(|orphan| orphan == "suspected") {
            *told.entry(format!("CN={}", event.key.scope.replace("pkcs-", "user") + "@contoso.example")).or_default() += 1;
        }
    }
    let (mut wrong, mut orphans) = (Vec::new(), world.queued.iter().filter(|(flow, id)| is_anothers(world, *flow, id)).count());
    for (key, living) in &by_request {
        let more = living.len() - 1;
        let subject = living[0].subject().to_string();
        if more > told.get(&subject).copied().unwrap_or(0) {
            wrong.push(format!("request {key} ({subject}): {} living certificates", living.len()));
        }
        orphans += more;
    }
    let issued = world.queue.accepted().values().filter(|outcome| matches!(outcome, Outcome::Pkcs(_))).count();
    let delivered = issued + world.enrolled.lock().unwrap().iter().filter(|(_, got)| got.is_ok()).count();
    let living: usize = by_request.values().map(Vec::len).sum();
    if living != delivered + orphans {
        wrong.push(format!(
            "the CA has {living} living certificates for requests, {orphans} are orphans that were told of, {delivered} were delivered"
        ));
    }
    wrong
}

/// How many Admin events each request has, repeats by the same key left out: a process that ends between the queue's acceptance and the row's
/// end tells it again.
pub fn admin_events(world: &World) -> BTreeMap<(Flow, RequestId), usize> {
    let (mut count, mut known) = (BTreeMap::new(), HashSet::new());
    let events = world.sink.events();
    for event in events
        .iter()
        .filter(|event| known.insert(event.key.clone()))
        .filter(|event| event.id.is_documented() && event.id.channel() == Channel::Admin)
    {
        if let (Some(flow), Ok(id)) = (event.key.flow, event.key.scope.parse()) {
            *count.entry((flow, id)).or_default() += 1;
        }
    }
    count
}

/// One for each request of a queue.
fn told_once(world: &World) -> Vec<String> {
    let count = admin_events(world);
    let of = |key: &(Flow, RequestId)| count.get(key).copied().unwrap_or(0);
    let is_wrong = |key: &&(Flow, RequestId)| of(key) != 1;
    world.queued.iter().filter(is_wrong).map(|key| format!("{}: {} Admin events", key.1, of(key))).collect()
}

/// Intune gives out nothing for an hour after a download: but for those that went wrong, one an hour.
fn downloads(world: &World) -> Option<String> {
    const DOWNLOAD: Endpoint = Endpoint::DownloadRevocationRequests;
    let calls = world.intune.arrivals().iter().filter(|arrival| arrival.endpoint == DOWNLOAD).count() as u64;
    let faults = world.intune.played_faults().iter().filter(|played| played.endpoint == DOWNLOAD).count() as u64;
    let hours = world.time.as_secs() / 3_600;
    (calls > 1 + hours + 3 * faults).then(|| format!("{calls} downloads in {hours} hours, of which {faults} went wrong"))
}
