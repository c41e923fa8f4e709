//! Keys for imported passwords, by a password that is encrypted and decrypted.

use std::sync::Arc;

use super::report::{Check, Finding};
use super::scope::Scope;
use crate::crypto::{CryptoProvider, DecryptionKey, UnwrapError, unwrap_now};
use crate::message::reencrypt::{LegacyPadding, PasswordOpening, encrypt_password};
use crate::ports::{DecryptionKeys, ImportKeyName, PortErrorKind};
use crate::secret::Password;
use crate::terms::PaddingScheme;
use crate::time::Timestamp;

/// So many keys of one name are tried for an import request.
const MOST_KEYS: usize = 4;

/// Finds the keys of a name and tries each.
pub(super) async fn check(scope: &Scope, name: &ImportKeyName, keys: &Arc<dyn DecryptionKeys>) -> Vec<Finding> {
    let subject = format!("{}/{}", name.provider, name.key);
    let work = async {
        let found = match keys.find(name).await {
            Ok(found) => found,
            Err(error) => {
                let cure = match error.kind() {
                    PortErrorKind::Misconfigured => "correct the settings of the key store, or let the connector's account use the key",
                    _ => "see that the key store runs and that this host reaches it",
                };
                return vec![Finding::error(Check::ImportKey, &subject, format!("the key store does not answer: {error}"), cure)];
            }
        };
        if found.is_empty() {
            let cure = "install the key on every instance, or upload the files again for a key that is there";
            return vec![Finding::error(Check::ImportKey, &subject, "there is no key of this name", cure)];
        }
        let mut findings = Vec::new();
        if found.len() > MOST_KEYS {
            let what = format!("there are {} keys of this name, and only the first {MOST_KEYS} are tried", found.len());
            findings.push(Finding::warning(Check::ImportKey, &subject, what, "take the oldest away once nothing is encrypted to them"));
        }
        for (at, key) in found.into_iter().take(MOST_KEYS).enumerate() {
            findings.push(try_key(scope, &subject, at, key).await);
        }
        findings
    };
    scope.guard(Check::ImportKey, &subject, work).await
}

async fn try_key(scope: &Scope, subject: &str, at: usize, key: Arc<dyn DecryptionKey>) -> Finding {
    const SCHEME: PaddingScheme = PaddingScheme::OaepSha512;
    let failed = |what: String| Finding::error(Check::ImportKey, subject, what, "load a key of RSA 2048 bits or more for decryption");
    let (provider, public_key) = (Arc::clone(&scope.provider), key.public_key());
    let prepared = scope.offload(move || prepare(&provider, public_key.as_ref(), SCHEME)).await;
    let (password, opening) = match prepared {
        Ok(Ok(prepared)) => prepared,
        Ok(Err(why)) => return failed(format!("key {at} carries no password: {why}")),
        Err(why) => return failed(format!("key {at}: {why}")),
    };
    let request = opening.unwrap_request().clone();
    let unwrapped = if key.is_local() {
        match scope.offload(move || unwrap_now(&*key, &request)).await {
            Ok(unwrapped) => unwrapped,
            Err(why) => return failed(format!("key {at}: {why}")),
        }
    } else {
        key.unwrap(&request).await
    };
    if matches!(unwrapped, Err(UnwrapError::Unavailable(_))) {
        let cure = "see that the key store or HSM runs and that the connector's account is logged in to it";
        return Finding::error(Check::ImportKey, subject, format!("key {at} is there, and out of reach"), cure);
    }
    match opening.finish(unwrapped) {
        Ok(opened) if opened.password().secret_bytes() == password.secret_bytes() => {
            Finding::ok(Check::ImportKey, subject, format!("key {at} decrypts what is encrypted to it"))
        }
        _ => failed(format!("key {at} does not decrypt what is encrypted to its own public key")),
    }
}

/// CPU work: a random password, encrypted to the key.
fn prepare(provider: &CryptoProvider, spki: &[u8], scheme: PaddingScheme) -> Result<(Password, PasswordOpening), String> {
    let mut bytes = zeroize::Zeroizing::new([0u8; 16]);
    let random = provider.random().map_err(|error| error.to_string())?;
    random.fill(&mut *bytes).map_err(|error| error.to_string())?;
    let password = Password::new(bytes.iter().map(|byte| b'a' + byte % 16).collect::<Vec<u8>>());
    let encrypted = encrypt_password(provider, spki, scheme, LegacyPadding::Refuse, &password).map_err(|error| error.to_string())?;
    let opening = PasswordOpening::new(encrypted, scheme, LegacyPadding::Refuse, provider).map_err(|error| error.to_string())?;
    Ok((password, opening))
}

/// The end of a certificate that the connector works with: a recrypt certificate, an RA's, a client's.
pub(super) fn certificate(scope: &Scope, name: &str, der: &[u8], now: Timestamp) -> Finding {
    match crate::message::certificate::Certificate::from_der(der, &scope.limits) {
        Ok(certificate) => {
            let what = format!("the certificate {}", certificate.subject());
            super::expiry::expiry(
                Check::Certificate,
                name,
                &what,
                certificate.not_after(),
                now,
                "renew it, and load the new one with its key",
            )
        }
        Err(error) => Finding::error(Check::Certificate, name, format!("it cannot be read: {error}"), "give it as DER"),
    }
}
