//! Object identifiers of CMS, its algorithms and its attributes.

/// id-data
pub const DATA: &str = "1.2.840.113549.1.7.1";
/// id-signedData
pub const SIGNED_DATA: &str = "1.2.840.113549.1.7.2";
/// id-envelopedData
pub const ENVELOPED_DATA: &str = "1.2.840.113549.1.7.3";
/// id-ct-authEnvelopedData (RFC 5083)
pub const AUTH_ENVELOPED_DATA: &str = "1.2.840.113549.1.9.16.1.23";

/// id-contentType
pub const CONTENT_TYPE: &str = "1.2.840.113549.1.9.3";
/// id-messageDigest
pub const MESSAGE_DIGEST: &str = "1.2.840.113549.1.9.4";
/// id-signingTime
pub const SIGNING_TIME: &str = "1.2.840.113549.1.9.5";

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
