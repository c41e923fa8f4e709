//! Tokens from Microsoft Entra ID for an app registration (OAuth 2.0 client credentials, RFC 6749 section 4.4).

mod token;

pub use token::{AccessToken, TokenSource};
