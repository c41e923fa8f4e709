//! A PKI made by OpenSSL, and files of ours and of others around it.

#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "each test binary uses a part of it; a helper that fails, fails its test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use intune_connector::crypto::CryptoProvider;
use intune_connector::limits::Limits;
use intune_connector::message::pfx::{self, OpenedPfx, PfxBuilder, PfxProtection};
use intune_connector::secret::{Password, PrivateKeyPkcs8};
use rustls_pki_types::CertificateDer;

use crate::support;

pub const ASCII: &str = "Correct-Horse-7";
pub const UNICODE: &str = "Zażółć-gęślą";
pub const NAME: &str = "Łukasz at Contoso";

/// A root, an intermediate and a leaf, made by OpenSSL.
pub struct Pki {
    pub folder: tempfile::TempDir,
    pub key: PrivateKeyPkcs8,
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
}

impl Pki {
    pub fn new(openssl: &Path, algorithm: &[&str]) -> Self {
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

    pub fn rsa_and_ec(openssl: &Path) -> [Self; 2] {
        [
            Self::new(openssl, &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
            Self::new(openssl, &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
        ]
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a PFX of ours; gives its path.
    pub fn write(&self, protection: impl Into<PfxProtection>, password: &str) -> PathBuf {
        let builder = PfxBuilder::new(protection).key(&self.key).certificate(&self.chain[0]).chain(&self.chain[1..]).friendly_name(NAME);
        let pfx = builder.build(&Password::from(password), &provider()).unwrap();
        let path = self.path("ours.pfx");
        fs::write(&path, pfx.secret_bytes()).unwrap();
        path
    }

    /// Opens a file of another program: MAC verified, our key, our leaf, our chain in order.
    pub fn assert_opens(&self, path: &Path, password: Option<&str>, certificates: usize) {
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

pub fn provider() -> CryptoProvider {
    CryptoProvider::ring_and_aws_lc_rs()
}

pub fn stdout(command: &mut Command) -> String {
    // The programs read passwords and write names in the encoding of the locale.
    String::from_utf8_lossy(&support::run(command.env("LC_ALL", "C.UTF-8")).stdout).into_owned()
}

pub fn nss_database() -> tempfile::TempDir {
    support::scratch()
}

/// pk12util makes the database itself when the folder is empty.
pub fn sql(folder: &tempfile::TempDir) -> String {
    format!("sql:{}", folder.path().display())
}

/// A program of this folder.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pfx_support").join(name)
}
