//! Which senderNonces were used of late, and by which message.

use core::time::Duration;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::message::scep::Nonce;
use crate::time::Timestamp;

/// Most nonces kept, the newest: about 5 MiB.
const CAPACITY: usize = 1 << 16;

/// Remembers the nonces of verified requests of this instance. A nonce that comes again with other bytes is a replay, or a broken client.
#[derive(Debug)]
pub(super) struct NonceCache {
    window: Duration,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    by_nonce: HashMap<[u8; 16], u64>,
    /// The oldest first.
    order: VecDeque<(Timestamp, [u8; 16])>,
}

impl NonceCache {
    /// For nonces of this last time.
    pub(super) fn new(window: Duration) -> Self {
        Self { window, used: Mutex::default() }
    }

    /// Whether another message had this nonce. `message` is the SHA-256 of the bytes.
    pub(super) fn is_reused(&self, nonce: &Nonce, message: &[u8; 32], now: Timestamp) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.forget_before(now.saturating_sub(self.window));
        used.by_nonce.get(nonce.as_bytes()).is_some_and(|known| *known != short(message))
    }

    /// Remembers the nonce of a request whose CSR has verified; `false` when another message has taken it meanwhile. No challenge has been
    /// looked at yet: whoever sends 65,536 requests makes the cache forget others.
    pub(super) fn remember(&self, nonce: [u8; 16], message: &[u8; 32], now: Timestamp) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = used.by_nonce.get(&nonce) {
            return *known == short(message);
        }
        used.by_nonce.insert(nonce, short(message));
        used.order.push_back((now, nonce));
        if used.order.len() > CAPACITY
            && let Some((_, oldest)) = used.order.pop_front()
        {
            used.by_nonce.remove(&oldest);
        }
        true
    }
}

impl Used {
    fn forget_before(&mut self, time: Timestamp) {
        while let Some((at, nonce)) = self.order.front().copied().filter(|(at, _)| *at < time) {
            let _ = at;
            self.order.pop_front();
            self.by_nonce.remove(&nonce);
        }
    }
}

/// Enough of a digest to tell two messages apart: whoever finds a collision only repeats its own nonce.
fn short(message: &[u8; 32]) -> u64 {
    u64::from_be_bytes([message[0], message[1], message[2], message[3], message[4], message[5], message[6], message[7]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_with_other_bytes_is_reused_until_its_time_is_over() {
        let cache = NonceCache::new(Duration::from_secs(10));
        let (nonce, now) = (Nonce::new([1; 16]), Timestamp::from_secs(1_000));
        assert!(!cache.is_reused(&nonce, &[1; 32], now));
        assert!(cache.remember([1; 16], &[1; 32], now));
        assert!(cache.remember([1; 16], &[1; 32], now), "the same bytes are a repeat");
        assert!(!cache.remember([1; 16], &[2; 32], now), "both were looked up before either was remembered");
        assert!(!cache.is_reused(&nonce, &[1; 32], now), "the same bytes are a repeat");
        assert!(cache.is_reused(&nonce, &[2; 32], now));
        assert!(!cache.is_reused(&nonce, &[2; 32], now.saturating_add(Duration::from_secs(11))));
    }

    #[test]
    fn the_oldest_are_forgotten_first() {
        let cache = NonceCache::new(Duration::from_secs(10));
        let now = Timestamp::from_secs(1_000);
        for number in 0..=CAPACITY as u64 {
            let mut nonce = [0; 16];
            nonce[..8].copy_from_slice(&number.to_be_bytes());
            cache.remember(nonce, &[1; 32], now);
        }
        assert!(!cache.is_reused(&Nonce::new([0; 16]), &[2; 32], now));
        let mut second = [0; 16];
        second[7] = 1;
        assert!(cache.is_reused(&Nonce::new(second), &[2; 32], now));
    }
}
