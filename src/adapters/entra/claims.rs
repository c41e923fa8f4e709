//! What a token says of itself, for people who look for a missing permission.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::AccessToken;
use crate::ports::PortError;
use crate::secret::SecretBytes;
use crate::time::Timestamp;

/// Some claims of an access token, read **without verification** of its signature: they explain why a service refuses, and decide nothing.
///
/// Microsoft calls access tokens opaque to clients: a service may change or encrypt what stands in them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TokenClaims {
    /// The application roles that were granted when the token was made, such as `scep_challenge_provider`.
    pub roles: Vec<String>,
    /// For whom the token is.
    pub audience: Option<String>,
    /// The client id of the app registration.
    pub app_id: Option<String>,
    /// The tenant's id.
    pub tenant_id: Option<String>,
    /// Until when it is good.
    pub expires: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    roles: Vec<String>,
    aud: Option<String>,
    appid: Option<String>,
    azp: Option<String>,
    tid: Option<String>,
    exp: Option<i64>,
}

impl TokenClaims {
    /// Reads the claims of a token.
    ///
    /// # Errors
    /// `Unsupported` when it is no JWT, or its payload is not one of Entra ID's.
    pub fn read_unverified(token: &AccessToken) -> Result<Self, PortError> {
        // Neither a decoder's nor a parser's error is shown: they quote what they read.
        let opaque = || PortError::unsupported("the token is opaque: it is no JWT of Entra ID, so its roles are not known here");
        let mut parts = token.secret_str().split('.');
        let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(opaque());
        };
        let payload = SecretBytes::new(URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).map_err(|_| opaque())?);
        let payload: Payload = serde_json::from_slice(payload.secret_bytes()).map_err(|_| opaque())?;
        Ok(Self {
            roles: payload.roles,
            audience: payload.aud,
            // Version 2 of the tokens says `azp`.
            app_id: payload.appid.or(payload.azp),
            tenant_id: payload.tid,
            expires: payload.exp.map(Timestamp::from_secs),
        })
    }

    /// Whether the token has that role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|given| given == role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Password;

    fn read(token: &str) -> Result<TokenClaims, PortError> {
        TokenClaims::read_unverified(&AccessToken::new(Password::from(token), Timestamp::default()))
    }

    #[test]
    fn roles_and_audience_of_a_jwt_are_read() {
        let payload = r#"{"aud":"https://api.manage.microsoft.com/","appid":"c1","tid":"t1","exp":1700000000,"roles":["scep_challenge_provider"],"ver":"1.0"}"#;
        let claims = read(&format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload))).unwrap();
        assert!(claims.has_role("scep_challenge_provider") && !claims.has_role("scep"));
        assert_eq!((claims.audience.as_deref(), claims.app_id.as_deref()), (Some("https://api.manage.microsoft.com/"), Some("c1")));
        assert_eq!((claims.tenant_id.as_deref(), claims.expires), (Some("t1"), Some(Timestamp::from_secs(1_700_000_000))));
        let roleless = read(&format!("e30.{}.", URL_SAFE_NO_PAD.encode("{}"))).unwrap();
        assert_eq!(roleless, TokenClaims::default());
    }

    #[test]
    fn an_opaque_token_is_said_to_be_one_and_not_shown() {
        let array = format!("e30.{}.x", URL_SAFE_NO_PAD.encode("[\"hunter2\"]"));
        for opaque in ["hunter2", "hunter2.hunter2", "hunter2.!!.hunter2", "a.b.c.d", "hunter2.aHVudGVyMg.x", array.as_str()] {
            let error = read(opaque).unwrap_err();
            assert!(error.to_string().contains("opaque") && !error.to_string().contains("hunter2"), "{error}");
        }
    }

    /// A hostile authority, or a gateway before it: no token makes the reader fail otherwise than by an error, or show what it cannot read.
    #[test]
    fn hostile_payloads_are_opaque_or_read_and_never_a_panic() {
        let of = |payload: &[u8]| read(&format!("e30.{}.x", URL_SAFE_NO_PAD.encode(payload)));
        for (number, readable) in [("9223372036854775807", true), ("-9223372036854775808", true), ("1e400", false), ("1.5", false)] {
            let claims = of(format!(r#"{{"exp":{number}}}"#).as_bytes());
            assert_eq!(claims.is_ok(), readable, "{number}");
            if let Ok(claims) = claims {
                assert!(!format!("{claims:?} {:?}", claims.expires.map(|end| end.to_string())).is_empty());
            }
        }
        let (deep, twice) = ("[".repeat(40_000), br#"{"aud":"hunter2","aud":"x"}"#);
        for payload in [deep.as_bytes(), b"{\"aud\":\"\xff\"}", b"{\"aud\":{}}", b"{\"roles\":[1]}", b"\xef\xbb\xbf{}", b"", twice] {
            assert!(of(payload).unwrap_err().to_string().contains("opaque"));
        }
        for token in ["..", "...", "a..b", "a.\u{e9}.b", "a.====.b", "a.e30=.b.", "a.e3.b", "."] {
            assert!(read(token).is_err(), "{token}");
        }
    }
}
