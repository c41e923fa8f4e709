//! What `build()` says about algorithms that the provider does not serve, and about what is outside of a FIPS module.

use super::Finding;
#[cfg(any(feature = "pkcs", feature = "import"))]
use crate::crypto::{ContentCipherAlgorithm, CryptoError, KeyTransportAlgorithm};
use crate::crypto::{CryptoProvider, SlotName};

/// What is wrong with the algorithms that a flow's envelopes are made with. A missing slot is told elsewhere.
#[cfg(any(feature = "pkcs", feature = "import"))]
pub(crate) fn envelope_findings(
    flow: &str,
    provider: &CryptoProvider,
    cipher: ContentCipherAlgorithm,
    transport: KeyTransportAlgorithm,
) -> Vec<Finding> {
    let cipher = provider.content_cipher().map(|slot| (slot.check(cipher), format!("{cipher:?}")));
    let transport = provider.key_transport().map(|slot| (slot.check(transport), format!("{transport:?}")));
    let told = |(answer, algorithm): (Result<(), CryptoError>, String)| {
        let (problem, remedy) = match answer.err()? {
            CryptoError::NotApproved { what, instead } => {
                (format!("{what} is not approved by FIPS"), format!("{instead}, by `with_envelope`"))
            }
            _ => (
                format!("the crypto provider `{}` cannot encrypt with {algorithm}", provider.name()),
                "choose another by `with_envelope`, or use a provider that has it (3DES needs the feature `legacy-ciphers`)".to_owned(),
            ),
        };
        Some(Finding::new(format!("{flow}.envelope"), problem, remedy))
    };
    [cipher, transport].into_iter().flatten().filter_map(told).collect()
}

/// What is outside of a FIPS module although one is demanded: slots that are filled (empty ones are told elsewhere), and settings that hold
/// a private key.
pub(crate) fn module_findings(
    provider: &CryptoProvider,
    slots: impl IntoIterator<Item = SlotName>,
    keys: impl IntoIterator<Item = String>,
) -> Vec<Finding> {
    let outside = slots.into_iter().filter(|slot| provider.has(*slot) && !provider.slot_is_fips(*slot));
    let slots = outside.map(|slot| {
        Finding::new(
            format!("provider.{}", slot.as_str()),
            format!("`require_fips` was called, but `{}` fills it from outside a FIPS module", provider.name()),
            "enable the FIPS module of the backend in your own manifest, or replace the slot",
        )
    });
    let keys = keys.into_iter().map(|setting| {
        Finding::new(
            setting,
            "`require_fips` was called, but the key does not say that it is inside a FIPS module",
            "load it with a provider whose slots are inside one, or let the key's own `fips` say so",
        )
    });
    slots.chain(keys).collect()
}
