//! Identifiers for single HTTP calls.

use crate::crypto::CryptoProvider;
use crate::ports::PortError;

/// A fresh GUID (RFC 9562 version 4), in lower case with dashes.
///
/// # Errors
/// When the provider has no random numbers: `Misconfigured` without that slot, `Transient` when the system's generator fails.
pub(crate) fn guid(provider: &CryptoProvider) -> Result<String, PortError> {
    let random = provider.random().map_err(|missing| PortError::misconfigured(missing.to_string()))?;
    let mut bytes = [0; 16];
    let failed = |_| PortError::transient("the system gives no random numbers").with_effect(crate::retry::Effect::None);
    random.fill(&mut bytes).map_err(failed)?;
    let number = u128::from_be_bytes(bytes) & !(0xf << 76 | 0b11 << 62) | 0x4 << 76 | 0b10 << 62;
    let hex = format!("{number:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    Ok([part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-"))
}

#[cfg(all(test, any(feature = "ring", feature = "aws-lc-rs")))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::crypto::{CryptoError, SecureRandom};

    #[derive(Debug)]
    struct All(u8);

    impl SecureRandom for All {
        fn fill(&self, out: &mut [u8]) -> Result<(), CryptoError> {
            out.fill(self.0);
            Ok(())
        }
    }

    #[test]
    fn a_guid_has_the_version_and_the_variant_of_rfc_9562() {
        let of = |byte| guid(&CryptoProvider::empty("test").with_random(Arc::new(All(byte)))).unwrap();
        assert_eq!(of(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(of(0xff), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn a_provider_without_random_numbers_gives_none() {
        assert!(guid(&CryptoProvider::empty("test")).unwrap_err().to_string().contains("`random`"));
    }
}
