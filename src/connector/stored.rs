//! A finished outcome as bytes for its row, so that a repeated request is answered with the very same result.

use core::time::Duration;

use crate::ids::{CaName, SerialNumber, Thumbprint};
use crate::ports::{Failure, ImportPayload, ImportResult, Outcome, PkcsResult, RecryptResult, RevocationError, RevokeResult};
use crate::retry::ErrorClass;
use crate::time::Timestamp;

const CLASSES: [ErrorClass; 8] = [
    ErrorClass::Transient,
    ErrorClass::Throttled,
    ErrorClass::Request,
    ErrorClass::Policy,
    ErrorClass::Configuration,
    ErrorClass::Unsupported,
    ErrorClass::Deadline,
    ErrorClass::Internal,
];

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn bytes(&mut self, field: &[u8]) {
        self.0.extend_from_slice(&(field.len() as u64).to_be_bytes());
        self.0.extend_from_slice(field);
    }
    fn option(&mut self, field: Option<&[u8]>) {
        self.0.push(u8::from(field.is_some()));
        self.bytes(field.unwrap_or_default());
    }
}

/// Writes an outcome.
pub(super) fn write(outcome: &Outcome) -> Vec<u8> {
    let mut w = Writer::default();
    match outcome {
        Outcome::Pkcs(result) => {
            w.0.push(1);
            w.bytes(&result.pfx_envelope);
            w.bytes(&result.password_envelope);
            w.bytes(result.thumbprint.as_bytes());
            w.bytes(result.serial.to_string().as_bytes());
            w.bytes(&result.not_after.as_micros().to_be_bytes());
            w.bytes(result.ca.as_str().as_bytes());
        }
        Outcome::Recrypt(result) => {
            w.0.push(2);
            w.bytes(&result.envelope);
        }
        Outcome::Import(result) => {
            w.0.push(3);
            w.0.push(match result.payload {
                ImportPayload::Password => 0,
                ImportPayload::Pfx => 1,
            });
            w.bytes(&result.password_envelope);
            w.option(result.pfx_envelope.as_deref());
        }
        Outcome::Revoke(result) => {
            w.0.push(4);
            w.bytes(&result.error.map_or(0, RevocationError::code).to_be_bytes());
            w.option(result.message.as_deref().map(str::as_bytes));
            w.option(result.note.as_deref().map(str::as_bytes));
        }
        Outcome::Failed(failure) => {
            w.0.push(5);
            w.bytes(failure.class.as_str().as_bytes());
            w.option(failure.code.as_deref().map(str::as_bytes));
            w.bytes(failure.message.as_bytes());
        }
    }
    w.0
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }
    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = u64::from_be_bytes(self.take(8)?.try_into().ok()?);
        self.take(usize::try_from(len).ok()?)
    }
    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }
    fn option(&mut self) -> Option<Option<&'a [u8]>> {
        let there = self.byte()? == 1;
        let field = self.bytes()?;
        Some(there.then_some(field))
    }
    fn option_text(&mut self) -> Option<Option<String>> {
        match self.option()? {
            Some(field) => Some(Some(String::from_utf8(field.to_vec()).ok()?)),
            None => Some(None),
        }
    }
}

/// Reads what [`write`] wrote; `None` for anything else.
pub(super) fn read(bytes: &[u8]) -> Option<Outcome> {
    let mut r = Reader(bytes);
    let outcome = match r.byte()? {
        1 => Outcome::Pkcs(Box::new(PkcsResult::new(
            r.bytes()?.to_vec(),
            r.bytes()?.to_vec(),
            Thumbprint::new(r.bytes()?.try_into().ok()?),
            SerialNumber::from_hex(&r.text()?).ok()?,
            Timestamp::from_micros(i64::from_be_bytes(r.bytes()?.try_into().ok()?)),
            CaName::try_from(r.text()?).ok()?,
        ))),
        2 => Outcome::Recrypt(RecryptResult::new(r.bytes()?.to_vec())),
        3 => {
            let payload = if r.byte()? == 0 { ImportPayload::Password } else { ImportPayload::Pfx };
            Outcome::Import(ImportResult::new(payload, r.bytes()?.to_vec(), r.option()?.map(<[u8]>::to_vec)))
        }
        4 => {
            let code = u16::from_be_bytes(r.bytes()?.try_into().ok()?);
            let error = match code {
                0 => None,
                _ => Some(RevocationError::ALL.into_iter().find(|error| error.code() == code)?),
            };
            let mut result = RevokeResult::succeeded(None);
            result.error = error;
            result.message = r.option_text()?;
            result.note = r.option_text()?;
            Outcome::Revoke(result)
        }
        5 => {
            let class = r.text()?;
            let class = CLASSES.into_iter().find(|known| known.as_str() == class)?;
            let code = r.option_text()?;
            Outcome::Failed(Failure::new(class, r.text()?).with_code(code))
        }
        _ => return None,
    };
    r.0.is_empty().then_some(outcome)
}

/// Durations of finished requests, for median and quantiles; the latest 100,000 are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LatencySamples {
    micros: Vec<u64>,
    next: usize,
}

impl LatencySamples {
    const MOST: usize = 100_000;

    pub(super) fn add(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        match self.micros.get_mut(self.next) {
            Some(oldest) => *oldest = micros,
            None => self.micros.push(micros),
        }
        self.next = (self.next + 1) % Self::MOST;
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.micros.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.micros.is_empty()
    }

    /// The duration that a share of the samples does not exceed (nearest rank): 0.5 gives the median, 0.99 the 99th percentile.
    /// `None` without samples.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        let rank = (share.clamp(0.0, 1.0) * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().map(Duration::from_micros)
    }

    /// The median.
    #[must_use]
    pub fn median(&self) -> Option<Duration> {
        self.quantile(0.5)
    }

    /// The 99th percentile.
    #[must_use]
    pub fn p99(&self) -> Option<Duration> {
        self.quantile(0.99)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_outcome_comes_back_as_it_was_and_damage_is_noticed() {
        let ca: CaName = "CA".parse().unwrap();
        let serial = SerialNumber::from_hex("0A1B").unwrap();
        let pkcs = PkcsResult::new(vec![1; 300], vec![2], Thumbprint::new([3; 20]), serial, Timestamp::from_micros(-5), ca);
        let outcomes = [
            Outcome::Pkcs(Box::new(pkcs)),
            Outcome::Recrypt(RecryptResult::new(vec![9; 9])),
            Outcome::Import(ImportResult::new(ImportPayload::Password, vec![1], None)),
            Outcome::Import(ImportResult::new(ImportPayload::Pfx, vec![1], Some(Vec::new()))),
            Outcome::Revoke(RevokeResult::succeeded(Some("already revoked".to_owned()))),
            Outcome::Revoke(RevokeResult::failed(RevocationError::CertificateNotFoundError, "unknown")),
            Outcome::Failed(Failure::new(ErrorClass::Policy, "no").with_code(Some("0x1".to_owned()))),
        ];
        for outcome in outcomes {
            let bytes = write(&outcome);
            assert_eq!(read(&bytes), Some(outcome));
            assert_eq!(read(&bytes[..bytes.len() - 1]), None);
            assert_eq!(read(&[&bytes[..], &[0]].concat()), None);
        }
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn quantiles_are_by_nearest_rank_and_samples_are_bounded() {
        let mut samples = LatencySamples::default();
        assert_eq!(samples.median(), None);
        for millis in 1..=100 {
            samples.add(Duration::from_millis(millis));
        }
        assert_eq!(samples.median(), Some(Duration::from_millis(50)));
        assert_eq!(samples.p99(), Some(Duration::from_millis(99)));
        for _ in 0..LatencySamples::MOST {
            samples.add(Duration::from_secs(1));
        }
        assert_eq!((samples.len(), samples.median()), (LatencySamples::MOST, Some(Duration::from_secs(1))));
    }
}
