//! The SCEP service beyond a first enrolment: renewals, polls, queries, repeats, rollovers, and the settings for what the RFC and real clients disagree on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "support functions of tests")]
#![cfg(all(feature = "scep", feature = "ring", feature = "aws-lc-rs"))]

#[path = "support/scep_lab.rs"]
mod scep_lab;

mod support;

#[path = "scep_protocol/forms.rs"]
mod forms;
#[path = "scep_protocol/idempotency.rs"]
mod idempotency;
#[path = "scep_protocol/orphans.rs"]
mod orphans;
#[path = "scep_protocol/pending.rs"]
mod pending;
#[path = "scep_protocol/query.rs"]
mod query;
#[path = "scep_protocol/registration.rs"]
mod registration;
#[path = "scep_protocol/renewal.rs"]
mod renewal;
#[path = "scep_protocol/rollover.rs"]
mod rollover;

use std::sync::OnceLock;
use std::time::Duration;

use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::scep::{FailInfo, MessageType, PkiRequestBuilder, PkiStatus, ScepResponse};
use intune_connector::terms::KeyAlgorithm;

use scep_lab::{Client, KeyPair, Lab, key_pair};

const DAY: Duration = Duration::from_secs(86_400);

/// A key besides those that the lab shares.
fn new_key() -> &'static KeyPair {
    static KEY: OnceLock<KeyPair> = OnceLock::new();
    KEY.get_or_init(|| key_pair(KeyAlgorithm::Rsa2048))
}

/// Enrols, and gives the client with its certificate.
fn enrolled(lab: &Lab) -> (Client, Certificate) {
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    let certificate = client.certificate(&client.reply(&lab.post(&message), &to, &lab.ra));
    (client, certificate)
}

/// Sends a body of that type; gives the answer.
fn ask(lab: &Lab, client: &Client, message_type: MessageType, body: &[u8]) -> ScepResponse {
    let builder = PkiRequestBuilder::new(message_type, client.transaction.clone(), body);
    let (message, to) = client.message_with(&lab.ra, builder);
    client.reply(&lab.post(&message), &to, &lab.ra)
}

fn outcome(reply: &ScepResponse) -> (PkiStatus, Option<FailInfo>) {
    (reply.status(), reply.fail_info())
}

fn read(der: &[u8]) -> Certificate {
    Certificate::from_der(der, &Limits::default()).unwrap()
}
