//! Opening: integrity first, then the safes, then the pairing of keys and certificates.

use rustls_pki_types::CertificateDer;

use super::contents::{
    MacVerified, OpenedPfx, OtherBagKind, PfxAttribute, PfxCertificate, PfxContents, PfxKey, PfxOther, Protection, Unauthenticated,
};
use super::error::PfxError;
use super::password::PfxPasswords;
use super::scheme::{Decryptor, Scheme};
use super::{mac, pairing};
use crate::codec::der::{Reader, Rules, Tag, Tlv};
use crate::codec::pkcs5::AlgorithmIdentifier;
use crate::codec::pkcs12::{self, Attribute, ContentInfo, Pfx, SafeBag, oid};
use crate::crypto::CryptoProvider;
use crate::limits::{Budget, Limits};
use crate::secret::{PrivateKeyPkcs8, SecretBytes};

/// Opens a PFX (RFC 7292), in DER or BER.
///
/// The MAC is verified over the bytes as received before anything is decrypted. Every key derivation is charged to
/// [`Limits::kdf_iterations`] before it runs, over all attempts with forms of the password that real programs use.
/// Public-key modes and unknown algorithms are errors: nothing is left out silently. Bags of other types come out in `others`.
///
/// `None` as password is an absent password; a file that was made with an empty one opens too.
///
/// # Errors
/// [`PfxError`], by kind: wrong password, damaged, unsupported algorithm or mode, limit exceeded, or the provider's failure.
pub fn open<'a>(
    der: &[u8],
    passwords: impl Into<PfxPasswords<'a>>,
    provider: &CryptoProvider,
    limits: &Limits,
) -> Result<OpenedPfx, PfxError> {
    let passwords = passwords.into();
    let mut budget = Budget::new(limits);
    let pfx = outermost(der, &mut budget)?;
    let auth_safe = pfx.auth_safe.data(&mut budget)?;
    let mac = match &pfx.mac_data {
        Some(mac) => Some(mac::verify(mac, auth_safe.as_ref(), passwords.mac, provider, &mut budget)?),
        None => None,
    };
    let mut opening = Opening {
        decryptor: Decryptor::new(passwords.safes, provider, mac.is_some(), mac::preferred_form(mac.as_ref())),
        budget,
        contents: PfxContents { trailing_bytes: pfx.trailing_bytes, ..PfxContents::default() },
    };
    opening.authenticated_safe(auth_safe.as_ref())?;
    let mut contents = opening.contents;
    contents.pairs = pairing::pair(&contents.keys, &contents.certificates, provider);
    Ok(match mac {
        Some(mac) => OpenedPfx::MacVerified(MacVerified::new(contents, mac)),
        None => OpenedPfx::Unauthenticated(Unauthenticated::new(contents)),
    })
}

/// Whether a PFX (RFC 7292 section 4) carries a MAC. Only the outermost structure is read: no password, no key derivation.
///
/// For deciding, before a password is decrypted, that a file without a MAC is refused: [`open`] gives [`OpenedPfx::Unauthenticated`] for
/// such a file with the right password and an error with a wrong one, which would tell whoever made the file whether a guess was right.
/// `true` does not say that the MAC fits, nor that its algorithm is known.
///
/// # Errors
/// [`PfxError`] for what [`open`] finds before it needs the password: damaged, integrity by another mode than a password, limit exceeded.
pub fn has_mac(der: &[u8], limits: &Limits) -> Result<bool, PfxError> {
    Ok(outermost(der, &mut Budget::new(limits))?.mac_data.is_some())
}

/// The structure around the AuthenticatedSafe, in password-integrity mode.
fn outermost<'a>(der: &'a [u8], budget: &mut Budget) -> Result<Pfx<'a>, PfxError> {
    if der.starts_with(b"-----BEGIN") {
        return Err(PfxError::Damaged("it is a PEM file, and PFX files are binary"));
    }
    let pfx = Pfx::decode(der, budget)?;
    match pfx.auth_safe.content_type.as_str() {
        oid::DATA => Ok(pfx),
        oid::SIGNED_DATA => Err(unsupported_mode("integrity by a signature (signedData) instead of a password")),
        other => Err(unsupported_content_type(other)),
    }
}

fn unsupported_mode(mode: &str) -> PfxError {
    PfxError::UnsupportedMode { mode: mode.to_owned() }
}

fn unsupported_content_type(dotted: &str) -> PfxError {
    match oid::name(dotted) {
        Some(name) => unsupported_mode(&format!("content of type {name} ({dotted})")),
        None => unsupported_mode(&format!("content of the unknown type {dotted}")),
    }
}

/// Identifier octets of what encrypted and wrapped values begin with.
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;

/// How deep the AuthenticatedSafe lies: PFX, ContentInfo, [0], OCTET STRING. Nesting goes on counting inside.
const AUTHENTICATED_SAFE_DEPTH: usize = 4;
/// The same for the SafeContents inside a safe: AuthenticatedSafe, ContentInfo, [0], EncryptedData, EncryptedContentInfo, content.
const SAFE_CONTENTS_DEPTH: usize = AUTHENTICATED_SAFE_DEPTH + 6;

struct Opening<'a> {
    decryptor: Decryptor<'a>,
    budget: Budget,
    contents: PfxContents,
}

impl Opening<'_> {
    fn authenticated_safe(&mut self, bytes: &[u8]) -> Result<(), PfxError> {
        for safe in pkcs12::authenticated_safe(bytes, AUTHENTICATED_SAFE_DEPTH, &mut self.budget)? {
            self.safe(&safe)?;
        }
        Ok(())
    }

    fn safe(&mut self, safe: &ContentInfo<'_>) -> Result<(), PfxError> {
        match safe.content_type.as_str() {
            oid::DATA => {
                let content = safe.data(&mut self.budget)?;
                self.safe_contents_bytes(content.as_ref(), &Protection::Clear)
            }
            oid::ENCRYPTED_DATA => {
                let encrypted = safe.encrypted_data(&mut self.budget)?;
                let (plaintext, protection) = self.decrypt(&encrypted.algorithm, encrypted.encrypted_content.as_ref(), is_safe_contents)?;
                self.safe_contents_bytes(plaintext.secret_bytes(), &protection)
            }
            oid::ENVELOPED_DATA => Err(unsupported_mode("encryption to a public key (envelopedData) instead of a password")),
            other => Err(unsupported_content_type(other)),
        }
    }

    fn decrypt(
        &mut self,
        algorithm: &AlgorithmIdentifier<'_>,
        ciphertext: &[u8],
        fits: fn(&[u8]) -> bool,
    ) -> Result<(SecretBytes, Protection), PfxError> {
        let scheme = Scheme::decode(algorithm, &mut self.budget)?;
        let plaintext = self.decryptor.decrypt(&scheme, ciphertext, fits, &mut self.budget)?;
        Ok((plaintext, Protection::Encrypted { scheme: scheme.description(), iterations: scheme.iterations() }))
    }

    fn safe_contents_bytes(&mut self, bytes: &[u8], protection: &Protection) -> Result<(), PfxError> {
        let mut outer = Reader::inside(bytes, Rules::Ber, SAFE_CONTENTS_DEPTH);
        let contents = outer.field(Tag::SEQUENCE, "a safe is not a SEQUENCE of bags", &mut self.budget)?;
        let bags = contents.inner()?;
        self.safe_contents(bags, protection)
    }

    /// `SafeContents ::= SEQUENCE OF SafeBag`. Recurses into nested ones; the reader's depth limit bounds that.
    fn safe_contents(&mut self, mut bags: Reader<'_>, protection: &Protection) -> Result<(), PfxError> {
        while !bags.is_empty() {
            let bag = SafeBag::read(&mut bags, &mut self.budget)?;
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
                let algorithm = AlgorithmIdentifier::read(&mut fields, &mut self.budget)?;
                let encrypted = fields.octet_string("a shrouded key bag has no encrypted key", &mut self.budget)?;
                let (plaintext, protection) = self.decrypt(&algorithm, encrypted.as_ref(), is_private_key_info)?;
                self.key(PrivateKeyPkcs8::from(first_element(plaintext)), bag, protection)
            }
            oid::CERT_BAG => {
                let (id, value) = pkcs12::typed_value(&bag.value, &mut self.budget)?;
                if id != oid::X509_CERTIFICATE {
                    return self.other(OtherBagKind::OtherCertificate, id, value.raw(), bag, protection);
                }
                if value.tag() != Tag::OCTET_STRING {
                    return Err(PfxError::Damaged("a certificate bag does not hold an OCTET STRING"));
                }
                self.budget.charge_certificates(1)?;
                let der = value.octets(&mut self.budget)?;
                if der.first() != Some(&SEQUENCE) {
                    return Err(PfxError::Damaged("a certificate bag does not hold a certificate"));
                }
                let attributes = Attributes::read(&bag.attributes, &mut self.budget)?;
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
                let (id, value) = pkcs12::typed_value(&bag.value, &mut self.budget)?;
                self.other(OtherBagKind::Crl, id, value.raw(), bag, protection)
            }
            oid::SECRET_BAG => match pkcs12::typed_value(&bag.value, &mut self.budget) {
                Ok((id, value)) => self.other(OtherBagKind::Secret, id, value.raw(), bag, protection),
                // Wallets put other shapes there; nothing is read from them.
                Err(_) => self.other(OtherBagKind::Secret, bag.id.clone(), bag.value.raw(), bag, protection),
            },
            _ => self.other(OtherBagKind::Unknown, bag.id.clone(), bag.value.raw(), bag, protection),
        }
    }

    fn key(&mut self, key: PrivateKeyPkcs8, bag: &SafeBag<'_>, protection: Protection) -> Result<(), PfxError> {
        let attributes = Attributes::read(&bag.attributes, &mut self.budget)?;
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
        let attributes = Attributes::read(&bag.attributes, &mut self.budget)?;
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

/// The attributes of a bag. What is odd in them never costs the key or certificate that they describe.
#[derive(Default)]
struct Attributes {
    friendly_name: Option<String>,
    local_key_id: Option<Vec<u8>>,
    all: Vec<PfxAttribute>,
}

impl Attributes {
    fn read(attributes: &[Attribute<'_>], budget: &mut Budget) -> Result<Self, PfxError> {
        let mut read = Self::default();
        for attribute in attributes {
            if let Some(value) = attribute.values.first() {
                match attribute.id.as_str() {
                    oid::FRIENDLY_NAME if read.friendly_name.is_none() => read.friendly_name = text(value, budget),
                    oid::LOCAL_KEY_ID if read.local_key_id.is_none() => {
                        let is_octets = value.tag() == Tag::OCTET_STRING;
                        let id = if is_octets { value.octets(budget)?.into_owned() } else { value.content().to_vec() };
                        read.local_key_id = Some(id);
                    }
                    _ => {}
                }
            }
            read.all.push(PfxAttribute {
                name: oid::name(&attribute.id),
                oid: attribute.id.clone(),
                values: attribute.values.iter().map(|value| value.raw().to_vec()).collect(),
            });
        }
        Ok(read)
    }
}

/// A friendlyName: BMPString by the standard, other string types in real files. Broken UTF-16 is shown with replacement characters.
fn text(value: &Tlv<'_>, budget: &mut Budget) -> Option<String> {
    let octets = value.octets(budget).ok()?;
    match value.tag() {
        Tag::BMP_STRING => {
            let units = octets.chunks_exact(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]]));
            let text = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect::<String>();
            // Some writers count a terminating zero in.
            Some(text.trim_end_matches('\0').to_owned())
        }
        Tag::UTF8_STRING | Tag::PRINTABLE_STRING | Tag::IA5_STRING | Tag::VISIBLE_STRING => {
            Some(String::from_utf8_lossy(&octets).into_owned())
        }
        Tag::TELETEX_STRING => Some(octets.iter().map(|byte| char::from(*byte)).collect()),
        _ => None,
    }
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
