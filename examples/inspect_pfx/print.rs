//! A report as text for people. Names in files are anybody's: what could steer a terminal is shown escaped.

use core::fmt::Write as _;

use serde_json::Value;

/// The report in lines; ends with a line break.
pub(crate) fn plainly(file: &str, report: &Value) -> String {
    let mut page = Page(String::new());
    if report["error"].is_object() {
        refused(&mut page, file, &report["error"]);
    } else {
        opened(&mut page, file, report);
    }
    page.0
}

fn refused(page: &mut Page, file: &str, error: &Value) {
    page.heading(&format!("{file} does not open."));
    page.field("kind", &text(&error["kind"]));
    page.field("reason", &text(&error["message"]));
    for step in entries(&error["advice"]) {
        page.field("to do", &text(step));
    }
}

fn opened(page: &mut Page, file: &str, report: &Value) {
    let (keys, certificates) = (entries(&report["keys"]), entries(&report["certificates"]));
    page.heading(&format!("{file} opens: {} private key(s), {} certificate(s).", keys.len(), certificates.len()));
    for (index, key) in keys.iter().enumerate() {
        page.entry("key", index, &key["friendly_name"]);
        page.field("protection", &protection(&key["protection"], &key["strength"]));
        match &key["identity"] {
            Value::Null => page.field("certificate", "none in this file"),
            identity => {
                let chain: Vec<String> = entries(&identity["chain"]).iter().map(|above| format!("certificate {above}")).collect();
                let above = if chain.is_empty() { "nothing above it".to_owned() } else { format!("above it {}", chain.join(", then ")) };
                page.field("certificate", &format!("certificate {}, {above}", identity["certificate"]));
            }
        }
    }
    for (index, certificate) in certificates.iter().enumerate() {
        page.entry("certificate", index, &certificate["friendly_name"]);
        describe(page, certificate);
    }
    for (index, other) in entries(&report["others"]).iter().enumerate() {
        page.entry("other", index, &other["friendly_name"]);
        page.field("kind", &format!("{} ({}), {} bytes, kept but not used", text(&other["kind"]), text(&other["oid"]), other["length"]));
    }
    match &report["mac"] {
        Value::Null if report["integrity"] == "signature" => page.line("MAC: none, but a signature: verified"),
        Value::Null => page.line("MAC: none"),
        mac => {
            let kind = if mac["pbmac1"] == true { "PBMAC1 with " } else { "" };
            let strength = judged(&mac["strength"]);
            page.line(&format!("MAC: {kind}{}, iterations {}: verified; {strength}", text(&mac["algorithm"]), mac["iterations"]));
        }
    }
    if !entries(&report["platforms"]).is_empty() {
        page.line("Taken by (from published source and reports, not tried on devices):");
        for platform in entries(&report["platforms"]) {
            let why = text(&platform["why"]);
            let why = if why.is_empty() { why } else { format!(": {why}") };
            page.wide(&text(&platform["platform"]), &format!("{}{why}", text(&platform["answer"])));
        }
    }
    for note in entries(&report["notes"]) {
        page.line(&format!("Note: {}", text(note)));
    }
}

fn describe(page: &mut Page, certificate: &Value) {
    if let Some(problem) = certificate["problem"].as_str() {
        page.field("problem", &format!("{problem}; kept as it is, {} bytes", certificate["length"]));
    } else {
        page.field("subject", &text(&certificate["subject"]));
        let names = joined(&certificate["alternative_names"]);
        if !names.is_empty() {
            page.field("for", &names);
        }
        let uses = joined(&certificate["uses"]);
        let authority = if certificate["certificate_authority"] == true { "a certificate authority; " } else { "" };
        page.field("use", &format!("{authority}{}", if uses.is_empty() { "not restricted" } else { &uses }));
        let issuer = if certificate["self_issued"] == true { "itself".to_owned() } else { text(&certificate["issuer"]) };
        page.field("issuer", &issuer);
        let state = text(&certificate["validity"]);
        page.field("valid", &format!("{} to {}: {state}", seconds(&certificate["not_before"]), seconds(&certificate["not_after"])));
        page.field("public key", &format!("{}: {}", text(&certificate["public_key"]), judged(&certificate["key_strength"])));
        page.field("serial", &text(&certificate["serial"]));
        page.field("thumbprint", &text(&certificate["thumbprint"]));
    }
    // Certificates are public: how they are encrypted matters to readers alone.
    page.field("protection", &protection(&certificate["protection"], &Value::Null));
}

fn protection(protection: &Value, strength: &Value) -> String {
    let how = match protection {
        Value::Null => "in clear".to_owned(),
        protection => {
            let scheme = text(&protection["scheme"]);
            let unit = if scheme.contains("scrypt") { "cost" } else { "iterations" };
            format!("{scheme}, {unit} {}", protection["iterations"])
        }
    };
    if strength.is_null() { how } else { format!("{how}; {}", judged(strength)) }
}

fn judged(strength: &Value) -> String {
    format!("{} ({})", text(&strength["judgement"]), text(&strength["why"]))
}

/// A time of certificates, which know no fractions of a second.
fn seconds(time: &Value) -> String {
    text(time).replace(".000Z", "Z")
}

fn joined(list: &Value) -> String {
    entries(list).iter().map(text).collect::<Vec<_>>().join(", ")
}

fn entries(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "unknown".to_owned(),
        value => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    }
}

struct Page(String);

impl Page {
    fn heading(&mut self, text: &str) {
        self.0.push_str(&harmless(text));
        self.0.push('\n');
    }

    fn line(&mut self, text: &str) {
        let _ = writeln!(self.0, "  {}", harmless(text));
    }

    fn entry(&mut self, kind: &str, index: usize, name: &Value) {
        let name = name.as_str().map_or_else(|| "without a name".to_owned(), |name| format!("\"{name}\""));
        self.line(&format!("{kind} {index}: {name}"));
    }

    fn field(&mut self, name: &str, text: &str) {
        let _ = writeln!(self.0, "    {name:<12} {}", harmless(text));
    }

    fn wide(&mut self, name: &str, text: &str) {
        let _ = writeln!(self.0, "    {name:<47} {}", harmless(text));
    }
}

/// Without control characters and without those that reverse the direction of a line.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
                out.extend(character.escape_unicode())
            }
            control if control.is_control() => out.extend(control.escape_default()),
            other => out.push(other),
        }
    }
    out
}
