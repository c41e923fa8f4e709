//! Structure-aware: the input decides what a file holds and how it is encoded; what opens must be that and nothing else, and no change
//! after the MAC was made may pass as verified.

use std::sync::{Arc, OnceLock};

use intune_connector::crypto::{
    ContentCipherAlgorithm, CryptoError, CryptoProvider, Digest, DigestAlgorithm, DigestOutput, Pbkdf2, pkcs12_kdf,
};
use intune_connector::limits::Limits;
use intune_connector::message::pfx::{
    self, CertificateProtection, OpenedPfx, OtherBagKind, Pbes2Cipher, PfxBuilder, PfxContents, PfxDigest, PfxEncryption, PfxErrorKind,
    PfxIdentity, PfxIntegrity, PfxProfile, PfxProtection, TrustedCertificate, WindowsKeyUsage, WindowsStore,
};
use intune_connector::message::reencrypt::reencrypt_pfx;
use intune_connector::secret::Password;

use super::fixed;

/// A file from `PfxBuilder`, or one put together bag by bag in any BER that a writer may choose.
pub fn pfx_build(data: &[u8]) {
    let mut choices = Choices(data);
    if choices.below(2) == 0 { built(&mut choices) } else { assembled(&mut choices) }
}

/// Decisions taken from the input; when it is used up, every decision is the first one.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    fn bytes(&mut self, most: usize) -> &'a [u8] {
        let len = self.below(most + 1).min(self.0.len());
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    fn text(&mut self, most: usize) -> String {
        String::from_utf8_lossy(self.bytes(most)).into_owned()
    }
}

/// Key derivation that costs nothing: 2,000 rounds, the fewest that the writer takes, would be all that is fuzzed.
fn cheap() -> &'static CryptoProvider {
    static PROVIDER: OnceLock<CryptoProvider> = OnceLock::new();
    PROVIDER.get_or_init(|| CryptoProvider::ring_and_aws_lc_rs().with_digest(Arc::new(CheapDigest)).with_pbkdf2(Arc::new(OneRound)))
}

#[derive(Debug)]
struct CheapDigest;

impl Digest for CheapDigest {
    fn digest(&self, algorithm: DigestAlgorithm, parts: &[&[u8]]) -> Result<DigestOutput, CryptoError> {
        let mut state = 0xcbf2_9ce4_8422_2325_u64;
        for part in parts {
            for chunk in part.chunks(8) {
                let word = chunk.iter().fold(chunk.len() as u64, |word, byte| word.rotate_left(8) ^ u64::from(*byte));
                state = (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
            }
        }
        let mut out = [0; 64];
        for chunk in out[..algorithm.output_len()].chunks_mut(8) {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            chunk.copy_from_slice(&(state ^ state >> 31).to_be_bytes()[..chunk.len()]);
        }
        DigestOutput::new(&out[..algorithm.output_len()])
    }
}

#[derive(Debug)]
struct OneRound;

impl Pbkdf2 for OneRound {
    fn derive(&self, prf: DigestAlgorithm, password: &[u8], salt: &[u8], _: u32, out: &mut [u8]) -> Result<(), CryptoError> {
        CryptoProvider::ring_and_aws_lc_rs().pbkdf2().map_err(|_| CryptoError::Failed)?.derive(prf, password, salt, 1, out)
    }
}

/// DER, friendlyName, localKeyId.
type Named = (Vec<u8>, Option<String>, Option<Vec<u8>>);

/// What is compared: everything that a caller gets.
#[derive(Debug, PartialEq, Eq, Default)]
struct Snapshot {
    keys: Vec<Named>,
    certificates: Vec<Named>,
    others: Vec<(OtherBagKind, Vec<u8>)>,
}

impl Snapshot {
    fn of(contents: &PfxContents) -> Self {
        let keys = contents.keys.iter();
        let certificates = contents.certificates.iter();
        Self {
            keys: keys.map(|key| (key.key.secret_pkcs8_der().to_vec(), key.friendly_name.clone(), key.local_key_id.clone())).collect(),
            certificates: certificates.map(|it| (it.der.to_vec(), it.friendly_name.clone(), it.local_key_id.clone())).collect(),
            others: contents.others.iter().map(|other| (other.kind, other.value.secret_bytes().to_vec())).collect(),
        }
    }
}

/// Changes the file as the rest of the input says: only what the MAC does not cover may change and still pass as verified.
fn no_change_passes(file: &[u8], password: &Password, whole: &Snapshot, provider: &CryptoProvider, choices: &mut Choices<'_>) {
    let mut changed = file.to_vec();
    for _ in 0..=choices.below(3) {
        let at = (choices.below(256) << 8 | choices.below(256)) % changed.len();
        match choices.below(3) {
            0 => changed[at] ^= 1 << choices.below(8),
            1 => changed[at] = choices.byte(),
            _ => drop(changed.splice(at..at, choices.bytes(8).iter().copied())),
        }
    }
    if let Ok(OpenedPfx::MacVerified(verified)) = pfx::open(&changed, password, provider, &Limits::default()) {
        assert!(Snapshot::of(verified.contents()) == *whole, "a changed file passed as verified");
    }
}

fn protection(choices: &mut Choices<'_>) -> PfxProtection {
    let iterations = 2_000 + u32::from(choices.byte());
    match choices.below(4) {
        0 => return PfxProtection::from(PfxProfile::Modern).iterations(iterations),
        1 => return PfxProtection::from(PfxProfile::Compat).iterations(iterations),
        2 => return PfxProtection::from(PfxProfile::Pbmac1).iterations(iterations),
        _ => {}
    }
    let digests = [PfxDigest::Sha1, PfxDigest::Sha224, PfxDigest::Sha256, PfxDigest::Sha384, PfxDigest::Sha512];
    let ciphers = [Pbes2Cipher::Aes128Cbc, Pbes2Cipher::Aes192Cbc, Pbes2Cipher::Aes256Cbc];
    let mut encryption = || match choices.below(3) {
        0 => PfxEncryption::Pbes1TripleDes { iterations },
        _ => PfxEncryption::Pbes2 { cipher: ciphers[choices.below(3)], prf: digests[choices.below(5)], iterations },
    };
    let (keys, mut certificates) = (encryption(), CertificateProtection::Encrypted(encryption()));
    if choices.below(3) == 0 {
        certificates = CertificateProtection::Clear;
    }
    let integrity = match choices.below(3) {
        0 => PfxIntegrity::Mac { digest: digests[choices.below(5)], iterations },
        1 => PfxIntegrity::Pbmac1 { prf: digests[choices.below(5)], hmac: digests[choices.below(5)], iterations },
        _ => PfxIntegrity::DangerouslyNone,
    };
    PfxProtection::new(keys, certificates, integrity)
}

fn built(choices: &mut Choices<'_>) {
    let provider = cheap();
    let protection = protection(choices);
    let identity = if choices.below(2) == 0 { fixed::ec() } else { fixed::rsa() };
    let chain = [fixed::ca()];
    let (name, csp) = (choices.text(80), choices.text(20));
    let password = choices.text(80);
    let mut builder = PfxBuilder::new(protection).key(identity.key()).certificate(identity.certificate());
    let with = choices.byte();
    if with & 1 != 0 {
        builder = builder.friendly_name(&name);
    }
    if with & 2 != 0 {
        builder = builder.csp_name(&csp);
    }
    if with & 4 != 0 {
        builder = builder.chain(&chain);
    }
    if with & 8 != 0 {
        builder = builder.windows_store(WindowsStore::Machine);
    }
    if with & 16 != 0 {
        builder = builder.trusted_certificate(TrustedCertificate::new(&chain[0]));
    }
    if with & 32 != 0 {
        builder = builder.windows_key_usage(WindowsKeyUsage::Exchange);
    }
    let second = fixed::second();
    if with & 64 != 0 {
        builder = builder.identity(PfxIdentity::new(second.key(), second.certificate()).chain(&chain));
    }
    let typed = Password::from(password.as_str());
    let file = match builder.build(&typed, provider) {
        Ok(file) => file,
        Err(error) => {
            assert_eq!(error.kind(), PfxErrorKind::InvalidInput, "{error}");
            let odd = |text: &str| text.is_empty() || text.chars().any(|c| c.is_control() || u32::from(c) > 0xffff);
            let protects_nothing = password.chars().all(|character| character == '\0');
            assert!(protects_nothing || with & 1 != 0 && odd(&name) || with & 2 != 0 && odd(&csp), "{error}");
            return;
        }
    };
    let opened = pfx::open(file.secret_bytes(), &typed, provider, &Limits::default()).expect("what is written opens");
    assert_eq!(opened.mac().is_none(), matches!(protection.integrity, PfxIntegrity::DangerouslyNone));
    let mut identities = opened.contents().identities();
    let found = identities.next().expect("a key with its certificate");
    // The key usage of Windows is written into the structure of the key.
    if with & 32 == 0 {
        assert!(found.key.key.secret_pkcs8_der() == identity.key().secret_pkcs8_der(), "another key");
    }
    assert_eq!(found.certificate.der, *identity.certificate());
    assert_eq!(found.chain.len(), usize::from(with & (4 | 16 | 64) != 0));
    assert_eq!(found.key.friendly_name.as_deref(), (with & 1 != 0).then_some(name.as_str()));
    assert_eq!(identities.count(), usize::from(with & 64 != 0));
    let longer = Password::from(format!("{password}x"));
    assert!(pfx::open(file.secret_bytes(), &longer, provider, &Limits::default()).is_err(), "another password opens it");
    no_change_passes(file.secret_bytes(), &typed, &Snapshot::of(opened.contents()), provider, choices);
}

fn assembled(choices: &mut Choices<'_>) {
    let provider = super::provider();
    let password = choices.text(20);
    let typed = Password::from(password.as_str());
    let mut writer = Writer { choices, provider: &provider, password: &password, model: Snapshot::default() };
    let mut safes = Vec::new();
    for _ in 0..writer.choices.below(4) {
        safes.push(writer.safe());
    }
    let safes = writer.constructed(0x30, &safes);
    let auth_safe = writer.data(&safes);
    let version = vec![2, 1, 3];
    let has_mac = writer.choices.below(4) != 0;
    let mut parts = vec![version, auth_safe];
    if has_mac {
        let mac = writer.mac(&safes);
        parts.push(mac);
    }
    let file = writer.constructed(0x30, &parts);
    let model = core::mem::take(&mut writer.model);
    let opened = pfx::open(&file, &typed, &provider, &Limits::default()).unwrap_or_else(|error| panic!("{error}: {file:02x?}"));
    assert_eq!(matches!(opened, OpenedPfx::MacVerified(_)), has_mac);
    let found = Snapshot::of(opened.contents());
    assert!(found.keys == model.keys, "keys");
    assert!(found.certificates == model.certificates, "certificates");
    assert_eq!(found.others, model.others);
    let _ = (opened.contents().identities().map(|identity| identity.certificates().count()).sum::<usize>(), format!("{opened:?}"));
    if has_mac && choices.below(4) == 0 {
        reencrypted(&opened, &model, choices);
    }
    no_change_passes(&file, &typed, &model, &provider, choices);
}

/// What a file holds comes out of the file that it is written into again; certificates once each.
fn reencrypted(opened: &OpenedPfx, model: &Snapshot, choices: &mut Choices<'_>) {
    let (protection, password) = (protection(choices), Password::from("another"));
    match reencrypt_pfx(opened, protection, &password, cheap()) {
        Ok(again) => {
            let again = pfx::open(again.pfx.secret_bytes(), &password, cheap(), &Limits::default()).expect("what is written opens");
            let found = Snapshot::of(again.contents());
            let sorted = |all: &[Named]| {
                let mut all = all.iter().map(|(der, ..)| der.clone()).collect::<Vec<_>>();
                all.sort();
                all
            };
            let mut certificates = sorted(&model.certificates);
            certificates.dedup();
            assert!(sorted(&found.keys) == sorted(&model.keys), "other keys");
            assert!(sorted(&found.certificates) == certificates, "other certificates");
            assert!(found.others.len() <= model.others.len(), "other bags");
        }
        Err(error) => {
            assert!(error.kind() == PfxErrorKind::InvalidInput && model.keys.is_empty() && model.certificates.is_empty(), "{error}")
        }
    }
}

/// Writes BER in the form that the choices say and notes what it wrote.
struct Writer<'c, 'a> {
    choices: &'c mut Choices<'a>,
    provider: &'c CryptoProvider,
    password: &'c str,
    model: Snapshot,
}

const OID_DATA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
const OID_ENCRYPTED_DATA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 6];
const OID_X509: &[u8] = &[6, 10, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 22, 1];
const OID_CRL: &[u8] = &[6, 10, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 23, 1];
const OID_FRIENDLY_NAME: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 20];
const OID_LOCAL_KEY_ID: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 21];
const OID_3DES: &[u8] = &[6, 10, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 1, 3];
const OID_PBES2: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 13];
const OID_PBKDF2: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 12];
const OID_HMAC_SHA256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 9];
const OID_AES_256_CBC: &[u8] = &[6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 0x2a];
const OID_SHA256: &[u8] = &[6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
const OID_UNKNOWN: &[u8] = &[6, 3, 0x2a, 3, 4];
const ONCE: &[u8] = &[2, 1, 1];

/// `bagtypes` of RFC 7292 appendix D with their last arc.
fn bag_type(arc: u8) -> Vec<u8> {
    vec![6, 11, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1, arc]
}

fn definite(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match contents.len() {
        len @ 0..=0x7f => out.push(len as u8),
        len => out.extend([&[0x84][..], &(len as u32).to_be_bytes()].concat()),
    }
    out.extend_from_slice(contents);
    out
}

fn bmp(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

impl Writer<'_, '_> {
    /// A constructed element, of definite or indefinite length.
    fn constructed(&mut self, tag: u8, parts: &[impl AsRef<[u8]>]) -> Vec<u8> {
        let contents = parts.iter().flat_map(|part| part.as_ref()).copied().collect::<Vec<_>>();
        if self.choices.below(3) == 1 { [&[tag, 0x80], &contents[..], &[0, 0]].concat() } else { definite(tag, &contents) }
    }

    /// A string with this tag: whole or in chunks.
    fn string(&mut self, tag: u8, contents: &[u8]) -> Vec<u8> {
        if self.choices.below(3) != 1 {
            return definite(tag, contents);
        }
        let chunk = 1 + self.choices.below(200) + contents.len() / 8;
        let chunks = contents.chunks(chunk).map(|chunk| definite(4, chunk)).collect::<Vec<_>>();
        self.constructed(tag | 0x20, &chunks)
    }

    fn content(&mut self, id: &[u8], content: &[u8]) -> Vec<u8> {
        let explicit = self.constructed(0xa0, &[content]);
        self.constructed(0x30, &[id, &explicit])
    }

    fn data(&mut self, contents: &[u8]) -> Vec<u8> {
        let octets = self.string(4, contents);
        self.content(OID_DATA, &octets)
    }

    fn safe(&mut self) -> Vec<u8> {
        let bags = self.bags(0);
        let contents = self.constructed(0x30, &bags);
        if self.choices.below(2) == 0 {
            return self.data(&contents);
        }
        let (algorithm, ciphertext) = self.encrypt(&contents);
        let content = self.string(0x80, &ciphertext);
        let info = self.constructed(0x30, &[OID_DATA, &algorithm, &content]);
        let encrypted = self.constructed(0x30, &[&[2, 1, 0][..], &info]);
        self.content(OID_ENCRYPTED_DATA, &encrypted)
    }

    fn encrypt(&mut self, plaintext: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (salt, cipher) = (self.choices.bytes(20), self.provider.content_cipher().expect("the slot"));
        let salt_octets = self.string(4, salt);
        if self.choices.below(2) == 0 {
            let (mut key, iv) = ([0; 32], [7; 16]);
            let kdf = self.provider.pbkdf2().expect("the slot");
            kdf.derive(DigestAlgorithm::Sha256, self.password.as_bytes(), salt, 1, &mut key).expect("it derives");
            let prf = self.constructed(0x30, &[OID_HMAC_SHA256, &[5, 0]]);
            let parameters = self.constructed(0x30, &[&salt_octets[..], ONCE, &prf]);
            let kdf = self.constructed(0x30, &[OID_PBKDF2, &parameters]);
            let iv_octets = self.string(4, &iv);
            let scheme = self.constructed(0x30, &[OID_AES_256_CBC, &iv_octets]);
            let parameters = self.constructed(0x30, &[kdf, scheme]);
            let ciphertext = cipher.encrypt(ContentCipherAlgorithm::Aes256Cbc, &key, &iv, plaintext).expect("it encrypts");
            (self.constructed(0x30, &[OID_PBES2, &parameters]), ciphertext)
        } else {
            let (mut key, mut iv) = ([0; 24], [0; 8]);
            self.derive(DigestAlgorithm::Sha1, salt, 1, &mut key);
            self.derive(DigestAlgorithm::Sha1, salt, 2, &mut iv);
            let parameters = self.constructed(0x30, &[&salt_octets[..], ONCE]);
            let ciphertext = cipher.encrypt(ContentCipherAlgorithm::DesEde3Cbc, &key, &iv, plaintext).expect("it encrypts");
            (self.constructed(0x30, &[OID_3DES, &parameters]), ciphertext)
        }
    }

    fn derive(&self, digest: DigestAlgorithm, salt: &[u8], id: u8, out: &mut [u8]) {
        let password = [&bmp(self.password)[..], &[0, 0]].concat();
        pkcs12_kdf(self.provider.digest().expect("the slot"), digest, &password, salt, id, 1, out).expect("it derives");
    }

    fn mac(&mut self, auth_safe: &[u8]) -> Vec<u8> {
        let (salt, mut key) = (self.choices.bytes(20), [0; 32]);
        self.derive(DigestAlgorithm::Sha256, salt, 3, &mut key);
        let mac = self.provider.hmac().expect("the slot").hmac(DigestAlgorithm::Sha256, &key, &[auth_safe]).expect("a MAC");
        let algorithm = self.constructed(0x30, &[OID_SHA256, &[5, 0]]);
        let value = self.string(4, mac.as_ref());
        let info = self.constructed(0x30, &[algorithm, value]);
        let salt = self.string(4, salt);
        let count: &[u8] = if self.choices.below(2) == 0 { &[] } else { ONCE };
        self.constructed(0x30, &[&info[..], &salt, count])
    }

    fn bags(&mut self, depth: usize) -> Vec<Vec<u8>> {
        (0..self.choices.below(4)).map(|_| self.bag(depth)).collect()
    }

    fn bag(&mut self, depth: usize) -> Vec<u8> {
        let (key, certificate) = match self.choices.below(3) {
            0 => (fixed::ec().key(), fixed::ec().certificate().clone()),
            1 => (fixed::rsa().key(), fixed::rsa().certificate().clone()),
            _ => (fixed::ec().key(), fixed::ca()),
        };
        match self.choices.below(7) {
            0 => {
                let octets = self.string(4, &certificate);
                let value = self.content(OID_X509, &octets);
                let (attributes, name, id) = self.attributes();
                self.model.certificates.push((certificate.to_vec(), name, id));
                self.whole(3, &value, attributes)
            }
            1 => {
                let (attributes, name, id) = self.attributes();
                self.model.keys.push((key.secret_pkcs8_der().to_vec(), name, id));
                self.whole(1, key.secret_pkcs8_der(), attributes)
            }
            2 => {
                let (algorithm, ciphertext) = self.encrypt(key.secret_pkcs8_der());
                let octets = self.string(4, &ciphertext);
                let value = self.constructed(0x30, &[algorithm, octets]);
                let (attributes, name, id) = self.attributes();
                self.model.keys.push((key.secret_pkcs8_der().to_vec(), name, id));
                self.whole(2, &value, attributes)
            }
            3 if depth < 3 => {
                let bags = self.bags(depth + 1);
                let value = self.constructed(0x30, &bags);
                self.whole(6, &value, None)
            }
            4 => self.other(4, OtherBagKind::Crl, OID_CRL),
            5 => self.other(5, OtherBagKind::Secret, OID_UNKNOWN),
            _ => {
                let value = definite(4, self.choices.bytes(30));
                let (attributes, ..) = self.attributes();
                self.model.others.push((OtherBagKind::Unknown, value.clone()));
                self.whole(77, &value, attributes)
            }
        }
    }

    fn other(&mut self, arc: u8, kind: OtherBagKind, id: &[u8]) -> Vec<u8> {
        let contents = self.choices.bytes(30);
        let inner = self.string(4, contents);
        let value = self.content(id, &inner);
        let (attributes, ..) = self.attributes();
        self.model.others.push((kind, inner));
        self.whole(arc, &value, attributes)
    }

    fn whole(&mut self, arc: u8, value: &[u8], attributes: Option<Vec<u8>>) -> Vec<u8> {
        let explicit = self.constructed(0xa0, &[value]);
        let bag = bag_type(arc);
        match attributes {
            Some(attributes) => self.constructed(0x30, &[bag, explicit, attributes]),
            None => self.constructed(0x30, &[bag, explicit]),
        }
    }

    /// The attributes' SET, the name and the identifier in it.
    fn attributes(&mut self) -> (Option<Vec<u8>>, Option<String>, Option<Vec<u8>>) {
        let with = self.choices.byte();
        let (mut all, mut name, mut id) = (Vec::new(), None, None);
        if with & 1 != 0 {
            let text = self.choices.text(30);
            let value = definite(0x1e, &bmp(&text));
            all.push(self.attribute(OID_FRIENDLY_NAME, &value));
            // The reader drops terminating zeros, as C programs write them.
            name = Some(text.trim_end_matches('\0').to_owned());
        }
        if with & 2 != 0 {
            let octets = self.choices.bytes(30);
            let value = self.string(4, octets);
            all.push(self.attribute(OID_LOCAL_KEY_ID, &value));
            id = Some(octets.to_vec());
        }
        if with & 4 != 0 {
            let value = definite(4, self.choices.bytes(30));
            all.push(self.attribute(OID_UNKNOWN, &value));
        }
        let set = (with & 8 != 0 || !all.is_empty()).then(|| self.constructed(0x31, &all));
        (set, name, id)
    }

    fn attribute(&mut self, id: &[u8], value: &[u8]) -> Vec<u8> {
        let values = self.constructed(0x31, &[value]);
        self.constructed(0x30, &[id, &values])
    }
}
