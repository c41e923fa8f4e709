//! Tokens by the grant `client_credentials`, kept and renewed.

use core::fmt::{self, Debug};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::answer::{self, Asked};
use super::builder::{ClientCredentialsBuilder, Settings};
use super::credential::{Credential, Prepared, Request};
use super::shelf::{Look, Shelf};
use super::{AccessToken, TokenSource};
use crate::adapters::http::{Deadline, Failure, Flight, HttpMethod, HttpRequest, HttpTransport, guid};
use crate::crypto::CryptoProvider;
use crate::ports::{PortError, PortErrorKind, Runtime};
use crate::time::Timestamp;

/// A longer answer holds no token, in bytes.
const MAX_ANSWER: usize = 256 << 10;

/// More scopes than any service here has.
const MAX_SCOPES: usize = 64;

/// Tokens of one app registration in one tenant (OAuth 2.0 version 2 endpoint of Entra ID, RFC 6749 section 4.4).
///
/// One value stands for one authority, tenant, client id and credential, and keeps one token for each scope; nothing is shared between values.
/// Many who need a token at once share one fetch. A token is renewed some minutes before its end; while that fails and the old one is still
/// good, the old one is given. When Entra ID names a time to wait (`Retry-After`), it is not asked earlier, at most five minutes long.
pub struct ClientCredentials {
    pub(super) settings: Settings,
    pub(super) credential: Prepared,
    pub(super) provider: CryptoProvider,
    pub(super) transport: Arc<dyn HttpTransport>,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) scopes: Mutex<BTreeMap<String, Arc<Slot>>>,
}

/// One scope.
#[derive(Debug, Default)]
pub(super) struct Slot {
    shelf: Mutex<Shelf>,
    flight: Flight,
}

impl Slot {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientCredentials {
    /// Starts with tenant (domain or id), client id and credential.
    #[must_use]
    pub fn builder(tenant: impl Into<String>, client_id: impl Into<String>, credential: Credential) -> ClientCredentialsBuilder {
        ClientCredentialsBuilder::new(tenant.into(), client_id.into(), credential)
    }

    fn slot(&self, scope: &str) -> Arc<Slot> {
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = scopes.get(scope) {
            return Arc::clone(slot);
        }
        if scopes.len() >= MAX_SCOPES {
            scopes.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        Arc::clone(scopes.entry(scope.to_owned()).or_default())
    }

    /// Fetches a token and puts it on the shelf.
    async fn fetch(&self, slot: &Slot, scope: &str) -> Result<Arc<AccessToken>, Failure> {
        let outcome = self.ask(scope).await;
        let mut shelf = slot.shelf();
        match outcome {
            Ok(granted) => Ok(shelf.put(granted.token, granted.life, self.settings.early_refresh)),
            Err(failure) => {
                shelf.wait(&failure, self.runtime.monotonic());
                Err(failure)
            }
        }
    }

    async fn ask(&self, scope: &str) -> Result<answer::Granted, Failure> {
        let at = self.runtime.now();
        let activity = guid(&self.provider)?;
        let request = Request { endpoint: &self.settings.endpoint, client_id: &self.settings.client_id, scope };
        let (body, secret) = self.credential.body(request, &self.provider, &*self.runtime).await?;
        let http = HttpRequest::new(HttpMethod::Post, &self.settings.endpoint)
            .with_header("Accept", "application/json")
            .with_body("application/x-www-form-urlencoded", body)
            .with_header("client-request-id", &activity)
            .with_timeout(self.settings.fetch_timeout)
            .with_max_answer(MAX_ANSWER);
        let answer = self.transport.send(http).await;
        let answer = answer.map_err(|error| Failure::unanswered(&format!("no token for {scope}"), error, &activity))?;
        answer::read(&answer, Asked { scope, activity: &activity, at, secret: &secret })
    }

    fn late(&self, scope: &str, timeout: Duration) -> PortError {
        let seconds = timeout.as_secs_f32();
        Failure::new(PortErrorKind::Transient, format!("no token for {scope} from {} within {seconds} s", self.settings.endpoint)).into()
    }
}

#[async_trait]
impl TokenSource for ClientCredentials {
    async fn token(&self, scope: &str, timeout: Duration) -> Result<Arc<AccessToken>, PortError> {
        let slot = self.slot(scope);
        let looked = slot.shelf().look(self.runtime.now(), self.runtime.monotonic());
        match looked {
            Look::Good(token) => Ok(token),
            Look::Waiting(failure) => Err(failure.into()),
            Look::Ageing(old) => {
                // The old one is still good: it is not worth the caller's whole time.
                let newer = || slot.shelf().usable(self.runtime.now()).filter(|token| !Arc::ptr_eq(token, &old));
                let renewed = Deadline::after(&self.runtime, timeout / 2).within(slot.flight.join(newer, self.fetch(&slot, scope))).await;
                if let Some(Ok(token)) = renewed {
                    return Ok(token);
                }
                // Refused or run out meanwhile, it is given to nobody.
                let old = slot.shelf().usable(self.runtime.now());
                old.ok_or_else(|| match renewed {
                    Some(Err(failure)) => failure.into(),
                    _ => self.late(scope, timeout / 2),
                })
            }
            Look::Empty => {
                let kept = || slot.shelf().usable(self.runtime.now());
                let fetched = Deadline::after(&self.runtime, timeout).within(slot.flight.join(kept, self.fetch(&slot, scope))).await;
                fetched.ok_or_else(|| self.late(scope, timeout))?.map_err(PortError::from)
            }
        }
    }

    fn refused(&self, scope: &str, token: &AccessToken) {
        let slot = self.scopes.lock().unwrap_or_else(PoisonError::into_inner).get(scope).map(Arc::clone);
        if let Some(slot) = slot {
            slot.shelf().drop_if(token);
        }
    }

    fn credential_expires(&self) -> Option<Timestamp> {
        self.credential.expires()
    }
}

impl Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCredentials")
            .field("endpoint", &self.settings.endpoint)
            .field("client_id", &self.settings.client_id)
            .field("credential", &self.credential)
            .finish_non_exhaustive()
    }
}
