//! Application roles.

use core::fmt;
use core::str::FromStr;

use super::token::Audience;

/// An application role that the registered app has, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Role {
    /// Intune: `scep_challenge_provider`, for validation, notification and revocation.
    ScepChallengeProvider,
    /// Graph: `Application.Read.All`, for service discovery.
    ApplicationReadAll,
    /// Graph: `DeviceManagementConfiguration.ReadWrite.All`, for userPfxCertificates.
    DeviceManagementConfigurationReadWriteAll,
    /// Graph: `User.Read.All`, for the users' ids.
    UserReadAll,
}

impl Role {
    /// All roles; what a new simulator grants.
    pub const ALL: [Self; 4] =
        [Self::ScepChallengeProvider, Self::ApplicationReadAll, Self::DeviceManagementConfigurationReadWriteAll, Self::UserReadAll];

    /// The name in tokens.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ScepChallengeProvider => "scep_challenge_provider",
            Self::ApplicationReadAll => "Application.Read.All",
            Self::DeviceManagementConfigurationReadWriteAll => "DeviceManagementConfiguration.ReadWrite.All",
            Self::UserReadAll => "User.Read.All",
        }
    }

    pub(super) fn audience(self) -> Audience {
        match self {
            Self::ScepChallengeProvider => Audience::Intune,
            _ => Audience::Graph,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::as_str).join(", ");
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| format!("there is no role `{text}`; there are {}", names()))
    }
}
