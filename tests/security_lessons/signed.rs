//! The rows about SignedData.

use std::process::Command;
use std::sync::LazyLock;

use intune_connector::crypto::{CryptoProvider, DigestAlgorithm, SignatureAlgorithm, sign_now};
use intune_connector::ids::SerialNumber;
use intune_connector::limits::Limits;
use intune_connector::message::certificate::{Certificate, CertificateBuilder};
use intune_connector::message::name::Name;
use intune_connector::message::pfx::{self, PfxPasswords};
use intune_connector::message::signed::{
    CmsError, LegacyDigests, ShortRsaKeys, SignatureOver, Signed, SignedBuilder, SignedContent, VerifyOptions, certs_only,
};

use crate::make::{DATA, SHA256, SIGNED_DATA, algorithm, attribute, content_info, integer, oid, sequence, tlv};
use crate::pki::{self, Identity};
use crate::support;

const CONTENT: &[u8] = b"what was signed";
const CONTENT_TYPE: &str = "1.2.840.113549.1.9.3";
const MESSAGE_DIGEST: &str = "1.2.840.113549.1.9.4";
const SIGNING_TIME: &str = "1.2.840.113549.1.9.5";
const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
const TST_INFO: &str = "1.2.840.113549.1.9.16.1.4";

static PROVIDER: LazyLock<CryptoProvider> = LazyLock::new(CryptoProvider::ring_and_aws_lc_rs);
static SIGNER: LazyLock<Identity> = LazyLock::new(|| pki::root(&PROVIDER, "Signer"));

fn digest(octets: &[u8]) -> Vec<u8> {
    PROVIDER.digest().unwrap().digest(DigestAlgorithm::Sha256, &[octets]).unwrap().as_ref().to_vec()
}

fn sign(message: &[u8]) -> Vec<u8> {
    sign_now(&*SIGNER.signer, SignatureAlgorithm::EcdsaP256Sha256, message).unwrap()
}

/// `SignerInfo` of [`SIGNER`]: `signed` and `unsigned` are the contents of the two sets of attributes.
fn signer_info(signed: Option<&[u8]>, signature: &[u8], unsigned: &[u8]) -> Vec<u8> {
    let certificate = Certificate::from_der(&SIGNER.certificate, &Limits::default()).unwrap();
    let name = sequence(&[certificate.issuer().as_der(), &integer(certificate.serial_raw())]);
    let signed = signed.map(|attributes| tlv(0xa0, &[attributes])).unwrap_or_default();
    let unsigned = if unsigned.is_empty() { Vec::new() } else { tlv(0xa1, &[unsigned]) };
    let (digest, algorithm) = (algorithm(SHA256, &[]), algorithm(ECDSA_SHA256, &[]));
    sequence(&[&integer(&[1]), &name, &digest, &signed, &algorithm, &tlv(4, &[signature]), &unsigned])
}

/// A message with the signer's certificate.
fn message(digests: &[u8], kind: &str, content: Option<&[u8]>, signers: &[&[u8]]) -> Vec<u8> {
    let content = content.map(|octets| tlv(0xa0, &[&tlv(4, &[octets])])).unwrap_or_default();
    let encap = sequence(&[&oid(kind), &content]);
    let body = sequence(&[&integer(&[1]), &tlv(0x31, &[digests]), &encap, &tlv(0xa0, &[&SIGNER.certificate]), &tlv(0x31, signers)]);
    content_info(SIGNED_DATA, &body)
}

fn with_sha256(kind: &str, content: Option<&[u8]>, signers: &[&[u8]]) -> Vec<u8> {
    message(&algorithm(SHA256, &[]), kind, content, signers)
}

/// The attributes with a good signature over them.
fn signed_with(attributes: &[&[u8]], unsigned: &[u8]) -> Vec<u8> {
    let attributes = attributes.concat();
    let signature = sign(&tlv(0x31, &[&attributes]));
    with_sha256(DATA, Some(CONTENT), &[&signer_info(Some(&attributes), &signature, unsigned)])
}

fn verify_with(message: &[u8], options: VerifyOptions<'_>) -> Result<Vec<u8>, CmsError> {
    let signed = Signed::parse(message, &Limits::default())?;
    signed.verify(options, &PROVIDER).map(|verified| verified.content().to_vec())
}

fn verify(message: &[u8]) -> Result<Vec<u8>, CmsError> {
    verify_with(message, VerifyOptions::default())
}

fn content_type() -> Vec<u8> {
    attribute(CONTENT_TYPE, &[&oid(DATA)])
}

fn message_digest() -> Vec<u8> {
    attribute(MESSAGE_DIGEST, &[&tlv(4, &[&digest(CONTENT)])])
}

fn corpus(file: &str) -> Option<Vec<u8>> {
    support::vectors().map(|folder| std::fs::read(folder.join(file)).unwrap())
}

// CVE-2024-0727's kind, in CMS.
#[test]
fn content_info_without_content_is_refused_in_cms() {
    assert!(matches!(verify(&content_info(SIGNED_DATA, &[])), Err(CmsError::Malformed(_))));
    for content in [&[5, 0][..], &[0x30, 0], &[4, 0], &[2, 1, 1]] {
        assert!(matches!(verify(&content_info(SIGNED_DATA, content)), Err(CmsError::Malformed(_))), "{content:?}");
    }
}

// CVE-2026-22796: the value of messageDigest read without a look at its type.
#[test]
fn attributes_of_unexpected_types_are_refused_in_cms() {
    for value in [integer(&digest(CONTENT)), vec![5, 0], vec![0x30, 0], tlv(3, &[&[0], &digest(CONTENT)]), oid(DATA), vec![]] {
        let values: &[&[u8]] = if value.is_empty() { &[] } else { &[&value] };
        let message = signed_with(&[&content_type(), &attribute(MESSAGE_DIGEST, values)], &[]);
        assert!(matches!(verify(&message), Err(CmsError::Malformed(_))), "messageDigest: {value:?}");
    }
    for value in [tlv(4, &[&oid(DATA)]), vec![5, 0], integer(&[1])] {
        let message = signed_with(&[&attribute(CONTENT_TYPE, &[&value]), &message_digest()], &[]);
        assert!(matches!(verify(&message), Err(CmsError::Malformed(_))), "contentType: {value:?}");
    }
    // An attribute that nothing is known of may hold what it likes.
    let unknown = attribute("1.2.3.4", &[&[5, 0], &[0x30, 0]]);
    assert_eq!(verify(&signed_with(&[&content_type(), &message_digest(), &unknown], &unknown)).unwrap(), CONTENT);
}

#[test]
fn recursion_in_cms_ends_in_an_error_on_a_small_stack() {
    let run = || {
        for unit in [&[0x30, 0x80][..], &[0x24, 0x80], &[0xa0, 0x80], &[0x31, 0x80]] {
            assert!(Signed::parse(&unit.repeat(100_000), &Limits::default()).is_err());
            let chunks = [&unit.repeat(50_000)[..], &[0; 100_000]].concat();
            let explicit = [&[0xa0, 0x80][..], &chunks, &[0, 0]].concat();
            let encap = [&[0x30, 0x80][..], &oid(DATA), &explicit, &[0, 0]].concat();
            let body = [&[0x30, 0x80, 2, 1, 1, 0x31, 0][..], &encap, &[0x31, 0, 0, 0]].concat();
            let outer = [&[0x30, 0x80][..], &oid(SIGNED_DATA), &[0xa0, 0x80], &body, &[0, 0, 0, 0]].concat();
            assert!(matches!(Signed::parse(&outer, &Limits::default()), Err(CmsError::Limit(limit)) if limit.what == "nesting"));
        }
    };
    std::thread::Builder::new().stack_size(512 << 10).spawn(run).unwrap().join().unwrap();
}

#[test]
fn lengths_over_two_gib_in_cms_are_refused_without_believing_them() {
    for length in [&[0x84, 0x80, 0, 0, 0][..], &[0x84, 0xff, 0xff, 0xff, 0xff], &[0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]] {
        let inner = [&[0x04][..], length, CONTENT].concat();
        let encap = sequence(&[&oid(DATA), &tlv(0xa0, &[&inner])]);
        let body = sequence(&[&integer(&[1]), &tlv(0x31, &[]), &encap, &tlv(0x31, &[])]);
        assert!(matches!(verify(&content_info(SIGNED_DATA, &body)), Err(CmsError::Malformed(_))), "{length:?}");
    }
}

// CVE-2026-45447: a use after free when no digest was announced.
#[test]
fn empty_digest_set_never_verifies() {
    let attributes = [content_type(), message_digest()].concat();
    let info = signer_info(Some(&attributes), &sign(&tlv(0x31, &[&attributes])), &[]);
    assert_eq!(verify(&with_sha256(DATA, Some(CONTENT), &[&info])).unwrap(), CONTENT);
    assert!(verify(&message(&[], DATA, Some(CONTENT), &[&info])).is_err());
    let another = algorithm("2.16.840.1.101.3.4.2.3", &[]);
    assert!(verify(&message(&another, DATA, Some(CONTENT), &[&info])).is_err(), "only another digest is announced");
    let Some(file) = corpus("openssl-cms/pkcs7-empty-digest-set.eml") else { return };
    let text = String::from_utf8(file).unwrap().replace("\r\n", "\n");
    let boundary = text.split_once("boundary=\"").unwrap().1.split_once('"').unwrap().0;
    let parts: Vec<&str> = text.split(&format!("--{boundary}")).collect();
    let base64: String = parts[2].split_once("\n\n").unwrap().1.split_whitespace().collect();
    let message = support::base64(&base64);
    let content = parts[1].trim_start_matches('\n');
    for content in [content.to_owned(), content.trim_end_matches('\n').to_owned(), content.trim_end_matches('\n').replace('\n', "\r\n")] {
        let options = VerifyOptions::default().detached(content.as_bytes()).legacy_digests(LegacyDigests::AllowSha1);
        assert!(verify_with(&message, options.short_rsa_keys(ShortRsaKeys::DangerouslyAllow1024Bits)).is_err());
    }
}

// CVE-2016-7053: a NULL where the content should have been.
#[test]
fn detached_without_content_is_an_error_of_its_own() {
    let attributes = [content_type(), message_digest()].concat();
    let info = signer_info(Some(&attributes), &sign(&tlv(0x31, &[&attributes])), &[]);
    let detached = with_sha256(DATA, None, &[&info]);
    assert!(matches!(verify(&detached), Err(CmsError::Detached)));
    assert_eq!(verify_with(&detached, VerifyOptions::default().detached(CONTENT)).unwrap(), CONTENT);
    assert!(matches!(verify_with(&detached, VerifyOptions::default().detached(b"")), Err(CmsError::Signature)));
    // What is in the message is what is verified, whatever else is given.
    let attached = with_sha256(DATA, Some(b"something else"), &[&info]);
    assert!(matches!(verify_with(&attached, VerifyOptions::default().detached(CONTENT)), Err(CmsError::Signature)));
}

#[test]
fn signed_attributes_must_be_there_once_with_one_right_value() {
    let (kind, hash) = (content_type(), message_digest());
    let value = tlv(4, &[&digest(CONTENT)]);
    let time = attribute(SIGNING_TIME, &[&tlv(0x17, &[b"260101000000Z"])]);
    assert_eq!(verify(&signed_with(&[&kind, &time, &hash], &[])).unwrap(), CONTENT);
    let other_kind = attribute(CONTENT_TYPE, &[&oid(TST_INFO)]);
    type Case<'a> = (&'a str, Vec<&'a [u8]>, &'a [u8]);
    let refused: [Case<'_>; 11] = [
        ("messageDigest missing", vec![&kind], &[]),
        ("messageDigest unsigned", vec![&kind], &hash),
        ("messageDigest signed and unsigned", vec![&kind, &hash], &hash),
        ("messageDigest twice", vec![&kind, &hash, &hash], &[]),
        ("contentType missing", vec![&hash], &[]),
        ("contentType twice", vec![&kind, &kind, &hash], &[]),
        ("contentType of another content", vec![&other_kind, &hash], &[]),
        ("contentType unsigned", vec![&hash], &kind),
        ("signingTime unsigned", vec![&kind, &hash], &time),
        ("signingTime twice", vec![&kind, &hash, &time, &time], &[]),
        ("no attribute at all", vec![], &[]),
    ];
    for (what, attributes, unsigned) in refused {
        assert!(matches!(verify(&signed_with(&attributes, unsigned)), Err(CmsError::Malformed(_))), "{what}");
    }
    for values in [&[&value[..], &value][..], &[]] {
        let message = signed_with(&[&kind, &attribute(MESSAGE_DIGEST, values)], &[]);
        assert!(matches!(verify(&message), Err(CmsError::Malformed(_))), "{} values", values.len());
    }
    for time in [tlv(0x17, &[b"yesterday"]), tlv(0x13, &[b"260101000000Z"]), tlv(0x17, &[b""]), vec![5, 0]] {
        let message = signed_with(&[&kind, &hash, &attribute(SIGNING_TIME, &[&time])], &[]);
        assert!(matches!(verify(&message), Err(CmsError::Malformed(_))), "signingTime {time:?}");
    }
    // A digest that is wrong, a prefix, empty, or longer.
    let good = digest(CONTENT);
    for wrong in [&digest(b"x")[..], &good[..31], &good[..1], &[], &[&good[..], &[0]].concat()] {
        let message = signed_with(&[&kind, &attribute(MESSAGE_DIGEST, &[&tlv(4, &[wrong])])], &[]);
        assert!(matches!(verify(&message), Err(CmsError::Signature)), "{wrong:?}");
    }
    // Without attributes only id-data may be signed (RFC 5652 section 5.3).
    let bare = signer_info(None, &sign(CONTENT), &[]);
    assert_eq!(verify(&with_sha256(DATA, Some(CONTENT), &[&bare])).unwrap(), CONTENT);
    assert!(verify(&with_sha256(TST_INFO, Some(CONTENT), &[&bare])).is_err());
    for file in ["no_md_attr", "no_ct_attr", "ct_multiple_attr", "bad_signtime_attr"] {
        let Some(message) = corpus(&format!("openssl-cms/{file}.cms")) else { return };
        assert!(matches!(verify(&message), Err(CmsError::Malformed(_))), "{file}");
    }
}

// The DER of signed attributes is a message of its own to a reader that does not look.
#[test]
fn attributes_replayed_as_content_and_content_as_attributes_do_not_verify() {
    let attributes = [content_type(), message_digest()].concat();
    let signature = sign(&tlv(0x31, &[&attributes]));
    assert!(verify(&with_sha256(DATA, Some(CONTENT), &[&signer_info(Some(&attributes), &signature, &[])])).is_ok());
    let replayed = with_sha256(DATA, Some(&tlv(0x31, &[&attributes])), &[&signer_info(None, &signature, &[])]);
    assert!(matches!(verify(&replayed), Err(CmsError::Signature)));
    // The writer does not sign such content without attributes either: it would be a signature over a message of the sender's choice.
    let content = tlv(0x31, &[&attributes]);
    let certificate = Certificate::from_der(&SIGNER.certificate, &Limits::default()).unwrap();
    let build = |over| {
        let builder = SignedBuilder::new(SignedContent::Attached(&content)).signature_over(over);
        builder.to_be_signed(&certificate, SignatureAlgorithm::EcdsaP256Sha256, &PROVIDER).is_ok()
    };
    assert!(build(SignatureOver::Attributes));
    assert!(!build(SignatureOver::Content));
}

#[test]
fn empty_absent_and_several_are_told_apart() {
    let one = SignedBuilder::new(SignedContent::Attached(b"")).certificate(&SIGNER.certificate);
    let certificate = Certificate::from_der(&SIGNER.certificate, &Limits::default()).unwrap();
    let to_be_signed = one.to_be_signed(&certificate, SignatureAlgorithm::EcdsaP256Sha256, &PROVIDER).unwrap();
    let signature = sign(to_be_signed.message());
    assert_eq!(verify(&to_be_signed.finish(&signature)).unwrap(), b"", "zero-length content is content");
    let absent = SignedBuilder::new(SignedContent::Absent).certificate(&SIGNER.certificate);
    let to_be_signed = absent.to_be_signed(&certificate, SignatureAlgorithm::EcdsaP256Sha256, &PROVIDER).unwrap();
    let signature = sign(to_be_signed.message());
    assert!(matches!(verify(&to_be_signed.finish(&signature)), Err(CmsError::Detached)), "absent content is not empty content");
    // Two signers: both verify, or nothing does; and a caller that wants one does not get the first.
    let attributes = [content_type(), message_digest()].concat();
    let good = signer_info(Some(&attributes), &sign(&tlv(0x31, &[&attributes])), &[]);
    let bad = signer_info(Some(&attributes), &sign(b"something else"), &[]);
    let two = with_sha256(DATA, Some(CONTENT), &[&good, &good]);
    let signed = Signed::parse(&two, &Limits::default()).unwrap();
    let verified = signed.verify(VerifyOptions::default(), &PROVIDER).unwrap();
    assert_eq!((verified.signers().len(), verified.single_signer().is_none()), (2, true));
    for signers in [[&good[..], &bad], [&bad, &good]] {
        assert!(matches!(verify(&with_sha256(DATA, Some(CONTENT), &signers)), Err(CmsError::Signature)));
    }
}

#[test]
fn certs_only_messages_are_never_taken_for_signed_ones() {
    let message = certs_only(std::slice::from_ref(&SIGNER.certificate), &[]);
    for options in [VerifyOptions::default(), VerifyOptions::default().detached(b""), VerifyOptions::default().detached(CONTENT)] {
        assert!(matches!(verify_with(&message, options), Err(CmsError::NotSigned)));
    }
    assert!(matches!(verify(&with_sha256(DATA, Some(CONTENT), &[])), Err(CmsError::NotSigned)), "content, and nobody signed it");
    for file in ["Security-TestData-empty.p7b", "Security-TestData-singlecert.p7b", "Security-TestData-certchain.p7b"] {
        let Some(message) = corpus(&format!("dotnet-cms/{file}")) else { return };
        assert!(matches!(verify(&message), Err(CmsError::NotSigned)), "{file}");
    }
}

// CVE-2023-49083: a crash on a message without certificates.
#[test]
fn certs_only_without_certificates_is_read_and_written() {
    let empty = certs_only(&[], &[]);
    let signed = Signed::parse(&empty, &Limits::default()).unwrap();
    assert_eq!((signed.certificates().len(), signed.crls().len(), signed.signer_count()), (0, 0, 0));
    assert!(matches!(verify(&empty), Err(CmsError::NotSigned)));
    let no_sets = content_info(SIGNED_DATA, &sequence(&[&integer(&[1]), &tlv(0x31, &[]), &sequence(&[&oid(DATA)]), &tlv(0x31, &[])]));
    assert_eq!(Signed::parse(&no_sets, &Limits::default()).unwrap().certificates().len(), 0);
    let empty_sets = sequence(&[&integer(&[1]), &tlv(0x31, &[]), &sequence(&[&oid(DATA)]), &[0xa0, 0, 0xa1, 0], &tlv(0x31, &[])]);
    assert_eq!(Signed::parse(&content_info(SIGNED_DATA, &empty_sets), &Limits::default()).unwrap().crls().len(), 0);
}

/// PKCS#1 v1.5 blocks of 256 bytes for this hash: the right one first, then those that a sloppy reader takes.
fn blocks(hash: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let info = |parameters: &[u8]| sequence(&[&algorithm(SHA256, parameters), &tlv(4, &[hash])]);
    let padded = |kind: u8, filler: u8, separator: &[u8], info: &[u8]| {
        [&[0, kind][..], &vec![filler; 254 - separator.len() - info.len()], separator, info].concat()
    };
    let right = info(&[5, 0]);
    let at_the_start = |info: &[u8]| {
        let mut block = [&[0, 1][..], &[0xff; 8], &[0], info].concat();
        block.resize(256, 0x5a);
        block
    };
    let long_parameters = info(&tlv(4, &[&[0x5a; 190]]));
    let mut long_length = right.clone();
    long_length.splice(1..2, [0x81, right[1]]);
    let sha1 = sequence(&[&algorithm("1.3.14.3.2.26", &[5, 0]), &tlv(4, &[hash])]);
    let mut flipped = padded(1, 0xff, &[0], &right);
    flipped[100] = 0xfe;
    vec![
        ("right", padded(1, 0xff, &[0], &right)),
        ("something after the digest (Bleichenbacher 2006)", at_the_start(&right)),
        ("something in the parameters", padded(1, 0xff, &[0], &long_parameters)),
        ("parameters left out", padded(1, 0xff, &[0], &info(&[]))),
        ("a length in long form", padded(1, 0xff, &[0], &long_length)),
        ("the digest alone", padded(1, 0xff, &[0], hash)),
        ("another digest's identifier", padded(1, 0xff, &[0], &sha1)),
        ("block type 0", padded(0, 0, &[0], &right)),
        ("block type 2", padded(2, 0x77, &[0], &right)),
        ("no separator", padded(1, 0xff, &[], &right)),
        ("another filler", padded(1, 0x7f, &[0], &right)),
        ("one octet of the filler", flipped),
    ]
}

// CVE-2006-4339, and every library since that parsed the padding: with an exponent of 3 a forger needs no key.
#[test]
fn rsa_padding_forgeries_do_not_verify_on_certificates_or_messages() {
    let limits = Limits::default();
    if let Some(folder) = support::vectors() {
        for letter in ["A", "B", "D", "E", "G", "H", "J", "L"] {
            let file = std::fs::read(folder.join(format!("bouncycastle/rsa3-self-testcase-{letter}.p12"))).unwrap();
            let opened = pfx::open(&file, PfxPasswords::absent(), &PROVIDER, &limits).unwrap();
            let certificate = Certificate::from_der(&opened.contents().certificates[0].der, &limits).unwrap();
            assert!(certificate.verify_signed_by(&PROVIDER, certificate.spki()).is_err(), "{letter}");
        }
    }
    let Some(openssl) = support::tool("openssl") else { return };
    let dir = support::scratch();
    let (key, block_file) = (dir.path().join("e3.pem"), dir.path().join("block"));
    let mut command = Command::new(&openssl);
    command.args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-pkeyopt", "rsa_keygen_pubexp:3", "-out"]);
    support::run(command.arg(&key));
    let spki = support::run(Command::new(&openssl).args(["pkey", "-pubout", "-outform", "DER", "-in"]).arg(&key)).stdout;
    // The private operation on a block as it is, which no signing key offers.
    let raw = |block: &[u8]| {
        std::fs::write(&block_file, block).unwrap();
        let mut command = Command::new(&openssl);
        command.args(["pkeyutl", "-decrypt", "-pkeyopt", "rsa_padding_mode:none", "-inkey"]).arg(&key).arg("-in").arg(&block_file);
        support::run(&mut command).stdout
    };
    let now = intune_connector::time::Timestamp::system_now();
    let name = Name::parse_cert_str("CN=Forged").unwrap();
    let serial = SerialNumber::from_be_bytes(&[7]).unwrap();
    let certificate = |index: usize| {
        let builder =
            CertificateBuilder::new(name.clone(), &spki, now.saturating_sub(pki::DAY), now.saturating_add(pki::DAY), serial.clone());
        let to_be_signed = builder.to_be_signed(SignatureAlgorithm::RsaPkcs1Sha256).unwrap();
        let (what, block) = blocks(&digest(to_be_signed.message())).swap_remove(index);
        (what, Certificate::from_der(&to_be_signed.finish(&raw(&block)), &limits).unwrap())
    };
    let (_, right) = certificate(0);
    for index in 0..blocks(&[0; 32]).len() {
        let (what, forged) = certificate(index);
        assert_eq!(forged.verify_signed_by(&PROVIDER, &spki).is_ok(), index == 0, "certificate: {what}");
        let builder = SignedBuilder::new(SignedContent::Attached(CONTENT)).certificate(right.der());
        let to_be_signed = builder.to_be_signed(&right, SignatureAlgorithm::RsaPkcs1Sha256, &PROVIDER).unwrap();
        let attributes = to_be_signed.message().to_vec();
        let signature = raw(&blocks(&digest(&attributes)).swap_remove(index).1);
        for provider in [CryptoProvider::ring_and_aws_lc_rs(), CryptoProvider::ring_only(), CryptoProvider::aws_lc_rs()] {
            let slot = provider.verification().unwrap();
            let algorithm = SignatureAlgorithm::RsaPkcs1Sha256;
            assert_eq!(slot.verify(algorithm, &spki, &attributes, &signature).is_ok(), index == 0, "{}: {what}", provider.name());
            let own = slot.dangerous_verify_with_short_rsa_key(algorithm, &spki, &attributes, &signature);
            assert_eq!(own.is_ok(), index == 0, "{}, own arithmetic: {what}", provider.name());
        }
        let message = to_be_signed.finish(&signature);
        assert_eq!(verify(&message).is_ok(), index == 0, "message: {what}");
    }
}
