//! UTCTime and GeneralizedTime as RFC 5280 section 4.1.2.5 wants them: seconds present, UTC, no fractions.

use chrono::{DateTime, Datelike as _, NaiveDate};

use super::der::{DerError, Tag, Tlv, write};
use crate::time::Timestamp;

/// Reads a `Time` (RFC 5280 section 4.1.2.5). UTCTime years 50 to 99 are 1950 to 1999.
///
/// # Errors
/// When it is another type or has another form.
pub fn decode(value: &Tlv<'_>) -> Result<Timestamp, DerError> {
    let wrong = || value.error("a time has not the form YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ");
    let text = value.primitive()?;
    let (digits, year_len) = match (value.tag(), text) {
        (Tag::UTC_TIME, [digits @ .., b'Z']) if digits.len() == 12 => (digits, 2),
        (Tag::GENERALIZED_TIME, [digits @ .., b'Z']) if digits.len() == 14 => (digits, 4),
        _ => return Err(wrong()),
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(wrong());
    }
    let number = |digits: &[u8]| digits.iter().fold(0u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    let (year, rest) = digits.split_at(year_len);
    let year = match (year_len, number(year)) {
        (2, year @ 0..=49) => 2000 + year,
        (2, year) => 1900 + year,
        (_, year) => year,
    };
    let mut fields = rest.chunks_exact(2).map(number);
    let mut field = || fields.next().unwrap_or(u32::MAX);
    let date = NaiveDate::from_ymd_opt(year as i32, field(), field());
    date.and_then(|date| date.and_hms_opt(field(), field(), field()))
        .map(|time| Timestamp::from_secs(time.and_utc().timestamp()))
        .ok_or_else(wrong)
}

/// Writes a `Time`: UTCTime for 1950 to 2049, else GeneralizedTime. Fractions of a second are dropped;
/// times outside the years 0 to 9999 become the nearest end.
#[must_use]
pub fn encode(time: Timestamp) -> Vec<u8> {
    let text = |time: DateTime<chrono::Utc>| match time.year() {
        1950..=2049 => write::value(0x17, &[time.format("%y%m%d%H%M%SZ").to_string().as_bytes()]),
        _ => write::value(0x18, &[time.format("%Y%m%d%H%M%SZ").to_string().as_bytes()]),
    };
    // 0000-01-01T00:00:00Z and 9999-12-31T23:59:59Z, the latter also RFC 5280's "no well-defined expiration".
    let secs = time.as_secs().clamp(-62_167_219_200, 253_402_300_799);
    text(DateTime::from_timestamp(secs, 0).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::der::{Rules, single};
    use crate::limits::{Budget, Limits};

    fn read(der: &[u8]) -> Result<Timestamp, DerError> {
        decode(&single(der, Rules::Der, &mut Budget::new(&Limits::default()))?)
    }

    #[test]
    fn times_survive_a_round_trip_in_the_form_that_rfc_5280_wants() {
        for (secs, tag) in
            [(0, 0x17), (2_524_607_999, 0x17), (2_524_608_000, 0x18), (-631_152_000, 0x17), (-631_152_001, 0x18), (253_402_300_799, 0x18)]
        {
            let der = encode(Timestamp::from_secs(secs));
            assert_eq!((der[0], read(&der)), (tag, Ok(Timestamp::from_secs(secs))));
        }
        assert_eq!(read(&encode(Timestamp::from_micros(i64::MAX))), Ok(Timestamp::from_secs(253_402_300_799)));
    }

    #[test]
    fn other_forms_of_time_are_refused() {
        for text in ["2601010000Z", "260101000000", "26010100000+Z", "261301000000Z", "260230000000Z", "260101240000Z", "2601010000é"] {
            assert!(read(&write::value(0x17, &[text.as_bytes()])).is_err(), "{text}");
        }
        for text in ["20260101000000.5Z", "202601010000Z", "20260101000000+0100"] {
            assert!(read(&write::value(0x18, &[text.as_bytes()])).is_err(), "{text}");
        }
    }
}
