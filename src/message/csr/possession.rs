//! The requester's proof of possession, checked before the request is read.
//!
//! Whoever sends a SCEP request may have captured its envelope and changed it. Until the CSR inside is known to be signed by the sender's own
//! key, how long we work on it must not depend on what the envelope decrypts to. Reading a CSR does: it stops where something is wrong. So
//! the few parts that the proof needs are found in the same steps whatever the bytes are, and one signature is verified in any case.

use core::ops::Range;

use super::Csr;
use crate::crypto::{CryptoProvider, DigestAlgorithm, SignatureAlgorithm};
use crate::limits::{Budget, Limits};
use crate::message::X509Error;
use crate::message::algorithm::{PublicKeyAlgorithm, SignatureIdentifier};
use crate::message::certificate::Certificate;
use crate::message::enveloped::Decrypted;
use crate::message::public_key::RsaPublicKey;

/// sha256WithRSAEncryption with NULL, in the place of an algorithm that is not there.
const STAND_IN_ALGORITHM: [u8; 15] = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00];
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// Whose key must have signed a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Possession {
    /// That of the sender of the message, and the request is for it.
    OfSignersKey,
    /// That in the request.
    OfOwnKey,
}

impl Csr {
    /// Reads a decrypted request if its signature proves possession of the key. `None` for everything else, after the same work: one
    /// verification, over as many bytes.
    ///
    /// `signer` has an RSA key: no other client can open the answer. The lengths around the parts must be definite.
    ///
    /// # Errors
    /// What is the same whatever is encrypted: a signer whose key is not RSA, a provider without a slot; and what is wrong with a request
    /// whose signature has verified.
    pub(crate) fn proven(
        decrypted: &Decrypted,
        signer: &Certificate,
        possession: Possession,
        provider: &CryptoProvider,
        limits: &Limits,
    ) -> Result<Option<Self>, X509Error> {
        let signers_key = RsaPublicKey::from_spki(signer.spki()).map_err(|_| X509Error::UnsupportedSignature)?;
        let content = decrypted.bytes();
        let frame = Frame::find(content);
        let (own_algorithm, own_signature) = (&content[frame.algorithm.clone()], &content[frame.signature.clone()]);
        let same_key = is_key_of(signer, content, &frame.spki) & is_below(own_signature, signers_key.modulus());
        let (key, spki, has_key) = match possession {
            Possession::OfSignersKey => (signer.public_key_algorithm().clone(), signer.spki(), same_key),
            Possession::OfOwnKey => {
                let spki = &content[frame.spki.clone()];
                match PublicKeyAlgorithm::read(if frame.whole { spki } else { signer.spki() }, &mut Budget::new(limits)) {
                    Ok(key) if frame.whole => (key, spki, true),
                    _ => (signer.public_key_algorithm().clone(), signer.spki(), false),
                }
            }
        };
        let identifier = SignatureIdentifier::from_der(if frame.whole { own_algorithm } else { &STAND_IN_ALGORITHM });
        let algorithm = identifier.and_then(|identifier| identifier.with_key(&key));
        let usable = decrypted.is_content() & frame.whole & has_key & algorithm.is_some();

        let stand_in = stand_in_signature(signers_key.modulus().len());
        let (algorithm, spki, message, signature) = match algorithm.filter(|_| usable) {
            Some(algorithm) => (algorithm, spki, &content[frame.info.clone()], own_signature),
            None => {
                let message = stand_in_message(decrypted, stand_in.len());
                (stand_in_algorithm(signer.public_key_algorithm()), signer.spki(), message, stand_in.as_slice())
            }
        };
        let verified = provider.verification()?.verify(algorithm, spki, message, signature).is_ok();
        if !(usable & verified) {
            return Ok(None);
        }
        let mut csr = Self::from_der(content, limits)?;
        // What was verified is what was read.
        let same = csr.info == frame.info && csr.spki == frame.spki && csr.signature == own_signature;
        csr.is_proven = true;
        Ok(same.then_some(csr))
    }
}

/// Where the parts of a CertificationRequest (RFC 2986 section 4.2) lie, tags and lengths included but for the signature's.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Frame {
    info: Range<usize>,
    spki: Range<usize>,
    algorithm: Range<usize>,
    signature: Range<usize>,
    /// Whether all of them are there and nothing follows; else the ranges are within the bytes and mean nothing.
    whole: bool,
}

impl Frame {
    fn find(bytes: &[u8]) -> Self {
        let mut cursor = Cursor { bytes, whole: true };
        let request = cursor.element(0..bytes.len(), SEQUENCE);
        let info = cursor.element(request.inside(), SEQUENCE);
        let version = cursor.element(info.inside(), INTEGER);
        let subject = cursor.element(version.end..info.end, SEQUENCE);
        let spki = cursor.element(subject.end..info.end, SEQUENCE);
        let algorithm = cursor.element(info.end..request.end, SEQUENCE);
        let signature = cursor.element(algorithm.end..request.end, BIT_STRING);
        let unused_bits = bytes.get(signature.content).copied().unwrap_or(1);
        let whole = cursor.whole & (request.end == bytes.len()) & (signature.end == request.end) & (unused_bits == 0);
        let octets = (signature.content + 1).min(signature.end)..signature.end;
        Self { info: info.start..info.end, spki: spki.start..spki.end, algorithm: algorithm.start..algorithm.end, signature: octets, whole }
    }
}

/// Reads elements without ever stopping; what does not fit is cut to what there is.
struct Cursor<'a> {
    bytes: &'a [u8],
    whole: bool,
}

#[derive(Debug, Clone, Copy)]
struct Element {
    start: usize,
    content: usize,
    end: usize,
}

impl Element {
    const fn inside(self) -> Range<usize> {
        self.content..self.end
    }
}

impl Cursor<'_> {
    fn element(&mut self, within: Range<usize>, tag: u8) -> Element {
        let octet = |place: usize| self.bytes.get(within.start + place).copied().unwrap_or(0);
        let first = usize::from(octet(1));
        // Short form, or up to three octets of length: a request has a limit far below 16 MiB.
        let (is_long, count) = (first >= 0x80, first & 0x7f);
        let octets = if is_long { count.min(3) } else { 0 };
        let long = (2..5).fold(0, |value, place| value << 8 | usize::from(octet(place))) >> (8 * (3 - octets));
        let length = if is_long { long } else { first };
        let content = within.start + 2 + octets;
        let end = content + length;
        self.whole &= (octet(0) == tag) & (!is_long | (1..=3).contains(&count)) & (end <= within.end);
        let last = within.end.max(within.start);
        Element { start: within.start, content: content.min(last), end: end.min(last) }
    }
}

/// Whether these bytes are the signer's key; as many bytes are compared in any case.
fn is_key_of(signer: &Certificate, content: &[u8], place: &Range<usize>) -> bool {
    let key = signer.spki();
    let as_long = place.len() == key.len();
    let compared = if as_long { &content[place.clone()] } else { content.get(..key.len()).unwrap_or(key) };
    let differing = compared.iter().zip(key).fold(0, |differing, (one, other)| differing | (one ^ other));
    as_long & (differing == 0)
}

/// Whether a signature is a number below the modulus, and as long: verification turns others down at once.
fn is_below(signature: &[u8], modulus: &[u8]) -> bool {
    let mut borrow = 0;
    let mut missing = modulus.len().abs_diff(signature.len());
    for (place, modulus) in modulus.iter().enumerate().rev() {
        let octet = signature.get(place).copied().unwrap_or(0);
        borrow = (u16::from(octet).wrapping_sub(u16::from(*modulus)).wrapping_sub(borrow) >> 8) & 1;
        missing |= usize::from(place >= signature.len());
    }
    (borrow == 1) & (missing == 0)
}

/// A number of that many octets below every modulus that long. It is no signature of anything that anybody can find.
fn stand_in_signature(len: usize) -> Vec<u8> {
    let mut signature = vec![0xa5; len];
    if let Some(first) = signature.first_mut() {
        *first = 0;
    }
    signature
}

fn stand_in_algorithm(key: &PublicKeyAlgorithm) -> SignatureAlgorithm {
    SignatureIdentifier::RsaPkcs1(DigestAlgorithm::Sha256).with_key(key).unwrap_or(SignatureAlgorithm::RsaPkcs1Sha256)
}

/// As many bytes as the signed part of a request of that size: what surrounds it are a header of 4, an algorithm of 15 and a header of 5.
fn stand_in_message(decrypted: &Decrypted, signature_len: usize) -> &[u8] {
    let bytes = decrypted.bytes();
    // A ciphertext is longer by the padding; half of a block is the middle.
    let padding = if decrypted.is_content() { 0 } else { 8 };
    &bytes[..bytes.len().saturating_sub(signature_len + 24 + padding)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Vec<u8> {
        let tlv = |tag: u8, content: &[u8]| {
            let len = u16::try_from(content.len()).unwrap().to_be_bytes();
            [&[tag, 0x82, len[0], len[1]], content].concat()
        };
        let info = [tlv(INTEGER, &[0]), tlv(SEQUENCE, b"subject"), tlv(SEQUENCE, b"key"), tlv(0xa0, b"attributes")].concat();
        tlv(SEQUENCE, &[tlv(SEQUENCE, &info), STAND_IN_ALGORITHM.to_vec(), tlv(BIT_STRING, b"\0signature")].concat())
    }

    #[test]
    fn the_parts_are_found() {
        let request = request();
        let frame = Frame::find(&request);
        assert!(frame.whole);
        assert_eq!(&request[frame.spki], b"\x30\x82\0\x03key");
        assert_eq!(&request[frame.algorithm], STAND_IN_ALGORITHM);
        assert_eq!(&request[frame.signature], b"signature");
        assert_eq!(frame.info.start, 4);
    }

    #[test]
    fn what_is_cut_off_lengthened_or_changed_is_not_whole_and_never_out_of_bounds() {
        let good = request();
        for len in 0..good.len() {
            check(&good[..len], false);
        }
        check(&[&good[..], &[0]].concat(), false);
        for place in 0..good.len() {
            for value in [0x00, 0x7f, 0x80, 0x81, 0x84, 0xff] {
                let mut changed = good.clone();
                changed[place] = value;
                check(&changed, Frame::find(&changed).whole);
            }
        }
        let unused_bits = good.len() - b"signature".len() - 1;
        for place in [0, 4, 8, unused_bits] {
            let mut changed = good.clone();
            changed[place] ^= 1;
            check(&changed, false);
        }
    }

    fn check(bytes: &[u8], whole: bool) {
        let frame = Frame::find(bytes);
        assert_eq!(frame.whole, whole, "{bytes:02x?}");
        for range in [frame.info, frame.spki, frame.algorithm, frame.signature] {
            assert!(bytes.get(range.clone()).is_some(), "{range:?} of {}", bytes.len());
        }
    }

    #[test]
    fn a_signature_is_below_the_modulus_when_it_is_as_long_and_less() {
        let modulus = [0x80, 0x00, 0x05];
        for (signature, below) in [
            (&[0x80, 0x00, 0x04][..], true),
            (&[0x00, 0xff, 0xff], true),
            (&[0x80, 0x00, 0x05], false),
            (&[0x80, 0x01, 0x00], false),
            (&[0xff, 0x00, 0x00], false),
            (&[0x00, 0x05], false),
            (&[0x00, 0x00, 0x00, 0x05], false),
            (&[], false),
        ] {
            assert_eq!(is_below(signature, &modulus), below, "{signature:02x?}");
        }
        assert!(is_below(&stand_in_signature(3), &modulus));
    }
}
