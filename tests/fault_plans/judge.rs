//! Judges a plan from outside the connector: by what Intune and the CA wrote down.

use std::collections::{BTreeMap, BTreeSet};

use intune_connector::event::{Channel, EventId};
use intune_connector::ids::RequestId;
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::pfx;
use intune_connector::ports::Outcome;
use intune_connector::secret::Password;
use intune_connector::sim::RevocationState;
use intune_connector::terms::Flow;

use crate::device::{KEYS, Refused, open};
use crate::world::{DEVICES, IMPORT_PASSWORD, PAYLOAD, World};

/// What went wrong, one sentence each.
pub fn wrong(world: &World) -> Vec<String> {
    let mut wrong = queue(world);
    wrong.extend(revocations(world));
    wrong.extend(scep(world));
    wrong.extend(certificates(world));
    wrong.extend(admin_events(world));
    wrong
}

fn queue(world: &World) -> Vec<String> {
    let mut wrong = Vec::new();
    for (flow, id) in &world.queued {
        match world.queue.result_of(*flow, id) {
            None => wrong.push(format!("{id}: lost, the queue has no result")),
            Some(outcome) => {
                let opened = outcome.failure().map_or_else(|| opens(world, &outcome), Err);
                wrong.extend(opened.err().map(|error| format!("{id}: {error}")));
            }
        }
    }
    wrong.extend(world.queue.changed_results().iter().map(|(_, id)| format!("{id}: a second, different result was uploaded")));
    wrong
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
fn certificates(world: &World) -> Vec<String> {
    let mut by_request: BTreeMap<_, usize> = BTreeMap::new();
    for issued in world.ca.issued().into_iter().filter(|issued| issued.revoked.is_none()) {
        if let Some(key) = issued.idempotency_key {
            *by_request.entry(key).or_default() += 1;
        }
    }
    let mut wrong: Vec<String> = by_request
        .iter()
        .filter(|(_, count)| **count > 1)
        .map(|(key, count)| format!("request {key}: {count} living certificates"))
        .collect();
    let issued = world.queue.accepted().values().filter(|outcome| matches!(outcome, Outcome::Pkcs(_))).count();
    let delivered = issued + world.enrolled.lock().unwrap().iter().filter(|(_, got)| got.is_ok()).count();
    let living: usize = by_request.values().sum();
    if living != delivered {
        wrong.push(format!("the CA has {living} living certificates for requests, {delivered} were delivered"));
    }
    wrong
}

/// One for each request of a queue.
fn admin_events(world: &World) -> Vec<String> {
    let mut count: BTreeMap<(Flow, String), usize> = BTreeMap::new();
    for event in world.sink.events().iter().filter(|event| event.id.is_documented() && event.id.channel() == Channel::Admin) {
        if let Some(flow) = event.key.flow {
            *count.entry((flow, event.key.scope.clone())).or_default() += 1;
        }
    }
    let of = |flow: Flow, id: &RequestId| count.get(&(flow, id.as_str().to_owned())).copied().unwrap_or(0);
    world.queued.iter().filter(|(flow, id)| of(*flow, id) != 1).map(|(flow, id)| format!("{id}: {} Admin events", of(*flow, id))).collect()
}
