//! URLs from settings and from answers, checked before anything secret goes there.

use url::{Host, Url};

/// Reads a URL to which paths are appended: `https`, or plain on a loopback address when that is allowed; a host; no user name, no query,
/// no fragment.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub(crate) fn base_url(text: &str, plain_on_loopback: bool) -> Result<Url, &'static str> {
    // The parser drops tabs and line ends, and turns backslashes.
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return Err("has a character that URLs do not have");
    }
    // It also takes one slash, or three, for two.
    if !text.split_once("://").is_some_and(|(scheme, rest)| !scheme.contains([':', '/']) && !rest.starts_with('/')) {
        return Err("is no absolute URL");
    }
    let url = Url::parse(text).map_err(|_| "is no absolute URL")?;
    let Some(host) = url.host() else { return Err("has no host") };
    let loopback = match host {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        Host::Domain(_) => false,
    };
    match url.scheme() {
        "https" => {}
        "http" if plain_on_loopback && loopback => {}
        "http" if plain_on_loopback => return Err("is plain HTTP to a host that is no loopback address"),
        _ => return Err("is not https"),
    }
    if !url.username().is_empty() || url.password().is_some() || text.contains('@') {
        return Err("has a user name in it");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or a fragment");
    }
    Ok(url)
}

/// Whether the host is one of these, or below one of them.
pub(crate) fn is_within<'a>(url: &Url, suffixes: impl IntoIterator<Item = &'a String>) -> bool {
    let Some(host) = url.host_str() else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_name = matches!(url.host(), Some(Host::Domain(_)));
    suffixes.into_iter().any(|suffix| {
        let suffix = suffix.to_ascii_lowercase();
        let below = || host.strip_suffix(&suffix).is_some_and(|rest| rest.ends_with('.'));
        !suffix.is_empty() && (host == suffix || is_name && below())
    })
}

/// Whether the text can stand between the slashes of a URL as it is.
pub(crate) fn is_path_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && text.len() <= 255 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_is_a_base_and_nothing_hides_in_it() {
        for good in
            ["https://fef.msub01.manage.microsoft.com/RACerts/X", "https://a.example", "https://a.example:8443/x/", "HTTPS://A.example/"]
        {
            assert!(base_url(good, false).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a.example/x",
            "http://a.example/",
            "ftp://a.example/",
            "file:///etc/passwd",
            "https:///x",
            "https:/a.example/",
            "https:a.example/",
            "https://",
            "https://user@a.example/",
            "https://user:pw@a.example/",
            "https://@a.example/",
            "https://a.example/?x",
            "https://a.example/#x",
            "https://a.example/x y",
            "https://a.example\\@b.example/",
            "https://a.exa\tmple/",
            "https://a.example/\n",
            "https://\u{430}.example/",
            "https://a.example:99999/",
            "javascript:alert(1)",
            "data:,x",
        ] {
            assert!(base_url(bad, false).is_err(), "{bad}");
        }
    }

    #[test]
    fn plain_http_needs_a_loopback_address_and_permission() {
        for loopback in ["http://127.0.0.1:8080/x", "http://[::1]:8080/", "http://127.9.9.9/"] {
            assert!(base_url(loopback, true).is_ok(), "{loopback}");
            assert_eq!(base_url(loopback, false), Err("is not https"));
        }
        for other in ["http://localhost/", "http://10.0.0.1/", "http://127.0.0.1.a.example/", "http://[::2]/", "http://[::ffff:127.0.0.1]/"]
        {
            assert!(base_url(other, true).is_err(), "{other}");
        }
    }

    #[test]
    fn a_host_is_within_a_suffix_at_a_dot_alone() {
        let suffixes = ["manage.microsoft.com".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let within = |url: &str| is_within(&Url::parse(url).unwrap(), &suffixes);
        for good in ["https://manage.microsoft.com", "https://FEF.x.manage.microsoft.com/", "https://127.0.0.1:1/", "https://[::1]:1/"] {
            assert!(within(good), "{good}");
        }
        for bad in [
            "https://evilmanage.microsoft.com",
            "https://manage.microsoft.com.evil.example",
            "https://microsoft.com",
            "https://manage.microsoft.com.",
            "https://10.127.0.0.1.example",
            "https://[::11]/",
        ] {
            assert!(!within(bad), "{bad}");
        }
    }

    #[test]
    fn a_segment_cannot_leave_its_place() {
        assert!(is_path_segment("contoso.onmicrosoft.example") && is_path_segment("0000000a-0000-0000-c000-000000000000"));
        for bad in ["", ".", "..", "a/b", "a?b", "a#b", "a b", "a%2fb", "a\\b", "\u{fc}", "a:b", "a@b"] {
            assert!(!is_path_segment(bad), "{bad}");
        }
    }
}
