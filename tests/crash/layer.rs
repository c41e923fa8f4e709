//! A file layer that knows what was synced: a power cut leaves that, and some of the rest, sector by sector.
//!
//! SIGKILL alone loses nothing that was written. So the process runs over `layer.c`, which records each write and each sync below the folder of
//! the journal. At the cut the folder is made anew: the synced bytes of each file, and of each 512-byte sector that was written since then the
//! one or the other state; names that were made or removed without a sync of the folder likewise. What a failed sync was to
//! write is lost in any case: Linux does not try again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::random::Random;
use crate::support;

const SECTOR: u64 = 512;

/// The compiled layer; `None` (after saying so) where there is no compiler.
fn compiled() -> Option<&'static Path> {
    static LAYER: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        let cc = support::tool("cc")?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (made, library) = (folder.join(format!("crash-layer-{}.so", std::process::id())), folder.join("crash-layer.so"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash/layer.c");
        support::run(Command::new(cc).args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]).arg(&made).arg(source).arg("-ldl"));
        // Another run of this program may have it loaded.
        fs::rename(made, &library).unwrap();
        Some(library)
    });
    LAYER.as_deref()
}

#[derive(Debug)]
pub struct Layer {
    library: &'static Path,
    swallow_syncs: bool,
    fault: Option<String>,
    cuts_power: bool,
    files: BTreeMap<String, Image>,
    /// Bytes of sectors that a cut has taken.
    pub dropped: u64,
}

/// What is known of one name.
#[derive(Debug, Default)]
struct Image {
    /// What is on the disk for sure.
    synced: Vec<u8>,
    since: Vec<Change>,
    /// Whether the name is there, now and on the disk.
    named: bool,
    named_on_disk: bool,
    /// What the disk has under this name when a new file took it without a sync of the folder.
    before: Option<Vec<u8>>,
}

#[derive(Debug, Clone)]
enum Change {
    Write { at: u64, data: Vec<u8> },
    Length(u64),
}

impl Layer {
    /// `None` (after saying so) where it cannot be: outside Linux, or without a C compiler.
    pub fn new() -> Option<Self> {
        if !cfg!(all(target_os = "linux", target_env = "gnu")) {
            support::skip("a file layer for this system");
            return None;
        }
        Some(Self { library: compiled()?, swallow_syncs: false, fault: None, cuts_power: true, files: BTreeMap::new(), dropped: 0 })
    }

    /// The same over an empty folder.
    pub fn again(&self) -> Self {
        Self { fault: self.fault.clone(), files: BTreeMap::new(), dropped: 0, ..*self }
    }

    /// Syncs are answered and not done.
    pub fn swallow_syncs(mut self) -> Self {
        self.swallow_syncs = true;
        self
    }

    /// Of the calls of that kind (`write`, `sync`, `open`) so many fail, from the so many-th of a process on.
    pub fn fail(mut self, kind: &str, errno: i32, from: u64, count: u64) -> Self {
        self.fault = Some(format!("{kind}:{errno}:{from}:{count}"));
        self
    }

    /// Later processes find a layer that fails no call.
    pub fn heal(&mut self) {
        self.fault = None;
    }

    /// Kills leave the files as they are.
    pub fn without_cuts(mut self) -> Self {
        self.cuts_power = false;
        self
    }

    pub fn cuts_power(&self) -> bool {
        self.cuts_power
    }

    fn log(folder: &Path) -> PathBuf {
        folder.with_file_name("layer")
    }

    /// Lets that process work over the layer.
    pub fn under(&self, command: &mut Command, folder: &Path) {
        command.env("LD_PRELOAD", self.library).env("CRASH_LAYER_FOLDER", folder).env("CRASH_LAYER_LOG", Self::log(folder));
        if self.swallow_syncs {
            command.env("CRASH_LAYER_SWALLOW", "1");
        }
        if let Some(fault) = &self.fault {
            command.env("CRASH_LAYER_FAULT", fault);
        }
    }

    /// No process is there any more: leaves what a disk would have.
    pub fn cut_power(&mut self, folder: &Path, random: &mut Random) {
        self.replay(&fs::read(Self::log(folder)).unwrap_or_default());
        let _ = fs::remove_file(Self::log(folder));
        // All that was not synced is lost, or nothing, or some of it.
        let keep = [0, 4, 2, 2][random.below(4) as usize];
        let mut left = BTreeMap::new();
        for (name, image) in std::mem::take(&mut self.files) {
            let there = if image.named == image.named_on_disk { image.named } else { random.below(4) < keep };
            let bytes = match (there, image.before) {
                (true, Some(before)) if random.below(4) >= keep => before,
                (true, _) if image.named || image.named_on_disk => cut(image.synced, image.since, keep, random, &mut self.dropped),
                (false, Some(before)) if image.named => before,
                _ => continue,
            };
            left.insert(name, bytes);
        }
        for entry in fs::read_dir(folder).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for (name, bytes) in left {
            let path = folder.join(&name);
            fs::write(&path, &bytes).unwrap();
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            self.files.insert(name, Image { synced: bytes, named: true, named_on_disk: true, ..Image::default() });
        }
    }

    /// Takes the records; one that was cut off was of a call that was not made.
    fn replay(&mut self, mut log: &[u8]) {
        while let Some((head, rest)) = log.split_at_checked(18) {
            let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap());
            let (kind, name_length, offset, length) = (head[0], usize::from(head[1]), number(2), number(10));
            let data_length = if kind == b'W' { length as usize } else { 0 };
            let Some((name, rest)) = rest.split_at_checked(name_length) else { return };
            let Some((data, rest)) = rest.split_at_checked(data_length) else { return };
            log = rest;
            let name = String::from_utf8(name.to_vec()).unwrap();
            if kind == b'D' {
                self.files.retain(|_, image| image.named);
                for image in self.files.values_mut() {
                    (image.named_on_disk, image.before) = (true, None);
                }
                continue;
            }
            let image = self.files.entry(name).or_default();
            match kind {
                b'C' if !image.named => {
                    let old = std::mem::take(image);
                    let before = if old.named_on_disk { Some(old.synced) } else { old.before };
                    *image = Image { named: true, before, ..Image::default() };
                }
                b'C' => {}
                b'W' => image.since.push(Change::Write { at: offset, data: data.to_vec() }),
                b'T' => image.since.push(Change::Length(offset)),
                b'U' => image.named = false,
                b'S' => {
                    for change in std::mem::take(&mut image.since) {
                        apply(&mut image.synced, &change);
                    }
                }
                b'F' => image.since.retain(|change| matches!(change, Change::Length(_))),
                other => panic!("the layer recorded a `{}`", char::from(other)),
            }
        }
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { at, data } => {
            let (at, end) = (*at as usize, *at as usize + data.len());
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[at..end].copy_from_slice(data);
        }
        Change::Length(length) => bytes.resize(*length as usize, 0),
    }
}

/// Of each sector that was not synced, `keep` in four are there.
fn cut(mut bytes: Vec<u8>, since: Vec<Change>, keep: u64, random: &mut Random, dropped: &mut u64) -> Vec<u8> {
    for change in since {
        let Change::Write { at, data } = change else {
            if random.below(4) < keep {
                apply(&mut bytes, &change);
            }
            continue;
        };
        let mut from = at;
        let end = at + data.len() as u64;
        while from < end {
            let until = ((from / SECTOR + 1) * SECTOR).min(end);
            let part = data[(from - at) as usize..(until - at) as usize].to_vec();
            if random.below(4) < keep {
                apply(&mut bytes, &Change::Write { at: from, data: part });
            } else {
                *dropped += until - from;
            }
            from = until;
        }
    }
    bytes
}
