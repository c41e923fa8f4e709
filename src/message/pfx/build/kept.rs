//! What of a file that was read cannot be written again.

use core::fmt;
use std::collections::HashSet;

use crate::message::pfx::contents::OtherBagKind;

/// A part of a file that was read and that cannot be written again; keys and certificates never are such parts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeftOut {
    /// A friendlyName with characters that readers refuse: beyond the basic multilingual plane, or control characters.
    FriendlyName {
        /// The name.
        name: String,
    },
    /// An attribute whose identifier or value is malformed.
    Attribute {
        /// Its object identifier as read.
        oid: String,
    },
    /// A bag whose value is malformed, or a Java secret key, which is encrypted once more under the old password.
    Bag {
        /// What it is.
        kind: OtherBagKind,
        /// Its object identifier as read.
        oid: String,
    },
}

impl LeftOut {
    /// The same for all of a kind, for errors that carry no part of the file.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::FriendlyName { .. } => {
                "a friendly name in the file that was read holds control characters or one beyond the basic multilingual plane"
            }
            Self::Attribute { .. } => "an attribute in the file that was read is malformed",
            Self::Bag { kind: OtherBagKind::Secret, .. } => {
                "a secret in the file that was read is malformed or encrypted in itself under the old password"
            }
            Self::Bag { .. } => "a bag in the file that was read is malformed",
        }
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FriendlyName { name } => write!(f, "the friendly name {name:?}")?,
            Self::Attribute { oid } => write!(f, "the attribute {oid}")?,
            Self::Bag { kind, oid } => write!(f, "the {} bag {oid}", kind.as_str())?,
        }
        write!(f, " was left out: {}", self.reason())
    }
}

/// Collects them.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) left_out: Vec<LeftOut>,
    seen: HashSet<LeftOut>,
}

impl Kept {
    pub(super) fn left_out_name(&mut self, name: &str) {
        self.add(LeftOut::FriendlyName { name: name.to_owned() });
    }

    pub(super) fn left_out_attribute(&mut self, oid: &str) {
        self.add(LeftOut::Attribute { oid: oid.to_owned() });
    }

    pub(super) fn left_out_bag(&mut self, kind: OtherBagKind, oid: &str) {
        self.add(LeftOut::Bag { kind, oid: oid.to_owned() });
    }

    /// Key and certificate have one name, which is said once.
    fn add(&mut self, left_out: LeftOut) {
        // A set, since a hostile file loses attributes by the ten thousand.
        if self.seen.insert(left_out.clone()) {
            self.left_out.push(left_out);
        }
    }
}
