//! The rows about PFX files.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use intune_connector::crypto::CryptoProvider;
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::path::verify_chain;
use intune_connector::message::pfx::{self, PfxBuilder, PfxErrorKind, PfxPasswords, PfxProfile};
use intune_connector::secret::Password;
use intune_connector::terms::KeyAlgorithm;
use intune_connector::time::Timestamp;

use crate::make::{
    CERT_BAG, DATA, ENVELOPED_DATA, FRIENDLY_NAME, LOCAL_KEY_ID, SAFE_CONTENTS_BAG, algorithm, attribute, cert_bag, content_info,
    encrypted_safe, integer, mac, mac_data, oid, open, open_under, pbes2, pfx as pfx_file, pfx_of, pfx_pbmac1, safe, sequence, tlv,
};
use crate::pki::{self, Identity};
use crate::support;

static ROOT: LazyLock<Identity> = LazyLock::new(|| pki::root(&CryptoProvider::ring_and_aws_lc_rs(), "Lessons"));

fn certificate() -> &'static [u8] {
    &ROOT.certificate
}

/// Opens each file of the corpus with the manifest's password; `check` says what must come of it.
fn corpus(files: &[&str], check: impl Fn(&str, Result<pfx::OpenedPfx, PfxErrorKind>)) {
    let Some(folder) = support::vectors() else { return };
    let manifest = std::fs::read_to_string(folder.join("manifest.tsv")).unwrap();
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    for file in files {
        let row = manifest.lines().find(|row| row.split('\t').next() == Some(file)).unwrap_or_else(|| panic!("{file} has no row"));
        let password = match row.split('\t').nth(2) {
            Some("(absent)") | None => None,
            Some(password) => Some(Password::from(password)),
        };
        let der = std::fs::read(folder.join(file)).unwrap();
        let start = Instant::now();
        let outcome = pfx::open(&der, PfxPasswords::from(password.as_ref()), &provider, &Limits::default());
        assert!(start.elapsed() < Duration::from_secs(5), "{file} took {:?}", start.elapsed());
        check(file, outcome.map_err(|error| error.kind()));
    }
}

fn all_refused(files: &[&str]) {
    corpus(files, |file, outcome| assert!(outcome.is_err(), "{file} opens"));
}

fn kind(der: &[u8]) -> PfxErrorKind {
    match open(der) {
        Err(error) => error.kind(),
        Ok(_) => panic!("it opens"),
    }
}

#[test]
fn control_what_is_assembled_here_opens_when_nothing_is_wrong_with_it() {
    let opened = open(&pfx_of(&[&safe(&[&cert_bag(certificate(), &[])])])).unwrap();
    assert_eq!(opened.contents().certificates[0].der, ROOT.certificate);
    assert!(opened.into_mac_verified().is_ok());
}

// CVE-2024-0727: OpenSSL took a missing content for one that is there.
#[test]
fn content_info_without_content_is_damage_outside_and_inside() {
    assert_eq!(kind(&sequence(&[&integer(&[3]), &content_info(DATA, &[])])), PfxErrorKind::Damaged);
    assert_eq!(kind(&sequence(&[&integer(&[3]), &content_info(DATA, &[]), &mac_data(&[0; 32], &[])])), PfxErrorKind::Damaged);
    assert_eq!(kind(&pfx_of(&[&content_info(DATA, &[])])), PfxErrorKind::Damaged);
    assert_eq!(kind(&pfx_of(&[&content_info(crate::make::ENCRYPTED_DATA, &[])])), PfxErrorKind::Damaged);
    all_refused(&[
        "openssl/bad1.p12",
        "openssl/bad2.p12",
        "openssl/bad3.p12",
        "aws-lc/null_contentinfo_root.p12",
        "aws-lc/null_contentinfo_child.p12",
        "generated/hm-no-content.p12",
    ]);
}

// CVE-2025-69421: a NULL dereference where there was nothing to decrypt.
#[test]
fn missing_encrypted_content_is_an_error_and_not_an_empty_safe() {
    for ciphertext in [None, Some(&[][..]), Some(&[0; 15])] {
        let error = kind(&pfx_of(&[&encrypted_safe(&pbes2(&[1]), ciphertext)]));
        assert!(matches!(error, PfxErrorKind::Damaged | PfxErrorKind::WrongPassword), "{ciphertext:?}: {error}");
    }
    all_refused(&["generated/hm-empty-ct.p12"]);
    corpus(&["generated/hm-enc-no-content.p12"], |file, outcome| {
        assert!(!outcome.is_ok_and(|opened| opened.contents().certificates.is_empty()), "{file}: nothing, without a word");
    });
}

// CVE-2026-22795: an attribute's value read as a type that it is not.
#[test]
fn attributes_of_unexpected_types_lose_at_most_themselves() {
    for value in
        [&[5, 0][..], &[2, 1, 9], &[0x30, 0], &[4, 2, 1, 2], &[0x1e, 0], &[0x0c, 1, 0xff], &[0x01, 1, 0xff], &[0x3e, 4, 0x1e, 2, 0, 65]]
    {
        for name in [FRIENDLY_NAME, LOCAL_KEY_ID] {
            let bag = cert_bag(certificate(), &[&attribute(name, &[value])]);
            let opened = open(&pfx_of(&[&safe(&[&bag])])).unwrap_or_else(|error| panic!("{name} {value:?}: {error}"));
            assert_eq!(opened.contents().certificates[0].der, ROOT.certificate);
        }
    }
    let empty = cert_bag(certificate(), &[&attribute(FRIENDLY_NAME, &[])]);
    assert_eq!(open(&pfx_of(&[&safe(&[&empty])])).unwrap().contents().certificates[0].friendly_name, None);
    // A bag value of another type than its bag says is damage.
    let confused = sequence(&[&oid(CERT_BAG), &tlv(0xa0, &[&integer(&[1])])]);
    assert_eq!(kind(&pfx_of(&[&safe(&[&confused])])), PfxErrorKind::Damaged);
    all_refused(&["generated/hm-type-confusion.p12"]);
    corpus(&["generated/hm-friendly-utf8.p12", "generated/hm-empty-bagattrs.p12"], |file, outcome| assert!(outcome.is_ok(), "{file}"));
}

// CVE-2025-69419, CVE-2026-7383, CVE-2023-0767: wrong lengths on the way from BMPString to UTF-8.
#[test]
fn friendly_name_lengths_are_counted_in_the_right_unit() {
    let name_of = |octets: &[u8]| {
        let bag = cert_bag(certificate(), &[&attribute(FRIENDLY_NAME, &[&tlv(0x1e, &[octets])])]);
        let mut limits = Limits::default();
        limits.input_bytes = 8 << 20;
        let opened = open_under(&pfx_of(&[&safe(&[&bag])]), &limits).unwrap();
        assert_eq!(opened.contents().certificates.len(), 1);
        opened.contents().certificates[0].friendly_name.clone()
    };
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>();
    for text in ["a", "żółć", "漢字\u{ffee}", "😀"] {
        assert_eq!(name_of(&utf16(text)).as_deref(), Some(text));
    }
    // Not text: no name, or one with a mark, and never a panic or another name.
    for octets in [&[0xd8, 0][..], &[0xdc, 0], &[0xd8, 0, 0, 65], &[0xdc, 0, 0xd8, 0]] {
        let name = name_of(octets);
        assert!(name.as_deref().is_none_or(|name| name.contains('\u{fffd}')), "{octets:?}: {name:?}");
    }
    // Half a character at the end is not read beyond.
    for (octets, whole) in [(&[0, 65, 0][..], "A"), (&[0, 65, 66], "A"), (&[0], ""), (&[65], "")] {
        let name = name_of(octets);
        assert!(name.as_deref().is_none_or(|name| name == whole || name == format!("{whole}\u{fffd}")), "{octets:?}: {name:?}");
    }
    // Three bytes of UTF-8 for each two of UTF-16, a megabyte of them.
    let long = "\u{ffee}".repeat(500_000);
    assert!(name_of(&utf16(&long)).is_none_or(|name| name == long));
}

// CVE-2025-11187, CVE-2026-34181: a key of one byte is guessed, so the MAC proves nothing.
#[test]
fn pbmac1_parameters_must_say_a_key_of_20_to_64_bytes_and_the_full_mac() {
    let auth_safe = sequence(&[&safe(&[&cert_bag(certificate(), &[])])]);
    let keep = |_: &mut Vec<u8>| {};
    for key_len in [20u8, 32, 64] {
        assert!(open(&pfx_pbmac1(&auth_safe, key_len.into(), &integer(&[key_len]), keep)).is_ok(), "{key_len}");
    }
    // Each of these MACs is right under the key that the file says.
    for key_len in [1u8, 8, 19, 65, 127] {
        assert!(open(&pfx_pbmac1(&auth_safe, key_len.into(), &integer(&[key_len]), keep)).is_err(), "{key_len}");
    }
    assert!(open(&pfx_pbmac1(&auth_safe, 32, &[], keep)).is_err(), "keyLength left out");
    for (encoded, what) in
        [(&[0][..], "zero"), (&[0xff], "negative"), (&[0x7f, 0xff, 0xff, 0xff], "2^31-1"), (&[1, 0, 0, 0, 0, 0, 0, 0, 32], "2^64")]
    {
        let start = Instant::now();
        assert!(open(&pfx_pbmac1(&auth_safe, 32, &integer(encoded), keep)).is_err(), "{what}");
        assert!(start.elapsed() < Duration::from_secs(2), "{what}");
    }
    for len in [0, 1, 20, 31] {
        assert!(open(&pfx_pbmac1(&auth_safe, 32, &integer(&[32]), |mac| mac.truncate(len))).is_err(), "a MAC of {len} bytes");
    }
    assert!(open(&pfx_pbmac1(&auth_safe, 32, &integer(&[32]), |mac| mac.push(0))).is_err(), "a longer MAC");
    let names = [
        "bad-iter",
        "bad-salt",
        "no-len",
        "bad-len",
        "bad-salt-type",
        "negative-len",
        "no-salt",
        "very-big-len",
        "zero-len",
        "bad-key-len",
    ];
    let files: Vec<String> = names.iter().map(|name| format!("openssl/pbmac1_256_256.{name}.p12")).collect();
    all_refused(&files.iter().map(String::as_str).collect::<Vec<_>>());
    all_refused(&[
        "gnutls/pbmac1_256_256.short-len.p12",
        "gnutls/pbmac1_256_256.truncated-mac.p12",
        "gnutls/pbmac1_256_256.extended-mac.p12",
        "go-pkcs12/pbmac1-short-key-bypass.p12",
    ]);
}

// CVE-2023-29331: work before anything is proven, here bounded for the whole file.
#[test]
fn derivation_bombs_cost_nothing_before_the_limit_refuses_them() {
    let start = Instant::now();
    let auth_safe = sequence(&[&safe(&[&cert_bag(certificate(), &[])])]);
    for iterations in [&[0x7f, 0xff, 0xff, 0xff][..], &[0x3b, 0x9a, 0xca, 0]] {
        let error = kind(&pfx_file(&auth_safe, &mac_data(&[0; 32], &integer(iterations))));
        assert_eq!(error, PfxErrorKind::LimitExceeded);
        assert_eq!(kind(&pfx_of(&[&encrypted_safe(&pbes2(iterations), Some(&[0; 16]))])), PfxErrorKind::LimitExceeded);
    }
    // Each safe is under the limit; their sum is not, and is known before the first is derived.
    let one = encrypted_safe(&pbes2(&[1, 0x86, 0xa0]), Some(&[0; 16]));
    let many: Vec<&[u8]> = core::iter::repeat_n(one.as_slice(), 60).collect();
    assert!(matches!(kind(&pfx_of(&many)), PfxErrorKind::LimitExceeded | PfxErrorKind::WrongPassword));
    // scrypt with N = 2^30, r = 8: a terabyte.
    let scrypt = sequence(&[&tlv(4, &[&[7; 8]]), &integer(&[0x40, 0, 0, 0]), &integer(&[8]), &integer(&[1])]);
    let cipher = algorithm("2.16.840.1.101.3.4.1.42", &tlv(4, &[&[1; 16]]));
    let scheme = algorithm("1.2.840.113549.1.5.13", &sequence(&[&algorithm("1.3.6.1.4.1.11591.4.11", &scrypt), &cipher]));
    let error = kind(&pfx_of(&[&encrypted_safe(&scheme, Some(&[0; 16]))]));
    assert!(matches!(error, PfxErrorKind::LimitExceeded | PfxErrorKind::Crypto | PfxErrorKind::UnsupportedAlgorithm), "{error}");
    assert!(start.elapsed() < Duration::from_secs(20), "took {:?}", start.elapsed());
    all_refused(&[
        "generated/hm-mac-iterbomb-2147483647.p12",
        "generated/hm-mac-iterbomb-1000000000.p12",
        "generated/hm-kdf-iter-2147483647.p12",
    ]);
    // Two hundred safes: whatever comes of it comes soon.
    corpus(&["generated/hm-many-encsafes.p12"], |_, _| {});
}

// CVE-2025-12816: a MAC compared as far as it goes.
#[test]
fn truncated_or_empty_mac_never_matches() {
    let auth_safe = sequence(&[&safe(&[&cert_bag(certificate(), &[])])]);
    let good = mac(&auth_safe, 1);
    assert!(open(&pfx_file(&auth_safe, &mac_data(&good, &[]))).is_ok());
    for len in 0..good.len() {
        assert!(open(&pfx_file(&auth_safe, &mac_data(&good[..len], &[]))).is_err(), "{len} bytes");
    }
    assert!(open(&pfx_file(&auth_safe, &mac_data(&[&good[..], &[0]].concat(), &[]))).is_err(), "a longer one");
    all_refused(&["generated/hm-mac-truncated.p12", "generated/hm-mac-empty.p12", "generated/hm-body-flipped.p12"]);
}

#[test]
fn iterations_out_of_range_are_refused_before_they_are_used() {
    let auth_safe = sequence(&[&safe(&[&cert_bag(certificate(), &[])])]);
    let good = mac(&auth_safe, 1);
    let start = Instant::now();
    for iterations in [&[0][..], &[0xff], &[0x80, 0, 0, 0], &[0x80], &[0, 0x80, 0, 0, 0, 0, 0, 0, 0], &[0x7f; 16], &[]] {
        assert!(open(&pfx_file(&auth_safe, &mac_data(&good, &integer(iterations)))).is_err(), "MAC: {iterations:?}");
        assert!(open(&pfx_of(&[&encrypted_safe(&pbes2(iterations), Some(&[0; 16]))])).is_err(), "PBES2: {iterations:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(5));
    all_refused(&["generated/hm-mac-iter-0.p12", "generated/hm-kdf-iter-0.p12", "generated/hm-kdf-iter-9223372036854775808.p12"]);
}

// CVE-2018-0739: a stack frame for each level that the sender likes.
#[test]
fn recursion_ends_in_an_error_on_a_small_stack() {
    let nested = |levels: usize, bag: Vec<u8>| {
        (0..levels).fold(bag, |inner, _| sequence(&[&oid(SAFE_CONTENTS_BAG), &tlv(0xa0, &[&sequence(&[&inner])])]))
    };
    let run = move || {
        // Legal nesting is not lost, senseless nesting is refused.
        let two = open(&pfx_of(&[&safe(&[&nested(2, cert_bag(certificate(), &[]))])])).unwrap();
        assert_eq!(two.contents().certificates.len(), 1);
        assert_eq!(kind(&pfx_of(&[&safe(&[&nested(500, cert_bag(certificate(), &[]))])])), PfxErrorKind::LimitExceeded);
        for unit in [&[0x30, 0x80][..], &[0x24, 0x80], &[0xa0, 0x80], &[0x31, 0x80]] {
            assert!(open(&unit.repeat(100_000)).is_err());
            let hidden = [&tlv(2, &[&[3]])[..], &unit.repeat(100_000)].concat();
            assert!(open(&[&[0x30, 0x80][..], &hidden].concat()).is_err());
        }
    };
    std::thread::Builder::new().stack_size(512 << 10).spawn(run).unwrap().join().unwrap();
    all_refused(&[
        "generated/hm-deepnest-seq.p12",
        "generated/hm-deepnest-indef.p12",
        "generated/hm-deep-octets.p12",
        "boringssl/empty_password_ber_nested.p12",
    ]);
}

// CVE-2026-34180: lengths that turn negative, or are believed.
#[test]
fn lengths_over_two_gib_are_refused_without_believing_them() {
    let good = pfx_of(&[&safe(&[&cert_bag(certificate(), &[])])]);
    for length in [
        &[0x84, 0x80, 0, 0, 0][..],
        &[0x84, 0xff, 0xff, 0xff, 0xff],
        &[0x85, 1, 0, 0, 0, 0],
        &[0x88, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x89, 1, 0, 0, 0, 0, 0, 0, 0, 0],
    ] {
        assert_eq!(kind(&[&[0x30][..], length, &good[4..]].concat()), PfxErrorKind::Damaged, "{length:?}");
        let inside = sequence(&[&integer(&[3]), &[&[0x30][..], length, &good[4..]].concat()]);
        assert_eq!(kind(&inside), PfxErrorKind::Damaged, "{length:?}");
    }
    all_refused(&["generated/hm-lengthbomb.p12"]);
}

// CVE-2024-26130: a writer that crashed on a key of another certificate.
#[test]
fn a_key_of_another_certificate_is_not_written() {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let password = Password::from(crate::make::PASSWORD);
    for algorithm in [KeyAlgorithm::EcP256, KeyAlgorithm::EcP384, KeyAlgorithm::Rsa2048] {
        let (other, _) = pki::new_key(&provider, algorithm);
        for profile in [PfxProfile::Modern, PfxProfile::Compat, PfxProfile::Pbmac1] {
            let error = PfxBuilder::new(profile).key(&other).certificate(&ROOT.certificate).build(&password, &provider).unwrap_err();
            assert_eq!(error.kind(), PfxErrorKind::KeyMismatch, "{algorithm:?}");
        }
    }
    assert!(PfxBuilder::new(PfxProfile::Modern).key(&ROOT.key).certificate(&ROOT.certificate).build(&password, &provider).is_ok());
}

#[test]
fn chain_cycles_end_and_two_certificates_of_one_subject_are_told_apart() {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let limits = Limits::default();
    let now = Timestamp::system_now();
    let (from, to) = (now.saturating_sub(pki::DAY), now.saturating_add(pki::DAY));
    let (a, b) = (pki::root(&provider, "A"), pki::root(&provider, "B"));
    let certify = |issuer: &Identity, subject: &Identity| {
        pki::certify(&provider, issuer, &subject.name, &subject.spki(), from, to, |builder| builder.ca(None))
    };
    // A issued B and B issued A; the key is A's.
    let (a_by_b, b_by_a) = (certify(&b, &a), certify(&a, &b));
    let password = Password::from(crate::make::PASSWORD);
    let der = PfxBuilder::new(PfxProfile::Modern).key(&a.key).certificate(&a_by_b).chain([&b_by_a]).build(&password, &provider).unwrap();
    let opened = pfx::open(der.secret_bytes(), &password, &provider, &limits).unwrap();
    let identity = opened.contents().identity().unwrap();
    assert_eq!(identity.certificate.der, a_by_b);
    assert_eq!(identity.chain.iter().map(|link| &link.der).collect::<Vec<_>>(), [&b_by_a]);
    let parse = |der: &[u8]| Certificate::from_der(der, &limits).unwrap();
    assert!(verify_chain(&provider, &parse(&a_by_b), &[parse(&b_by_a), parse(&a_by_b)], &[], now).is_err());
    // Two certificates of one subject: the key's own is the leaf, whatever their order.
    let other = pki::root(&provider, "A");
    for bags in [[&other.certificate, &a.certificate], [&a.certificate, &other.certificate]] {
        let key = tlv(0xa0, &[a.key.secret_pkcs8_der()]);
        let key = sequence(&[&oid("1.2.840.113549.1.12.10.1.1"), &key]);
        let bags = bags.map(|der| cert_bag(der, &[]));
        let opened = open(&pfx_of(&[&safe(&[&key, &bags[0], &bags[1]])])).unwrap();
        assert_eq!(opened.contents().identity().unwrap().certificate.der, a.certificate);
    }
    corpus(&["bouncycastle/certChainCycle.p12"], |_, outcome| {
        let opened = outcome.unwrap();
        assert_eq!(opened.contents().identities().map(|identity| identity.chain.len()).collect::<Vec<_>>(), [2]);
    });
}

// OpenSSL and pyca open such a file and lose what is in the safe without a word.
#[test]
fn an_enveloped_safe_is_never_ignored_silently() {
    let enveloped = sequence(&[&integer(&[0]), &tlv(0x31, &[]), &sequence(&[&oid(DATA), &pbes2(&[1]), &tlv(0x80, &[&[0; 16]])])]);
    let file = pfx_of(&[&content_info(ENVELOPED_DATA, &enveloped), &safe(&[&cert_bag(certificate(), &[])])]);
    let error = open(&file).unwrap_err();
    assert_eq!(error.kind(), PfxErrorKind::UnsupportedMode, "{error}");
    corpus(&["generated/hm-pubkey-privacy.p12"], |file, outcome| {
        assert!(matches!(outcome, Err(PfxErrorKind::UnsupportedMode)), "{file}: {:?}", outcome.err());
    });
}
