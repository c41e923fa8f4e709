//! scrypt (RFC 7914) from the crate of that name.

use scrypt::Params;

use super::{CryptoError, Scrypt, ScryptParameters};

const FORBIDDEN: CryptoError = CryptoError::InvalidArgument("RFC 7914 forbids these scrypt parameters");

#[derive(Debug)]
pub(super) struct SoftwareScrypt;

impl Scrypt for SoftwareScrypt {
    fn derive(&self, parameters: ScryptParameters, password: &[u8], salt: &[u8], out: &mut [u8]) -> Result<(), CryptoError> {
        // RFC 7914 section 2: N is a power of two and more than 1.
        if parameters.cost < 2 || !parameters.cost.is_power_of_two() {
            return Err(FORBIDDEN);
        }
        // p * r < 2^30, from p <= (2^32 - 1) * hLen / MFLen.
        if u64::from(parameters.block_size) * u64::from(parameters.parallelization) >= 1 << 30 {
            return Err(FORBIDDEN);
        }
        let log_n = u8::try_from(parameters.cost.ilog2()).map_err(|_| FORBIDDEN)?;
        let parameters = Params::new(log_n, parameters.block_size, parameters.parallelization).map_err(|_| FORBIDDEN)?;
        scrypt::scrypt(password, salt, &parameters, out).map_err(|_| FORBIDDEN)
    }
}
