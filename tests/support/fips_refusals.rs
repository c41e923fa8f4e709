//! What a restricted provider refuses and what remains, on every complete provider. Needs `pki` and `providers`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;

use async_trait::async_trait;
use intune_connector::crypto::{
    AeadAlgorithm, ContentCipherAlgorithm, CryptoError, CryptoProvider, DecryptionKey, DigestAlgorithm, DigestKdf, KeyTransportAlgorithm,
    PssParameters, ScryptParameters, SignError, SignatureAlgorithm, SigningKey, SigningKeyLoader, SlotName, UnwrapError, UnwrapRequest,
    pkcs12_kdf, sign_now, unwrap_now,
};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::enveloped::{CmsError, CmsErrorKind, EnvelopeBuilder, LegacyCiphers, Opening};
use intune_connector::message::pfx::{self, OpenedPfx, PfxBuilder, PfxError, PfxErrorKind, PfxProfile};
use intune_connector::message::reencrypt::{LegacyPadding, PasswordOpening};
use intune_connector::message::signed::{LegacyDigests, Signed, SignedBuilder, SignedContent, VerifyOptions};
use intune_connector::secret::{Password, PrivateKeyPkcs8, SecretBytes};
use intune_connector::terms::{KeyAlgorithm, PaddingScheme};
use rustls_pki_types::SubjectPublicKeyInfoDer;

use crate::{pki, providers};

const PASSWORD: &str = "Correct-Horse-Battery-7";

fn restricted() -> Vec<(CryptoProvider, CryptoProvider)> {
    providers::complete_providers().into_iter().map(|free| (free.clone(), free.fips_approved_only())).collect()
}

/// The error says that FIPS is the reason, and what to do.
fn refused<T>(answer: Result<T, CryptoError>, what: &str) {
    let Err(error @ CryptoError::NotApproved { .. }) = answer else { panic!("{what} was not refused as not approved") };
    let text = error.to_string();
    assert!(text.contains("is not approved by FIPS") && text.contains(what), "{text}");
    let CryptoError::NotApproved { instead, .. } = error else { unreachable!() };
    assert!(!instead.is_empty() && text.ends_with(instead), "{text}");
}

#[test]
fn weak_content_ciphers_are_refused_and_aes_remains() {
    use ContentCipherAlgorithm as A;
    for (_, provider) in restricted() {
        let slot = provider.content_cipher().unwrap();
        for (algorithm, key, iv, what) in [
            (A::DesEde3Cbc, 24, 8, "3DES"),
            (A::DesEde3Cbc, 16, 8, "single DES"),
            (A::DesCbc, 8, 8, "single DES"),
            (A::Rc2Cbc { effective_bits: 40 }, 5, 8, "RC2"),
            (A::Rc2Cbc { effective_bits: 128 }, 16, 8, "RC2"),
            (A::Rc4, 16, 0, "RC4"),
        ] {
            assert!(!slot.supports(algorithm));
            refused(slot.check(algorithm), what);
            refused(slot.encrypt(algorithm, &vec![1; key], &vec![2; iv], b"text"), what);
            refused(slot.decrypt(algorithm, &vec![1; key], &vec![2; iv], &[3; 16]), what);
        }
        for (algorithm, key) in [(A::Aes128Cbc, 16), (A::Aes192Cbc, 24), (A::Aes256Cbc, 32)] {
            assert!(slot.supports(algorithm) && slot.check(algorithm).is_ok());
            let ciphertext = slot.encrypt(algorithm, &vec![1; key], &[2; 16], b"text").unwrap();
            assert_eq!(slot.decrypt(algorithm, &vec![1; key], &[2; 16], &ciphertext).unwrap().secret_bytes(), b"text");
        }
    }
}

#[test]
fn digests_remain_but_the_derivations_over_them_are_refused() {
    for (free, provider) in restricted() {
        let slot = provider.digest().unwrap();
        for algorithm in [DigestAlgorithm::Sha1, DigestAlgorithm::Sha224, DigestAlgorithm::Sha256, DigestAlgorithm::Sha512_256] {
            assert_eq!(slot.digest(algorithm, &[b"x"]).unwrap(), free.digest().unwrap().digest(algorithm, &[b"x"]).unwrap());
        }
        refused(slot.digest(DigestAlgorithm::Sha512_224, &[b"x"]), "SHA-512/224");
        for blake2 in [DigestAlgorithm::Blake2b512, DigestAlgorithm::Blake2s256] {
            refused(slot.digest(blake2, &[b"x"]), "BLAKE2");
        }
        refused(slot.permits(DigestKdf::Pkcs12), "the key derivation of PKCS#12");
        refused(slot.permits(DigestKdf::Pbkdf1), "PBKDF1");
        let mut out = [0; 20];
        refused(pkcs12_kdf(slot, DigestAlgorithm::Sha256, &[0, 0], b"salt", 3, 2_048, &mut out), "Pbmac1");
        assert_eq!(out, [0; 20], "nothing was derived");
        pkcs12_kdf(free.digest().unwrap(), DigestAlgorithm::Sha256, &[0, 0], b"salt", 3, 2_048, &mut out).unwrap();
    }
}

#[test]
fn hmac_and_pbkdf2_are_held_to_the_parameters_that_nist_sets() {
    use DigestAlgorithm as D;
    for (_, provider) in restricted() {
        let hmac = provider.hmac().unwrap();
        for digest in [D::Sha1, D::Sha224, D::Sha256, D::Sha384, D::Sha512] {
            hmac.hmac(digest, &[1; 14], &[b"x"]).unwrap();
            refused(hmac.hmac(digest, &[1; 13], &[b"x"]), "under 112 bits");
        }
        for digest in [D::Sha512_224, D::Sha512_256] {
            refused(hmac.hmac(digest, &[1; 32], &[b"x"]), "HMAC with a digest other");
        }
        let pbkdf2 = provider.pbkdf2().unwrap();
        let (password, salt, mut out) = ([b'p'; 14], [7; 16], [0; 14]);
        for prf in [D::Sha1, D::Sha256, D::Sha384, D::Sha512] {
            pbkdf2.derive(prf, &password, &salt, 1_000, &mut out).unwrap();
        }
        for prf in [D::Sha224, D::Sha512_224, D::Sha512_256] {
            refused(pbkdf2.derive(prf, &password, &salt, 1_000, &mut out), "PRF");
        }
        refused(pbkdf2.derive(D::Sha256, &password[1..], &salt, 1_000, &mut out), "password under 14 bytes");
        refused(pbkdf2.derive(D::Sha256, &password, &salt[1..], 1_000, &mut out), "salt under 16 bytes");
        refused(pbkdf2.derive(D::Sha256, &password, &salt, 999, &mut out), "fewer than 1,000 iterations");
        refused(pbkdf2.derive(D::Sha256, &password, &salt, 1_000, &mut out[1..]), "key under 112 bits");
        let parameters = ScryptParameters { cost: 2, block_size: 8, parallelization: 1 };
        refused(provider.scrypt().unwrap().derive(parameters, &password, &salt, &mut out), "scrypt");
    }
}

#[test]
fn gcm_opens_any_nonce_but_seals_only_under_one_that_it_draws() {
    for (free, provider) in restricted() {
        let (slot, random) = (provider.aead().unwrap(), provider.random().unwrap());
        for (algorithm, key) in [(AeadAlgorithm::Aes128Gcm, 16), (AeadAlgorithm::Aes256Gcm, 32)] {
            let key = vec![1; key];
            refused(slot.seal(algorithm, &key, &[2; 12], b"aad", b"text"), "nonce from outside");
            let (nonce, sealed) = slot.seal_with_random_nonce(algorithm, &key, random, b"aad", b"text").unwrap();
            assert_eq!(sealed.len(), 4 + 16);
            assert_eq!(slot.open(algorithm, &key, &nonce, b"aad", &sealed).unwrap().secret_bytes(), b"text");
            assert_eq!(free.aead().unwrap().seal(algorithm, &key, &nonce, b"aad", b"text").unwrap(), sealed);
            let (other, _) = slot.seal_with_random_nonce(algorithm, &key, random, b"aad", b"text").unwrap();
            assert_ne!(other, nonce);
        }
        let (algorithm, key) = (AeadAlgorithm::Aes192Gcm, [1; 24]);
        refused(slot.seal_with_random_nonce(algorithm, &key, random, b"", b"text"), "sealing");
        let (nonce, sealed) = free.aead().unwrap().seal_with_random_nonce(algorithm, &key, random, b"", b"text").unwrap();
        assert_eq!(slot.open(algorithm, &key, &nonce, b"", &sealed).unwrap().secret_bytes(), b"text");
    }
}

#[test]
fn key_wrap_by_aes_192_is_refused() {
    for (free, provider) in restricted() {
        let slot = provider.key_wrap().unwrap();
        for kek in [16, 32] {
            let wrapped = slot.wrap(&vec![1; kek], &[2; 16]).unwrap();
            assert_eq!(slot.unwrap(&vec![1; kek], &wrapped).unwrap().secret_bytes(), [2; 16]);
        }
        let wrapped = free.key_wrap().unwrap().wrap(&[1; 24], &[2; 16]).unwrap();
        refused(slot.check(24), "AES key wrap by other keys");
        refused(slot.wrap(&[1; 24], &[2; 16]), "AES key wrap by other keys");
        refused(slot.unwrap(&[1; 24], &wrapped), "AES key wrap by other keys");
        assert!(slot.check(16).is_ok() && slot.check(32).is_ok() && free.key_wrap().unwrap().check(24).is_ok());
    }
}

#[test]
fn rsa_pkcs1_transport_is_refused_in_both_directions_and_oaep_remains() {
    use KeyTransportAlgorithm as T;
    for (free, provider) in restricted() {
        let pkcs8 = free.key_generation().unwrap().generate(KeyAlgorithm::Rsa2048).unwrap();
        let (key, free_key) =
            (provider.decryption_keys().unwrap().load(&pkcs8).unwrap(), free.decryption_keys().unwrap().load(&pkcs8).unwrap());
        let (slot, spki) = (provider.key_transport().unwrap(), key.public_key());
        assert!(!slot.supports(T::RsaPkcs1v15));
        refused(slot.check(T::RsaPkcs1v15), "PKCS#1 v1.5 key transport");
        refused(slot.encrypt(T::RsaPkcs1v15, &spki, b"secret"), "PKCS#1 v1.5 key transport");
        refused(provider.permits_decryption(T::RsaPkcs1v15), "PKCS#1 v1.5 key transport");
        let old = free.key_transport().unwrap().encrypt(T::RsaPkcs1v15, &spki, b"secret").unwrap();
        let request = UnwrapRequest::new(T::RsaPkcs1v15, old);
        assert!(unwrap_now(&*free_key, &request).is_ok());
        let Err(UnwrapError::NotApproved(error)) = unwrap_now(&*key, &request) else { panic!("it decrypted") };
        refused::<()>(Err(error), "PKCS#1 v1.5 key transport");
        for algorithm in [T::RsaOaepSha1, T::RsaOaepSha256, T::RsaOaepSha384, T::RsaOaepSha512] {
            provider.permits_decryption(algorithm).unwrap();
            let request = UnwrapRequest::new(algorithm, slot.encrypt(algorithm, &spki, b"secret").unwrap());
            assert_eq!(unwrap_now(&*key, &request).unwrap().secret_bytes(), b"secret");
        }
    }
}

/// Signs with SHA-1, as a token may that old devices made necessary.
#[derive(Debug)]
struct OldToken(Arc<dyn SigningKey>);

#[async_trait]
impl SigningKey for OldToken {
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.0.public_key()
    }
    fn algorithms(&self) -> Vec<SignatureAlgorithm> {
        vec![SignatureAlgorithm::RsaPkcs1Sha1, SignatureAlgorithm::RsaPkcs1Sha256]
    }
    async fn sign(&self, _: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(message.to_vec())
    }
}

#[derive(Debug)]
struct OldTokens(CryptoProvider);

impl SigningKeyLoader for OldTokens {
    fn load(&self, key: &PrivateKeyPkcs8) -> Result<Arc<dyn SigningKey>, CryptoError> {
        Ok(Arc::new(OldToken(self.0.signing_keys().unwrap().load(key)?)))
    }
}

#[test]
fn sha1_signatures_are_neither_made_nor_verified() {
    use SignatureAlgorithm as S;
    for (free, provider) in restricted() {
        let pkcs8 = free.key_generation().unwrap().generate(KeyAlgorithm::Rsa2048).unwrap();
        refused(provider.permits_signing(S::RsaPkcs1Sha1), "SHA-1");
        // A slot that is put in later is restricted as well.
        let key = provider.clone().with_signing_keys(Arc::new(OldTokens(free.clone()))).signing_keys().unwrap().load(&pkcs8).unwrap();
        assert_eq!(key.algorithms(), [S::RsaPkcs1Sha256]);
        let Err(SignError::NotApproved(error)) = sign_now(&*key, S::RsaPkcs1Sha1, b"x") else { panic!("it signed") };
        refused::<()>(Err(error), "SHA-1");

        let slot = provider.verification().unwrap();
        let spki = key.public_key();
        refused(slot.verify(S::RsaPkcs1Sha1, &spki, b"x", &[0; 256]), "SHA-1");
        let old = PssParameters { digest: DigestAlgorithm::Sha1, mask_digest: DigestAlgorithm::Sha1, salt_len: 20 };
        refused(slot.verify(S::rsa_pss(old), &spki, b"x", &[0; 256]), "RSASSA-PSS with other parameters");
        refused(slot.verify(S::RsaPkcs1Sha224, &spki, b"x", &[0; 256]), "RSA signature with SHA-224");
        for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcP256, KeyAlgorithm::EcP384] {
            let pkcs8 = provider.key_generation().unwrap().generate(algorithm).unwrap();
            let key = provider.signing_keys().unwrap().load(&pkcs8).unwrap();
            for algorithm in key.algorithms() {
                let signature = sign_now(&*key, algorithm, b"x").unwrap();
                slot.verify(algorithm, &key.public_key(), b"x", &signature).unwrap();
                assert_eq!(slot.verify(algorithm, &key.public_key(), b"y", &signature), Err(CryptoError::Failed));
            }
        }
    }
}

/// An RSA SubjectPublicKeyInfo with a modulus of that many bits, all of them set.
fn rsa_spki(bits: usize) -> Vec<u8> {
    let tlv = |tag: u8, value: &[u8]| {
        let len = u16::try_from(value.len()).unwrap().to_be_bytes();
        let mut out = vec![tag];
        match value.len() {
            0..=0x7f => out.push(len[1]),
            0x80..=0xff => out.extend([0x81, len[1]]),
            _ => out.extend([0x82, len[0], len[1]]),
        }
        out.extend(value);
        out
    };
    let mut modulus = vec![0xff; bits.div_ceil(8)];
    modulus[0] >>= modulus.len() * 8 - bits;
    if modulus[0] & 0x80 != 0 {
        modulus.insert(0, 0);
    }
    let key = tlv(0x30, &[tlv(2, &modulus), tlv(2, &[1, 0, 1])].concat());
    let algorithm = providers::unhex("300d06092a864886f70d0101010500");
    tlv(0x30, &[algorithm, tlv(3, &[vec![0], key].concat())].concat())
}

#[test]
fn keys_that_are_too_small_or_of_another_curve_are_refused() {
    let x25519 = [providers::unhex("302a300506032b656e032100"), vec![9; 32]].concat();
    let ed25519 = [providers::unhex("302a300506032b6570032100"), vec![9; 32]].concat();
    for (_, provider) in restricted() {
        for (bits, what) in [(1024, "RSA key under 2048 bits"), (2047, "RSA key under 2048 bits"), (2049, "odd number of bits")] {
            let spki = rsa_spki(bits);
            let (slot, algorithm) = (provider.verification().unwrap(), SignatureAlgorithm::RsaPkcs1Sha256);
            refused(slot.verify(algorithm, &spki, b"x", &[0; 128]), what);
            refused(slot.dangerous_verify_with_short_rsa_key(algorithm, &spki, b"x", &[0; 128]), what);
            refused(provider.key_transport().unwrap().encrypt(KeyTransportAlgorithm::RsaOaepSha256, &spki, b"x"), what);
        }
        let agreement = provider.key_agreement().unwrap();
        refused(agreement.agree_ephemeral(&ed25519), "key agreement on this curve");
        refused(agreement.agree_ephemeral(&x25519), "key agreement on this curve");
        refused(provider.permits_agreement(&x25519), "key agreement on this curve");
        for algorithm in [KeyAlgorithm::EcP256, KeyAlgorithm::EcP384] {
            let pkcs8 = provider.key_generation().unwrap().generate(algorithm).unwrap();
            let recipient = provider.signing_keys().unwrap().load(&pkcs8).unwrap().public_key();
            assert!(agreement.agree_ephemeral(&recipient).is_ok());
        }
    }
}

#[test]
fn restricting_twice_is_restricting_once_and_slots_keep_what_they_say_of_the_module() {
    for (free, provider) in restricted() {
        assert!(!free.is_fips_approved_only() && provider.is_fips_approved_only());
        let twice = provider.clone().fips_approved_only();
        refused(
            twice.scrypt().unwrap().derive(ScryptParameters { cost: 2, block_size: 8, parallelization: 1 }, b"", b"", &mut [0]),
            "scrypt",
        );
        for slot in SlotName::ALL.iter().copied().filter(|slot| *slot != SlotName::Scrypt) {
            assert_eq!((twice.has(slot), twice.slot_is_fips(slot)), (free.has(slot), free.slot_is_fips(slot)), "{}", slot.as_str());
        }
    }
    let empty = CryptoProvider::empty("nothing").fips_approved_only();
    assert!(empty.digest().is_err() && empty.is_fips_approved_only());
}

fn identity(provider: &CryptoProvider) -> pki::Identity {
    let root = pki::root(provider, "root");
    pki::leaf(provider, &root, "CN=Jane Doe", KeyAlgorithm::EcP256, |builder| builder)
}

fn write(profile: PfxProfile, password: &str, provider: &CryptoProvider, identity: &pki::Identity) -> Result<Vec<u8>, PfxError> {
    let builder = PfxBuilder::new(profile).key(&identity.key).certificate(&identity.certificate).iterations(2_000);
    Ok(builder.build(&Password::from(password), provider)?.secret_bytes().to_vec())
}

fn refused_pfx<T>(answer: Result<T, PfxError>, what: &str) {
    let Err(error) = answer else { panic!("{what} was not refused") };
    assert_eq!(error.kind(), PfxErrorKind::UnsupportedAlgorithm);
    let PfxError::Crypto(error) = error else { panic!("{error:?}") };
    refused::<()>(Err(error), what);
}

#[test]
fn of_the_pfx_profiles_only_pbmac1_is_written_and_read() {
    for (free, provider) in restricted() {
        let identity = identity(&free);
        let password = Password::from(PASSWORD);
        for profile in [PfxProfile::Modern, PfxProfile::Compat] {
            refused_pfx(write(profile, PASSWORD, &provider, &identity), "PfxProfile::Pbmac1");
            let file = write(profile, PASSWORD, &free, &identity).unwrap();
            assert!(pfx::open(&file, &password, &free, &Limits::default()).is_ok());
            refused_pfx(pfx::open(&file, &password, &provider, &Limits::default()), "the key derivation of PKCS#12");
        }
        let file = write(PfxProfile::Pbmac1, PASSWORD, &provider, &identity).unwrap();
        assert!(matches!(pfx::open(&file, &password, &provider, &Limits::default()), Ok(OpenedPfx::MacVerified(_))));
        let wrong = pfx::open(&file, &Password::from("another long password"), &provider, &Limits::default()).unwrap_err();
        assert_eq!(wrong.kind(), PfxErrorKind::WrongPassword);
        refused_pfx(write(PfxProfile::Pbmac1, "short", &provider, &identity), "password under 14 bytes");
        let file = write(PfxProfile::Pbmac1, "short", &free, &identity).unwrap();
        refused_pfx(pfx::open(&file, &Password::from("short"), &provider, &Limits::default()), "password under 14 bytes");
    }
}

#[test]
fn envelopes_are_written_and_opened_with_oaep_and_aes_alone() {
    let refused_cms = |answer: Result<(), CmsError>, what: &str| {
        let Err(error) = answer else { panic!("{what} was not refused") };
        assert_eq!(error.kind(), CmsErrorKind::UnsupportedAlgorithm);
        let CmsError::Crypto(error) = error else { panic!("{error:?}") };
        refused::<()>(Err(error), what);
    };
    for (free, provider) in restricted() {
        let root = pki::root(&free, "root");
        let device = pki::leaf(&free, &root, "CN=device", KeyAlgorithm::Rsa2048, |builder| builder);
        let certificate = Certificate::from_der(&device.certificate, &Limits::default()).unwrap();
        let key = free.decryption_keys().unwrap().load(&device.key).unwrap();
        let build = |cipher, transport, provider: &CryptoProvider| {
            EnvelopeBuilder::new(cipher, transport)
                .legacy_ciphers(LegacyCiphers::AllowTripleDes)
                .recipient(&certificate)
                .build(b"content", provider)
        };
        for (cipher, transport, what) in [
            (ContentCipherAlgorithm::Aes256Cbc, KeyTransportAlgorithm::RsaPkcs1v15, "PKCS#1 v1.5"),
            (ContentCipherAlgorithm::DesEde3Cbc, KeyTransportAlgorithm::RsaOaepSha256, "3DES"),
        ] {
            refused_cms(build(cipher, transport, &provider).map(drop), what);
            let message = build(cipher, transport, &free).unwrap();
            let mut opening = Opening::parse(&message, &Limits::default()).unwrap().legacy_ciphers(LegacyCiphers::AllowTripleDes);
            refused_cms(opening.unwrap_request(&certificate, &provider).map(drop), what);
        }
        let message = build(ContentCipherAlgorithm::Aes256Cbc, KeyTransportAlgorithm::RsaOaepSha256, &provider).unwrap();
        let mut opening = Opening::parse(&message, &Limits::default()).unwrap();
        let request = opening.unwrap_request(&certificate, &provider).unwrap();
        let content = opening.finish(unwrap_now(&*key, &request), &provider).unwrap();
        assert_eq!(content.secret_bytes(), b"content");

        let legacy = LegacyPadding::DangerouslyAllowPkcs1AndOaepSha1;
        refused_cms(PasswordOpening::new(vec![0; 256], PaddingScheme::Pkcs1, legacy, &provider).map(drop), "PKCS#1 v1.5");
        assert!(PasswordOpening::new(vec![0; 256], PaddingScheme::OaepSha512, legacy, &provider).is_ok());
    }
}

#[test]
fn authenticated_envelopes_and_agreement_remain_and_password_recipients_are_refused() {
    let limits = Limits::default();
    let refused_cms = |error: CmsError, what: &str| {
        let CmsError::Crypto(error) = error else { panic!("{error:?}") };
        refused::<()>(Err(error), what);
    };
    for (free, provider) in restricted() {
        let root = pki::root(&free, "root");
        for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcP256, KeyAlgorithm::EcP384] {
            let device = pki::leaf(&free, &root, "CN=device", algorithm, |builder| builder);
            let certificate = Certificate::from_der(&device.certificate, &limits).unwrap();
            let key = provider.decryption_keys().unwrap().load(&device.key).unwrap();
            for message in [
                EnvelopeBuilder::authenticated(AeadAlgorithm::Aes256Gcm, KeyTransportAlgorithm::RsaOaepSha256),
                EnvelopeBuilder::new(ContentCipherAlgorithm::Aes128Cbc, KeyTransportAlgorithm::RsaOaepSha256),
            ] {
                let message = message.recipient(&certificate).build(b"content", &provider).unwrap();
                let mut opening = Opening::parse(&message, &limits).unwrap();
                let request = opening.unwrap_request(&certificate, &provider).unwrap();
                assert_eq!(opening.finish(unwrap_now(&*key, &request), &provider).unwrap().secret_bytes(), b"content");
            }
        }
        let builder = || EnvelopeBuilder::new(ContentCipherAlgorithm::Aes256Cbc, KeyTransportAlgorithm::RsaOaepSha256);
        let open = |message: &[u8]| Opening::parse(message, &limits).unwrap();
        let kek = SecretBytes::copy_from(&[7; 32]);
        let message = builder().kek_recipient(b"kek", &kek).build(b"content", &provider).unwrap();
        assert_eq!(open(&message).decrypt_with_kek(b"kek", &kek, &provider).unwrap().secret_bytes(), b"content");
        let kek = SecretBytes::copy_from(&[7; 24]);
        refused_cms(builder().kek_recipient(b"kek", &kek).build(b"content", &provider).unwrap_err(), "AES key wrap by other keys");
        let message = builder().kek_recipient(b"kek", &kek).build(b"content", &free).unwrap();
        refused_cms(open(&message).decrypt_with_kek(b"kek", &kek, &provider).unwrap_err(), "AES key wrap by other keys");

        let password = Password::from(PASSWORD);
        let what = "the key wrap of password recipients";
        refused_cms(builder().password_recipient(&password, 2_000).build(b"content", &provider).unwrap_err(), what);
        let message = builder().password_recipient(&password, 2_000).build(b"content", &free).unwrap();
        assert!(open(&message).decrypt_with_password(&password, &free).is_ok());
        refused_cms(open(&message).decrypt_with_password(&password, &provider).unwrap_err(), what);
    }
}

#[test]
fn signed_messages_with_sha1_are_neither_written_nor_verified() {
    for (free, provider) in restricted() {
        let root = pki::root(&free, "root");
        let signer = pki::leaf(&free, &root, "CN=signer", KeyAlgorithm::Rsa2048, |builder| builder);
        let certificate = Certificate::from_der(&signer.certificate, &Limits::default()).unwrap();
        let builder = || SignedBuilder::new(SignedContent::Attached(b"content")).certificate(&signer.certificate);
        let refused_cms = |error: CmsError| {
            assert_eq!(error.kind(), CmsErrorKind::UnsupportedAlgorithm, "{error:?}");
            let CmsError::Crypto(error) = error else { panic!("{error:?}") };
            refused::<()>(Err(error), "SHA-1");
        };
        refused_cms(builder().to_be_signed(&certificate, SignatureAlgorithm::RsaPkcs1Sha1, &provider).unwrap_err());
        let old = builder().to_be_signed(&certificate, SignatureAlgorithm::RsaPkcs1Sha1, &free).unwrap().finish(&[1; 256]);
        let signed = Signed::parse(&old, &Limits::default()).unwrap();
        let options = || VerifyOptions::default().legacy_digests(LegacyDigests::AllowSha1);
        refused_cms(signed.verify(options(), &provider).unwrap_err());
        assert!(matches!(signed.verify(options(), &free), Err(CmsError::Signature)));

        let to_be_signed = builder().to_be_signed(&certificate, SignatureAlgorithm::RsaPssSha256, &provider).unwrap();
        let signature = sign_now(&*signer.signer, to_be_signed.algorithm(), to_be_signed.message()).unwrap();
        let message = to_be_signed.finish(&signature);
        let signed = Signed::parse(&message, &Limits::default()).unwrap();
        assert_eq!(signed.verify(VerifyOptions::default(), &provider).unwrap().content(), b"content");
    }
}

#[test]
fn an_own_decryption_key_is_asked_nothing_that_is_not_approved() {
    /// A key of an HSM: no provider has loaded it.
    #[derive(Debug)]
    struct Hsm(Arc<dyn DecryptionKey>);
    #[async_trait]
    impl DecryptionKey for Hsm {
        fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
            self.0.public_key()
        }
        async fn unwrap(&self, _: &UnwrapRequest) -> Result<SecretBytes, UnwrapError> {
            panic!("it was asked")
        }
    }
    let (free, provider) = restricted().remove(0);
    let root = pki::root(&free, "root");
    let device = pki::leaf(&free, &root, "CN=device", KeyAlgorithm::Rsa2048, |builder| builder);
    let certificate = Certificate::from_der(&device.certificate, &Limits::default()).unwrap();
    let hsm = Hsm(free.decryption_keys().unwrap().load(&device.key).unwrap());
    let message = EnvelopeBuilder::new(ContentCipherAlgorithm::Aes256Cbc, KeyTransportAlgorithm::RsaPkcs1v15)
        .recipient(&certificate)
        .build(b"content", &free)
        .unwrap();
    let limits = Limits::default();
    let opened = intune_connector::message::enveloped::decrypt(&message, &certificate, &hsm, LegacyCiphers::Refuse, &provider, &limits);
    let Some(Err(CmsError::Crypto(error))) = futures_util::FutureExt::now_or_never(opened) else { panic!("it was not refused") };
    refused::<()>(Err(error), "PKCS#1 v1.5");
}
