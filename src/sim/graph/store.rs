//! What Graph has: users and imported certificates.

use std::collections::BTreeMap;

use super::PfxRecord;

/// Most certificates that are kept, and most users.
const MOST: usize = 100_000;
/// Most bytes of their files and passwords.
const MOST_BYTES: usize = 256 << 20;

#[derive(Debug, Default)]
pub(in crate::sim) struct PfxStore {
    /// By user principal name in lower case: the name as given, and the object id.
    users: BTreeMap<String, (String, String)>,
    records: BTreeMap<String, PfxRecord>,
    bytes: usize,
}

impl PfxStore {
    /// Adds a user, or gives the id that it has.
    ///
    /// # Errors
    /// When there are too many, or the name is blank.
    pub(in crate::sim) fn add_user(&mut self, name: &str, id: String) -> Result<String, String> {
        if name.trim().is_empty() {
            return Err("the user principal name is blank".to_owned());
        }
        if self.users.len() >= MOST {
            return Err(format!("at most {MOST} users are kept; start a new simulator"));
        }
        Ok(self.users.entry(name.to_lowercase()).or_insert_with(|| (name.to_owned(), id)).1.clone())
    }

    /// The name and id of a user, by name in any case or by id.
    pub(super) fn user(&self, key: &str) -> Option<(&str, &str)> {
        let by_name = self.users.get(&key.to_lowercase());
        let found = by_name.or_else(|| self.users.values().find(|(_, id)| id.eq_ignore_ascii_case(key)));
        found.map(|(name, id)| (name.as_str(), id.as_str()))
    }

    pub(super) fn users(&self) -> impl Iterator<Item = (&str, &str)> {
        self.users.values().map(|(name, id)| (name.as_str(), id.as_str()))
    }

    pub(super) fn is_full_for(&self, record: &PfxRecord) -> bool {
        self.records.len() >= MOST || self.bytes + size(record) > MOST_BYTES
    }

    pub(super) fn get(&self, id: &str) -> Option<&PfxRecord> {
        self.records.get(id)
    }

    /// Puts a record in the place of its id.
    pub(super) fn put(&mut self, record: PfxRecord) {
        self.remove(&record.id.clone());
        self.bytes += size(&record);
        self.records.insert(record.id.clone(), record);
    }

    pub(super) fn remove(&mut self, id: &str) -> bool {
        let removed = self.records.remove(id);
        self.bytes -= removed.as_ref().map_or(0, size);
        removed.is_some()
    }

    /// In the order of their ids, from the first after that id on.
    pub(super) fn after<'s>(&'s self, id: Option<&str>) -> impl Iterator<Item = &'s PfxRecord> + use<'s> {
        let start = id.map_or(core::ops::Bound::Unbounded, |id| core::ops::Bound::Excluded(id.to_owned()));
        self.records.range((start, core::ops::Bound::Unbounded)).map(|(_, record)| record)
    }

    pub(in crate::sim) fn copies(&self) -> Vec<PfxRecord> {
        self.records.values().map(PfxRecord::copy).collect()
    }
}

fn size(record: &PfxRecord) -> usize {
    record.encrypted_pfx_blob.len() + record.encrypted_pfx_password.len()
}
