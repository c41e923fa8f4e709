//! PFX files that are signed, or encrypted to public keys (RFC 7292 section 3.1). Their CMS parts are made by openssl.
#![cfg(all(feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cms_support;
mod pfx_assembly;
mod support;

use std::path::Path;
use std::process::Command;

use cms_support::Party;
use futures_util::FutureExt as _;
use intune_connector::crypto::{CryptoProvider, UnwrapError};
use intune_connector::limits::{Budget, Limits};
use intune_connector::message::certificate::Certificate;
use intune_connector::message::pfx::{self, AlgorithmRemedy, OpenOptions, OpenedPfx, PfxError, PfxErrorKind, PfxOpening, Protection};
use intune_connector::message::signed::LegacyDigests;
use intune_connector::secret::Password;
use pfx_assembly::{Form, KEY_BAG};
use support::{run, scratch, tool};

struct Lab {
    openssl: std::path::PathBuf,
    dir: tempfile::TempDir,
    provider: CryptoProvider,
    owner: Party,
    signer: Party,
    other: Party,
}

impl Lab {
    fn new() -> Option<Self> {
        let (openssl, dir) = (tool("openssl")?, scratch());
        let party = |name: &str| Party::rsa(&openssl, dir.path(), name);
        let (owner, signer, other) = (party("owner"), party("signer"), party("other"));
        Some(Self { openssl, dir, provider: CryptoProvider::ring_and_aws_lc_rs(), owner, signer, other })
    }

    fn cms(&self, content: &[u8], arguments: &[&str], files: &[(&str, &Path)]) -> Vec<u8> {
        let (input, output) = (self.dir.path().join("content"), self.dir.path().join("message.der"));
        std::fs::write(&input, content).unwrap();
        let mut command = Command::new(&self.openssl);
        command.args(["cms", "-binary", "-outform", "DER"]).args(arguments);
        for (option, file) in files {
            command.arg(option).arg(file);
        }
        run(command.arg("-in").arg(&input).arg("-out").arg(&output));
        std::fs::read(output).unwrap()
    }

    fn sign(&self, content: &[u8], by: &Party, extra: &[&str]) -> Vec<u8> {
        self.cms(content, &[&["-sign", "-nodetach"], extra].concat(), &[("-signer", &by.cert_file), ("-inkey", &by.key_file)])
    }

    fn envelop(&self, content: &[u8], to: &[&Party], extra: &[&str]) -> Vec<u8> {
        let recipients: Vec<(&str, &Path)> = to.iter().map(|party| ("-recip", party.cert_file.as_path())).collect();
        self.cms(content, &[&["-encrypt"], extra].concat(), &recipients)
    }

    /// Two safes: one with the owner's key, one with the certificate.
    fn safes(&self) -> [Vec<u8>; 2] {
        let key = Form::Der.bag(KEY_BAG, self.owner.pkcs8.secret_pkcs8_der(), &[]);
        let certificate = Form::Der.certificate_bag(self.owner.certificate.der(), &[]);
        [key, certificate].map(|bag| Form::Der.sequence(&[&bag]))
    }

    fn open(&self, file: &[u8], signers: &[Certificate]) -> Result<OpenedPfx, PfxError> {
        let options = OpenOptions::new(None).signers(signers);
        pfx::open_with(file, &options, &self.provider, &mut Budget::new(&Limits::default()))
    }

    fn open_as(&self, file: &[u8], signers: &[Certificate], party: &Party) -> Result<OpenedPfx, PfxError> {
        let (options, key) = (OpenOptions::new(None).signers(signers), party.decryption_key(&self.provider));
        let mut budget = Budget::new(&Limits::default());
        let opening = pfx::open_with_key(file, &options, &party.certificate, key.as_ref(), &self.provider, &mut budget);
        opening.now_or_never().expect("a software key does not wait")
    }

    fn assert_whole(&self, opened: &OpenedPfx) {
        let identity = opened.contents().identity().unwrap();
        assert_eq!(identity.key.key.secret_pkcs8_der(), self.owner.pkcs8.secret_pkcs8_der());
        assert_eq!(&identity.certificate.der, self.owner.certificate.der());
    }
}

/// A PFX around signed safes.
fn signed_file(signed_data: &[u8]) -> Vec<u8> {
    Form::Der.pfx(signed_data, &[])
}

fn auth_safe(safes: &[Vec<u8>]) -> Vec<u8> {
    Form::Der.sequence(&[&safes.concat()])
}

#[test]
fn a_signed_file_opens_for_the_signer_who_was_named_and_says_who_it_was() {
    let Some(lab) = Lab::new() else { return };
    let content = auth_safe(&lab.safes().map(|safe| Form::Der.data(&safe)));
    let named = [lab.other.certificate.clone(), lab.signer.certificate.clone()];
    for extra in [&[][..], &["-nocerts"], &["-noattr"], &["-keyid"], &["-stream", "-indef"]] {
        let file = signed_file(&lab.sign(&content, &lab.signer, extra));
        let opened = lab.open(&file, &named).unwrap_or_else(|error| panic!("{extra:?}: {error}"));
        let OpenedPfx::SignatureVerified(verified) = &opened else { panic!("{extra:?}: {opened:?}") };
        assert_eq!(verified.signers().iter().map(Certificate::der).collect::<Vec<_>>(), [lab.signer.certificate.der()], "{extra:?}");
        lab.assert_whole(&opened);
    }
}

#[test]
fn a_certificate_that_the_file_carries_is_no_accepted_signer() {
    let Some(lab) = Lab::new() else { return };
    let content = auth_safe(&lab.safes().map(|safe| Form::Der.data(&safe)));
    let file = signed_file(&lab.sign(&content, &lab.signer, &[]));
    assert_eq!(lab.open(&file, std::slice::from_ref(&lab.other.certificate)).unwrap_err().kind(), PfxErrorKind::UntrustedSigner);
    let carried = pfx::unverified_signer_certificates(&file, &Limits::default()).unwrap();
    assert_eq!(carried, [lab.signer.certificate.der().clone()]);
    // Without a named signer the error says what to do.
    for outcome in [lab.open(&file, &[]), pfx::open(&file, None, &lab.provider, &Limits::default())] {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), PfxErrorKind::UnsupportedMode);
        assert!(error.to_string().contains("OpenOptions::signers"), "{error}");
    }
    assert_eq!(pfx::has_mac(&file, &Limits::default()).unwrap_err().kind(), PfxErrorKind::UnsupportedMode);
}

/// Another key under the name and number of the named certificate: the identifier fits, the certificate does not.
#[test]
fn a_certificate_that_only_bears_the_signer_s_name_and_number_is_no_accepted_signer() {
    let Some(lab) = Lab::new() else { return };
    let make = |name: &str| {
        let (cert_file, key_file) = (lab.dir.path().join(format!("{name}.pem")), lab.dir.path().join(format!("{name}.key")));
        let mut command = Command::new(&lab.openssl);
        command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Signer", "-set_serial", "7", "-keyout"]);
        run(command.arg(&key_file).arg("-out").arg(&cert_file));
        let der = run(Command::new(&lab.openssl).args(["x509", "-outform", "DER", "-in"]).arg(&cert_file)).stdout;
        (Certificate::from_der(&der, &Limits::default()).unwrap(), cert_file, key_file)
    };
    let (real, ..) = make("real");
    let (_, cert_file, key_file) = make("false");
    let content = auth_safe(&lab.safes().map(|safe| Form::Der.data(&safe)));
    let message = lab.cms(&content, &["-sign", "-nodetach"], &[("-signer", &cert_file), ("-inkey", &key_file)]);
    let refused = lab.open(&signed_file(&message), &[real]).unwrap_err().kind();
    assert!(matches!(refused, PfxErrorKind::UntrustedSigner | PfxErrorKind::Signature), "{refused}");
}

#[test]
fn a_changed_signed_file_is_refused() {
    let Some(lab) = Lab::new() else { return };
    let content = auth_safe(&lab.safes().map(|safe| Form::Der.data(&safe)));
    let signers = [lab.signer.certificate.clone()];
    for extra in [&[][..], &["-noattr"]] {
        let message = lab.sign(&content, &lab.signer, extra);
        let start = message.windows(content.len()).position(|window| window == content).unwrap();
        let file = signed_file(&message);
        let start = start + file.len() - message.len();
        for position in (start..start + content.len()).step_by(97) {
            let mut changed = file.clone();
            changed[position] ^= 1;
            assert_eq!(lab.open(&changed, &signers).unwrap_err().kind(), PfxErrorKind::Signature, "{position}");
        }
    }
    // Detached, certs-only, another content type, a MAC beside the signature.
    let detached = lab.cms(&content, &["-sign"], &[("-signer", &lab.signer.cert_file), ("-inkey", &lab.signer.key_file)]);
    assert_eq!(lab.open(&signed_file(&detached), &signers).unwrap_err().kind(), PfxErrorKind::Damaged);
    let typed = lab.sign(&content, &lab.signer, &["-econtent_type", "1.2.3.4"]);
    assert_eq!(lab.open(&signed_file(&typed), &signers).unwrap_err().kind(), PfxErrorKind::Damaged);
    let message = lab.sign(&content, &lab.signer, &[]);
    let digest_info = Form::Der.sequence(&[&Form::Der.algorithm("1.3.14.3.2.26", &pfx_assembly::null()), &Form::Der.octets(&[0; 20])]);
    let mac = Form::Der.sequence(&[&digest_info, &Form::Der.octets(b"saltsalt")]);
    assert_eq!(lab.open(&Form::Der.pfx(&message, &mac), &signers).unwrap_err().kind(), PfxErrorKind::Damaged);
}

#[test]
fn a_signature_over_sha_1_needs_an_opt_in_that_the_error_names() {
    let Some(lab) = Lab::new() else { return };
    let content = auth_safe(&lab.safes().map(|safe| Form::Der.data(&safe)));
    let file = signed_file(&lab.sign(&content, &lab.signer, &["-md", "sha1"]));
    let signers = [lab.signer.certificate.clone()];
    let PfxError::UnsupportedAlgorithm { oid, remedy: AlgorithmRemedy::OptIn(option), .. } = lab.open(&file, &signers).unwrap_err() else {
        panic!("another error");
    };
    assert_eq!((oid.as_str(), option), ("1.3.14.3.2.26", "OpenOptions::legacy_digests"));
    let options = OpenOptions::new(None).signers(&signers).legacy_digests(LegacyDigests::AllowSha1);
    lab.assert_whole(&pfx::open_with(&file, &options, &lab.provider, &mut Budget::new(&Limits::default())).unwrap());
}

#[test]
fn safes_that_are_encrypted_to_public_keys_open_with_a_recipient_s_key() {
    let Some(lab) = Lab::new() else { return };
    for extra in [&["-aes256"][..], &["-aes-128-cbc", "-keyid"], &["-des3"], &["-aes256", "-stream", "-indef"]] {
        let safes = lab.safes().map(|safe| lab.envelop(&safe, &[&lab.other, &lab.owner], extra));
        let file = Form::Der.unauthenticated(&safes);
        for recipient in [&lab.owner, &lab.other] {
            let opened = lab.open_as(&file, &[], recipient).unwrap_or_else(|error| panic!("{extra:?}: {error}"));
            assert!(matches!(opened, OpenedPfx::Unauthenticated(_)));
            assert!(matches!(opened.contents().keys[0].protection, Protection::ToPublicKeys { .. }));
            lab.assert_whole(&opened);
        }
        assert_eq!(lab.open_as(&file, &[], &lab.signer).unwrap_err().kind(), PfxErrorKind::WrongKey);
        // The certificate of a recipient with the key of another.
        let mixed = Party { certificate: lab.owner.certificate.clone(), ..Party::rsa(&lab.openssl, lab.dir.path(), "mixed") };
        assert_eq!(lab.open_as(&file, &[], &mixed).unwrap_err().kind(), PfxErrorKind::WrongKey);
        let error = lab.open(&file, &[]).unwrap_err();
        assert_eq!(error.kind(), PfxErrorKind::UnsupportedMode);
        assert!(error.to_string().contains("open_with_key"), "{error}");
    }
}

#[test]
fn signed_and_encrypted_files_and_mixed_safes_open_and_keep_the_order_of_the_file() {
    let Some(lab) = Lab::new() else { return };
    let [key, certificate] = lab.safes();
    let mixed = [Form::Der.data(&certificate), lab.envelop(&key, &[&lab.owner], &["-aes256"]), Form::Der.data(&certificate)];
    let signers = [lab.signer.certificate.clone()];
    let file = signed_file(&lab.sign(&auth_safe(&mixed), &lab.signer, &[]));
    let opened = lab.open_as(&file, &signers, &lab.owner).unwrap();
    assert!(matches!(opened, OpenedPfx::SignatureVerified(_)));
    assert_eq!((opened.contents().keys.len(), opened.contents().certificates.len()), (1, 2));
    assert_eq!(opened.contents().certificates[0].protection, Protection::Clear);
    lab.assert_whole(&opened);
}

#[test]
fn opening_is_split_for_keys_that_are_remote() {
    let Some(lab) = Lab::new() else { return };
    let safes = lab.safes().map(|safe| lab.envelop(&safe, &[&lab.owner], &["-aes256"]));
    let file = Form::Der.unauthenticated(&safes);
    let parse = || PfxOpening::parse(&file, &OpenOptions::new(None), &lab.provider, &mut Budget::new(&Limits::default())).unwrap();
    let mut opening = parse();
    assert!(opening.is_encrypted_to_public_keys());
    assert!(opening.enveloped_safes()[0].recipients()[0].is(&lab.owner.certificate));
    let requests = opening.unwrap_requests(&lab.owner.certificate, &lab.provider).unwrap();
    assert_eq!(requests.len(), 2);
    let key = lab.owner.decryption_key(&lab.provider);
    let answers = requests.iter().map(|request| intune_connector::crypto::unwrap_now(key.as_ref(), request)).collect();
    lab.assert_whole(&opening.finish(answers, &lab.provider, &mut Budget::new(&Limits::default())).unwrap());

    let mut unreachable = parse();
    unreachable.unwrap_requests(&lab.owner.certificate, &lab.provider).unwrap();
    let answers = (0..2).map(|_| Err(UnwrapError::Unavailable(None))).collect();
    let error = unreachable.finish(answers, &lab.provider, &mut Budget::new(&Limits::default())).unwrap_err();
    assert_eq!(error.kind(), PfxErrorKind::KeyUnavailable);
    let error = parse().finish(Vec::new(), &lab.provider, &mut Budget::new(&Limits::default())).unwrap_err();
    assert_eq!(error.kind(), PfxErrorKind::InvalidInput);
}

#[test]
fn the_signed_file_of_the_corpus_verifies_once_its_certificate_is_named() {
    let Some(folder) = support::vectors() else { return };
    let file = std::fs::read(folder.join("generated/hm-pubkey-integrity.p12")).unwrap();
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let carried = pfx::unverified_signer_certificates(&file, &Limits::default()).unwrap();
    let named: Vec<Certificate> = carried.iter().map(|der| Certificate::from_der(der, &Limits::default()).unwrap()).collect();
    let password = Password::from("Secret-123");
    let options = OpenOptions::new(&password).signers(&named);
    let opened = pfx::open_with(&file, &options, &provider, &mut Budget::new(&Limits::default())).unwrap();
    assert!(matches!(&opened, OpenedPfx::SignatureVerified(verified) if !verified.signers().is_empty()));
    assert!(!opened.contents().certificates.is_empty() || !opened.contents().keys.is_empty());
}

#[test]
fn a_safe_with_nobody_to_decrypt_it_says_so() {
    let Some(folder) = support::vectors() else { return };
    let Some(lab) = Lab::new() else { return };
    for name in ["openssl/nomac_parse.p12", "generated/hm-pubkey-privacy.p12"] {
        let file = std::fs::read(folder.join(name)).unwrap();
        let password = Password::from(if name.starts_with("openssl") { "testpassword" } else { "Secret-123" });
        let options = OpenOptions::new(&password);
        let key = lab.owner.decryption_key(&lab.provider);
        let mut budget = Budget::new(&Limits::default());
        let opening = pfx::open_with_key(&file, &options, &lab.owner.certificate, key.as_ref(), &lab.provider, &mut budget);
        let kind = opening.now_or_never().unwrap().unwrap_err().kind();
        assert!(matches!(kind, PfxErrorKind::WrongKey | PfxErrorKind::Damaged), "{name}: {kind}");
        let error = pfx::open(&file, &password, &lab.provider, &Limits::default()).unwrap_err();
        assert!(error.to_string().contains("open_with_key"), "{name}: {error}");
    }
}
