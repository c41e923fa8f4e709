//! The feature list: described above each line of the manifest, and the same in the crate documentation.

use std::collections::BTreeSet;

fn manifest_features() -> Vec<(String, bool)> {
    let manifest = include_str!("../Cargo.toml");
    let section = manifest.split("[features]\n").nth(1).and_then(|rest| rest.split("\n[").next()).expect("the manifest has features");
    let mut described = false;
    let mut features = Vec::new();
    for line in section.lines() {
        if line.starts_with('#') {
            described = true;
        } else if let Some((name, _)) = line.split_once(" = ") {
            features.push((name.to_owned(), described));
            described = false;
        }
    }
    features
}

#[test]
fn every_feature_is_described_above_its_line() {
    let undescribed: Vec<_> = manifest_features().into_iter().filter(|(name, described)| name != "default" && !described).collect();
    assert!(undescribed.is_empty(), "{undescribed:?}");
}

#[test]
fn the_crate_documentation_lists_the_same_features() {
    let docs: BTreeSet<String> = include_str!("../src/lib.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `")?.split('`').next().map(str::to_owned))
        .collect();
    let manifest: BTreeSet<String> =
        manifest_features().into_iter().map(|(name, _)| name).filter(|name| name != "default" && !name.starts_with('_')).collect();
    assert_eq!(docs, manifest);
}

#[test]
fn the_first_example_of_the_readme_is_the_doc_test() {
    let readme =
        include_str!("../README.md").split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the README has one");
    let docs: String = include_str!("../src/lib.rs")
        .split("//! ```\n")
        .nth(1)
        .expect("the crate docs have one")
        .lines()
        .map(|line| format!("{}\n", line.strip_prefix("//! ").or_else(|| line.strip_prefix("//!")).expect("it is a doc comment")))
        .collect();
    assert_eq!(docs, readme);
}
