//! What the crate's own test of the restriction runs, here inside the module and under `require_fips()`.

#[path = "../../support/fips_flows.rs"]
mod flows;
#[path = "../../support/pki.rs"]
mod pki;
#[path = "../../support/providers.rs"]
mod providers;
#[path = "../../support/fips_refusals.rs"]
mod refusals;
#[path = "../../support/scep_lab.rs"]
mod scep_lab;

use std::sync::Arc;

use intune_connector::adapters::VolatileJournal;
use intune_connector::connector::{Connector, ConnectorBuilder};
use intune_connector::crypto::CryptoProvider;
use scep_lab::{Lab, TestCa, shared_key};

fn provider() -> CryptoProvider {
    CryptoProvider::aws_lc_rs()
}

fn builder() -> ConnectorBuilder {
    Connector::builder(provider(), Arc::new(VolatileJournal::new())).require_fips()
}

fn scep_lab() -> Lab {
    Lab::on(provider(), TestCa::new(shared_key(0)), |builder| builder.require_fips())
}
