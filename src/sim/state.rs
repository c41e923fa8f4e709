//! What changes while a simulator runs.

use std::collections::BTreeSet;

use super::entra::{Credentials, Role};
use super::faults::FaultState;
use super::graph::PfxStore;
use super::ledger::Ledger;
use super::location::Location;
use super::revocation::RevocationBook;
use super::scep::{Challenges, ProvokedCodes};

pub(super) struct State {
    /// Scheme and authority, without a `/` at the end.
    pub(super) base: String,
    pub(super) location: Location,
    pub(super) roles: BTreeSet<Role>,
    pub(super) licensed: bool,
    pub(super) credentials: Credentials,
    pub(super) token_generation: i64,
    pub(super) challenges: Challenges,
    pub(super) provoked: ProvokedCodes,
    pub(super) ledger: Ledger,
    pub(super) revocation: RevocationBook,
    pub(super) pfx: PfxStore,
    pub(super) faults: FaultState,
    pub(super) arrivals: super::arrivals::Arrivals,
}
