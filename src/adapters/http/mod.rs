//! HTTP as the clients of this crate need it: one request, one answer, bounded in time and size, no redirects.

mod address;
mod build_error;
mod client;
mod deadline;
mod error;
mod failure;
mod flight;
mod guid;
mod json;
mod message;
mod quote;
mod retry_after;

use core::fmt::Debug;

use async_trait::async_trait;

pub(crate) use address::{base_url, is_path_segment, is_within};
pub use build_error::ClientBuildError;
#[cfg(feature = "doctor")]
pub(crate) use client::tls_config;
pub use client::{ClientCertificate, HttpClient, HttpClientBuilder, Proxy, ProxySetting, TrustAnchors};
pub(crate) use deadline::Deadline;
pub use error::{HttpError, HttpErrorKind};
pub(crate) use failure::Failure;
pub(crate) use flight::Flight;
pub(crate) use guid::guid;
pub(crate) use json::{Base64, secret_json};
pub use message::{HttpMethod, HttpRequest, HttpResponse};
pub(crate) use quote::{fit, quoted, says};
pub(crate) use retry_after::retry_after;

/// Sends requests.
///
/// Called from many tasks at a time; a call may be dropped at any await. [`HttpClient`] is the one over TCP and TLS; another may go through a
/// gateway of yours, or straight into a simulator in the same process.
///
/// Mistakes that are security mistakes: following a redirect, which carries token and body elsewhere; not verifying the server's
/// certificate; logging a header or a body; repeating a request on one's own.
#[async_trait]
pub trait HttpTransport: Debug + Send + Sync {
    /// Sends one request and reads the whole answer, also when its status is an error.
    ///
    /// # Errors
    /// When there is no whole answer: [`HttpErrorKind`] says how far it came.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError>;
}
