//! Which platforms take a file, as far as is known from their published source and from reports. Nothing of it was tried on devices.

use intune_connector::message::algorithm::PublicKeyAlgorithm;
use intune_connector::message::pfx::{MacInfo, PfxContents, Protection};
use serde_json::{Value, json};

/// What a platform makes of a file, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    Yes,
    Unsure,
    No,
}

type Finding = (Answer, &'static str);

const YES: Finding = (Answer::Yes, "");
const CLEAR_KEY: Finding = (Answer::Unsure, "the key lies there in clear, which is unusual");

/// One platform's rules, each asked about every part of a file.
struct Platform {
    name: &'static str,
    scheme: fn(&Scheme) -> Finding,
    mac: fn(Option<&MacInfo>) -> Finding,
    key: fn(&PublicKeyAlgorithm) -> Finding,
}

/// What encrypts a key or a certificate.
enum Scheme {
    Clear { key: bool },
    Pbes1(Pbes1),
    Pbes2 { aes_256: bool, legacy_cipher: bool, prf: Prf },
}

#[derive(PartialEq, Eq)]
enum Pbes1 {
    TripleDes,
    TwoKeyTripleDes,
    Rc2,
    Rc4,
    Pkcs5,
}

#[derive(PartialEq, Eq)]
enum Prf {
    Sha1,
    Sha256,
    Other,
    Scrypt,
}

impl Scheme {
    fn of(protection: &Protection, key: bool) -> Self {
        let Protection::Encrypted { scheme, .. } = protection else { return Self::Clear { key } };
        match scheme.as_str() {
            name if name.contains("3-KeyTripleDES") => Self::Pbes1(Pbes1::TripleDes),
            name if name.contains("2-KeyTripleDES") => Self::Pbes1(Pbes1::TwoKeyTripleDes),
            name if name.contains("BitRC2") => Self::Pbes1(Pbes1::Rc2),
            name if name.contains("BitRC4") => Self::Pbes1(Pbes1::Rc4),
            name if name.contains("pbeWithSHA1") => Self::Pbes1(Pbes1::Pkcs5),
            name => {
                let prf = match name {
                    _ if name.contains("scrypt") => Prf::Scrypt,
                    _ if name.contains("HMAC-SHA-1,") => Prf::Sha1,
                    _ if name.contains("HMAC-SHA-256,") => Prf::Sha256,
                    _ => Prf::Other,
                };
                let legacy_cipher = name.contains("rc2-cbc") || name.contains("des-cbc");
                Self::Pbes2 { aes_256: name.contains("aes256-CBC"), legacy_cipher, prf }
            }
        }
    }
}

const PLATFORMS: [Platform; 6] = [
    Platform {
        name: "Windows 10 1709, Windows Server 2019 and later",
        scheme: |scheme| match scheme {
            Scheme::Clear { key: false } | Scheme::Pbes1(Pbes1::TripleDes | Pbes1::Rc2) => YES,
            Scheme::Pbes2 { aes_256: true, prf: Prf::Sha1 | Prf::Sha256, .. } => YES,
            Scheme::Pbes2 { prf: Prf::Scrypt, .. } => (Answer::No, "it does not know scrypt"),
            Scheme::Clear { key: true } => CLEAR_KEY,
            _ => (Answer::Unsure, "this encryption is unusual there"),
        },
        mac: |mac| match mac {
            None => (Answer::Unsure, "the file has no MAC"),
            Some(mac) if mac.is_pbmac1() => (Answer::Unsure, "nothing shows that it knows PBMAC1"),
            Some(mac) if matches!(mac.algorithm(), "SHA-1" | "SHA-256") => YES,
            Some(_) => (Answer::Unsure, "this MAC is unusual there"),
        },
        key: no_ed25519,
    },
    Platform {
        name: "older Windows, Windows Server 2016",
        scheme: |scheme| match scheme {
            Scheme::Clear { key: false } | Scheme::Pbes1(Pbes1::TripleDes | Pbes1::Rc2) => YES,
            Scheme::Pbes2 { .. } => (Answer::No, "it takes no AES file, and calls the password wrong: write it with 3DES and SHA-1"),
            Scheme::Clear { key: true } => CLEAR_KEY,
            _ => (Answer::Unsure, "this encryption is unusual there"),
        },
        mac: |mac| match mac {
            None => (Answer::Unsure, "the file has no MAC"),
            Some(mac) if mac.algorithm() == "SHA-1" && !mac.is_pbmac1() => YES,
            Some(_) => (Answer::No, "it needs a MAC with SHA-1"),
        },
        key: no_ed25519,
    },
    Platform {
        name: "iOS, iPadOS",
        scheme: |scheme| match scheme {
            Scheme::Clear { key: false } | Scheme::Pbes2 { aes_256: true, prf: Prf::Sha256, .. } => YES,
            Scheme::Clear { key: true } => (Answer::No, "it ignores keys in clear"),
            Scheme::Pbes1(Pbes1::TripleDes | Pbes1::Rc2 | Pbes1::Rc4) => YES,
            Scheme::Pbes1(_) => (Answer::No, "it does not know this encryption"),
            Scheme::Pbes2 { .. } => (Answer::No, "of the new encryptions it takes AES-256 with SHA-256 alone"),
        },
        mac: apple_mac,
        key: no_ed25519,
    },
    Platform {
        name: "macOS",
        scheme: |scheme| match scheme {
            Scheme::Clear { key: false } | Scheme::Pbes1(_) => YES,
            Scheme::Clear { key: true } => CLEAR_KEY,
            Scheme::Pbes2 { .. } => (Answer::Unsure, "its published source refuses AES files, users of new releases report success"),
        },
        mac: apple_mac,
        key: no_ed25519,
    },
    Platform {
        name: "Android",
        scheme: |scheme| match scheme {
            Scheme::Clear { key: false } | Scheme::Pbes1(Pbes1::TripleDes | Pbes1::Rc2) => YES,
            Scheme::Pbes2 { .. } => (Answer::Unsure, "Android 9 to 13 take no AES file (reports)"),
            Scheme::Clear { key: true } => CLEAR_KEY,
            _ => (Answer::Unsure, "this encryption is unusual there"),
        },
        mac: |mac| match mac {
            Some(mac) if mac.algorithm() == "SHA-1" && !mac.is_pbmac1() => YES,
            _ => (Answer::Unsure, "it is sure to take a MAC with SHA-1 alone"),
        },
        key: no_ed25519,
    },
    Platform {
        name: "OpenSSL 3",
        scheme: |scheme| match scheme {
            Scheme::Pbes1(Pbes1::Rc2 | Pbes1::Rc4 | Pbes1::Pkcs5) | Scheme::Pbes2 { legacy_cipher: true, .. } => {
                (Answer::Yes, "with -legacy")
            }
            _ => YES,
        },
        mac: |mac| match mac {
            Some(mac) if mac.is_pbmac1() => (Answer::Yes, "from 3.4"),
            _ => YES,
        },
        key: |_| YES,
    },
];

fn apple_mac(mac: Option<&MacInfo>) -> Finding {
    match mac {
        None => (Answer::No, "it demands a MAC"),
        Some(mac) if mac.is_pbmac1() => (Answer::No, "it does not know PBMAC1"),
        Some(mac) if matches!(mac.algorithm(), "SHA-1" | "SHA-256" | "SHA-384" | "SHA-512") => YES,
        Some(_) => (Answer::No, "it does not know the hash of the MAC"),
    }
}

fn no_ed25519(key: &PublicKeyAlgorithm) -> Finding {
    match key {
        PublicKeyAlgorithm::Ed25519 => (Answer::No, "it takes RSA and EC keys alone"),
        PublicKeyAlgorithm::Other(_) | PublicKeyAlgorithm::Unknown => (Answer::Unsure, "the key is neither RSA nor on a usual curve"),
        _ => YES,
    }
}

/// What each platform makes of a file with these keys.
pub(crate) fn judge(contents: &PfxContents, mac: Option<&MacInfo>, keys: &[PublicKeyAlgorithm]) -> Vec<Value> {
    let schemes: Vec<Scheme> = (contents.keys.iter().map(|key| Scheme::of(&key.protection, true)))
        .chain(contents.certificates.iter().map(|certificate| Scheme::of(&certificate.protection, false)))
        .collect();
    let verdict = |platform: &Platform| {
        let mut worst = YES;
        let findings = schemes.iter().map(platform.scheme).chain([(platform.mac)(mac)]).chain(keys.iter().map(platform.key));
        for finding in findings {
            // The first of the worst, and a remark rather than none.
            if finding.0 > worst.0 || (finding.0 == worst.0 && worst.1.is_empty()) {
                worst = finding;
            }
        }
        let answer = match worst.0 {
            Answer::Yes => "yes",
            Answer::Unsure => "not sure",
            Answer::No => "no",
        };
        json!({ "platform": platform.name, "answer": answer, "why": worst.1 })
    };
    PLATFORMS.iter().map(verdict).collect()
}
