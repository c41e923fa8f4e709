//! The SCEP service over the SQLite journal: stored notifications survive a restart, and a disk that is really full or read-only raises 4010.

#![cfg(all(feature = "scep", feature = "sqlite", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[cfg(unix)]
#[path = "support/mounts.rs"]
mod mounts;
#[path = "support/scep_lab.rs"]
mod scep_lab;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::adapters::SqliteJournal;
use intune_connector::event::{Event, EventId};
use intune_connector::message::scep::{PkiStatus, ReplyTo};
use intune_connector::ports::{
    Change, ClaimRequest, CommitAnswer, Journal, JournalScope, JournalStats, LoadRequest, PortError, PortErrorKind, PruneRequest,
    RenewRequest, Row, RowKey, RowKind,
};
use intune_connector::scep::{NotificationPolicy, Persistence, ServiceBuilder};
use intune_connector::secret::SecretBytes;
use intune_connector::time::Timestamp;
use scep_lab::{CHALLENGE, Client, Lab};

const KEY: [u8; 32] = [0x5E; 32];
const MINUTE: Duration = Duration::from_secs(60);

fn spooling(key: [u8; 32]) -> impl FnOnce(ServiceBuilder) -> ServiceBuilder {
    move |builder| {
        builder
            .notification(NotificationPolicy::IssueThenNotify)
            .persistence(Persistence::default().with_backoff(MINUTE, 60 * MINUTE))
            .sealing_key(SecretBytes::copy_from(&key))
    }
}

fn lab(file: &Path, key: [u8; 32]) -> Lab {
    Lab::with_journal(Arc::new(SqliteJournal::open(file).unwrap()), spooling(key))
}

fn log_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn scopes(events: &[Event]) -> Vec<String> {
    let mut scopes: Vec<String> = events.iter().map(|event| event.key.scope.clone()).collect();
    scopes.dedup();
    scopes
}

#[test]
fn a_stored_notification_survives_the_service_and_is_told_by_its_successor_with_backoff() {
    let folder = support::scratch();
    let file = folder.path().join("journal.db");
    let first = lab(&file, KEY);
    first.notifier.fail.store(u32::MAX, Ordering::SeqCst);
    let client = first.client();
    let (message, to) = client.message(&first.ra);
    let certificate = client.certificate(&client.reply(&first.post(&message), &to, &first.ra));
    assert_eq!(first.codes(), [4003, 4004, 4006, 4009], "the certificate went out, and the Admin event waits");
    let scope = scopes(&first.sink.events());
    drop(first);

    let second = lab(&file, KEY);
    second.notifier.fail.store(2, Ordering::SeqCst);
    let maintain = |now| second.runtime.block_on(second.service.maintain(now));
    let mut now = Timestamp::system_now().saturating_add(MINUTE);
    for wait in [2, 4] {
        let done = maintain(now);
        assert_eq!((done.notified, done.waiting, done.next_due), (0, 1, Some(now.saturating_add(wait * MINUTE))));
        let early = now.saturating_add(wait * MINUTE - Duration::from_secs(1));
        assert_eq!((maintain(early).waiting, maintain(early).notified), (0, 0), "not before the backoff has passed");
        now = now.saturating_add(wait * MINUTE);
    }
    assert_eq!(maintain(now).notified, 1);
    assert_eq!(second.codes(), [4009, 4009, 4008, 4000]);
    assert_eq!(scopes(&second.sink.events()), scope, "they belong to the request of before");
    let told = second.notifier.successes.lock().unwrap().clone();
    assert_eq!((told.len(), Some(&told[0].1)), (1, certificate.serial()));
    assert_eq!(maintain(now.saturating_add(60 * MINUTE)).notified, 0);
    drop(second);

    // The same request of the same client: answered from the file, and nobody is asked.
    let third = lab(&file, KEY);
    let (message, to) = client.message(&third.ra);
    let again = client.certificate(&client.reply(&third.post(&message), &to, &third.ra));
    assert_eq!(again.der(), certificate.der());
    assert_eq!((third.ca.asks.load(Ordering::SeqCst), third.notifier.successes.lock().unwrap().len()), (0, 0));
}

#[test]
fn a_permission_that_is_taken_away_and_given_back_loses_no_notification() {
    for (kind, is_final) in [(PortErrorKind::Misconfigured, false), (PortErrorKind::Throttled, false), (PortErrorKind::Rejected, true)] {
        let folder = support::scratch();
        let lab = lab(&folder.path().join("journal.db"), KEY);
        *lab.notifier.fail_with.lock().unwrap() = Some(kind);
        lab.notifier.fail.store(u32::MAX, Ordering::SeqCst);
        let client = lab.client();
        let (message, to) = client.message(&lab.ra);
        client.certificate(&client.reply(&lab.post(&message), &to, &lab.ra));
        let mut now = Timestamp::system_now();
        for _ in 0..3 {
            now = now.saturating_add(60 * MINUTE);
            let done = lab.runtime.block_on(lab.service.maintain(now));
            assert_eq!(done.waiting, u64::from(!is_final && done.given_up == 0), "{kind:?}: {done:?}");
        }
        lab.notifier.fail.store(0, Ordering::SeqCst);
        lab.runtime.block_on(lab.service.maintain(now.saturating_add(120 * MINUTE)));
        assert_eq!(lab.notifier.successes.lock().unwrap().len(), usize::from(!is_final), "{kind:?}");
        assert_eq!(lab.admin().iter().map(|event| event.id.code()).collect::<Vec<_>>(), [if is_final { 4002 } else { 4000 }], "{kind:?}");
    }
}

#[test]
fn rows_that_were_sealed_with_another_key_stay_for_whoever_has_it() {
    let folder = support::scratch();
    let file = folder.path().join("journal.db");
    let first = lab(&file, KEY);
    first.notifier.fail.store(1, Ordering::SeqCst);
    let client = first.client();
    let (message, to) = client.message(&first.ra);
    client.certificate(&client.reply(&first.post(&message), &to, &first.ra));
    drop(first);
    let now = Timestamp::system_now().saturating_add(10 * MINUTE);
    let stranger = lab(&file, [7; 32]);
    let done = stranger.runtime.block_on(stranger.service.maintain(now));
    assert_eq!((done.notified, done.given_up, done.waiting), (0, 0, 0));
    drop(stranger);
    // It held them under a lease.
    let successor = lab(&file, KEY);
    assert_eq!(successor.runtime.block_on(successor.service.maintain(now.saturating_add(11 * MINUTE))).notified, 1);
}

#[test]
fn file_and_log_show_neither_challenge_nor_csr() {
    let folder = support::scratch();
    let file = folder.path().join("journal.db");
    let lab = lab(&file, KEY);
    lab.notifier.fail.store(u32::MAX, Ordering::SeqCst);
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    let certificate = client.certificate(&client.reply(&lab.post(&message), &to, &lab.ra));
    let log = fs::read(log_of(&file)).unwrap();
    drop(lab);
    let database = fs::read(&file).unwrap();
    assert!(log.len() > 10_000 && database.len() > 10_000, "there is something to look into");
    // The search finds what is there in clear.
    assert!(contains(&log, b"lab-1") && contains(&database, b"CREATE TABLE entry"));
    let mut secrets: Vec<&[u8]> = vec![CHALLENGE.as_bytes(), client.transaction.as_bytes(), b"device.lab.example", b"device-1"];
    secrets.extend(client.csr.chunks_exact(16).chain(certificate.der().chunks_exact(16)));
    assert!(secrets.len() > 60);
    for secret in secrets {
        assert!(!contains(&log, secret) && !contains(&database, secret), "{secret:02x?}");
    }
}

/// Lets something happen to the disk right before a notification is stored.
struct Mishap {
    journal: SqliteJournal,
    before: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl std::fmt::Debug for Mishap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mishap").finish_non_exhaustive()
    }
}

#[async_trait]
impl Journal for Mishap {
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
        if changes.iter().any(|change| change.row.key.kind == RowKind::Notification)
            && let Some(happens) = self.before.lock().unwrap().take()
        {
            happens();
        }
        self.journal.commit(changes).await
    }
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Row>, PortError> {
        self.journal.claim(request).await
    }
    async fn renew(&self, request: RenewRequest) -> Result<Vec<RowKey>, PortError> {
        self.journal.renew(request).await
    }
    async fn prune(&self, request: PruneRequest) -> Result<u64, PortError> {
        self.journal.prune(request).await
    }
    async fn stats(&self) -> Result<JournalStats, PortError> {
        self.journal.stats().await
    }
}

/// A request whose notification fails and cannot be stored: the operator gets 4010 with the reason. That it has ended cannot be stored either,
/// so the client is told to come again: what the journal does not know as released would be revoked later.
#[cfg(unix)]
fn unable_to_spool(disk: &mounts::Mount, happens: impl FnOnce() + Send + 'static, reason: &str) -> (Lab, Client, Vec<u8>, ReplyTo) {
    let journal = SqliteJournal::open(disk.path().join("journal.db")).unwrap();
    let journal = Arc::new(Mishap { journal, before: Mutex::new(Some(Box::new(happens))) });
    let lab = Lab::with_journal(journal, spooling(KEY));
    lab.notifier.fail.store(1, Ordering::SeqCst);
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    assert_eq!(lab.post(&message).status, 503);
    // 13: the journal failed.
    assert_eq!(lab.codes(), [4003, 4004, 4006, 4009, 4010, 13, 4001]);
    let events = lab.sink.events();
    let event = events.iter().find(|event| event.id == EventId::ScepNotifySaveToDiskFailed).unwrap();
    assert!(event.message.contains(reason), "{}", event.message);
    assert!(!format!("{events:?}").contains(CHALLENGE));
    (lab, client, message, to)
}

#[cfg(unix)]
#[test]
fn a_full_disk_raises_4010_and_everything_works_again_when_there_is_space() {
    let Some(disk) = mounts::Mount::tmpfs(1_024) else { return };
    let folder = disk.path().to_owned();
    let (lab, first, first_message, first_to) = unable_to_spool(&disk, move || mounts::fill(&folder), "disk is full");
    // Nothing is issued that could not be remembered.
    let client = lab.client();
    let (message, to) = client.message(&lab.ra);
    assert_eq!(lab.post(&message).status, 503);
    assert_eq!(lab.ca.asks.load(Ordering::SeqCst), 1);
    disk.free();
    first.certificate(&first.reply(&lab.post(&first_message), &first_to, &lab.ra));
    assert_eq!(lab.ca.asks.load(Ordering::SeqCst), 1, "it gets the one that was issued");
    lab.notifier.fail.store(1, Ordering::SeqCst);
    assert_eq!(client.reply(&lab.post(&message), &to, &lab.ra).status(), PkiStatus::Success);
    let later = Timestamp::system_now().saturating_add(10 * MINUTE);
    assert_eq!(lab.runtime.block_on(lab.service.maintain(later)).notified, 1);
}

#[cfg(unix)]
#[test]
fn a_file_system_that_became_read_only_raises_4010() {
    let Some(disk) = mounts::Mount::ext4(8) else { return };
    let at = disk.path().to_owned();
    let happens = move || assert!(mounts::remount(&at, "abort"), "ext4 ends its work as after an error of the disk");
    unable_to_spool(&disk, happens, "read-only");
}
