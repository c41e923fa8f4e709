//! A bounded reader of tag, length and value (X.690), strict for DER, and tolerant where BER must be read; and a writer of DER.
//!
//! `rasn::der` accepts much that is not DER (long lengths, padded integers, unsorted sets), so what must be canonical is read here.

use crate::limits::LimitExceeded;

mod normalise;
mod octets;
mod oid;
mod reader;
mod tag;
mod tlv;
pub mod write;

pub use normalise::normalised;
pub use octets::Octets;
pub use oid::{dotted, oid_from_octets};
pub use reader::{Reader, single};
pub use tag::Tag;
pub use tlv::Tlv;

/// What is wrong with an encoding, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DerError {
    /// Not an encoding of what was asked for.
    #[error("{problem} at byte {offset}")]
    Malformed {
        /// What is wrong.
        problem: &'static str,
        /// Byte offset into the input of the outermost reader.
        offset: usize,
    },
    /// The input costs more than is allowed.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

/// Which encodings are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Definite, minimal lengths; minimal integers; BOOLEAN FF or 00; primitive strings.
    Der,
    /// Also indefinite and long lengths, constructed strings, padded integers.
    Ber,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{Budget, Limits};

    fn budget() -> Budget {
        Budget::new(&Limits::default())
    }

    #[test]
    fn der_refuses_what_ber_allows() {
        for (bytes, what) in [
            (&[0x30, 0x81, 0x03, 2, 1, 5][..], "long length"),
            (&[0x30, 0x82, 0x00, 0x03, 2, 1, 5], "zero-padded length"),
            (&[0x30, 0x80, 2, 1, 5, 0, 0], "indefinite length"),
        ] {
            assert!(single(bytes, Rules::Der, &mut budget()).is_err(), "{what}");
            let value = single(bytes, Rules::Ber, &mut budget()).expect(what);
            assert_eq!((value.content(), value.raw()), (&[2, 1, 5][..], bytes), "{what}");
        }
        for bytes in [&[2, 2, 0, 1][..], &[2, 2, 0xff, 0x80]] {
            assert!(single(bytes, Rules::Der, &mut budget()).unwrap().integer().is_err());
            assert!(single(bytes, Rules::Ber, &mut budget()).unwrap().integer().is_ok());
        }
        assert!(single(&[1, 1, 1], Rules::Der, &mut budget()).unwrap().boolean().is_err());
        assert!(single(&[3, 2, 4, 0x1f], Rules::Der, &mut budget()).unwrap().bit_string().is_err());
        assert!(single(&[0x1f, 0x02, 0], Rules::Ber, &mut budget()).is_err(), "long form of a low tag");
    }

    #[test]
    fn a_bit_string_gives_its_octets() {
        assert_eq!(single(&[3, 1, 0], Rules::Der, &mut budget()).unwrap().bit_string(), Ok((0, &[][..])));
        assert_eq!(single(&[3, 2, 5, 0xa0], Rules::Der, &mut budget()).unwrap().bit_string(), Ok((5, &[0xa0][..])));
        assert_eq!(single(&[3, 3, 0, 1, 2], Rules::Der, &mut budget()).unwrap().bit_octets(), Ok(&[1, 2][..]));
        assert!(single(&[3, 1, 1], Rules::Der, &mut budget()).unwrap().bit_string().is_err());
        assert!(single(&[3, 2, 8, 0], Rules::Der, &mut budget()).unwrap().bit_string().is_err());
    }

    #[test]
    fn chunks_of_a_ber_string_are_joined_in_order() {
        let bytes = [0x24, 0x80, 4, 1, 1, 0x24, 0x80, 4, 1, 2, 4, 1, 3, 0, 0, 4, 1, 4, 0, 0];
        let value = single(&bytes, Rules::Ber, &mut budget()).unwrap();
        assert_eq!(value.octets(&mut budget()).unwrap().as_ref(), &[1, 2, 3, 4]);
    }

    #[test]
    fn a_chunk_that_is_no_string_is_refused_and_a_chunk_of_the_string_s_own_type_is_not() {
        let octets = |bytes: &[u8]| single(bytes, Rules::Ber, &mut budget()).unwrap().octets(&mut budget()).map(Octets::into_owned);
        assert_eq!(octets(&[0x3e, 4, 4, 2, 0, b'a']), Ok(vec![0, b'a']));
        assert_eq!(octets(&[0x3e, 4, 0x1e, 2, 0, b'a']), Ok(vec![0, b'a']));
        assert!(octets(&[0x24, 3, 2, 1, 5]).is_err());
        assert!(octets(&[0xa0, 3, 0x80, 1, 5]).is_err());
        let deep = [0x24, 0x80].repeat(100);
        assert!(single(&deep, Rules::Ber, &mut budget()).is_err());
    }

    #[test]
    fn debug_shows_no_content() {
        let der = [0x30, 5, 4, 3, 201, 202, 203];
        let value = single(&der, Rules::Der, &mut budget()).unwrap();
        let mut reader = value.inner().unwrap();
        let shown = format!("{value:?} {reader:?} {:?}", reader.any(&mut budget()).unwrap());
        assert!(["201", "202", "203"].iter().all(|octet| !shown.contains(octet)), "{shown}");
    }

    #[test]
    fn an_inner_document_goes_on_counting_the_nesting() {
        let most = Limits::default().nesting;
        let at = |depth| {
            Reader::inside(&[0x30, 2, 5, 0], Rules::Ber, depth).sequence(&mut budget()).and_then(|mut inner| inner.any(&mut budget()))
        };
        assert!(at(most - 1).is_ok());
        assert!(matches!(at(most), Err(DerError::Limit(limit)) if limit.what == "nesting"));
    }

    #[test]
    fn integers_saturate_where_asked_and_negative_ones_are_refused() {
        let value = |bytes: &[u8]| single(bytes, Rules::Ber, &mut budget()).unwrap().saturating_unsigned();
        assert_eq!(value(&[2, 9, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]), Ok(1 << 63));
        assert_eq!(value(&[2, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0]), Ok(u64::MAX));
        assert!(value(&[2, 1, 0xff]).is_err());
        assert!(value(&[2, 0]).is_err());
        assert!(single(&[2, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0], Rules::Ber, &mut budget()).unwrap().unsigned().is_err());
    }

    #[test]
    fn nesting_and_length_claims_end_in_an_error() {
        let deep: Vec<u8> = [0x30, 0x80].repeat(1_000_000);
        assert!(matches!(single(&deep, Rules::Ber, &mut budget()), Err(DerError::Limit(limit)) if limit.what == "nesting"));
        for bytes in
            [&[0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 0xff]]
        {
            assert!(single(bytes, Rules::Der, &mut budget()).is_err());
        }
    }

    #[test]
    fn object_identifiers_with_large_arcs_are_kept_as_octets() {
        let uuid_arc = [6, 11, 0x69, 0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        let value = single(&uuid_arc, Rules::Der, &mut budget()).unwrap();
        assert_eq!(value.oid(), Ok(None));
        assert_eq!(value.oid_octets().unwrap().len(), 11);
        let value = single(&[6, 3, 0x55, 0x1d, 0x11], Rules::Der, &mut budget()).unwrap();
        assert_eq!(value.oid().unwrap().unwrap().as_str(), "2.5.29.17");
        assert!(single(&[6, 2, 0x55, 0x80], Rules::Der, &mut budget()).unwrap().oid().is_err());
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["2.5.29.17", "1.2.840.113549.1.1.1", "2.999.1", "1.3.6.1.4.1.311.25.2.1", "0.9.2342.19200300.100.1.25", "2.4294967295"]
        {
            let der = write::oid(&text.parse().unwrap());
            assert_eq!(single(&der, Rules::Der, &mut budget()).unwrap().oid().unwrap().unwrap().as_str(), text);
        }
        for len in [0, 127, 128, 255, 256, 65_535, 65_536] {
            let der = write::octet_string(&vec![7; len]);
            assert_eq!(single(&der, Rules::Der, &mut budget()).unwrap().content().len(), len);
        }
        for value in [0u64, 1, 127, 128, 255, 256, u64::MAX] {
            let der = write::unsigned(value);
            assert_eq!(single(&der, Rules::Der, &mut budget()).unwrap().unsigned(), Ok(value));
        }
    }
}
