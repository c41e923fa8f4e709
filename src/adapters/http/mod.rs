//! HTTP as the clients of this crate need it: one request, one answer, bounded in time and size, no redirects.

mod client;
mod error;
mod message;

use core::fmt::Debug;

use async_trait::async_trait;

pub use client::{BuildHttpClientError, ClientCertificate, HttpClient, HttpClientBuilder, Proxy, ProxySetting, TrustAnchors};
pub use error::{HttpError, HttpErrorKind};
pub use message::{HttpMethod, HttpRequest, HttpResponse};

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
