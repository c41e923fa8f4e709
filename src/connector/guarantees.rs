//! Which promises hold with the ports as they are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::handle::Control;
use crate::ids::CaName;
use crate::ports::{CaCapabilities, Journal, JournalScope};
use crate::terms::Flow;

/// What is known about a request after the process died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Durability {
    /// Nothing: requests are done again when the queue delivers them again.
    Volatile,
    /// How far it came.
    Durable,
}

/// How many certificates one request can lead to when an answer of the CA is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Issuance {
    /// A second certificate may come into being, and nobody is told of the first.
    MayDouble,
    /// The CA is asked what it did before it is asked again.
    FoundFirst,
    /// The CA gives the same certificate for the same request.
    Idempotent,
}

/// The promises of one connector, from what its queue, journal and CAs can do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Guarantees {
    /// What survives the process.
    pub durability: Durability,
    /// How far the journal's knowledge reaches.
    pub scope: JournalScope,
    /// By flow and CA.
    pub issuance: BTreeMap<(Flow, CaName), Issuance>,
    /// Flows whose queue may deliver a request to another instance too.
    pub redelivered_elsewhere: Vec<Flow>,
}

impl Guarantees {
    pub(super) fn of(journal: &dyn Journal, control: &Control) -> Self {
        let mut issuance = BTreeMap::new();
        let mut redelivered_elsewhere = Vec::new();
        for (flow, control) in control.flows().iter() {
            for (ca, capabilities) in control.spec.worker.authorities() {
                issuance.insert((*flow, ca), of_ca(&capabilities));
            }
            if control.spec.settings.queue.capabilities().redelivers_elsewhere {
                redelivered_elsewhere.push(*flow);
            }
        }
        Self {
            durability: if journal.is_durable() { Durability::Durable } else { Durability::Volatile },
            scope: journal.scope(),
            issuance,
            redelivered_elsewhere,
        }
    }
}

fn of_ca(capabilities: &CaCapabilities) -> Issuance {
    if capabilities.idempotent_issue {
        Issuance::Idempotent
    } else if capabilities.find {
        Issuance::FoundFirst
    } else {
        Issuance::MayDouble
    }
}
