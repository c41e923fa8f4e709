//! The layers: a module imports only what lies below it. Held against the `crate::` paths in the source.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each room and the rooms that it may import. `lib.rs` may name them all.
const ROOMS: &[(&str, &[&str])] = &[
    ("ids", &[]),
    ("time", &[]),
    ("secret", &[]),
    ("limits", &[]),
    ("retry", &[]),
    ("terms", &["ids"]),
    ("codec", BOTTOM),
    ("crypto", &["codec", "ids", "time", "secret", "limits", "retry", "terms"]),
    ("event", BOTTOM),
    ("ports", &["event", "crypto", "ids", "time", "secret", "limits", "retry", "terms"]),
    ("message", &["crypto", "codec", "ids", "time", "secret", "limits", "retry", "terms"]),
    ("lifecycle", &["message", "ports", "event", "crypto", "ids", "time", "secret", "limits", "retry", "terms"]),
    ("policy", BELOW_FLOW),
    ("flow", &["policy", "lifecycle", "message", "ports", "event", "crypto", "ids", "time", "secret", "limits", "retry", "terms"]),
    ("pkcs", BELOW_FLOWS),
    ("recrypt", BELOW_FLOWS),
    ("import", BELOW_FLOWS),
    ("scep", BELOW_FLOWS),
    ("revoke", BELOW_FLOWS),
    ("health", BELOW_FLOWS),
    (
        "connector",
        &[
            "pkcs",
            "recrypt",
            "import",
            "scep",
            "revoke",
            "health",
            "flow",
            "policy",
            "lifecycle",
            "message",
            "ports",
            "event",
            "crypto",
            "ids",
            "time",
            "secret",
            "limits",
            "retry",
            "terms",
        ],
    ),
    ("conformance", BELOW_FLOWS),
    (
        "adapters",
        &[
            "scep",
            "flow",
            "policy",
            "lifecycle",
            "message",
            "ports",
            "event",
            "crypto",
            "ids",
            "time",
            "secret",
            "limits",
            "retry",
            "terms",
        ],
    ),
];

/// What stands on top of the house imports every room of the table but these: nothing imports it, and its rooms do not import each other.
const TOP: &[&str] = &["dry_run", "doctor", "sim"];
const NOT_FOR_THE_TOP: &[&str] = &["codec", "conformance"];
const BOTTOM: &[&str] = &["ids", "time", "secret", "limits", "retry", "terms"];
const BELOW_FLOW: &[&str] = &["lifecycle", "message", "ports", "event", "crypto", "ids", "time", "secret", "limits", "retry", "terms"];
const BELOW_FLOWS: &[&str] =
    &["flow", "policy", "lifecycle", "message", "ports", "event", "crypto", "ids", "time", "secret", "limits", "retry", "terms"];

#[test]
fn every_room_imports_only_what_lies_below_it() {
    let mut rooms: BTreeMap<&str, BTreeSet<&str>> = ROOMS.iter().map(|(room, below)| (*room, below.iter().copied().collect())).collect();
    let below_the_top: BTreeSet<&str> = rooms.keys().copied().filter(|room| !NOT_FOR_THE_TOP.contains(room)).collect();
    rooms.extend(TOP.iter().map(|room| (*room, below_the_top.clone())));
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (room, file) in source_files() {
        let Some(allowed) = rooms.get(room.as_str()) else {
            wrong.push(format!("{}: the room `{room}` is not in the table of layers", file.display()));
            continue;
        };
        seen.insert(room.clone());
        let text = std::fs::read_to_string(&file).expect("source files are UTF-8");
        for (number, line) in shipped_lines(&text) {
            for target in crate_paths(line) {
                if target != room && rooms.contains_key(target.as_str()) && !allowed.contains(target.as_str()) {
                    wrong.push(format!("{}:{number}: `{room}` imports `{target}`", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports that point upwards or sideways:\n{}", wrong.join("\n"));
    assert!(seen.len() >= 10, "only {seen:?} were read");
}

#[test]
fn the_checker_sees_an_upward_import() {
    assert_eq!(crate_paths("use crate::{flow, ids::Sid};"), ["flow", "ids"]);
    assert_eq!(crate_paths("    let x = crate::connector::build(crate::ids::A);"), ["connector", "ids"]);
    assert_eq!(shipped_lines("a\n#[cfg(test)]\nmod tests {\nuse crate::connector;\n}").count(), 1);
}

/// The lines that ship: what stands above the test module, without comments.
fn shipped_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(index, line)| (index + 1, line))
}

/// The first segments of all `crate::` paths in a line; a grouped import that spans lines must name one room.
fn crate_paths(line: &str) -> Vec<String> {
    let mut out = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        let segment = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        match rest.strip_prefix('{') {
            Some(group) => out.extend(group.split(',').map(|part| segment(part.trim())).filter(|name| !name.is_empty())),
            None => out.push(segment(rest)),
        }
    }
    out
}

/// Every file under `src/` that ships, with its room; `tests.rs` and `tests/` stand behind `cfg(test)`.
fn source_files() -> Vec<(String, PathBuf)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("src can be read") {
            let path = entry.expect("src can be read").path();
            let for_tests = path.file_stem().is_some_and(|stem| stem == "tests");
            if for_tests {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let first = path.strip_prefix(&src).expect("it lies in src").components().next().expect("it has a name");
                let room = first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
                if room != "lib" {
                    files.push((room, path));
                }
            }
        }
    }
    files
}
