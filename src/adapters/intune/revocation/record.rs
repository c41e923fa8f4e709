//! What a row of a revocation request holds, before sealing.

use crate::flow::record::{RecordReader, RecordWriter};
use crate::flow::seal::SealError;
use crate::ids::{CorrelationId, RequestId, TenantId};
use crate::ports::{Payload, QueueItem, RequestMeta, RevokeRequest};
use crate::secret::SecretBytes;
use crate::terms::Flow;

mod field {
    pub(super) const CONTEXT: u8 = 1;
    pub(super) const SERIAL: u8 = 2;
    pub(super) const ISSUER_NAME: u8 = 3;
    pub(super) const CA_CONFIGURATION: u8 = 4;
    pub(super) const PROBLEM: u8 = 5;
    pub(super) const ACTIVITY: u8 = 6;
    pub(super) const ACCEPTED: u8 = 7;
}

/// One request as Intune gave it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Names it in the upload, byte for byte; its content is Intune's.
    pub(super) context: String,
    /// Absent when it could not be read.
    pub(super) serial: Option<String>,
    pub(super) issuer_name: Option<String>,
    pub(super) ca_configuration: Option<String>,
    /// Why it cannot be worked on.
    pub(super) problem: Option<String>,
    /// The `client-request-id` of the download.
    pub(super) activity: Option<String>,
    /// The number of the result that Intune accepted; 0 for success.
    pub(super) accepted: Option<i64>,
}

impl Record {
    pub(super) fn encode(&self) -> RecordWriter {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let parts = [&self.serial, &self.issuer_name, &self.ca_configuration, &self.problem, &self.activity];
        let mut writer = RecordWriter::with_capacity(64 + self.context.len() + parts.into_iter().map(text).sum::<usize>());
        writer.field(field::CONTEXT, self.context.as_bytes());
        let numbers = [field::SERIAL, field::ISSUER_NAME, field::CA_CONFIGURATION, field::PROBLEM, field::ACTIVITY];
        for (number, part) in numbers.into_iter().zip(parts) {
            writer.optional(number, part.as_deref().map(str::as_bytes));
        }
        writer.optional(field::ACCEPTED, self.accepted.map(i64::to_be_bytes).as_ref().map(|bytes| &bytes[..]));
        writer
    }

    pub(super) fn decode(content: SecretBytes) -> Result<Self, SealError> {
        let reader = RecordReader::new(content);
        let text = |number| reader.text(number).map(str::to_owned);
        Ok(Self {
            context: text(field::CONTEXT).ok_or(SealError::Foreign)?,
            serial: text(field::SERIAL),
            issuer_name: text(field::ISSUER_NAME),
            ca_configuration: text(field::CA_CONFIGURATION),
            problem: text(field::PROBLEM),
            activity: text(field::ACTIVITY),
            accepted: reader.integer(field::ACCEPTED),
        })
    }

    /// The item that the flow works on.
    pub(super) fn item(&self, id: RequestId, tenant: &TenantId, own: Option<&std::collections::BTreeSet<String>>) -> QueueItem {
        let mut meta = RequestMeta::new(id, tenant.clone(), Flow::Revoke);
        meta.correlation = self.activity.iter().filter_map(|activity| activity.parse::<CorrelationId>().ok()).collect();
        let payload = match (&self.serial, &self.problem) {
            (Some(serial), None) => {
                let mut request = RevokeRequest::new(serial.clone());
                request.issuer = self.issuer(own).map(str::to_owned);
                Payload::Revoke(request)
            }
            (_, problem) => Payload::Malformed(problem.clone().unwrap_or_else(|| "`serialNumber` is missing".to_owned())),
        };
        QueueItem::new(meta, payload)
    }

    /// Its issuer: the one of its two names that is an own one, else `issuerName`, and `caConfiguration` only where that is absent.
    fn issuer(&self, own: Option<&std::collections::BTreeSet<String>>) -> Option<&str> {
        let mut names = self.names();
        let known = own.and_then(|own| self.names().find(|name| own.contains(name.trim())));
        known.or_else(|| names.next())
    }

    /// Whether it is passed on: one of its names is an own one, it names no issuer at all, or nothing is filtered.
    pub(super) fn is_passed(&self, own: Option<&std::collections::BTreeSet<String>>) -> bool {
        let Some(own) = own else { return true };
        let is_named = self.names().next().is_some() || self.problem.is_some();
        !is_named || self.names().any(|name| own.contains(name.trim()))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        [&self.issuer_name, &self.ca_configuration].into_iter().filter_map(|name| name.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn record(issuer: Option<&str>, configuration: Option<&str>) -> Record {
        Record {
            context: "c\u{fc}\0".to_owned(),
            serial: Some("0A".to_owned()),
            issuer_name: issuer.map(str::to_owned),
            ca_configuration: configuration.map(str::to_owned),
            problem: None,
            activity: Some("activity".to_owned()),
            accepted: None,
        }
    }

    #[test]
    fn a_record_reads_back() {
        let mut bad = record(None, Some("x"));
        (bad.serial, bad.problem, bad.accepted) = (None, Some("no".to_owned()), Some(4_005));
        for record in [record(Some("CA"), None), record(None, None), bad] {
            let content = SecretBytes::copy_from(record.encode().bytes());
            assert_eq!(Record::decode(content).unwrap(), record);
        }
        assert!(Record::decode(SecretBytes::copy_from(b"")).is_err());
    }

    #[test]
    fn the_issuer_is_the_own_name_or_the_first_one() {
        let own: BTreeSet<String> = ["profile A".to_owned()].into();
        let issuer = |record: Record, own| record.issuer(own).map(str::to_owned);
        assert_eq!(issuer(record(Some("CN=CA"), Some("profile A")), None).as_deref(), Some("CN=CA"));
        assert_eq!(issuer(record(Some("CN=CA"), Some(" profile A ")), Some(&own)).as_deref(), Some(" profile A "));
        assert_eq!(issuer(record(None, Some("profile B")), None).as_deref(), Some("profile B"));
        assert_eq!(issuer(record(None, None), Some(&own)), None);
    }

    #[test]
    fn others_requests_are_not_passed_on_and_issuerless_ones_are() {
        let own: BTreeSet<String> = ["CA".to_owned()].into();
        let mut unreadable = record(None, None);
        unreadable.problem = Some("`issuerName` is no text".to_owned());
        for (record, passed) in [
            (record(Some(" CA "), None), true),
            (record(Some("other"), Some("CA")), true),
            (record(None, None), true),
            (record(Some("other"), None), false),
            (record(Some("ca"), Some("other")), false),
            (unreadable, false),
        ] {
            assert_eq!(record.is_passed(Some(&own)), passed, "{record:?}");
            assert!(record.is_passed(None));
        }
    }
}
