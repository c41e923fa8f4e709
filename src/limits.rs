//! Bounds on what input may cost. One `Limits` is set by the caller; a `Budget` is spent while one input is read.

/// Upper bounds for reading one input. The defaults suit a server that reads files of strangers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Largest input in bytes. Default 1 MiB: the largest PFX of the corpora is under 100 kB (measured).
    pub input_bytes: usize,
    /// Deepest nesting of constructed ASN.1 values. Default 64: real PFX and CMS files need under 30.
    pub nesting: usize,
    /// Most ASN.1 values in one input. Default 200,000.
    pub elements: usize,
    /// Most safes (`ContentInfo` in an `AuthenticatedSafe`). Default 64.
    pub safes: usize,
    /// Most safe bags over all safes. Default 1,024.
    pub bags: usize,
    /// Sum of key derivation work in iterations over the whole input, all password attempts and all recipients.
    /// Default 5,000,000: three derivations at 600,000 rounds, tried with two password forms, fit (NSS and GnuTLS write 600,000).
    pub kdf_iterations: u64,
    /// Most memory in bytes for one scrypt derivation. Default 64 MiB.
    pub scrypt_bytes: u64,
    /// Most recipients or signers in a CMS message. Default 64.
    pub recipients: usize,
    /// Most certificates in one input. Default 256.
    pub certificates: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            input_bytes: 1 << 20,
            nesting: 64,
            elements: 200_000,
            safes: 64,
            bags: 1_024,
            kdf_iterations: 5_000_000,
            scrypt_bytes: 64 << 20,
            recipients: 64,
            certificates: 256,
        }
    }
}

/// The limit that an input ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("limit exceeded: {what} is limited to {limit} and the input needs {needed} or more; raise `Limits::{what}` if you trust the input")]
#[non_exhaustive]
pub struct LimitExceeded {
    /// The field of [`Limits`].
    pub what: &'static str,
    /// Its value.
    pub limit: u64,
    /// What the input was found to need when it was refused; it may need more in the end.
    pub needed: u64,
}

/// What is left of a [`Limits`] while one input is read. Every cost is charged before it is paid.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    elements: usize,
    safes: usize,
    bags: usize,
    kdf_iterations: u64,
    recipients: usize,
    certificates: usize,
}

macro_rules! charge {
    ($(#[$doc:meta])* $name:ident, $field:ident, $ty:ty) => {
        $(#[$doc])*
        ///
        /// # Errors
        /// [`LimitExceeded`] when the limit would be passed; nothing is charged then.
        pub fn $name(&mut self, count: $ty) -> Result<(), LimitExceeded> {
            match self.$field.checked_add(count) {
                Some(sum) if sum <= self.limits.$field => {
                    self.$field = sum;
                    Ok(())
                }
                _ => Err(LimitExceeded {
                    what: stringify!($field),
                    limit: self.limits.$field as u64,
                    needed: (self.$field as u64).saturating_add(count as u64),
                }),
            }
        }
    };
}

impl Budget {
    /// A fresh budget.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self { limits: limits.clone(), elements: 0, safes: 0, bags: 0, kdf_iterations: 0, recipients: 0, certificates: 0 }
    }

    /// The limits that this budget started from.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Key derivation iterations charged so far.
    #[must_use]
    pub fn spent_kdf_iterations(&self) -> u64 {
        self.kdf_iterations
    }

    /// Checks the length of an input against [`Limits::input_bytes`].
    ///
    /// # Errors
    /// [`LimitExceeded`] when it is longer.
    pub fn check_input(&self, len: usize) -> Result<(), LimitExceeded> {
        at_most("input_bytes", len as u64, self.limits.input_bytes as u64)
    }

    /// Checks a nesting depth against [`Limits::nesting`].
    ///
    /// # Errors
    /// [`LimitExceeded`] when it is deeper.
    pub fn check_nesting(&self, depth: usize) -> Result<(), LimitExceeded> {
        at_most("nesting", depth as u64, self.limits.nesting as u64)
    }

    /// Checks the memory of a scrypt derivation against [`Limits::scrypt_bytes`].
    ///
    /// # Errors
    /// [`LimitExceeded`] when it needs more.
    pub fn check_scrypt(&self, bytes: u64) -> Result<(), LimitExceeded> {
        at_most("scrypt_bytes", bytes, self.limits.scrypt_bytes)
    }

    charge!(/// Charges ASN.1 values.
        charge_elements, elements, usize);
    charge!(/// Charges safes.
        charge_safes, safes, usize);
    charge!(/// Charges safe bags.
        charge_bags, bags, usize);
    charge!(/// Charges key derivation iterations, before they are run.
        charge_kdf, kdf_iterations, u64);
    charge!(/// Charges CMS recipients or signers.
        charge_recipients, recipients, usize);
    charge!(/// Charges certificates.
        charge_certificates, certificates, usize);
}

fn at_most(what: &'static str, value: u64, limit: u64) -> Result<(), LimitExceeded> {
    if value <= limit { Ok(()) } else { Err(LimitExceeded { what, limit, needed: value }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_kdf_work_is_what_is_limited() {
        let mut budget = Budget::new(&Limits { kdf_iterations: 100, ..Limits::default() });
        assert!(budget.charge_kdf(60).is_ok());
        assert_eq!(budget.charge_kdf(60), Err(LimitExceeded { what: "kdf_iterations", limit: 100, needed: 120 }));
        assert!(budget.charge_kdf(40).is_ok());
        assert!(budget.charge_kdf(u64::MAX).is_err());
    }
}
