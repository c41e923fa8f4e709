//! Clear secrets never touch the disk: all flows run over one SQLite journal, its folder is looked at after each commit, and every byte that
//! was ever in it is scanned for any 16 bytes of any secret, in four spellings.

#![cfg(all(
    feature = "pkcs",
    feature = "import",
    feature = "revoke",
    feature = "scep",
    feature = "sqlite",
    feature = "ring",
    feature = "aws-lc-rs"
))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/pki.rs"]
mod pki;
#[path = "support/scan.rs"]
mod scan;
#[path = "support/scep_lab.rs"]
mod scep_lab;
#[path = "support/scripted_ca.rs"]
mod scripted_ca;
#[path = "support/tenant.rs"]
mod tenant;

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::adapters::{SqliteJournal, StdRuntime};
use intune_connector::crypto::{Aead, AeadAlgorithm, CryptoError, CryptoProvider, KeyGeneration, unwrap_now};
use intune_connector::ids::IdempotencyKey;
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::enveloped::Opening;
use intune_connector::ports::{
    Change, ClaimRequest, CommitAnswer, Journal, JournalScope, JournalStats, LoadRequest, Outcome, PortError, PruneRequest, RenewRequest,
    Row, RowKey, RowKind, SealedBlob,
};
use intune_connector::scep::{NotificationPolicy, Persistence};
use intune_connector::secret::{PrivateKeyPkcs8, SecretBytes};
use intune_connector::terms::{Flow, KeyAlgorithm};
use intune_connector::time::Timestamp;
use scep_lab::{CHALLENGE, Fault, Lab};
use scripted_ca::Next;
use tenant::{IMPORT_PASSWORD, KEYS, RECRYPT_CONTENT, Tenant, import, pkcs, pkcs_request, recrypt, revoke};

const SEALING_KEY: &[u8; 32] = b"Sealing-Key-Marker-of-32-bytes!!";
/// What is compared at a time.
const WINDOW: usize = 16;
const BLOCK: usize = 4_096;

type Windows = HashMap<[u8; WINDOW], String>;

/// The windows of a secret, in each spelling.
fn add(windows: &mut Windows, name: &str, secret: &[u8]) {
    assert!(secret.len() >= WINDOW, "{name} is too short to be told from chance");
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut spellings = vec![
        ("bytes", secret.to_vec()),
        ("UTF-16", secret.iter().flat_map(|byte| [*byte, 0]).collect()),
        ("hex", hex.to_uppercase().into_bytes()),
        ("hex", hex.into_bytes()),
    ];
    for lead in 0..3 {
        // The letters that depend on the secret alone, wherever it begins.
        let text = scan::base64(&[&vec![0; lead], secret].concat());
        let letters = &text[[0, 2, 3][lead]..(lead + secret.len()) * 8 / 6];
        spellings.push(("base64", letters.as_bytes().to_vec()));
        spellings.push(("base64", letters.replace('+', "-").replace('/', "_").into_bytes()));
    }
    for (spelling, bytes) in spellings {
        for window in bytes.windows(WINDOW) {
            // Padding and the like, which is in any file.
            if window.iter().collect::<BTreeSet<_>>().len() >= 6 {
                windows.entry(window.try_into().unwrap()).or_insert_with(|| format!("{name} as {spelling}"));
            }
        }
    }
}

/// What of it is found, and how.
fn found<'a>(windows: &Windows, blocks: impl IntoIterator<Item = &'a [u8]>) -> BTreeSet<String> {
    let mut starts = vec![false; 1 << 16];
    let start = |bytes: &[u8]| usize::from(bytes[0]) << 8 | usize::from(bytes[1]);
    windows.keys().for_each(|window| starts[start(window)] = true);
    let mut found = BTreeSet::new();
    for block in blocks {
        for window in block.windows(WINDOW).filter(|window| starts[start(window)]) {
            if let Some(what) = windows.get(window) {
                found.insert(what.clone());
            }
        }
    }
    found
}

/// Everything that was ever in a folder, block by block, with enough of the next block that nothing hides between two.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    files: HashMap<PathBuf, Vec<u8>>,
    blocks: Vec<Vec<u8>>,
    looks: usize,
}

impl Folder {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), files: HashMap::new(), blocks: Vec::new(), looks: 0 }
    }

    fn look(&mut self) {
        self.looks += 1;
        for entry in fs::read_dir(&self.path).unwrap() {
            let path = entry.unwrap().path();
            // A log that was taken away in between was looked at before.
            let Ok(now) = fs::read(&path) else { continue };
            let before = self.files.remove(&path).unwrap_or_default();
            for at in (0..now.len()).step_by(BLOCK) {
                let range = at..now.len().min(at + BLOCK + WINDOW - 1);
                if before.get(range.clone()) != Some(&now[range.clone()]) {
                    self.blocks.push(now[range].to_vec());
                }
            }
            self.files.insert(path, now);
        }
    }

    fn found(&self, windows: &Windows) -> BTreeSet<String> {
        found(windows, self.blocks.iter().map(Vec::as_slice))
    }
}

/// Looks at the journal's folder after each call that may write.
#[derive(Debug)]
struct Watched {
    journal: SqliteJournal,
    folder: Arc<Mutex<Folder>>,
    /// Of blobs that were stored.
    stored: Mutex<Vec<(RowKind, usize)>>,
}

impl Watched {
    fn open(folder: &Path) -> Arc<Self> {
        let journal = SqliteJournal::open(folder.join("journal.db")).unwrap();
        Arc::new(Self { journal, folder: Arc::new(Mutex::new(Folder::new(folder))), stored: Mutex::default() })
    }

    fn look(&self) {
        self.folder.lock().unwrap().look();
    }
}

#[async_trait]
impl Journal for Watched {
    fn scope(&self) -> JournalScope {
        self.journal.scope()
    }
    fn is_durable(&self) -> bool {
        self.journal.is_durable()
    }
    async fn load(&self, request: LoadRequest) -> Result<Vec<Row>, PortError> {
        self.journal.load(request).await
    }
    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<CommitAnswer>, PortError> {
        self.stored.lock().unwrap().extend(changes.iter().map(|change| (change.row.key.kind, change.row.blob.as_bytes().len())));
        let answers = self.journal.commit(changes).await;
        self.look();
        answers
    }
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Row>, PortError> {
        let rows = self.journal.claim(request).await;
        self.look();
        rows
    }
    async fn renew(&self, request: RenewRequest) -> Result<Vec<RowKey>, PortError> {
        self.journal.renew(request).await
    }
    async fn prune(&self, request: PruneRequest) -> Result<u64, PortError> {
        let pruned = self.journal.prune(request).await;
        self.look();
        pruned
    }
    async fn stats(&self) -> Result<JournalStats, PortError> {
        self.journal.stats().await
    }
}

/// Remembers the keys that are made.
#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<PrivateKeyPkcs8>>);

impl KeyGeneration for Recorder {
    fn generate(&self, algorithm: KeyAlgorithm) -> Result<PrivateKeyPkcs8, CryptoError> {
        let key = KEYS.provider.key_generation().unwrap().generate(algorithm)?;
        self.0.lock().unwrap().push(PrivateKeyPkcs8::new(key.secret_pkcs8_der().to_vec()));
        Ok(key)
    }
}

/// The parts of a key that its public half does not have.
fn private_part(key: &PrivateKeyPkcs8) -> Vec<u8> {
    let der = key.secret_pkcs8_der();
    if der.len() > 500 {
        // The last three fifths of an RSAPrivateKey are its exponents, primes and coefficient.
        return der[der.len() * 2 / 5..].to_vec();
    }
    let at = der.windows(2).position(|window| window == [4, 32]).expect("an EC key holds its scalar");
    der[at + 2..at + 34].to_vec()
}

/// What the device finds in an envelope.
fn opened(envelope: &[u8]) -> Vec<u8> {
    let certificate = Certificate::from_der(&KEYS.device.certificate, &Limits::default()).unwrap();
    let mut opening = Opening::parse(envelope, &Limits::default()).unwrap();
    let request = opening.unwrap_request(&certificate, &KEYS.provider).unwrap();
    let key = KEYS.provider.decryption_keys().unwrap().load(&KEYS.device.key).unwrap();
    opening.finish(unwrap_now(&*key, &request), &KEYS.provider).unwrap().secret_bytes().to_vec()
}

fn known_secrets() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("import password", IMPORT_PASSWORD.as_bytes().to_vec()),
        ("recrypt content", RECRYPT_CONTENT.to_vec()),
        ("imported private key", private_part(&KEYS.imported.key)),
        ("imported PFX file", KEYS.pfx.clone()),
        ("import decryption key", private_part(&KEYS.import.private_key)),
        ("challenge", CHALLENGE.as_bytes().to_vec()),
        ("sealing key", SEALING_KEY.to_vec()),
    ]
}

/// Requests of every queue-driven flow: good ones, failing ones, and ones that wait and are tried again. Gives the secrets that were made.
fn run_queues(journal: &Arc<Watched>, provider: &CryptoProvider, run: &str) -> Vec<(String, Vec<u8>)> {
    let tenant = Tenant::on(provider.clone(), journal.clone(), SecretBytes::copy_from(SEALING_KEY));
    let id = |what: &str| format!("{what}-{run}");
    tenant.ca.next(Next::Fail(PortError::transient("the CA is away")));
    tenant.run(Flow::Pkcs, &id("pkcs-after-retry"), pkcs("ca"));
    tenant.ca.next(Next::IssueAndFail(PortError::transient("the answer was lost")));
    tenant.run(Flow::Pkcs, &id("pkcs-found"), pkcs("ca"));
    let mut request = pkcs_request("ca");
    request.key = KeyAlgorithm::Rsa2048;
    tenant.run(Flow::Pkcs, &id("pkcs-rsa"), intune_connector::ports::Payload::Pkcs(Box::new(request)));
    tenant.ca.next(Next::Fail(PortError::rejected("no")));
    tenant.run(Flow::Pkcs, &id("pkcs-refused"), pkcs("ca"));
    tenant.queue(Flow::Pkcs).fail_next_complete(PortError::transient("the queue is away"));
    tenant.run(Flow::Pkcs, &id("pkcs-uploaded-twice"), pkcs("ca"));
    tenant.keys.errors.lock().unwrap().push_back(PortError::transient("the key store is away"));
    tenant.run(Flow::PkcsImport, &id("import"), import(IMPORT_PASSWORD));
    tenant.run(Flow::PkcsImport, &id("import-wrong"), import("Wr0ng-Imp0rt-Passw0rd"));
    tenant.queue(Flow::PkcsRecrypt).fail_next_complete(PortError::transient("the queue is away"));
    tenant.run(Flow::PkcsRecrypt, &id("recrypt"), recrypt());
    tenant.revoker.errors.lock().unwrap().push_back(PortError::transient("the CA is away"));
    tenant.run(Flow::Revoke, &id("revoke"), revoke("0123", "ca"));

    let mut made = Vec::new();
    for request in ["pkcs-after-retry", "pkcs-found", "pkcs-rsa", "pkcs-uploaded-twice"] {
        let Some(Outcome::Pkcs(result)) = tenant.outcome(Flow::Pkcs, &id(request)) else { panic!("{request} has no certificate") };
        made.push((format!("PFX file of {request}"), opened(&result.pfx_envelope)));
        made.push((format!("PFX password of {request}"), opened(&result.password_envelope)));
    }
    assert!(matches!(tenant.outcome(Flow::PkcsImport, &id("import")), Some(Outcome::Import(_))));
    assert!(matches!(tenant.outcome(Flow::PkcsRecrypt, &id("recrypt")), Some(Outcome::Recrypt(_))));
    made
}

/// Enrolments of every kind: told at once, told later, refused, with a lost answer, and withheld. Gives the CSRs, which hold the challenge.
fn run_scep(journal: &Arc<Watched>, provider: &CryptoProvider) -> Vec<(String, Vec<u8>)> {
    let lab = Lab::with_provider_and_journal(provider.clone(), journal.clone(), |builder| {
        builder
            .notification(NotificationPolicy::IssueThenNotify)
            .persistence(Persistence::default().with_backoff(Duration::from_millis(5), Duration::from_secs(60)))
            .sealing_key(SecretBytes::copy_from(SEALING_KEY))
    });
    let mut csrs = Vec::new();
    for fault in [None, Some(Fault::LoseAnswer), Some(Fault::Reject), Some(Fault::WrongSubject), None] {
        lab.ca.faults.lock().unwrap().extend(fault);
        if csrs.len() == 4 {
            lab.notifier.fail.store(u32::MAX, Ordering::SeqCst);
        }
        let client = lab.client();
        let (message, _) = client.message(&lab.ra);
        assert_eq!(lab.post(&message).status, 200);
        lab.post(&message);
        csrs.push((format!("CSR {}", csrs.len()), client.csr.clone()));
    }
    lab.runtime.block_on(lab.service.maintain(Timestamp::system_now().saturating_add(Duration::from_secs(60))));
    lab.notifier.fail.store(0, Ordering::SeqCst);
    lab.runtime.block_on(lab.service.maintain(Timestamp::system_now().saturating_add(Duration::from_secs(36_000))));
    assert!(lab.notifier.successes.lock().unwrap().len() >= 2);
    csrs
}

#[test]
fn no_clear_secret_is_ever_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Arc::new(Recorder::default());
    let provider = KEYS.provider.clone().with_key_generation(recorder.clone());
    let journal = Watched::open(folder.path());
    let mut secrets: Vec<(String, Vec<u8>)> = known_secrets().into_iter().map(|(name, secret)| (name.to_owned(), secret)).collect();
    secrets.extend(run_queues(&journal, &provider, "first"));
    let csrs = run_scep(&journal, &provider);
    let csr = csrs.iter().map(|(_, csr)| csr.len()).min().unwrap();
    secrets.extend(csrs);
    // After a restart, on the same rows.
    secrets.extend(run_queues(&journal, &provider, "second"));
    let generated: Vec<Vec<u8>> = recorder.0.lock().unwrap().iter().map(private_part).collect();
    assert!(generated.len() >= 10, "{} keys were made", generated.len());
    secrets.extend(generated.into_iter().map(|key| ("generated private key".to_owned(), key)));

    let stored = journal.stored.lock().unwrap().clone();
    let kinds: BTreeSet<RowKind> = stored.iter().map(|(kind, _)| *kind).collect();
    for kind in [RowKind::Request, RowKind::ScepTransaction, RowKind::ScepTransactionId, RowKind::Notification] {
        assert!(kinds.contains(&kind), "there was no {kind:?}: {kinds:?}");
    }
    // There was something to find: whole CSRs, and results with their PFX files.
    assert!(stored.iter().any(|(kind, size)| *kind == RowKind::ScepTransaction && *size > csr));
    assert!(stored.iter().any(|(kind, size)| *kind == RowKind::Request && *size > 2_000));

    let seen = Arc::clone(&journal.folder);
    drop(journal);
    let mut seen = seen.lock().unwrap();
    // What closing leaves.
    seen.look();
    assert!(seen.looks > 100, "{} looks", seen.looks);
    let mut windows = Windows::new();
    secrets.iter().for_each(|(name, secret)| add(&mut windows, name, secret));
    let bytes: usize = seen.blocks.iter().map(Vec::len).sum();
    println!("{} looks, {bytes} bytes that differed, {} secrets, {} windows", seen.looks, secrets.len(), windows.len());
    assert_eq!(seen.found(&windows), BTreeSet::new());
}

/// Seals nothing.
#[derive(Debug)]
struct NoSeal;

impl Aead for NoSeal {
    fn seal(&self, _: AeadAlgorithm, _: &[u8], _: &[u8], _: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
        Ok([plaintext, &[0; 16]].concat())
    }
    fn open(&self, _: AeadAlgorithm, _: &[u8], _: &[u8], _: &[u8], sealed: &[u8]) -> Result<SecretBytes, CryptoError> {
        Ok(SecretBytes::copy_from(&sealed[..sealed.len() - 16]))
    }
}

/// The same run with a cipher that does not encrypt: what the rows hold is then found.
#[test]
fn without_sealing_the_same_run_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Watched::open(folder.path());
    let csrs = run_scep(&journal, &KEYS.provider.clone().with_aead(Arc::new(NoSeal)));
    let mut windows = Windows::new();
    add(&mut windows, "challenge", CHALLENGE.as_bytes());
    csrs.iter().for_each(|(name, csr)| add(&mut windows, name, csr));
    let found = journal.folder.lock().unwrap().found(&windows);
    assert!(found.contains("challenge as bytes") && found.contains("CSR 0 as bytes"), "{found:?}");
}

/// Whether the scan finds each secret that is in a row in clear, in each spelling, also after the row was overwritten.
#[test]
fn the_scan_finds_what_is_stored_in_clear() {
    let runtime = StdRuntime::with_threads(1, 1).unwrap();
    for (number, (name, secret)) in (1..).zip(known_secrets()) {
        // From somewhere within, as a row would hold it.
        let part = &secret[secret.len() / 3..][..WINDOW.min(secret.len() - secret.len() / 3)];
        let part = if part.len() < WINDOW { &secret[secret.len() - WINDOW..] } else { part };
        let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
        let utf16 = part.iter().flat_map(|byte| [*byte, 0]).collect();
        let spellings =
            [("bytes", part.to_vec()), ("hex", hex.into_bytes()), ("base64", scan::base64(part).into_bytes()), ("UTF-16", utf16)];
        for (spelling, planted) in spellings {
            let folder = tempfile::tempdir().unwrap();
            let journal = Watched::open(folder.path());
            let key = RowKey { kind: RowKind::Notification, key: IdempotencyKey::new([number; 32]) };
            let content = [&[0xEE; 100][..], &planted, &[0xEE; 100]].concat();
            let mut row = Row::new(key, Flow::Scep, Timestamp::from_secs(1), SealedBlob::new(content));
            runtime.block_on(journal.commit(vec![Change::new(row.clone())])).unwrap();
            (row.version, row.blob) = (1, SealedBlob::new(vec![0xEE; 216]));
            runtime.block_on(journal.commit(vec![Change::new(row)])).unwrap();
            let mut windows = Windows::new();
            add(&mut windows, name, &secret);
            let found = journal.folder.lock().unwrap().found(&windows);
            assert!(found.contains(&format!("{name} as {spelling}")), "{name} as {spelling}: {found:?}");
        }
    }
}
