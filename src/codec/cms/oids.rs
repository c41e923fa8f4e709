//! Object identifiers of CMS, its algorithms and its attributes.

/// id-data
pub const DATA: &str = "1.2.840.113549.1.7.1";
/// id-signedData
pub const SIGNED_DATA: &str = "1.2.840.113549.1.7.2";
/// id-envelopedData
pub const ENVELOPED_DATA: &str = "1.2.840.113549.1.7.3";
/// id-encryptedData
pub const ENCRYPTED_DATA: &str = "1.2.840.113549.1.7.6";
/// id-ct-authEnvelopedData (RFC 5083)
pub const AUTH_ENVELOPED_DATA: &str = "1.2.840.113549.1.9.16.1.23";

/// id-contentType
pub const CONTENT_TYPE: &str = "1.2.840.113549.1.9.3";
/// id-messageDigest
pub const MESSAGE_DIGEST: &str = "1.2.840.113549.1.9.4";
/// id-signingTime
pub const SIGNING_TIME: &str = "1.2.840.113549.1.9.5";

/// id-aa-CMSAlgorithmProtect (RFC 6211)
pub const CMS_ALGORITHM_PROTECT: &str = "1.2.840.113549.1.9.52";

/// rsaEncryption
pub const RSA_ENCRYPTION: &str = "1.2.840.113549.1.1.1";
/// id-RSAES-OAEP (RFC 4055)
pub const RSAES_OAEP: &str = "1.2.840.113549.1.1.7";
/// id-mgf1
pub const MGF1: &str = "1.2.840.113549.1.1.8";
/// id-pSpecified
pub const P_SPECIFIED: &str = "1.2.840.113549.1.1.9";
/// id-RSASSA-PSS
pub const RSASSA_PSS: &str = "1.2.840.113549.1.1.10";

/// id-sha1
pub const SHA1: &str = "1.3.14.3.2.26";
/// id-sha224
pub const SHA224: &str = "2.16.840.1.101.3.4.2.4";
/// id-sha256
pub const SHA256: &str = "2.16.840.1.101.3.4.2.1";
/// id-sha384
pub const SHA384: &str = "2.16.840.1.101.3.4.2.2";
/// id-sha512
pub const SHA512: &str = "2.16.840.1.101.3.4.2.3";

/// id-aes128-CBC
pub const AES128_CBC: &str = "2.16.840.1.101.3.4.1.2";
/// id-aes192-CBC
pub const AES192_CBC: &str = "2.16.840.1.101.3.4.1.22";
/// id-aes256-CBC
pub const AES256_CBC: &str = "2.16.840.1.101.3.4.1.42";
/// des-EDE3-CBC
pub const DES_EDE3_CBC: &str = "1.2.840.113549.3.7";
/// desCBC (OIW)
pub const DES_CBC: &str = "1.3.14.3.2.7";
/// id-aes128-GCM
pub const AES128_GCM: &str = "2.16.840.1.101.3.4.1.6";
/// id-aes192-GCM
pub const AES192_GCM: &str = "2.16.840.1.101.3.4.1.26";
/// id-aes256-GCM
pub const AES256_GCM: &str = "2.16.840.1.101.3.4.1.46";

/// id-aes128-wrap
pub const AES128_WRAP: &str = "2.16.840.1.101.3.4.1.5";
/// id-aes192-wrap
pub const AES192_WRAP: &str = "2.16.840.1.101.3.4.1.25";
/// id-aes256-wrap
pub const AES256_WRAP: &str = "2.16.840.1.101.3.4.1.45";
/// id-alg-PWRI-KEK
pub const PWRI_KEK: &str = "1.2.840.113549.1.9.16.3.9";

/// id-ecPublicKey
pub const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
/// secp256r1
pub const SECP256R1: &str = "1.2.840.10045.3.1.7";
/// secp384r1
pub const SECP384R1: &str = "1.3.132.0.34";
/// secp521r1
pub const SECP521R1: &str = "1.3.132.0.35";
/// id-X25519
pub const X25519: &str = "1.3.101.110";

/// dhSinglePass-stdDH-sha1kdf-scheme
pub const STD_DH_SHA1_KDF: &str = "1.3.133.16.840.63.0.2";
/// dhSinglePass-stdDH-sha224kdf-scheme
pub const STD_DH_SHA224_KDF: &str = "1.3.132.1.11.0";
/// dhSinglePass-stdDH-sha256kdf-scheme
pub const STD_DH_SHA256_KDF: &str = "1.3.132.1.11.1";
/// dhSinglePass-stdDH-sha384kdf-scheme
pub const STD_DH_SHA384_KDF: &str = "1.3.132.1.11.2";
/// dhSinglePass-stdDH-sha512kdf-scheme
pub const STD_DH_SHA512_KDF: &str = "1.3.132.1.11.3";
/// dhSinglePass-cofactorDH-sha1kdf-scheme
pub const COFACTOR_DH_SHA1_KDF: &str = "1.3.133.16.840.63.0.3";
/// dhSinglePass-cofactorDH-sha224kdf-scheme
pub const COFACTOR_DH_SHA224_KDF: &str = "1.3.132.1.14.0";
/// dhSinglePass-cofactorDH-sha256kdf-scheme
pub const COFACTOR_DH_SHA256_KDF: &str = "1.3.132.1.14.1";
/// dhSinglePass-cofactorDH-sha384kdf-scheme
pub const COFACTOR_DH_SHA384_KDF: &str = "1.3.132.1.14.2";
/// dhSinglePass-cofactorDH-sha512kdf-scheme
pub const COFACTOR_DH_SHA512_KDF: &str = "1.3.132.1.14.3";

/// id-PBKDF2
pub const PBKDF2: &str = "1.2.840.113549.1.5.12";
/// hmacWithSHA1
pub const HMAC_WITH_SHA1: &str = "1.2.840.113549.2.7";
/// hmacWithSHA224
pub const HMAC_WITH_SHA224: &str = "1.2.840.113549.2.8";
/// hmacWithSHA256
pub const HMAC_WITH_SHA256: &str = "1.2.840.113549.2.9";
/// hmacWithSHA384
pub const HMAC_WITH_SHA384: &str = "1.2.840.113549.2.10";
/// hmacWithSHA512
pub const HMAC_WITH_SHA512: &str = "1.2.840.113549.2.11";

/// The usual name of an algorithm, for messages to people.
pub fn name(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "1.2.840.10040.4.1" => "DSA",
        "1.2.840.10040.4.3" => "DSA with SHA-1",
        "2.16.840.1.101.3.4.3.1" => "DSA with SHA-224",
        "2.16.840.1.101.3.4.3.2" => "DSA with SHA-256",
        "2.16.840.1.101.3.4.3.3" => "DSA with SHA-384",
        "2.16.840.1.101.3.4.3.4" => "DSA with SHA-512",
        "1.2.840.113549.1.1.2" => "RSA with MD2",
        "1.2.840.113549.1.1.3" => "RSA with MD4",
        "1.2.840.113549.1.1.4" => "RSA with MD5",
        "1.2.840.113549.1.1.15" => "RSA with SHA-512/224",
        "1.2.840.113549.1.1.16" => "RSA with SHA-512/256",
        "1.3.36.3.3.1.2" => "RSA with RIPEMD-160",
        RSA_ENCRYPTION => "RSA",
        RSASSA_PSS => "RSASSA-PSS",
        "1.2.840.10045.2.1" => "ECDSA",
        "1.2.840.10045.4.1" => "ECDSA with SHA-1",
        "1.2.840.10045.4.3.1" => "ECDSA with SHA-224",
        "1.2.840.10045.4.3.2" => "ECDSA with SHA-256",
        "1.2.840.10045.4.3.3" => "ECDSA with SHA-384",
        "1.2.840.10045.4.3.4" => "ECDSA with SHA-512",
        "2.16.840.1.101.3.4.3.9" => "ECDSA with SHA3-224",
        "2.16.840.1.101.3.4.3.10" => "ECDSA with SHA3-256",
        "2.16.840.1.101.3.4.3.11" => "ECDSA with SHA3-384",
        "2.16.840.1.101.3.4.3.12" => "ECDSA with SHA3-512",
        "1.3.101.112" => "Ed25519",
        "1.3.101.113" => "Ed448",
        "1.3.6.1.5.5.7.6.30" => "RSASSA-PSS with SHAKE128",
        "1.3.6.1.5.5.7.6.31" => "RSASSA-PSS with SHAKE256",
        "2.16.840.1.101.3.4.2.11" => "SHAKE128",
        "2.16.840.1.101.3.4.2.12" => "SHAKE256",
        "2.16.840.1.101.3.4.3.17" => "ML-DSA-44",
        "2.16.840.1.101.3.4.3.18" => "ML-DSA-65",
        "2.16.840.1.101.3.4.3.19" => "ML-DSA-87",
        "1.2.643.2.2.19" => "GOST R 34.10-2001",
        "1.2.643.2.2.3" => "GOST R 34.11-94 with GOST R 34.10-2001",
        "1.2.643.7.1.1.1.1" => "GOST R 34.10-2012 (256 bits)",
        "1.2.643.7.1.1.1.2" => "GOST R 34.10-2012 (512 bits)",
        "1.2.156.10197.1.501" => "SM2 with SM3",
        other => return crate::codec::pkcs12::oid::name(other),
    })
}
