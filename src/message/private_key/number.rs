//! Non-negative integers for the few sums that an RSA key blob needs: fixed sizes, wiped on drop.
//!
//! `num-bigint` comes with rasn, but neither wipes its numbers nor hides their values from a clock, so it must not see a key. Here loops
//! run over sizes and masks choose where a secret decides; only [`Number::inverse_of`] divides, by the public exponent.

use zeroize::Zeroizing;

/// Digits of 32 bits, least significant first. Sizes are the caller's and public; values are secret.
pub(super) struct Number(Zeroizing<Vec<u32>>);

impl Number {
    fn zero(digits: usize) -> Self {
        Self(Zeroizing::new(vec![0; digits]))
    }

    /// A number of `digits` digits from big-endian bytes; bytes beyond the digits are dropped.
    pub(super) fn from_be(bytes: &[u8], digits: usize) -> Self {
        let mut number = Self::zero(digits);
        for (digit, chunk) in number.0.iter_mut().zip(bytes.rchunks(4)) {
            *digit = chunk.iter().fold(0, |value, byte| value << 8 | u32::from(*byte));
        }
        number
    }

    /// All digits as big-endian bytes, leading zeros included.
    pub(super) fn to_be(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.digits() * 4));
        for digit in self.0.iter().rev() {
            bytes.extend_from_slice(&digit.to_be_bytes());
        }
        bytes
    }

    pub(super) fn digits(&self) -> usize {
        self.0.len()
    }

    /// The same value in `digits` digits; digits beyond are dropped.
    pub(super) fn resized(&self, digits: usize) -> Self {
        let mut number = Self::zero(digits);
        for (to, from) in number.0.iter_mut().zip(self.0.iter()) {
            *to = *from;
        }
        number
    }

    pub(super) fn is_odd(&self) -> bool {
        self.0.first().is_some_and(|digit| digit & 1 == 1)
    }

    /// One less; for odd numbers.
    pub(super) fn less_one(&self) -> Self {
        let mut number = self.resized(self.digits());
        if let Some(digit) = number.0.first_mut() {
            *digit &= !1;
        }
        number
    }

    /// Whether the values are equal; sizes may differ.
    pub(super) fn equals(&self, other: &Self) -> bool {
        let digit = |number: &Self, index: usize| number.0.get(index).copied().unwrap_or(0);
        let different = (0..self.digits().max(other.digits())).fold(0, |bits, index| bits | (digit(self, index) ^ digit(other, index)));
        different == 0
    }

    /// Whether this is smaller; both of one size.
    pub(super) fn is_below(&self, other: &Self) -> bool {
        self.below(other) != 0
    }

    /// All ones when this is smaller, else zero.
    fn below(&self, other: &Self) -> u32 {
        let borrow = self.0.iter().zip(other.0.iter()).fold(0, |borrow, (a, b)| u64::from(*a).wrapping_sub(u64::from(*b) + borrow) >> 63);
        (borrow as u32).wrapping_neg()
    }

    /// Adds `other` where the mask has ones; gives the carry.
    fn add_masked(&mut self, other: &Self, mask: u32) -> u32 {
        let mut carry = 0;
        for (a, b) in self.0.iter_mut().zip(other.0.iter()) {
            let sum = u64::from(*a) + u64::from(b & mask) + carry;
            *a = sum as u32;
            carry = sum >> 32;
        }
        carry as u32
    }

    /// Subtracts `other` where the mask has ones; gives all ones when the result wrapped, else zero.
    fn sub_masked(&mut self, other: &Self, mask: u32) -> u32 {
        let mut borrow = 0;
        for (a, b) in self.0.iter_mut().zip(other.0.iter()) {
            let difference = u64::from(*a).wrapping_sub(u64::from(b & mask) + borrow);
            *a = difference as u32;
            borrow = difference >> 63;
        }
        (borrow as u32).wrapping_neg()
    }

    /// Halves, with `top` as the bit that comes in.
    fn halve(&mut self, top: u32) {
        let mut above = top;
        for digit in self.0.iter_mut().rev() {
            let low = *digit & 1;
            *digit = *digit >> 1 | above << 31;
            above = low;
        }
    }

    /// Doubles, with `low` as the bit that comes in.
    fn double(&mut self, low: u32) {
        let mut below = low;
        for digit in self.0.iter_mut() {
            let high = *digit >> 31;
            *digit = *digit << 1 | below;
            below = high;
        }
    }

    fn swap_masked(&mut self, other: &mut Self, mask: u32) {
        for (a, b) in self.0.iter_mut().zip(other.0.iter_mut()) {
            let difference = (*a ^ *b) & mask;
            *a ^= difference;
            *b ^= difference;
        }
    }

    /// The product, with the digits of both factors.
    pub(super) fn times(&self, other: &Self) -> Self {
        let mut product = Self::zero(self.digits() + other.digits());
        for (start, a) in self.0.iter().enumerate() {
            let mut carry = 0;
            // The zip ends with the row; the digit after it takes the last carry.
            let row = product.0.iter_mut().skip(start);
            for (out, b) in row.zip(other.0.iter().copied().chain(core::iter::once(0))) {
                let sum = u64::from(*a) * u64::from(b) + u64::from(*out) + carry;
                *out = sum as u32;
                carry = sum >> 32;
            }
        }
        product
    }

    /// `self mod modulus`, a bit at a time.
    pub(super) fn modulo(&self, modulus: &Self) -> Self {
        // Twice a remainder needs a bit more than the modulus.
        let wide = modulus.resized(modulus.digits() + 1);
        let mut remainder = Self::zero(wide.digits());
        for digit in self.0.iter().rev() {
            for bit in (0..32).rev() {
                remainder.double(digit >> bit & 1);
                let enough = !remainder.below(&wide);
                remainder.sub_masked(&wide, enough);
            }
        }
        remainder.resized(modulus.digits())
    }

    /// The inverse of this number modulo `modulus`, which is odd; `None` when they share a factor.
    ///
    /// The binary extended Euclidean algorithm with a fixed number of rounds. It keeps `u = a * self` and `v = b * self` modulo the
    /// modulus, `v` odd; each round takes at least one bit off `u` and `v` together.
    pub(super) fn inverse(&self, modulus: &Self) -> Option<Self> {
        let digits = self.digits().max(modulus.digits());
        let modulus = modulus.resized(digits);
        let (mut u, mut v) = (self.resized(digits), modulus.resized(digits));
        let (mut a, mut b) = (Self::from_be(&[1], digits), Self::zero(digits));
        for _ in 0..digits * 64 {
            let odd = (u.0.first()? & 1).wrapping_neg();
            let swap = odd & u.below(&v);
            u.swap_masked(&mut v, swap);
            a.swap_masked(&mut b, swap);
            u.sub_masked(&v, odd);
            let wrapped = a.sub_masked(&b, odd);
            a.add_masked(&modulus, wrapped);
            u.halve(0);
            let odd = (a.0.first()? & 1).wrapping_neg();
            let carry = a.add_masked(&modulus, odd);
            a.halve(carry);
        }
        v.equals(&Self::from_be(&[1], 1)).then_some(b)
    }

    /// The inverse of the small public `exponent` modulo this number; `None` when they share a factor.
    ///
    /// With `k = -(self^-1) mod exponent`, `k * self + 1` is a multiple of the exponent, and the quotient is the inverse.
    pub(super) fn inverse_of(&self, exponent: u32) -> Option<Self> {
        let inverse = small_inverse(self.remainder(exponent)?, exponent)?;
        let mut factor = Self::zero(1);
        factor.0.fill(exponent.checked_sub(inverse)?);
        let mut sum = self.times(&factor);
        let one = Self::from_be(&[1], sum.digits());
        sum.add_masked(&one, u32::MAX);
        let rest = sum.divide(exponent);
        debug_assert_eq!(rest, 0, "k was chosen so");
        Some(sum.resized(self.digits()))
    }

    fn remainder(&self, divisor: u32) -> Option<u32> {
        (divisor != 0).then(|| self.resized(self.digits()).divide(divisor))
    }

    /// Divides in place by a divisor that is not zero; gives the remainder.
    fn divide(&mut self, divisor: u32) -> u32 {
        let mut remainder = 0;
        for digit in self.0.iter_mut().rev() {
            let value = remainder << 32 | u64::from(*digit);
            *digit = (value / u64::from(divisor)) as u32;
            remainder = value % u64::from(divisor);
        }
        remainder as u32
    }
}

/// Euclid's extended algorithm.
fn small_inverse(value: u32, modulus: u32) -> Option<u32> {
    let (mut r, mut next_r) = (i64::from(modulus), i64::from(value % modulus));
    let (mut t, mut next_t) = (0, 1);
    while next_r != 0 {
        let quotient = r / next_r;
        (r, next_r) = (next_r, r - quotient * next_r);
        (t, next_t) = (next_t, t - quotient * next_t);
    }
    (r == 1).then(|| t.rem_euclid(i64::from(modulus))).and_then(|inverse| u32::try_from(inverse).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(value: u128, digits: usize) -> Number {
        Number::from_be(&value.to_be_bytes(), digits)
    }

    fn value(number: &Number) -> u128 {
        number.to_be().iter().fold(0, |value, byte| value << 8 | u128::from(*byte))
    }

    proptest! {
        #[test]
        fn sums_agree_with_the_machine_s_own(a: u64, b: u64, c in 1u64..) {
            let (wide_a, wide_b) = (u128::from(a), u128::from(b));
            prop_assert_eq!(value(&number(wide_a, 2).times(&number(wide_b, 2))), wide_a * wide_b);
            prop_assert_eq!(value(&number(wide_a * wide_b, 4).modulo(&number(c.into(), 2))), wide_a * wide_b % u128::from(c));
            prop_assert_eq!(number(wide_a, 2).is_below(&number(wide_b, 2)), a < b);
            prop_assert_eq!(number(wide_a, 2).equals(&number(wide_b, 4)), a == b);
        }

        #[test]
        fn an_inverse_times_its_number_is_one(a in 1u64.., modulus in 1u64.., extra in 0usize..3) {
            let modulus = modulus | 1;
            match number(a.into(), 2 + extra).inverse(&number(modulus.into(), 2)) {
                Some(inverse) => {
                    prop_assert!(value(&inverse) < u128::from(modulus).max(2));
                    prop_assert_eq!(value(&inverse) * u128::from(a % modulus) % u128::from(modulus), 1 % u128::from(modulus));
                }
                None => prop_assert!(gcd(a, modulus) > 1),
            }
        }

        #[test]
        fn the_inverse_of_an_exponent_times_it_is_one(exponent in 3u32.., modulus in 2u64..) {
            match number(modulus.into(), 2).inverse_of(exponent) {
                Some(inverse) => {
                    prop_assert!(value(&inverse) < u128::from(modulus));
                    prop_assert_eq!(value(&inverse) * u128::from(exponent) % u128::from(modulus), 1);
                }
                None => prop_assert!(gcd(exponent.into(), modulus) > 1),
            }
        }

        #[test]
        fn large_inverses_and_remainders_fit_each_other(a in prop::collection::vec(any::<u8>(), 1..96), m in prop::collection::vec(any::<u8>(), 1..96)) {
            let digits = a.len().max(m.len()).div_ceil(4);
            let (a, mut m) = (Number::from_be(&a, digits), Number::from_be(&m, digits));
            m.0[0] |= 1;
            if let Some(inverse) = a.inverse(&m) {
                let one = Number::from_be(&[1], digits);
                prop_assert!(inverse.is_below(&m) || m.equals(&one));
                prop_assert!(inverse.times(&a).modulo(&m).equals(&one.modulo(&m)));
            }
        }
    }

    fn gcd(a: u64, b: u64) -> u64 {
        if b == 0 { a } else { gcd(b, a % b) }
    }
}
