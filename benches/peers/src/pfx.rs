//! PKCS#12: open, build, open and build again under another password. `floor` is the bare key derivations, ciphers and MAC that the
//! operation cannot do without, called on the slots of the provider that this crate's row uses.

use intune_connector::crypto::{ContentCipherAlgorithm, CryptoProvider, DigestAlgorithm, pkcs12_kdf};
use intune_connector::limits::Limits;
use intune_connector::message::pfx::{self, PfxBuilder, PfxProfile};
use intune_connector::secret::{Password, PrivateKeyPkcs8};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::PKey;
use openssl::x509::X509;
use p12_keystore::{
    Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, LocalKeyId, MacAlgorithm, Pkcs12ImportPolicy, PrivateKey, PrivateKeyChain,
};
use rustls_pki_types::CertificateDer;

use crate::fixtures::{COMPAT, ISSUER, KEY, LEAF, MODERN, MODERN_100000, NAME, NEW_PASSWORD, PASSWORD};
use crate::{Contender, OURS, Row};

/// What a PFX must give: the PKCS#8 key, and the certificates leaf first.
#[derive(PartialEq)]
struct Content {
    key: Vec<u8>,
    certificates: Vec<Vec<u8>>,
}

fn expected() -> Content {
    Content { key: KEY.to_vec(), certificates: vec![LEAF.to_vec(), ISSUER.to_vec()] }
}

fn provider() -> CryptoProvider {
    CryptoProvider::ring_and_aws_lc_rs()
}

fn limits() -> Limits {
    Limits::default()
}

pub fn open_compat() -> Row {
    open(COMPAT, Profile::Compat, 2_048)
}

pub fn open_modern() -> Row {
    open(MODERN, Profile::Modern, 2_048)
}

pub fn open_modern_100000() -> Row {
    open(MODERN_100000, Profile::Modern, 100_000)
}

#[derive(Clone, Copy, PartialEq)]
enum Profile {
    Compat,
    Modern,
}

fn open(file: &'static [u8], profile: Profile, iterations: u32) -> Row {
    let (slots, password) = (provider(), Password::from(PASSWORD));
    let mut contenders = vec![
        Contender::new(OURS, move || pfx::open(file, Some(&password), &slots, &limits()).unwrap()),
        Contender::new("p12-keystore", move || KeyStore::from_pkcs12(file, PASSWORD, Pkcs12ImportPolicy::Strict).unwrap()),
    ];
    if profile == Profile::Modern {
        contenders.push(Contender::new("RustCrypto pkcs12", move || rustcrypto::open(file, PASSWORD)));
    }
    contenders.push(Contender::new("openssl", move || Pkcs12::from_der(file).unwrap().parse2(PASSWORD).unwrap()));
    let slots = provider();
    contenders.push(Contender::new("floor", move || floor(&slots, profile, iterations, Direction::Decrypt)));
    let check = move || {
        assert!(by_us(file, PASSWORD) == expected());
        assert!(by_p12_keystore(file, PASSWORD) == expected(), "p12-keystore");
        assert!(by_openssl(file, PASSWORD) == expected(), "openssl");
        if profile == Profile::Modern {
            let (key, certificates) = rustcrypto::open(file, PASSWORD);
            assert!(Content { key, certificates } == expected(), "RustCrypto");
        }
    };
    Row { contenders, check: Box::new(check) }
}

fn by_us(file: &[u8], password: &str) -> Content {
    let opened = pfx::open(file, Some(&Password::from(password)), &provider(), &limits()).unwrap().into_mac_verified().unwrap();
    let identity = opened.contents().identity().unwrap();
    assert_eq!(identity.key.friendly_name.as_deref(), Some(NAME));
    Content {
        key: identity.key.key.secret_pkcs8_der().to_vec(),
        certificates: identity.certificates().map(|certificate| certificate.der.to_vec()).collect(),
    }
}

fn by_p12_keystore(file: &[u8], password: &str) -> Content {
    let store = KeyStore::from_pkcs12(file, password, Pkcs12ImportPolicy::Strict).unwrap();
    let (_, chain) = store.private_key_chain().unwrap();
    Content {
        key: chain.key().as_der().to_vec(),
        certificates: chain.certs().iter().map(|certificate| certificate.as_der().to_vec()).collect(),
    }
}

fn by_openssl(file: &[u8], password: &str) -> Content {
    let parsed = Pkcs12::from_der(file).unwrap().parse2(password).unwrap();
    let mut certificates = vec![parsed.cert.unwrap().to_der().unwrap()];
    certificates.extend(parsed.ca.iter().flatten().map(|certificate| certificate.to_der().unwrap()));
    // Its encoder for PKCS#8 writes what its own `genpkey` wrote.
    Content { key: parsed.pkey.unwrap().private_key_to_pkcs8().unwrap(), certificates }
}

pub fn build_compat() -> Row {
    build(Profile::Compat)
}

pub fn build_modern() -> Row {
    build(Profile::Modern)
}

const ITERATIONS: u32 = 2_048;

/// Each writer from what it holds in memory: PKCS#8 and certificates in DER for this crate, its own parsed objects for a peer.
fn build(profile: Profile) -> Row {
    let ours = our_writer(profile);
    let store = key_store();
    let (key, leaf, issuer) = openssl_objects();
    let slots = provider();
    let contenders = vec![
        Contender::new(OURS, move || ours(KEY, LEAF, ISSUER)),
        Contender::new("p12-keystore", move || write_p12_keystore(&store, profile, PASSWORD)),
        Contender::new("openssl", move || write_openssl(&key, &leaf, &issuer, profile, PASSWORD)),
        Contender::new("floor", move || floor(&slots, profile, ITERATIONS, Direction::Encrypt)),
    ];
    let check = move || {
        let (key, leaf, issuer) = openssl_objects();
        let files = [
            ("ours", our_writer(profile)(KEY, LEAF, ISSUER)),
            ("p12-keystore", write_p12_keystore(&key_store(), profile, PASSWORD)),
            ("openssl", write_openssl(&key, &leaf, &issuer, profile, PASSWORD)),
        ];
        for (writer, file) in files {
            // Read by someone else than us, with the profile that was asked for.
            assert!(by_openssl(&file, PASSWORD) == expected(), "{writer}");
            let opened = pfx::open(&file, Some(&Password::from(PASSWORD)), &provider(), &limits()).unwrap();
            let mac = opened.mac().unwrap();
            let digest = if profile == Profile::Modern { "SHA-256" } else { "SHA-1" };
            assert_eq!((mac.algorithm(), mac.iterations()), (digest, ITERATIONS), "{writer}");
        }
    };
    Row { contenders, check: Box::new(check) }
}

fn our_writer(profile: Profile) -> impl Fn(&[u8], &[u8], &[u8]) -> Vec<u8> {
    let slots = provider();
    let password = Password::from(PASSWORD);
    move |key, leaf, issuer| write_ours(&PrivateKeyPkcs8::new(key.to_vec()), leaf, issuer, profile, &password, &slots)
}

fn write_ours(key: &PrivateKeyPkcs8, leaf: &[u8], issuer: &[u8], profile: Profile, password: &Password, slots: &CryptoProvider) -> Vec<u8> {
    let (leaf, issuer) = (CertificateDer::from(leaf), CertificateDer::from(issuer));
    let profile = if profile == Profile::Modern { PfxProfile::Modern } else { PfxProfile::Compat };
    let builder = PfxBuilder::new(profile).key(key).certificate(&leaf).chain([&issuer]).friendly_name(NAME).iterations(ITERATIONS);
    builder.build(password, slots).unwrap().secret_bytes().to_vec()
}

fn key_store() -> KeyStore {
    let certificates = [LEAF, ISSUER].map(|der| Certificate::from_der(der).unwrap());
    let chain = PrivateKeyChain::new(LocalKeyId(vec![1, 0, 0, 0]), PrivateKey::from_der(KEY).unwrap(), certificates);
    let mut store = KeyStore::new();
    store.add_entry(NAME, KeyStoreEntry::PrivateKeyChain(chain));
    store
}

fn write_p12_keystore(store: &KeyStore, profile: Profile, password: &str) -> Vec<u8> {
    let (encryption, mac) = match profile {
        Profile::Compat => (EncryptionAlgorithm::PbeWithShaAnd3KeyTripleDesCbc, MacAlgorithm::HmacSha1),
        Profile::Modern => (EncryptionAlgorithm::PbeWithHmacSha256AndAes256, MacAlgorithm::HmacSha256),
    };
    let writer = store.writer(password).encryption_algorithm(encryption).encryption_iterations(ITERATIONS);
    writer.mac_algorithm(mac).mac_iterations(ITERATIONS).write().unwrap()
}

fn openssl_objects() -> (PKey<openssl::pkey::Private>, X509, X509) {
    let key = PKey::private_key_from_pkcs8(KEY).unwrap();
    (key, X509::from_der(LEAF).unwrap(), X509::from_der(ISSUER).unwrap())
}

fn write_openssl(
    key: &openssl::pkey::PKeyRef<openssl::pkey::Private>,
    leaf: &openssl::x509::X509Ref,
    issuer: &X509,
    profile: Profile,
    password: &str,
) -> Vec<u8> {
    let (cipher, digest) = match profile {
        Profile::Compat => (Nid::PBE_WITHSHA1AND3_KEY_TRIPLEDES_CBC, MessageDigest::sha1()),
        Profile::Modern => (Nid::AES_256_CBC, MessageDigest::sha256()),
    };
    let mut chain = openssl::stack::Stack::new().unwrap();
    chain.push(issuer.clone()).unwrap();
    let mut builder = Pkcs12::builder();
    builder.name(NAME).pkey(key).cert(leaf).ca(chain).key_algorithm(cipher).cert_algorithm(cipher);
    builder.key_iter(ITERATIONS).mac_iter(ITERATIONS).mac_md(digest);
    builder.build2(password).unwrap().to_der().unwrap()
}

/// From a Modern file under one password to a Modern file under another.
pub fn reencrypt() -> Row {
    let slots = provider();
    let floor_slots = provider();
    let contenders = vec![
        Contender::new(OURS, move || reencrypt_ours(&slots)),
        Contender::new("p12-keystore", reencrypt_p12_keystore),
        Contender::new("openssl", reencrypt_openssl),
        Contender::new("floor", move || {
            floor(&floor_slots, Profile::Modern, ITERATIONS, Direction::Decrypt);
            floor(&floor_slots, Profile::Modern, ITERATIONS, Direction::Encrypt);
        }),
    ];
    let check = || {
        for file in [reencrypt_ours(&provider()), reencrypt_p12_keystore(), reencrypt_openssl()] {
            assert!(by_openssl(&file, NEW_PASSWORD) == expected());
        }
    };
    Row { contenders, check: Box::new(check) }
}

fn reencrypt_ours(slots: &CryptoProvider) -> Vec<u8> {
    let opened = pfx::open(MODERN, Some(&Password::from(PASSWORD)), slots, &limits()).unwrap().into_mac_verified().unwrap();
    let identity = opened.contents().identity().unwrap();
    let password = Password::from(NEW_PASSWORD);
    write_ours(&identity.key.key, &identity.certificate.der, &identity.chain[0].der, Profile::Modern, &password, slots)
}

fn reencrypt_p12_keystore() -> Vec<u8> {
    let store = KeyStore::from_pkcs12(MODERN, PASSWORD, Pkcs12ImportPolicy::Strict).unwrap();
    write_p12_keystore(&store, Profile::Modern, NEW_PASSWORD)
}

fn reencrypt_openssl() -> Vec<u8> {
    let parsed = Pkcs12::from_der(MODERN).unwrap().parse2(PASSWORD).unwrap();
    let issuer = parsed.ca.as_ref().unwrap().get(0).unwrap().to_owned();
    write_openssl(&parsed.pkey.unwrap(), &parsed.cert.unwrap(), &issuer, Profile::Modern, NEW_PASSWORD)
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Encrypt,
    Decrypt,
}

/// Two safes (the certificates; the key) and the MAC over both.
fn floor(slots: &CryptoProvider, profile: Profile, iterations: u32, direction: Direction) {
    const SALT: &[u8] = b"saltsalt";
    let bmp: Vec<u8> = PASSWORD.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect();
    let digest = slots.digest().unwrap();
    let cipher = slots.content_cipher().unwrap();
    // The lengths of the contents in `fixtures`, in whole blocks; a MAC is over both and what is around them.
    for len in [2_304_usize, 1_216] {
        let (mut key, mut iv) = ([0; 32], [0; 16]);
        let (algorithm, key, iv) = match profile {
            Profile::Modern => {
                let pbkdf2 = slots.pbkdf2().unwrap();
                pbkdf2.derive(DigestAlgorithm::Sha256, PASSWORD.as_bytes(), SALT, iterations, &mut key).unwrap();
                (ContentCipherAlgorithm::Aes256Cbc, &key[..], &iv[..])
            }
            Profile::Compat => {
                pkcs12_kdf(digest, DigestAlgorithm::Sha1, &bmp, SALT, 1, iterations, &mut key[..24]).unwrap();
                pkcs12_kdf(digest, DigestAlgorithm::Sha1, &bmp, SALT, 2, iterations, &mut iv[..8]).unwrap();
                (ContentCipherAlgorithm::DesEde3Cbc, &key[..24], &iv[..8])
            }
        };
        let content = vec![7; len];
        match direction {
            Direction::Encrypt => drop(std::hint::black_box(cipher.encrypt(algorithm, key, iv, &content).unwrap())),
            // The padding of this is wrong, which is found out at the very end.
            Direction::Decrypt => drop(std::hint::black_box(cipher.decrypt(algorithm, key, iv, &content))),
        }
    }
    let algorithm = if profile == Profile::Modern { DigestAlgorithm::Sha256 } else { DigestAlgorithm::Sha1 };
    let mut key = [0; 32];
    let key = &mut key[..algorithm.output_len()];
    pkcs12_kdf(digest, algorithm, &bmp, SALT, 3, iterations, key).unwrap();
    std::hint::black_box(slots.hmac().unwrap().hmac(algorithm, key, &[&[7; 3_700]]).unwrap());
}

/// The crate `pkcs12` has the structures and the key derivation; the rest is put together here as its users must.
mod rustcrypto {
    use cms::content_info::ContentInfo;
    use cms::encrypted_data::EncryptedData;
    use der::asn1::{ContextSpecific, OctetString};
    use der::{Decode, Encode};
    use hmac::{Hmac, Mac};
    use pkcs5::EncryptionScheme;
    use pkcs12::kdf::{Pkcs12KeyType, derive_key_utf8};
    use pkcs12::pfx::Pfx;
    use pkcs12::safe_bag::SafeContents;
    use sha2::Sha256;

    pub fn open(file: &[u8], password: &str) -> (Vec<u8>, Vec<Vec<u8>>) {
        let pfx = Pfx::from_der(file).unwrap();
        let authenticated: OctetString = pfx.auth_safe.content.decode_as().unwrap();
        let mac_data = pfx.mac_data.unwrap();
        assert_eq!(mac_data.mac.algorithm.oid, const_oid::db::rfc5912::ID_SHA_256);
        let salt = mac_data.mac_salt.as_bytes();
        let key = derive_key_utf8::<Sha256>(password, salt, Pkcs12KeyType::Mac, mac_data.iterations, 32).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(authenticated.as_bytes());
        mac.verify_slice(mac_data.mac.digest.as_bytes()).unwrap();

        let (mut private_key, mut certificates) = (Vec::new(), Vec::new());
        for safe in Vec::<ContentInfo>::from_der(authenticated.as_bytes()).unwrap() {
            let contents = match safe.content_type {
                const_oid::db::rfc5911::ID_DATA => safe.content.decode_as::<OctetString>().unwrap().into_bytes(),
                const_oid::db::rfc5911::ID_ENCRYPTED_DATA => {
                    let encrypted: EncryptedData = safe.content.decode_as().unwrap();
                    let info = encrypted.enc_content_info;
                    let algorithm = info.content_enc_alg.to_der().unwrap();
                    let ciphertext = info.encrypted_content.unwrap();
                    EncryptionScheme::from_der(&algorithm).unwrap().decrypt(password, ciphertext.as_bytes()).unwrap()
                }
                other => panic!("{other}"),
            };
            for bag in SafeContents::from_der(&contents).unwrap() {
                match bag.bag_id {
                    pkcs12::PKCS_12_CERT_BAG_OID => {
                        let bag: ContextSpecific<pkcs12::cert_type::CertBag> = ContextSpecific::from_der(&bag.bag_value).unwrap();
                        certificates.push(bag.value.cert_value.into_bytes());
                    }
                    pkcs12::PKCS_12_PKCS8_KEY_BAG_OID => {
                        let bag: ContextSpecific<pkcs12::pbe_params::EncryptedPrivateKeyInfo> =
                            ContextSpecific::from_der(&bag.bag_value).unwrap();
                        let algorithm = bag.value.encryption_algorithm.to_der().unwrap();
                        let scheme = EncryptionScheme::from_der(&algorithm).unwrap();
                        private_key = scheme.decrypt(password, bag.value.encrypted_data.as_bytes()).unwrap();
                    }
                    other => panic!("{other}"),
                }
            }
        }
        (private_key, certificates)
    }
}
