//! What an imported certificate is for.

use core::fmt;
use core::str::FromStr;

/// Graph's `userPfxIntendedPurpose`. Written in camel case, as its documentation has it; read in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum IntendedPurpose {
    /// 0: no profile asks for it.
    Unassigned,
    /// 1: S/MIME encryption.
    SmimeEncryption,
    /// 2: S/MIME signatures.
    SmimeSigning,
    /// 4: VPN, which the service does not support.
    Vpn,
    /// 8: Wi-Fi.
    Wifi,
}

impl IntendedPurpose {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Unassigned, Self::SmimeEncryption, Self::SmimeSigning, Self::Vpn, Self::Wifi];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unassigned => "unassigned",
            Self::SmimeEncryption => "smimeEncryption",
            Self::SmimeSigning => "smimeSigning",
            Self::Vpn => "vpn",
            Self::Wifi => "wifi",
        }
    }

    /// Whether it is one of mail.
    #[must_use]
    pub const fn is_smime(self) -> bool {
        matches!(self, Self::SmimeEncryption | Self::SmimeSigning)
    }
}

impl fmt::Display for IntendedPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text is no purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such purpose: give smimeEncryption, smimeSigning, wifi or unassigned")]
pub struct UnknownPurpose;

impl FromStr for IntendedPurpose {
    type Err = UnknownPurpose;

    fn from_str(text: &str) -> Result<Self, UnknownPurpose> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str().eq_ignore_ascii_case(text)).ok_or(UnknownPurpose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_in_camel_case_and_read_in_any() {
        for text in ["smimeEncryption", "SmimeEncryption", "SMIMEENCRYPTION"] {
            assert_eq!(text.parse::<IntendedPurpose>().unwrap().as_str(), "smimeEncryption");
        }
        assert_eq!("VPN".parse(), Ok(IntendedPurpose::Vpn));
        assert!("mail".parse::<IntendedPurpose>().is_err());
    }
}
