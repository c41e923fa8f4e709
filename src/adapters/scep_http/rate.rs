//! How often one address may have a private key used: a token bucket in one word, in a table of fixed size.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv4Addr};

/// Buckets in the table: 512 KiB in all.
const SLOTS: usize = 1 << 16;

/// How many PKIOperations one client address is served: so many at once, and one more after each interval.
///
/// The default is 120 at once and 10 a second. One takes two RSA operations here, 2 to 3 ms of a core, so one address gets a few hundredths
/// of a core; 1,000 devices behind one address are through in a minute and a half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    interval: u64,
    burst: u32,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self::new(Duration::from_millis(100), 120)
    }
}

impl RateLimit {
    /// `burst` requests at once (at least 1), and one more after each `interval`.
    #[must_use]
    pub fn new(interval: Duration, burst: u32) -> Self {
        Self { interval: nanoseconds(interval).max(1), burst: burst.max(1) }
    }

    /// Takes a token from the bucket that will be full at `full_at`: gives when it will be full after that, or the time until there is a
    /// token. All times in nanoseconds of one clock.
    fn take(self, full_at: u64, now: u64) -> Result<u64, Duration> {
        let after = full_at.max(now).saturating_add(self.interval);
        let capacity = self.interval.saturating_mul(u64::from(self.burst));
        match (after - now).checked_sub(capacity) {
            None | Some(0) => Ok(after),
            Some(missing) => Err(Duration::from_nanos(missing)),
        }
    }
}

/// The buckets of all addresses.
///
/// Addresses are hashed, under a key drawn at start, to one of a fixed number of buckets, and those that fall together share one. So
/// there is nothing to evict: nobody gets a fresh bucket by making others come, and memory does not grow under an attack. To be refused
/// for others' sake, an address must share its bucket with one that asks too much: 1 in 65,536 for each such address. Who commands so many
/// IPv6 networks that this matters asks for more than the service can do, which sheds load by itself.
#[derive(Debug)]
pub(super) struct RateLimiter {
    limit: RateLimit,
    key: RandomState,
    full_at: Box<[AtomicU64]>,
}

impl RateLimiter {
    pub(super) fn new(limit: RateLimit) -> Self {
        Self { limit, key: RandomState::new(), full_at: (0..SLOTS).map(|_| AtomicU64::new(0)).collect() }
    }

    /// A token for that address at that time of a clock that never goes back; otherwise how long to wait.
    pub(super) fn take(&self, address: Option<IpAddr>, now: Duration) -> Result<(), Duration> {
        let now = nanoseconds(now);
        // The mask keeps the index in bounds.
        let slot = &self.full_at[self.key.hash_one(Client::of(address)) as usize & (SLOTS - 1)];
        let taken = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| self.limit.take(full_at, now).ok());
        match taken {
            Ok(_) => Ok(()),
            Err(full_at) => self.limit.take(full_at, now).map(|_| ()),
        }
    }
}

/// Who shares a bucket by right: an IPv4 address, the /64 that one IPv6 site has at least (RFC 6177), or all whose address is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Client {
    Unknown,
    V4(Ipv4Addr),
    V6([u8; 8]),
}

impl Client {
    fn of(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            None => Self::Unknown,
            Some(IpAddr::V4(address)) => Self::V4(address),
            Some(IpAddr::V6(address)) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_burst_is_served_and_then_one_for_each_interval() {
        let limit = RateLimit::new(Duration::from_secs(1), 3);
        let now = 100 * SECOND;
        let mut full_at = 0;
        for _ in 0..3 {
            full_at = limit.take(full_at, now).unwrap();
        }
        assert_eq!(limit.take(full_at, now), Err(Duration::from_secs(1)));
        assert_eq!(limit.take(full_at, now + SECOND / 4), Err(Duration::from_millis(750)));
        full_at = limit.take(full_at, now + SECOND).unwrap();
        assert!(limit.take(full_at, now + SECOND).is_err());
        // A refusal takes nothing, and no rest fills the bucket beyond its burst.
        full_at = limit.take(full_at, now + 500 * SECOND).unwrap();
        full_at = limit.take(full_at, now + 500 * SECOND).unwrap();
        full_at = limit.take(full_at, now + 500 * SECOND).unwrap();
        assert!(limit.take(full_at, now + 500 * SECOND).is_err());
    }

    #[test]
    fn edge_values_neither_overflow_nor_refuse_all() {
        for limit in [RateLimit::new(Duration::ZERO, 0), RateLimit::new(Duration::MAX, u32::MAX), RateLimit::default()] {
            for now in [0, 1, u64::MAX] {
                assert!(limit.take(0, now).is_ok(), "{limit:?} at {now}");
            }
        }
        assert!(RateLimit::new(Duration::from_secs(1), 1).take(u64::MAX, 0).is_err());
    }

    #[test]
    fn addresses_share_a_bucket_by_network_only() {
        let client = |text| Client::of(address(text));
        assert_eq!(client("192.0.2.1"), client("::ffff:192.0.2.1"), "an IPv4 address in IPv6 clothes");
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        assert_eq!(client("2001:db8:0:1::1"), client("2001:db8:0:1:ffff::2"), "the same /64");
        assert_ne!(client("2001:db8:0:1::1"), client("2001:db8:0:2::1"));
        let limiter = RateLimiter::new(RateLimit::new(Duration::from_secs(3_600), 1));
        let take = |address| limiter.take(address, Duration::from_secs(5)).is_ok();
        assert!(take(None));
        assert!(!take(None), "who is not known shares one bucket");
        // Two fall together with a chance of 1 in 65,536: hardly ten of a hundred.
        let others = (0..100).filter(|last| take(Some(IpAddr::from([198, 51, 100, *last])))).count();
        assert!(others > 90, "{others}");
    }

    #[test]
    fn no_crowd_of_other_addresses_resets_a_bucket() {
        let limiter = RateLimiter::new(RateLimit::new(Duration::from_secs(3_600), 1));
        let now = Duration::from_secs(5);
        limiter.take(address("192.0.2.1"), now).unwrap();
        for network in 0..200_000u32 {
            let [a, b, c, d] = network.to_be_bytes();
            let _ = limiter.take(Some(IpAddr::from([0x20, 1, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])), now);
        }
        assert!(limiter.take(address("192.0.2.1"), now).is_err());
        assert_eq!(limiter.full_at.len() * size_of::<AtomicU64>(), 512 << 10);
    }
}
