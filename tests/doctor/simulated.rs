//! Against the simulated Intune: a real credential, real tokens with roles, and a ledger that tells what arrived.

use std::sync::Arc;

use intune_connector::adapters::VirtualRuntime;
use intune_connector::adapters::entra::{ClientCredentials, Credential, SecretSource};
use intune_connector::crypto::CryptoProvider;
use intune_connector::doctor::{Check, Doctor, OnlineChecks, Report, Severity};
use intune_connector::ports::Runtime;
use intune_connector::secret::Password;
use intune_connector::sim::{Endpoint, Role, SimulatedIntune};

use super::expect;
use super::world::now;
use Severity::{Error, Ok as Good};

fn examine(spoil: impl FnOnce(&SimulatedIntune)) -> (Report, SimulatedIntune) {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let clock = VirtualRuntime::new(now());
    let runtime: Arc<dyn Runtime> = Arc::new(clock.clone());
    let intune = SimulatedIntune::builder(provider.clone(), Arc::clone(&runtime)).build().unwrap();
    spoil(&intune);
    let credential = Credential::client_secret(SecretSource::literal(Password::from(intune.client_secret())));
    let tokens = ClientCredentials::builder(intune.tenant_id(), intune.client_id(), credential)
        .authority(&intune.cloud().authority)
        .build(intune.transport(), Arc::clone(&runtime), provider.clone())
        .unwrap();
    let checks = OnlineChecks::new(intune.tenant_id(), Arc::new(tokens), intune.transport()).cloud(intune.cloud()).with_import();
    let report = clock.block_on(Doctor::new(provider, runtime).online(checks).run()).unwrap();
    (report, intune)
}

#[test]
fn a_simulated_tenant_is_well_and_no_revocation_is_downloaded() {
    let (report, intune) = examine(|_| {});
    assert_eq!(report.exit_code(), 0, "{report}");
    for check in [Check::Token, Check::Role, Check::Permission, Check::Discovery] {
        assert!(report.of(check).count() > 1 && report.of(check).all(|finding| finding.severity == Good), "{check}\n{report}");
    }
    // What arrived, by the simulator's own reading: tokens, metadata, discovery and one page of the list.
    let harmless = [Endpoint::Token, Endpoint::Metadata, Endpoint::Discovery, Endpoint::PfxList];
    let arrived: Vec<Endpoint> = intune.arrivals().iter().map(|arrival| arrival.endpoint).collect();
    assert!(harmless.iter().all(|endpoint| arrived.contains(endpoint)), "{arrived:?}");
    assert!(arrived.iter().all(|endpoint| harmless.contains(endpoint)), "{arrived:?}");
}

#[test]
fn each_missing_grant_and_licence_is_found() {
    let without = |role| examine(|intune| intune.revoke_role(role)).0;
    let report = without(Role::ScepChallengeProvider);
    expect(&report, Check::Role, Error, "no role scep_challenge_provider", "of the Intune API");
    let report = without(Role::ApplicationReadAll);
    expect(&report, Check::Permission, Error, "403", "Application.Read.All");
    let report = without(Role::DeviceManagementConfigurationReadWriteAll);
    expect(&report, Check::Permission, Error, "403", "DeviceManagementConfiguration.ReadWrite.All");
    let (report, _) = examine(|intune| intune.set_licensed(false));
    expect(&report, Check::Discovery, Error, "service not found", "Intune licence");
    let (report, _) = examine(|intune| intune.expire_secret(Some(now())));
    expect(&report, Check::Token, Error, "AADSTS7000222", "make a new one");
}
