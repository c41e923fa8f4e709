//! The safes and the bags in them (RFC 7292 section 4.2).

use rustls_pki_types::CertificateDer;

use super::attributes::Attributes;
use super::contents::{OtherBagKind, PfxCertificate, PfxContents, PfxKey, PfxOther, Protection};
use super::error::PfxError;
use super::scheme::{Decryptor, Scheme};
use crate::codec::der::{Reader, Rules, Tag};
use crate::codec::pkcs5::AlgorithmIdentifier;
use crate::codec::pkcs12::{self, ContentInfo, SafeBag, oid};
use crate::crypto::ContentCipherAlgorithm;
use crate::limits::{Budget, Limits};
use crate::secret::{PrivateKeyPkcs8, SecretBytes};

/// Identifier octets of what encrypted and wrapped values begin with.
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;

/// How deep the AuthenticatedSafe lies: PFX, ContentInfo, [0], OCTET STRING. Nesting goes on counting inside.
pub(super) const AUTHENTICATED_SAFE_DEPTH: usize = 4;
/// The same for the SafeContents inside a safe: AuthenticatedSafe, ContentInfo, [0], EncryptedData, EncryptedContentInfo, content.
const SAFE_CONTENTS_DEPTH: usize = AUTHENTICATED_SAFE_DEPTH + 6;

/// Reads safes into [`PfxContents`].
pub(super) struct SafeReader<'a> {
    pub(super) decryptor: Decryptor<'a>,
    pub(super) budget: &'a mut Budget,
    /// The plaintexts of the safes that are encrypted to public keys, in the order of the file.
    pub(super) decrypted: std::vec::IntoIter<(SecretBytes, ContentCipherAlgorithm)>,
    pub(super) contents: PfxContents,
}

impl SafeReader<'_> {
    pub(super) fn authenticated_safe(&mut self, bytes: &[u8]) -> Result<(), PfxError> {
        let (safes, trailing_bytes) = pkcs12::authenticated_safe(bytes, AUTHENTICATED_SAFE_DEPTH, self.budget)?;
        self.contents.trailing_bytes += trailing_bytes;
        let mut probe = Budget::new(self.budget.limits());
        let mut cost = 0_u64;
        for safe in safes.iter().filter(|safe| safe.content_type == oid::ENCRYPTED_DATA) {
            let encrypted = safe.encrypted_data(&mut probe)?;
            cost = cost.saturating_add(Scheme::decode(&encrypted.algorithm, &mut probe)?.cost());
        }
        self.affords(cost)?;
        safes.iter().try_for_each(|safe| self.safe(safe))
    }

    /// Refuses siblings that together cost more than is left, before the first of them is derived: the sum is known, so nothing is paid
    /// for finding out.
    fn affords(&self, cost: u64) -> Result<(), PfxError> {
        let spent = self.budget.spent_kdf_iterations();
        Ok(Budget::new(self.budget.limits()).charge_kdf(spent.saturating_add(cost))?)
    }

    /// What the shrouded keys among these bags cost together.
    fn cost_of_keys(&self, mut bags: Reader<'_>) -> Result<u64, PfxError> {
        let mut probe = Budget::new(self.budget.limits());
        let mut cost = 0_u64;
        while !bags.is_empty() {
            let bag = SafeBag::read(&mut bags, &mut probe)?;
            if bag.id == oid::PKCS8_SHROUDED_KEY_BAG && bag.value.tag() == Tag::SEQUENCE {
                let algorithm = AlgorithmIdentifier::read(&mut bag.value.inner()?, &mut probe)?;
                cost = cost.saturating_add(Scheme::decode(&algorithm, &mut probe)?.cost());
            }
        }
        Ok(cost)
    }

    fn safe(&mut self, safe: &ContentInfo<'_>) -> Result<(), PfxError> {
        match safe.content_type.as_str() {
            oid::DATA => {
                let content = safe.data(self.budget)?;
                self.safe_contents_bytes(content.as_ref(), &Protection::Clear)
            }
            oid::ENCRYPTED_DATA => {
                let encrypted = safe.encrypted_data(self.budget)?;
                let (plaintext, protection) = self.decrypt(&encrypted.algorithm, encrypted.encrypted_content.as_ref(), is_safe_contents)?;
                self.safe_contents_bytes(plaintext.secret_bytes(), &protection)
            }
            oid::ENVELOPED_DATA => {
                let (plaintext, cipher) = self.decrypted.next().ok_or_else(PfxError::needs_a_key)?;
                if !is_safe_contents(plaintext.secret_bytes()) {
                    return Err(PfxError::WrongKey);
                }
                self.safe_contents_bytes(plaintext.secret_bytes(), &Protection::ToPublicKeys { cipher: cipher_name(cipher) })
            }
            other => Err(PfxError::unsupported_content_type(other)),
        }
    }

    fn decrypt(
        &mut self,
        algorithm: &AlgorithmIdentifier<'_>,
        ciphertext: &[u8],
        fits: fn(&[u8]) -> bool,
    ) -> Result<(SecretBytes, Protection), PfxError> {
        let scheme = Scheme::decode(algorithm, self.budget)?;
        let plaintext = self.decryptor.decrypt(&scheme, ciphertext, fits, self.budget)?;
        Ok((plaintext, Protection::Encrypted { scheme: scheme.description(), iterations: scheme.iterations() }))
    }

    fn safe_contents_bytes(&mut self, bytes: &[u8], protection: &Protection) -> Result<(), PfxError> {
        let mut outer = Reader::inside(bytes, Rules::Ber, SAFE_CONTENTS_DEPTH);
        let contents = outer.field(Tag::SEQUENCE, "a safe is not a SEQUENCE of bags", self.budget)?;
        let bags = contents.inner()?;
        self.contents.trailing_bytes += outer.rest().len();
        self.safe_contents(bags, protection)
    }

    /// `SafeContents ::= SEQUENCE OF SafeBag`. Recurses into nested ones; the reader's depth limit bounds that.
    fn safe_contents(&mut self, mut bags: Reader<'_>, protection: &Protection) -> Result<(), PfxError> {
        self.affords(self.cost_of_keys(bags.clone())?)?;
        while !bags.is_empty() {
            let bag = SafeBag::read(&mut bags, self.budget)?;
            self.safe_bag(&bag, protection)?;
        }
        Ok(())
    }

    fn safe_bag(&mut self, bag: &SafeBag<'_>, protection: &Protection) -> Result<(), PfxError> {
        match bag.id.as_str() {
            oid::KEY_BAG => {
                if !is_private_key_info(bag.value.raw()) {
                    return Err(PfxError::Damaged("a key bag does not hold a PKCS#8 private key"));
                }
                let key = PrivateKeyPkcs8::new(bag.value.raw().to_vec());
                self.key(key, bag, protection.clone())
            }
            oid::PKCS8_SHROUDED_KEY_BAG => {
                if bag.value.tag() != Tag::SEQUENCE {
                    return Err(PfxError::Damaged("a shrouded key bag is not a SEQUENCE"));
                }
                let mut fields = bag.value.inner()?;
                let algorithm = AlgorithmIdentifier::read(&mut fields, self.budget)?;
                let encrypted = fields.octet_string("a shrouded key bag has no encrypted key", self.budget)?;
                let (plaintext, protection) = self.decrypt(&algorithm, encrypted.as_ref(), is_private_key_info)?;
                self.key(PrivateKeyPkcs8::from(first_element(plaintext)), bag, protection)
            }
            oid::CERT_BAG => {
                let (id, value) = pkcs12::typed_value(&bag.value, self.budget)?;
                if id != oid::X509_CERTIFICATE {
                    return self.other(OtherBagKind::OtherCertificate, id, value.raw(), bag, protection);
                }
                if value.tag() != Tag::OCTET_STRING {
                    return Err(PfxError::Damaged("a certificate bag does not hold an OCTET STRING"));
                }
                self.budget.charge_certificates(1)?;
                let der = value.octets(self.budget)?;
                if der.first() != Some(&SEQUENCE) {
                    return Err(PfxError::Damaged("a certificate bag does not hold a certificate"));
                }
                let attributes = Attributes::read(&bag.attributes, self.budget)?;
                self.contents.certificates.push(PfxCertificate {
                    der: CertificateDer::from(der.as_ref().to_vec()),
                    friendly_name: attributes.friendly_name,
                    local_key_id: attributes.local_key_id,
                    attributes: attributes.all,
                    protection: protection.clone(),
                });
                Ok(())
            }
            oid::SAFE_CONTENTS_BAG => {
                // OpenSSL templates the nested value as SET OF (its issue 6665); the standard says SEQUENCE OF.
                if !matches!(bag.value.tag(), Tag::SEQUENCE | Tag::SET) {
                    return Err(PfxError::Damaged("a nested safe is not a SEQUENCE of bags"));
                }
                let bags = bag.value.inner()?;
                self.safe_contents(bags, protection)
            }
            oid::CRL_BAG => {
                let (id, value) = pkcs12::typed_value(&bag.value, self.budget)?;
                self.other(OtherBagKind::Crl, id, value.raw(), bag, protection)
            }
            oid::SECRET_BAG => match pkcs12::typed_value(&bag.value, self.budget) {
                Ok((id, value)) => self.other(OtherBagKind::Secret, id, value.raw(), bag, protection),
                // Wallets put other shapes there; nothing is read from them.
                Err(_) => self.other(OtherBagKind::Secret, bag.id.clone(), bag.value.raw(), bag, protection),
            },
            _ => self.other(OtherBagKind::Unknown, bag.id.clone(), bag.value.raw(), bag, protection),
        }
    }

    fn key(&mut self, key: PrivateKeyPkcs8, bag: &SafeBag<'_>, protection: Protection) -> Result<(), PfxError> {
        let attributes = Attributes::read(&bag.attributes, self.budget)?;
        self.contents.keys.push(PfxKey {
            key,
            friendly_name: attributes.friendly_name,
            local_key_id: attributes.local_key_id,
            attributes: attributes.all,
            protection,
        });
        Ok(())
    }

    fn other(&mut self, kind: OtherBagKind, oid: String, value: &[u8], bag: &SafeBag<'_>, protection: &Protection) -> Result<(), PfxError> {
        let attributes = Attributes::read(&bag.attributes, self.budget)?;
        self.contents.others.push(PfxOther {
            kind,
            oid,
            value: SecretBytes::copy_from(value),
            friendly_name: attributes.friendly_name,
            local_key_id: attributes.local_key_id,
            attributes: attributes.all,
            protection: protection.clone(),
        });
        Ok(())
    }
}

/// The usual name of a content cipher.
fn cipher_name(cipher: ContentCipherAlgorithm) -> String {
    let dotted = match cipher {
        ContentCipherAlgorithm::Aes128Cbc => oid::AES_128_CBC,
        ContentCipherAlgorithm::Aes192Cbc => oid::AES_192_CBC,
        ContentCipherAlgorithm::Aes256Cbc => oid::AES_256_CBC,
        ContentCipherAlgorithm::DesEde3Cbc => oid::DES_EDE3_CBC,
        ContentCipherAlgorithm::DesCbc => oid::DES_CBC,
        ContentCipherAlgorithm::Rc2Cbc { .. } => oid::RC2_CBC,
        ContentCipherAlgorithm::Rc4 => oid::RC4,
    };
    oid::name(dotted).unwrap_or(dotted).to_owned()
}

/// Whether bytes are one SEQUENCE (definite or not) whose first element has the identifier octet `first`, or, if `may_be_empty`, nothing.
fn is_sequence_of(bytes: &[u8], first: u8, may_be_empty: bool) -> bool {
    // A small budget of its own: this is asked of random bytes after each wrong attempt.
    let mut budget = Budget::new(&Limits::default());
    let mut outer = Reader::new(bytes, Rules::Ber);
    match outer.any(&mut budget) {
        Ok(value) if value.tag() == Tag::SEQUENCE && value.is_constructed() => {
            value.content().first().map_or(may_be_empty, |octet| *octet == first)
        }
        _ => false,
    }
}

fn is_safe_contents(bytes: &[u8]) -> bool {
    is_sequence_of(bytes, SEQUENCE, true)
}

fn is_private_key_info(bytes: &[u8]) -> bool {
    is_sequence_of(bytes, INTEGER, false)
}

/// Cuts off what follows the first element: key loaders refuse padding that some writers leave there.
fn first_element(mut bytes: SecretBytes) -> SecretBytes {
    let mut budget = Budget::new(&Limits::default());
    if let Ok(element) = Reader::new(bytes.secret_bytes(), Rules::Ber).any(&mut budget) {
        let len = element.raw().len();
        bytes.truncate(len);
    }
    bytes
}
