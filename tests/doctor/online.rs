//! The way to Intune.

use std::collections::BTreeSet;
use std::time::Duration;

use intune_connector::adapters::http::{HttpError, HttpErrorKind, HttpMethod};
use intune_connector::adapters::intune::Cloud;
use intune_connector::doctor::{Check, Report, Severity, TlsHandshake};
use intune_connector::ports::PortErrorKind;

use super::expect;
use super::world::{AUTHORITY, GRAPH, INTUNE, Reply, TOKEN, World, certificate, now};
use Severity::{Error, Info, Ok as Good, Skipped, Warning};

/// The report on a world that a test has spoilt.
fn spoilt(spoil: impl FnOnce(&World)) -> Report {
    let world = World::new();
    spoil(&world);
    world.run()
}

fn status(part: &'static str, status: u16, body: &str) -> Report {
    spoilt(|world| world.reply(part, Reply::Status(status, body.to_owned())))
}

#[test]
fn a_tenant_that_is_well_has_no_findings_that_need_a_cure() {
    let world = World::new();
    let report = world.run();
    assert_eq!(report.exit_code(), 0, "{report}");
    assert!(report.findings.iter().all(|finding| finding.cure.is_none()), "{report}");
    for check in [
        Check::Dns,
        Check::Tls,
        Check::Authority,
        Check::Clock,
        Check::Token,
        Check::Role,
        Check::Permission,
        Check::Discovery,
        Check::Credential,
    ] {
        assert!(report.of(check).any(|finding| finding.severity == Good), "{check}\n{report}");
    }
    let looked_at: BTreeSet<String> = world.network.looked_at.lock().unwrap().iter().cloned().collect();
    assert_eq!(looked_at, BTreeSet::from([AUTHORITY, GRAPH, INTUNE].map(str::to_owned)));
}

#[test]
fn revocation_requests_are_never_downloaded_whatever_is_configured_and_whatever_is_answered() {
    let statuses = [200, 302, 400, 401, 403, 404, 429, 500, 503];
    let mut asked = Vec::new();
    for bits in 0..8_u8 {
        for answer in statuses.map(Some).into_iter().chain([None]) {
            let world = World::new();
            for part in ["openid-configuration", "/servicePrincipals/", "/userPfxCertificates"] {
                match answer {
                    Some(200) => {}
                    Some(status) => world.reply(part, Reply::Status(status, "{}".to_owned())),
                    None => world.reply(part, Reply::Error(HttpErrorKind::Connect, "no connection")),
                }
            }
            let mut checks = world.checks();
            if bits & 1 != 0 {
                checks = checks.without_scep();
            }
            if bits & 2 != 0 {
                checks = checks.without_revocation();
            }
            if bits & 4 != 0 {
                checks = checks.cloud(Cloud::us_government());
            }
            world.run_with(checks);
            asked.extend(world.script.asked.lock().unwrap().drain(..));
        }
    }
    assert!(asked.len() > 100);
    for (method, url) in asked {
        let path = url.to_ascii_lowercase();
        assert!(method == HttpMethod::Get && !path.contains("revocation") && !path.contains("cacertificate"), "{method} {url}");
        // Intune's own hosts are looked at below HTTP alone.
        assert!(!url.contains("manage.microsoft"), "{url}");
    }
}

#[test]
fn nothing_in_a_report_is_a_token_or_comes_from_an_imported_file() {
    let record = r#"{"value":[{"encryptedPfxPassword":"Password-Marker","userPrincipalName":"jane@contoso.example"}]}"#;
    let report = status("/userPfxCertificates", 200, record);
    for shown in [report.to_string(), format!("{report:?}"), serde_json::to_string(&report).unwrap()] {
        assert!(!shown.contains(TOKEN) && !shown.contains("Marker") && !shown.contains("jane@"), "{shown}");
    }
}

#[test]
fn a_name_that_does_not_resolve_is_an_error_of_dns() {
    let report = spoilt(|world| *world.network.dns.lock().unwrap() = Err(HttpError::new(HttpErrorKind::Dns, "no such host")));
    assert_eq!(expect(&report, Check::Dns, Error, "no such host", "name servers").subject, GRAPH);
    let report = spoilt(|world| *world.network.dns.lock().unwrap() = Ok(Vec::new()));
    expect(&report, Check::Dns, Error, "no address", "correct the name");
}

#[test]
fn behind_a_proxy_the_proxy_is_looked_at_and_names_are_its_business() {
    let report = spoilt(|world| *world.network.proxy.lock().unwrap() = Some("proxy.contoso.example:3128".to_owned()));
    assert_eq!(report.exit_code(), 0, "{report}");
    expect(&report, Check::Proxy, Good, "proxy.contoso.example:3128 accepts", "");
    expect(&report, Check::Dns, Skipped, "the proxy resolves", "");
    let report = spoilt(|world| {
        *world.network.proxy.lock().unwrap() = Some("proxy.contoso.example:3128".to_owned());
        *world.network.reach.lock().unwrap() = Err(HttpError::new(HttpErrorKind::Proxy, "the proxy is out of reach: refused"));
    });
    expect(&report, Check::Proxy, Error, "out of reach", "absolute URI with scheme and port");
}

#[test]
fn each_way_in_which_tls_fails_has_a_cure_of_its_own() {
    for (kind, text, cure) in [
        (HttpErrorKind::Tls, "no TLS: invalid peer certificate: UnknownIssuer", "TrustAnchors::SystemAnd"),
        (HttpErrorKind::Tls, "no TLS: invalid peer certificate: Expired", "clock"),
        (HttpErrorKind::Tls, "no TLS: invalid peer certificate: certificate expired: verification time 9 (UNIX), but", "clock"),
        (HttpErrorKind::Tls, "no TLS: invalid peer certificate: certificate not valid yet: verification time 9", "clock"),
        (HttpErrorKind::Tls, "no TLS: invalid peer certificate: certificate not valid for name \"a\"", "hosts file"),
        (HttpErrorKind::Tls, "no TLS: received fatal alert: ProtocolVersion", "TLS 1.2 or 1.3"),
        (HttpErrorKind::Connect, "refused", "firewall"),
        (HttpErrorKind::Proxy, "the proxy wants credentials (407)", "credentials"),
    ] {
        let report = spoilt(|world| *world.network.tls.lock().unwrap() = Err(HttpError::new(kind, text)));
        expect(&report, Check::Tls, Error, text, cure);
        assert_eq!(report.exit_code(), 2);
    }
    let nameless = spoilt(|world| *world.network.tls.lock().unwrap() = Err(HttpError::new(HttpErrorKind::Dns, "no such host")));
    expect(&nameless, Check::Tls, Skipped, "its name does not resolve", "");
    let report = spoilt(|world| *world.network.tls.lock().unwrap() = Ok(TlsHandshake::new("TLSv1_2", Some(certificate(9)))));
    expect(&report, Check::Tls, Good, "TLSv1_2", "");
    expect(&report, Check::Tls, Warning, "TEST proxy", "renew it there");
    assert_eq!(report.exit_code(), 1);
}

#[test]
fn a_tenant_that_does_not_exist_is_told_from_an_authority_that_is_away() {
    let unknown = r#"{"error":"invalid_tenant","error_description":"AADSTS90002: Tenant 'contoso.example' not found."}"#;
    expect(&status("openid-configuration", 400, unknown), Check::Authority, Error, "does not know the tenant", "national clouds");
    expect(&status("openid-configuration", 302, ""), Check::Authority, Error, "302", "captive portal");
    expect(&status("openid-configuration", 407, ""), Check::Authority, Error, "407", "Proxy::with_credentials");
    expect(&status("openid-configuration", 503, ""), Check::Authority, Error, "503", "try again later");
    expect(&status("openid-configuration", 404, ""), Check::Authority, Info, "publishes no settings", "");
    let away = spoilt(|world| world.reply("openid-configuration", Reply::Error(HttpErrorKind::Connect, "no connection")));
    expect(&away, Check::Authority, Error, "no connection", "firewall");
    let world = World::new();
    let checks = intune_connector::doctor::OnlineChecks::new("../common", world.tokens.clone(), world.script.clone());
    expect(&world.run_with(checks), Check::Authority, Error, "neither as a domain nor as an id", "Entra portal");
}

#[test]
fn a_clock_that_is_five_minutes_off_is_an_error_on_each_host_that_told_the_time() {
    let off = |secs: u64, ahead: bool| {
        let by = Duration::from_secs(secs);
        spoilt(|world| {
            let theirs = if ahead { now().saturating_sub(by) } else { now().saturating_add(by) };
            *world.script.clock.lock().unwrap() = Some(theirs);
        })
    };
    let report = off(600, true);
    let hosts: Vec<&str> = report.of(Check::Clock).map(|finding| finding.subject.as_str()).collect();
    assert_eq!(hosts, [GRAPH, AUTHORITY]);
    expect(&report, Check::Clock, Error, "s ahead of", "chrony");
    expect(&off(600, false), Check::Clock, Error, "s behind", "chrony");
    expect(&off(60, false), Check::Clock, Warning, "s behind", "time service");
    expect(&spoilt(|world| *world.script.clock.lock().unwrap() = None), Check::Clock, Skipped, "no service told its time", "");
}

#[test]
fn no_token_names_what_is_wrong_with_the_app_registration() {
    for (code, cure) in [
        ("AADSTS7000215", "secret's value, not its id"),
        ("AADSTS7000222", "make a new one"),
        ("AADSTS700016", "client id and tenant"),
        ("AADSTS500011", "two slashes"),
        ("AADSTS0", "tenant, client id and credential"),
    ] {
        let report = spoilt(|world| {
            world.tokens.errors.lock().unwrap().insert("intune", (PortErrorKind::Misconfigured, "Entra ID gave no token", code));
        });
        assert_eq!(expect(&report, Check::Token, Error, "Entra ID gave no token", cure).subject, "Intune");
        // The others go on.
        expect(&report, Check::Permission, Good, "service discovery be read", "");
    }
    let report = spoilt(|world| {
        world.tokens.errors.lock().unwrap().insert("graph", (PortErrorKind::Transient, "no answer", "0"));
    });
    expect(&report, Check::Token, Error, "no answer", "authority, its name");
    expect(&report, Check::Discovery, Skipped, "no token for Microsoft Graph", "");
    expect(&report, Check::Permission, Skipped, "no token for Microsoft Graph", "");
}

#[test]
fn a_missing_role_of_intune_is_an_error_and_its_token_is_dropped() {
    let world = World::new();
    world.tokens.roles.lock().unwrap().insert("intune", vec!["other"]);
    let report = world.run();
    expect(&report, Check::Role, Error, "no role scep_challenge_provider; its roles are: other", "of the Intune API, with admin consent");
    assert_eq!(*world.tokens.refused.lock().unwrap(), ["intune"]);
}

#[test]
fn a_missing_role_of_graph_is_told_by_the_token_and_proved_by_the_call() {
    let roleless = |world: &World| drop(world.tokens.roles.lock().unwrap().insert("graph", Vec::new()));
    let report = spoilt(roleless);
    // Another role may do: Graph let the call through.
    expect(&report, Check::Role, Info, "no role Application.Read.All; its roles are: none", "");
    expect(&report, Check::Permission, Good, "service discovery be read", "");
    expect(&report, Check::Role, Error, "no role DeviceManagementConfiguration.ReadWrite.All", "of Microsoft Graph, with admin consent");
    let denied = r#"{"error":{"code":"Authorization_RequestDenied","message":"Insufficient privileges"}}"#;
    let report = status("/servicePrincipals/", 403, denied);
    expect(&report, Check::Permission, Error, "403", "`Application.Read.All` of Microsoft Graph, with admin consent");
}

#[test]
fn an_importer_that_may_not_look_up_users_is_warned() {
    let roles = vec!["Application.Read.All", "DeviceManagementConfiguration.ReadWrite.All"];
    let report = spoilt(|world| drop(world.tokens.roles.lock().unwrap().insert("graph", roles)));
    expect(&report, Check::Role, Warning, "no role User.Read.All", "`User.Read.All` of Microsoft Graph, with admin consent");
    assert_eq!(report.exit_code(), 1, "{report}");
}

#[test]
fn an_opaque_token_is_no_error() {
    let report = spoilt(|world| *world.tokens.opaque.lock().unwrap() = true);
    assert_eq!(report.exit_code(), 0, "{report}");
    expect(&report, Check::Role, Info, "opaque", "");
}

#[test]
fn a_service_that_discovery_does_not_list_names_role_and_licence() {
    let report = status("/servicePrincipals/", 200, r#"{"value":[]}"#);
    let found: Vec<&str> = report.of(Check::Discovery).map(|finding| finding.subject.as_str()).collect();
    assert_eq!(found, ["ScepRequestValidationFEService", "PkiConnectorFEService"]);
    let cure = "grant the app registration `scep_challenge_provider`";
    expect(&report, Check::Discovery, Error, "service not found", cure);
    expect(&report, Check::Discovery, Error, "service not found", "Intune licence");
    let elsewhere = r#"{"value":[{"providerName":"ScepRequestValidationFEService","uri":"https://evil.example/x"}]}"#;
    expect(&status("/servicePrincipals/", 200, elsewhere), Check::Discovery, Error, "evil.example", "host_suffixes");
}

#[test]
fn each_status_of_discovery_has_a_cure() {
    for (code, cure) in [
        (404, "Intune licence"),
        (407, "proxy the credentials"),
        (429, "so often"),
        (500, "Graph's name, proxy and TLS"),
        (302, "redirecting"),
    ] {
        expect(&status("/servicePrincipals/", code, ""), Check::Discovery, Error, &code.to_string(), cure);
    }
    expect(&status("/servicePrincipals/", 200, "<html>"), Check::Discovery, Error, "no JSON object", "try again");
}

#[test]
fn each_status_of_the_list_of_imported_files_has_a_cure() {
    for (code, severity, cure) in [
        (403, Error, "DeviceManagementConfiguration.ReadWrite.All"),
        (401, Error, "DeviceManagementConfiguration.ReadWrite.All"),
        (404, Error, "import_collection"),
        (429, Warning, "so often"),
        (502, Error, "try again later"),
    ] {
        expect(&status("/userPfxCertificates", code, ""), Check::Permission, severity, &code.to_string(), cure);
    }
    let world = World::new();
    world.run();
    let asked = world.script.asked.lock().unwrap();
    assert!(
        asked.iter().any(|(_, url)| url == "https://graph.microsoft.com/beta/deviceManagement/userPfxCertificates?$top=1"),
        "{asked:?}"
    );
}

#[test]
fn a_credential_is_warned_of_a_month_before_its_end() {
    let ends = |days: i64| {
        spoilt(|world| {
            *world.tokens.ends.lock().unwrap() = Some(intune_connector::time::Timestamp::from_secs(now().as_secs() + days * 86_400))
        })
    };
    expect(&ends(20), Check::Credential, Warning, "in 20 days", "make a new secret or certificate");
    expect(&ends(-1), Check::Credential, Error, "its credential ended", "make a new secret or certificate");
    expect(&spoilt(|world| *world.tokens.ends.lock().unwrap() = None), Check::Credential, Info, "not known", "");
}

#[test]
fn what_hangs_and_what_panics_is_a_finding_and_stops_nothing_else() {
    let report = spoilt(|world| world.reply("openid-configuration", Reply::Never));
    expect(&report, Check::Authority, Error, "no answer within 20 s", "firewall that drops packets");
    expect(&report, Check::Discovery, Good, INTUNE, "");
    let report = spoilt(|world| world.reply("/userPfxCertificates", Reply::Panic));
    expect(&report, Check::Permission, Error, "code panicked", "report it");
    expect(&report, Check::Discovery, Good, INTUNE, "");
}

#[test]
fn an_importer_needs_neither_discovery_nor_a_token_for_intune() {
    let world = World::new();
    world.tokens.roles.lock().unwrap().insert("intune", Vec::new());
    let report = world.run_with(world.checks().without_scep().without_revocation());
    assert_eq!(report.exit_code(), 0, "{report}");
    expect(&report, Check::Token, Skipped, "neither SCEP nor revocation", "");
    assert!(!world.script.asked.lock().unwrap().iter().any(|(_, url)| url.contains("servicePrincipals")));
}

#[test]
fn a_simulator_on_this_machine_is_spoken_to_in_plain() {
    let world = World::new();
    let mut cloud = Cloud::global();
    cloud.dangerous_plain_http_on_loopback = true;
    cloud.authority = "http://127.0.0.1:8080/".to_owned();
    cloud.graph = "http://127.0.0.1:8080/graph".to_owned();
    cloud.host_suffixes.insert("127.0.0.1".to_owned());
    let base = r#"{"value":[{"providerName":"ScepRequestValidationFEService","uri":"http://127.0.0.1:8080/scep"},
        {"providerName":"PkiConnectorFEService","uri":"http://127.0.0.1:8080/pki"}]}"#;
    world.reply("/servicePrincipals/", Reply::Status(200, base.to_owned()));
    let report = world.run_with(world.checks().cloud(cloud));
    assert_eq!(report.exit_code(), 0, "{report}");
    assert_eq!(expect(&report, Check::Tls, Skipped, "plain HTTP", "").subject, "127.0.0.1");
    assert!(world.network.looked_at.lock().unwrap().is_empty());
}

#[test]
fn a_token_goes_to_no_graph_in_plain_nor_to_one_that_is_no_url() {
    for graph in ["http://graph.contoso.example", "http://127.0.0.1:8080", "graph.microsoft.com", "https://me:pw@graph.contoso.example"] {
        let world = World::new();
        let mut cloud = Cloud::global();
        cloud.graph = graph.to_owned();
        let report = world.run_with(world.checks().without_scep().without_revocation().cloud(cloud));
        expect(&report, Check::Permission, Error, "Graph's URL", "correct `Cloud::graph`");
        let asked = world.script.asked.lock().unwrap();
        assert!(asked.iter().all(|(_, url)| url.starts_with("https://login.")), "{asked:?}");
    }
}
