use super::*;
use crate::adapters::VirtualRuntime;
use crate::ids::IdempotencyKey;
use crate::ports::{RowKey, SealingKey};
use crate::terms::Flow;
use crate::time::Timestamp;

/// Keys that a test changes.
#[derive(Debug, Default)]
struct Keys {
    list: Mutex<Vec<u8>>,
    readings: Mutex<u32>,
}

impl SealingKey for Keys {
    fn keys(&self) -> Result<Vec<Arc<SecretBytes>>, PortError> {
        *self.readings.lock().unwrap() += 1;
        Ok(self.list.lock().unwrap().iter().map(|key| Arc::new(SecretBytes::new(vec![*key; 32]))).collect())
    }
}

fn clock() -> Arc<VirtualRuntime> {
    Arc::new(VirtualRuntime::new(Timestamp::from_secs(1)))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider::ring_and_aws_lc_rs())
}

fn sealer(tenant: &str, clock: &Arc<VirtualRuntime>, keys: impl Into<SealingKeys>) -> Result<Sealer, SealError> {
    Sealer::new(provider(), tenant.parse().unwrap(), clock.clone(), Some(keys.into()))
}

fn row() -> Row {
    let key = RowKey { kind: RowKind::Notification, key: IdempotencyKey::new([1; 32]) };
    Row::new(key, Flow::Scep, Timestamp::from_secs(1), SealedBlob::new(Vec::new()))
}

fn sealed(sealer: &Sealer, content: &[u8]) -> Row {
    let mut row = row();
    row.blob = sealer.seal(&row, content).unwrap();
    row
}

#[test]
fn a_row_opens_only_with_its_key_and_unchanged() {
    let (clock, key) = (clock(), || SecretBytes::new(vec![7; 32]));
    let own = sealer("contoso.example", &clock, key()).unwrap();
    let mut here = sealed(&own, b"the challenge");
    assert_eq!(own.open(&here).unwrap().secret_bytes(), b"the challenge");
    assert!(!here.blob.as_bytes().windows(9).any(|window| window == b"challenge"));
    assert_ne!(sealed(&own, b"the challenge").blob, here.blob, "a nonce must not repeat");

    // What journals and claims change.
    (here.version, here.lease_epoch, here.owner, here.delivery) = (7, 8, Some("other".parse().unwrap()), 9);
    (here.lease_until, here.due, here.updated) = (Timestamp::from_secs(5), Timestamp::from_secs(6), Timestamp::from_secs(7));
    assert!(own.open(&here).is_ok());

    type Change = fn(&mut Row);
    let changes: [(&str, Change); 9] = [
        ("kind", |row| row.key.kind = RowKind::Orphan),
        ("key", |row| row.key.key = IdempotencyKey::new([2; 32])),
        ("flow", |row| row.flow = Flow::Pkcs),
        ("state", |row| row.state = RowState::Acknowledged),
        ("attempt", |row| row.attempt += 1),
        ("created", |row| row.created = row.created.saturating_add(Duration::from_micros(1))),
        ("route", |row| row.route = Some("a".parse().unwrap())),
        ("short", |row| row.blob = SealedBlob::new(vec![VERSION; 5])),
        ("empty", |row| row.blob = SealedBlob::new(Vec::new())),
    ];
    for (what, change) in changes {
        let mut changed = here.clone();
        change(&mut changed);
        assert_eq!(own.open(&changed).unwrap_err(), SealError::Foreign, "{what}");
    }
    assert_eq!(sealer("fabrikam.example", &clock, key()).unwrap().open(&here).unwrap_err(), SealError::Foreign);

    for at in 0..here.blob.as_bytes().len() {
        let mut damaged = here.blob.as_bytes().to_vec();
        damaged[at] ^= 1;
        let expected = if (1..=KEY_ID).contains(&at) { SealError::UnknownKey } else { SealError::Foreign };
        assert_eq!(own.open(&Row { blob: SealedBlob::new(damaged), ..here.clone() }).unwrap_err(), expected, "{at}");
    }
}

#[test]
fn every_state_and_kind_has_a_name_of_its_own() {
    use RowState::*;
    let states = [Received, Planned, Asked, Issued, Packed, Uploading, Acknowledged, Failed, Parked, OrphanSuspected];
    let names: std::collections::BTreeSet<_> = states.map(state_name).into();
    assert_eq!(names.len(), states.len());
    let kinds = [
        RowKind::Request,
        RowKind::ScepTransaction,
        RowKind::ScepTransactionId,
        RowKind::Notification,
        RowKind::Health,
        RowKind::CoolDown,
        RowKind::Orphan,
        RowKind::Revocation,
        RowKind::Instance,
    ];
    let names: std::collections::BTreeSet<_> = kinds.map(kind_name).into();
    assert_eq!(names.len(), kinds.len());
}

#[test]
fn a_fresh_key_is_nobody_elses() {
    let one = || Sealer::new(provider(), "contoso.example".parse().unwrap(), clock(), None).unwrap();
    let (first, second) = (one(), one());
    assert_eq!(second.open(&sealed(&first, b"x")).unwrap_err(), SealError::UnknownKey);
}

#[test]
fn a_rotation_is_noticed_within_a_minute_and_by_the_first_row_of_the_new_key() {
    let (clock, old_keys, new_keys) = (clock(), Arc::new(Keys::default()), Arc::new(Keys::default()));
    *old_keys.list.lock().unwrap() = vec![1];
    *new_keys.list.lock().unwrap() = vec![1];
    let (mine, other) =
        (sealer("contoso.example", &clock, old_keys.clone()).unwrap(), sealer("contoso.example", &clock, new_keys.clone()).unwrap());
    let first = sealed(&mine, b"old");
    *new_keys.list.lock().unwrap() = vec![2, 1];
    clock.advance(Duration::from_secs(59));
    assert_eq!(sealed(&other, b"x").blob.as_bytes()[1..9], first.blob.as_bytes()[1..9], "not read again yet");
    clock.advance(Duration::from_secs(1));
    let second = sealed(&other, b"new");
    assert_ne!(second.blob.as_bytes()[1..9], first.blob.as_bytes()[1..9]);
    assert_eq!(other.open(&first).unwrap().secret_bytes(), b"old");

    // The other one has not got the key yet: it says so, and keeps what it can read.
    assert_eq!(mine.open(&second).unwrap_err(), SealError::UnknownKey);
    assert_eq!(mine.open(&first).unwrap().secret_bytes(), b"old");
    *old_keys.list.lock().unwrap() = vec![1, 2];
    let readings = *old_keys.readings.lock().unwrap();
    for _ in 0..100 {
        assert_eq!(mine.open(&second).unwrap_err(), SealError::UnknownKey);
    }
    assert_eq!(*old_keys.readings.lock().unwrap(), readings, "strange rows must not have the keys read without a pause");
    clock.advance(Duration::from_secs(60));
    assert_eq!(mine.open(&second).unwrap().secret_bytes(), b"new");
    // The next new key is noticed at once, by its first row.
    *new_keys.list.lock().unwrap() = vec![3, 2];
    *old_keys.list.lock().unwrap() = vec![3, 2];
    clock.advance(Duration::from_secs(30));
    let third = sealed(&sealer("contoso.example", &clock, new_keys.clone()).unwrap(), b"newest");
    assert_eq!(mine.open(&third).unwrap().secret_bytes(), b"newest");
    assert_eq!(mine.open(&first).unwrap_err(), SealError::UnknownKey, "a key that was taken out opens nothing any more");
}

#[test]
fn keys_that_cannot_be_read_or_used_any_more_leave_the_former_ones() {
    let (clock, keys) = (clock(), Arc::new(Keys::default()));
    *keys.list.lock().unwrap() = vec![1];
    let sealer_ = sealer("contoso.example", &clock, keys.clone()).unwrap();
    let row = sealed(&sealer_, b"x");
    assert_eq!(sealer_.problem(), None);
    *keys.list.lock().unwrap() = Vec::new();
    clock.advance(PAUSE);
    assert!(sealer_.open(&row).is_ok());
    assert_eq!(sealer_.problem().as_deref(), Some("there is no key"));
    *keys.list.lock().unwrap() = vec![1; MOST_KEYS + 1];
    clock.advance(PAUSE);
    assert!(sealer_.open(&row).is_ok());
    assert_eq!(sealer_.problem().as_deref(), Some("there are more than 64 keys"));
    *keys.list.lock().unwrap() = vec![1];
    clock.advance(PAUSE);
    assert!(sealer_.open(&row).is_ok());
    assert_eq!(sealer_.problem(), None);
    for wrong in [SealingKeys::from(SecretBytes::zeroed(16)), SealingKeys::from(Vec::new())] {
        assert_eq!(sealer("contoso.example", &clock, wrong).unwrap_err(), SealError::Crypto);
    }
}
