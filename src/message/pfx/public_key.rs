//! Public keys of certificates and of PKCS#8 private keys, compared as the bits of `subjectPublicKey`: parameters differ between
//! programs (NULL or absent, rsaEncryption or RSASSA-PSS) where the key does not.

use crate::codec::der::{DerError, Reader, Rules, Tag, Tlv, write};
use crate::codec::pkcs12::oid;
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
    extensions: Option<Tlv<'a>>,
}

impl<'a> CertificateParts<'a> {
    pub(super) fn find(certificate: &'a [u8]) -> Option<Self> {
        Self::decode(certificate, &mut Budget::new(&Limits::default())).ok()
    }

    /// `TBSCertificate` of RFC 5280 section 4.1.
    fn decode(certificate: &'a [u8], budget: &mut Budget) -> Result<Self, DerError> {
        let mut outer = Reader::new(certificate, Rules::Ber);
        let mut fields = outer.field(Tag::SEQUENCE, "certificate", budget)?.inner()?;
        let mut tbs = fields.field(Tag::SEQUENCE, "tbsCertificate", budget)?.inner()?;
        tbs.optional(Tag::context(0), budget)?;
        tbs.field(Tag::INTEGER, "serialNumber", budget)?;
        tbs.field(Tag::SEQUENCE, "signature", budget)?;
        let issuer = tbs.field(Tag::SEQUENCE, "issuer", budget)?.raw();
        tbs.field(Tag::SEQUENCE, "validity", budget)?;
        let subject = tbs.field(Tag::SEQUENCE, "subject", budget)?.raw();
        let spki = tbs.field(Tag::SEQUENCE, "subjectPublicKeyInfo", budget)?;
        let public_key = subject_public_key(spki, budget)?;
        let mut extensions = None;
        while !tbs.is_empty() {
            let field = tbs.any(budget)?;
            if field.tag() == Tag::context(3) {
                extensions = Some(field.inner()?.field(Tag::SEQUENCE, "extensions", budget)?);
            }
        }
        Ok(Self { issuer, subject, public_key, extensions })
    }

    /// The key identifier of the subject.
    pub(super) fn subject_key_identifier(&self) -> Option<&'a [u8]> {
        const SUBJECT_KEY_IDENTIFIER: &str = "2.5.29.14";
        let value = self.extension(SUBJECT_KEY_IDENTIFIER)?;
        let mut budget = Budget::new(&Limits::default());
        Some(Reader::new(value, Rules::Ber).field(Tag::OCTET_STRING, "keyIdentifier", &mut budget).ok()?.content())
    }

    /// The key identifier of the issuer.
    pub(super) fn authority_key_identifier(&self) -> Option<&'a [u8]> {
        const AUTHORITY_KEY_IDENTIFIER: &str = "2.5.29.35";
        let value = self.extension(AUTHORITY_KEY_IDENTIFIER)?;
        let mut budget = Budget::new(&Limits::default());
        let sequence = Reader::new(value, Rules::Ber).field(Tag::SEQUENCE, "authorityKeyIdentifier", &mut budget).ok()?;
        Some(sequence.inner().ok()?.field(Tag::context(0), "keyIdentifier", &mut budget).ok()?.content())
    }

    fn extension(&self, wanted: &str) -> Option<&'a [u8]> {
        let mut budget = Budget::new(&Limits::default());
        let mut extensions = self.extensions?.inner().ok()?;
        while !extensions.is_empty() {
            let mut fields = extensions.field(Tag::SEQUENCE, "extension", &mut budget).ok()?.inner().ok()?;
            let id = fields.field(Tag::OID, "extnID", &mut budget).ok()?.dotted_oid().ok()?;
            if id == wanted {
                fields.optional(Tag::BOOLEAN, &mut budget).ok()?;
                return Some(fields.field(Tag::OCTET_STRING, "extnValue", &mut budget).ok()?.content());
            }
        }
        None
    }
}

fn subject_public_key<'a>(spki: Tlv<'a>, budget: &mut Budget) -> Result<&'a [u8], DerError> {
    let mut fields = spki.inner()?;
    fields.field(Tag::SEQUENCE, "algorithm", budget)?;
    fields.field(Tag::BIT_STRING, "subjectPublicKey", budget)?.bit_octets()
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
    let sequence = Reader::new(spki.as_ref(), Rules::Ber).field(Tag::SEQUENCE, "subjectPublicKeyInfo", &mut budget)?;
    Ok(subject_public_key(sequence, &mut budget)?.to_vec())
}

/// `OneAsymmetricKey` of RFC 5958 section 2, `RSAPrivateKey` of RFC 8017 appendix A.1.2, `ECPrivateKey` of RFC 5915 section 3.
fn stated(pkcs8: &[u8], budget: &mut Budget) -> Result<Option<Vec<u8>>, DerError> {
    let mut fields = Reader::new(pkcs8, Rules::Ber).field(Tag::SEQUENCE, "PrivateKeyInfo", budget)?.inner()?;
    fields.field(Tag::INTEGER, "version", budget)?;
    let mut algorithm = fields.field(Tag::SEQUENCE, "privateKeyAlgorithm", budget)?.inner()?;
    let algorithm = algorithm.field(Tag::OID, "algorithm", budget)?.dotted_oid()?;
    let private_key = fields.octet_string("privateKey", budget)?;
    match algorithm.as_str() {
        oid::RSA_ENCRYPTION | oid::RSASSA_PSS => {
            let mut rsa = Reader::new(private_key.as_ref(), Rules::Ber).field(Tag::SEQUENCE, "RSAPrivateKey", budget)?.inner()?;
            rsa.field(Tag::INTEGER, "version", budget)?;
            let modulus = rsa.field(Tag::INTEGER, "modulus", budget)?.raw();
            let exponent = rsa.field(Tag::INTEGER, "publicExponent", budget)?.raw();
            Ok(Some(write::sequence(&[modulus, exponent])))
        }
        oid::EC_PUBLIC_KEY => {
            let mut ec = Reader::new(private_key.as_ref(), Rules::Ber).field(Tag::SEQUENCE, "ECPrivateKey", budget)?.inner()?;
            while !ec.is_empty() {
                let field = ec.any(budget)?;
                if field.tag() == Tag::context(1) {
                    let public_key = field.inner()?.field(Tag::BIT_STRING, "publicKey", budget)?;
                    return Ok(Some(public_key.bit_octets()?.to_vec()));
                }
            }
            Ok(None)
        }
        _ => {
            while !fields.is_empty() {
                let field = fields.any(budget)?;
                if field.tag() == Tag::context(1) {
                    return Ok(Some(field.bit_octets()?.to_vec()));
                }
            }
            Ok(None)
        }
    }
}
