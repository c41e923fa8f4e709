//! The report as a table for people.

use core::fmt::{self, Write as _};

use super::report::{DryRunReport, Recipient, RequestReport, Verdict, WouldIssue};
use crate::event::printable;
use crate::terms::SubjectAltName;

impl fmt::Display for DryRunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Dry run for {} at {}: nothing was issued, revoked or uploaded.", self.tenant, self.at)?;
        for finding in &self.configuration {
            let text = format!("{}: {}; {}", finding.setting, finding.problem, finding.remedy);
            writeln!(f, "The connector would not start: {}", printable(&text))?;
        }
        let width = |of: fn(&RequestReport) -> usize, least: usize| self.requests.iter().map(of).max().unwrap_or(0).max(least).min(40);
        let id = width(|request| request.id.chars().count(), 7);
        let flow = width(|request| request.flow.as_str().len(), 4);
        let verdict = width(|request| request.verdict.as_str().len(), 7);
        if !self.requests.is_empty() {
            writeln!(f, "{:id$}  {:flow$}  {:verdict$}  details", "request", "flow", "verdict")?;
        }
        for request in &self.requests {
            let (name, of, came_to) = (printable(&request.id), request.flow.as_str(), request.verdict.as_str());
            writeln!(f, "{name:id$}  {of:flow$}  {came_to:verdict$}  {}", printable(&details(&request.verdict)))?;
            for note in &request.notes {
                writeln!(f, "{:id$}  {:flow$}  {:verdict$}  {}", "", "", "", printable(note))?;
            }
        }
        let counts: Vec<String> = self.counts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
        if counts.is_empty() { write!(f, "no requests") } else { write!(f, "{}", counts.join(", ")) }
    }
}

fn details(verdict: &Verdict) -> String {
    match verdict {
        Verdict::WouldIssue(certificate) => certificate_details(certificate),
        Verdict::WouldUpload { recipient, bytes } => format!("{bytes} bytes{}", for_whom(recipient.as_ref())),
        Verdict::WouldRevoke { ca, serial, reason } => format!("serial number {serial} at {ca}, reason {reason:?}"),
        Verdict::RefusedByPolicy { rule, reason } => format!("[{rule}] {reason}"),
        Verdict::WouldFail { class, code, reason } => {
            let code = code.as_ref().map(|code| format!(" {code}")).unwrap_or_default();
            format!("[{class}{code}] {reason}")
        }
        Verdict::Repeated { same: true } => "the same request again: it would be answered as the first".to_owned(),
        Verdict::Repeated { same: false } => "another content under the same id: it would not be worked on".to_owned(),
        Verdict::WouldTryAgain { reason }
        | Verdict::Malformed { reason }
        | Verdict::LeftToOthers { reason }
        | Verdict::Undecided { reason } => reason.clone(),
    }
}

fn certificate_details(certificate: &WouldIssue) -> String {
    let mut out = format!("{} for {:?}", certificate.ca, certificate.subject);
    if let Some(template) = &certificate.template {
        let _ = write!(out, " by template {template}");
    }
    for name in &certificate.subject_alt_names {
        let _ = match name {
            SubjectAltName::Upn(text) => write!(out, ", UPN {text}"),
            SubjectAltName::Email(text) => write!(out, ", e-mail {text}"),
            SubjectAltName::Dns(text) => write!(out, ", DNS {text}"),
            SubjectAltName::Uri(text) => write!(out, ", URI {text}"),
            SubjectAltName::Ip(ip) => write!(out, ", IP {ip}"),
        };
    }
    if let Some(sid) = &certificate.sid_extension {
        let _ = write!(out, ", SID {sid}");
    }
    let usages: Vec<&str> = certificate.extended_key_usage.iter().map(|usage| usage.as_str()).collect();
    let _ = write!(out, ", {:?} for {}, until {}", certificate.key, usages.join(" "), certificate.not_after);
    out + &for_whom(certificate.recipient.as_ref())
}

fn for_whom(recipient: Option<&Recipient>) -> String {
    recipient.map(|recipient| format!(", encrypted for {:?}", recipient.subject)).unwrap_or_default()
}
