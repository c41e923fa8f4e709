//! Checks of a key store.

use core::task::{Context, Poll};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::task::noop_waker;

use super::report::{Report, Stop, broken, demand, only_if};
use crate::crypto::{CryptoProvider, DecryptionKey, KeyTransportAlgorithm, UnwrapError, UnwrapRequest};
use crate::ports::{DecryptionKeys, ImportKeyName};

const SCHEMES: [KeyTransportAlgorithm; 3] =
    [KeyTransportAlgorithm::RsaOaepSha256, KeyTransportAlgorithm::RsaOaepSha384, KeyTransportAlgorithm::RsaOaepSha512];
const SECRET: &[u8] = b"conformance test";

/// Checks a key store that holds at least one key under `name`. Each key decrypts a few times; nothing is changed.
pub async fn check_decryption_keys(keys: &dyn DecryptionKeys, name: &ImportKeyName, provider: &CryptoProvider) -> Report {
    let mut report = Report::new("DecryptionKeys");
    let mut found = Vec::new();
    report
        .run("the named key is found", async {
            found = keys.find(name).await?;
            demand(!found.is_empty(), || "there is no key of that name".to_owned())
        })
        .await;
    let found = found;
    report
        .run("the same keys are found again, in the same order", async {
            only_if(!found.is_empty(), "no key was found")?;
            let again = keys.find(name).await?;
            demand(spkis(&again) == spkis(&found), || "a second find gave other keys".to_owned())
        })
        .await;
    report
        .run("no key is there twice", async {
            let mut all = spkis(&found);
            all.sort();
            all.dedup();
            demand(all.len() == found.len(), || "two entries have one public key".to_owned())
        })
        .await;
    report
        .run("an unknown name gives no key and no error", async {
            let unknown = ImportKeyName { provider: name.provider.clone(), key: format!("{} conformance test: no such key", name.key) };
            demand(keys.find(&unknown).await?.is_empty(), || "keys were found under a name that nobody gave".to_owned())
        })
        .await;
    report
        .run("each key decrypts what is encrypted to its public key", async {
            only_if(!found.is_empty(), "no key was found")?;
            for key in &found {
                for scheme in SCHEMES {
                    decrypts(&**key, scheme, provider).await?;
                }
            }
            Ok(())
        })
        .await;
    report
        .run("a damaged ciphertext is rejected, not called unavailable", async {
            only_if(!found.is_empty(), "no key was found")?;
            for key in &found {
                let good = encrypt(&**key, SCHEMES[0], provider)?;
                let mut flipped = good.clone();
                if let Some(byte) = flipped.last_mut() {
                    *byte ^= 1;
                }
                let shorter = good.get(1..).unwrap_or_default().to_vec();
                let longer = [good.as_slice(), &[0]].concat();
                for wrong in [flipped, shorter, longer, Vec::new()] {
                    let answer = key.unwrap(&UnwrapRequest::new(SCHEMES[0], wrong)).await;
                    demand(matches!(answer, Err(UnwrapError::Rejected)), || format!("it answered {answer:?}"))?;
                }
            }
            Ok(())
        })
        .await;
    report
        .run("a key agreement asked of an RSA key is called unsupported", async {
            only_if(!found.is_empty(), "no key was found")?;
            for key in &found {
                let answer = key.unwrap(&UnwrapRequest::key_agreement(key.public_key().to_vec())).await;
                demand(matches!(answer, Err(UnwrapError::Unsupported(_))), || format!("it answered {answer:?}"))?;
            }
            Ok(())
        })
        .await;
    report
        .run("a key that calls itself local does not wait", async {
            only_if(found.iter().any(|key| key.is_local()), "no key calls itself local")?;
            for key in found.iter().filter(|key| key.is_local()) {
                let request = UnwrapRequest::new(SCHEMES[0], encrypt(&**key, SCHEMES[0], provider)?);
                let done = key.unwrap(&request).now_or_never().is_some();
                demand(done, || "its future had to wait".to_owned())?;
            }
            Ok(())
        })
        .await;
    report
        .run("a dropped call leaves the key usable", async {
            only_if(!found.is_empty(), "no key was found")?;
            for key in &found {
                let request = UnwrapRequest::new(SCHEMES[0], encrypt(&**key, SCHEMES[0], provider)?);
                let mut call = key.unwrap(&request);
                let waker = noop_waker();
                let _: Poll<_> = call.as_mut().poll(&mut Context::from_waker(&waker));
                drop(call);
                decrypts(&**key, SCHEMES[0], provider).await?;
            }
            Ok(())
        })
        .await;
    report
}

fn spkis(keys: &[Arc<dyn DecryptionKey>]) -> Vec<Vec<u8>> {
    keys.iter().map(|key| key.public_key().to_vec()).collect()
}

fn encrypt(key: &dyn DecryptionKey, scheme: KeyTransportAlgorithm, provider: &CryptoProvider) -> Result<Vec<u8>, Stop> {
    provider.key_transport().map_err(broken)?.encrypt(scheme, &key.public_key(), SECRET).map_err(broken)
}

async fn decrypts(key: &dyn DecryptionKey, scheme: KeyTransportAlgorithm, provider: &CryptoProvider) -> Result<(), Stop> {
    let request = UnwrapRequest::new(scheme, encrypt(key, scheme, provider)?);
    match key.unwrap(&request).await {
        Ok(secret) => demand(secret.secret_bytes() == SECRET, || format!("{scheme:?} gave other bytes than were encrypted")),
        Err(error) => Err(Stop::Failed(format!("{scheme:?}: {error}"))),
    }
}
