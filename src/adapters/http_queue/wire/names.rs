//! Terms as the protocol spells them. Reading gives `None` for a name of a later version.

use crate::ports::{ImportPayload, RevocationError};
use crate::retry::ErrorClass;
use crate::terms::{Flow, KeyAlgorithm, PaddingScheme, PfxProfile, RevocationReason};

macro_rules! names {
    ($write:ident, $read:ident, $of:ident { $($variant:ident = $name:literal),+ $(,)? }) => {
        pub(crate) const fn $write(value: $of) -> &'static str {
            match value {
                $($of::$variant => $name,)+
            }
        }

        pub(crate) fn $read(name: &str) -> Option<$of> {
            match name {
                $($name => Some($of::$variant),)+
                _ => None,
            }
        }
    };
}

names!(write_flow, read_flow, Flow {
    Pkcs = "pkcs",
    PkcsRecrypt = "pkcs-recrypt",
    PkcsImport = "pkcs-import",
    Revoke = "revoke",
    Scep = "scep",
    Health = "health",
});

names!(write_key_algorithm, read_key_algorithm, KeyAlgorithm {
    Rsa2048 = "rsa-2048",
    Rsa3072 = "rsa-3072",
    Rsa4096 = "rsa-4096",
    EcP256 = "ec-p256",
    EcP384 = "ec-p384",
});

names!(write_pfx_profile, read_pfx_profile, PfxProfile { Modern = "modern", Compat = "compat", Pbmac1 = "pbmac1" });

// The names of Graph's `userPfxPaddingScheme`.
names!(write_padding, read_padding, PaddingScheme {
    Pkcs1 = "pkcs1",
    OaepSha1 = "oaepSha1",
    OaepSha256 = "oaepSha256",
    OaepSha384 = "oaepSha384",
    OaepSha512 = "oaepSha512",
});

// The names of RFC 5280 section 5.3.1.
names!(write_reason, read_reason, RevocationReason {
    Unspecified = "unspecified",
    KeyCompromise = "keyCompromise",
    CaCompromise = "cACompromise",
    AffiliationChanged = "affiliationChanged",
    Superseded = "superseded",
    CessationOfOperation = "cessationOfOperation",
    PrivilegeWithdrawn = "privilegeWithdrawn",
});

names!(write_import_payload, read_import_payload, ImportPayload { Password = "password", Pfx = "pfx" });

/// As Microsoft's revocation API spells it, and no other way.
pub(crate) fn read_revocation_error(name: &str) -> Option<RevocationError> {
    RevocationError::ALL.into_iter().find(|error| error.name() == name)
}

names!(write_class, read_class, ErrorClass {
    Transient = "transient",
    Throttled = "throttled",
    Request = "request",
    Policy = "policy",
    Configuration = "configuration",
    Unsupported = "unsupported",
    Deadline = "deadline",
    Internal = "internal",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_and_classes_have_the_names_that_events_have() {
        for flow in [Flow::Pkcs, Flow::PkcsRecrypt, Flow::PkcsImport, Flow::Revoke, Flow::Scep, Flow::Health] {
            assert_eq!(write_flow(flow), flow.as_str());
        }
        for class in ["transient", "throttled", "request", "policy", "configuration", "unsupported", "deadline", "internal"] {
            assert_eq!(read_class(class).map(ErrorClass::as_str), Some(class));
        }
    }
}
