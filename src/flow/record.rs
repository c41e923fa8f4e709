//! The content of a row before it is sealed: numbered fields with a length each. Readers skip fields that they do not know, so that
//! instances of two versions can share a journal.

use zeroize::Zeroizing;

use crate::secret::SecretBytes;

/// Writes a record.
#[derive(Default)]
pub(crate) struct RecordWriter(Zeroizing<Vec<u8>>);

impl RecordWriter {
    /// Room for `capacity` bytes, so that no unwiped copy is left behind by growing.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(capacity)))
    }

    /// Adds a field.
    pub(crate) fn field(&mut self, number: u8, value: &[u8]) -> &mut Self {
        let needed = self.0.len() + 5 + value.len();
        if needed > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.saturating_mul(2)));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        let len = u32::try_from(value.len()).unwrap_or(u32::MAX);
        self.0.push(number);
        self.0.extend_from_slice(&len.to_be_bytes());
        self.0.extend_from_slice(&value[..len as usize]);
        self
    }

    /// Adds a field when there is a value.
    pub(crate) fn optional(&mut self, number: u8, value: Option<&[u8]>) -> &mut Self {
        match value {
            Some(value) => self.field(number, value),
            None => self,
        }
    }

    /// The record.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Reads a record.
#[derive(Debug)]
pub(crate) struct RecordReader(SecretBytes);

impl RecordReader {
    /// A record as opened.
    pub(crate) fn new(content: SecretBytes) -> Self {
        Self(content)
    }

    /// All fields in order; ends early when the record is damaged.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let mut rest = self.0.secret_bytes();
        core::iter::from_fn(move || {
            let (head, tail) = rest.split_first_chunk::<5>()?;
            let len = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let (value, tail) = tail.split_at_checked(len)?;
            rest = tail;
            Some((head[0], value))
        })
    }

    /// The first field of that number.
    pub(crate) fn get(&self, number: u8) -> Option<&[u8]> {
        self.fields().find_map(|(found, value)| (found == number).then_some(value))
    }

    /// A field that is text.
    pub(crate) fn text(&self, number: u8) -> Option<&str> {
        core::str::from_utf8(self.get(number)?).ok()
    }

    /// A field that is a number.
    pub(crate) fn integer(&self, number: u8) -> Option<i64> {
        Some(i64::from_be_bytes(self.get(number)?.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back_and_damage_is_no_panic() {
        let mut writer = RecordWriter::with_capacity(4);
        writer.field(1, b"one").field(2, b"").optional(3, None).field(4, &7i64.to_be_bytes()).field(1, b"again");
        let reader = RecordReader::new(SecretBytes::copy_from(writer.bytes()));
        assert_eq!((reader.text(1), reader.get(2), reader.get(3), reader.integer(4)), (Some("one"), Some(&b""[..]), None, Some(7)));
        assert_eq!(reader.fields().count(), 4);
        for cut in 0..writer.bytes().len() {
            let damaged = RecordReader::new(SecretBytes::copy_from(&writer.bytes()[..cut]));
            assert!(damaged.fields().count() < 4, "{cut}");
        }
    }
}
