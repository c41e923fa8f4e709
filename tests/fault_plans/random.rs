//! Random bytes that follow from a seed, so that backoffs replay. Keys and paddings come from the backends' own generators.

use std::sync::Mutex;

use intune_connector::crypto::{CryptoError, SecureRandom};

/// xorshift64*: good enough for jitter and ids, and nothing else.
#[derive(Debug)]
pub struct Seeded(Mutex<u64>);

impl Seeded {
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1))
    }

    pub fn below(&self, bound: u64) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % bound
    }
}

impl SecureRandom for Seeded {
    fn fill(&self, out: &mut [u8]) -> Result<(), CryptoError> {
        out.iter_mut().for_each(|byte| *byte = self.below(256) as u8);
        Ok(())
    }
}
