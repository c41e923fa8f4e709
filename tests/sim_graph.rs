//! The simulator's userPfxCertificates and users: create, list with filters and pages, change, delete, and what is refused.

#![cfg(all(feature = "sim", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod sim_support;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use intune_connector::adapters::http::{HttpMethod, HttpRequest, HttpResponse};
use intune_connector::secret::SecretBytes;
use intune_connector::sim::{Endpoint, Role};
use serde_json::{Value, json};
use sim_support::{GRAPH_SCOPE, Lab, body, percent};

const PATH: &str = "beta/deviceManagement/userPfxCertificates";

fn call(lab: &Lab, method: HttpMethod, path: &str, sent: Option<&Value>) -> HttpResponse {
    let mut request = HttpRequest::new(method, format!("{}/{path}", lab.base)).with_bearer(&lab.token(GRAPH_SCOPE));
    if let Some(sent) = sent {
        request = request.with_body("application/json", SecretBytes::new(sent.to_string().into_bytes()));
    }
    lab.send(&request)
}

fn certificate(upn: &str, thumbprint: &str) -> Value {
    json!({
        "@odata.type": "#microsoft.graph.userPFXCertificate", "thumbprint": thumbprint, "intendedPurpose": "smimeEncryption",
        "userPrincipalName": upn, "startDateTime": "2026-01-01T00:00:00Z", "expirationDateTime": "2027-01-01T01:00:00+01:00",
        "providerName": "Contoso KSP", "keyName": "key-1", "paddingScheme": "oaepSha512", "encryptedPfxBlob": BASE64_STANDARD.encode(b"pfx"),
        "encryptedPfxPassword": BASE64_STANDARD.encode(b"password"), "createdDateTime": "2026-01-01T00:00:00Z",
        "lastModifiedDateTime": "2026-01-01T00:00:00Z",
    })
}

fn thumbprint(number: u32) -> String {
    format!("{number:040X}")
}

/// The text inside the gateway's envelope.
fn message(answer: &HttpResponse) -> String {
    let outer = body(answer);
    let inner: Value = serde_json::from_str(outer["error"]["message"].as_str().unwrap()).unwrap();
    inner["Message"].as_str().unwrap().to_owned()
}

fn ids(answer: &HttpResponse) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", body(answer));
    body(answer)["value"].as_array().unwrap().iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_id_is_the_users_without_dashes_and_the_thumbprint_and_secrets_do_not_come_back() {
    let lab = Lab::new();
    let user = lab.intune.add_user("Jane@contoso.example").unwrap();
    let answer = call(&lab, HttpMethod::Post, PATH, Some(&certificate("jane@contoso.example", &thumbprint(0xab))));
    assert_eq!(answer.status, 201, "{}", body(&answer));
    let id = format!("{}-{}", user.replace('-', ""), thumbprint(0xab).to_lowercase());
    let shown = body(&answer);
    assert_eq!((&shown["id"], &shown["encryptedPfxBlob"], &shown["encryptedPfxPassword"]), (&json!(id), &json!("AA=="), &json!("")));
    assert_eq!(shown["userPrincipalName"], "Jane@contoso.example");
    for key in [format!("/{id}"), format!("({id})"), format!("({})", percent(&format!("'{id}'")))] {
        let answer = call(&lab, HttpMethod::Get, &format!("{PATH}{key}"), None);
        assert_eq!((answer.status, &body(&answer)["id"]), (200, &json!(id)), "{key}");
    }
    let record = lab.intune.pfx_records().remove(0);
    assert_eq!((record.encrypted_pfx_blob.secret_bytes(), record.encrypted_pfx_password.secret_bytes()), (&b"pfx"[..], &b"password"[..]));
    assert!(!format!("{record:?}").contains("pfx\""));
}

#[test]
fn a_list_comes_in_pages_and_a_filter_stays_on_all_of_them() {
    let lab = Lab::with(|builder| builder.page_size(3));
    for user in ["o'hara@contoso.example", "o''hara@contoso.example"] {
        lab.intune.add_user(user).unwrap();
        for number in 0..7 {
            assert_eq!(call(&lab, HttpMethod::Post, PATH, Some(&certificate(user, &thumbprint(number)))).status, 201);
        }
    }
    let all = |start: String| {
        let (mut url, mut found, mut pages) = (Some(start), Vec::new(), 0);
        while let Some(next) = url {
            let answer = lab.send(&HttpRequest::new(HttpMethod::Get, next).with_bearer(&lab.token(GRAPH_SCOPE)));
            found.extend(ids(&answer));
            url = body(&answer)["@odata.nextLink"].as_str().map(str::to_owned);
            pages += 1;
        }
        found.dedup();
        (found.len(), pages)
    };
    assert_eq!(all(format!("{}/{PATH}", lab.base)), (14, 5));
    let filter = |text: &str| format!("{}/{PATH}?$filter={}", lab.base, percent(text));
    assert_eq!(all(filter("tolower(userPrincipalName) eq 'o''hara@contoso.example'")), (7, 3));
    let both =
        format!("tolower(userPrincipalName) eq 'o''''hara@contoso.example' and tolower(thumbprint) eq '{}'", thumbprint(3).to_lowercase());
    assert_eq!(all(filter(&both)), (1, 1));
    assert_eq!(all(filter("userPrincipalName eq 'nobody'")), (0, 1));
    for bad in ["userPrincipalName eq 'o'hara@contoso.example'", "secret eq 'x'", "contains(thumbprint,'a')"] {
        let answer = call(&lab, HttpMethod::Get, &format!("{PATH}?$filter={}", percent(bad)), None);
        assert_eq!(answer.status, 400, "{bad}");
    }
}

#[test]
fn a_change_keeps_what_is_not_sent_and_what_was_blinded() {
    let lab = Lab::new();
    lab.intune.add_user("jane@contoso.example").unwrap();
    let created = body(&call(&lab, HttpMethod::Post, PATH, Some(&certificate("jane@contoso.example", &thumbprint(1)))));
    let id = created["id"].as_str().unwrap();
    let mut read = created.clone();
    read["keyName"] = json!("key-2");
    read.as_object_mut().unwrap().remove("@odata.context");
    let answer = call(&lab, HttpMethod::Patch, &format!("{PATH}/{id}"), Some(&read));
    assert_eq!((answer.status, &body(&answer)["keyName"]), (200, &json!("key-2")));
    let record = lab.intune.pfx_records().remove(0);
    assert_eq!(record.encrypted_pfx_password.secret_bytes(), b"password");
    let replaced = json!({ "encryptedPfxPassword": BASE64_STANDARD.encode(b"other"), "intendedPurpose": "VPN" });
    assert_eq!(call(&lab, HttpMethod::Patch, &format!("{PATH}({id})"), Some(&replaced)).status, 200);
    let record = lab.intune.pfx_records().remove(0);
    assert_eq!((record.encrypted_pfx_password.secret_bytes(), record.intended_purpose.as_str()), (&b"other"[..], "vpn"));
    let moved = json!({ "thumbprint": thumbprint(2) });
    assert_eq!(call(&lab, HttpMethod::Patch, &format!("{PATH}/{id}"), Some(&moved)).status, 400);
    assert_eq!(call(&lab, HttpMethod::Delete, &format!("{PATH}/{id}"), None).status, 204);
    for method in [HttpMethod::Delete, HttpMethod::Get, HttpMethod::Patch] {
        assert_eq!(call(&lab, method, &format!("{PATH}/{id}"), Some(&json!({}))).status, 404);
    }
}

#[test]
fn what_is_wrong_in_a_new_one_is_named_inside_the_envelope() {
    let lab = Lab::new();
    lab.intune.add_user("jane@contoso.example").unwrap();
    let good = certificate("jane@contoso.example", &thumbprint(1));
    for (name, value) in [
        ("thumbprint", json!("abc")),
        ("thumbprint", json!("AB:".repeat(20))),
        ("intendedPurpose", json!("email")),
        ("userPrincipalName", json!("")),
        ("startDateTime", json!("01/02/2026")),
        ("expirationDateTime", Value::Null),
        ("providerName", json!(" ")),
        ("keyName", json!(7)),
        ("paddingScheme", json!("oaepSha1024")),
        ("encryptedPfxBlob", json!("")),
        ("encryptedPfxPassword", json!("not base64!")),
        ("keyStorageProvider", json!("x")),
    ] {
        let mut sent = good.clone();
        sent[name] = value.clone();
        let answer = call(&lab, HttpMethod::Post, PATH, Some(&sent));
        assert_eq!(answer.status, 400, "{name} {value}");
        assert!(message(&answer).contains(name), "{}", message(&answer));
    }
    let mut ends_first = good.clone();
    ends_first["expirationDateTime"] = json!("2025-01-01T00:00:00Z");
    assert!(message(&call(&lab, HttpMethod::Post, PATH, Some(&ends_first))).contains("before it begins"));
    let stranger = certificate("nobody@contoso.example", &thumbprint(1));
    assert!(message(&call(&lab, HttpMethod::Post, PATH, Some(&stranger))).contains("no user"));
    assert_eq!(call(&lab, HttpMethod::Post, PATH, Some(&good)).status, 201);
    assert_eq!(call(&lab, HttpMethod::Post, PATH, Some(&good)).status, 409);
    let mut pascal = certificate("jane@contoso.example", &thumbprint(2));
    pascal["intendedPurpose"] = json!("SmimeEncryption");
    pascal["paddingScheme"] = json!("OaepSha512");
    assert_eq!(call(&lab, HttpMethod::Post, PATH, Some(&pascal)).status, 201, "as Microsoft's module writes names");
    assert_eq!(lab.count(Endpoint::PfxCreate), 17);
}

#[test]
fn users_are_found_by_their_name_with_its_apostrophe_doubled() {
    let lab = Lab::new();
    let id = lab.intune.add_user("O'Hara@contoso.example").unwrap();
    let find = |filter: &str| call(&lab, HttpMethod::Get, &format!("beta/users?$filter={}", percent(filter)), None);
    assert_eq!(ids(&find("userPrincipalName eq 'o''hara@contoso.example'")), [id.as_str()]);
    assert_eq!(find("userPrincipalName eq 'o'hara@contoso.example'").status, 400);
    assert_eq!(ids(&find("userPrincipalName eq 'nobody'")), [""; 0]);
    assert_eq!(body(&call(&lab, HttpMethod::Get, &format!("v1.0/users/{id}"), None))["userPrincipalName"], "O'Hara@contoso.example");
    assert_eq!(call(&lab, HttpMethod::Get, "v1.0/users/nobody", None).status, 404);
}

#[test]
fn each_permission_is_asked_for() {
    let lab = Lab::new();
    lab.intune.revoke_role(Role::DeviceManagementConfigurationReadWriteAll);
    lab.intune.revoke_role(Role::UserReadAll);
    for path in [PATH, "beta/users", "beta/users/x"] {
        let answer = call(&lab, HttpMethod::Get, path, None);
        assert_eq!((answer.status, &body(&answer)["error"]["code"]), (403, &json!("Authorization_RequestDenied")), "{path}");
        let unsigned = lab.send(&HttpRequest::new(HttpMethod::Get, format!("{}/{path}", lab.base)));
        assert_eq!(unsigned.status, 401);
    }
}
