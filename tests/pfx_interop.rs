//! PFX files between this crate and OpenSSL, GnuTLS, NSS and Java, each driven as a program.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use intune_connector::crypto::CryptoProvider;
use intune_connector::limits::Limits;
use intune_connector::message::pfx::{self, OpenedPfx, PfxBuilder, PfxProfile, WindowsStore};
use intune_connector::secret::{Password, PrivateKeyPkcs8};
use rustls_pki_types::CertificateDer;

const ASCII: &str = "Correct-Horse-7";
const UNICODE: &str = "Zażółć-gęślą";
const NAME: &str = "Łukasz at Contoso";
const PROFILES: [PfxProfile; 2] = [PfxProfile::Modern, PfxProfile::Compat];

/// A root, an intermediate and a leaf, made by OpenSSL.
struct Pki {
    folder: tempfile::TempDir,
    key: PrivateKeyPkcs8,
    /// Leaf first.
    chain: Vec<CertificateDer<'static>>,
}

impl Pki {
    fn new(openssl: &Path, algorithm: &[&str]) -> Self {
        let folder = support::scratch();
        let at = |name: &str| folder.path().join(name);
        let run = |arguments: &[&str]| {
            support::run(Command::new(openssl).args(arguments).current_dir(folder.path()));
        };
        let key = |name: &str| {
            support::run(Command::new(openssl).args(["genpkey", "-out", name]).args(algorithm).current_dir(folder.path()));
        };
        fs::write(at("ca.ext"), "basicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n").unwrap();
        fs::write(at("leaf.ext"), "keyUsage=digitalSignature\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n").unwrap();
        for (name, issuer, extensions) in [("root", None, "ca.ext"), ("inter", Some("root"), "ca.ext"), ("leaf", Some("inter"), "leaf.ext")]
        {
            key(&format!("{name}.key"));
            run(&["req", "-new", "-key", &format!("{name}.key"), "-subj", &format!("/CN=Test {name}"), "-out", &format!("{name}.csr")]);
            let (csr, pem, own_key) = (format!("{name}.csr"), format!("{name}.pem"), format!("{name}.key"));
            let mut sign = vec!["x509", "-req", "-in", &csr, "-days", "30", "-extfile", extensions, "-out", &pem];
            let issuer_files = issuer.map(|issuer| (format!("{issuer}.pem"), format!("{issuer}.key")));
            match &issuer_files {
                None => sign.extend(["-signkey", own_key.as_str()]),
                Some((pem, key)) => sign.extend(["-CA", pem.as_str(), "-CAkey", key.as_str(), "-CAcreateserial"]),
            }
            run(&sign);
            run(&["x509", "-in", &pem, "-outform", "DER", "-out", &format!("{name}.cer")]);
        }
        run(&["pkcs8", "-topk8", "-nocrypt", "-in", "leaf.key", "-outform", "DER", "-out", "leaf.p8"]);
        let chain_pem = fs::read_to_string(at("inter.pem")).unwrap() + &fs::read_to_string(at("root.pem")).unwrap();
        fs::write(at("chain.pem"), chain_pem).unwrap();
        let key = PrivateKeyPkcs8::new(fs::read(at("leaf.p8")).unwrap());
        let chain = ["leaf.cer", "inter.cer", "root.cer"].map(|name| CertificateDer::from(fs::read(at(name)).unwrap())).to_vec();
        Self { folder, key, chain }
    }

    fn rsa_and_ec(openssl: &Path) -> [Self; 2] {
        [
            Self::new(openssl, &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
            Self::new(openssl, &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
        ]
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a PFX of ours; gives its path.
    fn write(&self, profile: PfxProfile, password: &str) -> PathBuf {
        let builder = PfxBuilder::new(profile).key(&self.key).certificate(&self.chain[0]).chain(&self.chain[1..]).friendly_name(NAME);
        let pfx = builder.build(&Password::from(password), &provider()).unwrap();
        let path = self.path("ours.pfx");
        fs::write(&path, pfx.secret_bytes()).unwrap();
        path
    }

    /// Opens a file of another program: MAC verified, our key, our leaf, our chain in order.
    fn assert_opens(&self, path: &Path, password: Option<&str>, certificates: usize) {
        let password = password.map(Password::from);
        let opened = pfx::open(&fs::read(path).unwrap(), password.as_ref(), &provider(), &Limits::default());
        let opened = opened.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(matches!(opened, OpenedPfx::MacVerified(_)), "{}: {:?}", path.display(), opened.mac());
        let identity = opened.contents().identity().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let public = |key| provider().signing_keys().unwrap().load(key).unwrap().public_key();
        assert_eq!(public(&identity.key.key), public(&self.key), "{}", path.display());
        assert!(identity.certificates().map(|certificate| &certificate.der).eq(&self.chain[..certificates]), "{}", path.display());
    }
}

fn provider() -> CryptoProvider {
    CryptoProvider::ring_and_aws_lc_rs()
}

fn stdout(command: &mut Command) -> String {
    // The programs read passwords and write names in the encoding of the locale.
    String::from_utf8_lossy(&support::run(command.env("LC_ALL", "C.UTF-8")).stdout).into_owned()
}

#[test]
fn openssl_opens_what_each_profile_writes_with_and_without_legacy() {
    let Some(openssl) = support::tool("openssl") else { return };
    for pki in Pki::rsa_and_ec(&openssl) {
        for profile in PROFILES {
            for password in [ASCII, UNICODE] {
                let path = pki.write(profile, password);
                for legacy in [&[][..], &["-legacy"]] {
                    let mut command = Command::new(&openssl);
                    command.args(["pkcs12", "-nodes", "-passin", &format!("pass:{password}"), "-in"]).arg(&path).args(legacy);
                    let dump = stdout(&mut command);
                    assert_eq!(dump.matches("BEGIN CERTIFICATE").count(), 3, "{profile:?}: {dump}");
                    assert_eq!(dump.matches("BEGIN PRIVATE KEY").count(), 1, "{profile:?}: {dump}");
                    assert_eq!(dump.matches("localKeyID").count(), 2, "on key and leaf only: {dump}");
                    assert_eq!(dump.matches("friendlyName").count(), 2, "on key and leaf only: {dump}");
                    let subjects = dump.lines().filter(|line| line.starts_with("subject")).collect::<Vec<_>>();
                    assert!(subjects[0].ends_with("Test leaf") && subjects[2].ends_with("Test root"), "leaf first: {subjects:?}");
                    let key = dump.split_inclusive("-----END PRIVATE KEY-----").next().unwrap_or_default();
                    let key = &key[key.find("-----BEGIN PRIVATE KEY").unwrap()..];
                    fs::write(pki.path("back.key"), format!("{key}\n")).unwrap();
                    let public = |arguments: &[&str]| stdout(Command::new(&openssl).args(arguments).current_dir(pki.folder.path()));
                    let (ours, back) = (public(&["pkey", "-in", "leaf.key", "-pubout"]), public(&["pkey", "-in", "back.key", "-pubout"]));
                    assert_eq!(ours, back);
                }
            }
        }
    }
}

#[test]
fn openssl_reads_the_attributes_for_windows() {
    let Some(openssl) = support::tool("openssl") else { return };
    let pki = Pki::new(&openssl, &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let builder = PfxBuilder::new(PfxProfile::Modern).key(&pki.key).certificate(&pki.chain[0]);
    let builder = builder.csp_name("Microsoft Software Key Storage Provider").windows_store(WindowsStore::Machine);
    let file = pki.path("windows.pfx");
    fs::write(&file, builder.build(&Password::from(ASCII), &provider()).unwrap().secret_bytes()).unwrap();
    let mut command = Command::new(&openssl);
    let dump = stdout(command.args(["pkcs12", "-nodes", "-passin", &format!("pass:{ASCII}"), "-in"]).arg(&file));
    assert!(dump.contains("Microsoft CSP Name: Microsoft Software Key Storage Provider"), "{dump}");
    assert_eq!(dump.matches("Microsoft Local Key set").count(), 1, "{dump}");
    pki.assert_opens(&file, Some(ASCII), 1);
}

#[test]
fn certtool_opens_what_each_profile_writes() {
    let (Some(openssl), Some(certtool)) = (support::tool("openssl"), support::tool("certtool")) else { return };
    for pki in Pki::rsa_and_ec(&openssl) {
        for profile in PROFILES {
            for password in [ASCII, UNICODE] {
                let path = pki.write(profile, password);
                let dump = stdout(Command::new(&certtool).args(["--p12-info", "--inder", "--password", password, "--infile"]).arg(&path));
                assert_eq!(dump.matches("BEGIN CERTIFICATE").count(), 3, "{profile:?}: {dump}");
                assert_eq!(dump.matches("PRIVATE KEY-----").count(), 2, "{profile:?}: {dump}");
                assert!(dump.contains(NAME), "{profile:?}: {dump}");
            }
        }
    }
}

#[test]
fn pk12util_imports_what_each_profile_writes() {
    let (Some(openssl), Some(pk12util)) = (support::tool("openssl"), support::tool("pk12util")) else { return };
    for pki in Pki::rsa_and_ec(&openssl) {
        for profile in PROFILES {
            for password in [ASCII, UNICODE] {
                let path = pki.write(profile, password);
                let database = nss_database();
                let said = stdout(Command::new(&pk12util).args(["-K", "", "-W", password, "-d"]).arg(sql(&database)).arg("-i").arg(&path));
                assert!(said.contains("IMPORT SUCCESSFUL"), "{profile:?}: {said}");
                let listed =
                    stdout(Command::new(&pk12util).args(["-K", "", "-W", password, "-d"]).arg(sql(&database)).arg("-l").arg(&path));
                assert_eq!(listed.lines().filter(|line| line.starts_with("Certificate")).count(), 3, "{profile:?}: {listed}");
            }
        }
    }
}

#[test]
fn keytool_opens_what_each_profile_writes() {
    let (Some(openssl), Some(keytool)) = (support::tool("openssl"), support::tool("keytool")) else { return };
    for pki in Pki::rsa_and_ec(&openssl) {
        // Java refuses passwords beyond ASCII under PBES2.
        for (profile, password) in [(PfxProfile::Modern, ASCII), (PfxProfile::Compat, ASCII)] {
            let path = pki.write(profile, password);
            let mut command = Command::new(&keytool);
            command.args(["-J-Duser.language=en", "-list", "-v", "-storetype", "PKCS12", "-storepass", password, "-keystore"]).arg(&path);
            let listed = stdout(&mut command);
            assert!(listed.contains("Entry type: PrivateKeyEntry"), "{profile:?}: {listed}");
            assert!(listed.contains("Certificate chain length: 3"), "{profile:?}: {listed}");
        }
    }
}

#[test]
fn what_openssl_writes_opens_in_every_algorithm_setting() {
    let Some(openssl) = support::tool("openssl") else { return };
    let settings: &[&[&str]] = &[
        &[],
        &["-legacy"],
        &["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "SHA1"],
        &["-legacy", "-keypbe", "PBE-SHA1-RC2-128", "-certpbe", "PBE-SHA1-RC4-128"],
        &["-legacy", "-keypbe", "PBE-SHA1-2DES", "-certpbe", "PBE-SHA1-RC4-40"],
        &["-keypbe", "AES-128-CBC", "-certpbe", "AES-192-CBC", "-macalg", "SHA384"],
        &["-keypbe", "AES-256-CBC", "-certpbe", "NONE", "-macalg", "SHA512", "-iter", "5000"],
        &["-keypbe", "DES-EDE3-CBC", "-certpbe", "DES-EDE3-CBC", "-macalg", "SHA224"],
        &["-nomaciter", "-iter", "1"],
        &["-CSP", "Microsoft Software Key Storage Provider", "-LMK", "-keyex"],
    ];
    for pki in Pki::rsa_and_ec(&openssl) {
        for setting in settings {
            for password in [ASCII, UNICODE, ""] {
                let path = pki.path("openssl.p12");
                let mut command = Command::new(&openssl);
                command.args(["pkcs12", "-export", "-inkey", "leaf.key", "-in", "leaf.pem", "-certfile", "chain.pem", "-name", NAME]);
                command.args(*setting).args(["-passout", &format!("pass:{password}"), "-out"]).arg(&path).current_dir(pki.folder.path());
                stdout(&mut command);
                pki.assert_opens(&path, Some(password), 3);
            }
        }
        let path = pki.path("nomac.p12");
        let mut command = Command::new(&openssl);
        command.args(["pkcs12", "-export", "-inkey", "leaf.key", "-in", "leaf.pem", "-nomac", "-passout", "pass:x", "-out"]).arg(&path);
        support::run(command.current_dir(pki.folder.path()));
        let opened = pfx::open(&fs::read(&path).unwrap(), &Password::from("x"), &provider(), &Limits::default()).unwrap();
        assert!(matches!(opened, OpenedPfx::Unauthenticated(_)));
        assert!(opened.contents().identity().is_ok());
        assert!(opened.into_mac_verified().is_err());
    }
}

#[test]
fn what_certtool_writes_opens_in_every_cipher_setting() {
    let (Some(openssl), Some(certtool)) = (support::tool("openssl"), support::tool("certtool")) else { return };
    // Each file takes 600,000 rounds three times on either side, so the second kind of key is tried in few settings only.
    let all = &["3des-pkcs12", "arcfour", "rc2-40", "3des", "aes-128", "aes-192", "aes-256"][..];
    for (pki, ciphers) in Pki::rsa_and_ec(&openssl).iter().zip([all, &["aes-256"]]) {
        for cipher in ciphers {
            let passwords = if matches!(*cipher, "3des-pkcs12" | "aes-256") { &[ASCII, UNICODE][..] } else { &[ASCII] };
            for password in passwords {
                let path = pki.path("certtool.p12");
                let mut command = Command::new(&certtool);
                command.args(["--to-p12", "--load-privkey", "leaf.key", "--load-certificate", "leaf.pem", "--p12-name", NAME]);
                command.args(["--pkcs-cipher", cipher, "--password", password, "--outder", "--outfile"]).arg(&path);
                stdout(command.current_dir(pki.folder.path()));
                pki.assert_opens(&path, Some(*password), 1);
            }
        }
    }
}

#[test]
fn what_nss_writes_opens_in_several_settings() {
    let (Some(openssl), Some(pk12util)) = (support::tool("openssl"), support::tool("pk12util")) else { return };
    let settings: &[&[&str]] = &[
        &[],
        &["-c", "PKCS #12 V2 PBE With SHA-1 And 3KEY Triple DES-CBC", "-C", "PKCS #12 V2 PBE With SHA-1 And 40 Bit RC2 CBC"],
        &["-c", "AES-128-CBC", "-C", "AES-256-CBC", "-M", "SHA-512"],
    ];
    for (pki, settings) in Pki::rsa_and_ec(&openssl).iter().zip([settings, &settings[..1]]) {
        let database = nss_database();
        let ours = pki.write(PfxProfile::Modern, ASCII);
        stdout(Command::new(&pk12util).args(["-K", "", "-W", ASCII, "-d"]).arg(sql(&database)).arg("-i").arg(&ours));
        for setting in settings {
            for password in [ASCII, UNICODE] {
                let path = pki.path("nss.p12");
                let mut command = Command::new(&pk12util);
                command.args(["-K", "", "-W", password, "-n", NAME, "-d"]).arg(sql(&database)).args(*setting).arg("-o").arg(&path);
                stdout(&mut command);
                assert_eq!(fs::read(&path).unwrap()[1], 0x80, "NSS writes indefinite lengths");
                pki.assert_opens(&path, Some(password), 3);
            }
        }
    }
}

#[test]
fn what_keytool_writes_opens_in_its_old_and_new_settings() {
    let (Some(openssl), Some(keytool)) = (support::tool("openssl"), support::tool("keytool")) else { return };
    for pki in Pki::rsa_and_ec(&openssl) {
        let ours = pki.write(PfxProfile::Modern, ASCII);
        for setting in [&[][..], &["-J-Dkeystore.pkcs12.legacy"], &["-J-Dkeystore.pkcs12.macAlgorithm=HmacPBESHA512"]] {
            let path = pki.path("keytool.p12");
            let _ = fs::remove_file(&path);
            let mut command = Command::new(&keytool);
            command.args(setting).args(["-importkeystore", "-noprompt", "-srcstoretype", "PKCS12", "-srcstorepass", ASCII, "-srckeystore"]);
            command.arg(&ours).args(["-deststoretype", "PKCS12", "-deststorepass", "Other-Pass-9", "-destkeystore"]).arg(&path);
            stdout(&mut command);
            pki.assert_opens(&path, Some("Other-Pass-9"), 3);
        }
    }
}

fn nss_database() -> tempfile::TempDir {
    support::scratch()
}

/// pk12util makes the database itself when the folder is empty.
fn sql(folder: &tempfile::TempDir) -> String {
    format!("sql:{}", folder.path().display())
}
