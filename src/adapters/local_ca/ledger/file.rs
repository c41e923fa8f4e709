//! Entries in a file, with an index in memory of about 50 bytes for each.
//!
//! A record is its head and the certificate's DER. The head: length of the DER, then for each of the two indices the number of the
//! entry that had the same hash before ([`NONE`] for none), all as big-endian `u32`; then 1 and the idempotency key, or 33 zeros. Hash
//! collisions so cost a longer walk, never a wrong or missing answer; they cannot be made on purpose, since the hash has a secret key.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use super::{By, LedgerEntry};
use crate::crypto::CryptoProvider;
use crate::ids::IdempotencyKey;
use crate::limits::Limits;
use crate::message::certificate::Certificate;

const NONE: u32 = u32::MAX;
const HEAD: usize = 4 + 2 * 4 + 33;

pub(super) struct FileStore {
    file: File,
    provider: CryptoProvider,
    /// Where each record begins, and where the next will.
    starts: Vec<u64>,
    end: u64,
    secret: RandomState,
    /// The newest entry with that hash: by idempotency key and serial number.
    newest: [HashMap<u64, u32>; 2],
}

impl core::fmt::Debug for FileStore {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FileStore").field("file", &self.file).field("entries", &self.starts.len()).finish_non_exhaustive()
    }
}

impl FileStore {
    pub(super) fn create(path: &Path, provider: CryptoProvider) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Self { file, provider, starts: Vec::new(), end: 0, secret: RandomState::new(), newest: Default::default() })
    }

    pub(super) fn record(&mut self, entry: &LedgerEntry) -> io::Result<()> {
        let number = self.len();
        let hashes = [entry.idempotency_key.as_ref().map(|key| self.hash(By::Key(key))), Some(self.hash(By::Serial(&entry.serial)))];
        let der = entry.certificate.as_ref();
        let length = u32::try_from(der.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let mut record = Vec::with_capacity(HEAD + der.len());
        record.extend_from_slice(&length.to_be_bytes());
        for (index, hash) in self.newest.iter().zip(hashes) {
            let before = hash.and_then(|hash| index.get(&hash).copied()).unwrap_or(NONE);
            record.extend_from_slice(&before.to_be_bytes());
        }
        record.push(entry.idempotency_key.is_some().into());
        record.extend_from_slice(entry.idempotency_key.as_ref().map_or([0; 32], |key| *key.as_bytes()).as_slice());
        record.extend_from_slice(der);
        // A record that was written in part is overwritten by the next.
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(&record)?;
        self.starts.push(self.end);
        self.end += record.len() as u64;
        for (index, hash) in self.newest.iter_mut().zip(hashes) {
            if let Some(hash) = hash {
                index.insert(hash, number);
            }
        }
        Ok(())
    }

    pub(super) fn find(&mut self, by: By<'_>) -> io::Result<Option<(u32, LedgerEntry)>> {
        let (hash, index) = (self.hash(by), position(by));
        let mut next = self.newest[index].get(&hash).copied();
        while let Some((number, (entry, before))) = next.map(|number| self.read(number).map(|read| (number, read))).transpose()? {
            if by.matches(&entry) {
                return Ok(Some((number, entry)));
            }
            next = Some(before[index]).filter(|before| *before != NONE);
        }
        Ok(None)
    }

    pub(super) fn get(&mut self, number: u32) -> io::Result<Option<LedgerEntry>> {
        if number >= self.len() {
            return Ok(None);
        }
        self.read(number).map(|(entry, _)| Some(entry))
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.starts.len()).unwrap_or(u32::MAX)
    }

    /// The entry and, for each index, the number of the one before with the same hash.
    fn read(&mut self, number: u32) -> io::Result<(LedgerEntry, [u32; 2])> {
        let at = number as usize;
        let start = *self.starts.get(at).ok_or_else(damaged)?;
        let length = self.starts.get(at + 1).copied().unwrap_or(self.end) - start;
        let mut record = vec![0; usize::try_from(length).map_err(|_| damaged())?];
        self.file.seek(SeekFrom::Start(start))?;
        self.file.read_exact(&mut record)?;
        let (head, der) = record.split_at_checked(HEAD).ok_or_else(damaged)?;
        let word = |at: usize| head[4 * at..].first_chunk().map_or(NONE, |bytes| u32::from_be_bytes(*bytes));
        let before = [word(1), word(2)];
        // Links lead back, so that a walk ends whatever the file says.
        if word(0) as usize != der.len() || before.iter().any(|link| *link != NONE && *link >= number) {
            return Err(damaged());
        }
        let key = match (head[12], head[13..].first_chunk::<32>()) {
            (0, _) => None,
            (1, Some(key)) => Some(IdempotencyKey::new(*key)),
            _ => return Err(damaged()),
        };
        let certificate = Certificate::from_der(der, &Limits::default()).map_err(|_| damaged())?;
        let entry = LedgerEntry::new(&self.provider, &certificate, key).map_err(|_| damaged())?;
        Ok((entry, before))
    }

    fn hash(&self, by: By<'_>) -> u64 {
        match by {
            By::Key(key) => self.secret.hash_one(key.as_bytes()),
            By::Serial(serial) => self.secret.hash_one(serial.as_be_bytes()),
        }
    }
}

fn position(by: By<'_>) -> usize {
    match by {
        By::Key(_) => 0,
        By::Serial(_) => 1,
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the ledger file was changed or damaged")
}

#[cfg(all(test, feature = "ring", feature = "aws-lc-rs"))]
mod tests {
    use super::*;
    use crate::adapters::LocalCa;
    use crate::message::name::Name;
    use crate::terms::{KeyAlgorithm, KeyUsage};

    fn store(folder: &tempfile::TempDir) -> (FileStore, Vec<LedgerEntry>) {
        let provider = CryptoProvider::ring_and_aws_lc_rs();
        let ca = LocalCa::new(provider.clone(), "CA".parse().unwrap(), KeyAlgorithm::EcP256).unwrap();
        let spki = ca.certificate().spki().to_vec();
        let mut store = FileStore::create(&folder.path().join("ledger"), provider.clone()).unwrap();
        let entries: Vec<_> = (0..3u8)
            .map(|number| {
                let subject = Name::parse_cert_str(&format!("CN=device {number}")).unwrap();
                let usage = KeyUsage::SIGN_AND_ENCIPHER;
                let day = core::time::Duration::from_secs(86_400);
                let certificate = ca.issue_service_certificate(subject, &spki, usage, &[], day).unwrap();
                let key = (number > 0).then(|| IdempotencyKey::new([number; 32]));
                LedgerEntry::new(&provider, &certificate, key).unwrap()
            })
            .collect();
        entries.iter().for_each(|entry| store.record(entry).unwrap());
        (store, entries)
    }

    #[test]
    fn every_index_finds_its_entry() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, entries) = store(&folder);
        for (number, entry) in entries.iter().enumerate() {
            assert_eq!(store.find(By::Serial(&entry.serial)).unwrap(), Some((number as u32, entry.clone())));
            assert_eq!(store.get(number as u32).unwrap().as_ref(), Some(entry));
        }
        assert_eq!(store.find(By::Key(&IdempotencyKey::new([1; 32]))).unwrap(), Some((1, entries[1].clone())));
        assert_eq!(store.find(By::Key(&IdempotencyKey::new([0; 32]))).unwrap(), None, "zeros stand for no key");
        assert_eq!(store.get(3).unwrap(), None);
    }

    #[test]
    fn entries_whose_hashes_collide_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, entries) = store(&folder);
        let (first, other) = (IdempotencyKey::new([1; 32]), IdempotencyKey::new([9; 32]));
        // As if the key of a new entry and an unknown one had the hash of the first.
        let hash = store.hash(By::Key(&first));
        let newer = LedgerEntry { idempotency_key: Some(other), ..entries[2].clone() };
        let hash_of_other = store.hash(By::Key(&other));
        store.newest[0].insert(hash_of_other, 1);
        store.record(&newer).unwrap();
        store.newest[0].insert(hash, 3);
        assert_eq!(store.find(By::Key(&first)).unwrap(), Some((1, entries[1].clone())));
        assert_eq!(store.find(By::Key(&other)).unwrap().unwrap().0, 3);
        let unknown = IdempotencyKey::new([7; 32]);
        let hash_of_unknown = store.hash(By::Key(&unknown));
        store.newest[0].insert(hash_of_unknown, 3);
        assert_eq!(store.find(By::Key(&unknown)).unwrap(), None);
    }

    #[test]
    fn a_damaged_file_is_an_error_and_no_wrong_answer() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, entries) = store(&folder);
        let path = folder.path().join("ledger");
        let sound = std::fs::read(&path).unwrap();
        let mut link_ahead = sound.clone();
        link_ahead[8..12].copy_from_slice(&2u32.to_be_bytes());
        for damaged in [Vec::new(), sound[..sound.len() - 1].to_vec(), link_ahead, vec![0xff; sound.len()]] {
            std::fs::write(&path, damaged).unwrap();
            let outcomes = entries.iter().map(|entry| store.find(By::Serial(&entry.serial)));
            assert!(outcomes.filter(|outcome| outcome.is_err()).count() > 0);
        }
        std::fs::write(&path, sound).unwrap();
        assert!(store.find(By::Serial(&entries[0].serial)).unwrap().is_some());
    }
}
