//! What the token endpoint's answers mean (RFC 6749 sections 5.1 and 5.2, and Entra ID's members beside).

use std::borrow::Cow;

use core::time::Duration;
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded;

use super::AccessToken;
use super::codes;
use crate::adapters::http::{Failure, HttpResponse, fit, quoted, retry_after, says};
use crate::ports::PortErrorKind;
use crate::secret::Password;
use crate::time::Timestamp;

/// A token is not longer, in bytes: it must fit into a header.
const LONGEST_TOKEN: usize = 64 << 10;

/// No token is kept longer, whatever its answer says.
const LONGEST_LIFE: u64 = 86_400;

/// What was asked, as far as errors name it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) scope: &'a str,
    pub(super) activity: &'a str,
    /// When it was asked.
    pub(super) at: Timestamp,
    /// What no error may quote.
    pub(super) secret: &'a Password,
}

/// A token and for how long it is good.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) token: AccessToken,
    pub(super) life: Duration,
}

#[derive(Deserialize)]
struct Token<'a> {
    #[serde(borrow, default)]
    access_token: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    token_type: Option<Cow<'a, str>>,
    #[serde(default)]
    expires_in: Option<Value>,
}

/// The members of an error; others are passed over.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Refusal {
    error: Option<Value>,
    error_description: Option<Value>,
    error_codes: Option<Value>,
    trace_id: Option<Value>,
    correlation_id: Option<Value>,
    timestamp: Option<Value>,
}

/// Reads an answer.
pub(super) fn read(answer: &HttpResponse, asked: Asked<'_>) -> Result<Granted, Failure> {
    // The status first: a gateway's page is no JSON.
    if answer.status != 200 {
        return Err(refused(answer, asked));
    }
    granted(answer.body.secret_bytes(), asked).map_err(|problem| {
        let message = format!("the answer to a request for a token for {} is none: {problem}{}", asked.scope, sent_as(asked));
        Failure::new(PortErrorKind::Transient, message)
    })
}

/// The token of a 200, or what is wrong with it, without a byte of it.
fn granted(body: &[u8], asked: Asked<'_>) -> Result<Granted, String> {
    // serde takes an array for an object, and its error quotes what it reads.
    let object = Some(body).filter(|body| body.trim_ascii_start().starts_with(b"{"));
    let Some(said) = object.and_then(|body| serde_json::from_slice::<Token<'_>>(body).ok()) else {
        return Err(match first_letter(body) {
            Some(b'<') => format!("it is a page; a proxy or a portal answers in Entra ID's place{}", quoted_without(body, asked.secret)),
            _ => "it is no JSON object of a token".to_owned(),
        });
    };
    match said.token_type.as_deref() {
        Some(kind) if kind.eq_ignore_ascii_case("Bearer") => {}
        Some(_) => return Err("its `token_type` is not Bearer".to_owned()),
        None => return Err("it has no `token_type`".to_owned()),
    }
    let life = match &said.expires_in {
        None | Some(Value::Null) => return Err("it has no `expires_in`".to_owned()),
        Some(value) => value.as_u64().filter(|seconds| *seconds > 0),
    };
    let life = life.ok_or("its `expires_in` is no positive whole number")?;
    let life = Duration::from_secs(life.min(LONGEST_LIFE));
    let token = match said.access_token {
        Some(Cow::Borrowed(token)) => Password::from(token),
        Some(Cow::Owned(token)) => Password::from(token),
        None => return Err("it has no `access_token`".to_owned()),
    };
    let bytes = token.secret_bytes();
    if bytes.is_empty() || bytes.len() > LONGEST_TOKEN || !bytes.iter().all(u8::is_ascii_graphic) {
        return Err("its `access_token` is not 1 to 65,536 characters of printable ASCII".to_owned());
    }
    Ok(Granted { token: AccessToken::new(token, asked.at.saturating_add(life)), life })
}

fn refused(answer: &HttpResponse, asked: Asked<'_>) -> Failure {
    let body = answer.body.secret_bytes();
    let object = Some(body).filter(|body| body.trim_ascii_start().starts_with(b"{"));
    let said = object.and_then(|body| serde_json::from_slice::<Refusal>(body).ok()).unwrap_or_default();
    let error = said.error.as_ref().and_then(Value::as_str).unwrap_or_default();
    let description = said.error_description.as_ref().and_then(Value::as_str).unwrap_or_default();
    let code = code(&said, description);
    let cure = code.and_then(codes::cure);
    let (kind, advice) = by_status(answer.status).or(cure).unwrap_or_else(|| by_error(error));
    // The cure still helps where the status decides whether to come again.
    let advice = cure.map_or(advice, |(_, cure)| cure);
    let text = match description.lines().next() {
        Some(line) if !line.trim().is_empty() => says(&fit(&hidden(line, asked.secret))),
        _ if error.is_empty() => quoted_without(body, asked.secret),
        _ => says(&fit(&hidden(error, asked.secret))),
    };
    let ids = [("trace id", &said.trace_id), ("correlation id", &said.correlation_id), ("at", &said.timestamp)];
    let ids: String = ids
        .into_iter()
        .filter_map(|(name, value)| {
            value.as_ref().and_then(Value::as_str).map(|value| format!(", {name} {}", fit(&hidden(value, asked.secret))))
        })
        .collect();
    let message =
        format!("Entra ID answered {} and gave no token for {}: {advice}{text}{ids}{}", answer.status, asked.scope, sent_as(asked));
    let wait = answer.header("retry-after").and_then(|value| retry_after(value, asked.at));
    let code = code.map_or_else(|| answer.status.to_string(), |code| format!("AADSTS{code}"));
    Failure::new(kind, message).with_code(code).with_retry_after(wait)
}

/// The code: the first that is known here, else the first; the description begins with it as well.
fn code(said: &Refusal, description: &str) -> Option<u32> {
    let listed = said.error_codes.as_ref().and_then(Value::as_array);
    let listed: Vec<u32> = listed.into_iter().flatten().filter_map(Value::as_u64).filter_map(|code| u32::try_from(code).ok()).collect();
    let known = listed.iter().copied().find(|code| codes::cure(*code).is_some());
    known.or_else(|| listed.first().copied()).or_else(|| {
        let digits = description.split_once("AADSTS")?.1;
        digits.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
    })
}

/// Statuses that decide whatever the body says.
fn by_status(status: u16) -> Option<(PortErrorKind, &'static str)> {
    use PortErrorKind::{Misconfigured, Throttled, Transient};
    Some(match status {
        429 => (Throttled, "too many tokens were asked for"),
        503 => (Throttled, "it is overloaded or being serviced"),
        500..=599 => (Transient, "it, or a gateway before it, failed"),
        408 => (Transient, "it gave up waiting"),
        407 => (Misconfigured, "the proxy wants other credentials: check the proxy's setting"),
        300..=399 => (Misconfigured, "a redirect, which is not followed since the call holds the credential: check authority and proxy"),
        400..=499 => return None,
        _ => (Transient, "this status is no answer of a token endpoint"),
    })
}

/// The error of RFC 6749, for a code that is not known here.
fn by_error(error: &str) -> (PortErrorKind, &'static str) {
    use PortErrorKind::{Misconfigured, Transient};
    match error {
        "temporarily_unavailable" | "server_error" => (Transient, "it failed; try again later"),
        "invalid_client" => (Misconfigured, "the credential is not accepted: check client id, and secret or certificate"),
        "unauthorized_client" => {
            (Misconfigured, "the app registration may not ask for tokens in this way: check client id, tenant and consent")
        }
        "invalid_scope" | "invalid_resource" => (Misconfigured, "the scope is wrong: it is the audience with `/.default` after it"),
        _ => (Misconfigured, "check authority, tenant, client id and credential"),
    }
}

fn sent_as(asked: Asked<'_>) -> String {
    format!(" (client-request-id {})", asked.activity)
}

/// What a body that is no answer says, without the secret. Quoting undoes escapes, so it is looked for before and after.
fn quoted_without(body: &[u8], secret: &Password) -> String {
    hidden(&quoted(hidden(&String::from_utf8_lossy(body), secret).as_bytes()), secret)
}

/// The text without the secret, should the other side repeat it: as it is, as JSON spells it, or as the form did.
fn hidden(text: &str, secret: &Password) -> String {
    const HIDDEN: &str = "[hidden]";
    let Some(secret) = secret.secret_str().filter(|secret| !secret.is_empty()) else { return text.to_owned() };
    let quoted = Password::from(serde_json::to_string(secret).unwrap_or_default());
    let spelt = quoted.secret_str().and_then(|text| text.strip_prefix('"')?.strip_suffix('"')).unwrap_or(secret);
    let text = text.replace(secret, HIDDEN).replace(spelt, HIDDEN);
    let in_form = || form_urlencoded::parse(text.as_bytes()).any(|(name, value)| name.contains(secret) || value.contains(secret));
    let in_json = || serde_json::from_str::<Value>(&text).is_ok_and(|value| value.to_string().contains(spelt));
    if in_form() || in_json() { HIDDEN.to_owned() } else { text }
}

fn first_letter(body: &[u8]) -> Option<u8> {
    body.trim_ascii_start().first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "s3cr~t.With_Odd-Letters";

    fn read_with(response: HttpResponse) -> Result<Granted, Failure> {
        let secret = Password::from(SECRET);
        let at = Timestamp::from_secs(784_111_777 - 90);
        read(&response, Asked { scope: "https://a.example//.default", activity: "5b2f-activity", at, secret: &secret })
    }

    fn failure(status: u16, body: &str) -> Failure {
        let failure = read_with(HttpResponse::new(status, body.as_bytes().to_vec())).map_or_else(|failure| failure, |_| panic!("{body}"));
        assert!(
            failure.message.contains("https://a.example//.default") && failure.message.contains("5b2f-activity"),
            "{}",
            failure.message
        );
        failure
    }

    fn aadsts(code: u32, description: &str) -> String {
        serde_json::json!({
            "error": "invalid_client",
            "error_description": format!("AADSTS{code}: {description}\r\nTrace ID: x\r\nCorrelation ID: y"),
            "error_codes": [code],
            "timestamp": "2026-11-28 11:00:00Z",
            "trace_id": "11111111-trace",
            "correlation_id": "22222222-correlation",
            "error_uri": "https://login.example/error",
        })
        .to_string()
    }

    #[test]
    fn a_token_ends_when_it_says_counted_from_the_question() {
        let body = r#"{"token_type":"bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"eyJ0.eyJh.c2ln"}"#;
        let granted = read_with(HttpResponse::new(200, body.as_bytes().to_vec())).unwrap();
        assert_eq!(granted.token.secret_str(), "eyJ0.eyJh.c2ln");
        assert_eq!(granted.token.expires(), Timestamp::from_secs(784_111_777 - 90 + 3_599));
        let long = body.replace("3599", "99999999999");
        assert_eq!(read_with(HttpResponse::new(200, long.into_bytes())).unwrap().life, Duration::from_secs(86_400));
    }

    #[test]
    fn what_is_no_token_is_a_passing_fault_that_shows_nothing_of_it() {
        let good = r#"{"token_type":"Bearer","expires_in":3599,"access_token":"eyJhunter2"}"#;
        for (from, to, problem) in [
            (r#""token_type":"Bearer","#, "", "no `token_type`"),
            ("Bearer", "pop", "not Bearer"),
            (r#""expires_in":3599,"#, "", "no `expires_in`"),
            ("3599", "null", "no `expires_in`"),
            ("3599", "-1", "no positive whole number"),
            ("3599", "0", "no positive whole number"),
            ("3599", "3599.5", "no positive whole number"),
            ("3599", "\"3599\"", "no positive whole number"),
            ("3599", "true", "no positive whole number"),
            (r#","access_token":"eyJhunter2""#, "", "no `access_token`"),
            ("eyJhunter2", "", "printable ASCII"),
            ("eyJhunter2", "eyJ hunter2", "printable ASCII"),
            ("eyJhunter2", "eyJhunter2\u{e9}", "printable ASCII"),
            ("eyJhunter2", "eyJhunter2\\r\\nX: y", "printable ASCII"),
            (r#""eyJhunter2""#, r#"["eyJhunter2"]"#, "no JSON object"),
            (good, "", "no JSON object"),
            (good, "null", "no JSON object"),
            (good, r#"["Bearer",3599,"eyJhunter2"]"#, "no JSON object"),
            ("}", "", "no JSON object"),
            (good, "<!DOCTYPE html><html><head><title>Sign in</title>", "a page"),
        ] {
            let failure = failure(200, &good.replace(from, to));
            assert_eq!(failure.kind, PortErrorKind::Transient, "{from} {to}");
            assert!(failure.message.contains(problem) && !failure.message.contains("hunter2"), "{from} {to}: {}", failure.message);
        }
        let long = good.replace("eyJhunter2", &"x".repeat(LONGEST_TOKEN + 1));
        assert!(failure(200, &long).message.contains("printable ASCII"));
    }

    #[test]
    fn a_refusal_names_code_cure_and_ids() {
        let failure = failure(401, &aadsts(7_000_222, "The provided client secret keys for app 'c1' are expired."));
        assert_eq!((failure.kind, failure.code.as_deref()), (PortErrorKind::Misconfigured, Some("AADSTS7000222")));
        for part in [
            "has expired: make a new one",
            "keys for app 'c1'",
            "trace id 11111111-trace",
            "correlation id 22222222-correlation",
            "11:00:00Z",
        ] {
            assert!(failure.message.contains(part), "{part}: {}", failure.message);
        }
        assert!(!failure.message.contains("Trace ID"), "{}", failure.message);
    }

    #[test]
    fn no_error_repeats_the_secret() {
        let page = format!("<html><title>bad {SECRET}</title>");
        let other = format!("{{\"error\":\"{SECRET}\",\"trace_id\":\"{SECRET}\"}}");
        for body in [aadsts(7_000_215, &format!("Invalid client secret '{SECRET}'")), page, other, SECRET.to_owned()] {
            for status in [200, 400, 401, 500] {
                let failure = failure(status, &body);
                assert!(!format!("{failure:?}").contains(SECRET), "{failure:?}");
            }
        }
    }

    #[test]
    fn no_error_repeats_the_secret_as_the_form_or_a_json_text_spells_it() {
        let secret = "Old+secret/of=2019 \"x";
        let escaped = "Old%2Bsecret%2Fof%3D2019%20%22x";
        let bodies = [
            format!("bad request: client_id=c1&client_secret={escaped}"),
            format!("client_secret={}", escaped.replace("%2B", "%2b").replace("%2F", "%2f").replace("%3D", "%3d")),
            format!("client_secret={}", escaped.replace("%20", "+")),
            format!("<html><title>client_secret={escaped}</title>"),
            r#"{"sent":"Old\u002Bsecret/of=2019 \"x"}"#.to_owned(),
            serde_json::json!({ "error": { "code": "x", "message": r#"{"Message":"Old\u002Bsecret/of=2019 \"x"}"# } }).to_string(),
            r#"{"sent":"Old+secret\/of\u003D2019 \u0022x"}"#.to_owned(),
        ];
        for body in bodies {
            let response = HttpResponse::new(400, body.as_bytes().to_vec());
            let asked = Asked { scope: "s", activity: "a", at: Timestamp::default(), secret: &Password::from(secret) };
            let message = read(&response, asked).unwrap_err().message;
            assert!(!message.contains("secret%2") && !message.contains("secret/") && !message.contains("2019"), "{body}: {message}");
        }
    }

    #[test]
    fn each_status_and_error_says_who_must_act() {
        use PortErrorKind::{Misconfigured, Throttled, Transient};
        for (status, body, kind, code) in [
            (429, String::new(), Throttled, "429"),
            (503, String::new(), Throttled, "503"),
            (500, aadsts(90_033, "A transient error"), Transient, "AADSTS90033"),
            (400, aadsts(90_033, "A transient error"), Transient, "AADSTS90033"),
            (400, aadsts(50_196, "loop"), Throttled, "AADSTS50196"),
            (400, aadsts(500_011, "The resource principal was not found"), Misconfigured, "AADSTS500011"),
            (502, "<html><title>Bad gateway</title></html>".to_owned(), Transient, "502"),
            (400, "<html>".to_owned(), Misconfigured, "400"),
            (400, r#"{"error":"temporarily_unavailable"}"#.to_owned(), Transient, "400"),
            (400, r#"{"error":"invalid_scope"}"#.to_owned(), Misconfigured, "400"),
            (400, r#"{"error":{"code":1},"error_codes":"x","error_description":[]}"#.to_owned(), Misconfigured, "400"),
            (404, String::new(), Misconfigured, "404"),
            (302, String::new(), Misconfigured, "302"),
            (407, String::new(), Misconfigured, "407"),
            (408, String::new(), Transient, "408"),
            (204, String::new(), Transient, "204"),
            (0, String::new(), Transient, "0"),
        ] {
            let failure = failure(status, &body);
            assert_eq!((failure.kind, failure.code.as_deref()), (kind, Some(code)), "{status} {body}");
        }
        // Without the list, the description has the code.
        let only_text = r#"{"error":"invalid_client","error_description":"AADSTS700016: Application with identifier 'x' was not found"}"#;
        assert_eq!(failure(400, only_text).code.as_deref(), Some("AADSTS700016"));
    }

    #[test]
    fn retry_after_comes_in_seconds_and_as_a_date() {
        for value in ["90", "Sun, 06 Nov 1994 08:49:37 GMT"] {
            let failure = read_with(HttpResponse::new(429, Vec::new()).with_header("Retry-After", value)).unwrap_err();
            assert_eq!(failure.retry_after, Some(Duration::from_secs(90)), "{value}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { cases: 1_000, failure_persistence: None, ..Default::default() })]

        /// Pages, JSON and header values of a hostile endpoint, whole and cut at any byte.
        #[test]
        fn no_answer_fails_otherwise_than_by_an_error_that_is_short_and_without_the_secret(
            status in proptest::sample::select(vec![200_u16, 302, 400, 401, 429, 500, 503]),
            start in proptest::sample::select(vec!["", "{\"error\":", "{\"error_description\":\"AADSTS", "<html><title>", "\u{feff}<!DOCTYPE HTML>"]),
            body in "(\\PC|\\\\u002B|%2B|[<>&;\"{}\\[\\]:,0-9]|\u{130}|</title>|SECRET){0,60}",
            cut in 0_usize..120,
            wait in "[A-Z][a-z]{2}, [0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,9} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT|\\PC{0,20}|[0-9]{0,30}",
        ) {
            let body = format!("{start}{}", body.replace("SECRET", SECRET)).into_bytes();
            let body = body.get(..cut).unwrap_or(&body).to_vec();
            if let Err(failure) = read_with(HttpResponse::new(status, body).with_header("Retry-After", wait)) {
                proptest::prop_assert!(!failure.message.contains(SECRET) && failure.message.len() < 4_000, "{}", failure.message);
                proptest::prop_assert!(failure.retry_after.is_none_or(|wait| wait <= Duration::from_secs(86_400)));
            }
        }
    }
}
