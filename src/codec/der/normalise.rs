//! From BER to DER, as far as that is known without the types.

use zeroize::Zeroizing;

use super::{DerError, Rules, Tag, Tlv, single, write};
use crate::limits::{Budget, Limits};

/// One value as it was received, with definite, minimal lengths and whole strings; `None` when it is not exactly one value, nests too deep,
/// or uses what has no DER form that is known without its type.
#[must_use]
pub fn normalised(raw: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut budget = Budget::new(&Limits::default());
    let value = single(raw, Rules::Ber, &mut budget).ok()?;
    value_normalised(&value, &mut budget).ok()
}

/// Recurses; the nesting that the budget allows bounds that.
fn value_normalised(value: &Tlv<'_>, budget: &mut Budget) -> Result<Zeroizing<Vec<u8>>, DerError> {
    const CONSTRUCTED: u8 = 0x20;
    let identifier = match value.raw().first() {
        Some(octet) if octet & 0x1f != 0x1f => *octet,
        _ => return Err(value.error("a tag has several octets")),
    };
    if !value.is_constructed() {
        return Ok(Zeroizing::new(write::value(identifier, &[value.content()])));
    }
    if value.tag().is_universal() && !matches!(value.tag(), Tag::SEQUENCE | Tag::SET) {
        if value.tag() == Tag::BIT_STRING {
            return Err(value.error("a BIT STRING is constructed"));
        }
        return Ok(Zeroizing::new(write::value(identifier & !CONSTRUCTED, &[&value.octets(budget)?])));
    }
    let mut inner = value.inner()?;
    let mut parts = Vec::new();
    while !inner.is_empty() {
        let part = inner.any(budget)?;
        parts.push(value_normalised(&part, budget)?);
    }
    let parts = parts.iter().map(|part| part.as_slice()).collect::<Vec<_>>();
    Ok(Zeroizing::new(write::value(identifier, &parts)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_in_ber_is_written_in_der_or_not_at_all() {
        let same = |raw: &[u8]| assert_eq!(normalised(raw).unwrap()[..], *raw);
        same(&[0x30, 0x05, 0x0c, 0x01, b'x', 0x05, 0x00]);
        same(&[0x1e, 0x02, 0, b'x']);
        same(&[0xa0, 0x03, 0x02, 0x01, 5]);
        let chunks = [0x30, 0x80, 0x24, 0x80, 0x04, 0x01, b'a', 0x04, 0x81, 0x01, b'b', 0, 0, 0, 0];
        assert_eq!(normalised(&chunks).unwrap()[..], [0x30, 0x04, 0x04, 0x02, b'a', b'b']);
        assert_eq!(normalised(&[0x3e, 0x80, 0x1e, 2, 0, b'x', 0, 0]).unwrap()[..], [0x1e, 2, 0, b'x']);
        let bits = [0x23, 0x80, 0x03, 2, 0, 1, 0, 0];
        for refused in [&[][..], &[0x04, 0x01], &[0x05, 0, 0x05, 0], &bits, &[0x1f, 0x20, 0]] {
            assert_eq!(normalised(refused).map(|value| value.to_vec()), None, "{refused:02x?}");
        }
        assert_eq!(normalised(&[0x30, 0x80].repeat(100_000)).map(|value| value.to_vec()), None, "depth is bounded");
        let deep = (0..200).fold(vec![5, 0], |inside, _| write::sequence(&[&inside]));
        assert_eq!(normalised(&deep).map(|value| value.to_vec()), None, "depth is bounded");
    }
}
