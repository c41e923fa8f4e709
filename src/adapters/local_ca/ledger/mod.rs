//! What a [`LocalCa`](super::LocalCa) remembers, in memory or in a file.

mod file;
mod memory;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use rustls_pki_types::CertificateDer;

use self::file::FileStore;
use self::memory::MemoryStore;
use crate::crypto::{CryptoError, CryptoProvider, DigestAlgorithm};
use crate::ids::{IdempotencyKey, SerialNumber, Thumbprint};
use crate::message::X509Error;
use crate::message::certificate::Certificate;
use crate::terms::RevocationReason;
use crate::time::Timestamp;

/// One certificate that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LedgerEntry {
    /// Its serial number.
    pub serial: SerialNumber,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub public_key_digest: [u8; 32],
    /// Its thumbprint.
    pub thumbprint: Thumbprint,
    /// The request that it was issued for; `None` for a service certificate.
    pub idempotency_key: Option<IdempotencyKey>,
    /// When and why it was revoked.
    pub revoked: Option<(Timestamp, RevocationReason)>,
    /// The certificate.
    pub certificate: CertificateDer<'static>,
}

impl LedgerEntry {
    pub(super) fn new(provider: &CryptoProvider, certificate: &Certificate, key: Option<IdempotencyKey>) -> Result<Self, X509Error> {
        Ok(Self {
            serial: certificate.serial().cloned().ok_or(X509Error::CannotBuild("the serial number is not positive"))?,
            public_key_digest: sha256(provider, certificate.spki())?,
            thumbprint: certificate.thumbprint(provider)?,
            idempotency_key: key,
            revoked: None,
            certificate: certificate.der().clone(),
        })
    }
}

pub(super) fn sha256(provider: &CryptoProvider, bytes: &[u8]) -> Result<[u8; 32], X509Error> {
    let digest = provider.digest()?.digest(DigestAlgorithm::Sha256, &[bytes]).map_err(X509Error::Crypto)?;
    digest.as_ref().try_into().map_err(|_| X509Error::Crypto(CryptoError::Failed))
}

/// What an entry is looked for by. The newest of several is found.
#[derive(Debug, Clone, Copy)]
pub(super) enum By<'a> {
    Key(&'a IdempotencyKey),
    Serial(&'a SerialNumber),
}

impl By<'_> {
    fn matches(self, entry: &LedgerEntry) -> bool {
        match self {
            Self::Key(key) => entry.idempotency_key.as_ref() == Some(key),
            Self::Serial(serial) => entry.serial == *serial,
        }
    }
}

/// All entries, numbered in order of issue, and which of them were revoked.
#[derive(Debug)]
pub(super) struct Ledger {
    store: Store,
    revoked: BTreeMap<u32, (SerialNumber, Timestamp, RevocationReason)>,
}

#[derive(Debug)]
enum Store {
    Memory(MemoryStore),
    File(Box<FileStore>),
}

impl Default for Ledger {
    fn default() -> Self {
        Self { store: Store::Memory(MemoryStore::default()), revoked: BTreeMap::new() }
    }
}

impl Ledger {
    /// Moves what there is into a new file at that path.
    pub(super) fn move_to(&mut self, path: &Path, provider: &CryptoProvider) -> io::Result<()> {
        let mut file = FileStore::create(path, provider.clone())?;
        for number in 0..self.len() {
            if let Some(entry) = self.get(number)? {
                file.record(&entry)?;
            }
        }
        self.store = Store::File(Box::new(file));
        Ok(())
    }

    pub(super) fn record(&mut self, entry: LedgerEntry) -> io::Result<()> {
        if self.len() == u32::MAX {
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "the ledger is full"));
        }
        match &mut self.store {
            Store::Memory(memory) => memory.record(entry),
            Store::File(file) => file.record(&entry)?,
        }
        Ok(())
    }

    pub(super) fn find(&mut self, by: By<'_>) -> io::Result<Option<LedgerEntry>> {
        Ok(self.find_numbered(by)?.map(|(_, entry)| entry))
    }

    /// Whether it was revoked by this call; `None` when no certificate has that serial number.
    pub(super) fn revoke(&mut self, serial: &SerialNumber, at: Timestamp, reason: RevocationReason) -> io::Result<Option<bool>> {
        let Some((number, entry)) = self.find_numbered(By::Serial(serial))? else { return Ok(None) };
        if entry.revoked.is_some() {
            return Ok(Some(false));
        }
        self.revoked.insert(number, (entry.serial, at, reason));
        Ok(Some(true))
    }

    /// What was revoked, in order of issue.
    pub(super) fn revoked(&self) -> impl Iterator<Item = &(SerialNumber, Timestamp, RevocationReason)> {
        self.revoked.values()
    }

    /// Every entry in order, without those that the file does not give back.
    pub(super) fn all(&mut self) -> Vec<LedgerEntry> {
        (0..self.len()).filter_map(|number| self.get(number).ok().flatten()).collect()
    }

    fn len(&self) -> u32 {
        match &self.store {
            Store::Memory(memory) => memory.len(),
            Store::File(file) => file.len(),
        }
    }

    fn get(&mut self, number: u32) -> io::Result<Option<LedgerEntry>> {
        let entry = match &mut self.store {
            Store::Memory(memory) => memory.get(number),
            Store::File(file) => file.get(number)?,
        };
        Ok(entry.map(|entry| self.with_revocation(number, entry)))
    }

    fn find_numbered(&mut self, by: By<'_>) -> io::Result<Option<(u32, LedgerEntry)>> {
        let found = match &mut self.store {
            Store::Memory(memory) => memory.find(by),
            Store::File(file) => file.find(by)?,
        };
        Ok(found.map(|(number, entry)| (number, self.with_revocation(number, entry))))
    }

    fn with_revocation(&self, number: u32, entry: LedgerEntry) -> LedgerEntry {
        LedgerEntry { revoked: self.revoked.get(&number).map(|(_, at, reason)| (*at, *reason)), ..entry }
    }
}
