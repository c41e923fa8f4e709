//! Four numbers, compared as numbers.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// A version such as `6.2406.0.1001`. The second number is year and month of the branch, not of the release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ConnectorVersion([u32; 4]);

/// A text that is no version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a connector version: four decimal numbers with dots between are expected, such as 6.2406.0.1001")]
pub struct InvalidVersion;

impl ConnectorVersion {
    /// From its four numbers.
    #[must_use]
    pub const fn new(parts: [u32; 4]) -> Self {
        Self(parts)
    }

    /// The four numbers.
    #[must_use]
    pub const fn parts(self) -> [u32; 4] {
        self.0
    }
}

impl FromStr for ConnectorVersion {
    type Err = InvalidVersion;
    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let mut parts = text.split('.').map(|part| {
            let digits = (1..=10).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
            if digits { part.parse().map_err(|_| InvalidVersion) } else { Err(InvalidVersion) }
        });
        let mut next = || parts.next().unwrap_or(Err(InvalidVersion));
        let version = Self([next()?, next()?, next()?, next()?]);
        if parts.next().is_some() { Err(InvalidVersion) } else { Ok(version) }
    }
}

impl TryFrom<String> for ConnectorVersion {
    type Error = InvalidVersion;
    fn try_from(text: String) -> Result<Self, InvalidVersion> {
        text.parse()
    }
}

impl From<ConnectorVersion> for String {
    fn from(version: ConnectorVersion) -> String {
        version.to_string()
    }
}

impl fmt::Display for ConnectorVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        write!(f, "{a}.{b}.{c}.{d}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        let ordered = ["6.1904.1.0", "6.2101.13.0", "6.2112.1.0", "6.2202.38.0", "6.2203.12.0", "6.2205.201.0", "6.2206.122.0"];
        let parsed: Vec<ConnectorVersion> = ordered.iter().map(|text| text.parse().unwrap()).collect();
        assert!(parsed.is_sorted());
        assert!("6.2101.13.0".parse::<ConnectorVersion>().unwrap() > "6.2101.9.0".parse().unwrap());
        assert_eq!(parsed[0].to_string(), ordered[0]);
        for wrong in ["", "6.2101.13", "6.2101.13.0.1", "6.2101.x.0", "6.+1.1.1", "6..1.1", "6.4294967296.0.0", " 6.1.1.1"] {
            assert!(wrong.parse::<ConnectorVersion>().is_err(), "{wrong}");
        }
    }
}
