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
    /// The algorithm of the public key: contents octets of its object identifier.
    pub(super) algorithm: &'a [u8],
    /// The bits of `subjectPublicKey`.
    pub(super) public_key: &'a [u8],
    /// The key identifier of the subject.
    pub(super) subject_key_identifier: Option<&'a [u8]>,
    /// The key identifier of the issuer.
    pub(super) authority_key_identifier: Option<&'a [u8]>,
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
        let algorithm = spki.inner()?.sequence(budget)?.expect(Tag::OID, budget)?.oid_octets()?;
        let public_key = subject_public_key(spki, budget)?;
        let mut found = Self { issuer, subject, algorithm, public_key, subject_key_identifier: None, authority_key_identifier: None };
        while !tbs.is_empty() {
            let field = tbs.any(budget)?;
            if field.tag() == Tag::context(3) {
                let extensions = field.inner()?.field(Tag::SEQUENCE, "extensions", budget)?;
                // What is odd in them leaves the order of the file to decide.
                let _ = found.key_identifiers(&extensions, budget);
            }
        }
        Ok(found)
    }

    /// Both key identifiers, in one pass over the extensions; the first of each counts.
    fn key_identifiers(&mut self, extensions: &Tlv<'a>, budget: &mut Budget) -> Result<(), DerError> {
        const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x0e];
        const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x23];
        let mut extensions = extensions.inner()?;
        while !extensions.is_empty() {
            let mut fields = extensions.field(Tag::SEQUENCE, "extension", budget)?.inner()?;
            let id = fields.field(Tag::OID, "extnID", budget)?.oid_octets()?;
            fields.optional(Tag::BOOLEAN, budget)?;
            let mut value = Reader::new(fields.field(Tag::OCTET_STRING, "extnValue", budget)?.content(), Rules::Ber);
            if id == SUBJECT_KEY_IDENTIFIER && self.subject_key_identifier.is_none() {
                self.subject_key_identifier = value.optional(Tag::OCTET_STRING, budget)?.map(|id| id.content());
            } else if id == AUTHORITY_KEY_IDENTIFIER && self.authority_key_identifier.is_none() {
                let mut fields = value.field(Tag::SEQUENCE, "authorityKeyIdentifier", budget)?.inner()?;
                self.authority_key_identifier = fields.optional(Tag::context(0), budget)?.map(|id| id.content());
            }
        }
        Ok(())
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

/// The algorithm of a private key: contents octets of its object identifier.
pub(super) fn algorithm_of_private_key(key: &PrivateKeyPkcs8) -> Option<&[u8]> {
    let mut budget = Budget::new(&Limits::default());
    let mut fields = Reader::new(key.secret_pkcs8_der(), Rules::Ber).sequence(&mut budget).ok()?;
    fields.expect(Tag::INTEGER, &mut budget).ok()?;
    fields.sequence(&mut budget).ok()?.expect(Tag::OID, &mut budget).ok()?.oid_octets().ok()
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
