//! What goes wrong with a call, by chance.

use std::sync::atomic::{AtomicU64, Ordering};

use intune_connector::ports::PortError;
use intune_connector::retry::Effect;

/// One stream of chance; the same seed gives the same.
#[derive(Debug)]
pub struct Faults {
    in_ten_thousand: u64,
    state: AtomicU64,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Works,
    /// It does nothing.
    Fails,
    /// It works, and nobody learns of it.
    IsLost,
}

impl Faults {
    pub fn new(in_ten_thousand: u64, seed: u64) -> Self {
        Self { in_ten_thousand, state: AtomicU64::new(seed) }
    }

    pub fn fate(&self) -> Fate {
        if self.in_ten_thousand == 0 {
            return Fate::Works;
        }
        // SplitMix64.
        let mut bits = self.state.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^= bits >> 31;
        match bits % 10_000 {
            chance if chance >= self.in_ten_thousand => Fate::Works,
            chance if chance % 2 == 0 => Fate::Fails,
            _ => Fate::IsLost,
        }
    }

    /// The error before the call does anything, if any, and whether its answer is lost.
    ///
    /// # Errors
    /// The call fails.
    pub fn before(&self, what: &str) -> Result<bool, PortError> {
        match self.fate() {
            Fate::Works => Ok(false),
            Fate::IsLost => Ok(true),
            Fate::Fails => Err(PortError::transient(format!("{what}: refused by chance")).with_effect(Effect::None)),
        }
    }
}

/// The answer that nobody gets.
pub fn lost(what: &str) -> PortError {
    PortError::transient(format!("{what}: its answer was lost by chance"))
}
