//! The module itself: its mode and self-test, what the provider says of it, and which operations it counts as approved services.

use std::sync::Arc;

use fips::counts_as_approved;
use intune_connector::adapters::{InMemoryQueue, MemoryDecryptionKeys, RecordingSink, StdRuntime, VolatileJournal};
use intune_connector::connector::Connector;
use intune_connector::crypto::{
    AeadAlgorithm, ContentCipherAlgorithm, CryptoProvider, DecryptionKey, DigestAlgorithm, KeyTransportAlgorithm, SignatureAlgorithm,
    SlotName, UnwrapError, UnwrapRequest, sign_now, unwrap_now,
};
use intune_connector::import::ImportConfig;
use intune_connector::policy::RecipientPolicy;
use intune_connector::recrypt::{RecryptConfig, RecryptKey};
use intune_connector::secret::SecretBytes;
use intune_connector::terms::KeyAlgorithm;
use rustls_pki_types::SubjectPublicKeyInfoDer;

fn restricted() -> CryptoProvider {
    CryptoProvider::aws_lc_rs().fips_approved_only()
}

#[test]
fn the_module_is_in_fips_mode_and_passes_its_self_test() {
    aws_lc_rs::try_fips_mode().expect("FIPS mode");
    aws_lc_rs::try_fips_self_test().expect("the self-test");
    println!("AWS-LC-FIPS version {:?}, jitter entropy {:?}", aws_lc_rs::fips_version(), aws_lc_rs::try_fips_cpu_jitter_entropy());
}

#[test]
fn every_slot_but_scrypt_says_that_it_is_inside_the_module_and_so_do_its_keys() {
    for provider in [CryptoProvider::aws_lc_rs(), restricted()] {
        for slot in SlotName::ALL.iter().copied() {
            assert_eq!(provider.slot_is_fips(slot), slot != SlotName::Scrypt, "{}", slot.as_str());
        }
        for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcP256, KeyAlgorithm::EcP384] {
            let pkcs8 = provider.key_generation().unwrap().generate(algorithm).unwrap();
            assert!(provider.signing_keys().unwrap().load(&pkcs8).unwrap().fips());
            assert!(provider.decryption_keys().unwrap().load(&pkcs8).unwrap().fips());
        }
    }
}

/// One row of the table: an operation that a restricted provider does, and whether the module counts it.
fn row<T>(operation: &str, expected: bool, work: impl FnOnce() -> T) -> T {
    let (done, counted) = counts_as_approved(work);
    println!("{operation:<44} {}", if counted { "approved service" } else { "not counted" });
    assert_eq!(counted, expected, "{operation}");
    done
}

#[test]
fn the_module_counts_what_remains_as_approved_services() {
    let provider = restricted();
    let mut bytes = [0; 32];
    row("random", true, || provider.random().unwrap().fill(&mut bytes).unwrap());
    use DigestAlgorithm as D;
    for digest in [D::Sha1, D::Sha224, D::Sha256, D::Sha384, D::Sha512, D::Sha512_256] {
        row(&format!("digest {digest}"), true, || provider.digest().unwrap().digest(digest, &[b"x"]).unwrap());
    }
    for digest in [D::Sha1, D::Sha224, D::Sha256, D::Sha384, D::Sha512] {
        row(&format!("HMAC {digest}"), true, || provider.hmac().unwrap().hmac(digest, &[1; 14], &[b"x"]).unwrap());
    }
    for prf in [D::Sha1, D::Sha256, D::Sha384, D::Sha512] {
        let derive = || provider.pbkdf2().unwrap().derive(prf, &[b'p'; 14], &[7; 16], 1_000, &mut [0; 32]).unwrap();
        row(&format!("PBKDF2 {prf}, the least that is let through"), true, derive);
    }
    use ContentCipherAlgorithm as C;
    for (cipher, key) in [(C::Aes128Cbc, 16), (C::Aes192Cbc, 24), (C::Aes256Cbc, 32)] {
        let slot = provider.content_cipher().unwrap();
        let sealed = row(&format!("{cipher:?} encrypt"), true, || slot.encrypt(cipher, &vec![1; key], &[2; 16], b"text").unwrap());
        row(&format!("{cipher:?} decrypt"), true, || slot.decrypt(cipher, &vec![1; key], &[2; 16], &sealed).unwrap());
    }
    let (aead, random) = (provider.aead().unwrap(), provider.random().unwrap());
    for (algorithm, key) in [(AeadAlgorithm::Aes128Gcm, 16), (AeadAlgorithm::Aes256Gcm, 32)] {
        let key = vec![1; key];
        let seal = || aead.seal_with_random_nonce(algorithm, &key, random, b"", b"text").unwrap();
        let (nonce, sealed) = row(&format!("{algorithm:?} seal, nonce drawn inside"), true, seal);
        row(&format!("{algorithm:?} open"), true, || aead.open(algorithm, &key, &nonce, b"", &sealed).unwrap());
    }
    for kek in [16, 32] {
        let slot = provider.key_wrap().unwrap();
        let wrapped = row(&format!("AES-{} key wrap", kek * 8), true, || slot.wrap(&vec![1; kek], &[2; 16]).unwrap());
        row(&format!("AES-{} key unwrap", kek * 8), true, || slot.unwrap(&vec![1; kek], &wrapped).unwrap());
    }
    for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcP256, KeyAlgorithm::EcP384] {
        let pkcs8 = row(&format!("{algorithm:?} generation"), true, || provider.key_generation().unwrap().generate(algorithm).unwrap());
        let key = provider.signing_keys().unwrap().load(&pkcs8).unwrap();
        for signature in key.algorithms() {
            let signed = row(&format!("{signature:?} sign"), true, || sign_now(&*key, signature, b"x").unwrap());
            let verify = || provider.verification().unwrap().verify(signature, &key.public_key(), b"x", &signed).unwrap();
            row(&format!("{signature:?} verify"), true, verify);
        }
        if algorithm != KeyAlgorithm::Rsa2048 {
            let agreement = provider.key_agreement().unwrap();
            let agree = || agreement.agree_ephemeral(&key.public_key()).unwrap();
            let (ephemeral, _) = row(&format!("ECDH {algorithm:?}, ephemeral"), true, agree);
            let recipient = provider.decryption_keys().unwrap().load(&pkcs8).unwrap();
            let request = UnwrapRequest::key_agreement(ephemeral);
            row(&format!("ECDH {algorithm:?}, recipient"), true, || unwrap_now(&*recipient, &request).unwrap());
        }
    }
    // RFC 8032 section 7.1, test 2.
    let hex = |text: &str| (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect::<Vec<u8>>();
    let spki = hex("302a300506032b65700321003d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    let signature = hex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    );
    let verify = || provider.verification().unwrap().verify(SignatureAlgorithm::Ed25519, &spki, &[0x72], &signature).unwrap();
    row("Ed25519 verify", true, verify);
}

#[test]
fn what_is_refused_is_not_counted_either() {
    let free = CryptoProvider::aws_lc_rs();
    let short = || free.pbkdf2().unwrap().derive(DigestAlgorithm::Sha256, &[b'p'; 13], &[7; 16], 1_000, &mut [0; 32]).unwrap();
    row("PBKDF2, password of 13 bytes", false, short);
    let salt = || free.pbkdf2().unwrap().derive(DigestAlgorithm::Sha256, &[b'p'; 14], &[7; 15], 1_000, &mut [0; 32]).unwrap();
    row("PBKDF2, salt of 15 bytes", false, salt);
    let few = || free.pbkdf2().unwrap().derive(DigestAlgorithm::Sha256, &[b'p'; 14], &[7; 16], 999, &mut [0; 32]).unwrap();
    row("PBKDF2, 999 iterations", false, few);
    let seal = || free.aead().unwrap().seal(AeadAlgorithm::Aes256Gcm, &[1; 32], &[2; 12], b"", b"text").unwrap();
    row("AES-256-GCM seal, nonce of the caller", false, seal);
    let des = || free.content_cipher().unwrap().encrypt(ContentCipherAlgorithm::DesEde3Cbc, &[1; 24], &[2; 8], b"text").unwrap();
    row("3DES", false, des);
}

#[test]
fn the_indicator_says_nothing_about_rsa_encryption() {
    // The module has no verdict on RSA encryption: what moves the counter is what happens inside it, so a refused padding moves it too.
    let free = CryptoProvider::aws_lc_rs();
    let pkcs8 = free.key_generation().unwrap().generate(KeyAlgorithm::Rsa2048).unwrap();
    let spki = free.decryption_keys().unwrap().load(&pkcs8).unwrap().public_key();
    for algorithm in [KeyTransportAlgorithm::RsaPkcs1v15, KeyTransportAlgorithm::RsaOaepSha256] {
        let encrypt = || free.key_transport().unwrap().encrypt(algorithm, &spki, b"secret").unwrap();
        let (ciphertext, encrypted) = counts_as_approved(encrypt);
        let key = free.decryption_keys().unwrap().load(&pkcs8).unwrap();
        let request = UnwrapRequest::new(algorithm, ciphertext);
        let (_, decrypted) = counts_as_approved(|| unwrap_now(&*key, &request).unwrap());
        assert!(encrypted, "{algorithm:?}: a verdict would not be for both");
        println!("{algorithm:?}: the counter moves when it encrypts: {encrypted}, when it decrypts: {decrypted}");
    }
}

/// A key of the module whose holder does not say so.
#[derive(Debug)]
struct Outside(Arc<dyn DecryptionKey>);

#[async_trait::async_trait]
impl DecryptionKey for Outside {
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.0.public_key()
    }
    fn is_local(&self) -> bool {
        true
    }
    async fn unwrap(&self, request: &UnwrapRequest) -> Result<SecretBytes, UnwrapError> {
        self.0.unwrap(request).await
    }
}

#[test]
fn a_connector_on_the_module_finds_fault_with_defaults_and_foreign_keys_alone() {
    let provider = CryptoProvider::aws_lc_rs();
    let pkcs8 = provider.key_generation().unwrap().generate(KeyAlgorithm::Rsa2048).unwrap();
    let key = Arc::new(Outside(provider.decryption_keys().unwrap().load(&pkcs8).unwrap()));
    let queue = Arc::new(InMemoryQueue::new());
    let recipients = RecipientPolicy::dangerous_encrypt_to_anyone;
    let build = |key: RecryptKey, oaep: bool| {
        let mut recrypt = RecryptConfig::new(queue.clone(), key, recipients());
        let mut import = ImportConfig::new(queue.clone(), Arc::new(MemoryDecryptionKeys::new()), recipients());
        if oaep {
            recrypt = recrypt.with_envelope(ContentCipherAlgorithm::Aes256Cbc, KeyTransportAlgorithm::RsaOaepSha256);
            import = import.with_envelope(ContentCipherAlgorithm::Aes256Cbc, KeyTransportAlgorithm::RsaOaepSha256);
        }
        let builder = Connector::builder(provider.clone(), Arc::new(VolatileJournal::new()))
            .tenant("contoso.com".parse().unwrap())
            .instance("i1".parse().unwrap())
            .sink(Arc::new(RecordingSink::new()))
            .runtime(Arc::new(StdRuntime::new().unwrap()));
        let built = builder.recrypt(recrypt).import(import).require_fips().build();
        built.map(drop).map_err(|error| error.findings().iter().map(|finding| finding.setting.clone()).collect::<Vec<_>>())
    };
    let now = intune_connector::time::Timestamp::system_now();
    let year = std::time::Duration::from_secs(365 * 86_400);
    let name = intune_connector::message::name::Name::parse_cert_str("CN=connector").unwrap();
    let signer = provider.signing_keys().unwrap().load(&pkcs8).unwrap();
    let serial = intune_connector::ids::SerialNumber::from_be_bytes(&[1]).unwrap();
    let unsigned =
        intune_connector::message::certificate::CertificateBuilder::new(name, &signer.public_key(), now, now.saturating_add(year), serial)
            .to_be_signed(SignatureAlgorithm::RsaPkcs1Sha256)
            .unwrap();
    let signature = sign_now(&*signer, unsigned.algorithm(), unsigned.message()).unwrap();
    let certificate = rustls_pki_types::CertificateDer::from(unsigned.finish(&signature));

    let outside = RecryptKey::new(certificate.clone(), key.clone());
    assert_eq!(build(outside, false).unwrap_err(), ["pkcs-recrypt.envelope", "import.envelope", "pkcs-recrypt.keys[0]"]);
    assert_eq!(build(RecryptKey::new(certificate, key.0.clone()), true), Ok(()));
}
