//! The files that the rows read (see `make-fixtures.sh`).

pub const PASSWORD: &str = "bench-password-2048";
pub const NEW_PASSWORD: &str = "another-password-for-the-device";
pub const NAME: &str = "Jane Doe";
pub const KEY: &[u8] = include_bytes!("../fixtures/key.der");
pub const LEAF: &[u8] = include_bytes!("../fixtures/leaf.der");
pub const ISSUER: &[u8] = include_bytes!("../fixtures/issuer.der");
pub const REQUEST: &[u8] = include_bytes!("../fixtures/request.der");
pub const COMPAT: &[u8] = include_bytes!("../fixtures/compat-2048.p12");
pub const MODERN: &[u8] = include_bytes!("../fixtures/modern-2048.p12");
pub const MODERN_100000: &[u8] = include_bytes!("../fixtures/modern-100000.p12");
pub const CONTENT: &[u8] = include_bytes!("../fixtures/content.bin");
pub const ENVELOPED: &[u8] = include_bytes!("../fixtures/enveloped.der");
pub const SIGNED: &[u8] = include_bytes!("../fixtures/signed.der");
