//! Public keys of certificates and of PKCS#8 private keys, compared as the bits of `subjectPublicKey`: parameters differ between
//! programs (NULL or absent, rsaEncryption or RSASSA-PSS) where the key does not.

use crate::codec::pkcs12::ber::{self, Reader};
use crate::codec::pkcs12::{DecodeError, der, oid};
use crate::crypto::CryptoProvider;
use crate::limits::{Budget, Limits};
use crate::secret::PrivateKeyPkcs8;

/// The parts of a certificate that pairing needs, found without judging the rest of it.
#[derive(Debug)]
pub(super) struct CertificateParts<'a> {
    /// The issuer Name as encoded.
    pub(super) issuer: &'a [u8],
    /// The subject Name as encoded.
    pub(super) subject: &'a [u8],
    /// The bits of `subjectPublicKey`.
    pub(super) public_key: &'a [u8],
    /// The extensions' SEQUENCE contents.
    extensions: Option<ber::Tlv<'a>>,
}

impl<'a> CertificateParts<'a> {
    pub(super) fn find(certificate: &'a [u8]) -> Option<Self> {
        Self::decode(certificate, &mut Budget::new(&Limits::default())).ok()
    }

    /// `TBSCertificate` of RFC 5280 section 4.1.
    fn decode(certificate: &'a [u8], budget: &mut Budget) -> Result<Self, DecodeError> {
        let mut outer = Reader::new(certificate, 0);
        let mut fields = outer.expect(ber::SEQUENCE, "certificate", budget)?.children(budget)?;
        let mut tbs = fields.expect(ber::SEQUENCE, "tbsCertificate", budget)?.children(budget)?;
        tbs.optional(ber::context(0), budget)?;
        tbs.expect(ber::INTEGER, "serialNumber", budget)?;
        tbs.expect(ber::SEQUENCE, "signature", budget)?;
        let issuer = tbs.expect(ber::SEQUENCE, "issuer", budget)?.raw;
        tbs.expect(ber::SEQUENCE, "validity", budget)?;
        let subject = tbs.expect(ber::SEQUENCE, "subject", budget)?.raw;
        let spki = tbs.expect(ber::SEQUENCE, "subjectPublicKeyInfo", budget)?;
        let public_key = subject_public_key(spki, budget)?;
        let mut extensions = None;
        while !tbs.is_empty() {
            let field = tbs.next(budget)?;
            if field.tag == ber::context(3) {
                extensions = Some(field.children(budget)?.expect(ber::SEQUENCE, "extensions", budget)?);
            }
        }
        Ok(Self { issuer, subject, public_key, extensions })
    }

    /// The key identifier of the subject.
    pub(super) fn subject_key_identifier(&self) -> Option<&'a [u8]> {
        const SUBJECT_KEY_IDENTIFIER: &str = "2.5.29.14";
        let value = self.extension(SUBJECT_KEY_IDENTIFIER)?;
        let mut budget = Budget::new(&Limits::default());
        Some(Reader::new(value, 0).expect(ber::OCTET_STRING, "keyIdentifier", &mut budget).ok()?.contents)
    }

    /// The key identifier of the issuer.
    pub(super) fn authority_key_identifier(&self) -> Option<&'a [u8]> {
        const AUTHORITY_KEY_IDENTIFIER: &str = "2.5.29.35";
        const KEY_IDENTIFIER: u8 = 0x80;
        let value = self.extension(AUTHORITY_KEY_IDENTIFIER)?;
        let mut budget = Budget::new(&Limits::default());
        let sequence = Reader::new(value, 0).expect(ber::SEQUENCE, "authorityKeyIdentifier", &mut budget).ok()?;
        Some(sequence.children(&budget).ok()?.expect(KEY_IDENTIFIER, "keyIdentifier", &mut budget).ok()?.contents)
    }

    fn extension(&self, wanted: &str) -> Option<&'a [u8]> {
        let mut budget = Budget::new(&Limits::default());
        let mut extensions = self.extensions?.children(&budget).ok()?;
        while !extensions.is_empty() {
            let mut fields = extensions.expect(ber::SEQUENCE, "extension", &mut budget).ok()?.children(&budget).ok()?;
            let id = fields.expect(ber::OBJECT_IDENTIFIER, "extnID", &mut budget).ok()?.oid().ok()?;
            if id == wanted {
                fields.optional(ber::BOOLEAN, &mut budget).ok()?;
                return Some(fields.expect(ber::OCTET_STRING, "extnValue", &mut budget).ok()?.contents);
            }
        }
        None
    }
}

fn subject_public_key<'a>(spki: ber::Tlv<'a>, budget: &mut Budget) -> Result<&'a [u8], DecodeError> {
    let mut fields = spki.children(budget)?;
    fields.expect(ber::SEQUENCE, "algorithm", budget)?;
    bits(fields.expect(ber::BIT_STRING, "subjectPublicKey", budget)?.contents)
}

/// The bytes of a BIT STRING without unused bits.
fn bits(contents: &[u8]) -> Result<&[u8], DecodeError> {
    contents.strip_prefix(&[0]).ok_or(DecodeError::Malformed("a public key has unused bits"))
}

/// The bits of `subjectPublicKey` that a private key says or implies: from its structure where that holds them (RSA, most EC keys),
/// else from the provider's loader. `None` when neither knows.
pub(super) fn of_private_key(key: &PrivateKeyPkcs8, provider: &CryptoProvider) -> Option<Vec<u8>> {
    stated(key.secret_pkcs8_der(), &mut Budget::new(&Limits::default())).ok().flatten().or_else(|| computed(key, provider).ok())
}

/// The bits of `subjectPublicKey` as the provider computes or checks them.
pub(super) fn computed(key: &PrivateKeyPkcs8, provider: &CryptoProvider) -> Result<Vec<u8>, super::PfxError> {
    let loaded = provider.signing_keys()?.load(key)?;
    let spki = loaded.public_key();
    let mut budget = Budget::new(&Limits::default());
    let sequence = Reader::new(spki.as_ref(), 0).expect(ber::SEQUENCE, "subjectPublicKeyInfo", &mut budget)?;
    Ok(subject_public_key(sequence, &mut budget)?.to_vec())
}

/// `OneAsymmetricKey` of RFC 5958 section 2, `RSAPrivateKey` of RFC 8017 appendix A.1.2, `ECPrivateKey` of RFC 5915 section 3.
fn stated(pkcs8: &[u8], budget: &mut Budget) -> Result<Option<Vec<u8>>, DecodeError> {
    const PUBLIC_KEY_V2: u8 = 0x81;
    let mut fields = Reader::new(pkcs8, 0).expect(ber::SEQUENCE, "PrivateKeyInfo", budget)?.children(budget)?;
    fields.expect(ber::INTEGER, "version", budget)?;
    let mut algorithm = fields.expect(ber::SEQUENCE, "privateKeyAlgorithm", budget)?.children(budget)?;
    let algorithm = algorithm.expect(ber::OBJECT_IDENTIFIER, "algorithm", budget)?.oid()?;
    let private_key = fields.octet_string("privateKey", budget)?;
    match algorithm.as_str() {
        oid::RSA_ENCRYPTION | oid::RSASSA_PSS => {
            let mut rsa = Reader::new(private_key.as_ref(), 0).expect(ber::SEQUENCE, "RSAPrivateKey", budget)?.children(budget)?;
            rsa.expect(ber::INTEGER, "version", budget)?;
            let modulus = rsa.expect(ber::INTEGER, "modulus", budget)?.raw;
            let exponent = rsa.expect(ber::INTEGER, "publicExponent", budget)?.raw;
            Ok(Some(der::sequence(&[modulus, exponent])))
        }
        oid::EC_PUBLIC_KEY => {
            let mut ec = Reader::new(private_key.as_ref(), 0).expect(ber::SEQUENCE, "ECPrivateKey", budget)?.children(budget)?;
            while !ec.is_empty() {
                let field = ec.next(budget)?;
                if field.tag == ber::context(1) {
                    let public_key = field.children(budget)?.expect(ber::BIT_STRING, "publicKey", budget)?;
                    return Ok(Some(bits(public_key.contents)?.to_vec()));
                }
            }
            Ok(None)
        }
        _ => {
            while !fields.is_empty() {
                let field = fields.next(budget)?;
                if field.tag == PUBLIC_KEY_V2 {
                    return Ok(Some(bits(field.contents)?.to_vec()));
                }
            }
            Ok(None)
        }
    }
}
