//! The providers against each other, the legacy ciphers and the PKCS#12 key derivation against published values, and what a provider
//! without a slot says.
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

use std::sync::Arc;

use aws_lc_rs::agreement;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use intune_connector::crypto::{
    AeadAlgorithm, ContentCipherAlgorithm, CryptoError, CryptoProvider, DecryptionKey, DigestAlgorithm, KeyTransportAlgorithm, SignError,
    SignatureAlgorithm, SlotName, UnwrapError, UnwrapRequest, constant_time_eq, pkcs12_kdf, sign_now, unwrap_now,
};
use intune_connector::secret::PrivateKeyPkcs8;
use intune_connector::terms::KeyAlgorithm;
use providers::{complete_providers, for_each_provider, unhex};

const KEYS: [KeyAlgorithm; 4] = [KeyAlgorithm::Rsa2048, KeyAlgorithm::Rsa3072, KeyAlgorithm::EcP256, KeyAlgorithm::EcP384];
const TRANSPORTS: [KeyTransportAlgorithm; 5] = [
    KeyTransportAlgorithm::RsaPkcs1v15,
    KeyTransportAlgorithm::RsaOaepSha1,
    KeyTransportAlgorithm::RsaOaepSha256,
    KeyTransportAlgorithm::RsaOaepSha384,
    KeyTransportAlgorithm::RsaOaepSha512,
];

#[test]
fn what_one_provider_signs_the_others_verify() {
    let signers = complete_providers();
    let verifiers = [complete_providers(), vec![CryptoProvider::ring_only()]].concat();
    for algorithm in KEYS {
        let key = signers[0].key_generation().unwrap().generate(algorithm).unwrap();
        for signer in &verifiers {
            let signing = signer.signing_keys().unwrap().load(&key).unwrap();
            assert!(signing.is_local());
            assert!(!signing.algorithms().is_empty());
            let spki = signing.public_key();
            for signature_algorithm in signing.algorithms() {
                let signature = sign_now(&*signing, signature_algorithm, b"message").unwrap();
                for verifier in &verifiers {
                    let slot = verifier.verification().unwrap();
                    slot.verify(signature_algorithm, &spki, b"message", &signature).unwrap();
                    assert_eq!(slot.verify(signature_algorithm, &spki, b"massage", &signature), Err(CryptoError::Failed));
                    assert_eq!(slot.verify(signature_algorithm, &spki, b"message", &signature[1..]), Err(CryptoError::Failed));
                }
            }
        }
    }
}

#[test]
fn a_key_does_not_sign_with_an_algorithm_of_another_kind() {
    for_each_provider(|provider| {
        let key = provider.key_generation().unwrap().generate(KeyAlgorithm::EcP256).unwrap();
        let key = provider.signing_keys().unwrap().load(&key).unwrap();
        for algorithm in [SignatureAlgorithm::RsaPkcs1Sha256, SignatureAlgorithm::EcdsaP384Sha384] {
            assert!(matches!(sign_now(&*key, algorithm, b""), Err(SignError::Unsupported(named)) if named == algorithm));
            let refused = provider.verification().unwrap().verify(algorithm, &key.public_key(), b"", b"signature");
            assert_eq!(refused, Err(CryptoError::Failed));
        }
    });
}

#[test]
fn what_one_provider_encrypts_the_other_decrypts() {
    let key = CryptoProvider::aws_lc_rs().key_generation().unwrap().generate(KeyAlgorithm::Rsa2048).unwrap();
    for sender in complete_providers() {
        for recipient in complete_providers() {
            let opener = recipient.decryption_keys().unwrap().load(&key).unwrap();
            for algorithm in TRANSPORTS {
                let slot = sender.key_transport().unwrap();
                assert!(slot.supports(algorithm));
                let ciphertext = slot.encrypt(algorithm, &opener.public_key(), b"content key").unwrap();
                let opened = unwrap_now(&*opener, &UnwrapRequest::new(algorithm, ciphertext.clone())).unwrap();
                assert_eq!(opened.secret_bytes(), b"content key");
                let mut damaged = ciphertext.clone();
                damaged[100] ^= 1;
                let mut longer = ciphertext.clone();
                longer.insert(0, 0);
                for bad in [damaged, longer, ciphertext[1..].to_vec(), Vec::new(), vec![0xff; 256]] {
                    assert!(matches!(unwrap_now(&*opener, &UnwrapRequest::new(algorithm, bad)), Err(UnwrapError::Rejected)));
                }
            }
        }
    }
}

#[test]
fn a_secret_too_long_for_the_key_is_an_argument_error() {
    for_each_provider(|provider| {
        let key = provider.key_generation().unwrap().generate(KeyAlgorithm::Rsa2048).unwrap();
        let spki = provider.signing_keys().unwrap().load(&key).unwrap().public_key();
        for (algorithm, most) in TRANSPORTS.into_iter().zip([245, 214, 190, 158, 126]) {
            let slot = provider.key_transport().unwrap();
            assert!(slot.encrypt(algorithm, &spki, &vec![7; most]).is_ok(), "{algorithm:?}");
            assert!(matches!(slot.encrypt(algorithm, &spki, &vec![7; most + 1]), Err(CryptoError::InvalidArgument(_))));
        }
    });
}

#[test]
fn an_elliptic_curve_key_is_refused_where_rsa_is_needed() {
    for_each_provider(|provider| {
        let key = provider.key_generation().unwrap().generate(KeyAlgorithm::EcP256).unwrap();
        let spki = provider.signing_keys().unwrap().load(&key).unwrap().public_key();
        let refused = provider.key_transport().unwrap().encrypt(KeyTransportAlgorithm::RsaOaepSha256, &spki, b"x");
        assert!(matches!(refused, Err(CryptoError::InvalidKey(_))));
    });
}

#[test]
fn damaged_private_keys_are_refused_by_every_loader() {
    for_each_provider(|provider| {
        for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcP256] {
            let key = provider.key_generation().unwrap().generate(algorithm).unwrap();
            let der = key.secret_pkcs8_der();
            for damaged in [Vec::new(), der[..der.len() - 1].to_vec(), [der, &[0]].concat(), vec![0x30, 0x80, 0, 0]] {
                let damaged = PrivateKeyPkcs8::new(damaged);
                assert!(matches!(provider.signing_keys().unwrap().load(&damaged), Err(CryptoError::InvalidKey(_))));
                assert!(matches!(provider.decryption_keys().unwrap().load(&damaged), Err(CryptoError::InvalidKey(_))));
            }
        }
    });
}

#[test]
fn the_ephemeral_agreement_gives_the_recipient_the_same_secret() {
    for_each_provider(|provider| {
        for algorithm in [&agreement::ECDH_P256, &agreement::ECDH_P384, &agreement::ECDH_P521, &agreement::X25519] {
            let recipient = agreement::PrivateKey::generate(algorithm).unwrap();
            let public = recipient.compute_public_key().unwrap();
            let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(&public).unwrap();
            let (ephemeral, secret) = provider.key_agreement().unwrap().agree_ephemeral(spki.as_ref()).unwrap();
            let ephemeral = agreement::UnparsedPublicKey::new(algorithm, ephemeral);
            let other_end = agreement::agree(&recipient, ephemeral, (), |secret| Ok(secret.to_vec())).unwrap();
            assert_eq!(secret.secret_bytes(), other_end);
        }
    });
}

#[test]
fn a_key_says_what_it_cannot_do_and_rejects_what_it_can_but_for_another() {
    for_each_provider(|provider| {
        let load = |algorithm| {
            let key = provider.key_generation().unwrap().generate(algorithm).unwrap();
            provider.decryption_keys().unwrap().load(&key).unwrap()
        };
        let (rsa, p256, p384) = (load(KeyAlgorithm::Rsa2048), load(KeyAlgorithm::EcP256), load(KeyAlgorithm::EcP384));
        let agreement = |peer: &Arc<dyn DecryptionKey>| UnwrapRequest::key_agreement(peer.public_key().to_vec());
        let transport = UnwrapRequest::new(KeyTransportAlgorithm::RsaOaepSha256, vec![0; 256]);
        assert!(matches!(unwrap_now(&*rsa, &agreement(&p256)), Err(UnwrapError::Unsupported(_))));
        assert!(matches!(unwrap_now(&*p256, &transport), Err(UnwrapError::Unsupported(_))));
        assert!(matches!(unwrap_now(&*p256, &agreement(&p384)), Err(UnwrapError::Rejected)));
        assert!(matches!(unwrap_now(&*p256, &agreement(&rsa)), Err(UnwrapError::Rejected)));
        assert_eq!(unwrap_now(&*p256, &agreement(&p256)).unwrap().len(), 32);
        assert_eq!(unwrap_now(&*p384, &agreement(&p384)).unwrap().len(), 48);
        let mut off_curve = p256.public_key().to_vec();
        *off_curve.last_mut().unwrap() ^= 1;
        assert!(matches!(unwrap_now(&*p256, &UnwrapRequest::key_agreement(off_curve)), Err(UnwrapError::Rejected)));
        assert!(matches!(unwrap_now(&*p256, &UnwrapRequest::key_agreement(Vec::new())), Err(UnwrapError::Rejected)));
    });
}

#[test]
fn digests_hmac_and_pbkdf2_agree_between_providers() {
    const COMMON: [DigestAlgorithm; 5] =
        [DigestAlgorithm::Sha1, DigestAlgorithm::Sha256, DigestAlgorithm::Sha384, DigestAlgorithm::Sha512, DigestAlgorithm::Sha512_256];
    let reference = CryptoProvider::aws_lc_rs();
    for other in [CryptoProvider::ring_and_aws_lc_rs(), CryptoProvider::ring_only()] {
        for algorithm in COMMON {
            let parts: [&[u8]; 3] = [b"one", b"", b"two"];
            let digest = reference.digest().unwrap().digest(algorithm, &parts).unwrap();
            assert_eq!(digest.as_ref().len(), algorithm.output_len());
            assert_eq!(other.digest().unwrap().digest(algorithm, &[b"onetwo"]).unwrap(), digest);
            for key in [&b""[..], b"key", &[7; 200]] {
                let mac = reference.hmac().unwrap().hmac(algorithm, key, &parts).unwrap();
                assert_eq!(other.hmac().unwrap().hmac(algorithm, key, &[b"onetwo"]).unwrap(), mac);
            }
            let (mut one, mut two) = ([0; 100], [0; 100]);
            reference.pbkdf2().unwrap().derive(algorithm, b"password", b"salt", 7, &mut one).unwrap();
            other.pbkdf2().unwrap().derive(algorithm, b"password", b"salt", 7, &mut two).unwrap();
            assert_eq!(one, two);
        }
    }
}

#[test]
fn sha_224_and_sha_512_256_have_their_published_values() {
    for_each_provider(|provider| {
        let digest = |algorithm| provider.digest().unwrap().digest(algorithm, &[b"a", b"bc"]).unwrap().as_ref().to_vec();
        // FIPS 180-4, examples for "abc".
        assert_eq!(digest(DigestAlgorithm::Sha224), unhex("23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"));
        let sha512_256 = unhex("53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23");
        assert_eq!(digest(DigestAlgorithm::Sha512_256), sha512_256);
    });
}

#[test]
fn rare_digests_have_their_published_values_or_are_refused_by_name() {
    // FIPS 180-4 and RFC 7693 appendices A and B, examples for "abc".
    let published = [
        (DigestAlgorithm::Sha512_224, "4634270f707b6a54daae7530460842e20e37ed265ceee9a43e8924aa"),
        (
            DigestAlgorithm::Blake2b512,
            "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d17d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923",
        ),
        (DigestAlgorithm::Blake2s256, "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"),
    ];
    for_each_provider(|provider| {
        for (algorithm, value) in published {
            let digest = provider.digest().unwrap().digest(algorithm, &[b"a", b"bc"]);
            if cfg!(feature = "rare-digests") {
                assert_eq!(digest.unwrap().as_ref(), unhex(value), "{algorithm}");
            } else {
                assert!(matches!(digest, Err(CryptoError::Unsupported(name)) if name.contains("rare-digests")), "{algorithm}");
            }
        }
    });
}

#[cfg(feature = "rare-digests")]
#[test]
fn pbkdf2_with_rare_digests_is_pbkdf2_over_their_hmac() {
    for_each_provider(|provider| {
        for prf in [DigestAlgorithm::Sha512_224, DigestAlgorithm::Sha512_256, DigestAlgorithm::Blake2b512, DigestAlgorithm::Blake2s256] {
            let hmac = |parts: &[&[u8]], key: &[u8]| provider.hmac().unwrap().hmac(prf, key, parts).unwrap().as_ref().to_vec();
            for password in [&b""[..], b"password", &[7; 200]] {
                let first = hmac(&[b"salt", &[0, 0, 0, 2]], password);
                let second = hmac(&[&first], password);
                let mut out = vec![0; 2 * prf.output_len() - 1];
                provider.pbkdf2().unwrap().derive(prf, password, b"salt", 2, &mut out).unwrap();
                let expected: Vec<u8> = first.iter().zip(&second).map(|(a, b)| a ^ b).take(prf.output_len() - 1).collect();
                assert_eq!(out[prf.output_len()..], expected, "{prf}");
            }
        }
    });
}

#[test]
fn zero_iterations_are_refused() {
    for_each_provider(|provider| {
        for prf in [DigestAlgorithm::Sha1, DigestAlgorithm::Sha256, DigestAlgorithm::Sha512_256] {
            let refused = provider.pbkdf2().unwrap().derive(prf, b"", b"", 0, &mut [0; 8]);
            assert!(matches!(refused, Err(CryptoError::InvalidArgument(_))));
            let refused = pkcs12_kdf(provider.digest().unwrap(), prf, b"", b"", 1, 0, &mut [0; 8]);
            assert!(matches!(refused, Err(CryptoError::InvalidArgument(_))));
        }
        let refused = pkcs12_kdf(provider.digest().unwrap(), DigestAlgorithm::Sha1, b"", b"", 4, 1, &mut [0; 8]);
        assert!(matches!(refused, Err(CryptoError::InvalidArgument(_))));
    });
}

#[test]
fn wrong_key_and_iv_lengths_are_argument_errors() {
    for_each_provider(|provider| {
        let cipher = provider.content_cipher().unwrap();
        for (key, iv) in [(31, 16), (33, 16), (0, 16), (32, 15), (32, 17), (32, 0)] {
            let refused = cipher.encrypt(ContentCipherAlgorithm::Aes256Cbc, &vec![0; key], &vec![0; iv], b"x");
            assert!(matches!(refused, Err(CryptoError::InvalidArgument(_))), "{key} {iv}");
            let refused = cipher.decrypt(ContentCipherAlgorithm::Aes256Cbc, &vec![0; key], &vec![0; iv], &[0; 16]);
            assert!(matches!(refused, Err(CryptoError::InvalidArgument(_))), "{key} {iv}");
        }
        let refused = provider.aead().unwrap().seal(AeadAlgorithm::Aes256Gcm, &[0; 32], &[0; 16], b"", b"");
        assert!(matches!(refused, Err(CryptoError::InvalidArgument(_))));
        assert!(matches!(provider.key_wrap().unwrap().wrap(&[0; 16], &[0; 8]), Err(CryptoError::InvalidArgument(_))));
        assert!(matches!(provider.key_wrap().unwrap().wrap(&[0; 15], &[0; 16]), Err(CryptoError::InvalidArgument(_))));
    });
}

#[test]
fn random_bytes_differ_from_call_to_call() {
    for provider in [complete_providers(), vec![CryptoProvider::ring_only()]].concat() {
        let (mut one, mut two) = ([0; 32], [0; 32]);
        provider.random().unwrap().fill(&mut one).unwrap();
        provider.random().unwrap().fill(&mut two).unwrap();
        assert_ne!(one, two);
        assert_ne!(one, [0; 32]);
    }
}

#[cfg(not(feature = "legacy-ciphers"))]
#[test]
fn without_the_feature_legacy_ciphers_are_an_error_that_names_it() {
    use ContentCipherAlgorithm as A;
    for_each_provider(|provider| {
        let slot = provider.content_cipher().unwrap();
        for algorithm in [A::DesEde3Cbc, A::DesCbc, A::Rc2Cbc { effective_bits: 40 }, A::Rc4] {
            assert!(!slot.supports(algorithm));
            let error = slot.decrypt(algorithm, &[1; 24], &[0; 8], &[0; 8]).unwrap_err();
            assert!(matches!(error, CryptoError::Unsupported(_)));
            assert!(error.to_string().contains("`legacy-ciphers`"), "{error}");
        }
    });
}

#[cfg(feature = "legacy-ciphers")]
mod legacy {
    use super::*;

    /// The first block under a zero IV: what the standards' single-block examples give.
    fn first_block(algorithm: ContentCipherAlgorithm, key: &str, block: &str) -> String {
        let mut seen = None;
        for_each_provider(|provider| {
            let slot = provider.content_cipher().unwrap();
            assert!(slot.supports(algorithm));
            let out = slot.encrypt(algorithm, &unhex(key), &[0; 8], &unhex(block)).unwrap();
            assert_eq!(out.len(), 16);
            assert_eq!(slot.decrypt(algorithm, &unhex(key), &[0; 8], &out).unwrap().secret_bytes(), unhex(block));
            seen = Some(out[..8].iter().map(|byte| format!("{byte:02x}")).collect());
        });
        seen.expect("at least one provider")
    }

    #[test]
    fn rc2_has_the_values_of_rfc_2268_section_5() {
        for (effective_bits, key, plaintext, ciphertext) in [
            (63, "0000000000000000", "0000000000000000", "ebb773f993278eff"),
            (64, "ffffffffffffffff", "ffffffffffffffff", "278b27e42e2f0d49"),
            (64, "3000000000000000", "1000000000000001", "30649edf9be7d2c2"),
            (64, "88", "0000000000000000", "61a8a244adacccf0"),
            (64, "88bca90e90875a", "0000000000000000", "6ccf4308974c267f"),
            (64, "88bca90e90875a7f0f79c384627bafb2", "0000000000000000", "1a807d272bbe5db1"),
            (128, "88bca90e90875a7f0f79c384627bafb2", "0000000000000000", "2269552ab0f85ca6"),
            (129, "88bca90e90875a7f0f79c384627bafb216f80a6f85920584c42fceb0be255daf1e", "0000000000000000", "5b78d3a43dfff1f1"),
        ] {
            assert_eq!(first_block(ContentCipherAlgorithm::Rc2Cbc { effective_bits }, key, plaintext), ciphertext, "{key}");
        }
    }

    #[test]
    fn three_key_3des_has_the_value_of_sp_800_67_appendix_b() {
        let key = "0123456789abcdef23456789abcdef01456789abcdef0123";
        assert_eq!(first_block(ContentCipherAlgorithm::DesEde3Cbc, key, "5468652071756663"), "a826fd8ce53b855f");
    }

    #[test]
    fn two_key_3des_is_three_key_3des_with_the_first_key_repeated() {
        let (two, three) = ("0123456789abcdef23456789abcdef01", "0123456789abcdef23456789abcdef010123456789abcdef");
        let algorithm = ContentCipherAlgorithm::DesEde3Cbc;
        assert_eq!(first_block(algorithm, two, "5468652071756663"), first_block(algorithm, three, "5468652071756663"));
    }

    #[test]
    fn single_des_is_3des_with_one_key_and_only_decrypts() {
        for_each_provider(|provider| {
            use ContentCipherAlgorithm as A;
            let (slot, key, iv) = (provider.content_cipher().unwrap(), unhex("0123456789abcdef"), [7; 8]);
            let ciphertext = slot.encrypt(A::DesEde3Cbc, &key.repeat(3), &iv, b"more than one block").unwrap();
            assert_eq!(slot.decrypt(A::DesCbc, &key, &iv, &ciphertext).unwrap().secret_bytes(), b"more than one block");
            assert!(matches!(slot.encrypt(A::DesCbc, &key, &iv, b"text"), Err(CryptoError::Unsupported(_))));
        });
    }

    #[test]
    fn rc4_has_the_key_stream_of_rfc_6229() {
        for_each_provider(|provider| {
            let slot = provider.content_cipher().unwrap();
            let out = slot.encrypt(ContentCipherAlgorithm::Rc4, &unhex("0102030405"), b"", &[0; 16]).unwrap();
            assert_eq!(out, unhex("b2396305f03dc027ccc3524a0a1118a8"));
            assert_eq!(slot.decrypt(ContentCipherAlgorithm::Rc4, &unhex("0102030405"), b"", &out).unwrap().secret_bytes(), [0; 16]);
        });
    }

    #[test]
    fn legacy_ciphers_refuse_bad_lengths_and_bad_padding() {
        for_each_provider(|provider| {
            use ContentCipherAlgorithm as A;
            let slot = provider.content_cipher().unwrap();
            let rc2 = |effective_bits| A::Rc2Cbc { effective_bits };
            for (algorithm, key, iv) in [
                (A::DesEde3Cbc, 8, 8),
                (A::DesEde3Cbc, 25, 8),
                (A::DesEde3Cbc, 24, 7),
                (A::DesCbc, 7, 8),
                (A::DesCbc, 24, 8),
                (A::DesCbc, 8, 16),
                (rc2(40), 0, 8),
                (rc2(40), 129, 8),
                (rc2(0), 5, 8),
                (rc2(1025), 5, 8),
                (rc2(40), 5, 16),
                (A::Rc4, 0, 0),
                (A::Rc4, 257, 0),
                (A::Rc4, 5, 8),
            ] {
                let refused = slot.decrypt(algorithm, &vec![1; key], &vec![0; iv], &[0; 8]);
                assert!(matches!(refused, Err(CryptoError::InvalidArgument(_))), "{algorithm:?} {key} {iv}");
            }
            for ciphertext in [&[][..], &[0; 7], &[0; 9]] {
                assert_eq!(slot.decrypt(A::DesEde3Cbc, &[1; 24], &[0; 8], ciphertext).unwrap_err(), CryptoError::Failed);
                assert_eq!(slot.decrypt(rc2(128), &[1; 16], &[0; 8], ciphertext).unwrap_err(), CryptoError::Failed);
            }
        });
    }
}

#[test]
fn the_pkcs12_kdf_gives_openssl_s_known_answers() {
    let Some(folder) = support::vectors() else { return };
    let text = std::fs::read_to_string(folder.join("openssl/evppbe_pkcs12.txt")).unwrap();
    let mut ran = 0;
    for stanza in text.split("\n\n").filter(|stanza| stanza.starts_with("PBE = pkcs12")) {
        let field = |name: &str| {
            let line = stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            line.unwrap_or_else(|| panic!("{name} in {stanza}")).to_owned()
        };
        assert_eq!(field("MD"), "SHA1");
        let expected = unhex(&field("Key"));
        for_each_provider(|provider| {
            let mut out = vec![0; expected.len()];
            let (password, salt) = (unhex(&field("Password")), unhex(&field("Salt")));
            let (id, iterations) = (field("id").parse().unwrap(), field("iter").parse().unwrap());
            pkcs12_kdf(provider.digest().unwrap(), DigestAlgorithm::Sha1, &password, &salt, id, iterations, &mut out).unwrap();
            assert_eq!(out, expected);
        });
        ran += 1;
    }
    assert!(ran >= 6, "{ran} stanzas");
}

#[test]
fn the_pkcs12_kdf_agrees_with_values_of_an_independent_program() {
    // "ge@äheim" as a BMPString with its terminator.
    let password = unhex("00670065004000e4006800650069006d0000");
    let salt = unhex("0102030405060708");
    for (id, expected) in [
        (1, "fae4d4957a3cc781e1180b9d4fb79c1e0c8579b746a3177e5b0768a3118bf863"),
        (2, "e5ff813bc6547de5155b14d2fada85b3201a977349db6e26ccc998d9e8f83d6c"),
        (3, "136355ed9434516682534f46d63956db5ff06b844702c2c1f3b46321e2524a4d"),
    ] {
        for_each_provider(|provider| {
            let mut out = [0; 32];
            pkcs12_kdf(provider.digest().unwrap(), DigestAlgorithm::Sha256, &password, &salt, id, 100, &mut out).unwrap();
            assert_eq!(out.to_vec(), unhex(expected));
        });
    }
}

#[cfg(feature = "scrypt")]
#[test]
fn scrypt_has_the_values_of_rfc_7914_section_12() {
    use intune_connector::crypto::ScryptParameters;
    for provider in [complete_providers(), vec![CryptoProvider::ring_only()]].concat() {
        let slot = provider.scrypt().unwrap();
        let mut out = [0; 64];
        let parameters = ScryptParameters { cost: 1024, block_size: 8, parallelization: 16 };
        slot.derive(parameters, b"password", b"NaCl", &mut out).unwrap();
        let expected = "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640";
        assert_eq!(out.to_vec(), unhex(expected));
        for (cost, block_size, parallelization) in [(0, 8, 1), (1, 8, 1), (1000, 8, 1), (1024, 0, 1), (1024, 8, 0), (1024, 8, 1 << 27)] {
            let parameters = ScryptParameters { cost, block_size, parallelization };
            assert!(matches!(slot.derive(parameters, b"", b"", &mut [0; 8]), Err(CryptoError::InvalidArgument(_))), "{parameters:?}");
        }
    }
}

#[test]
fn complete_providers_fill_every_slot() {
    for_each_provider(|provider| {
        for slot in SlotName::ALL {
            assert_eq!(provider.has(*slot), *slot != SlotName::Scrypt || cfg!(feature = "scrypt"), "{slot:?}");
        }
    });
}

#[test]
fn ring_alone_lacks_exactly_what_ring_cannot_do() {
    let ring = CryptoProvider::ring_only();
    let mut missing: Vec<_> = SlotName::ALL.iter().copied().filter(|slot| !ring.has(*slot) && *slot != SlotName::Scrypt).collect();
    let mut expected = vec![
        SlotName::ContentCipher,
        SlotName::KeyGeneration,
        SlotName::KeyTransport,
        SlotName::DecryptionKeys,
        SlotName::KeyWrap,
        SlotName::KeyAgreement,
    ];
    missing.sort();
    expected.sort();
    assert_eq!(missing, expected);
    assert_eq!(ring.has(SlotName::Scrypt), cfg!(feature = "scrypt"));
}

#[test]
fn a_missing_slot_names_provider_slot_and_remedy() {
    let error = CryptoProvider::ring_only().decryption_keys().unwrap_err().to_string();
    assert_eq!(
        error,
        "the crypto provider `ring` has no slot `decryption_keys`: use a complete provider (feature `aws-lc-rs`) or fill it with `with_decryption_keys`"
    );
}

#[test]
fn comparison_in_constant_time_compares() {
    assert!(constant_time_eq(b"", b""));
    assert!(constant_time_eq(b"mac", b"mac"));
    assert!(!constant_time_eq(b"mac", b"mad"));
    assert!(!constant_time_eq(b"mac", b"ma"));
}
