//! What needs no Intune: CAs, keys, certificates, journal, disk, host.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::adapters::{LocalCa, MemoryDecryptionKeys, VolatileJournal};
use intune_connector::crypto::{CryptoProvider, DecryptionKey, UnwrapError, UnwrapRequest, sign_now};
use intune_connector::doctor::{Check, Report, Severity};
use intune_connector::import::generate_import_key;
use intune_connector::lifecycle::Release;
use intune_connector::message::crl::CrlBuilder;
use intune_connector::ports::{
    CaCapabilities, CertificateAuthority, Change, ClaimRequest, CommitAnswer, DecryptionKeys, FindAnswer, FindRequest, HealthMessage,
    ImportKeyName, IssueAnswer, IssueRequest, Journal, JournalScope, JournalStats, LoadRequest, PortError, PruneRequest, RenewRequest,
    RevokeAnswer, RevokeCall, Row, RowKey,
};
use intune_connector::secret::SecretBytes;
use intune_connector::terms::KeyAlgorithm;
use intune_connector::time::Timestamp;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, SubjectPublicKeyInfoDer};

use super::world::{now, run};
use super::{expect, pki};
use Severity::{Error, Info, Ok as Good, Skipped, Warning};

/// A CA with a chain and a CRL that a test chooses; everything that changes something ends the process.
#[derive(Debug)]
struct ReadOnlyCa {
    chain: fn() -> Result<Vec<CertificateDer<'static>>, PortError>,
    crl: fn() -> Result<CertificateRevocationListDer<'static>, PortError>,
}

#[async_trait]
impl CertificateAuthority for ReadOnlyCa {
    fn capabilities(&self) -> CaCapabilities {
        CaCapabilities::minimal()
    }
    async fn issue(&self, _: IssueRequest<'_>) -> Result<IssueAnswer, PortError> {
        std::process::abort()
    }
    async fn find(&self, _: FindRequest<'_>) -> Result<FindAnswer, PortError> {
        std::process::abort()
    }
    async fn revoke(&self, _: RevokeCall<'_>) -> Result<RevokeAnswer, PortError> {
        std::process::abort()
    }
    async fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PortError> {
        (self.chain)()
    }
    async fn crl(&self) -> Result<CertificateRevocationListDer<'static>, PortError> {
        (self.crl)()
    }
}

fn no_crl() -> Result<CertificateRevocationListDer<'static>, PortError> {
    Err(PortError::unsupported("this CA gives no CRL"))
}

fn root_of(days: u64) -> pki::Identity {
    let provider = pki::provider();
    let root = pki::root(&provider, "issuing CA");
    let (from, end) = (now().saturating_sub(pki::DAY), now().saturating_add(Duration::from_secs(days * 86_400)));
    let certificate = pki::certify(&provider, &root, &root.name, &root.spki(), from, end, |builder| builder.ca(None));
    pki::Identity { certificate, ..root }
}

fn crl_of(days: i64, foreign: bool) -> (CertificateDer<'static>, CertificateRevocationListDer<'static>) {
    let root = root_of(1_000);
    let signer = if foreign { root_of(1_000).signer } else { root.signer.clone() };
    let next = Timestamp::from_secs(now().as_secs() + days * 86_400);
    let algorithm = pki::algorithm_of(&*signer);
    let unsigned = CrlBuilder::new(root.name.clone(), now().saturating_sub(2 * pki::DAY), next, 7).to_be_signed(algorithm).unwrap();
    let signature = sign_now(&*signer, algorithm, unsigned.message()).unwrap();
    (root.certificate, CertificateRevocationListDer::from(unsigned.finish(&signature)))
}

type Chain = fn() -> Result<Vec<CertificateDer<'static>>, PortError>;
type GivesCrl = fn() -> Result<CertificateRevocationListDer<'static>, PortError>;

fn with_ca(chain: Chain, crl: GivesCrl) -> Report {
    run(|doctor| doctor.ca("Contoso CA".parse().unwrap(), Arc::new(ReadOnlyCa { chain, crl })))
}

#[test]
fn a_ca_that_is_well_tells_its_name_its_end_and_its_crl() {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let ca = LocalCa::new(provider, "Contoso CA".parse().unwrap(), KeyAlgorithm::EcP256).unwrap();
    let report = run(|doctor| doctor.ca("Contoso CA".parse().unwrap(), Arc::new(ca)));
    assert_eq!(report.exit_code(), 0, "{report}");
    expect(&report, Check::Ca, Good, "it answers, and issues as", "");
    expect(&report, Check::CaCertificate, Good, "days", "");
    assert!(report.of(Check::Crl).next().is_some(), "{report}");
}

#[test]
fn a_ca_that_cannot_be_reached_is_told_from_one_that_lets_nobody_in() {
    let report = with_ca(|| Err(PortError::transient("connection refused")), no_crl);
    expect(&report, Check::Ca, Error, "connection refused", "this host reaches it");
    expect(&report, Check::Crl, Skipped, "gives no CRL", "");
    expect(&report, Check::Ca, Info, "neither idempotent nor can it find", "");
    let report = with_ca(|| Err(PortError::misconfigured("access denied")), no_crl);
    expect(&report, Check::Ca, Error, "access denied", "permissions of the connector at the CA");
    expect(&with_ca(|| Ok(Vec::new()), no_crl), Check::Ca, Error, "chain is empty", "issuing certificate first");
    expect(&with_ca(|| panic!("planted"), no_crl), Check::Ca, Error, "code panicked", "report it");
}

#[test]
fn a_ca_certificate_is_warned_of_before_its_end() {
    let report = with_ca(|| Ok(vec![root_of(10).certificate]), no_crl);
    expect(&report, Check::CaCertificate, Warning, "in 10 days", "give the new one to the devices");
    assert_eq!(report.exit_code(), 1, "{report}");
    let leaf = || Ok(vec![pki::leaf(&pki::provider(), &root_of(99), "CN=leaf", KeyAlgorithm::EcP256, |builder| builder).certificate]);
    expect(&with_ca(leaf, no_crl), Check::CaCertificate, Error, "is not a CA's", "issuing certificate first");
    expect(&with_ca(|| Ok(vec![CertificateDer::from(vec![1, 2])]), no_crl), Check::CaCertificate, Error, "cannot be read", "DER");
}

#[test]
fn a_crl_that_should_have_been_replaced_is_an_error() {
    thread_local! {
        static MADE: Mutex<Option<(CertificateDer<'static>, CertificateRevocationListDer<'static>)>> = const { Mutex::new(None) };
    }
    let with = |days, foreign| {
        MADE.with(|made| *made.lock().unwrap() = Some(crl_of(days, foreign)));
        with_ca(
            || MADE.with(|made| Ok(vec![made.lock().unwrap().as_ref().unwrap().0.clone()])),
            || MADE.with(|made| Ok(made.lock().unwrap().as_ref().unwrap().1.clone())),
        )
    };
    expect(&with(7, false), Check::Crl, Good, "of 0 entries is replaced at", "");
    expect(&with(-1, false), Check::Crl, Error, "should have been replaced", "publish a new CRL");
    expect(&with(7, true), Check::Crl, Error, "not signed by its first certificate", "the key that issues");
    let unreadable: GivesCrl = || Ok(CertificateRevocationListDer::from(vec![1]));
    expect(&with_ca(|| Ok(vec![root_of(99).certificate]), unreadable), Check::Crl, Error, "cannot be read", "DER");
}

fn key_name() -> ImportKeyName {
    ImportKeyName { provider: "Contoso KSP".to_owned(), key: "import".to_owned() }
}

/// A key that says of itself what is not so, or is away.
#[derive(Debug)]
struct OddKey {
    public: SubjectPublicKeyInfoDer<'static>,
    real: Option<Arc<dyn DecryptionKey>>,
}

#[async_trait]
impl DecryptionKey for OddKey {
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.public.clone()
    }
    async fn unwrap(&self, request: &UnwrapRequest) -> Result<SecretBytes, UnwrapError> {
        match &self.real {
            Some(real) => real.unwrap(request).await,
            None => Err(UnwrapError::Unavailable(None)),
        }
    }
}

#[test]
fn an_import_key_is_tried_out() {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let [one, other] = [(); 2].map(|()| generate_import_key(&provider, KeyAlgorithm::Rsa2048).unwrap().decryption_key);
    let with = |keys: Vec<Arc<dyn DecryptionKey>>| {
        let store = MemoryDecryptionKeys::new();
        keys.into_iter().for_each(|key| store.insert(key_name(), key));
        run(|doctor| doctor.import_key(key_name(), Arc::new(store)))
    };
    let report = with(vec![one.clone()]);
    assert_eq!((report.exit_code(), expect(&report, Check::ImportKey, Good, "decrypts", "").subject.as_str()), (0, "Contoso KSP/import"));
    expect(&with(Vec::new()), Check::ImportKey, Error, "no key of this name", "on every instance");
    let odd = |real| -> Arc<dyn DecryptionKey> { Arc::new(OddKey { public: one.public_key(), real }) };
    expect(&with(vec![odd(None)]), Check::ImportKey, Error, "out of reach", "HSM");
    expect(&with(vec![odd(Some(other))]), Check::ImportKey, Error, "does not decrypt what is encrypted to its own public key", "RSA 2048");
    let report = with(vec![one.clone(); 5]);
    expect(&report, Check::ImportKey, Warning, "only the first 4 are tried", "take the oldest away");
}

#[derive(Debug)]
struct KeysAway(fn(&'static str) -> PortError);

#[async_trait]
impl DecryptionKeys for KeysAway {
    async fn find(&self, _: &ImportKeyName) -> Result<Vec<Arc<dyn DecryptionKey>>, PortError> {
        Err((self.0)("no session"))
    }
}

#[test]
fn a_key_store_that_does_not_answer_is_an_error() {
    let with = |error| run(|doctor| doctor.import_key(key_name(), Arc::new(KeysAway(error))));
    expect(&with(PortError::transient), Check::ImportKey, Error, "no session", "the key store runs");
    expect(&with(PortError::misconfigured), Check::ImportKey, Error, "no session", "let the connector's account use the key");
}

#[test]
fn certificates_that_the_connector_works_with_are_warned_of() {
    let with = |der: CertificateDer<'static>| run(|doctor| doctor.certificate("RA", der));
    expect(&with(root_of(5).certificate), Check::Certificate, Warning, "in 5 days", "with its key");
    expect(&with(root_of(50).certificate), Check::Certificate, Good, "for 50 days", "");
    expect(&with(CertificateDer::from(vec![0])), Check::Certificate, Error, "cannot be read", "DER");
}

#[derive(Debug)]
struct SickJournal(Result<JournalStats, &'static str>);

#[async_trait]
impl Journal for SickJournal {
    fn scope(&self) -> JournalScope {
        JournalScope::Instance
    }
    fn is_durable(&self) -> bool {
        true
    }
    async fn load(&self, _: LoadRequest) -> Result<Vec<Row>, PortError> {
        std::process::abort()
    }
    async fn commit(&self, _: Vec<Change>) -> Result<Vec<CommitAnswer>, PortError> {
        std::process::abort()
    }
    async fn claim(&self, _: ClaimRequest) -> Result<Vec<Row>, PortError> {
        std::process::abort()
    }
    async fn renew(&self, _: RenewRequest) -> Result<Vec<RowKey>, PortError> {
        std::process::abort()
    }
    async fn prune(&self, _: PruneRequest) -> Result<u64, PortError> {
        std::process::abort()
    }
    async fn stats(&self) -> Result<JournalStats, PortError> {
        self.0.map_err(PortError::transient)
    }
}

#[test]
fn a_journal_is_asked_for_its_sizes_and_nothing_else() {
    let with = |journal: Arc<dyn Journal>| run(|doctor| doctor.journal(journal));
    expect(&with(Arc::new(VolatileJournal::new())), Check::Journal, Warning, "lost with the process", "SqliteJournal");
    expect(
        &with(Arc::new(SickJournal(Err("disk I/O error")))),
        Check::Journal,
        Error,
        "disk I/O error",
        "nothing is issued without a journal",
    );
    let mut stats = JournalStats::default();
    expect(&with(Arc::new(SickJournal(Ok(stats)))), Check::Journal, Good, "0 requests are open", "");
    (stats.open, stats.oldest_open) = (3, Some(now().saturating_sub(3 * pki::DAY)));
    expect(&with(Arc::new(SickJournal(Ok(stats)))), Check::Journal, Warning, "the oldest open one is of", "its connector is gone");
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_folder_is_written_to_and_left_as_it_was() {
    let folder = scratch();
    let report = run(|doctor| doctor.folder(folder.path()).probe_size(200_000));
    expect(&report, Check::Disk, Good, "has room for 195 KiB", "");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let gone = run(|doctor| doctor.folder(folder.path().join("missing")));
    expect(&gone, Check::Disk, Error, "cannot be written", "make the folder");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_or_read_only_disk_is_an_error_with_its_own_cure() {
    // Kernel file systems on which no file can be made, whoever asks.
    let report = run(|doctor| doctor.folder("/proc"));
    assert_eq!(report.of(Check::Disk).next().unwrap().severity, Error, "{report}");
    assert!(report.of(Check::Disk).next().unwrap().cure.is_some());
}

#[cfg(unix)]
#[test]
fn a_named_pipe_where_a_secret_should_be_is_not_waited_for() {
    let folder = scratch();
    let pipe = folder.path().join("secret");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let report = run(|doctor| doctor.secret_file(&pipe));
    expect(&report, Check::SecretFile, Error, "neither a file nor a folder", "put the file there");
}

#[cfg(unix)]
#[test]
fn a_secret_that_others_can_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = scratch();
    let path = folder.path().join("client-secret");
    let with_mode = |mode: u32| {
        std::fs::write(&path, "Secret-Marker").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        run(|doctor| doctor.secret_file(&path))
    };
    let report = with_mode(0o600);
    expect(&report, Check::SecretFile, Good, "its owner alone", "");
    assert!(!format!("{report:?}").contains("Secret-Marker"));
    expect(&with_mode(0o640), Check::SecretFile, Warning, "mode 0640", "chmod 0600");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    expect(&with_mode(0o600), Check::SecretFile, Warning, "may write to", "chmod go-w");
    expect(&run(|doctor| doctor.secret_file(folder.path())), Check::SecretFile, Warning, "mode 0777", "chmod 0700");
    expect(&run(|doctor| doctor.folder(folder.path())), Check::Disk, Warning, "may write to", "chmod go-w");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    expect(
        &run(|doctor| doctor.secret_file(folder.path().join("missing"))),
        Check::SecretFile,
        Error,
        "cannot be looked at",
        "put the file there",
    );
}

#[test]
fn the_connector_does_not_belong_on_the_host_of_a_ca() {
    let with = |host: &str| run(|doctor| doctor.host_name("CONN1.contoso.example").ca_host(host));
    expect(&with("conn1"), Check::CaHost, Error, "runs on the CA's host", "a host of its own");
    expect(&with("localhost"), Check::CaHost, Error, "runs on the CA's host", "a host of its own");
    expect(&with("ca1.contoso.example"), Check::CaHost, Good, "another host", "");
}

#[test]
fn the_connector_does_not_belong_beside_the_connector_for_active_directory() {
    let folder = scratch();
    let with = |path: PathBuf| run(|doctor| doctor.ad_connector_folder(path));
    expect(&with(folder.path().to_owned()), Check::AdConnector, Error, "it is installed in", "another host");
    expect(&with(folder.path().join("missing")), Check::AdConnector, Good, "not installed", "");
    if !cfg!(windows) {
        expect(&run(|doctor| doctor), Check::AdConnector, Skipped, "not applicable", "");
    }
}

#[test]
fn all_instances_belong_on_one_version() {
    let message = |instance: &str, version: &str, age: u64| {
        let at = now().saturating_sub(Duration::from_secs(age));
        let mut message = HealthMessage::new("contoso.example".parse().unwrap(), instance.parse().unwrap(), at);
        version.clone_into(&mut message.version);
        message
    };
    let own = env!("CARGO_PKG_VERSION");
    let messages = [
        message("one", own, 60),
        message("two", "0.0.9", 7_200),
        message("two", "0.0.9", 60),
        message("three", "0.0.8", 3 * 86_400),
        message("four", "0.0.7", 7_200),
        message("four", own, 60),
    ];
    let report = run(|doctor| doctor.peers(messages));
    assert_eq!(report.of(Check::PeerVersion).count(), 4);
    assert_eq!(expect(&report, Check::PeerVersion, Warning, "version 0.0.9", "bring all instances to one version").subject, "two");
    assert_eq!(expect(&report, Check::PeerVersion, Info, "last heard of", "").subject, "three");
    let good: Vec<_> = report.of(Check::PeerVersion).filter(|finding| finding.severity == Good).map(|finding| &finding.subject).collect();
    assert_eq!(good, ["one", "four"]);
}

#[test]
fn the_support_of_a_version_is_told_by_the_releases_that_are_known() {
    let release = |version: &str, days: u64| Release {
        version: version.parse().unwrap(),
        released: now().saturating_sub(Duration::from_secs(days * 86_400)),
    };
    let with = |days| {
        let releases = vec![release("6.2406.0.1001", days + 100), release("6.2501.0.1", days)];
        run(|doctor| doctor.version("6.2406.0.1001".parse().unwrap(), releases))
    };
    expect(&with(10), Check::Lifecycle, Warning, "there is a newer version; unsupported from", "update");
    expect(&with(300), Check::Lifecycle, Error, "not supported any more", "update now");
    let newest = run(|doctor| doctor.version("6.2501.0.1".parse().unwrap(), vec![release("6.2501.0.1", 1)]));
    expect(&newest, Check::Lifecycle, Good, "newest", "");
    expect(&run(|doctor| doctor), Check::Lifecycle, Skipped, "no releases are given", "");
}
