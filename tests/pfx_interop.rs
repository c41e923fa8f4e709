//! PFX files between this crate and OpenSSL, GnuTLS, NSS, Java, Python and node-forge, each driven as a program.
//! Who opens what this crate writes is in `pfx_matrix_interop.rs`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod pfx_support;
mod support;

use std::fs;
use std::process::Command;

use intune_connector::limits::Limits;
use intune_connector::message::pfx::{
    self, JavaTrust, OpenedPfx, PfxBuilder, PfxProfile, TrustedCertificate, WindowsKeyUsage, WindowsStore,
};
use intune_connector::secret::Password;
use pfx_support::{ASCII, NAME, Pki, UNICODE, nss_database, provider, script, sql, stdout};

const PROFILES: [PfxProfile; 2] = [PfxProfile::Modern, PfxProfile::Compat];

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

#[test]
fn what_python_cryptography_writes_opens_in_every_setting() {
    let (Some(openssl), Some(python)) = (support::tool("openssl"), support::python_cryptography()) else { return };
    for pki in Pki::rsa_and_ec(&openssl) {
        for (setting, password) in
            [("best-available", ASCII), ("best-available", UNICODE), ("3des-sha1", UNICODE), ("aes-sha512", "key-\u{1f511}")]
        {
            let path = pki.path("pyca.p12");
            let mut command = Command::new(&python);
            command.arg(script("pyca.py")).arg("write").arg(&path).arg(setting).args(["leaf.key", "leaf.pem", "inter.pem", "root.pem"]);
            stdout(command.env("PFX_PASSWORD", password).current_dir(pki.folder.path()));
            pki.assert_opens(&path, Some(password), 3);
        }
    }
}

#[test]
fn what_node_forge_writes_opens_in_every_setting() {
    let (Some(openssl), Some((node, modules))) = (support::tool("openssl"), support::node_forge()) else { return };
    // forge knows RSA only, and under PBES2 takes the low bytes of UTF-16 units, which ISO 8859-1 is the same as.
    let [rsa, _] = Pki::rsa_and_ec(&openssl);
    for (setting, password) in [("default", ASCII), ("aes256", ASCII), ("aes192", "Größe-1"), ("3des", UNICODE), ("3des", "key-\u{1f511}")]
    {
        let path = rsa.path("forge.p12");
        let mut command = Command::new(&node);
        command.arg(script("forge.js")).arg("write").arg(&path).arg(setting).args(["leaf.key", "leaf.pem", "inter.pem", "root.pem"]);
        stdout(command.env("NODE_PATH", &modules).env("PFX_PASSWORD", password).current_dir(rsa.folder.path()));
        rsa.assert_opens(&path, Some(password), 3);
    }
}

#[test]
fn the_key_usage_for_windows_stands_where_openssl_puts_it() {
    let Some(openssl) = support::tool("openssl") else { return };
    let [pki, _] = Pki::rsa_and_ec(&openssl);
    for (usage, option) in [(WindowsKeyUsage::Exchange, "-keyex"), (WindowsKeyUsage::Signature, "-keysig")] {
        let (ours, theirs) = (pki.path("ours.pfx"), pki.path("theirs.pfx"));
        let builder = PfxBuilder::new(PfxProfile::Modern).key(&pki.key).certificate(&pki.chain[0]).windows_key_usage(usage);
        fs::write(&ours, builder.build(&Password::from(ASCII), &provider()).unwrap().secret_bytes()).unwrap();
        let mut command = Command::new(&openssl);
        command.args(["pkcs12", "-export", option, "-inkey", "leaf.key", "-in", "leaf.pem", "-passout", &format!("pass:{ASCII}"), "-out"]);
        stdout(command.arg(&theirs).current_dir(pki.folder.path()));
        let key = |path| {
            let opened = pfx::open(&fs::read(path).unwrap(), &Password::from(ASCII), &provider(), &Limits::default()).unwrap();
            opened.contents().identity().unwrap().key.key.secret_pkcs8_der().to_vec()
        };
        assert_eq!(key(&ours), key(&theirs), "{option}");
    }
}

#[test]
fn keytool_and_python_list_a_trust_store() {
    let (Some(openssl), Some(keytool)) = (support::tool("openssl"), support::tool("keytool")) else { return };
    let [pki, _] = Pki::rsa_and_ec(&openssl);
    let path = pki.path("trust.p12");
    let store = |trust| {
        let roots = ["inter", "root"].into_iter().zip(&pki.chain[1..]);
        let entry = |(name, certificate)| TrustedCertificate::new(certificate).friendly_name(name).java_trust(trust);
        let builder = roots.map(entry).fold(PfxBuilder::new(PfxProfile::Modern), PfxBuilder::trusted_certificate);
        fs::write(&path, builder.build(&Password::from(ASCII), &provider()).unwrap().secret_bytes()).unwrap();
        let mut command = Command::new(&keytool);
        command.args(["-J-Duser.language=en", "-list", "-storetype", "PKCS12", "-storepass", ASCII, "-keystore"]).arg(&path);
        stdout(&mut command).matches("trustedCertEntry").count()
    };
    assert_eq!(store(JavaTrust::Unmarked), 0, "Java shows nothing without the mark");
    assert_eq!(store(JavaTrust::AnyPurpose), 2);
    let Some(python) = support::python_cryptography() else { return };
    let mut command = Command::new(&python);
    let found = stdout(command.arg(script("pyca.py")).arg("read").arg(&path).env("PFX_PASSWORD", ASCII));
    assert_eq!(found.lines().filter(|line| line.starts_with("certificate")).count(), 2, "{found}");
}
