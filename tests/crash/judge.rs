//! Judges a run by what queue, CA and devices wrote down, and by opening each result with the device's key.

use std::path::Path;

use intune_connector::adapters::{SqliteJournal, StdRuntime};
use intune_connector::ids::IdempotencyKey;
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::pfx;
use intune_connector::ports::{Journal as _, LoadRequest, Outcome, RowKind};
use intune_connector::secret::Password;

use crate::ca::CaKind;
use crate::fixture::{FIXTURE, IMPORT_PASSWORD, PAYLOAD, provider};
use crate::world::{Request, State};

/// What went wrong, one sentence each.
pub fn wrong(state: &State, journal: &Path) -> Vec<String> {
    let mut wrong = state.odd.clone();
    for request in &state.requests {
        wrong.extend(result(state, request).err());
    }
    for device in &state.devices {
        let name = String::from_utf8_lossy(device.transaction());
        let Some(got) = &device.got else {
            wrong.push(format!("{name}: no certificate: {:?}", device.trouble));
            continue;
        };
        // A CA that cannot say whether it has issued makes the service refuse; the device then begins anew.
        if !device.trouble.is_empty() && state.ca.kind != CaKind::Blind {
            wrong.push(format!("{name}: {:?}", device.trouble));
        }
        wrong.extend(is_alive(state, got).err().map(|error| format!("{name}: {error}")));
        let thumbprint = got.thumbprint(provider()).unwrap().to_string();
        let told = state.notified.get(device.transaction()).cloned().unwrap_or_default();
        if told != [thumbprint.clone()] {
            wrong.push(format!("{name}: Intune was told of {told:?}, the device has {thumbprint}"));
        }
    }
    let undelivered = state.undelivered();
    if state.ca.kind != CaKind::Blind {
        if !undelivered.is_empty() {
            wrong.push(format!("{} certificates stay live that nobody got", undelivered.len()));
        }
    } else {
        // A request has one row for all that was issued for it; SCEP, which asks once, has one for each certificate.
        match open_rows(journal, RowKind::Orphan) {
            Err(error) => wrong.push(error),
            Ok(listed) if state.devices.is_empty() => {
                let missing = undelivered.iter().filter(|key| !listed.contains(key)).count();
                if missing > 0 {
                    wrong.push(format!("{missing} certificates live at the blind CA that nobody got, and the orphan ledger has not"));
                }
            }
            Ok(listed) if listed.len() < undelivered.len() => {
                let (live, listed) = (undelivered.len(), listed.len());
                wrong.push(format!("{live} certificates live at the blind CA that nobody got, and the orphan ledger has {listed}"));
            }
            Ok(_) => {}
        }
    }
    match open_rows(journal, RowKind::Request) {
        Ok(open) if open.is_empty() => {}
        open => wrong.push(format!("the journal has open requests at the end: {open:?}")),
    }
    wrong
}

/// Exactly one, and the right one.
pub fn result(state: &State, request: &Request) -> Result<(), String> {
    let id = &request.item.meta.id;
    match &request.results[..] {
        [] => Err(format!("{id}: lost, the queue has no result")),
        [only] => opens(state, request, only).map_err(|error| format!("{id}: {error}")),
        several => Err(format!("{id}: {} different results were uploaded", several.len())),
    }
}

fn open_rows(journal: &Path, kind: RowKind) -> Result<Vec<IdempotencyKey>, String> {
    let journal = SqliteJournal::open(journal).map_err(|error| error.to_string())?;
    let runtime = StdRuntime::with_threads(1, 1).map_err(|error| error.to_string())?;
    let rows = runtime.block_on(journal.load(LoadRequest::Open { kind, max: 10_000 })).map_err(|error| error.to_string())?;
    Ok(rows.into_iter().map(|row| row.key.key).collect())
}

fn is_alive(state: &State, certificate: &Certificate) -> Result<(), String> {
    match state.ca.ledger.iter().find(|entry| entry.certificate.der() == certificate.der()) {
        None => Err("the CA's ledger does not have the certificate".to_owned()),
        Some(entry) if entry.revoked => Err("the certificate is revoked".to_owned()),
        Some(_) => Ok(()),
    }
}

fn opens(state: &State, request: &Request, outcome: &Outcome) -> Result<(), String> {
    if let Some(failure) = outcome.failure() {
        return Err(failure);
    }
    match outcome {
        Outcome::Pkcs(result) => {
            let password = Password::from(FIXTURE.open(&result.password_envelope)?);
            let file = FIXTURE.open(&result.pfx_envelope)?;
            let opened = pfx::open(file.secret_bytes(), Some(&password), provider(), &Limits::default());
            let opened = opened.and_then(|opened| opened.into_mac_verified()).map_err(|error| error.to_string())?;
            let identity = opened.contents().identity().map_err(|error| error.to_string())?;
            let leaf = Certificate::from_der(&identity.certificate.der, &Limits::default()).map_err(|error| error.to_string())?;
            let key = provider().signing_keys().unwrap().load(&identity.key.key).map_err(|error| error.to_string())?;
            if leaf.serial() != Some(&result.serial) || key.public_key().as_ref() != leaf.spki() {
                return Err("the result names another certificate or key than the file holds".to_owned());
            }
            is_alive(state, &leaf)
        }
        Outcome::Recrypt(result) if FIXTURE.open(&result.envelope)?.secret_bytes() == PAYLOAD => Ok(()),
        Outcome::Import(result) if FIXTURE.open(&result.password_envelope)?.secret_bytes() == IMPORT_PASSWORD.as_bytes() => Ok(()),
        Outcome::Revoke(_) => {
            let revoked = state.ca.ledger.iter().any(|entry| Some(&entry.serial) == request.serial.as_ref() && entry.revoked);
            if revoked { Ok(()) } else { Err("it is not revoked at the CA".to_owned()) }
        }
        other => Err(format!("the content changed, or it is of another flow: {other:?}")),
    }
}

/// Versions that were answered as stored, and are not there any more. The judges then go by what is there.
pub fn forgotten(state: &mut State, journal: &Path) -> Vec<String> {
    if state.stored.is_empty() {
        return Vec::new();
    }
    let opened = match SqliteJournal::open(journal) {
        Ok(opened) => opened,
        Err(error) => return vec![format!("the journal cannot be read: {error}")],
    };
    let runtime = StdRuntime::with_threads(1, 1).unwrap();
    let keys = state.stored.keys().copied().collect();
    let rows = match runtime.block_on(opened.load(LoadRequest::Keys(keys))) {
        Ok(rows) => rows,
        Err(error) => return vec![format!("the journal cannot be read: {error}")],
    };
    let mut wrong = Vec::new();
    for (key, version) in &mut state.stored {
        let there = rows.iter().find(|row| row.key == *key).map_or(0, |row| row.version);
        if there < *version {
            wrong.push(format!("{:?}: a commit was answered as stored, version {version}, and version {there} is there", key.kind));
            *version = there;
        }
    }
    wrong
}
