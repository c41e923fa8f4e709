//! Terms of the field that several layers share, as data.

use serde::{Deserialize, Serialize};

use crate::ids::Oid;

/// A flow of the connector; the unit of configuration, pausing and capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Flow {
    /// Issue a certificate for a generated key and deliver it as PKCS#12.
    Pkcs,
    /// Re-encrypt a stored PKCS payload for another recipient.
    PkcsRecrypt,
    /// Re-encrypt an imported PFX (or its password) for a device.
    PkcsImport,
    /// Revoke certificates.
    Revoke,
    /// Serve SCEP enrolments.
    Scep,
    /// Send health messages.
    Health,
}

impl Flow {
    /// The name in events and serialised forms.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pkcs => "pkcs",
            Self::PkcsRecrypt => "pkcs-recrypt",
            Self::PkcsImport => "pkcs-import",
            Self::Revoke => "revoke",
            Self::Scep => "scep",
            Self::Health => "health",
        }
    }
}

impl core::fmt::Display for Flow {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The algorithm and size of a key pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum KeyAlgorithm {
    /// RSA with a 2048-bit modulus.
    Rsa2048,
    /// RSA with a 3072-bit modulus.
    Rsa3072,
    /// RSA with a 4096-bit modulus.
    Rsa4096,
    /// ECDSA on P-256 (secp256r1).
    EcP256,
    /// ECDSA on P-384 (secp384r1).
    EcP384,
}

impl KeyAlgorithm {
    /// Whether this is RSA of any size.
    #[must_use]
    pub const fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096)
    }
}

/// One entry of a subjectAltName (RFC 5280 section 4.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SubjectAltName {
    /// User principal name: otherName 1.3.6.1.4.1.311.20.2.3 with a UTF8String.
    Upn(String),
    /// rfc822Name.
    Email(String),
    /// dNSName.
    Dns(String),
    /// uniformResourceIdentifier, the SID URI among them.
    Uri(String),
    /// iPAddress in text form.
    Ip(std::net::IpAddr),
}

/// Bits of the keyUsage extension (RFC 5280 section 4.2.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KeyUsage {
    /// digitalSignature
    pub digital_signature: bool,
    /// nonRepudiation (contentCommitment)
    pub content_commitment: bool,
    /// keyEncipherment
    pub key_encipherment: bool,
    /// dataEncipherment
    pub data_encipherment: bool,
    /// keyAgreement
    pub key_agreement: bool,
    /// keyCertSign
    pub key_cert_sign: bool,
    /// cRLSign
    pub crl_sign: bool,
}

impl KeyUsage {
    /// digitalSignature and keyEncipherment: what Intune profiles use for RSA keys.
    pub const SIGN_AND_ENCIPHER: Self = Self {
        digital_signature: true,
        key_encipherment: true,
        content_commitment: false,
        data_encipherment: false,
        key_agreement: false,
        key_cert_sign: false,
        crl_sign: false,
    };
}

/// Object identifiers of extended key usages and of Microsoft's certificate extensions.
pub mod oids {
    /// anyExtendedKeyUsage
    pub const ANY_EXTENDED_KEY_USAGE: &str = "2.5.29.37.0";
    /// id-kp-serverAuth
    pub const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";
    /// id-kp-clientAuth
    pub const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";
    /// id-kp-emailProtection
    pub const EMAIL_PROTECTION: &str = "1.3.6.1.5.5.7.3.4";
    /// Certificate request agent: its holder enrols for others.
    pub const CERTIFICATE_REQUEST_AGENT: &str = "1.3.6.1.4.1.311.20.2.1";
    /// Smart-card logon.
    pub const SMART_CARD_LOGON: &str = "1.3.6.1.4.1.311.20.2.2";
    /// User principal name in an otherName.
    pub const UPN: &str = "1.3.6.1.4.1.311.20.2.3";
    /// szOID_NTDS_CA_SECURITY_EXT: the SID extension (MS-WCCE section 2.2.2.7.7.4).
    pub const SID_EXTENSION: &str = "1.3.6.1.4.1.311.25.2";
    /// szOID_NTDS_OBJECTSID: the otherName inside the SID extension.
    pub const SID_OTHER_NAME: &str = "1.3.6.1.4.1.311.25.2.1";
}

/// The prefix of the SAN URI that carries a SID.
pub const SID_URI_PREFIX: &str = "tag:microsoft.com,2022-09-14:sid:";

/// What a written PKCS#12 file is encrypted and protected with. Choose it by the platform that reads the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PfxProfile {
    /// PBES2 with PBKDF2-HMAC-SHA-256 and AES-256-CBC for key and certificates, MAC with SHA-256.
    ///
    /// | reader | takes it | how sure |
    /// |---|---|---|
    /// | OpenSSL 3, with and without `-legacy`; GnuTLS 3.7; NSS 3.87; pyca/cryptography | yes | measured (test in CI) |
    /// | Java 17 | yes, with a printable ASCII password | measured (test in CI) |
    /// | node-forge | yes, with an RSA key and an ASCII password | measured (test in CI) |
    /// | iOS, iPadOS | yes: exactly these parameters are hard-wired | source read; the first release that has them is not known |
    /// | Windows 10 1709, Server 2019 and later | yes | reported |
    /// | Windows Server 2012 R2 and 2016 | no ("network password is not correct") | reported |
    /// | macOS | reports disagree; the file-keychain coder refuses PBES2 | source read, reported: try it |
    /// | Android 9 to 13 | no ("wrong password") | reported; Android 16 reported fine |
    #[default]
    Modern,
    /// Three-key 3DES with SHA-1 for key and certificates (PBES1), MAC with SHA-1.
    ///
    /// Weak by today's measure, so use it with random passwords of at least 128 bits only. Needs 3DES in the crypto provider: feature
    /// `legacy-ciphers`.
    ///
    /// | reader | takes it | how sure |
    /// |---|---|---|
    /// | OpenSSL 3, with and without `-legacy`; GnuTLS 3.7; NSS 3.87; pyca/cryptography | yes | measured (test in CI) |
    /// | Java 17 | yes, with a printable ASCII password | measured (test in CI) |
    /// | node-forge | yes, with an RSA key | measured (test in CI) |
    /// | iOS, iPadOS, macOS | yes | source read |
    /// | Windows, old servers included; Android | yes | reported |
    /// | whatever is restricted to what FIPS approves | no | by definition |
    Compat,
    /// As [`Modern`](Self::Modern), but with PBMAC1 (RFC 9579, HMAC-SHA-256) as MAC: no SHA-1-era derivation anywhere.
    ///
    /// Opt-in, for readers that are known to take it.
    ///
    /// | reader | takes it | how sure |
    /// |---|---|---|
    /// | pyca/cryptography 50 | yes | measured (test in CI) |
    /// | OpenSSL 3.4 and later, new Bouncy Castle, new NSS, go-pkcs12 | yes | source read |
    /// | OpenSSL 3.0, GnuTLS 3.7, NSS 3.87, Java 17, node-forge | no | measured (test in CI) |
    /// | iOS, iPadOS, macOS | no | source read |
    /// | Windows, Android | no sign of it | not known |
    Pbmac1,
}

impl PfxProfile {
    /// The iteration count when none is given: 10,000 for [`Modern`](Self::Modern) and [`Pbmac1`](Self::Pbmac1), as Java writes, since a file costs its reader
    /// three derivations and slow devices should not wait for seconds; 2,048 for [`Compat`](Self::Compat), as OpenSSL writes, since
    /// old readers are the point of it. With random passwords of 128 bits the count does not matter; raise it for human ones.
    #[must_use]
    pub const fn default_iterations(self) -> u32 {
        match self {
            Self::Modern | Self::Pbmac1 => 10_000,
            Self::Compat => 2_048,
        }
    }
}

/// How the password of an imported PFX was encrypted to the connector's key (Graph `userPfxPaddingScheme`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum PaddingScheme {
    /// RSAES-PKCS1-v1_5. Legacy: refused unless opted in.
    Pkcs1,
    /// RSAES-OAEP with SHA-1. Legacy: refused unless opted in.
    OaepSha1,
    /// RSAES-OAEP with SHA-256.
    OaepSha256,
    /// RSAES-OAEP with SHA-384.
    OaepSha384,
    /// RSAES-OAEP with SHA-512, the default of Microsoft's import tool.
    OaepSha512,
}

/// The reason of a revocation (RFC 5280 section 5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum RevocationReason {
    /// unspecified (0)
    Unspecified,
    /// keyCompromise (1)
    KeyCompromise,
    /// cACompromise (2)
    CaCompromise,
    /// affiliationChanged (3)
    AffiliationChanged,
    /// superseded (4)
    Superseded,
    /// cessationOfOperation (5): the default, since Intune names no reason.
    #[default]
    CessationOfOperation,
    /// privilegeWithdrawn (9)
    PrivilegeWithdrawn,
}

impl RevocationReason {
    /// The CRLReason number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::CaCompromise => 2,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::PrivilegeWithdrawn => 9,
        }
    }
}

/// Parses one of this module's constants.
///
/// # Panics
/// When `text` is no object identifier: a mistake of the program, not of its input.
#[must_use]
pub(crate) fn oid(text: &'static str) -> Oid {
    debug_assert!(text.parse::<Oid>().is_ok(), "{text} is a constant object identifier");
    Oid::from_static(text)
}
