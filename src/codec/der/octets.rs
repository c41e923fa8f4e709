//! The octets of a string type.

use core::fmt;
use core::ops::Deref;

use zeroize::Zeroizing;

/// The octets of a string: borrowed from the input, or joined from the chunks of a BER encoding and wiped when dropped.
#[derive(Clone)]
pub enum Octets<'a> {
    /// One run of bytes in the input.
    Borrowed(&'a [u8]),
    /// Chunks put together.
    Joined(Zeroizing<Vec<u8>>),
}

impl Octets<'_> {
    /// The octets as a vector, which does not wipe itself: for what is no secret.
    #[must_use]
    pub fn into_owned(self) -> Vec<u8> {
        match self {
            Self::Borrowed(bytes) => bytes.to_vec(),
            Self::Joined(mut bytes) => core::mem::take(&mut *bytes),
        }
    }
}

impl Deref for Octets<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Joined(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Octets<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Only the length: the octets may be a clear safe with keys in it.
impl fmt::Debug for Octets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Octets({} bytes)", self.len())
    }
}
