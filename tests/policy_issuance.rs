//! The issuance policy: one refusal for each rule, and what passes when it is allowed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/pki.rs"]
mod pki;

use std::collections::BTreeSet;
use std::time::Duration;

use intune_connector::crypto::sign_now;
use intune_connector::ids::{CaName, Oid, Sid};
use intune_connector::limits::Limits;
use intune_connector::message::csr::{Csr, CsrBuilder};
use intune_connector::message::name::Name;
use intune_connector::policy::{IssuancePolicy, PolicyError, Rule, ScepApproval, SidPolicy, SubjectRule};
use intune_connector::ports::{PkcsRequest, RequestMeta, Vouched};
use intune_connector::terms::{Flow, KeyAlgorithm, KeyUsage, SubjectAltName, oids};
use intune_connector::time::Timestamp;

const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);
const DAY: Duration = Duration::from_secs(86_400);
const SID: &str = "S-1-5-21-3623811015-3361044348-30300820-1013";
const SID_URI: &str = "tag:microsoft.com,2022-09-14:sid:S-1-5-21-3623811015-3361044348-30300820-1013";

fn oid(text: &str) -> Oid {
    text.parse().unwrap()
}

fn policy() -> IssuancePolicy {
    IssuancePolicy::deny_all()
        .allow_upn_suffix("contoso.com")
        .allow_email_domain("contoso.com")
        .allow_dns_suffix("corp.contoso.com")
        .allow_uri_scheme("https")
        .allow_ip_network("10.0.0.0".parse().unwrap(), 8)
        .allow_subject_attributes(&Name::parse_cert_str("O=Contoso,C=DE").unwrap())
        .allow_sid_domain("S-1-5-21-3623811015-3361044348-30300820".parse().unwrap())
        .allow_extended_key_usage(oid(oids::CLIENT_AUTH))
        .allow_template("IntuneUser".parse().unwrap())
        .only_keys([KeyAlgorithm::Rsa2048, KeyAlgorithm::EcP256])
        .max_validity(366 * DAY)
}

fn request() -> PkcsRequest {
    let mut request = PkcsRequest::new("ca".parse().unwrap(), "CN=jane,O=Contoso", vec![0x30, 0].into());
    request.subject_alt_names = vec![
        SubjectAltName::Upn("jane@Contoso.com".into()),
        SubjectAltName::Email("jane@contoso.com".into()),
        SubjectAltName::Dns("pc7.corp.contoso.com".into()),
        SubjectAltName::Uri("https://contoso.com/jane".into()),
        SubjectAltName::Ip("10.1.2.3".parse().unwrap()),
    ];
    request.extended_key_usage = vec![oid(oids::CLIENT_AUTH)];
    request.template = Some("IntuneUser".parse().unwrap());
    request.sid = Some(SID.parse().unwrap());
    request
}

fn meta() -> RequestMeta {
    let mut meta = RequestMeta::new("r1".parse().unwrap(), "contoso.com".parse().unwrap(), Flow::Pkcs);
    meta.device = Some("DEV-1".parse().unwrap());
    meta
}

fn rule_of(policy: &IssuancePolicy, request: &PkcsRequest) -> Option<Rule> {
    policy.plan(request, &meta(), NOW).err().map(|refusal| {
        assert!(refusal.to_string().contains(refusal.rule.as_str()), "the message names the rule: {refusal}");
        refusal.rule
    })
}

#[test]
fn what_is_allowed_passes_with_exactly_what_was_asked_for() {
    let plan = policy().plan(&request(), &meta(), NOW).unwrap();
    assert_eq!(plan.subject_alt_names, request().subject_alt_names);
    assert_eq!(plan.sid_extension, Some(SID.parse().unwrap()));
    assert_eq!(plan.key_usage, KeyUsage::SIGN_AND_ENCIPHER);
    assert_eq!(plan.not_after, NOW.saturating_add(365 * DAY));
}

#[test]
fn one_change_breaks_one_rule() {
    type Edit = fn(&mut PkcsRequest);
    let table: &[(&str, Edit, Rule)] = &[
        ("a UPN of another domain", |r| r.subject_alt_names[0] = SubjectAltName::Upn("jane@evil.example".into()), Rule::UpnSuffix),
        (
            "a UPN whose suffix only ends alike",
            |r| r.subject_alt_names[0] = SubjectAltName::Upn("jane@evilcontoso.com".into()),
            Rule::UpnSuffix,
        ),
        ("a UPN of a subdomain", |r| r.subject_alt_names[0] = SubjectAltName::Upn("jane@x.contoso.com".into()), Rule::UpnSuffix),
        ("a UPN with two @", |r| r.subject_alt_names[0] = SubjectAltName::Upn("a@evil.example@contoso.com".into()), Rule::AltNameSyntax),
        ("a UPN with NUL", |r| r.subject_alt_names[0] = SubjectAltName::Upn("admin\0@contoso.com".into()), Rule::AltNameSyntax),
        ("an e-mail address elsewhere", |r| r.subject_alt_names[1] = SubjectAltName::Email("jane@evil.example".into()), Rule::EmailDomain),
        ("a host elsewhere", |r| r.subject_alt_names[2] = SubjectAltName::Dns("dc1.contoso.com".into()), Rule::DnsSuffix),
        ("a wildcard", |r| r.subject_alt_names[2] = SubjectAltName::Dns("*.corp.contoso.com".into()), Rule::AltNameSyntax),
        ("another scheme", |r| r.subject_alt_names[3] = SubjectAltName::Uri("ldap://contoso.com".into()), Rule::UriScheme),
        ("an address elsewhere", |r| r.subject_alt_names[4] = SubjectAltName::Ip("192.0.2.1".parse().unwrap()), Rule::IpNetwork),
        ("a SID URI that the policy does not write", |r| r.subject_alt_names.push(SubjectAltName::Uri(SID_URI.into())), Rule::Sid),
        ("a SID of another domain", |r| r.sid = Some("S-1-5-21-1-2-3-1013".parse().unwrap()), Rule::SidDomain),
        ("the domain's administrator", |r| r.sid = Some("S-1-5-21-3623811015-3361044348-30300820-500".parse().unwrap()), Rule::BuiltInSid),
        ("any usage", |r| r.extended_key_usage.push(oid(oids::ANY_EXTENDED_KEY_USAGE)), Rule::ExtendedKeyUsage),
        ("certificate request agent", |r| r.extended_key_usage.push(oid(oids::CERTIFICATE_REQUEST_AGENT)), Rule::ExtendedKeyUsage),
        ("smart-card logon", |r| r.extended_key_usage.push(oid(oids::SMART_CARD_LOGON)), Rule::ExtendedKeyUsage),
        ("no usage, which is any", |r| r.extended_key_usage.clear(), Rule::ExtendedKeyUsage),
        ("another key algorithm", |r| r.key = KeyAlgorithm::Rsa4096, Rule::Key),
        ("too long a validity", |r| r.validity = 367 * DAY, Rule::Validity),
        ("no validity", |r| r.validity = Duration::ZERO, Rule::Validity),
        ("another template", |r| r.template = Some("SubCA".parse().unwrap()), Rule::Template),
        ("another person as common name", |r| r.subject = "CN=administrator".into(), Rule::Subject),
        ("another organisation", |r| r.subject = "CN=jane,O=Fabrikam".into(), Rule::Subject),
        ("an unlisted attribute", |r| r.subject = "CN=jane,OU=Domain Admins".into(), Rule::Subject),
        ("an e-mail address elsewhere in the subject", |r| r.subject = "CN=jane,E=jane@evil.example".into(), Rule::Subject),
        ("a subject that cannot be read", |r| r.subject = "CN=\"jane".into(), Rule::SubjectSyntax),
        (
            "nobody",
            |r| {
                r.subject.clear();
                r.subject_alt_names.clear();
                r.sid = None;
            },
            Rule::NoName,
        ),
    ];
    for (what, edit, rule) in table {
        let mut request = request();
        edit(&mut request);
        assert_eq!(rule_of(&policy(), &request), Some(*rule), "{what}");
    }
    let tested: BTreeSet<Rule> = table.iter().map(|(_, _, rule)| *rule).collect();
    let elsewhere = [
        // In the tests of device CSRs below, and of the recipient policy.
        Rule::KeyUsage,
        Rule::CaCertificate,
        Rule::CsrExtension,
        Rule::CsrMismatch,
        Rule::RecipientSyntax,
        Rule::RecipientTrust,
        Rule::RecipientValidity,
        Rule::RecipientKeyUsage,
        Rule::RecipientKey,
        Rule::RecipientDevice,
    ];
    let missing: Vec<_> = Rule::ALL.iter().filter(|rule| !tested.contains(rule) && !elsewhere.contains(rule)).collect();
    assert!(missing.is_empty(), "rules without a refusal in the table: {missing:?}");
}

#[test]
fn nothing_is_allowed_until_it_is_named() {
    let denied = IssuancePolicy::deny_all();
    for name in request().subject_alt_names {
        let mut request = request();
        request.template = None;
        request.subject.clear();
        request.subject_alt_names = vec![name.clone()];
        assert!(rule_of(&denied, &request).is_some(), "{name:?}");
    }
}

#[test]
fn names_and_usages_are_bounded_whatever_is_allowed() {
    for policy in [policy().subject_rule(SubjectRule::AnyName), IssuancePolicy::dangerous_allow_any_identity()] {
        let rule_with = |edit: &dyn Fn(&mut PkcsRequest)| {
            let mut request = request();
            edit(&mut request);
            rule_of(&policy, &request)
        };
        assert_eq!(rule_with(&|request| request.subject = format!("CN={},O=Contoso", "j".repeat(4_000))), None);
        assert_eq!(rule_with(&|request| request.subject = format!("CN={},O=Contoso", "j".repeat(4_096))), Some(Rule::Subject));
        assert_eq!(rule_with(&|request| request.subject = "CN=jane,".repeat(400) + "O=Contoso"), Some(Rule::Subject));
        let usages = |count| move |request: &mut PkcsRequest| request.extended_key_usage = vec![oid(oids::CLIENT_AUTH); count];
        assert_eq!(rule_with(&usages(32)), None);
        assert_eq!(rule_with(&usages(33)), Some(Rule::ExtendedKeyUsage));
        let name = |number| SubjectAltName::Dns(format!("pc{number}.corp.contoso.com"));
        assert_eq!(rule_with(&|request| request.subject_alt_names = (0..33).map(name).collect()), Some(Rule::AltNameSyntax));
    }
}

#[test]
fn privileged_usages_and_built_in_sids_pass_only_when_named_one_by_one() {
    let open = IssuancePolicy::dangerous_allow_any_identity();
    for usage in [oids::ANY_EXTENDED_KEY_USAGE, oids::CERTIFICATE_REQUEST_AGENT, oids::SMART_CARD_LOGON] {
        let mut request = request();
        request.extended_key_usage = vec![oid(usage)];
        assert_eq!(rule_of(&open, &request), Some(Rule::ExtendedKeyUsage), "{usage}");
        assert_eq!(rule_of(&open.clone().allow_extended_key_usage(oid(usage)), &request), None, "{usage}");
    }
    let administrator: Sid = "S-1-5-21-1-2-3-500".parse().unwrap();
    let mut request = request();
    request.sid = Some(administrator.clone());
    assert_eq!(rule_of(&open, &request), Some(Rule::BuiltInSid));
    assert_eq!(rule_of(&open.allow_built_in_sid(administrator), &request), None);
}

#[test]
fn the_sid_goes_where_the_policy_says_and_is_never_invented() {
    let uri = SubjectAltName::Uri(SID_URI.into());
    for (setting, extension, in_names) in
        [(SidPolicy::Off, false, false), (SidPolicy::Extension, true, false), (SidPolicy::Uri, false, true), (SidPolicy::Both, true, true)]
    {
        let policy = policy().sid_policy(setting);
        let plan = policy.plan(&request(), &meta(), NOW).unwrap();
        assert_eq!((plan.sid_extension.is_some(), plan.subject_alt_names.contains(&uri)), (extension, in_names), "{setting:?}");
        let mut without = request();
        without.sid = None;
        let plan = policy.plan(&without, &meta(), NOW).unwrap();
        assert_eq!((plan.sid_extension, plan.subject_alt_names), (None, without.subject_alt_names), "{setting:?}");
    }
    let mut twice = request();
    twice.subject_alt_names.push(uri.clone());
    let plan = policy().sid_policy(SidPolicy::Both).plan(&twice, &meta(), NOW).unwrap();
    assert_eq!(plan.subject_alt_names.iter().filter(|name| **name == uri).count(), 1);
    twice.sid = Some("S-1-5-21-3623811015-3361044348-30300820-1014".parse().unwrap());
    assert_eq!(rule_of(&policy().sid_policy(SidPolicy::Both), &twice), Some(Rule::Sid));
}

#[test]
fn common_names_are_bound_to_the_request_unless_any_is_allowed() {
    for subject in ["CN=jane", "CN=jane@contoso.com", "CN=pc7", "CN=pc7.corp.contoso.com", "CN=dev-1", ""] {
        let mut request = request();
        request.subject = subject.into();
        assert_eq!(rule_of(&policy(), &request), None, "{subject}");
    }
    let any = policy().subject_rule(SubjectRule::AnyName);
    let mut request = request();
    request.subject = "CN=\"Doe, Jane\",G=Jane,SN=Doe".into();
    assert_eq!(rule_of(&any, &request), None);
    request.subject = "CN=admin@evil.example".into();
    assert_eq!(rule_of(&any, &request), Some(Rule::Subject));
}

struct DeviceCsr {
    key: KeyAlgorithm,
    edit: fn(CsrBuilder) -> CsrBuilder,
}

fn approve(policy: &IssuancePolicy, csr: &DeviceCsr, vouched: &Vouched) -> Result<Vec<SubjectAltName>, PolicyError> {
    let provider = pki::provider();
    let (_, signer) = pki::new_key(&provider, csr.key);
    let builder = CsrBuilder::new(Name::parse_cert_str("CN=dev-1").unwrap(), &signer.public_key())
        .subject_alt_names(&[SubjectAltName::Dns("dev-1.corp.contoso.com".into())])
        .extended_key_usage(&[oid(oids::CLIENT_AUTH)]);
    let to_be_signed = (csr.edit)(builder).to_be_signed(pki::algorithm_of(&*signer)).unwrap();
    let signature = sign_now(&*signer, to_be_signed.algorithm(), to_be_signed.message()).unwrap();
    let csr = Csr::from_der(&to_be_signed.finish(&signature), &Limits::default()).unwrap();
    let approval = ScepApproval::new("ca".parse::<CaName>().unwrap(), 365 * DAY, vouched);
    let (plan, approved) = policy.approve_csr(&provider, &csr, &approval, NOW)?;
    assert_eq!((approved.subject().flow, &approved.subject().ca), (Flow::Scep, &plan.ca));
    assert!(approved.expires() > NOW);
    Ok(plan.subject_alt_names)
}

fn rule(result: Result<Vec<SubjectAltName>, PolicyError>) -> Option<Rule> {
    match result {
        Ok(_) => None,
        Err(PolicyError::Refused(refusal)) => Some(refusal.rule),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_device_csr_that_keeps_to_the_list_is_approved() {
    let names = approve(&policy(), &DeviceCsr { key: KeyAlgorithm::EcP256, edit: |b| b }, &Vouched::default()).unwrap();
    assert_eq!(names, [SubjectAltName::Dns("dev-1.corp.contoso.com".into())]);
}

#[test]
fn a_device_csr_cannot_choose_its_sid_its_template_or_to_be_a_ca() {
    type Edit = fn(CsrBuilder) -> CsrBuilder;
    let table: &[(&str, Edit, Rule)] = &[
        ("SID extension", |b| b.sid(Some(SID.parse().unwrap())), Rule::Sid),
        ("SID URI", |b| b.subject_alt_names(&[SubjectAltName::Uri(SID_URI.into())]), Rule::Sid),
        ("template", |b| b.template(&"SubCA".parse().unwrap()), Rule::CsrExtension),
        ("template of version 2", |b| b.extension(oid("1.3.6.1.4.1.311.21.7"), false, &[0x30, 0]), Rule::CsrExtension),
        ("application policies", |b| b.extension(oid("1.3.6.1.4.1.311.21.10"), false, &[0x30, 0]), Rule::CsrExtension),
        ("an unknown extension", |b| b.extension(oid("1.2.3.4"), false, &[5, 0]), Rule::CsrExtension),
        ("a CA", |b| b.extension(oid("2.5.29.19"), true, &[0x30, 3, 1, 1, 0xff]), Rule::CaCertificate),
        ("key usage of a CA", |b| b.key_usage(KeyUsage { key_cert_sign: true, ..KeyUsage::SIGN_AND_ENCIPHER }), Rule::KeyUsage),
        ("another usage", |b| b.extended_key_usage(&[oid(oids::CERTIFICATE_REQUEST_AGENT)]), Rule::ExtendedKeyUsage),
        ("another name", |b| b.subject_alt_names(&[SubjectAltName::Dns("dc1.contoso.com".into())]), Rule::DnsSuffix),
    ];
    for (what, edit, expected) in table {
        let csr = DeviceCsr { key: KeyAlgorithm::EcP256, edit: *edit };
        assert_eq!(rule(approve(&policy(), &csr, &Vouched::default())), Some(*expected), "{what}");
    }
    let csr = DeviceCsr { key: KeyAlgorithm::EcP384, edit: |b| b };
    assert_eq!(rule(approve(&policy(), &csr, &Vouched::default())), Some(Rule::Key));
}

#[test]
fn a_csr_is_approved_for_its_own_plan_only() {
    let provider = pki::provider();
    let mut request = request();
    request.key = KeyAlgorithm::EcP256;
    let plan = policy().plan(&request, &meta(), NOW).unwrap();
    let (_, signer) = pki::new_key(&provider, KeyAlgorithm::EcP256);
    let csr = |subject: &str, names: &[SubjectAltName]| {
        let to_be_signed = CsrBuilder::new(Name::parse_cert_str(subject).unwrap(), &signer.public_key())
            .subject_alt_names(names)
            .extended_key_usage(&plan.extended_key_usage)
            .sid(plan.sid_extension.clone())
            .to_be_signed(pki::algorithm_of(&*signer))
            .unwrap();
        let signature = sign_now(&*signer, to_be_signed.algorithm(), to_be_signed.message()).unwrap();
        to_be_signed.finish(&signature)
    };
    let decide = |der: &[u8], now| policy().approve(&provider, &Csr::from_der(der, &Limits::default()).unwrap(), &plan, &meta(), now);
    let refused = |decision: Result<_, PolicyError>| match decision {
        Err(PolicyError::Refused(refusal)) => refusal.rule,
        other => panic!("{other:?}"),
    };

    let good = csr("CN=jane,O=Contoso", &plan.subject_alt_names);
    let approved = decide(&good, NOW).unwrap();
    assert_eq!((approved.subject().identity.as_str(), &approved.subject().template), ("jane@Contoso.com", &plan.template));
    assert_eq!(refused(decide(&csr("CN=john,O=Contoso", &plan.subject_alt_names), NOW)), Rule::CsrMismatch);
    let other = [SubjectAltName::Upn("john@contoso.com".into())];
    assert_eq!(refused(decide(&csr("CN=jane,O=Contoso", &other), NOW)), Rule::CsrMismatch);
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(refused(decide(&forged, NOW)), Rule::CsrMismatch);
    assert_eq!(refused(decide(&good, plan.not_after)), Rule::Validity);
}

#[test]
fn a_sid_uri_passes_only_when_the_validator_vouches_for_that_sid() {
    let csr = DeviceCsr { key: KeyAlgorithm::EcP256, edit: |b| b.subject_alt_names(&[SubjectAltName::Uri(SID_URI.into())]) };
    let mut vouched = Vouched::default();
    vouched.sid = Some(SID.parse().unwrap());
    assert_eq!(rule(approve(&policy(), &csr, &vouched)), Some(Rule::Subject));
    vouched.device = Some("dev-1".parse().unwrap());
    assert_eq!(rule(approve(&policy(), &csr, &vouched)), None);
    assert_eq!(rule(approve(&policy().sid_policy(SidPolicy::Off), &csr, &vouched)), Some(Rule::Sid));
    vouched.sid = Some("S-1-5-21-3623811015-3361044348-30300820-1014".parse().unwrap());
    assert_eq!(rule(approve(&policy(), &csr, &vouched)), Some(Rule::Sid));
}

#[test]
fn names_that_the_validator_checked_pass_only_where_that_is_configured() {
    let csr = DeviceCsr { key: KeyAlgorithm::EcP256, edit: |b| b.subject_alt_names(&[SubjectAltName::Dns("elsewhere.example".into())]) };
    let mut vouched = Vouched::default();
    vouched.names_checked = true;
    assert_eq!(rule(approve(&policy(), &csr, &vouched)), Some(Rule::DnsSuffix));
    let trusting = policy().accept_names_checked_by_validator();
    assert_eq!(rule(approve(&trusting, &csr, &vouched)), None);
    vouched.names_checked = false;
    assert_eq!(rule(approve(&trusting, &csr, &vouched)), Some(Rule::DnsSuffix));
}

#[test]
fn a_control_character_in_the_subject_is_refused_also_where_any_name_is_allowed() {
    for policy in [policy().subject_rule(SubjectRule::AnyName), IssuancePolicy::dangerous_allow_any_identity()] {
        let mut request = request();
        request.subject = "CN=\"www.contoso.com\0.evil\",O=Contoso".to_owned();
        assert_eq!(rule_of(&policy, &request), Some(Rule::Subject));
    }
}

#[test]
fn text_that_does_not_fit_its_string_type_is_refused_also_where_any_name_is_allowed() {
    // A UTF8String with a zero octet that hides behind an octet of no UTF-8; an OCTET STRING, which nobody takes for text.
    let value = |tag: u8| [&[0x30, 0x0d, 0x31, 0x0b, 0x30, 0x09, 0x06, 0x03, 0x55, 0x04, 0x03, tag, 2][..], &[0, 0xff]].concat();
    let any = IssuancePolicy::dangerous_allow_any_identity();
    let checked = policy().accept_names_checked_by_validator();
    let mut vouched = Vouched::default();
    vouched.names_checked = true;
    for (tag, expected) in [(0x0c, Some(Rule::Subject)), (0x13, Some(Rule::Subject)), (0x1b, Some(Rule::Subject)), (0x04, None)] {
        let provider = pki::provider();
        let (_, signer) = pki::new_key(&provider, KeyAlgorithm::EcP256);
        let builder = CsrBuilder::new(Name::from_der(&value(tag)).unwrap(), &signer.public_key());
        let builder = builder.extended_key_usage(&[oid(oids::CLIENT_AUTH)]);
        let to_be_signed = builder.to_be_signed(pki::algorithm_of(&*signer)).unwrap();
        let signature = sign_now(&*signer, to_be_signed.algorithm(), to_be_signed.message()).unwrap();
        let csr = Csr::from_der(&to_be_signed.finish(&signature), &Limits::default()).unwrap();
        let approval = ScepApproval::new("ca".parse::<CaName>().unwrap(), 365 * DAY, &vouched);
        for policy in [&any, &checked] {
            let result = policy.approve_csr(&provider, &csr, &approval, NOW).map(|_| Vec::new());
            assert_eq!(rule(result), expected, "{tag:#04x}");
        }
    }
}

#[test]
fn a_csr_that_asks_for_more_than_its_plan_is_not_approved() {
    let provider = pki::provider();
    let mut request = request();
    request.key = KeyAlgorithm::EcP256;
    let plan = policy().plan(&request, &meta(), NOW).unwrap();
    let (_, signer) = pki::new_key(&provider, KeyAlgorithm::EcP256);
    let decide = |edit: &dyn Fn(CsrBuilder) -> CsrBuilder| {
        let builder = CsrBuilder::new(Name::from_der(&plan.subject).unwrap(), &signer.public_key());
        let to_be_signed = edit(builder.subject_alt_names(&plan.subject_alt_names)).to_be_signed(pki::algorithm_of(&*signer)).unwrap();
        let signature = sign_now(&*signer, to_be_signed.algorithm(), to_be_signed.message()).unwrap();
        let csr = Csr::from_der(&to_be_signed.finish(&signature), &Limits::default()).unwrap();
        policy().approve(&provider, &csr, &plan, &meta(), NOW)
    };
    decide(&|builder| builder.template(&"IntuneUser".parse().unwrap())).unwrap();
    let wider: [&dyn Fn(CsrBuilder) -> CsrBuilder; 3] = [
        &|builder| builder.template(&"DomainController".parse().unwrap()),
        &|builder| builder.extension(oid("2.5.29.19"), true, &[0x30, 0x03, 0x01, 0x01, 0xff]),
        &|builder| builder.extension(oid("1.3.6.1.4.1.311.21.10"), false, &[0x30, 0x00]),
    ];
    for edit in wider {
        assert!(matches!(decide(edit), Err(PolicyError::Refused(refusal)) if refusal.rule == Rule::CsrMismatch));
    }
}
