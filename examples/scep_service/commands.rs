//! The command lines that are printed: real clients, to be pasted as they stand.

use std::fmt::Write as _;
use std::path::Path;

use crate::arguments::{Arguments, Ra, Tls};

/// Lines for each client, and for looking at what they got.
pub fn lines(url: &str, dir: &Path, arguments: &Arguments) -> String {
    let file = |name: &str| quoted(&dir.join(name).to_string_lossy());
    let (secret, ca, crl) = (quoted(&arguments.challenge), file("ca.pem"), file("crl.pem"));
    let (with_ra, tls) = (arguments.ra == Ra::Rsa, arguments.tls != Tls::Off);
    let served = if with_ra { file("ra.pem") } else { ca.clone() };
    // What curl and scepclient must trust; with a certificate from elsewhere, what they trust anyway.
    let own_tls = arguments.tls == Tls::SelfMade;
    let (curl, trust) = (
        if own_tls { format!("curl --cacert {ca}") } else { "curl".to_owned() },
        if own_tls { format!("SSL_CERT_FILE={ca} ") } else { String::new() },
    );
    let submit = format!("/usr/lib/certmonger/scep-submit{}", if own_tls { format!(" -R {ca}") } else { String::new() });
    let mut out = String::new();
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };

    line(format!("\n# --- Clients to try; paste line by line, the first one first\nmkdir -p {0} && cd {0}", file("try")));
    line(format!("{curl} -sS '{url}?operation=GetCACaps'"));

    line("\n# strongSwan (packages strongswan-pki and libstrongswan-extra-plugins)".to_owned());
    if tls {
        line("# (its fetcher trusts the system's CAs alone: add the server's CA there, or start the service without TLS)".to_owned());
    }
    line(format!("pki --scepca --url {url} --caout ca.crt --raout ra.crt --outform pem --force"));
    line("openssl genrsa -out strongswan.key 2048".to_owned());
    line(format!(
        "pki --scep --url {url} --in strongswan.key --dn 'C=US, O=lab, CN=strongswan' --san strongswan.example.org --password {secret} \
         --cacert-enc {served} --cacert-sig {served} --cacert {ca} --cipher aes --digest sha256 --interval 1 --maxpolltime 60 --outform pem \
         > strongswan.pem"
    ));
    line(format!("openssl verify -CAfile {ca} -crl_check -CRLfile {crl} strongswan.pem"));

    line(
        "\n# micromdm scepclient (package scep). 2.1.0 knows single DES and SHA-1 alone: it needs --legacy, and gets badAlg otherwise"
            .to_owned(),
    );
    if !arguments.ca.is_rsa() {
        line("# (and 2.1.0 panics when the CA has an EC key)".to_owned());
    }
    line("rm -f csr.pem self.pem".to_owned());
    line(format!(
        "{trust}scepclient -server-url {url} -challenge {secret} -private-key scepclient.key -certificate scepclient.pem -cn scepclient \
         -organization lab -keySize 2048"
    ));
    line(format!("openssl verify -CAfile {ca} -crl_check -CRLfile {crl} scepclient.pem"));

    line("\n# sscep".to_owned());
    if tls {
        line("# (it speaks no TLS: start the service without)".to_owned());
    }
    line(format!("sscep getca -u {url} -c sscep-ca.pem"));
    line(format!(
        "printf '[req]\\nprompt=no\\ndistinguished_name=dn\\nattributes=at\\n[dn]\\nO=lab\\nCN=sscep\\n[at]\\nchallengePassword=%s\\n' {} > sscep.cnf",
        quoted(&openssl_value(&arguments.challenge))
    ));
    line("openssl req -new -newkey rsa:2048 -nodes -keyout sscep.key -config sscep.cnf -out sscep.csr".to_owned());
    line(format!("sscep enroll -u {url} -k sscep.key -r sscep.csr -c {served} -e {served} -l sscep.pem -E aes -S sha256 -t 1 -n 60"));
    line(format!("openssl verify -CAfile {ca} -crl_check -CRLfile {crl} sscep.pem"));

    line("\n# certmonger's helper".to_owned());
    line(format!("{submit} -c -u {url}"));
    line(format!("{submit} -C -u {url} > certmonger-cas.pem"));
    line("# it builds no request: request.p7 is a pkiMessage in PEM (PKCS7) that another program made".to_owned());
    line(format!("{submit} -p -u {url} -r {served} -N {ca} -I certmonger-cas.pem -v request.p7 > certmonger-envelope.pem"));

    line("\n# What was issued, the revocation list, the events".to_owned());
    line("for c in strongswan scepclient sscep; do [ ! -s $c.pem ] || openssl x509 -in $c.pem -noout -subject -issuer -enddate -ext keyUsage; done".to_owned());
    line(format!("openssl crl -in {crl} -noout -text"));
    line(format!("tail -n 5 {}", file("admin.jsonl")));
    out
}

/// As one word for a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// As a value in OpenSSL's configuration files.
fn openssl_value(text: &str) -> String {
    text.chars().flat_map(|c| [Some('\\').filter(|_| "\\$#\"'`".contains(c)), Some(c)]).flatten().collect()
}
