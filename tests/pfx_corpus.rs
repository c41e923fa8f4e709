//! The PFX reader over a corpus of files made by other programs (`manifest.tsv` in the folder of vectors).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use intune_connector::crypto::CryptoProvider;
use intune_connector::limits::{Budget, Limits};
use intune_connector::message::certificate::Certificate;
use intune_connector::message::pfx::{self, Identity, OpenOptions, OpenedPfx, PfxError, PfxErrorKind, PfxPasswords};
use intune_connector::secret::Password;

/// Files that do not do what the manifest expects, with the reason. One that does after all fails the test.
const KNOWN_DIFFERENCES: &[(&str, &str)] = &[];

/// The fixed work budget of a refusal, in key derivation iterations: a tenth of a second in the slowest back end.
const MOST_WORK_TO_REFUSE: u64 = 100_000;

struct Row {
    file: String,
    source: String,
    passwords: (Option<Password>, Option<Password>),
    expected: String,
    min_keys: usize,
    min_certificates: usize,
}

fn rows(folder: &Path) -> Vec<Row> {
    let manifest = std::fs::read_to_string(folder.join("manifest.tsv")).expect("the manifest can be read");
    let rows = manifest.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    rows.filter(|columns| columns.get(8) == Some(&"pfx"))
        .map(|columns| Row {
            file: columns[0].to_owned(),
            source: columns[1].to_owned(),
            passwords: passwords(columns[2]),
            expected: columns[4].to_owned(),
            min_keys: columns[6].parse().unwrap_or(0),
            min_certificates: columns[7].parse().unwrap_or(0),
        })
        .collect()
}

fn passwords(column: &str) -> (Option<Password>, Option<Password>) {
    if column == "(absent)" {
        return (None, None);
    }
    if let Some((mac, cipher)) = column.strip_prefix("mac=").and_then(|rest| rest.split_once("|cipher=")) {
        return (Some(mac.into()), Some(cipher.into()));
    }
    let one = column.strip_prefix("(latin1)").unwrap_or(column);
    (Some(one.into()), Some(one.into()))
}

/// The outcome, and the key derivation iterations that it took.
fn open(folder: &Path, row: &Row, provider: &CryptoProvider) -> (Result<OpenedPfx, PfxError>, u64) {
    let der = std::fs::read(folder.join(&row.file)).unwrap_or_else(|error| panic!("{}: {error}", row.file));
    let passwords = PfxPasswords::separate(row.passwords.0.as_ref(), row.passwords.1.as_ref());
    let mut budget = Budget::new(&Limits::default());
    let outcome = pfx::open_with(&der, &OpenOptions::new(passwords), provider, &mut budget);
    (outcome, budget.spent_kdf_iterations())
}

/// What is wrong with the chain of an identity: leaf first, by the key; then each the issuer of the one before, by name and identifier.
fn chain_fault(identity: &Identity<'_>, provider: &CryptoProvider) -> Option<String> {
    let parsed = identity.certificates().map(|certificate| Certificate::from_der(&certificate.der, &Limits::default()));
    // What this crate's stricter reader refuses is still given as bytes.
    let Ok(chain) = parsed.collect::<Result<Vec<_>, _>>() else { return None };
    if let Ok(key) = provider.signing_keys().unwrap().load(&identity.key.key)
        && key.public_key().as_ref() != chain[0].spki()
    {
        return Some("the leaf has another key".to_owned());
    }
    let link = chain.windows(2).position(|pair| {
        let (child, issuer) = (&pair[0], &pair[1]);
        let by_identifier = match (child.authority_key_identifier(), issuer.subject_key_identifier()) {
            (Some(wanted), Some(found)) => wanted == found,
            _ => true,
        };
        child.issuer().as_der() != issuer.subject().as_der() || !by_identifier
    });
    link.map(|index| format!("certificate {} of the chain is not the issuer of the one before", index + 1))
}

/// `None` when the outcome is what the row expects, else what is wrong with it.
fn judge(row: &Row, outcome: &Result<OpenedPfx, PfxError>, spent: u64, provider: &CryptoProvider) -> Option<String> {
    if row.expected == "reject" && spent > MOST_WORK_TO_REFUSE {
        return Some(format!("its refusal took {spent} iterations"));
    }
    match (row.expected.as_str(), outcome) {
        ("ok" | "quirk" | "two-pw", Err(error)) => Some(format!("{}: {error}", error.kind())),
        ("ok" | "quirk" | "two-pw", Ok(opened)) => {
            let contents = opened.contents();
            let (keys, certificates, pairs) = (contents.keys.len(), contents.certificates.len(), contents.identities().count());
            if keys < row.min_keys || certificates < row.min_certificates {
                Some(format!("{keys} keys and {certificates} certificates, not {} and {}", row.min_keys, row.min_certificates))
            } else if certificates > 0 && pairs < keys {
                Some(format!("only {pairs} of {keys} keys have found their certificate"))
            } else {
                contents.identities().find_map(|identity| chain_fault(&identity, provider))
            }
        }
        ("reject", Ok(_)) => Some("opened although it must be refused".to_owned()),
        ("optional", Err(error)) => {
            let clean = matches!(error.kind(), PfxErrorKind::UnsupportedAlgorithm | PfxErrorKind::UnsupportedMode);
            (!clean).then(|| format!("neither opened nor cleanly unsupported: {error}"))
        }
        _ => None,
    }
}

#[test]
fn every_file_of_the_corpus_opens_or_is_refused_as_expected() {
    let Some(folder) = support::vectors() else { return };
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let mut table = BTreeMap::<(String, String), [usize; 3]>::new();
    let mut faults = Vec::new();
    let mut most_work = 0;
    let rows = rows(&folder);
    assert!(rows.len() > 500, "the manifest has lost its rows");
    for row in &rows {
        let (outcome, spent) = open(&folder, row, &provider);
        if row.expected == "reject" {
            most_work = most_work.max(spent);
        }
        let known = KNOWN_DIFFERENCES.iter().find(|(file, _)| *file == row.file);
        let cell = table.entry((row.source.clone(), row.expected.clone())).or_default();
        let verdict = judge(row, &outcome, spent, &provider);
        cell[if verdict.is_some() { 2 } else { usize::from(outcome.is_err()) }] += 1;
        match (verdict, known) {
            (Some(what), None) => faults.push(format!("{} ({}): {what}", row.file, row.expected)),
            (None, Some((file, reason))) => faults.push(format!("{file}: behaves as expected, so it is no known difference: {reason}")),
            _ => {}
        }
        if std::env::var_os("PFX_CORPUS_VERBOSE").is_some() {
            let shown = match &outcome {
                Ok(opened) => {
                    let contents = opened.contents();
                    let form = opened.mac().map(|mac| mac.password_form());
                    let (keys, pairs) = (contents.keys.len(), contents.identities().count());
                    format!("{keys} keys, {} certificates, {pairs} pairs, {form:?}", contents.certificates.len())
                }
                Err(error) => format!("{}: {error}", error.kind()),
            };
            println!("{}\t{}\t{shown}", row.expected, row.file);
        }
    }
    println!("{:<20} {:<9} {:>6} {:>7} {:>6}", "source", "expected", "opened", "refused", "failed");
    for ((source, expected), [opened, refused, failed]) in &table {
        println!("{source:<20} {expected:<9} {opened:>6} {refused:>7} {failed:>6}");
    }
    println!("most work to refuse a file: {most_work} iterations");
    assert!(faults.is_empty(), "{} files:\n{}", faults.len(), faults.join("\n"));
}
