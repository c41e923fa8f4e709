//! What to do about a file that does not open.

use intune_connector::message::pfx::{PasswordUse, PfxError, PfxErrorKind};

/// Steps for the person who has the file, the likeliest first.
pub(crate) fn steps(error: &PfxError, file: &[u8], password_given: bool) -> Vec<String> {
    let mut steps = Vec::new();
    if let Some(found) = looks_like(file) {
        steps.push(found.to_owned());
        return steps;
    }
    match error.kind() {
        PfxErrorKind::WrongPassword | PfxErrorKind::WrongPasswordOrDamaged if !password_given => {
            steps.push("no password was given, so the empty one was tried: give it with --password-file".to_owned());
            steps.push("a file that was written without any password opens with --no-password".to_owned());
        }
        PfxErrorKind::WrongPassword if matches!(error, PfxError::WrongPassword(PasswordUse::Safes)) => {
            steps.push("ask whether keys and file have different passwords: give the file's with --mac-password".to_owned());
            steps.push("else ask for the file again, exported by another program".to_owned());
        }
        PfxErrorKind::WrongPassword | PfxErrorKind::WrongPasswordOrDamaged => {
            steps.push(
                "check the password: letter case, keyboard layout, blanks around it; take it from a file with --password-file".to_owned(),
            );
            steps.push("try no password at all: --no-password".to_owned());
            steps.push("ask the sender for the file and its password again".to_owned());
        }
        PfxErrorKind::Damaged => {
            steps.push("compare size and checksum with the original: the file was changed, cut off, or written wrongly".to_owned());
            steps.push("ask for it again; transfer it as binary, or have it exported by another program".to_owned());
        }
        PfxErrorKind::UnsupportedAlgorithm => {
            steps.push("export it again where the key is, with AES-256 and SHA-256 (Windows: Export-PfxCertificate -CryptoAlgorithmOption AES256_SHA256)".to_owned());
            steps.push(
                "or convert it with a program that opens it: openssl pkcs12 -legacy -in OLD -noenc | openssl pkcs12 -export -out NEW"
                    .to_owned(),
            );
        }
        PfxErrorKind::UnsupportedMode => {
            steps.push("export it again where the key is, protected by a password instead of a public key".to_owned());
        }
        PfxErrorKind::LimitExceeded => {
            steps.push("be careful: a file that demands so much is more likely hostile than right; ask who made it".to_owned());
            if matches!(error, PfxError::LimitExceeded(limit) if limit.what == "kdf_iterations") {
                steps.push("if you trust it, allow more work: --max-iterations N (a million take about a second)".to_owned());
            } else {
                steps.push("if you trust it, have it exported again by another program".to_owned());
            }
        }
        _ => steps.push("ask for the file again, exported by another program".to_owned()),
    }
    steps
}

/// What bytes that are no PFX probably are, and what to do with them.
fn looks_like(file: &[u8]) -> Option<&'static str> {
    let text = |needle: &[u8]| file.iter().take(4096).collect::<Vec<_>>().windows(needle.len()).any(|at| at.iter().copied().eq(needle));
    match file {
        [] => Some("the file is empty: ask for it again"),
        [0xfe, 0xed, 0xfe, 0xed, ..] => {
            Some("this is a Java keystore (JKS): keytool -importkeystore -srckeystore FILE -destkeystore NEW.p12 -deststoretype PKCS12")
        }
        [0xce, 0xce, 0xce, 0xce, ..] => Some(
            "this is a Java keystore (JCEKS): keytool -importkeystore -srcstoretype JCEKS -srckeystore FILE -destkeystore NEW.p12 -deststoretype PKCS12",
        ),
        [b'P', b'K', 3, 4, ..] => Some("this is a ZIP archive: unpack it first"),
        _ if text(b"PRIVATE KEY-----") => {
            Some("this is PEM text with a private key: openssl pkcs12 -export -inkey FILE -in CERTIFICATE -out NEW.p12")
        }
        _ if text(b"-----BEGIN ") => Some("this is PEM text without a private key; a PFX file holds the key, too: ask for that"),
        _ if text(b"<html") || text(b"<!DOCTYPE") => {
            Some("this is a web page: the download did not give the file; sign in and download it again")
        }
        [b'M', b'I', b'I' | b'A', ..] if file.is_ascii() => Some("this is Base64 text: decode it first (certutil -decode, base64 -d)"),
        _ => None,
    }
}
