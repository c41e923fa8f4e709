//! The provider: named slots, each replaceable alone.

use std::sync::Arc;

use super::{
    Aead, ContentCipher, CryptoError, DecryptionKeyLoader, Digest, Hmac, KeyAgreement, KeyGeneration, KeyTransport, KeyTransportAlgorithm,
    KeyWrap, Pbkdf2, Scrypt, SecureRandom, SignatureAlgorithm, SignatureVerification, SigningKeyLoader, fips,
};

macro_rules! slots {
    ($($(#[$doc:meta])* $name:ident / $with:ident / $variant:ident : $trait:ident;)*) => {
        /// The slots of a [`CryptoProvider`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum SlotName {
            $($(#[$doc])* $variant,)*
        }

        impl SlotName {
            /// Every slot.
            pub const ALL: &'static [SlotName] = &[$(SlotName::$variant,)*];

            /// The name in error messages: the provider's method of that name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($name),)*
                }
            }
        }

        /// Where the connector's cryptography comes from.
        ///
        /// Make one with a backend's constructor, then replace single slots with the `with_` methods. No backend is chosen silently.
        #[derive(Debug, Clone)]
        pub struct CryptoProvider {
            name: &'static str,
            restriction: Restriction,
            keys: Keys,
            $($name: Option<Arc<dyn $trait>>,)*
        }

        impl CryptoProvider {
            /// A provider without any slot filled; `name` appears in error messages.
            #[must_use]
            pub const fn empty(name: &'static str) -> Self {
                Self { name, restriction: Restriction::None, keys: Keys::Any, $($name: None,)* }
            }

            /// The name given by the constructor.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                self.name
            }

            /// Whether the slot is filled.
            #[must_use]
            pub fn has(&self, slot: SlotName) -> bool {
                match slot {
                    $(SlotName::$variant => self.$name.is_some(),)*
                }
            }

            /// Restricts the provider to what FIPS approves: everything else is refused with [`CryptoError::NotApproved`], which says
            /// what to do instead. Slots that are replaced later are restricted as well. Cannot be undone.
            ///
            /// This says which algorithms may be used, not who does them: that is [`slot_is_fips`](Self::slot_is_fips).
            /// `docs/fips.md` has the table of what is refused and what remains.
            #[must_use]
            pub fn fips_approved_only(mut self) -> Self {
                if self.restriction == Restriction::None {
                    self.restriction = Restriction::FipsApproved;
                    $(self.$name = self.$name.map(fips::$name);)*
                    self.scrypt = Some(Arc::new(fips::RefusedScrypt));
                }
                self
            }

            /// Whether the slot is filled by a validated FIPS module, for the algorithms that FIPS approves.
            #[must_use]
            pub fn slot_is_fips(&self, slot: SlotName) -> bool {
                match slot {
                    $(SlotName::$variant => self.$name.as_ref().is_some_and(|slot| slot.fips()),)*
                }
            }

            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// [`MissingSlot`] when the provider has none.
                pub fn $name(&self) -> Result<&dyn $trait, MissingSlot> {
                    self.$name.as_deref().ok_or(MissingSlot { provider: self.name, slot: SlotName::$variant })
                }

                /// Replaces this slot.
                #[must_use]
                pub fn $with(mut self, slot: Arc<dyn $trait>) -> Self {
                    self.$name = Some(match self.restriction {
                        Restriction::None => slot,
                        Restriction::FipsApproved => fips::$name(slot),
                    });
                    self
                }
            )*
        }
    };
}

/// What a provider does of all that its slots could.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Restriction {
    None,
    FipsApproved,
}

/// Which private keys of others are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keys {
    Any,
    InsideFipsModules,
}

impl CryptoProvider {
    /// Refuses private keys that do not say that they are inside a FIPS module, where they are found at run time.
    pub(crate) fn fips_keys_only(mut self) -> Self {
        self.keys = Keys::InsideFipsModules;
        self
    }

    /// Whether a key whose `fips` says this may be used.
    #[cfg(feature = "import")]
    pub(crate) fn permits_key(&self, fips: bool) -> Result<(), CryptoError> {
        if fips || self.keys == Keys::Any {
            return Ok(());
        }
        Err(CryptoError::NotApproved {
            what: "a private key that does not say that it is inside a FIPS module",
            instead: "load it with a provider whose slots are inside one, or let the key's own `fips` say so",
        })
    }

    /// Whether [`fips_approved_only`](Self::fips_approved_only) was called.
    #[must_use]
    pub fn is_fips_approved_only(&self) -> bool {
        self.restriction == Restriction::FipsApproved
    }

    /// Whether a key, wherever it is, may be asked to decrypt what was encrypted so. Asked by whatever opens messages, before the key is.
    ///
    /// # Errors
    /// [`CryptoError::NotApproved`] when the provider is restricted to what FIPS approves.
    pub fn permits_decryption(&self, algorithm: KeyTransportAlgorithm) -> Result<(), CryptoError> {
        match self.restriction {
            Restriction::None => Ok(()),
            Restriction::FipsApproved => fips::approve_key_transport(algorithm),
        }
    }

    /// Whether a key with this SubjectPublicKeyInfo, wherever it is, may be asked to agree on a secret.
    ///
    /// # Errors
    /// [`CryptoError::NotApproved`] when the provider is restricted to what FIPS approves; [`CryptoError::InvalidKey`] for a malformed key.
    pub fn permits_agreement(&self, spki: &[u8]) -> Result<(), CryptoError> {
        match self.restriction {
            Restriction::None => Ok(()),
            Restriction::FipsApproved => fips::approve_agreement_key(spki),
        }
    }

    /// Whether content keys may be wrapped under passwords as RFC 3211 does; its wrap is not among those of NIST SP 800-38F.
    ///
    /// # Errors
    /// [`CryptoError::NotApproved`] when the provider is restricted to what FIPS approves.
    pub fn permits_password_recipients(&self) -> Result<(), CryptoError> {
        match self.restriction {
            Restriction::None => Ok(()),
            Restriction::FipsApproved => Err(fips::password_recipients()),
        }
    }

    /// Whether a key, wherever it is, may be asked to sign so. Asked by whatever signs messages, before the key is.
    ///
    /// # Errors
    /// [`CryptoError::NotApproved`] when the provider is restricted to what FIPS approves.
    pub fn permits_signing(&self, algorithm: SignatureAlgorithm) -> Result<(), CryptoError> {
        match self.restriction {
            Restriction::None => Ok(()),
            Restriction::FipsApproved => fips::approve_signature(algorithm),
        }
    }
}

slots! {
    /// Random bytes.
    random / with_random / Random: SecureRandom;
    /// Digests.
    digest / with_digest / Digest: Digest;
    /// HMAC.
    hmac / with_hmac / Hmac: Hmac;
    /// PBKDF2.
    pbkdf2 / with_pbkdf2 / Pbkdf2: Pbkdf2;
    /// scrypt; only some PFX files need it.
    scrypt / with_scrypt / Scrypt: Scrypt;
    /// AES-CBC and, with the feature `legacy-ciphers`, 3DES, RC2 and RC4.
    content_cipher / with_content_cipher / ContentCipher: ContentCipher;
    /// AES-GCM.
    aead / with_aead / Aead: Aead;
    /// AES key wrap.
    key_wrap / with_key_wrap / KeyWrap: KeyWrap;
    /// ECDH.
    key_agreement / with_key_agreement / KeyAgreement: KeyAgreement;
    /// Key pair generation.
    key_generation / with_key_generation / KeyGeneration: KeyGeneration;
    /// Signature verification.
    verification / with_verification / Verification: SignatureVerification;
    /// RSA encryption to a public key.
    key_transport / with_key_transport / KeyTransport: KeyTransport;
    /// Software signing keys.
    signing_keys / with_signing_keys / SigningKeys: SigningKeyLoader;
    /// Software decryption keys.
    decryption_keys / with_decryption_keys / DecryptionKeys: DecryptionKeyLoader;
}

/// A slot that an operation needs and the provider does not fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the crypto provider `{provider}` has no slot `{}`: use a complete provider (feature `aws-lc-rs`) or fill it with `with_{}`",
    slot.as_str(), slot.as_str()
)]
#[non_exhaustive]
pub struct MissingSlot {
    /// The provider's name.
    pub provider: &'static str,
    /// The slot.
    pub slot: SlotName,
}
