//! Identifier octets: class, number and the constructed bit (X.690 section 8.1.2).

/// A tag without its constructed bit: class and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    class: u8,
    number: u32,
}

impl Tag {
    /// BOOLEAN
    pub const BOOLEAN: Self = Self::universal(1);
    /// INTEGER
    pub const INTEGER: Self = Self::universal(2);
    /// BIT STRING
    pub const BIT_STRING: Self = Self::universal(3);
    /// OCTET STRING
    pub const OCTET_STRING: Self = Self::universal(4);
    /// NULL
    pub const NULL: Self = Self::universal(5);
    /// OBJECT IDENTIFIER
    pub const OID: Self = Self::universal(6);
    /// ENUMERATED
    pub const ENUMERATED: Self = Self::universal(10);
    /// UTF8String
    pub const UTF8_STRING: Self = Self::universal(12);
    /// SEQUENCE and SEQUENCE OF
    pub const SEQUENCE: Self = Self::universal(16);
    /// SET and SET OF
    pub const SET: Self = Self::universal(17);
    /// NumericString
    pub const NUMERIC_STRING: Self = Self::universal(18);
    /// PrintableString
    pub const PRINTABLE_STRING: Self = Self::universal(19);
    /// TeletexString (T61String)
    pub const TELETEX_STRING: Self = Self::universal(20);
    /// IA5String
    pub const IA5_STRING: Self = Self::universal(22);
    /// UTCTime
    pub const UTC_TIME: Self = Self::universal(23);
    /// GeneralizedTime
    pub const GENERALIZED_TIME: Self = Self::universal(24);
    /// VisibleString
    pub const VISIBLE_STRING: Self = Self::universal(26);
    /// UniversalString
    pub const UNIVERSAL_STRING: Self = Self::universal(28);
    /// BMPString
    pub const BMP_STRING: Self = Self::universal(30);

    /// A universal tag.
    #[must_use]
    pub const fn universal(number: u32) -> Self {
        Self { class: 0, number }
    }

    /// `[number]`, context-specific.
    #[must_use]
    pub const fn context(number: u32) -> Self {
        Self { class: 2, number }
    }

    /// The tag number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.number
    }

    /// Whether it is a universal tag.
    #[must_use]
    pub const fn is_universal(self) -> bool {
        self.class == 0
    }

    /// Whether it is a context-specific tag.
    #[must_use]
    pub const fn is_context(self) -> bool {
        self.class == 2
    }
}

/// The tag at the start of `input`, whether it is constructed, and how many bytes it takes; `None` when it is cut off or not minimal.
pub(super) fn read(input: &[u8]) -> Option<(Tag, bool, usize)> {
    let first = *input.first()?;
    let (class, constructed) = (first >> 6, first & 0x20 != 0);
    if first & 0x1f != 0x1f {
        return Some((Tag { class, number: u32::from(first & 0x1f) }, constructed, 1));
    }
    let mut number = 0u32;
    // No standard here needs a number above 30, but an attribute that is only carried along may have one.
    for (index, octet) in input.iter().enumerate().skip(1).take(5) {
        if (index == 1 && *octet == 0x80) || number >> 25 != 0 {
            return None;
        }
        number = number << 7 | u32::from(octet & 0x7f);
        if octet & 0x80 == 0 {
            return (number >= 0x1f).then_some((Tag { class, number }, constructed, index + 1));
        }
    }
    None
}
