//! What is to be done, decided from what is known: no network, no files.

use std::collections::HashMap;

use super::list::{ImportList, ImportRow};
use super::results::ResultFile;
use crate::adapters::graph::check::CheckedPfx;
use crate::adapters::graph::purpose::IntendedPurpose;
use crate::adapters::graph::record::{PfxId, PfxRecord, padding_name};
use crate::ids::Thumbprint;

/// What is done about a record of the same user and certificate that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnExisting {
    /// It is left as it is.
    #[default]
    Keep,
    /// It gets this PFX, its password and purpose.
    Update,
}

/// What a row begins with.
#[derive(Debug)]
#[non_exhaustive]
pub enum PlannedRow {
    /// An earlier run did it.
    DoneBefore(ImportRow),
    /// An earlier line says the same.
    Repeats {
        /// The row.
        row: ImportRow,
        /// The earlier line.
        line: usize,
    },
    /// Its file is opened and checked.
    Check(ImportRow),
}

impl PlannedRow {
    pub(super) fn row(&self) -> &ImportRow {
        match self {
            Self::DoneBefore(row) | Self::Repeats { row, .. } | Self::Check(row) => row,
        }
    }
}

/// Plans the rows of a list: each has exactly one entry, in the list's order.
#[must_use]
pub fn plan(list: ImportList, results: Option<&ResultFile>) -> Vec<PlannedRow> {
    let mut seen: HashMap<(String, String), usize> = HashMap::new();
    let mut planned = Vec::with_capacity(list.rows.len());
    for row in list.rows {
        let first = *seen.entry((row.file.clone(), row.upn.to_lowercase())).or_insert(row.line);
        planned.push(if first != row.line {
            PlannedRow::Repeats { row, line: first }
        } else if results.is_some_and(|results| results.is_done(&row.file, &row.upn)) {
            PlannedRow::DoneBefore(row)
        } else {
            PlannedRow::Check(row)
        });
    }
    planned
}

/// What is sent for a PFX that passed its checks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// A new record.
    Create,
    /// New contents for that record.
    Update(PfxId),
    /// Nothing; the text says in what the record that is there differs from what would have been written.
    Keep(String),
}

/// Decides what is sent.
#[must_use]
pub fn decide(checked: &CheckedPfx, existing: Option<&PfxRecord>, on_existing: OnExisting) -> Decision {
    match (existing, on_existing) {
        (None, _) => Decision::Create,
        (Some(record), OnExisting::Update) => Decision::Update(record.id.clone()),
        (Some(record), OnExisting::Keep) => Decision::Keep(differences(checked, record)),
    }
}

fn differences(checked: &CheckedPfx, record: &PfxRecord) -> String {
    let key = checked.key();
    let padding = record.padding_scheme.map(padding_name);
    let purpose = record.intended_purpose.map(IntendedPurpose::as_str);
    let members = [
        ("purpose", purpose, checked.purpose().as_str()),
        ("provider", record.provider_name.as_deref(), key.provider_name()),
        ("key", record.key_name.as_deref(), key.key_name()),
        ("padding", padding, padding_name(key.padding())),
    ];
    let differing: Vec<String> = members
        .into_iter()
        .filter(|(_, there, ours)| there.is_some_and(|there| there != *ours))
        .map(|(name, there, ours)| format!("{name} {} instead of {ours}", there.unwrap_or_default()))
        .collect();
    if differing.is_empty() {
        "there is a record of this certificate already".to_owned()
    } else {
        format!("there is a record of this certificate already, with {}: update it if that is wrong", differing.join(", "))
    }
}

/// Which line has which certificate of which user in hand: two lines must not race for one record.
#[derive(Debug, Default)]
pub(super) struct Claims(HashMap<(String, Thumbprint), usize>);

impl Claims {
    /// The line that came first, when it is another.
    pub(super) fn claim(&mut self, upn: &str, thumbprint: Thumbprint, line: usize) -> Option<usize> {
        let first = *self.0.entry((upn.to_lowercase(), thumbprint)).or_insert(line);
        (first != line).then_some(first)
    }
}
