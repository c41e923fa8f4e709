//! What Entra ID's codes mean for an app registration, and what cures them.

use crate::ports::PortErrorKind;

/// Who must do what about an `AADSTS` code; absent for one that is not known here.
pub(super) fn cure(code: u32) -> Option<(PortErrorKind, &'static str)> {
    use PortErrorKind::{Misconfigured, Throttled, Transient};
    Some(match code {
        7_000_215 => (Misconfigured, "the client secret is wrong: give the secret's value, not its id, and no other app registration's"),
        7_000_222 => (Misconfigured, "the client secret has expired: make a new one in the app registration and give its value"),
        7_000_218 | 7_000_216 => {
            (Misconfigured, "the request has no credential that Entra ID knows: check that nothing between changes its body")
        }
        700_016 => (Misconfigured, "the app registration is not known in this tenant: check client id and tenant, and give admin consent"),
        7_000_112 => (Misconfigured, "the app registration is disabled in this tenant: enable it under enterprise applications"),
        90_002 | 900_023 => (Misconfigured, "there is no such tenant: check the tenant's domain or id, and the authority of its cloud"),
        900_021..=900_022 | 900_024..=900_025 => (Misconfigured, "the tenant is not spelt as a domain or an id: check it"),
        500_011 | 50_001 | 650_057 => (
            Misconfigured,
            "the tenant does not know the audience: check the scope byte for byte (Intune's is `https://api.manage.microsoft.com//.default`, with \
             two slashes), and that the tenant has the service's licence",
        ),
        500_014 | 650_052 => (Misconfigured, "the service is disabled for this tenant: check its licence and its enterprise application"),
        70_011 | 1_002_012 => (Misconfigured, "the scope is wrong: it is the audience with `/.default` after it"),
        700_027 => (
            Misconfigured,
            "the certificate is not known to the app registration, or the key is another's: upload the certificate under certificates & secrets",
        ),
        700_021 | 700_023 => (Misconfigured, "the assertion is for another client or another audience: check client id and authority"),
        700_024 => (Misconfigured, "the assertion is not good at Entra ID's time: set this machine's clock"),
        700_211..=700_213 | 70_021 => (
            Misconfigured,
            "no federated identity credential of the app registration matches the token: check issuer, subject and audience there",
        ),
        50_034 => (Misconfigured, "the account or app is not in this tenant: check the tenant"),
        50_027 | 50_013 => (Misconfigured, "the assertion is not valid: check the federated token, the certificate and the clock"),
        53_000..=53_011 | 530_000..=530_999 => {
            (Misconfigured, "conditional access blocks the app registration: allow this machine's addresses")
        }
        50_196 | 90_055 => (Throttled, "too many tokens were asked for"),
        50_000 | 90_012 | 90_013 | 90_033 => (Transient, "Entra ID failed; try again later"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_of_wrong_settings_name_their_cures() {
        for (code, words) in [
            (7_000_215, "value, not its id"),
            (7_000_222, "expired"),
            (700_016, "client id and tenant"),
            (90_002, "no such tenant"),
            (500_011, "two slashes"),
            (700_027, "upload the certificate"),
            (700_024, "clock"),
            (700_213, "federated"),
            (50_034, "not in this tenant"),
        ] {
            let (kind, cure) = cure(code).unwrap();
            assert_eq!(kind, PortErrorKind::Misconfigured, "{code}");
            assert!(cure.contains(words), "{code}: {cure}");
        }
        assert_eq!(cure(1), None);
    }
}
