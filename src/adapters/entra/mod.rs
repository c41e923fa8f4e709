//! Tokens from Microsoft Entra ID for an app registration (OAuth 2.0 client credentials, RFC 6749 section 4.4).

mod answer;
mod assertion;
mod builder;
mod claims;
mod client_credentials;
mod codes;
mod credential;
mod expiry;
mod form;
mod secret_source;
mod shelf;
mod token;

pub use builder::ClientCredentialsBuilder;
pub use claims::TokenClaims;
pub use client_credentials::ClientCredentials;
pub use credential::Credential;
pub use expiry::{credential_seconds_left, credential_warning};
pub use secret_source::SecretSource;
pub use token::{AccessToken, TokenSource};
