//! What to do about an import request: pure.

use crate::message::pfx::{PfxError, PfxErrorKind};
use crate::message::reencrypt::LegacyPadding;
use crate::ports::Failure;
use crate::retry::ErrorClass;
use crate::terms::PaddingScheme;

/// Keys that are tried for one request: enough for a rotation, few enough that a request stays cheap.
pub(super) const MOST_KEYS: usize = 4;

/// What is accepted only after an opt-in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Accepts {
    pub(super) pkcs1: bool,
    pub(super) oaep_sha1: bool,
    pub(super) unauthenticated_pfx: bool,
}

/// Whether passwords encrypted in this way are decrypted.
pub(super) fn padding(scheme: PaddingScheme, accepts: Accepts) -> Result<LegacyPadding, Failure> {
    let (is_accepted, name, remedy) = match scheme {
        PaddingScheme::Pkcs1 => (accepts.pkcs1, "RSAES-PKCS1-v1_5", "dangerous_accept_pkcs1_passwords"),
        PaddingScheme::OaepSha1 => (accepts.oaep_sha1, "OAEP and SHA-1", "dangerous_accept_oaep_sha1_passwords"),
        PaddingScheme::OaepSha256 | PaddingScheme::OaepSha384 | PaddingScheme::OaepSha512 => return Ok(LegacyPadding::Refuse),
    };
    if is_accepted {
        return Ok(LegacyPadding::DangerouslyAllowPkcs1AndOaepSha1);
    }
    let message = format!(
        "the password is encrypted with {name}, which is refused as legacy: upload the file again with OAEP and SHA-512, or opt in by \
         `ImportConfig::{remedy}`"
    );
    Err(Failure::new(ErrorClass::Policy, message).with_code(Some("padding-scheme".to_owned())))
}

/// What the PFX said to a password.
#[derive(Debug)]
pub(super) enum Opened {
    /// It opened, and its MAC verified.
    MacVerified,
    /// It opened, and nothing proves that it is unchanged or that the password fits.
    Unauthenticated,
    /// It did not open.
    Not(PfxError),
}

/// What one key came to.
#[derive(Debug)]
pub(super) enum Attempt {
    /// The password opens the PFX.
    Good,
    /// Wrong key, bad padding or wrong password: one value for all of it.
    Rejected,
    /// The key could not be reached.
    Unavailable,
    /// It failed for a reason that the PFX or the provider brings, whatever the password.
    Failed(Failure),
}

/// Judges one key. `decrypted`: the key did decrypt the password; otherwise a random one was tried on the PFX in its place, so that the
/// same work was done. The reasons that are told are properties of the file, which its sender knows.
pub(super) fn judge(opened: Opened, decrypted: bool, accepts: Accepts) -> Attempt {
    let error = match opened {
        Opened::MacVerified if decrypted => return Attempt::Good,
        Opened::Unauthenticated if decrypted && accepts.unauthenticated_pfx => return Attempt::Good,
        // Not told from a wrong password: without the opt-in `file` refuses such a file before any key is used.
        Opened::MacVerified | Opened::Unauthenticated => return Attempt::Rejected,
        // It would say that the key did decrypt, to whoever sent the request.
        Opened::Not(PfxError::Crypto(error)) if error.tells_of_the_password() => return Attempt::Rejected,
        Opened::Not(error) => error,
    };
    match error.kind() {
        PfxErrorKind::WrongPassword | PfxErrorKind::WrongPasswordOrDamaged => Attempt::Rejected,
        _ => Attempt::Failed(unopened(&error)),
    }
}

fn unopened(error: &PfxError) -> Failure {
    let class = match error.kind() {
        PfxErrorKind::Crypto => ErrorClass::Configuration,
        PfxErrorKind::UnsupportedAlgorithm | PfxErrorKind::UnsupportedMode => ErrorClass::Unsupported,
        _ => ErrorClass::Request,
    };
    let message = format!("the imported PFX was not opened: {error}");
    Failure::new(class, crate::event::printable(&message)).with_code(Some(error.kind().as_str().to_owned()))
}

/// Whether the file is worth asking a key for, before one is asked. `has_mac`: what [`crate::message::pfx::has_mac`] said. A file without
/// a MAC would otherwise fail in one way for the right password and in another for a wrong one, and so confirm guesses.
pub(super) fn file(has_mac: Result<bool, PfxError>, accepts: Accepts) -> Result<(), Failure> {
    match has_mac {
        Ok(has_mac) if has_mac || accepts.unauthenticated_pfx => Ok(()),
        Ok(_) => {
            let message = "the imported PFX file has no MAC, so nothing proves that the password fits or that the file is unchanged; no key \
                           was used: export the file again with a password and a MAC and upload that, or opt in by \
                           `ImportConfig::dangerous_accept_unauthenticated_pfx`";
            let code = PfxErrorKind::Unauthenticated.as_str().to_owned();
            Err(Failure::new(ErrorClass::Request, message).with_code(Some(code)))
        }
        Err(error) => Err(unopened(&error)),
    }
}

/// What all keys came to.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Go on with the password of the key that was good.
    Good,
    /// Try again: a key that may be the right one was out of reach.
    Retry(Failure),
    /// Over.
    Fail(Failure),
}

/// Judges all keys that were tried, in order; the last may have been followed by others that were not tried any more.
pub(super) fn conclude(attempts: Vec<Attempt>) -> Verdict {
    if attempts.is_empty() {
        let message = "no key of the name in the request is in the key store: install it on every instance, or upload the file for another";
        return Verdict::Fail(Failure::new(ErrorClass::Configuration, message));
    }
    if attempts.iter().any(|attempt| matches!(attempt, Attempt::Good)) {
        return Verdict::Good;
    }
    if attempts.iter().any(|attempt| matches!(attempt, Attempt::Unavailable)) {
        return Verdict::Retry(Failure::new(ErrorClass::Transient, "the key that opens the password is unavailable"));
    }
    let failed = attempts.into_iter().find_map(|attempt| match attempt {
        Attempt::Failed(failure) => Some(failure),
        _ => None,
    });
    Verdict::Fail(failed.unwrap_or_else(rejected))
}

/// The one failure for wrong key, bad padding and wrong password.
fn rejected() -> Failure {
    Failure::new(ErrorClass::Request, "the password could not be decrypted, or it does not open the PFX: upload the file again")
        .with_code(Some("password-rejected".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::pfx::PasswordUse;

    const EVERYTHING: Accepts = Accepts { pkcs1: true, oaep_sha1: true, unauthenticated_pfx: true };

    #[test]
    fn legacy_paddings_are_refused_unless_opted_in() {
        for scheme in [PaddingScheme::Pkcs1, PaddingScheme::OaepSha1] {
            let refused = padding(scheme, Accepts::default()).unwrap_err();
            assert_eq!(refused.class, ErrorClass::Policy);
            assert!(refused.message.contains("dangerous_accept_"), "{}", refused.message);
            let other = Accepts { pkcs1: !EVERYTHING.pkcs1, ..EVERYTHING };
            assert!(padding(scheme, EVERYTHING).is_ok());
            assert_eq!(padding(scheme, other).is_ok(), scheme == PaddingScheme::OaepSha1, "one opt-in does not bring the other");
        }
        for scheme in [PaddingScheme::OaepSha256, PaddingScheme::OaepSha384, PaddingScheme::OaepSha512] {
            assert_eq!(padding(scheme, Accepts::default()).ok(), Some(LegacyPadding::Refuse));
        }
    }

    #[test]
    fn wrong_key_and_wrong_password_end_in_equal_failures() {
        let wrong_password = || Opened::Not(PfxError::WrongPassword(PasswordUse::Mac));
        let fail = |attempt| match conclude(vec![attempt]) {
            Verdict::Fail(failure) => failure,
            other => panic!("{other:?}"),
        };
        let by_key = fail(judge(wrong_password(), false, EVERYTHING));
        let by_password = fail(judge(wrong_password(), true, EVERYTHING));
        // A substitute that opened by chance, or a file that opens with any password, is no success either.
        let by_chance = fail(judge(Opened::MacVerified, false, EVERYTHING));
        let without_mac = fail(judge(Opened::Unauthenticated, false, EVERYTHING));
        assert_eq!(by_key, by_password);
        assert_eq!(by_key, by_chance);
        assert_eq!(by_key, without_mac);
    }

    #[test]
    fn a_pfx_without_mac_is_refused_unless_opted_in() {
        assert!(file(Ok(false), Accepts::default()).unwrap_err().message.contains("dangerous_accept_unauthenticated_pfx"));
        assert!(file(Ok(false), EVERYTHING).is_ok());
        assert!(file(Ok(true), Accepts::default()).is_ok());
        assert!(file(Err(PfxError::Damaged("cut")), EVERYTHING).is_err());
        assert!(matches!(judge(Opened::Unauthenticated, true, Accepts::default()), Attempt::Rejected), "it confirms no password");
        assert!(matches!(judge(Opened::Unauthenticated, true, EVERYTHING), Attempt::Good));
    }

    #[test]
    fn an_unavailable_key_is_tried_again_only_when_no_other_key_works() {
        assert!(matches!(conclude(vec![Attempt::Unavailable, Attempt::Good]), Verdict::Good));
        assert!(matches!(conclude(vec![Attempt::Rejected, Attempt::Unavailable]), Verdict::Retry(_)));
        assert!(matches!(conclude(vec![]), Verdict::Fail(_)));
    }
}
