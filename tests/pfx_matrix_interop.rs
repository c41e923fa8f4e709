//! Who opens what this crate writes: each profile, and some protections put together by hand, with RSA and EC keys, ASCII and other
//! passwords, by seven readers driven as programs. Keys and certificates that come out are compared with those that went in.
//!
//! What a reader is known to refuse stands in [`REFUSED`]; a reader that begins or ceases to refuse something fails the test.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod pfx_support;
mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use intune_connector::limits::Limits;
use intune_connector::message::pfx::{
    self, CertificateProtection, Pbes2Cipher, PfxDigest, PfxEncryption, PfxIntegrity, PfxProfile, PfxProtection,
};
use intune_connector::secret::{Password, PrivateKeyPkcs8};
use pfx_support::{ASCII, NAME, Pki, UNICODE, nss_database, provider, script, sql};
use rustls_pki_types::pem::{PemObject as _, SectionKind};

/// In the basic multilingual plane no more: a surrogate pair in UTF-16.
const ASTRAL: &str = "key-\u{1f511}-9";
/// The password under which keytool writes what it has read.
const JAVA_OTHER: &str = "Other-Pass-9";

/// What is known to be refused: reader, protection, key, password (`*` for any), and why.
#[rustfmt::skip]
const REFUSED: &[(&str, &str, &str, &str, &str)] = &[
    ("openssl", "Pbmac1", "*", "*", "OpenSSL knows PBMAC1 from 3.4 on"),
    ("openssl", "pbmac1-sha512", "*", "*", "OpenSSL knows PBMAC1 from 3.4 on"),
    ("openssl -legacy", "Pbmac1", "*", "*", "OpenSSL knows PBMAC1 from 3.4 on"),
    ("openssl -legacy", "pbmac1-sha512", "*", "*", "OpenSSL knows PBMAC1 from 3.4 on"),
    ("certtool", "Pbmac1", "*", "*", "GnuTLS knows PBMAC1 from 3.8 on"),
    ("certtool", "pbmac1-sha512", "*", "*", "GnuTLS knows PBMAC1 from 3.8 on"),
    ("pk12util", "Pbmac1", "*", "*", "NSS 3.87 does not know PBMAC1, newer ones do"),
    ("pk12util", "pbmac1-sha512", "*", "*", "NSS 3.87 does not know PBMAC1, newer ones do"),
    ("keytool", "*", "*", "Unicode", "Java takes printable ASCII passwords only"),
    ("keytool", "*", "*", "astral", "Java takes printable ASCII passwords only"),
    ("keytool", "Pbmac1", "*", "*", "Java 17 does not know PBMAC1"),
    ("keytool", "pbmac1-sha512", "*", "*", "Java 17 does not know PBMAC1"),
    ("keytool", "aes192-sha512", "*", "*", "Java has no PBES2 with AES-192"),
    ("node-forge", "*", "EC", "*", "forge knows RSA only"),
    ("node-forge", "Modern", "*", "Unicode", "forge hands PBES2 UTF-16 units as bytes"),
    ("node-forge", "Modern", "*", "astral", "forge hands PBES2 UTF-16 units as bytes"),
    ("node-forge", "Pbmac1", "*", "*", "forge does not know PBMAC1"),
    ("node-forge", "pbmac1-sha512", "*", "*", "forge does not know PBMAC1"),
    ("node-forge", "aes256-3des-sha224", "*", "*", "forge does not know MACs with SHA-224"),
];

/// What a reader gave back.
#[derive(Default)]
struct Found {
    keys: Vec<Vec<u8>>,
    /// Of keys that the reader did not give back themselves.
    public_keys: Vec<Vec<u8>>,
    certificates: Vec<Vec<u8>>,
    names: Vec<String>,
}

/// Opens a file under a password; gives what the program said when it refused.
type Reader<'a> = dyn Fn(&Path, &str) -> Result<Found, String> + 'a;

fn protections() -> Vec<(&'static str, PfxProtection)> {
    let pbes2 = |cipher, prf| PfxEncryption::Pbes2 { cipher, prf, iterations: 2_048 };
    let mac = |digest| PfxIntegrity::Mac { digest, iterations: 2_048 };
    let triple_des = PfxEncryption::Pbes1TripleDes { iterations: 2_048 };
    let aes_256 = pbes2(Pbes2Cipher::Aes256Cbc, PfxDigest::Sha256);
    let pbmac1_sha512 = PfxIntegrity::Pbmac1 { prf: PfxDigest::Sha512, hmac: PfxDigest::Sha512, iterations: 2_048 };
    vec![
        ("Modern", PfxProfile::Modern.into()),
        ("Compat", PfxProfile::Compat.into()),
        ("Pbmac1", PfxProfile::Pbmac1.into()),
        (
            "aes128-sha1",
            PfxProtection::new(pbes2(Pbes2Cipher::Aes128Cbc, PfxDigest::Sha1), CertificateProtection::Clear, mac(PfxDigest::Sha1)),
        ),
        ("aes192-sha512", PfxProtection::new(pbes2(Pbes2Cipher::Aes192Cbc, PfxDigest::Sha512), aes_256, mac(PfxDigest::Sha512))),
        ("aes256-sha384", PfxProtection::new(pbes2(Pbes2Cipher::Aes256Cbc, PfxDigest::Sha384), aes_256, mac(PfxDigest::Sha384))),
        ("aes256-3des-sha224", PfxProtection::new(aes_256, triple_des, mac(PfxDigest::Sha224))),
        ("pbmac1-sha512", PfxProtection::new(aes_256, aes_256, pbmac1_sha512)),
    ]
}

/// Lets one reader open all of the matrix.
fn opens_all(name: &str, reader: &Reader<'_>) {
    let openssl = support::tool("openssl").unwrap();
    let (mut unexpected, mut opened) = (String::new(), 0);
    for (kind, pki) in ["RSA", "EC"].into_iter().zip(Pki::rsa_and_ec(&openssl)) {
        for (protection_name, protection) in protections() {
            for (password_name, password) in [("ASCII", ASCII), ("Unicode", UNICODE), ("astral", ASTRAL)] {
                // Every profile with every password; the protections put together by hand, and EC keys with the oddest one, once only.
                let is_profile = protection_name.starts_with(char::is_uppercase);
                if (!is_profile && password_name != "ASCII") || (kind == "EC" && password_name == "astral") {
                    continue;
                }
                // Few rounds: the readers take their time, JavaScript most of all.
                let file = pki.write(protection.iterations(2_048), password);
                let known = REFUSED.iter().find(|row| {
                    let matches = |pattern: &str, value: &str| pattern == "*" || pattern == value;
                    row.0 == name && matches(row.1, protection_name) && matches(row.2, kind) && matches(row.3, password_name)
                });
                let case = format!("{name}, {protection_name}, {kind}, {password_name}");
                match (reader(&file, password), known) {
                    (Ok(found), None) => {
                        assert_same(&case, &pki, &found);
                        opened += 1;
                    }
                    (Ok(_), Some((.., why))) => writeln!(unexpected, "{case}: opens by now, although {why}").unwrap(),
                    (Err(_), Some(_)) => {}
                    (Err(said), None) => writeln!(unexpected, "{case}: refused: {}", said.trim()).unwrap(),
                }
            }
        }
    }
    println!("{name} opened {opened}");
    assert!(unexpected.is_empty(), "\n{unexpected}");
    assert!(opened >= 7, "{name} opened {opened} only");
}

fn assert_same(case: &str, pki: &Pki, found: &Found) {
    let public = |pkcs8: &[u8]| provider().signing_keys().unwrap().load(&PrivateKeyPkcs8::new(pkcs8.to_vec())).unwrap().public_key();
    let mut keys = found.public_keys.clone();
    keys.extend(found.keys.iter().map(|key| public(key).to_vec()));
    assert_eq!(keys, [public(pki.key.secret_pkcs8_der()).to_vec()], "{case}: the key");
    let certificates = found.certificates.iter().map(Vec::as_slice).collect::<Vec<_>>();
    assert!(
        certificates.iter().copied().eq(pki.chain.iter().map(AsRef::as_ref)),
        "{case}: {} certificates, or in another order",
        certificates.len()
    );
    assert!(found.names.iter().all(|name| name == NAME), "{case}: {:?}", found.names);
}

/// Runs a program that may refuse; its error output, or its output when it has none, says why.
fn output(command: &mut Command) -> Result<Vec<u8>, String> {
    let output = support::try_run(command.env("LC_ALL", "C.UTF-8"));
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = if output.stderr.is_empty() { output.stdout } else { output.stderr };
    Err(String::from_utf8_lossy(&said).into_owned())
}

/// Keys and certificates among other text.
fn from_pem(text: &[u8]) -> Found {
    let mut found = Found::default();
    for item in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
        match item.unwrap() {
            (SectionKind::Certificate, der) => found.certificates.push(der),
            (SectionKind::PrivateKey, der) => found.keys.push(der),
            (SectionKind::PublicKey, der) => found.public_keys.push(der),
            _ => {}
        }
    }
    found
}

/// `key`, `certificate` and `name`, each followed by hex.
fn from_lines(text: &[u8]) -> Found {
    let mut found = Found::default();
    for line in String::from_utf8_lossy(text).lines() {
        let (kind, hex) = line.split_once(' ').unwrap();
        let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        match kind {
            "key" => found.keys.push(bytes),
            "certificate" => found.certificates.push(bytes),
            _ => found.names.push(String::from_utf8(bytes).unwrap()),
        }
    }
    found
}

/// What another program wrote of what it had read of ours.
fn from_pfx(file: &Path, password: &str) -> Found {
    let opened = pfx::open(&fs::read(file).unwrap(), &Password::from(password), &provider(), &Limits::default()).unwrap();
    let identity = opened.contents().identity().unwrap();
    Found {
        keys: vec![identity.key.key.secret_pkcs8_der().to_vec()],
        public_keys: Vec::new(),
        certificates: identity.certificates().map(|certificate| certificate.der.to_vec()).collect(),
        names: identity.key.friendly_name.clone().into_iter().collect(),
    }
}

fn openssl_with(legacy: &[&str], name: &str) {
    let Some(openssl) = support::tool("openssl") else { return };
    opens_all(name, &|file, password| {
        let mut command = Command::new(&openssl);
        command.args(["pkcs12", "-nodes", "-passin", &format!("pass:{password}"), "-in"]).arg(file).args(legacy);
        Ok(from_pem(&output(&mut command)?))
    });
}

#[test]
fn openssl_opens_what_is_written() {
    openssl_with(&[], "openssl");
}

#[test]
fn openssl_with_its_legacy_provider_opens_what_is_written() {
    openssl_with(&["-legacy"], "openssl -legacy");
}

#[test]
fn certtool_opens_what_is_written() {
    let (Some(certtool), Some(_)) = (support::tool("certtool"), support::tool("openssl")) else { return };
    opens_all("certtool", &|file, password| {
        let mut command = Command::new(&certtool);
        let text = output(command.args(["--p12-info", "--inder", "--password", password, "--infile"]).arg(file))?;
        // The key comes out as it lies in the file. certtool decrypts it in a second step, of which the public key is taken: without
        // parameters, as certtool writes it, the private one is of no known curve.
        let folder = support::scratch();
        let shrouded = folder.path().join("shrouded.pem");
        fs::write(&shrouded, section(&text, "ENCRYPTED PRIVATE KEY")).unwrap();
        let mut command = Command::new(&certtool);
        let public = output(command.args(["--pubkey-info", "--pkcs8", "--password", password, "--load-privkey"]).arg(&shrouded))?;
        let public = from_pem(section(&public, "PUBLIC KEY").as_bytes()).public_keys;
        Ok(Found { public_keys: public, ..from_pem(&text) })
    });
}

/// The last PEM section whose label ends so.
fn section<'a>(text: &'a [u8], label: &str) -> &'a str {
    let text = std::str::from_utf8(text).unwrap();
    let end = format!("{label}-----\n");
    let (start, stop) = (text.rfind("-----BEGIN").unwrap(), text.rfind(&end).unwrap() + end.len());
    &text[start..stop]
}

#[test]
fn pk12util_opens_what_is_written() {
    let (Some(pk12util), Some(_)) = (support::tool("pk12util"), support::tool("openssl")) else { return };
    opens_all("pk12util", &|file, password| {
        let database = nss_database();
        let back = database.path().join("back.p12");
        output(Command::new(&pk12util).args(["-K", "", "-W", password, "-d"]).arg(sql(&database)).arg("-i").arg(file))?;
        let mut command = Command::new(&pk12util);
        output(command.args(["-K", "", "-W", JAVA_OTHER, "-n", NAME, "-C", "none", "-d"]).arg(sql(&database)).arg("-o").arg(&back))
            .unwrap();
        Ok(from_pfx(&back, JAVA_OTHER))
    });
}

#[test]
fn keytool_opens_what_is_written() {
    let (Some(keytool), Some(_)) = (support::tool("keytool"), support::tool("openssl")) else { return };
    opens_all("keytool", &|file, password| {
        let folder = support::scratch();
        let back = folder.path().join("back.p12");
        let mut command = Command::new(&keytool);
        command.args(["-J-Duser.language=en", "-J-XX:TieredStopAtLevel=1", "-importkeystore", "-noprompt", "-srcstoretype", "PKCS12"]);
        command.args(["-srcstorepass", password, "-srckeystore"]).arg(file);
        command.args(["-deststoretype", "PKCS12", "-deststorepass", JAVA_OTHER, "-destkeystore"]).arg(&back);
        output(&mut command)?;
        // Java's aliases are in lower case.
        Ok(Found { names: Vec::new(), ..from_pfx(&back, JAVA_OTHER) })
    });
}

#[test]
fn python_cryptography_opens_what_is_written() {
    let (Some(python), Some(_)) = (support::python_cryptography(), support::tool("openssl")) else { return };
    opens_all("pyca", &|file, password| {
        let mut command = Command::new(&python);
        Ok(from_lines(&output(command.arg(script("pyca.py")).arg("read").arg(file).env("PFX_PASSWORD", password))?))
    });
}

#[test]
fn node_forge_opens_what_is_written() {
    let (Some((node, modules)), Some(_)) = (support::node_forge(), support::tool("openssl")) else { return };
    opens_all("node-forge", &|file, password| {
        let mut command = Command::new(&node);
        command.env("NODE_PATH", &modules).env("PFX_PASSWORD", password);
        Ok(from_lines(&output(command.arg(script("forge.js")).arg("read").arg(file))?))
    });
}
