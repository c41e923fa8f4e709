//! What depends on the parts of a message that only this crate can put together wrongly.

use super::{
    CmsError, LegacyDigests, Signed, SignedAttribute, SignedBuilder, SignedContent, SignedToBeSigned, SkippedChoice, VerifyOptions,
    identifies,
};
use crate::codec::cms::{AlgorithmIdentifier, CertificateIdentifier};
use crate::codec::der::write;
use crate::crypto::{CryptoError, CryptoProvider, DigestAlgorithm, SignatureAlgorithm, SigningKey, sign_now};
use crate::ids::SerialNumber;
use crate::limits::Limits;
use crate::message::certificate::{Certificate, CertificateBuilder};
use crate::message::name::Name;
use crate::terms::{KeyAlgorithm, oid};
use crate::time::Timestamp;

use std::sync::Arc;
use std::time::Duration;

struct Signer {
    provider: CryptoProvider,
    key: Arc<dyn SigningKey>,
    certificate: Certificate,
}

fn signer(algorithm: KeyAlgorithm) -> Signer {
    signer_named(algorithm, "CN=Signer")
}

fn signer_named(algorithm: KeyAlgorithm, name: &str) -> Signer {
    let provider = CryptoProvider::aws_lc_rs();
    let key = provider.key_generation().unwrap().generate(algorithm).unwrap();
    let key = provider.signing_keys().unwrap().load(&key).unwrap();
    let now = Timestamp::from_secs(1_800_000_000);
    let (name, serial) = (Name::parse_cert_str(name).unwrap(), SerialNumber::from_be_bytes(&[7]).unwrap());
    let builder = CertificateBuilder::new(name, &key.public_key(), now, now.saturating_add(Duration::from_secs(60)), serial);
    let to_be_signed = builder.to_be_signed(key.algorithms()[0]).unwrap();
    let signature = sign_now(&*key, to_be_signed.algorithm(), to_be_signed.message()).unwrap();
    let certificate = Certificate::from_der(&to_be_signed.finish(&signature), &Limits::default()).unwrap();
    Signer { provider, key, certificate }
}

impl Signer {
    fn to_be_signed(&self, algorithm: SignatureAlgorithm) -> SignedToBeSigned {
        let builder = SignedBuilder::new(SignedContent::Attached(b"content")).certificate(self.certificate.der());
        builder.to_be_signed(&self.certificate, algorithm, &self.provider).unwrap()
    }

    fn verify(&self, message: &[u8], options: VerifyOptions<'_>) -> Result<SignatureAlgorithm, CmsError> {
        let signed = Signed::parse(message, &Limits::default())?;
        signed.verify(options, &self.provider).map(|verified| verified.single_signer().unwrap().algorithm())
    }
}

#[test]
fn the_signature_may_be_over_another_digest_than_the_contents_where_attributes_are_signed() {
    let signer = signer(KeyAlgorithm::Rsa2048);
    let mut message = signer.to_be_signed(SignatureAlgorithm::RsaPkcs1Sha256);
    message.data.signer_infos[0].signature_algorithm = AlgorithmIdentifier::new(oid("1.2.840.113549.1.1.13"), Some(write::null()));
    let signature = sign_now(&*signer.key, SignatureAlgorithm::RsaPkcs1Sha512, message.message()).unwrap();
    let message = message.finish(&signature);
    assert_eq!(signer.verify(&message, VerifyOptions::default()).unwrap(), SignatureAlgorithm::RsaPkcs1Sha512);
}

#[test]
fn sha1_is_asked_about_wherever_it_is() {
    let signer = signer(KeyAlgorithm::Rsa2048);
    // The content's digest is SHA-256, the signature's is SHA-1, by either of its names.
    for name in ["1.2.840.113549.1.1.5", "1.3.14.3.2.29"] {
        let mut message = signer.to_be_signed(SignatureAlgorithm::RsaPkcs1Sha256);
        message.data.signer_infos[0].signature_algorithm = AlgorithmIdentifier::new(oid(name), Some(write::null()));
        let message = message.finish(&[1; 256]);
        assert!(matches!(signer.verify(&message, VerifyOptions::default()), Err(CmsError::WeakAlgorithm(_))));
        let allowed = VerifyOptions::default().legacy_digests(LegacyDigests::AllowSha1);
        assert!(matches!(signer.verify(&message, allowed), Err(CmsError::Signature)));
    }
}

#[test]
fn sha1_over_the_content_is_not_approved_by_fips_under_a_signature_that_is() {
    let signer = signer(KeyAlgorithm::Rsa2048);
    let mut message = signer.to_be_signed(SignatureAlgorithm::RsaPkcs1Sha1);
    message.data.signer_infos[0].signature_algorithm = AlgorithmIdentifier::new(oid("1.2.840.113549.1.1.11"), Some(write::null()));
    let signature = sign_now(&*signer.key, SignatureAlgorithm::RsaPkcs1Sha256, message.message()).unwrap();
    let message = message.finish(&signature);
    let allowed = VerifyOptions::default().legacy_digests(LegacyDigests::AllowSha1);
    assert!(signer.verify(&message, allowed).is_ok());
    let restricted = Signer { provider: signer.provider.clone().fips_approved_only(), ..signer };
    let refused = restricted.verify(&message, allowed);
    assert!(matches!(refused, Err(CmsError::Crypto(CryptoError::NotApproved { .. }))), "{refused:?}");
}

#[test]
fn pss_without_parameters_or_with_unknown_ones_is_refused_by_name() {
    let signer = signer(KeyAlgorithm::Rsa2048);
    let good = signer.to_be_signed(SignatureAlgorithm::RsaPssSha256);
    let signature = sign_now(&*signer.key, SignatureAlgorithm::RsaPssSha256, good.message()).unwrap();
    assert!(signer.verify(&good.finish(&signature), VerifyOptions::default()).is_ok());
    let with = |parameters: Option<Vec<u8>>| {
        let mut message = signer.to_be_signed(SignatureAlgorithm::RsaPssSha256);
        message.data.signer_infos[0].signature_algorithm.parameters = parameters;
        signer.verify(&message.finish(&signature), VerifyOptions::default()).unwrap_err()
    };
    assert!(matches!(with(None), CmsError::Malformed(_)));
    let shake = write::algorithm_identifier(&oid("2.16.840.1.101.3.4.2.11"), &[]);
    for parameters in
        [write::null(), write::sequence(&[&write::context(0, &[&shake])]), write::sequence(&[&write::context(3, &[&write::unsigned(2)])])]
    {
        let error = with(Some(parameters));
        assert!(matches!(error, CmsError::UnsupportedAlgorithm { .. }), "{error}");
        assert!(error.to_string().contains("RSASSA-PSS"), "{error}");
    }
    // An empty SEQUENCE means SHA-1 (RFC 4055 section 3.1), which is asked about.
    assert!(matches!(with(Some(write::sequence(&[]))), CmsError::WeakAlgorithm(_)));
}

#[test]
fn an_issuer_is_compared_as_a_name_only_while_that_is_cheap() {
    for (len, as_name) in [(20, true), (3000, false)] {
        let issuer = format!("CN={}", "x".repeat(len));
        let signer = signer_named(KeyAlgorithm::EcP256, &issuer);
        let identifier = |issuer: &str| CertificateIdentifier::IssuerAndSerialNumber {
            issuer: Name::parse_cert_str(issuer).unwrap().as_der().to_vec(),
            serial: signer.certificate.serial_raw().to_vec(),
        };
        assert!(identifies(&identifier(&issuer), &signer.certificate));
        assert_eq!(identifies(&identifier(&issuer.to_uppercase()), &signer.certificate), as_name);
    }
}

#[test]
fn a_key_of_another_kind_than_the_signature_is_refused() {
    let (rsa, ec) = (signer(KeyAlgorithm::Rsa2048), signer(KeyAlgorithm::EcP256));
    let mut message = rsa.to_be_signed(SignatureAlgorithm::RsaPkcs1Sha256);
    message.data.certificates = vec![ec.certificate.der().to_vec()];
    assert!(matches!(rsa.verify(&message.finish(&[1; 256]), VerifyOptions::default()), Err(CmsError::UnsupportedAlgorithm { .. })));
}

#[test]
fn other_kinds_of_certificates_and_revocation_information_are_passed_over_and_named() {
    let signer = signer(KeyAlgorithm::EcP256);
    let mut message = signer.to_be_signed(SignatureAlgorithm::EcdsaP256Sha256);
    let attribute_certificate = write::context(2, &[&write::unsigned(1)]);
    message.data.certificates.insert(0, attribute_certificate);
    message.data.certificates.push(write::context(3, &[&write::oid(&oid("1.2.3"))]));
    message.data.crls.push(write::context(1, &[&write::oid(&oid("1.3.6.1.5.5.7.16.2"))]));
    let signature = sign_now(&*signer.key, SignatureAlgorithm::EcdsaP256Sha256, message.message()).unwrap();
    let message = message.finish(&signature);
    assert!(signer.verify(&message, VerifyOptions::default()).is_ok());
    let signed = Signed::parse(&message, &Limits::default()).unwrap();
    assert_eq!((signed.certificates().len(), signed.crls().len()), (1, 0));
    let skipped = [SkippedChoice::AttributeCertificateV2, SkippedChoice::OtherCertificate, SkippedChoice::OtherRevocationInfo];
    assert_eq!(signed.skipped(), skipped);
}

#[test]
fn digests_of_every_length_are_signed_and_verified_by_their_own_algorithm() {
    for (key, algorithm, digest) in [
        (KeyAlgorithm::Rsa2048, SignatureAlgorithm::RsaPkcs1Sha384, DigestAlgorithm::Sha384),
        (KeyAlgorithm::Rsa2048, SignatureAlgorithm::RsaPssSha512, DigestAlgorithm::Sha512),
        (KeyAlgorithm::EcP384, SignatureAlgorithm::EcdsaP384Sha384, DigestAlgorithm::Sha384),
    ] {
        let signer = signer(key);
        let message = signer.to_be_signed(algorithm);
        let signature = sign_now(&*signer.key, algorithm, message.message()).unwrap();
        let message = message.finish(&signature);
        let signed = Signed::parse(&message, &Limits::default()).unwrap();
        let verified = signed.verify(VerifyOptions::default(), &signer.provider).unwrap();
        let found = verified.single_signer().unwrap();
        assert_eq!((found.algorithm(), found.digest()), (algorithm, digest));
    }
}

#[test]
fn algorithms_that_the_signer_protected_cannot_be_swapped() {
    let signer = signer(KeyAlgorithm::EcP256);
    let sha256 = write::algorithm_identifier(&oid(DigestAlgorithm::Sha256.oid()), &[]);
    let sha256_null = write::algorithm_identifier(&oid(DigestAlgorithm::Sha256.oid()), &write::null());
    let sha384 = write::algorithm_identifier(&oid(DigestAlgorithm::Sha384.oid()), &[]);
    let ecdsa = |number| write::context(1, &[&write::oid(&oid(number))]);
    let (with_sha256, with_sha384) = (ecdsa("1.2.840.10045.4.3.2"), ecdsa("1.2.840.10045.4.3.3"));
    for (protection, good) in [
        (write::sequence(&[&sha256, &with_sha256]), true),
        (write::sequence(&[&sha256_null, &with_sha256]), true),
        (write::sequence(&[&sha384, &with_sha256]), false),
        (write::sequence(&[&sha256, &with_sha384]), false),
        (write::sequence(&[&sha256]), false),
        (write::null(), false),
    ] {
        let message = SignedBuilder::new(SignedContent::Attached(b"content"))
            .certificate(signer.certificate.der())
            .attribute(SignedAttribute::from_der(oid("1.2.840.113549.1.9.52"), protection.clone()))
            .to_be_signed(&signer.certificate, SignatureAlgorithm::EcdsaP256Sha256, &signer.provider)
            .unwrap();
        let signature = sign_now(&*signer.key, SignatureAlgorithm::EcdsaP256Sha256, message.message()).unwrap();
        assert_eq!(signer.verify(&message.finish(&signature), VerifyOptions::default()).is_ok(), good, "{protection:?}");
    }
}

#[test]
fn content_that_is_no_octet_string_is_hashed_without_its_tag_and_length() {
    let signer = signer(KeyAlgorithm::EcP256);
    let inside = write::unsigned(0x5a5a);
    let builder = SignedBuilder::new(SignedContent::Attached(&inside)).certificate(signer.certificate.der());
    let message = builder.to_be_signed(&signer.certificate, SignatureAlgorithm::EcdsaP256Sha256, &signer.provider).unwrap();
    let signature = sign_now(&*signer.key, SignatureAlgorithm::EcdsaP256Sha256, message.message()).unwrap();
    let mut message = message.finish(&signature);
    // PKCS#7 1.5 section 9.3: a SEQUENCE with the same content octets has the same digest.
    let (octets, sequence) = (write::octet_string(&inside), write::sequence(&[&inside]));
    let at = message.windows(octets.len()).position(|window| window == octets).unwrap();
    message[at..at + sequence.len()].copy_from_slice(&sequence);
    assert!(signer.verify(&message, VerifyOptions::default()).is_ok());
    let signed = Signed::parse(&message, &Limits::default()).unwrap();
    assert_eq!(signed.unverified_content(), Some(&inside[..]));
}
