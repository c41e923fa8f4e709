//! Passwords and payloads from key to key, with openssl on the other side.
#![cfg(all(feature = "ring", feature = "aws-lc-rs"))]

mod cms_support;
mod support;

use std::process::Command;

use cms_support::Party;
use intune_connector::crypto::{CryptoProvider, UnwrapError, unwrap_now};
use intune_connector::limits::Limits;
use intune_connector::message::enveloped::{CmsError, Opening};
use intune_connector::message::pfx;
use intune_connector::message::reencrypt::{
    LegacyPadding, PasswordOpening, Recipient, TransportedPassword, encrypt_password, max_password_len, password_envelope, reencrypt,
};
use intune_connector::secret::Password;
use intune_connector::terms::PaddingScheme;
use support::{run, scratch, tool};

const ALLOW: LegacyPadding = LegacyPadding::DangerouslyAllowPkcs1AndOaepSha1;
const SCHEMES: [(PaddingScheme, &[&str]); 5] = [
    (PaddingScheme::OaepSha512, &["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha512"]),
    (PaddingScheme::OaepSha384, &["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha384"]),
    (PaddingScheme::OaepSha256, &["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256"]),
    (PaddingScheme::OaepSha1, &["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha1"]),
    (PaddingScheme::Pkcs1, &["-pkeyopt", "rsa_padding_mode:pkcs1"]),
];

fn decrypt(ciphertext: &[u8], scheme: PaddingScheme, party: &Party, provider: &CryptoProvider) -> TransportedPassword {
    let opening = PasswordOpening::new(ciphertext.to_vec(), scheme, ALLOW, provider).expect("an opening");
    let unwrapped = unwrap_now(party.decryption_key(provider).as_ref(), opening.unwrap_request());
    opening.finish(unwrapped).expect("the key is at hand")
}

#[test]
fn passwords_go_both_ways_between_openssl_and_us_in_every_padding() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let party = Party::rsa(&openssl, dir.path(), "connector");
    let (input, bytes) = (dir.path().join("input"), "pässword \u{1f511}".as_bytes());
    for (scheme, options) in SCHEMES {
        let ours = encrypt_password(&provider, party.certificate.spki(), scheme, ALLOW, &Password::new(bytes.to_vec())).unwrap();
        std::fs::write(&input, &ours).unwrap();
        let mut command = Command::new(&openssl);
        command.args(["pkeyutl", "-decrypt", "-inkey"]).arg(&party.key_file).args(options).arg("-in").arg(&input);
        assert_eq!(run(&mut command).stdout, bytes, "{scheme:?}");
        std::fs::write(&input, bytes).unwrap();
        let mut command = Command::new(&openssl);
        command.args(["pkeyutl", "-encrypt", "-certin", "-inkey"]).arg(&party.cert_file).args(options).arg("-in").arg(&input);
        let theirs = run(&mut command).stdout;
        assert_eq!(decrypt(&theirs, scheme, &party, &provider).password().secret_bytes(), bytes, "{scheme:?}");
    }
}

#[test]
fn the_longest_password_fits_and_one_byte_more_is_told_by_its_limit() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let party = Party::rsa(&openssl, dir.path(), "connector");
    for (scheme, _) in SCHEMES {
        let max = max_password_len(scheme, 256).unwrap();
        let longest = Password::new(vec![b'x'; max]);
        let ciphertext = encrypt_password(&provider, party.certificate.spki(), scheme, ALLOW, &longest).unwrap();
        assert_eq!(decrypt(&ciphertext, scheme, &party, &provider).password().secret_bytes(), longest.secret_bytes());
        let longer = Password::new(vec![b'x'; max + 1]);
        let error = encrypt_password(&provider, party.certificate.spki(), scheme, ALLOW, &longer).unwrap_err();
        assert!(matches!(error, CmsError::PasswordTooLong { max: told } if told == max), "{scheme:?}");
    }
}

#[test]
fn a_rejected_password_ends_in_the_same_pfx_error_as_a_wrong_one() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let (party, limits) = (Party::rsa(&openssl, dir.path(), "connector"), Limits::default());
    let mut command = Command::new(&openssl);
    command.args(["pkcs12", "-export", "-passout", "pass:right", "-in"]).arg(&party.cert_file).arg("-inkey").arg(&party.key_file);
    let file = run(&mut command).stdout;
    let open = |password: &Password| match pfx::open(&file, Some(password), &provider, &limits) {
        Ok(_) => "opened".to_owned(),
        Err(error) => format!("{error} {error:?}"),
    };
    assert_eq!(open(&Password::from("right")), "opened");
    let wrong = open(&Password::from("wrong"));
    for (scheme, _) in SCHEMES {
        let mut ciphertext = encrypt_password(&provider, party.certificate.spki(), scheme, ALLOW, &Password::from("right")).unwrap();
        assert_eq!(open(decrypt(&ciphertext, scheme, &party, &provider).password()), "opened");
        ciphertext[9] ^= 1;
        assert_eq!(open(decrypt(&ciphertext, scheme, &party, &provider).password()), wrong, "{scheme:?}");
    }
    let substitute = |seed: u8| {
        let opening = PasswordOpening::new(vec![seed; 256], PaddingScheme::OaepSha512, LegacyPadding::Refuse, &provider).unwrap();
        opening.finish(Err(UnwrapError::Rejected)).unwrap()
    };
    assert_ne!(substitute(1).password().secret_bytes(), substitute(1).password().secret_bytes(), "each substitute is drawn anew");
    let opening = PasswordOpening::new(vec![0; 256], PaddingScheme::OaepSha512, LegacyPadding::Refuse, &provider).unwrap();
    assert!(matches!(opening.finish(Err(UnwrapError::Unavailable(None))), Err(CmsError::KeyUnavailable(_))));
}

#[test]
fn a_password_and_a_stored_payload_reach_another_recipient() {
    let Some(openssl) = tool("openssl") else { return };
    let (dir, provider) = (scratch(), CryptoProvider::ring_and_aws_lc_rs());
    let (connector, device) = (Party::rsa(&openssl, dir.path(), "connector"), Party::rsa(&openssl, dir.path(), "device"));
    let stored = password_envelope(&Password::from("Secret-123"), Recipient::new(&connector.certificate), &provider).unwrap();
    let mut opening = Opening::parse(&stored, &Limits::default()).unwrap();
    let request = opening.unwrap_request(&connector.certificate, &provider).unwrap();
    let unwrapped = unwrap_now(connector.decryption_key(&provider).as_ref(), &request);
    let secret = opening.finish(unwrapped, &provider).unwrap();
    let moved = reencrypt(&secret, Recipient::new(&device.certificate), &provider).unwrap();
    let file = dir.path().join("moved.der");
    std::fs::write(&file, &moved).unwrap();
    let mut command = Command::new(&openssl);
    command.args(["cms", "-decrypt", "-binary", "-inform", "DER", "-in"]).arg(&file);
    command.arg("-recip").arg(&device.cert_file).arg("-inkey").arg(&device.key_file);
    assert_eq!(run(&mut command).stdout, b"Secret-123");
}
