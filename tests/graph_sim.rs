//! The bulk import against the simulated Intune, with tokens from its authority and faults by seed: nothing lost, nothing doubled.

#![cfg(all(feature = "sim", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/pki.rs"]
mod pki;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use intune_connector::adapters::VirtualRuntime;
use intune_connector::adapters::entra::{ClientCredentials, Credential, SecretSource, TokenSource};
use intune_connector::adapters::graph::{
    BulkImport, GraphErrorKind, GraphPfx, GraphSettings, ImportKey, ImportList, IntendedPurpose, OnExisting, PfxChecks, PfxFilter,
    PfxFolder, Removal, ResultFile, RowOutcome,
};
use intune_connector::crypto::{CryptoProvider, DecryptionKey, unwrap_now};
use intune_connector::message::pfx::PfxBuilder;
use intune_connector::message::public_key::RsaPublicKey;
use intune_connector::message::reencrypt::{LegacyPadding, PasswordOpening};
use intune_connector::secret::{Password, SecretBytes};
use intune_connector::sim::{FaultPlan, Role, SimulatedIntune};
use intune_connector::terms::{KeyAlgorithm, PaddingScheme, PfxProfile, SubjectAltName};
use intune_connector::time::Timestamp;

const USERS: usize = 7;
const PASSWORD: &str = "correct-horse-battery-staple";

static PROVIDER: LazyLock<CryptoProvider> = LazyLock::new(CryptoProvider::ring_and_aws_lc_rs);
static IMPORT: LazyLock<Arc<dyn DecryptionKey>> = LazyLock::new(|| {
    let key = PROVIDER.key_generation().unwrap().generate(KeyAlgorithm::Rsa2048).unwrap();
    PROVIDER.decryption_keys().unwrap().load(&key).unwrap()
});

/// The files of all users, made once.
static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let root = pki::root(&PROVIDER, "Mail CA");
    for number in 0..USERS {
        let names = [SubjectAltName::Email(upn(number))];
        let leaf = pki::leaf(&PROVIDER, &root, "CN=User", KeyAlgorithm::EcP256, |builder| builder.subject_alt_names(&names));
        let builder = PfxBuilder::new(PfxProfile::Modern).key(&leaf.key).certificate(&leaf.certificate).iterations(2_000);
        let pfx = builder.build(&Password::from(PASSWORD), &PROVIDER).unwrap();
        std::fs::write(folder.path().join(format!("{number}.pfx")), pfx.secret_bytes()).unwrap();
    }
    folder
});

/// The first has an apostrophe in it.
fn upn(number: usize) -> String {
    if number == 0 { "o'hara@contoso.example".to_owned() } else { format!("user{number}@contoso.example") }
}

struct Bench {
    intune: SimulatedIntune,
    runtime: VirtualRuntime,
    client: GraphPfx,
    import: BulkImport,
}

fn bench(seed: u64, plan: FaultPlan) -> Bench {
    let runtime = VirtualRuntime::new(Timestamp::system_now());
    let shared = Arc::new(runtime.clone());
    let intune = SimulatedIntune::builder(PROVIDER.clone(), shared.clone()).seed(seed).faults(plan).page_size(2).build().unwrap();
    for number in 0..USERS {
        intune.add_user(&upn(number)).unwrap();
    }
    let (cloud, transport) = (intune.cloud(), intune.transport());
    let secret = Credential::client_secret(SecretSource::literal(intune.client_secret().into()));
    let tokens = ClientCredentials::builder(intune.tenant_id(), intune.client_id(), secret)
        .authority(&cloud.authority)
        .dangerous_plain_http_on_loopback(true)
        .build(transport.clone(), shared.clone(), PROVIDER.clone())
        .unwrap();
    let tokens: Arc<dyn TokenSource> = Arc::new(tokens);
    let settings = GraphSettings::at(&cloud.graph).with_scope(&cloud.graph_scope).dangerously_plain_http_on_loopback();
    let client = GraphPfx::new(transport, tokens, shared, PROVIDER.clone(), settings).unwrap();
    let public = RsaPublicKey::from_spki(&IMPORT.public_key()).unwrap();
    let checks = PfxChecks::new(ImportKey::read(public.spki(), "Contoso Provider", "import").unwrap());
    let import = BulkImport::new(client.clone(), checks, PfxFolder::new(FOLDER.path()), PROVIDER.clone());
    Bench { intune, runtime, client, import }
}

fn list() -> ImportList {
    let rows: String = (0..USERS).map(|number| format!("{number}.pfx,{},{PASSWORD}\n", upn(number))).collect();
    let csv = SecretBytes::new(format!("file,upn,password\n{rows}").into_bytes());
    ImportList::read(&csv, Some(IntendedPurpose::SmimeEncryption)).unwrap()
}

#[test]
fn records_are_created_found_listed_updated_and_deleted() {
    let Bench { intune, runtime, client, import } = bench(1, FaultPlan::none());
    let summary = runtime.block_on(import.run(list(), None, |_| {})).unwrap().unwrap();
    assert_eq!(summary.count(RowOutcome::Created), USERS);
    let all = runtime.block_on(client.list(PfxFilter::All)).unwrap().unwrap();
    assert_eq!(all.len(), USERS);
    for record in intune.pfx_records() {
        let opening = PasswordOpening::new(
            record.encrypted_pfx_password.secret_bytes().to_vec(),
            PaddingScheme::OaepSha512,
            LegacyPadding::Refuse,
            &PROVIDER,
        );
        let opening = opening.unwrap();
        let unwrapped = unwrap_now(IMPORT.as_ref(), opening.unwrap_request());
        assert_eq!(opening.finish(unwrapped).unwrap().password().secret_bytes(), PASSWORD.as_bytes());
    }
    let summary = runtime.block_on(import.clone().with_on_existing(OnExisting::Update).run(list(), None, |_| {})).unwrap().unwrap();
    assert_eq!(summary.count(RowOutcome::Updated), USERS);
    let mine = runtime.block_on(client.list(PfxFilter::User("O'HARA@contoso.example".to_owned()))).unwrap().unwrap();
    let [mine] = &mine[..] else { panic!("{mine:?}") };
    assert_eq!(runtime.block_on(client.delete(&mine.id)).unwrap().unwrap(), Removal::Deleted);
    assert_eq!(runtime.block_on(client.delete(&mine.id)).unwrap().unwrap(), Removal::NotThere);
    assert_eq!(intune.pfx_records().len(), USERS - 1);
    let nobody = runtime.block_on(client.user_id("nobody@contoso.example")).unwrap().unwrap_err();
    assert_eq!(nobody.kind(), GraphErrorKind::NotFound);
}

#[test]
fn a_role_that_is_missing_is_named_and_one_that_is_granted_later_is_used() {
    let Bench { intune, runtime, client, .. } = bench(2, FaultPlan::none());
    intune.revoke_role(Role::DeviceManagementConfigurationReadWriteAll);
    let error = runtime.block_on(client.list(PfxFilter::All)).unwrap().unwrap_err();
    assert!(error.kind() == GraphErrorKind::Denied && error.to_string().contains("DeviceManagementConfiguration.ReadWrite.All"), "{error}");
    intune.grant(Role::DeviceManagementConfigurationReadWriteAll);
    runtime.advance(Duration::from_secs(1));
    assert_eq!(runtime.block_on(client.list(PfxFilter::All)).unwrap().unwrap(), []);
}

#[test]
fn under_harsh_faults_runs_that_are_repeated_end_with_one_record_for_each_row() {
    let (mut faults, mut runs) = (0, 0);
    for seed in 0..150 {
        let Bench { intune, runtime, import, .. } = bench(seed, FaultPlan::harsh());
        let dir = tempfile::tempdir().unwrap();
        let mut clean = false;
        for _ in 0..12 {
            runs += 1;
            let mut results = ResultFile::open(&dir.path().join("results.csv")).unwrap();
            let mut told = 0;
            let summary = runtime.block_on(import.run(list(), Some(&mut results), |_| told += 1)).unwrap().unwrap();
            assert_eq!((told, summary.total()), (USERS, USERS), "seed {seed}");
            clean = summary.is_clean();
            if clean {
                break;
            }
        }
        assert!(clean, "seed {seed}: {}", std::fs::read_to_string(dir.path().join("results.csv")).unwrap());
        let mut users: Vec<String> = intune.pfx_records().into_iter().map(|record| record.user_principal_name).collect();
        users.sort();
        let mut expected: Vec<String> = (0..USERS).map(upn).collect();
        expected.sort();
        assert_eq!(users, expected, "seed {seed}");
        faults += intune.played_faults().len();
    }
    assert!(faults > 150 * 3, "{faults} faults in {runs} runs");
}
