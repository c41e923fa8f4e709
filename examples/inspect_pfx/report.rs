//! What is known about a file, as JSON.

use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::pfx::{
    MacInfo, OpenedPfx, PasswordForm, PfxAttribute, PfxCertificate, PfxContents, PfxError, PfxKey, Protection,
};
use intune_connector::terms::{KeyUsage, SubjectAltName, oids};
use intune_connector::time::Timestamp;
use serde_json::{Value, json};

use super::strength::{self, Strength};
use super::{advice, platforms, provider};

/// A certificate that ends sooner is worth a remark.
const SOON: core::time::Duration = core::time::Duration::from_secs(30 * 86_400);

/// Of a file that does not open.
pub(crate) fn refused(error: &PfxError, file: &[u8], password_given: bool) -> Value {
    let advice = advice::steps(error, file, password_given);
    json!({
        "keys": [],
        "certificates": [],
        "mac": null,
        "error": { "kind": error.kind().as_str(), "oid": error.oid(), "message": error.to_string(), "advice": advice },
    })
}

/// Of a file that opens.
pub(crate) fn opened(opened: &OpenedPfx) -> Value {
    let contents = opened.contents();
    let key_algorithms: Vec<_> =
        contents.identities().filter_map(|identity| parsed(identity.certificate)).map(|leaf| leaf.public_key_algorithm().clone()).collect();
    let platforms = if contents.keys.is_empty() { Vec::new() } else { platforms::judge(contents, opened.mac(), &key_algorithms) };
    json!({
        "keys": contents.keys.iter().map(|key| key_entry(contents, key)).collect::<Vec<_>>(),
        "certificates": contents.certificates.iter().map(certificate_entry).collect::<Vec<_>>(),
        "others": contents.others.iter().map(|other| json!({
            "kind": other.kind.as_str(),
            "oid": other.oid,
            "friendly_name": other.friendly_name,
            "length": other.value.len(),
        })).collect::<Vec<_>>(),
        "mac": opened.mac().map(mac_entry),
        "integrity": match opened {
            OpenedPfx::MacVerified(_) => "mac",
            OpenedPfx::SignatureVerified(_) => "signature",
            _ => "none",
        },
        "platforms": platforms,
        "notes": notes(opened),
        "trailing_bytes": contents.trailing_bytes,
        "error": null,
    })
}

fn mac_entry(mac: &MacInfo) -> Value {
    json!({
        "algorithm": mac.algorithm(),
        "pbmac1": mac.is_pbmac1(),
        "iterations": mac.iterations(),
        "salt_length": mac.salt_len(),
        "password_form": format!("{:?}", mac.password_form()),
        "strength": judged(&strength::of_mac(mac.iterations())),
    })
}

fn key_entry(contents: &PfxContents, key: &PfxKey) -> Value {
    let identity = contents.identities().find(|identity| std::ptr::eq(identity.key, key)).map(|identity| {
        let chain: Vec<_> = identity.chain.iter().map(|above| index_of(contents, above)).collect();
        json!({ "certificate": index_of(contents, identity.certificate), "chain": chain })
    });
    let strength = match &key.protection {
        Protection::Encrypted { scheme, iterations } => strength::of_scheme(scheme, *iterations),
        _ => strength::of_clear_key(),
    };
    json!({
        "friendly_name": key.friendly_name,
        "local_key_id": key.local_key_id.as_deref().map(hex),
        "protection": protection(&key.protection),
        "strength": judged(&strength),
        "identity": identity,
        "attributes": attributes(&key.attributes),
    })
}

fn certificate_entry(certificate: &PfxCertificate) -> Value {
    let mut entry = json!({
        "friendly_name": certificate.friendly_name,
        "local_key_id": certificate.local_key_id.as_deref().map(hex),
        "subject": null,
        "issuer": null,
        "serial": null,
        "not_before": null,
        "not_after": null,
        "public_key": null,
        "thumbprint": null,
        "length": certificate.der.len(),
        "protection": protection(&certificate.protection),
        "attributes": attributes(&certificate.attributes),
    });
    let parsed = match Certificate::from_der(&certificate.der, &Limits::default()) {
        Ok(parsed) => parsed,
        Err(error) => {
            // The file still opens: the certificate is kept as it is.
            entry["problem"] = json!(error.to_string());
            return entry;
        }
    };
    let key = parsed.public_key_algorithm();
    entry["subject"] = json!(parsed.subject().to_string());
    entry["issuer"] = json!(parsed.issuer().to_string());
    entry["serial"] = json!(hex(parsed.serial_raw()));
    entry["not_before"] = json!(parsed.not_before().to_string());
    entry["not_after"] = json!(parsed.not_after().to_string());
    entry["validity"] = json!(validity(&parsed));
    entry["public_key"] = json!(key_name(&key.to_string()));
    entry["key_strength"] = judged(&strength::of_key(key));
    entry["thumbprint"] = json!(parsed.thumbprint(&provider()).ok().map(|thumbprint| thumbprint.to_string()));
    entry["certificate_authority"] = json!(parsed.is_ca());
    entry["self_issued"] = json!(parsed.is_self_issued());
    entry["alternative_names"] = json!(parsed.subject_alt_names().iter().map(alternative_name).collect::<Vec<_>>());
    entry["uses"] = json!(uses(&parsed));
    entry
}

fn validity(certificate: &Certificate) -> &'static str {
    let now = Timestamp::system_now();
    if now < certificate.not_before() {
        "not valid yet"
    } else if now > certificate.not_after() {
        "expired"
    } else if now.saturating_add(SOON) > certificate.not_after() {
        "expires within 30 days"
    } else {
        "valid now"
    }
}

/// The usual name of a key algorithm that this library has no name for.
fn key_name(shown: &str) -> &str {
    match shown {
        "1.2.840.10040.4.1" => "DSA",
        "1.2.840.10046.2.1" => "Diffie-Hellman",
        "1.3.132.0.10" => "EC secp256k1",
        "1.3.132.0.33" => "EC P-224",
        "1.2.840.10045.3.1.1" => "EC P-192",
        "1.3.36.3.3.2.8.1.1.7" => "EC brainpoolP256r1",
        "1.3.101.110" => "X25519",
        "1.3.101.113" => "Ed448",
        "1.2.643.7.1.1.1.1" | "1.2.643.7.1.1.1.2" | "1.2.643.2.2.19" => "GOST R 34.10",
        other => other,
    }
}

fn alternative_name(name: &SubjectAltName) -> String {
    match name {
        SubjectAltName::Upn(upn) => format!("UPN {upn}"),
        SubjectAltName::Email(email) => format!("e-mail {email}"),
        SubjectAltName::Dns(dns) => format!("DNS {dns}"),
        SubjectAltName::Uri(uri) => format!("URI {uri}"),
        SubjectAltName::Ip(ip) => format!("IP {ip}"),
        _ => "a name of another kind".to_owned(),
    }
}

fn uses(certificate: &Certificate) -> Vec<String> {
    let extended = certificate.extended_key_usage().iter().map(|oid| {
        match oid.as_str() {
            oids::ANY_EXTENDED_KEY_USAGE => "any use",
            oids::SERVER_AUTH => "server authentication",
            oids::CLIENT_AUTH => "client authentication",
            oids::EMAIL_PROTECTION => "e-mail protection",
            oids::SMART_CARD_LOGON => "smart-card logon",
            oids::CERTIFICATE_REQUEST_AGENT => "certificate request agent",
            "1.3.6.1.5.5.7.3.3" => "code signing",
            "1.3.6.1.5.5.7.3.8" => "time stamping",
            "1.3.6.1.5.5.7.3.9" => "OCSP signing",
            other => other,
        }
        .to_owned()
    });
    let bits =
        certificate.key_usage().into_iter().flat_map(|usage| {
            let KeyUsage {
                digital_signature,
                content_commitment,
                key_encipherment,
                data_encipherment,
                key_agreement,
                key_cert_sign,
                crl_sign,
            } = usage;
            [
                (digital_signature, "digitalSignature"),
                (content_commitment, "nonRepudiation"),
                (key_encipherment, "keyEncipherment"),
                (data_encipherment, "dataEncipherment"),
                (key_agreement, "keyAgreement"),
                (key_cert_sign, "keyCertSign"),
                (crl_sign, "cRLSign"),
            ]
            .into_iter()
            .filter(|(set, _)| *set)
            .map(|(_, name)| name.to_owned())
        });
    extended.chain(bits).collect()
}

/// What an administrator should know beyond the facts.
fn notes(opened: &OpenedPfx) -> Vec<String> {
    let contents = opened.contents();
    let mut notes = Vec::new();
    match (contents.keys.len(), contents.certificates.len()) {
        (0, 0) => notes.push("there is neither a key nor a certificate in this file: ask for the right one".to_owned()),
        (0, _) => notes.push("there is no private key in this file: it serves to trust certificates, not to be one's identity".to_owned()),
        _ => {}
    }
    if contents.keys.len() > 1 {
        notes.push(format!(
            "{} private keys: many programs take the first one alone; export each into a file of its own",
            contents.keys.len()
        ));
    }
    let without_certificate = contents.keys.len().saturating_sub(contents.identities().count());
    if without_certificate > 0 {
        notes.push(format!("{without_certificate} private key(s) have no certificate here: export again with the certificate"));
    }
    for identity in contents.identities() {
        let Some(leaf) = parsed(identity.certificate) else {
            notes.push("the certificate of a key cannot be read: devices will refuse it; have it issued again".to_owned());
            continue;
        };
        match validity(&leaf) {
            "expired" => {
                notes.push(format!("the certificate of {} has expired: old mail can be read with it, nothing new be done", leaf.subject()))
            }
            "valid now" => {}
            other => notes.push(format!("the certificate of {}: {other}", leaf.subject())),
        }
        if leaf.is_self_issued() && leaf.verify_signed_by(&provider(), leaf.spki()).is_ok() {
            notes.push(format!("the certificate of {} is self-signed: nobody trusts it but who has installed it", leaf.subject()));
        }
        let top = identity.certificates().last().and_then(parsed).unwrap_or(leaf);
        if !top.is_self_issued() {
            notes.push(format!(
                "the chain is not whole: {} was issued by {}, which is not in the file; devices need it from elsewhere",
                top.subject(),
                top.issuer()
            ));
        }
    }
    match opened.mac() {
        None if matches!(opened, OpenedPfx::SignatureVerified(_)) => {}
        None => notes.push(
            "there is no MAC: nothing proves that the file is unchanged, and many devices refuse it; export it again with a password"
                .to_owned(),
        ),
        Some(mac) => match mac.password_form() {
            PasswordForm::Bmp | PasswordForm::Utf8 => {}
            PasswordForm::ZeroLength => notes.push(
                "it was written without a password: whoever has the file can open it, and programs that ask for an empty one may fail"
                    .to_owned(),
            ),
            other => notes.push(format!(
                "the password fits in a form that other programs may not try ({}): they may call it wrong; export the file again",
                form(other)
            )),
        },
    }
    if contents.trailing_bytes > 0 {
        notes.push(format!("{} bytes after the end of the PFX were ignored", contents.trailing_bytes));
    }
    notes
}

fn form(form: PasswordForm) -> &'static str {
    match form {
        PasswordForm::WidenedUtf8 => "UTF-8 bytes widened, as old OpenSSL did",
        PasswordForm::Utf8Terminated => "UTF-8 with a zero byte",
        PasswordForm::Latin1 => "ISO 8859-1",
        PasswordForm::BmpUnterminated => "UTF-16 without its end",
        _ => "another one",
    }
}

fn parsed(certificate: &PfxCertificate) -> Option<Certificate> {
    Certificate::from_der(&certificate.der, &Limits::default()).ok()
}

fn index_of(contents: &PfxContents, wanted: &PfxCertificate) -> Option<usize> {
    contents.certificates.iter().position(|certificate| std::ptr::eq(certificate, wanted))
}

fn protection(protection: &Protection) -> Value {
    match protection {
        Protection::Encrypted { scheme, iterations } => {
            json!({ "scheme": scheme, "iterations": iterations, "strength": judged(&strength::of_scheme(scheme, *iterations)) })
        }
        _ => Value::Null,
    }
}

fn judged(strength: &Strength) -> Value {
    json!({ "judgement": strength.judgement, "why": strength.why })
}

fn attributes(attributes: &[PfxAttribute]) -> Vec<String> {
    attributes.iter().map(|attribute| attribute.name.map_or_else(|| attribute.oid.clone(), str::to_owned)).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
