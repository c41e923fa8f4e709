//! The rows about enveloped messages, as far as they hold for every recipient; the kinds of recipients have their own negative tests.

use std::sync::LazyLock;

use futures_util::FutureExt as _;
use intune_connector::crypto::{CryptoProvider, KeyTransportAlgorithm};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::enveloped::{CmsError, LegacyCiphers, decrypt};
use intune_connector::secret::SecretBytes;

use crate::make::{DATA, ENVELOPED_DATA, SHA256, algorithm, content_info, integer, oid, sequence, tlv};
use crate::pki::{self, Identity};
use crate::support;

const AUTH_ENVELOPED_DATA: &str = "1.2.840.113549.1.9.16.1.23";
const AES256_GCM: &str = "2.16.840.1.101.3.4.1.46";
const AES256_CBC: &str = "2.16.840.1.101.3.4.1.42";
const RSA_ENCRYPTION: &str = "1.2.840.113549.1.1.1";
const RSAES_OAEP: &str = "1.2.840.113549.1.1.7";
const CONTENT: &[u8] = b"not to be given away";
const KEY: [u8; 32] = [5; 32];

static PROVIDER: LazyLock<CryptoProvider> = LazyLock::new(CryptoProvider::ring_and_aws_lc_rs);
static DEVICE: LazyLock<Identity> = LazyLock::new(|| pki::device(&PROVIDER, &pki::root(&PROVIDER, "Enveloped"), "device"));

fn open(message: &[u8]) -> Result<SecretBytes, CmsError> {
    let key = PROVIDER.decryption_keys().unwrap().load(&DEVICE.key).unwrap();
    let certificate = Certificate::from_der(&DEVICE.certificate, &Limits::default()).unwrap();
    decrypt(message, &certificate, &*key, LegacyCiphers::Refuse, &PROVIDER, &Limits::default()).now_or_never().unwrap()
}

/// A `KeyTransRecipientInfo` for [`DEVICE`] with [`KEY`], whose identifier says `identifier`.
fn recipient(identifier: &[u8], transport: KeyTransportAlgorithm) -> Vec<u8> {
    let certificate = Certificate::from_der(&DEVICE.certificate, &Limits::default()).unwrap();
    let name = sequence(&[certificate.issuer().as_der(), &integer(certificate.serial_raw())]);
    let encrypted = PROVIDER.key_transport().unwrap().encrypt(transport, certificate.spki(), &KEY).unwrap();
    sequence(&[&integer(&[0]), &name, identifier, &tlv(4, &[&encrypted])])
}

fn enveloped(recipients: &[&[u8]], cipher: &[u8], ciphertext: &[u8]) -> Vec<u8> {
    let content = sequence(&[&oid(DATA), cipher, &tlv(0x80, &[ciphertext])]);
    content_info(ENVELOPED_DATA, &sequence(&[&integer(&[0]), &tlv(0x31, recipients), &content]))
}

fn cbc() -> (Vec<u8>, Vec<u8>) {
    let cipher = intune_connector::crypto::ContentCipherAlgorithm::Aes256Cbc;
    let ciphertext = PROVIDER.content_cipher().unwrap().encrypt(cipher, &KEY, &[1; 16], CONTENT).unwrap();
    (algorithm(AES256_CBC, &tlv(4, &[&[1; 16]])), ciphertext)
}

#[test]
fn control_what_is_assembled_here_decrypts_when_nothing_is_wrong_with_it() {
    let (cipher, ciphertext) = cbc();
    let recipient = recipient(&algorithm(RSA_ENCRYPTION, &[5, 0]), KeyTransportAlgorithm::RsaPkcs1v15);
    assert_eq!(open(&enveloped(&[&recipient], &cipher, &ciphertext)).unwrap().secret_bytes(), CONTENT);
}

// CVE-2025-15467: an IV longer than its buffer. CVE-2026-34182: a tag short enough to be guessed.
#[test]
fn auth_enveloped_parameters_that_the_message_chooses_give_nothing_away() {
    let recipient = recipient(&algorithm(RSA_ENCRYPTION, &[5, 0]), KeyTransportAlgorithm::RsaPkcs1v15);
    let sealed = PROVIDER.aead().unwrap().seal(intune_connector::crypto::AeadAlgorithm::Aes256Gcm, &KEY, &[9; 12], &[], CONTENT).unwrap();
    let (ciphertext, tag) = sealed.split_at(sealed.len() - 16);
    let message = |cipher: &[u8], tag: Option<&[u8]>| {
        let content = sequence(&[&oid(DATA), cipher, &tlv(0x80, &[ciphertext])]);
        let mac = tag.map(|tag| tlv(4, &[tag])).unwrap_or_default();
        content_info(AUTH_ENVELOPED_DATA, &sequence(&[&integer(&[0]), &tlv(0x31, &[&recipient]), &content, &mac]))
    };
    let gcm = |nonce: &[u8], len: &[u8]| algorithm(AES256_GCM, &sequence(&[&tlv(4, &[nonce]), len]));
    assert_eq!(
        open(&message(&gcm(&[9; 12], &integer(&[16])), Some(tag))).unwrap().secret_bytes(),
        CONTENT,
        "nothing is wrong with this one"
    );
    for nonce in [0, 1, 11, 13, 16, 64, 4096] {
        assert!(open(&message(&gcm(&vec![9; nonce], &integer(&[16])), Some(tag))).is_err(), "a nonce of {nonce} bytes");
    }
    for len in 0..12 {
        assert!(open(&message(&gcm(&[9; 12], &integer(&[len])), Some(&tag[..len.into()]))).is_err(), "a tag of {len} bytes");
        assert!(open(&message(&gcm(&[9; 12], &integer(&[16])), Some(&tag[..len.into()]))).is_err(), "a tag cut to {len} bytes");
    }
    assert!(open(&message(&gcm(&[9; 12], &integer(&[16])), None)).is_err(), "no tag");
    assert!(open(&message(&algorithm(AES256_GCM, &[]), Some(tag))).is_err(), "no parameters");
    assert!(open(&message(&cbc().0, Some(tag))).is_err(), "a cipher without authentication");
    // The same ciphertext as EnvelopedData: a GCM cipher whose tag nobody asks for.
    assert!(open(&enveloped(&[&recipient], &gcm(&[9; 12], &integer(&[16])), ciphertext)).is_err(), "without its tag");
}

// CVE-2025-9230: bytes beyond the unwrapped key were read. CVE-2026-9076, CVE-2026-42766: a stream cipher, or nothing, as its cipher.
#[test]
fn password_recipients_with_odd_ciphers_and_lengths_give_nothing_away() {
    let (cipher, ciphertext) = cbc();
    let kdf = sequence(&[&tlv(4, &[&[7; 8]]), &integer(&[3, 0xe8])]);
    let kdf = tlv(0xa0, &[&oid("1.2.840.113549.1.5.12"), &kdf]);
    let wrapping = [
        algorithm(AES256_CBC, &tlv(4, &[&[1; 16]])),
        algorithm(AES256_CBC, &[]),
        algorithm(AES256_CBC, &tlv(4, &[&[1; 3]])),
        algorithm("1.2.840.113549.3.4", &[5, 0]),
        algorithm(AES256_GCM, &sequence(&[&tlv(4, &[&[9; 12]])])),
    ];
    for inner in &wrapping {
        for encrypted in [0, 1, 8, 16, 32, 33, 4096] {
            let kek = algorithm("1.2.840.113549.1.9.16.3.9", inner);
            let recipient = tlv(0xa3, &[&integer(&[0]), &kdf, &kek, &tlv(4, &[&vec![3; encrypted]])]);
            assert!(open(&enveloped(&[&recipient], &cipher, &ciphertext)).is_err());
        }
    }
    let bare = tlv(0xa3, &[&integer(&[0]), &algorithm("1.2.840.113549.1.9.16.3.9", &[]), &tlv(4, &[])]);
    assert!(open(&enveloped(&[&bare], &cipher, &ciphertext)).is_err());
    let Some(folder) = support::vectors() else { return };
    assert!(open(&std::fs::read(folder.join("openssl-cms/cms_pwri_kek_oob.der")).unwrap()).is_err());
}

// CVE-2026-28389 and its neighbour: NULL where parameters may be left out.
#[test]
fn optional_parameters_that_are_missing_have_their_defaults_or_are_an_error() {
    let (cipher, ciphertext) = cbc();
    // RFC 4055 section 4.1: OAEP's parameters default to SHA-1 throughout.
    let defaults = recipient(&algorithm(RSAES_OAEP, &[0x30, 0]), KeyTransportAlgorithm::RsaOaepSha1);
    assert_eq!(open(&enveloped(&[&defaults], &cipher, &ciphertext)).unwrap().secret_bytes(), CONTENT);
    for parameters in [&[5, 0][..], &[4, 0], &[0x30, 2, 0xa0, 0], &[0x30, 2, 0xa1, 0], &[0x30, 2, 0xa2, 0]] {
        let odd = recipient(&algorithm(RSAES_OAEP, parameters), KeyTransportAlgorithm::RsaOaepSha1);
        assert!(open(&enveloped(&[&odd], &cipher, &ciphertext)).is_err(), "{parameters:?}");
    }
    // A content cipher without its IV, or with one of another length.
    let known = recipient(&algorithm(RSA_ENCRYPTION, &[5, 0]), KeyTransportAlgorithm::RsaPkcs1v15);
    for parameters in [&[][..], &[5, 0], &[4, 0], &[4, 1, 1], &[0x30, 0]] {
        assert!(open(&enveloped(&[&known], &algorithm(AES256_CBC, parameters), &ciphertext)).is_err(), "{parameters:?}");
    }
    // Key agreement: no ukm, no parameters of the wrap, no originator's point, no recipients.
    let originator = tlv(0xa0, &[&tlv(0xa1, &[&algorithm("1.2.840.10045.2.1", &[]), &tlv(3, &[&[0]])])]);
    for wrap in [algorithm("2.16.840.1.101.3.4.1.45", &[]), algorithm("2.16.840.1.101.3.4.1.45", &[5, 0]), algorithm(SHA256, &[])] {
        for scheme in [algorithm("1.3.132.1.11.1", &wrap), algorithm("1.3.132.1.11.1", &[])] {
            let recipient = tlv(0xa1, &[&integer(&[3]), &originator, &scheme, &sequence(&[])]);
            assert!(open(&enveloped(&[&recipient], &cipher, &ciphertext)).is_err());
        }
    }
}
