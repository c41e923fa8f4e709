//! The rules for names in the subjectAltName.

use std::net::IpAddr;

use super::sid::{check_sid, sid_of_uri};
use super::{IssuancePolicy, PolicyRefusal, Rule};
use crate::ids::Sid;
use crate::terms::SubjectAltName;

/// Longest name in bytes: the upper bound of RFC 5280 appendix A.1 for e-mail addresses, and Intune's UPNs are shorter.
const NAME_BYTES: usize = 320;
/// Most names in a certificate; Intune profiles have a handful.
const NAMES: usize = 32;

/// Whether the names are taken from the lists of the policy or have been compared by a validator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NamesAre {
    Listed,
    CheckedByValidator,
}

/// Checks every name; gives the SID of a SID URI.
pub(super) fn check_names(policy: &IssuancePolicy, names: &[SubjectAltName], trust: NamesAre) -> Result<Option<Sid>, PolicyRefusal> {
    if names.len() > NAMES {
        return Err(syntax(format!("there are {} names; at most {NAMES} are allowed", names.len())));
    }
    let mut found = None;
    for name in names {
        if let Some(sid) = check_name(policy, name, trust)? {
            if found.as_ref().is_some_and(|other| *other != sid) {
                return Err(PolicyRefusal::new(Rule::Sid, "the subjectAltName holds two different SIDs"));
            }
            found = Some(sid);
        }
    }
    Ok(found)
}

fn check_name(policy: &IssuancePolicy, name: &SubjectAltName, trust: NamesAre) -> Result<Option<Sid>, PolicyRefusal> {
    let listed = trust == NamesAre::Listed && !policy.any_identity;
    match name {
        SubjectAltName::Upn(upn) => {
            let suffix = account_domain(upn, "UPN")?;
            if listed && !contains_folded(&policy.upn_suffixes, suffix) {
                return Err(PolicyRefusal::new(Rule::UpnSuffix, format!("the UPN {upn:?} has no allowed suffix; see `allow_upn_suffix`")));
            }
        }
        SubjectAltName::Email(email) => {
            let domain = account_domain(email, "e-mail address")?;
            if listed && !contains_folded(&policy.email_domains, domain) {
                return Err(PolicyRefusal::new(
                    Rule::EmailDomain,
                    format!("the e-mail address {email:?} is of no allowed domain; see `allow_email_domain`"),
                ));
            }
        }
        SubjectAltName::Dns(dns) => {
            check_dns(dns)?;
            if listed && !policy.dns_suffixes.iter().any(|suffix| is_under(dns, suffix)) {
                return Err(PolicyRefusal::new(Rule::DnsSuffix, format!("{dns:?} is under no allowed DNS suffix; see `allow_dns_suffix`")));
            }
        }
        SubjectAltName::Uri(uri) => {
            check_text(uri, "URI")?;
            if !uri.is_ascii() {
                return Err(syntax(format!("the URI {uri:?} is not ASCII")));
            }
            if let Some(sid) = sid_of_uri(uri)? {
                check_sid(policy, &sid)?;
                return Ok(Some(sid));
            }
            let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
            if scheme.is_empty() {
                return Err(syntax(format!("the URI {uri:?} has no scheme")));
            }
            if listed && !contains_folded(&policy.uri_schemes, scheme) {
                return Err(PolicyRefusal::new(Rule::UriScheme, format!("the URI {uri:?} has no allowed scheme; see `allow_uri_scheme`")));
            }
        }
        SubjectAltName::Ip(ip) => {
            if listed && !policy.ip_networks.iter().any(|(network, bits)| is_in_network(*ip, *network, *bits)) {
                return Err(PolicyRefusal::new(Rule::IpNetwork, format!("{ip} is in no allowed network; see `allow_ip_network`")));
            }
        }
    }
    Ok(None)
}

fn syntax(reason: String) -> PolicyRefusal {
    PolicyRefusal::new(Rule::AltNameSyntax, reason)
}

fn check_text(text: &str, kind: &str) -> Result<(), PolicyRefusal> {
    if text.is_empty() || text.len() > NAME_BYTES {
        return Err(syntax(format!("the {kind} is empty or longer than {NAME_BYTES} bytes")));
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(syntax(format!("the {kind} {text:?} holds a space or a control character")));
    }
    Ok(())
}

/// The part after the only `@`.
fn account_domain<'a>(text: &'a str, kind: &str) -> Result<&'a str, PolicyRefusal> {
    check_text(text, kind)?;
    match text.split_once('@') {
        Some((account, domain)) if !account.is_empty() && !domain.is_empty() && !domain.contains('@') => Ok(domain),
        _ => Err(syntax(format!("the {kind} {text:?} is not of the form account@domain"))),
    }
}

fn check_dns(dns: &str) -> Result<(), PolicyRefusal> {
    check_text(dns, "DNS name")?;
    let label_fits =
        |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if dns.len() <= 253 && dns.split('.').all(label_fits) {
        Ok(())
    } else {
        Err(syntax(format!("{dns:?} is no DNS name; wildcards are not allowed")))
    }
}

pub(super) fn contains_folded(list: &[String], text: &str) -> bool {
    list.iter().any(|item| item.eq_ignore_ascii_case(text))
}

/// Whether `dns` is `suffix` or below it, on label boundaries.
fn is_under(dns: &str, suffix: &str) -> bool {
    let dns = dns.to_ascii_lowercase();
    let suffix = suffix.to_ascii_lowercase();
    dns == suffix || dns.strip_suffix(&suffix).is_some_and(|rest| rest.ends_with('.'))
}

fn is_in_network(ip: IpAddr, network: IpAddr, bits: u8) -> bool {
    let (ip, network, width) = match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => (u128::from(ip.to_bits()), u128::from(network.to_bits()), 32),
        (IpAddr::V6(ip), IpAddr::V6(network)) => (ip.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    let host_bits = width - u32::from(bits).min(width);
    ip.checked_shr(host_bits).unwrap_or(0) == network.checked_shr(host_bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_match_on_label_boundaries_only() {
        assert!(is_under("a.Contoso.com", "contoso.com") && is_under("contoso.com", "contoso.com"));
        assert!(!is_under("evilcontoso.com", "contoso.com") && !is_under("contoso.com.evil", "contoso.com"));
    }

    #[test]
    fn networks_hold_their_addresses_only() {
        let net: IpAddr = "10.1.0.0".parse().unwrap();
        assert!(is_in_network("10.1.255.9".parse().unwrap(), net, 16));
        assert!(!is_in_network("10.2.0.1".parse().unwrap(), net, 16));
        assert!(!is_in_network("::ffff:10.1.0.1".parse().unwrap(), net, 16));
        assert!(is_in_network("2001:db8::1".parse().unwrap(), "2001:db8::".parse().unwrap(), 32));
    }
}
