//! Reads `Forwarded` and `X-Forwarded-For` from the right, where the nearest proxy wrote: what stands left of the first untrusted address
//! may be the client's own invention, so it must not decide how the rest is read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// No element that names an address is longer; RFC 7239's have a few short parameters.
const MAX_ELEMENT: usize = 512;

/// The elements of one comma-separated header line, the last first; `None` for one that is too long, which is the last then. A quote
/// hides commas until the next quote. No address needs an escaped quote, and an element with one does not parse.
pub(super) fn elements_from_the_right(line: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = Some(line);
    core::iter::from_fn(move || {
        let text = rest?;
        let mut quoted = false;
        for (length, byte) in text.iter().rev().take(MAX_ELEMENT).enumerate() {
            match byte {
                b'"' => quoted = !quoted,
                b',' if !quoted => {
                    let (before, element) = text.split_at(text.len() - length);
                    rest = before.split_last().map(|(_, before)| before);
                    return Some(Some(element));
                }
                _ => {}
            }
        }
        rest = None;
        Some((text.len() <= MAX_ELEMENT).then_some(text))
    })
}

/// The address in one element of `X-Forwarded-For`; some gateways add the port.
pub(super) fn listed(element: &[u8]) -> Option<IpAddr> {
    let text = core::str::from_utf8(element).ok()?.trim_matches([' ', '\t']);
    text.parse::<Ipv6Addr>().map(IpAddr::V6).ok().or_else(|| node(text))
}

/// The address in the parameter `for` of one element of `Forwarded`.
pub(super) fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let mut rest = core::str::from_utf8(element).ok()?.trim_matches([' ', '\t']);
    let mut found = None;
    loop {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_matches([' ', '\t']);
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find(';').unwrap_or(after.len())),
        };
        if name.eq_ignore_ascii_case("for") && found.replace(value.trim_matches([' ', '\t'])).is_some() {
            return None;
        }
        let after = after.trim_start_matches([' ', '\t']);
        if after.is_empty() {
            return found.and_then(node);
        }
        rest = after.strip_prefix(';')?;
    }
}

/// `node` of RFC 7239 section 6 when it is an address: IPv4, or IPv6 in brackets, with or without a port.
fn node(text: &str) -> Option<IpAddr> {
    let (address, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (address, port) = bracketed.split_once(']')?;
            (IpAddr::V6(address.parse::<Ipv6Addr>().ok()?), port)
        }
        None => {
            let (address, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (IpAddr::V4(address.parse::<Ipv4Addr>().ok()?), port)
        }
    };
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(line: &str) -> Vec<Option<&str>> {
        elements_from_the_right(line.as_bytes()).map(|element| element.map(|element| core::str::from_utf8(element).unwrap())).collect()
    }

    #[test]
    fn elements_come_from_the_right_and_quotes_hide_commas() {
        assert_eq!(elements("a, b,c"), [Some("c"), Some(" b"), Some("a")]);
        assert_eq!(elements(",a,"), [Some(""), Some("a"), Some("")]);
        assert_eq!(elements("a,b=\"c,d\""), [Some("b=\"c,d\""), Some("a")]);
        assert_eq!(elements(""), [Some("")]);
    }

    #[test]
    fn what_is_too_long_ends_the_list() {
        let long = format!("first,{},last", "x".repeat(MAX_ELEMENT));
        assert_eq!(elements(&long), [Some("last"), None]);
    }
}
