//! Whose request it is: the connection's other end, or whom a trusted proxy names.

use core::fmt;
use core::str::FromStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName, header};

use super::forwarded::{elements_from_the_right, forwarded_for, listed};

/// The address of the connection's other end. Whoever accepts connections puts it into the extensions of each request; all requests
/// without it are limited together, as if from one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);

/// Addresses with the same first bits, such as `10.0.0.0/8`, `2001:db8::/32` or the single `192.0.2.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IpPrefix {
    address: IpAddr,
    length: u8,
}

/// Why a text is no prefix of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IpPrefixError {
    /// It is not ADDRESS or ADDRESS/LENGTH.
    #[error("not an address or a prefix of addresses; write it as 10.0.0.0/8 or 2001:db8::/32")]
    Malformed,
    /// The address has bits beyond the length: perhaps a typing error.
    #[error("the address has bits set beyond the prefix length; write {0}")]
    HostBits(IpPrefix),
}

impl IpPrefix {
    /// Whether the address begins with this prefix. IPv4 addresses inside IPv6 (`::ffff:0:0/96`) count as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.length) == self.address
    }
}

impl FromStr for IpPrefix {
    type Err = IpPrefixError;

    fn from_str(text: &str) -> Result<Self, IpPrefixError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| IpPrefixError::Malformed)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            Some(length) if length.len() <= 3 && length.bytes().all(|digit| digit.is_ascii_digit()) => {
                length.parse().ok().filter(|length| *length <= bits).ok_or(IpPrefixError::Malformed)?
            }
            Some(_) => return Err(IpPrefixError::Malformed),
            None => bits,
        };
        let prefix = Self { address: masked(address, length), length };
        if prefix.address != address {
            return Err(IpPrefixError::HostBits(prefix));
        }
        // Peers are compared in canonical form.
        Ok(match address.to_canonical() {
            IpAddr::V4(inner) if address.is_ipv6() && length >= 96 => Self { address: IpAddr::V4(inner), length: length - 96 },
            _ => prefix,
        })
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// The address with all bits after the first `length` cleared.
fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(length.into())).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(length.into())).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

/// The header in which proxies name the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardingHeader {
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For`.
    XForwardedFor,
}

/// The proxies whose word on the client's address is taken, and where they write it.
///
/// Name the header that *your* proxy writes: another one passes through it as the client made it up. Each proxy must append to the header,
/// or replace it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedProxies {
    prefixes: Vec<IpPrefix>,
    header: ForwardingHeader,
}

/// No real chain of trusted proxies is longer.
const MAX_HOPS: usize = 16;

impl TrustedProxies {
    /// Connections from these addresses are from proxies that write this header.
    #[must_use]
    pub fn new(prefixes: impl IntoIterator<Item = IpPrefix>, header: ForwardingHeader) -> Self {
        Self { prefixes: prefixes.into_iter().collect(), header }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.prefixes.iter().any(|prefix| prefix.contains(address))
    }

    /// The client: the rightmost address in the header that is no trusted proxy. What stands to its left is hearsay and is not read.
    /// Where the header cannot be read before that, the proxy's own address.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trusts(peer) {
            return peer;
        }
        let name = match self.header {
            ForwardingHeader::Forwarded => header::FORWARDED,
            ForwardingHeader::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
        };
        let address_of = |element: &[u8]| match self.header {
            ForwardingHeader::Forwarded => forwarded_for(element),
            ForwardingHeader::XForwardedFor => listed(element),
        };
        let mut farthest = peer;
        let lines = headers.get_all(name).iter().rev().map(|value| value.as_bytes());
        for (hop, element) in lines.flat_map(elements_from_the_right).enumerate() {
            match element.filter(|_| hop < MAX_HOPS).and_then(address_of).map(|address| address.to_canonical()) {
                Some(address) if self.trusts(address) => farthest = address,
                Some(address) => return address,
                None => return peer,
            }
        }
        farthest
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn prefix(text: &str) -> IpPrefix {
        text.parse().unwrap()
    }

    fn client(header: ForwardingHeader, peer: &str, lines: &[&str]) -> String {
        let proxies = TrustedProxies::new([prefix("10.0.0.0/8"), prefix("fd00::/8")], header);
        let name = match header {
            ForwardingHeader::Forwarded => "forwarded",
            ForwardingHeader::XForwardedFor => "x-forwarded-for",
        };
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn prefixes_are_read_strictly_and_match_by_their_first_bits() {
        assert!(prefix("10.0.0.0/8").contains("10.255.0.1".parse().unwrap()));
        assert!(prefix("10.0.0.0/8").contains("::ffff:10.0.0.1".parse().unwrap()));
        assert!(!prefix("10.0.0.0/8").contains("11.0.0.1".parse().unwrap()));
        assert!(!prefix("0.0.0.0/0").contains("2001:db8::1".parse().unwrap()));
        assert!(prefix("::/0").contains("2001:db8::1".parse().unwrap()));
        assert!(prefix("::ffff:10.0.0.0/104").contains("10.1.2.3".parse().unwrap()));
        assert!(prefix("192.0.2.1").contains("192.0.2.1".parse().unwrap()));
        assert!(!prefix("2001:db8::1").contains("2001:db8::2".parse().unwrap()));
        for malformed in ["", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/8/8", "::/129", "example.org", "10.0.0/8"] {
            assert_eq!(malformed.parse::<IpPrefix>(), Err(IpPrefixError::Malformed), "{malformed}");
        }
        let error = "10.1.2.3/8".parse::<IpPrefix>().unwrap_err();
        assert!(error.to_string().ends_with("write 10.0.0.0/8"), "{error}");
    }

    #[test]
    fn only_a_trusted_peer_is_believed() {
        use ForwardingHeader::XForwardedFor as Xff;
        assert_eq!(client(Xff, "203.0.113.9", &["192.0.2.1"]), "203.0.113.9");
        assert_eq!(client(Xff, "10.0.0.1", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(client(Xff, "10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client(ForwardingHeader::Forwarded, "203.0.113.9", &["for=192.0.2.1"]), "203.0.113.9");
    }

    #[test]
    fn what_the_client_wrote_itself_is_not_believed() {
        use ForwardingHeader::XForwardedFor as Xff;
        assert_eq!(client(Xff, "10.0.0.1", &["198.51.100.1, 192.0.2.1"]), "192.0.2.1");
        assert_eq!(client(Xff, "10.0.0.1", &["198.51.100.1", "192.0.2.1"]), "192.0.2.1");
        assert_eq!(client(Xff, "10.0.0.1", &["198.51.100.1, 192.0.2.1, 10.0.0.2"]), "192.0.2.1");
        assert_eq!(client(Xff, "10.0.0.1", &["10.9.9.9, 192.0.2.1"]), "192.0.2.1");
        // Rubbish to the left of the client's address changes nothing, however long.
        let rubbish = "x".repeat(100_000);
        assert_eq!(client(Xff, "10.0.0.1", &[&format!("{rubbish}, 192.0.2.1")]), "192.0.2.1");
        assert_eq!(client(ForwardingHeader::Forwarded, "10.0.0.1", &["for=\"a, for=192.0.2.1"]), "192.0.2.1");
        assert_eq!(client(ForwardingHeader::Forwarded, "10.0.0.1", &["for=\"[::1]\", for=192.0.2.1;by=\"_x\""]), "192.0.2.1");
    }

    #[test]
    fn what_cannot_be_read_leaves_the_address_of_the_proxy() {
        use ForwardingHeader::XForwardedFor as Xff;
        let long = "1".repeat(10_000);
        for malformed in ["", "unknown", "192.0.2.1,", "192.0.2", "192.0.2.1:", "[2001:db8::1", "fe80::1%eth0", "a b", &long] {
            assert_eq!(client(Xff, "10.0.0.1", &[malformed]), "10.0.0.1", "{malformed}");
        }
        let hops = vec!["10.0.0.2"; 40].join(",");
        assert_eq!(client(Xff, "10.0.0.1", &["192.0.2.1", &hops]), "10.0.0.1", "too many hops");
        assert_eq!(client(Xff, "10.0.0.1", &["10.0.0.7, 10.0.0.2"]), "10.0.0.7", "a client within: the farthest");
    }

    #[test]
    fn both_headers_are_read_in_the_forms_that_proxies_write() {
        use ForwardingHeader::{Forwarded, XForwardedFor as Xff};
        for (line, address) in [
            ("192.0.2.1:4711", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            (" [2001:db8::1]:4711 ", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(client(Xff, "fd00::1", &[line]), address, "{line}");
        }
        for (line, address) in [
            ("for=192.0.2.43", "192.0.2.43"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("proto=https;host=\"a,b;for=198.51.100.1\" ; for=\"192.0.2.60:_port\"", "192.0.2.60"),
            ("for=192.0.2.43, for=198.51.100.17, for=10.1.1.1", "198.51.100.17"),
            ("for=unknown", "10.0.0.1"),
            ("for=_hidden", "10.0.0.1"),
            ("for=2001:db8::1", "10.0.0.1"),
            ("proto=http", "10.0.0.1"),
            ("for=192.0.2.1;for=192.0.2.2", "10.0.0.1"),
            ("for=\"192.0.2.\\1\"", "10.0.0.1"),
            ("for=\"192.0.2.1\"x", "10.0.0.1"),
            ("for=192.0.2.1;", "10.0.0.1"),
        ] {
            assert_eq!(client(Forwarded, "10.0.0.1", &[line]), address, "{line}");
        }
    }
    proptest::proptest! {
        #[test]
        fn whatever_a_client_sends_before_it_the_address_that_the_proxy_appends_counts(
            sent in proptest::collection::vec("[ -~\t]{0,60}|[0-9a-f.:,;=\" for\\[\\]]{0,60}", 0..4),
            appended_to_a_line in proptest::bool::ANY,
        ) {
            for (header, own) in [(ForwardingHeader::XForwardedFor, "203.0.113.5"), (ForwardingHeader::Forwarded, "proto=https;for=\"203.0.113.5:99\"")] {
                let mut lines = sent.clone();
                match lines.last_mut().filter(|_| appended_to_a_line) {
                    Some(last) => *last = format!("{last}, {own}"),
                    None => lines.push(own.to_owned()),
                }
                let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                proptest::prop_assert_eq!(client(header, "10.0.0.1", &lines), "203.0.113.5");
            }
        }
    }
}
