//! Judges a run from outside the connector: by the ledgers of Intune and CA, and with the devices' keys.

use std::collections::BTreeMap;

use intune_connector::crypto::CryptoProvider;
use intune_connector::event::Event;
use intune_connector::ids::RequestId;
use intune_connector::ports::Outcome;
use intune_connector::terms::Flow;

use crate::device::{Checked, Device};
use crate::scep::Enrolments;
use crate::tenant::{Expect, IMPORT_PASSWORD, PAYLOAD, Tenant};

/// What went wrong, one sentence each.
pub fn faults(provider: &CryptoProvider, tenant: &Tenant, enrolments: &Enrolments, admin_events: &[Event]) -> Vec<String> {
    let mut faults = enrolments.faults.clone();
    let accepted = tenant.intune.accepted();
    for ((flow, id), expect) in &tenant.expected {
        let outcome = accepted.get(&(*flow, id.clone()));
        match (expect, outcome) {
            (Expect::Untouched, None) => {}
            (Expect::Untouched, Some(_)) => faults.push(format!("{id}: another connector's request was answered")),
            (_, None) => faults.push(format!("{id}: lost, the queue has no result")),
            (Expect::Success, Some(outcome)) if outcome.failure().is_some() => {
                faults.push(format!("{id}: failed: {}", outcome.failure().unwrap_or_default()));
            }
            (Expect::Failure, Some(outcome)) if outcome.failure().is_none() => faults.push(format!("{id}: succeeded, but must not")),
            (Expect::Failure, Some(_)) => {}
            (Expect::Success, Some(outcome)) => {
                if let Err(error) = opens_on_device(provider, tenant, id, outcome) {
                    faults.push(format!("{id}: {error}"));
                }
            }
        }
    }
    faults.extend(tenant.intune.changed_results().iter().map(|id| format!("{id}: a second, different result was uploaded")));
    faults.extend(doubled_certificates(tenant, enrolments.issued));
    faults.extend(doubled_admin_events(tenant, admin_events));
    let scep = admin_events.iter().filter(|event| event.key.flow == Some(Flow::Scep)).count() as u64;
    if scep != enrolments.sent {
        faults.push(format!("{scep} Admin events for {} SCEP messages", enrolments.sent));
    }
    faults
}

fn opens_on_device(provider: &CryptoProvider, tenant: &Tenant, id: &RequestId, outcome: &Outcome) -> Checked<()> {
    let device = device_of(tenant, id);
    match outcome {
        Outcome::Pkcs(result) => device.check_pkcs(provider, result, &tenant.roots()),
        Outcome::Recrypt(result) => {
            let content = device.open_envelope(provider, &result.envelope)?;
            if content.secret_bytes() == PAYLOAD { Ok(()) } else { Err("the payload changed".into()) }
        }
        Outcome::Import(result) => {
            let password = device.open_envelope(provider, &result.password_envelope)?;
            if password.secret_bytes() == IMPORT_PASSWORD.as_bytes() { Ok(()) } else { Err("the password changed".into()) }
        }
        _ => Ok(()),
    }
}

/// Requests carry their number in the id; the device is the number modulo the devices, as the tenant chose it.
fn device_of<'a>(tenant: &'a Tenant, id: &RequestId) -> &'a Device {
    let number: usize = id.as_str().split('-').nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
    &tenant.devices[number % tenant.devices.len()]
}

/// By the CAs' own ledgers: no key has two living certificates, and what was issued for requests is what was delivered.
fn doubled_certificates(tenant: &Tenant, enrolled: u64) -> Vec<String> {
    let mut faults = Vec::new();
    let mut living = 0_u64;
    for ca in [&tenant.ca, &tenant.digicert] {
        let mut by_request: BTreeMap<_, usize> = BTreeMap::new();
        for issued in ca.issued().into_iter().filter(|issued| issued.revoked.is_none()) {
            if let Some(key) = issued.idempotency_key {
                *by_request.entry(key).or_default() += 1;
                living += 1;
            }
        }
        faults.extend(
            by_request.iter().filter(|(_, count)| **count > 1).map(|(key, count)| format!("request {key}: {count} living certificates")),
        );
    }
    let delivered = tenant.intune.accepted().values().filter(|outcome| matches!(outcome, Outcome::Pkcs(_))).count() as u64 + enrolled;
    if living != delivered {
        faults.push(format!("the CAs have {living} living certificates for requests, {delivered} were delivered"));
    }
    faults
}

fn doubled_admin_events(tenant: &Tenant, events: &[Event]) -> Vec<String> {
    let mut count: BTreeMap<(Flow, &str), usize> = BTreeMap::new();
    for event in events.iter().filter(|event| event.id.is_documented()) {
        if let Some(flow) = event.key.flow {
            *count.entry((flow, event.key.scope.as_str())).or_default() += 1;
        }
    }
    let wanted = |expect: &Expect| usize::from(*expect != Expect::Untouched);
    tenant
        .expected
        .iter()
        .map(|((flow, id), expect)| (id, wanted(expect), count.get(&(*flow, id.as_str())).copied().unwrap_or(0)))
        .filter(|(_, wanted, found)| wanted != found)
        .map(|(id, wanted, found)| format!("{id}: {found} Admin events instead of {wanted}"))
        .collect()
}
