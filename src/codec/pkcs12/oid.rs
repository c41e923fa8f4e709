//! The object identifiers of PKCS#12, PKCS#5 and what they refer to, with the names that operators know them by.

macro_rules! oids {
    ($($constant:ident = $dotted:literal, $name:literal;)*) => {
        $(#[doc = $name] pub(crate) const $constant: &str = $dotted;)*

        /// The usual name, when there is one.
        pub(crate) fn name(dotted: &str) -> Option<&'static str> {
            match dotted {
                $($dotted => Some($name),)*
                _ => other_name(dotted),
            }
        }
    };
}

oids! {
    DATA = "1.2.840.113549.1.7.1", "data";
    SIGNED_DATA = "1.2.840.113549.1.7.2", "signedData";
    ENVELOPED_DATA = "1.2.840.113549.1.7.3", "envelopedData";
    ENCRYPTED_DATA = "1.2.840.113549.1.7.6", "encryptedData";

    KEY_BAG = "1.2.840.113549.1.12.10.1.1", "keyBag";
    PKCS8_SHROUDED_KEY_BAG = "1.2.840.113549.1.12.10.1.2", "pkcs8ShroudedKeyBag";
    CERT_BAG = "1.2.840.113549.1.12.10.1.3", "certBag";
    CRL_BAG = "1.2.840.113549.1.12.10.1.4", "crlBag";
    SECRET_BAG = "1.2.840.113549.1.12.10.1.5", "secretBag";
    SAFE_CONTENTS_BAG = "1.2.840.113549.1.12.10.1.6", "safeContentsBag";
    X509_CERTIFICATE = "1.2.840.113549.1.9.22.1", "x509Certificate";

    FRIENDLY_NAME = "1.2.840.113549.1.9.20", "friendlyName";
    MS_CSP_NAME = "1.3.6.1.4.1.311.17.1", "Microsoft CSP name";
    MS_LOCAL_KEYSET = "1.3.6.1.4.1.311.17.2", "Microsoft local machine keyset";
    LOCAL_KEY_ID = "1.2.840.113549.1.9.21", "localKeyId";
    JAVA_TRUSTED_KEY_USAGE = "2.16.840.1.113894.746875.1.1", "Java trusted key usage";
    KEY_USAGE = "2.5.29.15", "keyUsage";

    PBE_SHA1_RC4_128 = "1.2.840.113549.1.12.1.1", "pbeWithSHAAnd128BitRC4";
    PBE_SHA1_RC4_40 = "1.2.840.113549.1.12.1.2", "pbeWithSHAAnd40BitRC4";
    PBE_SHA1_3DES = "1.2.840.113549.1.12.1.3", "pbeWithSHAAnd3-KeyTripleDES-CBC";
    PBE_SHA1_2DES = "1.2.840.113549.1.12.1.4", "pbeWithSHAAnd2-KeyTripleDES-CBC";
    PBE_SHA1_RC2_128 = "1.2.840.113549.1.12.1.5", "pbeWithSHAAnd128BitRC2-CBC";
    PBE_SHA1_RC2_40 = "1.2.840.113549.1.12.1.6", "pbeWithSHAAnd40BitRC2-CBC";
    PBE_PKCS5_SHA1_DES = "1.2.840.113549.1.5.10", "pbeWithSHA1AndDES-CBC";
    PBE_PKCS5_SHA1_RC2 = "1.2.840.113549.1.5.11", "pbeWithSHA1AndRC2-CBC";

    PBKDF2 = "1.2.840.113549.1.5.12", "PBKDF2";
    PBES2 = "1.2.840.113549.1.5.13", "PBES2";
    PBMAC1 = "1.2.840.113549.1.5.14", "PBMAC1";
    SCRYPT = "1.3.6.1.4.1.11591.4.11", "scrypt";

    AES_128_CBC = "2.16.840.1.101.3.4.1.2", "aes128-CBC";
    AES_192_CBC = "2.16.840.1.101.3.4.1.22", "aes192-CBC";
    AES_256_CBC = "2.16.840.1.101.3.4.1.42", "aes256-CBC";
    DES_EDE3_CBC = "1.2.840.113549.3.7", "des-ede3-cbc";
    DES_CBC = "1.3.14.3.2.7", "des-cbc";
    RC2_CBC = "1.2.840.113549.3.2", "rc2-cbc";
    RC4 = "1.2.840.113549.3.4", "RC4";

    SHA1 = "1.3.14.3.2.26", "SHA-1";
    SHA224 = "2.16.840.1.101.3.4.2.4", "SHA-224";
    SHA256 = "2.16.840.1.101.3.4.2.1", "SHA-256";
    SHA384 = "2.16.840.1.101.3.4.2.2", "SHA-384";
    SHA512 = "2.16.840.1.101.3.4.2.3", "SHA-512";
    SHA512_224 = "2.16.840.1.101.3.4.2.5", "SHA-512/224";
    SHA512_256 = "2.16.840.1.101.3.4.2.6", "SHA-512/256";
    BLAKE2B_512 = "1.3.6.1.4.1.1722.12.2.1.16", "BLAKE2b-512";
    BLAKE2S_256 = "1.3.6.1.4.1.1722.12.2.2.8", "BLAKE2s-256";

    HMAC_SHA1 = "1.2.840.113549.2.7", "hmacWithSHA1";
    HMAC_SHA224 = "1.2.840.113549.2.8", "hmacWithSHA224";
    HMAC_SHA256 = "1.2.840.113549.2.9", "hmacWithSHA256";
    HMAC_SHA384 = "1.2.840.113549.2.10", "hmacWithSHA384";
    HMAC_SHA512 = "1.2.840.113549.2.11", "hmacWithSHA512";
    HMAC_SHA512_224 = "1.2.840.113549.2.12", "hmacWithSHA512-224";
    HMAC_SHA512_256 = "1.2.840.113549.2.13", "hmacWithSHA512-256";

    RSA_ENCRYPTION = "1.2.840.113549.1.1.1", "rsaEncryption";
    RSASSA_PSS = "1.2.840.113549.1.1.10", "RSASSA-PSS";
    EC_PUBLIC_KEY = "1.2.840.10045.2.1", "ecPublicKey";
}

/// Names of what occurs in real files and is not supported, so that an error can say more than a number.
fn other_name(dotted: &str) -> Option<&'static str> {
    Some(match dotted {
        "1.2.840.113549.1.9.22.2" => "sdsiCertificate",
        "1.2.840.113549.1.9.23.1" => "x509CRL",
        "1.2.840.113549.1.5.1" => "pbeWithMD2AndDES-CBC",
        "1.2.840.113549.1.5.3" => "pbeWithMD5AndDES-CBC",
        "1.2.840.113549.1.5.4" => "pbeWithMD2AndRC2-CBC",
        "1.2.840.113549.1.5.6" => "pbeWithMD5AndRC2-CBC",
        "1.2.840.113549.2.2" => "MD2",
        "1.2.840.113549.2.4" => "MD4",
        "1.2.840.113549.2.5" => "MD5",
        "1.3.36.3.2.1" => "RIPEMD-160",
        "1.2.840.113549.2.6" | "1.3.6.1.5.5.8.1.1" => "hmacWithMD5",
        "2.16.840.1.101.3.4.2.7" => "SHA3-224",
        "2.16.840.1.101.3.4.2.8" => "SHA3-256",
        "2.16.840.1.101.3.4.2.9" => "SHA3-384",
        "2.16.840.1.101.3.4.2.10" => "SHA3-512",
        "2.16.840.1.101.3.4.2.13" => "hmacWithSHA3-224",
        "2.16.840.1.101.3.4.2.14" => "hmacWithSHA3-256",
        "2.16.840.1.101.3.4.2.15" => "hmacWithSHA3-384",
        "2.16.840.1.101.3.4.2.16" => "hmacWithSHA3-512",
        "1.3.6.1.4.1.1722.12.2.1.5" => "BLAKE2b-160",
        "1.3.6.1.4.1.1722.12.2.1.8" => "BLAKE2b-256",
        "1.3.6.1.4.1.1722.12.2.1.12" => "BLAKE2b-384",
        "1.2.840.113549.3.9" => "RC5-CBC",
        "1.3.6.1.4.1.3029.1.2" => "Blowfish-CBC",
        "1.2.840.113533.7.66.10" => "CAST5-CBC",
        "1.3.6.1.4.1.188.7.1.1.2" => "IDEA-CBC",
        "1.2.410.200004.1.4" => "SEED-CBC",
        "1.2.392.200011.61.1.1.1.2" => "Camellia-128-CBC",
        "1.2.392.200011.61.1.1.1.3" => "Camellia-192-CBC",
        "1.2.392.200011.61.1.1.1.4" => "Camellia-256-CBC",
        "1.2.410.200046.1.1.2" => "ARIA-128-CBC",
        "1.2.410.200046.1.1.7" => "ARIA-192-CBC",
        "1.2.410.200046.1.1.12" => "ARIA-256-CBC",
        "2.16.840.1.101.3.4.1.1" => "aes128-ECB",
        "2.16.840.1.101.3.4.1.21" => "aes192-ECB",
        "2.16.840.1.101.3.4.1.41" => "aes256-ECB",
        "2.16.840.1.101.3.4.1.6" => "aes128-GCM",
        "2.16.840.1.101.3.4.1.26" => "aes192-GCM",
        "2.16.840.1.101.3.4.1.46" => "aes256-GCM",
        "1.3.14.3.2.6" => "des-ecb",
        "1.2.156.10197.1.104.2" => "SM4-CBC",
        "1.2.156.10197.1.401" => "SM3",
        "1.2.643.2.2.9" => "GOST R 34.11-94",
        "1.2.643.2.2.10" => "HMAC with GOST R 34.11-94",
        "1.2.643.2.2.21" => "GOST 28147-89",
        "1.2.643.7.1.1.2.2" => "GOST R 34.11-2012 (256 bits)",
        "1.2.643.7.1.1.2.3" => "GOST R 34.11-2012 (512 bits)",
        "1.2.643.7.1.1.4.1" => "HMAC with GOST R 34.11-2012 (256 bits)",
        "1.2.643.7.1.1.4.2" => "HMAC with GOST R 34.11-2012 (512 bits)",
        _ => return None,
    })
}

/// The contents octets of one of the constants above.
pub(crate) fn contents(dotted: &str) -> Vec<u8> {
    encoded(dotted).expect("constants are dotted decimal numbers")
}

/// The contents octets of an object identifier in dotted decimal form; `None` when it is malformed.
pub(crate) fn encoded(dotted: &str) -> Option<Vec<u8>> {
    let mut arcs = dotted.split('.').map(|arc| arc.parse::<u128>().ok());
    let (root, second) = (arcs.next()??, arcs.next()??);
    if root > 2 || (root < 2 && second > 39) {
        return None;
    }
    let mut out = Vec::new();
    for arc in core::iter::once((root * 40).checked_add(second)).chain(arcs) {
        let arc = arc?;
        for shift in (0..19).rev().map(|group| group * 7) {
            if shift == 0 || arc >> shift != 0 {
                let more = if shift == 0 { 0 } else { 0x80 };
                out.push(((arc >> shift) & 0x7f) as u8 | more);
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::der::dotted;

    #[test]
    fn dotted_form_and_contents_are_inverse() {
        for oid in [PBES2, AES_256_CBC, "2.5.29.15", "2.16.840.1.113894.746875.1.1", SHA1, MS_CSP_NAME] {
            assert_eq!(dotted(&contents(oid)).as_deref(), Some(oid));
        }
        assert_eq!(contents(PBES2), [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 13]);
        let uuid = "2.25.329800735698586629295641978511506172918";
        assert_eq!(dotted(&encoded(uuid).unwrap()).as_deref(), Some(uuid));
        for malformed in [
            "",
            "1",
            "3.1",
            "1.40",
            "1.2.",
            "1.-2",
            "1.2.340282366920938463463374607431768211456",
            "2.340282366920938463463374607431768211455",
        ] {
            assert_eq!(encoded(malformed), None, "{malformed}");
        }
    }

    #[test]
    fn uuid_arcs_are_shown_and_malformed_identifiers_are_not() {
        assert_eq!(dotted(&[0x69, 0x83, 0x7f]).as_deref(), Some("2.25.511"));
        assert_eq!(dotted(&[]), None);
        assert_eq!(dotted(&[0x2a, 0x86]), None);
        assert_eq!(dotted(&[0xff; 64]), None);
    }
}
