//! Keys of other programs: the blobs of Windows are put together here from the numbers that `openssl rsa -text` prints, so that nothing of
//! ours is on both sides; what is imported decrypts what openssl encrypts, and carries the import flow of a tenant that moves.
#![cfg(all(feature = "import", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use core::time::Duration;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use intune_connector::adapters::{InMemoryQueue, LocalCa, MemoryDecryptionKeys, RecordingSink, StdRuntime, VolatileJournal};
use intune_connector::connector::{Connector, QueueSettings};
use intune_connector::crypto::{CryptoProvider, KeyTransportAlgorithm, UnwrapRequest, unwrap_now};
use intune_connector::ids::RequestId;
use intune_connector::import::{ImportConfig, generate_import_key};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::enveloped::{self, LegacyCiphers};
use intune_connector::message::name::Name;
use intune_connector::message::private_key::{self, PrivateKeyError};
use intune_connector::message::public_key::{PublicKeyError, RsaPublicKey};
use intune_connector::policy::RecipientPolicy;
use intune_connector::ports::{ImportKeyName, ImportRequest, Outcome, Payload, QueueItem, RequestMeta};
use intune_connector::retry::ErrorClass;
use intune_connector::secret::{Password, PrivateKeyPkcs8, SecretBytes};
use intune_connector::terms::{Flow, KeyAlgorithm, KeyUsage, PaddingScheme};

/// A folder with keys by openssl.
struct Openssl {
    program: PathBuf,
    folder: tempfile::TempDir,
}

impl Openssl {
    fn new() -> Option<Self> {
        Some(Self { program: support::tool("openssl")?, folder: support::scratch() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Runs a command line in the folder; gives what it prints.
    fn run(&self, line: &str) -> Vec<u8> {
        support::run(Command::new(&self.program).args(line.split(' ')).current_dir(self.folder.path())).stdout
    }

    /// An RSA key in `name`, and its numbers.
    fn rsa(&self, name: &str, options: &str) -> RsaNumbers {
        self.run(&format!("genpkey -algorithm RSA {options} -out {name}"));
        RsaNumbers::of_text(&String::from_utf8(self.run(&format!("rsa -in {name} -noout -text"))).unwrap())
    }
}

/// Big-endian, without leading zeros.
struct RsaNumbers {
    modulus: Vec<u8>,
    public_exponent: Vec<u8>,
    private_exponent: Vec<u8>,
    prime1: Vec<u8>,
    prime2: Vec<u8>,
    exponent1: Vec<u8>,
    exponent2: Vec<u8>,
    coefficient: Vec<u8>,
}

impl RsaNumbers {
    /// Parses `openssl rsa -text`: a name, then indented lines of hexadecimal octets; the exponent stands in its line.
    fn of_text(text: &str) -> Self {
        let number = |name: &str| -> Vec<u8> {
            let after = text.split_once(&format!("\n{name}:")).unwrap().1;
            let digits = match after.split_once("(0x") {
                Some((decimal, hex)) if decimal.trim().parse::<u64>().is_ok() => format!("{:0>8}", hex.split_once(')').unwrap().0),
                _ => after.lines().skip(1).take_while(|line| line.starts_with(' ')).flat_map(|line| line.trim().split(':')).collect(),
            };
            let octets: Vec<u8> = (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()).collect();
            octets.into_iter().skip_while(|octet| *octet == 0).collect()
        };
        Self {
            modulus: number("modulus"),
            public_exponent: number("publicExponent"),
            private_exponent: number("privateExponent"),
            prime1: number("prime1"),
            prime2: number("prime2"),
            exponent1: number("exponent1"),
            exponent2: number("exponent2"),
            coefficient: number("coefficient"),
        }
    }

    fn header(&self, magic: &[u8; 4]) -> Vec<u8> {
        let lengths = [&self.modulus, &self.public_exponent, &self.modulus, &self.prime1, &self.prime2].map(Vec::len);
        let words = [lengths[0] * 8, lengths[1], lengths[2], lengths[3], lengths[4]];
        let words = words.iter().flat_map(|word| u32::try_from(*word).unwrap().to_le_bytes());
        magic.iter().copied().chain(words).collect()
    }

    /// BCRYPT_RSAPRIVATE_BLOB
    fn rsa2(&self) -> Vec<u8> {
        [&self.header(b"RSA2"), &self.public_exponent, &self.modulus, &self.prime1, &self.prime2].map(Vec::as_slice).concat()
    }

    /// BCRYPT_RSAFULLPRIVATE_BLOB
    fn rsa3(&self) -> Vec<u8> {
        let like = |number: &[u8], of: &[u8]| [vec![0; of.len() - number.len()], number.to_vec()].concat();
        [
            self.header(b"RSA3"),
            self.public_exponent.clone(),
            self.modulus.clone(),
            self.prime1.clone(),
            self.prime2.clone(),
            like(&self.exponent1, &self.prime1),
            like(&self.exponent2, &self.prime2),
            like(&self.coefficient, &self.prime1),
            like(&self.private_exponent, &self.modulus),
        ]
        .concat()
    }

    /// PRIVATEKEYBLOB of CryptoAPI
    fn capi(&self) -> Vec<u8> {
        let bits = u32::try_from(self.modulus.len() * 8).unwrap();
        let little = |number: &[u8], len: usize| {
            let mut octets: Vec<u8> = number.iter().rev().copied().collect();
            octets.resize(len, 0);
            octets
        };
        let (whole, half) = (self.modulus.len(), self.modulus.len() / 2);
        [
            vec![7, 2, 0, 0, 0, 0xa4, 0, 0],
            b"RSA2".to_vec(),
            bits.to_le_bytes().to_vec(),
            little(&self.public_exponent, 4),
            little(&self.modulus, whole),
            little(&self.prime1, half),
            little(&self.prime2, half),
            little(&self.exponent1, half),
            little(&self.exponent2, half),
            little(&self.coefficient, half),
            little(&self.private_exponent, whole),
        ]
        .concat()
    }
}

fn provider() -> CryptoProvider {
    CryptoProvider::ring_and_aws_lc_rs()
}

fn read(bytes: &[u8]) -> Result<PrivateKeyPkcs8, PrivateKeyError> {
    private_key::read(bytes, None, &provider(), &Limits::default())
}

fn read_with(bytes: &[u8], password: &str) -> Result<PrivateKeyPkcs8, PrivateKeyError> {
    private_key::read(bytes, Some(&Password::from(password)), &provider(), &Limits::default())
}

fn message(outcome: Result<PrivateKeyPkcs8, PrivateKeyError>) -> String {
    outcome.map(|_| "it was read").unwrap_err().to_string()
}

/// Encrypts as Microsoft's tool does, OAEP with SHA-512, to a key or its public half in PEM.
fn encrypted(openssl: &Openssl, password: &str, key: &str) -> Vec<u8> {
    std::fs::write(openssl.path("plain"), password).unwrap();
    let input = if key.starts_with("public") { format!("-pubin -inkey {key}") } else { format!("-inkey {key}") };
    let oaep = "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha512 -pkeyopt rsa_mgf1_md:sha512";
    openssl.run(&format!("pkeyutl -encrypt {input} -in plain -out cipher {oaep}"));
    openssl.file("cipher")
}

/// Decrypts with the key, on each complete provider, what openssl encrypted to its public half.
fn decrypts(openssl: &Openssl, public_half_of: &str, key: &PrivateKeyPkcs8) {
    let ciphertext = encrypted(openssl, "Correct-Horse-7", public_half_of);
    for provider in [CryptoProvider::ring_and_aws_lc_rs(), CryptoProvider::aws_lc_rs()] {
        let loaded = provider.decryption_keys().unwrap().load(key).unwrap();
        let plain = unwrap_now(&*loaded, &UnwrapRequest::new(KeyTransportAlgorithm::RsaOaepSha512, ciphertext.clone())).unwrap();
        assert_eq!(plain.secret_bytes(), b"Correct-Horse-7");
        let signer = provider.signing_keys().unwrap().load(key).unwrap();
        assert_eq!(signer.public_key().as_ref(), loaded.public_key().as_ref());
    }
}

#[test]
fn blobs_of_rsa_keys_give_the_key_that_openssl_made() {
    let Some(openssl) = Openssl::new() else { return };
    for options in [
        "-pkeyopt rsa_keygen_bits:2048",
        "-pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_pubexp:3",
        "-pkeyopt rsa_keygen_bits:2064 -pkeyopt rsa_keygen_pubexp:4294967295",
        "-pkeyopt rsa_keygen_bits:3072",
    ] {
        let numbers = openssl.rsa("key.pem", options);
        openssl.run("rsa -in key.pem -traditional -outform DER -out pkcs1.der");
        let pkcs1 = openssl.file("pkcs1.der");
        openssl.run("rsa -in key.pem -outform MSBLOB -out capi");
        assert_eq!(numbers.capi(), openssl.file("capi"), "openssl writes CryptoAPI's form itself");
        for blob in [numbers.rsa2(), numbers.rsa3(), numbers.capi()] {
            let key = read(&blob).unwrap_or_else(|error| panic!("{options}: {error}"));
            // openssl's d is modulo lcm(p-1, q-1); the computed one is modulo (p-1)(q-1): both decrypt, openssl checks either.
            std::fs::write(openssl.path("imported.der"), key.secret_pkcs8_der()).unwrap();
            openssl.run("pkey -inform DER -in imported.der -check -noout");
            if &blob[..4] != b"RSA2" {
                assert!(key.secret_pkcs8_der().ends_with(&pkcs1), "{options}: the same numbers");
                let written = private_key::to_cng_full_private_blob(&key).unwrap();
                assert_eq!(written.secret_bytes(), numbers.rsa3(), "{options}");
            }
            decrypts(&openssl, "key.pem", &key);
        }
    }
}

#[test]
fn primes_in_either_order_and_padded_fields_are_read() {
    let Some(openssl) = Openssl::new() else { return };
    let mut numbers = openssl.rsa("key.pem", "-pkeyopt rsa_keygen_bits:2048");
    std::mem::swap(&mut numbers.prime1, &mut numbers.prime2);
    decrypts(&openssl, "key.pem", &read(&numbers.rsa2()).unwrap());
    // Some exporters state the exponent in four bytes, some primes with a leading zero.
    numbers.public_exponent.insert(0, 0);
    numbers.prime1.insert(0, 0);
    decrypts(&openssl, "key.pem", &read(&numbers.rsa2()).unwrap());
}

#[test]
fn pem_and_der_of_every_kind_are_read() {
    let Some(openssl) = Openssl::new() else { return };
    openssl.rsa("key.pem", "-pkeyopt rsa_keygen_bits:2048");
    openssl.run("pkcs8 -topk8 -nocrypt -in key.pem -outform DER -out key.p8");
    let expected = openssl.file("key.p8");
    for (line, password) in [
        ("pkcs8 -topk8 -nocrypt -in key.pem -out out", ""),
        ("pkcs8 -topk8 -nocrypt -in key.pem -outform DER -out out", ""),
        ("rsa -in key.pem -traditional -out out", ""),
        ("rsa -in key.pem -traditional -outform DER -out out", ""),
        ("pkcs8 -topk8 -in key.pem -passout pass:Secret-1 -out out", "Secret-1"),
        ("pkcs8 -topk8 -in key.pem -passout pass:Secret-1 -outform DER -out out", "Secret-1"),
        ("pkcs8 -topk8 -v2 aes-128-cbc -v2prf hmacWithSHA1 -in key.pem -passout pass:Secret-1 -out out", "Secret-1"),
        ("pkcs8 -topk8 -v1 PBE-SHA1-3DES -in key.pem -passout pass:Secret-1 -out out", "Secret-1"),
    ] {
        openssl.run(line);
        let key = read_with(&openssl.file("out"), password).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(key.secret_pkcs8_der(), expected, "{line}");
    }
    for curve in ["P-256", "P-384", "P-521"] {
        openssl.run(&format!(
            "ecparam -name {} -genkey -out ec.pem",
            curve.replace("P-256", "prime256v1").replace("P-", "secp").replace("384", "384r1").replace("521", "521r1")
        ));
        openssl.run("ec -in ec.pem -outform DER -out ec.der");
        openssl.run("pkcs8 -topk8 -nocrypt -in ec.pem -out ec.p8");
        for file in ["ec.pem", "ec.der", "ec.p8"] {
            let key = read(&openssl.file(file)).unwrap();
            std::fs::write(openssl.path("imported.der"), key.secret_pkcs8_der()).unwrap();
            assert_eq!(openssl.run("pkey -inform DER -in imported.der -pubout"), openssl.run("pkey -in ec.pem -pubout"), "{curve} {file}");
            if curve != "P-521" {
                provider().signing_keys().unwrap().load(&key).unwrap();
            }
        }
    }
}

#[test]
fn blobs_of_ec_keys_are_read() {
    let Some(openssl) = Openssl::new() else { return };
    for (curve, magics, len) in
        [("prime256v1", [b"ECS2", b"ECK2"], 32usize), ("secp384r1", [b"ECS4", b"ECK4"], 48), ("secp521r1", [b"ECS6", b"ECK6"], 66)]
    {
        openssl.run(&format!("ecparam -name {curve} -genkey -noout -out ec.pem"));
        openssl.run("ec -in ec.pem -outform DER -out ec.der");
        openssl.run("ec -in ec.pem -pubout -outform DER -out ec.spki");
        let (sec1, spki) = (openssl.file("ec.der"), openssl.file("ec.spki"));
        let start = sec1.windows(4).position(|window| window == [2, 1, 1, 4]).unwrap() + 5;
        let (d, point) = (&sec1[start..start + len], &spki[spki.len() - 2 * len..]);
        for magic in magics {
            let blob = [&magic[..], &u32::try_from(len).unwrap().to_le_bytes(), point, d].concat();
            let key = read(&blob).unwrap();
            std::fs::write(openssl.path("imported.der"), key.secret_pkcs8_der()).unwrap();
            assert_eq!(openssl.run("pkey -inform DER -in imported.der -pubout"), openssl.run("pkey -in ec.pem -pubout"));
            if len < 66 {
                provider().signing_keys().unwrap().load(&key).unwrap();
            }
            assert!(matches!(private_key::to_cng_full_private_blob(&key), Err(PrivateKeyError::Unsupported(_))));
            assert!(message(read(&blob[..blob.len() - 1])).contains("shorter than its header says"));
            assert!(message(read(&[&blob[..], &[0]].concat())).contains("bytes follow its end"));
        }
    }
}

#[test]
fn a_blob_whose_numbers_do_not_belong_together_is_refused() {
    let Some(openssl) = Openssl::new() else { return };
    let numbers = openssl.rsa("key.pem", "-pkeyopt rsa_keygen_bits:2048");
    let full = numbers.rsa3();
    // The last byte of each number after the public exponent.
    let lengths = [256, 128, 128, 128, 128, 128, 256];
    let mut end = 24 + numbers.public_exponent.len();
    for len in lengths {
        end += len;
        let mut damaged = full.clone();
        damaged[end - 1] ^= 2;
        assert!(matches!(read(&damaged), Err(PrivateKeyError::Inconsistent(_))), "the number that ends at {end}");
    }
    assert_eq!(end, full.len());
    let mut damaged = full.clone();
    damaged[24..27].copy_from_slice(&[1, 0, 3]);
    assert!(matches!(read(&damaged), Err(PrivateKeyError::Inconsistent(_))));
}

#[test]
fn wrong_lengths_name_the_form_and_what_is_wrong() {
    let Some(openssl) = Openssl::new() else { return };
    let numbers = openssl.rsa("key.pem", "-pkeyopt rsa_keygen_bits:2048");
    for (name, blob) in
        [("RSAPRIVATEBLOB", numbers.rsa2()), ("RSAFULLPRIVATEBLOB", numbers.rsa3()), ("PRIVATEKEYBLOB of CryptoAPI", numbers.capi())]
    {
        for len in (4..blob.len()).step_by(37) {
            assert_eq!(message(read(&blob[..len])), format!("the {name} is damaged: it is shorter than its header says"), "{len}");
        }
        let longer = message(read(&[&blob[..], &[0; 3]].concat()));
        assert_eq!(longer, format!("the {name} is damaged: it is longer than its header says: bytes follow its end"));
    }
    let huge = |at: usize| {
        let mut blob = numbers.rsa3();
        blob[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        message(read(&blob))
    };
    for at in [8, 12, 16, 20] {
        assert!(huge(at).contains("shorter than its header says"), "{at}");
    }
    assert!(huge(4).contains("stated length in bits"));
    let even = RsaNumbers { public_exponent: vec![1, 0, 0], ..openssl.rsa("key.pem", "-pkeyopt rsa_keygen_bits:2048") };
    assert!(message(read(&even.rsa2())).contains("even"));
    let huge = RsaNumbers { modulus: vec![0xff; 1025], ..even };
    assert!(message(read(&huge.rsa2())).contains("8192 bits"));
}

#[test]
fn what_is_no_private_key_is_named() {
    let Some(openssl) = Openssl::new() else { return };
    let numbers = openssl.rsa("key.pem", "-pkeyopt rsa_keygen_bits:2048");
    openssl.run("rsa -in key.pem -pubout -out public.pem");
    openssl.run("rsa -in key.pem -pubout -outform DER -out public.der");
    openssl.run("rsa -in key.pem -RSAPublicKey_out -outform DER -out public.pkcs1");
    openssl.run("req -x509 -key key.pem -subj /CN=me -out cert.pem");
    openssl.run("x509 -in cert.pem -outform DER -out cert.der");
    openssl.run("pkcs12 -export -inkey key.pem -in cert.pem -passout pass:x -out file.p12");
    openssl.run("rsa -in key.pem -traditional -aes128 -passout pass:x -out old.pem");
    let rsa1 = RsaPublicKey::read(&openssl.file("public.der")).unwrap().to_cng_public_blob();
    let pem = openssl.file("key.pem");
    for (bytes, expected) in [
        (rsa1, "an RSAPUBLICBLOB: it holds the public half only"),
        (openssl.file("public.pem"), "a PEM file without a private key"),
        (openssl.file("cert.pem"), "a PEM file without a private key"),
        (openssl.file("public.der"), "a SubjectPublicKeyInfo"),
        (openssl.file("public.pkcs1"), "an RSAPublicKey of PKCS#1"),
        (openssl.file("cert.der"), "a certificate"),
        (openssl.file("file.p12"), "a PFX file"),
        (openssl.file("old.pem"), "openssl pkcs8 -topk8"),
        (b"ECS1".to_vec(), "an ECCPUBLICBLOB"),
        (b"DSPV".to_vec(), "DSA and DH"),
        (vec![6, 2, 0, 0], "a PUBLICKEYBLOB"),
        (vec![0x1e, 0xf1, 0xb5, 0xb0], "a PVK file"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----\n".to_vec(), "ssh-keygen"),
        ([pem.clone(), pem.clone()].concat(), "2 private keys"),
        (pem[..pem.len() - 9].to_vec(), "no END line"),
        (String::from_utf8(pem).unwrap().replace("MII", "M!I").into_bytes(), "not base64"),
        (b"RSA9".to_vec(), "neither PEM"),
        (vec![], "no bytes"),
        (vec![0xff, 0xfe, b'-', 0], "UTF-16"),
    ] {
        let found = message(read(&bytes));
        assert!(found.contains(expected), "{expected}: {found}");
    }
    for (blob, what) in [(numbers.rsa2(), "RSA2"), (numbers.rsa3(), "RSA3"), (numbers.capi(), "capi")] {
        assert_eq!(RsaPublicKey::read(&blob), Err(PublicKeyError::PrivateKey), "{what}");
    }
}

#[test]
fn a_password_that_is_missing_or_wrong_or_too_costly_is_told_apart() {
    let Some(openssl) = Openssl::new() else { return };
    openssl.rsa("key.pem", "-pkeyopt rsa_keygen_bits:2048");
    openssl.run("pkcs8 -topk8 -in key.pem -passout pass:Secret-1 -iter 100000 -out out");
    let pem = openssl.file("out");
    assert!(matches!(read(&pem), Err(PrivateKeyError::PasswordNeeded)));
    assert!(matches!(read_with(&pem, "Secret-2"), Err(PrivateKeyError::WrongPasswordOrDamaged)));
    let mut tight = Limits::default();
    tight.kdf_iterations = 99_999;
    let outcome = private_key::read(&pem, Some(&"Secret-1".into()), &provider(), &tight);
    assert!(matches!(outcome, Err(PrivateKeyError::LimitExceeded(limit)) if limit.what == "kdf_iterations"));
    openssl.run("pkcs8 -topk8 -in key.pem -v1 PBE-MD5-DES -provider legacy -provider default -passout pass:x -out md5");
    let unsupported = message(read_with(&openssl.file("md5"), "x"));
    assert!(unsupported.contains("1.2.840.113549.1.5.3"), "{unsupported}");
}

#[test]
fn public_keys_of_openssl_are_read_in_each_form_and_written_as_openssl_does() {
    let Some(openssl) = Openssl::new() else { return };
    let numbers = openssl.rsa("key.pem", "-pkeyopt rsa_keygen_bits:2048");
    openssl.run("rsa -in key.pem -pubout -out public.pem");
    let key = RsaPublicKey::read(&openssl.file("public.pem")).unwrap();
    assert_eq!((key.modulus(), key.exponent()), (&numbers.modulus[..], &numbers.public_exponent[..]));
    assert_eq!(key.to_pem().as_bytes(), openssl.file("public.pem"));
    let blob = [&b"RSA1\x00\x08\x00\x00\x03\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01"[..], &numbers.modulus]
        .concat();
    assert_eq!(key.to_cng_public_blob(), blob);
    let read = RsaPublicKey::read(&blob).unwrap();
    assert_eq!(read.to_pem().as_bytes(), openssl.file("public.pem"));
}

#[test]
fn no_error_and_no_debug_text_shows_the_key() {
    let Some(openssl) = Openssl::new() else { return };
    let numbers = openssl.rsa("key.pem", "-pkeyopt rsa_keygen_bits:2048");
    let mut blob = numbers.rsa3();
    assert_eq!(format!("{:?}", read(&blob)), "Ok(PrivateKeyPkcs8(..))");
    let last = blob.len() - 1;
    blob[last] ^= 2;
    let error = read(&blob).unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(shown.len() < 200 && !shown.contains(&format!("{}, {}", blob[300], blob[301])), "{shown}");
}

/// The second half of docs/import-keys.md.
#[test]
fn a_tenant_that_moves_serves_the_exported_key_and_a_second_one_until_the_old_records_are_gone() {
    let Some(openssl) = Openssl::new() else { return };
    let provider = provider();
    let named = |key: &str| ImportKeyName { provider: "Microsoft Software Key Storage Provider".to_owned(), key: key.to_owned() };

    // The key of Microsoft's connector, as its module exports it, and a second one beside it.
    let exported = openssl.rsa("old.pem", "-pkeyopt rsa_keygen_bits:2048").rsa3();
    let old = private_key::read(&exported, None, &provider, &Limits::default()).unwrap();
    let new = generate_import_key(&provider, KeyAlgorithm::Rsa3072).unwrap();
    std::fs::write(openssl.path("public-new.pem"), new.public_key.to_pem()).unwrap();
    let keys = Arc::new(MemoryDecryptionKeys::new());
    keys.insert(named("PFXEncryptionKey"), provider.decryption_keys().unwrap().load(&old).unwrap());
    keys.insert(named("PFXEncryptionKey-2"), new.decryption_key);

    // A user's file, and the device that is to get it.
    openssl.run("req -x509 -newkey rsa:2048 -nodes -keyout user.key -subj /CN=Jane -out user.pem");
    openssl.run("pkcs12 -export -inkey user.key -in user.pem -passout pass:Correct-Horse-7 -out user.p12");
    let ca = LocalCa::new(provider.clone(), "Device CA".parse().unwrap(), KeyAlgorithm::EcP256).unwrap();
    let device_key = provider.key_generation().unwrap().generate(KeyAlgorithm::Rsa2048).unwrap();
    let device_key = provider.decryption_keys().unwrap().load(&device_key).unwrap();
    let name = Name::parse_cert_str("CN=device-1").unwrap();
    let month = Duration::from_secs(30 * 86_400);
    let device: Certificate =
        ca.issue_service_certificate(name, &device_key.public_key(), KeyUsage::SIGN_AND_ENCIPHER, &[], month).unwrap();

    let queue = Arc::new(InMemoryQueue::new());
    let runtime = Arc::new(StdRuntime::new().unwrap());
    let settings = QueueSettings::new(queue.clone()).with_poll_interval(Duration::from_micros(1));
    let policy = RecipientPolicy::new().trust_root(ca.certificate().der().clone());
    let connector = Connector::builder(provider.clone(), Arc::new(VolatileJournal::new()))
        .tenant("contoso.example".parse().unwrap())
        .instance("one".parse().unwrap())
        .sink(Arc::new(RecordingSink::new()))
        .runtime(runtime.clone())
        .import(ImportConfig::new(queue.clone(), keys.clone(), policy).with_settings(settings))
        .build()
        .unwrap();
    let ask = |id: &str, key_name: &str, encrypted_to: &str| {
        let password = encrypted(&openssl, "Correct-Horse-7", encrypted_to);
        let pfx = SecretBytes::new(openssl.file("user.p12"));
        let request = ImportRequest::new(named(key_name), PaddingScheme::OaepSha512, password, pfx, device.der().clone());
        let mut meta = RequestMeta::new(id.parse().unwrap(), "contoso.example".parse().unwrap(), Flow::PkcsImport);
        meta.device = Some("device-1".parse().unwrap());
        queue.push(QueueItem::new(meta, Payload::Import(Box::new(request))));
        runtime.block_on(async {
            for _ in 0..100 {
                if connector.run_once().await.held == 0 && queue.waiting() == 0 {
                    return;
                }
            }
            panic!("work is left after 100 rounds");
        });
        queue.result_of(Flow::PkcsImport, &id.parse::<RequestId>().unwrap()).unwrap()
    };
    let delivered = |outcome: Outcome| {
        let Outcome::Import(result) = outcome else { panic!("{outcome:?}") };
        let limits = Limits::default();
        let opened =
            enveloped::decrypt(&result.password_envelope, &device, &*device_key, LegacyCiphers::AllowTripleDes, &provider, &limits);
        assert_eq!(runtime.block_on(opened).unwrap().secret_bytes(), b"Correct-Horse-7");
    };

    // Records of both, in any order.
    delivered(ask("old-1", "PFXEncryptionKey", "old.pem"));
    delivered(ask("new-1", "PFXEncryptionKey-2", "public-new.pem"));
    delivered(ask("old-2", "PFXEncryptionKey", "old.pem"));
    // The new key under the old name, as a tool that was not told of the second name leaves it.
    let second = provider.decryption_keys().unwrap().load(&new.private_key).unwrap();
    keys.insert(named("PFXEncryptionKey"), second);
    delivered(ask("new-2", "PFXEncryptionKey", "public-new.pem"));
    delivered(ask("old-3", "PFXEncryptionKey", "old.pem"));

    // The old key goes when its records are gone: what still comes then says so, and the new key is not touched by it.
    assert!(keys.remove(&named("PFXEncryptionKey")));
    let Outcome::Failed(failure) = ask("old-4", "PFXEncryptionKey", "old.pem") else { panic!("the key is gone") };
    assert_eq!(failure.class, ErrorClass::Configuration);
    delivered(ask("new-3", "PFXEncryptionKey-2", "public-new.pem"));
}
