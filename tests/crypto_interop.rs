//! Keys, signatures and ciphertexts to and from the `openssl` program, on each complete provider.
#![cfg(all(feature = "ring", feature = "aws-lc-rs"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    reason = "this is a test and its helpers"
)]

#[path = "support/providers.rs"]
mod providers;
#[path = "support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::Command;

use intune_connector::crypto::{
    ContentCipherAlgorithm, CryptoError, CryptoProvider, KeyTransportAlgorithm, SignatureAlgorithm, UnwrapRequest, sign_now, unwrap_now,
};
use intune_connector::secret::PrivateKeyPkcs8;
use intune_connector::terms::KeyAlgorithm;
use providers::for_each_provider;

struct OpenSsl {
    program: PathBuf,
    folder: tempfile::TempDir,
}

impl OpenSsl {
    fn find() -> Option<Self> {
        Some(Self { program: support::tool("openssl")?, folder: support::scratch() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path(name), content).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Runs `openssl` in the scratch folder with the words of `arguments`.
    fn run(&self, arguments: &str) -> String {
        let mut command = Command::new(&self.program);
        let output = support::run(command.args(arguments.split_whitespace()).current_dir(self.folder.path()));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A fresh key in key.der (PKCS#8) and its public half in public.der.
    fn generate(&self, algorithm: &str) -> PrivateKeyPkcs8 {
        self.run(&format!("genpkey -algorithm {algorithm} -outform DER -out key.der"));
        self.run("pkcs8 -topk8 -nocrypt -inform DER -in key.der -outform DER -out pkcs8.der");
        self.run("pkey -inform DER -in pkcs8.der -pubout -outform DER -out public.der");
        PrivateKeyPkcs8::new(self.read("pkcs8.der"))
    }
}

const OPENSSL_KEYS: [(&str, SignatureAlgorithm); 5] = [
    ("RSA -pkeyopt rsa_keygen_bits:2048", SignatureAlgorithm::RsaPkcs1Sha256),
    ("RSA -pkeyopt rsa_keygen_bits:3072", SignatureAlgorithm::RsaPkcs1Sha256),
    ("RSA -pkeyopt rsa_keygen_bits:4096", SignatureAlgorithm::RsaPkcs1Sha256),
    ("EC -pkeyopt ec_paramgen_curve:P-256", SignatureAlgorithm::EcdsaP256Sha256),
    ("EC -pkeyopt ec_paramgen_curve:P-384", SignatureAlgorithm::EcdsaP384Sha384),
];

#[test]
fn keys_made_by_openssl_load_and_their_signatures_verify_there() {
    let Some(openssl) = OpenSsl::find() else { return };
    for (arguments, algorithm) in OPENSSL_KEYS {
        let key = openssl.generate(arguments);
        openssl.write("message", b"to be signed");
        for_each_provider(|provider| {
            let signing = provider.signing_keys().unwrap().load(&key).unwrap();
            assert_eq!(signing.public_key().to_vec(), openssl.read("public.der"), "{arguments}");
            openssl.write("signature", &sign_now(&*signing, algorithm, b"to be signed").unwrap());
            let digest = if algorithm == SignatureAlgorithm::EcdsaP384Sha384 { "sha384" } else { "sha256" };
            openssl.run(&format!("dgst -{digest} -verify public.der -keyform DER -signature signature message"));
        });
    }
}

#[test]
fn a_p256_key_without_its_public_half_loads() {
    let Some(openssl) = OpenSsl::find() else { return };
    openssl.generate("EC -pkeyopt ec_paramgen_curve:P-256");
    openssl.run("ec -inform DER -in pkcs8.der -no_public -outform DER -out ec.der");
    openssl.run("pkcs8 -topk8 -nocrypt -inform DER -in ec.der -outform DER -out short.der");
    let key = PrivateKeyPkcs8::new(openssl.read("short.der"));
    assert!(key.secret_pkcs8_der().len() < openssl.read("pkcs8.der").len(), "the public half is gone");
    for_each_provider(|provider| {
        let signing = provider.signing_keys().unwrap().load(&key).unwrap();
        assert_eq!(signing.public_key().to_vec(), openssl.read("public.der"));
    });
}

#[test]
fn generated_keys_pass_openssl_s_check() {
    let Some(openssl) = OpenSsl::find() else { return };
    for_each_provider(|provider| {
        for (algorithm, expected) in [
            (KeyAlgorithm::Rsa2048, "2048 bit"),
            (KeyAlgorithm::Rsa3072, "3072 bit"),
            (KeyAlgorithm::Rsa4096, "4096 bit"),
            (KeyAlgorithm::EcP256, "256 bit"),
            (KeyAlgorithm::EcP384, "384 bit"),
        ] {
            let key = provider.key_generation().unwrap().generate(algorithm).unwrap();
            openssl.write("generated.der", key.secret_pkcs8_der());
            let text = openssl.run("pkey -inform DER -in generated.der -check -text -noout");
            assert!(text.contains("Key is valid") && text.contains(expected), "{text}");
            let public = provider.signing_keys().unwrap().load(&key).unwrap().public_key();
            openssl.run("pkey -inform DER -in generated.der -pubout -outform DER -out generated.pub");
            assert_eq!(public.to_vec(), openssl.read("generated.pub"));
        }
    });
}

#[test]
fn small_rsa_keys_are_refused_with_a_clear_text() {
    const TEXT: &str = "the key cannot be used: RSA keys under 2048 bits are refused";
    let Some(openssl) = OpenSsl::find() else { return };
    let key = openssl.generate("RSA -pkeyopt rsa_keygen_bits:1024");
    openssl.write("message", b"message");
    openssl.run("dgst -sha256 -sign pkcs8.der -keyform DER -out signature message");
    for_each_provider(|provider| {
        let public = openssl.read("public.der");
        let errors = [
            provider.signing_keys().unwrap().load(&key).unwrap_err(),
            provider.decryption_keys().unwrap().load(&key).unwrap_err(),
            provider.key_transport().unwrap().encrypt(KeyTransportAlgorithm::RsaOaepSha256, &public, b"x").unwrap_err(),
            provider
                .verification()
                .unwrap()
                .verify(SignatureAlgorithm::RsaPkcs1Sha256, &public, b"message", &openssl.read("signature"))
                .unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, CryptoError::InvalidKey(_)));
            assert_eq!(error.to_string(), TEXT);
        }
    });
    let error = CryptoProvider::ring_only().signing_keys().unwrap().load(&key).unwrap_err();
    assert_eq!(error.to_string(), TEXT);
}

const TRANSPORTS: [(KeyTransportAlgorithm, &str); 5] = [
    (KeyTransportAlgorithm::RsaPkcs1v15, "-pkeyopt rsa_padding_mode:pkcs1"),
    (KeyTransportAlgorithm::RsaOaepSha1, "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha1"),
    (KeyTransportAlgorithm::RsaOaepSha256, "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256"),
    (KeyTransportAlgorithm::RsaOaepSha384, "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha384"),
    (KeyTransportAlgorithm::RsaOaepSha512, "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha512"),
];

#[test]
fn rsa_encryption_goes_both_ways_with_openssl() {
    let Some(openssl) = OpenSsl::find() else { return };
    let key = openssl.generate("RSA -pkeyopt rsa_keygen_bits:2048");
    openssl.write("secret", b"content key");
    for (algorithm, options) in TRANSPORTS {
        for_each_provider(|provider| {
            openssl.run(&format!("pkeyutl -encrypt -pubin -keyform DER -inkey public.der -in secret -out encrypted {options}"));
            let opener = provider.decryption_keys().unwrap().load(&key).unwrap();
            assert_eq!(opener.public_key().to_vec(), openssl.read("public.der"));
            let opened = unwrap_now(&*opener, &UnwrapRequest::new(algorithm, openssl.read("encrypted"))).unwrap();
            assert_eq!(opened.secret_bytes(), b"content key");

            let ours = provider.key_transport().unwrap().encrypt(algorithm, &opener.public_key(), b"password").unwrap();
            openssl.write("ours", &ours);
            openssl.run(&format!("pkeyutl -decrypt -keyform DER -inkey pkcs8.der -in ours -out opened {options}"));
            assert_eq!(openssl.read("opened"), b"password");
        });
    }
}

#[test]
fn ciphers_encrypt_as_openssl_does() {
    use ContentCipherAlgorithm as A;
    let Some(openssl) = OpenSsl::find() else { return };
    let mut ciphers =
        vec![("aes-128-cbc", A::Aes128Cbc, 16, 16), ("aes-192-cbc", A::Aes192Cbc, 24, 16), ("aes-256-cbc", A::Aes256Cbc, 32, 16)];
    if cfg!(feature = "legacy-ciphers") {
        ciphers.extend([
            ("des-ede3-cbc", A::DesEde3Cbc, 24, 8),
            ("des-ede-cbc", A::DesEde3Cbc, 16, 8),
            ("rc2-cbc", A::Rc2Cbc { effective_bits: 128 }, 16, 8),
            ("rc2-40-cbc", A::Rc2Cbc { effective_bits: 40 }, 5, 8),
            ("rc2-64-cbc", A::Rc2Cbc { effective_bits: 64 }, 8, 8),
            ("rc4", A::Rc4, 16, 0),
            ("rc4-40", A::Rc4, 5, 0),
        ]);
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for (name, algorithm, key_len, iv_len) in ciphers {
        let key: Vec<u8> = (1_u8..).take(key_len).collect();
        let iv: Vec<u8> = (101_u8..).take(iv_len).collect();
        let iv_option = if iv.is_empty() { String::new() } else { format!("-iv {}", hex(&iv)) };
        for len in [0, 1, 7, 8, 15, 16, 17, 1000] {
            // `openssl enc` refuses empty input for stream ciphers only in some versions.
            if len == 0 && iv.is_empty() {
                continue;
            }
            let plaintext = vec![0x61; len];
            openssl.write("plaintext", &plaintext);
            openssl
                .run(&format!("enc -provider default -provider legacy -{name} -K {} {iv_option} -in plaintext -out ciphertext", hex(&key)));
            let ciphertext = openssl.read("ciphertext");
            for_each_provider(|provider| {
                let slot = provider.content_cipher().unwrap();
                assert_eq!(slot.encrypt(algorithm, &key, &iv, &plaintext).unwrap(), ciphertext, "{name} {len}");
                assert_eq!(slot.decrypt(algorithm, &key, &iv, &ciphertext).unwrap().secret_bytes(), plaintext, "{name} {len}");
            });
        }
    }
}
