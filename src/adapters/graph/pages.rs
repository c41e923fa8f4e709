//! Listings, page by page.

use std::collections::BTreeSet;

use serde_json::Value;

use super::client::{Call, GraphPfx, no_list, object};
use super::error::{GraphError, GraphErrorKind};
use super::odata::{literal, percent};
use super::record::{PfxRecord, lower};
use crate::ids::Thumbprint;
use crate::retry::Effect;

/// Which records are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PfxFilter {
    /// The whole tenant's.
    All,
    /// Those of the user with that UPN, in any case.
    User(String),
    /// That user's record of that certificate.
    One {
        /// The user, in any case.
        upn: String,
        /// The certificate.
        thumbprint: Thumbprint,
    },
}

impl PfxFilter {
    pub(super) fn query(&self) -> String {
        let user = |upn: &str| format!("tolower(userPrincipalName) eq {}", literal(&upn.to_lowercase()));
        let filter = match self {
            Self::All => return String::new(),
            Self::User(upn) => user(upn),
            Self::One { upn, thumbprint } => format!("{} and tolower(thumbprint) eq {}", user(upn), literal(&lower(*thumbprint))),
        };
        format!("?$filter={}", percent(&filter))
    }

    /// The service is not trusted to have filtered.
    fn takes(&self, record: &PfxRecord) -> bool {
        match self {
            Self::All => true,
            Self::User(upn) => record.is_of_user(upn),
            Self::One { upn, thumbprint } => record.is_of(upn, *thumbprint),
        }
    }
}

/// Walks the pages of a listing. It follows `@odata.nextLink` to Graph's own scheme, host and port only, never twice to the same, and no
/// further than the bounds of the settings.
#[derive(Debug)]
pub struct PfxPages<'a> {
    client: &'a GraphPfx,
    filter: PfxFilter,
    next: Option<String>,
    seen: BTreeSet<String>,
    records: usize,
}

impl<'a> PfxPages<'a> {
    pub(super) fn new(client: &'a GraphPfx, filter: PfxFilter, url: String) -> Self {
        Self { client, filter, next: Some(url), seen: BTreeSet::new(), records: 0 }
    }

    /// The next page, which may be empty; `None` after the last. After an error, a next call asks for the same page again.
    ///
    /// # Errors
    /// [`GraphErrorKind::Answer`] for a link to elsewhere or in a circle, and when the bounds are exceeded; otherwise as for each call.
    pub async fn next(&mut self) -> Result<Option<Vec<PfxRecord>>, GraphError> {
        let Some(url) = self.next.clone() else { return Ok(None) };
        let settings = &self.client.settings;
        let too_much = |what: &str, bound: usize| {
            GraphError::new(GraphErrorKind::Answer, format!("the listing has more than {bound} {what}: raise `max_{what}` or list by user"))
                .with_effect(Effect::None)
        };
        if self.seen.len() >= settings.max_pages {
            return Err(too_much("pages", settings.max_pages));
        }
        let answer = self.client.send(&Call::get("list the records", url.clone())).await?;
        let body = object(&answer)?;
        let values = body.get("value").and_then(Value::as_array).ok_or_else(|| no_list(&answer))?;
        let total = self.records + values.len();
        if total > settings.max_records {
            return Err(too_much("records", settings.max_records));
        }
        let unreadable = || GraphError::new(GraphErrorKind::Answer, "Graph listed a record without an `id`").naming(&answer);
        let records = values.iter().map(|value| PfxRecord::read(value).ok_or_else(unreadable)).collect::<Result<Vec<_>, _>>()?;
        let next = match body.get("@odata.nextLink") {
            None | Some(Value::Null) => None,
            Some(link) => Some(self.follow(link, &url).map_err(|why| GraphError::new(GraphErrorKind::Answer, why).naming(&answer))?),
        };
        self.seen.insert(url);
        (self.next, self.records) = (next, total);
        Ok(Some(records.into_iter().filter(|record| self.filter.takes(record)).collect()))
    }

    fn follow(&self, link: &Value, from: &str) -> Result<String, &'static str> {
        let link = link.as_str().filter(|link| !link.is_empty() && link.len() <= 16_384).ok_or("the link to the next page is no URL")?;
        if !self.client.is_ours(link) {
            return Err("the link to the next page leads away from Graph, and is not followed: the token would go there");
        }
        if link == from || self.seen.contains(link) {
            return Err("the links of the pages lead in a circle");
        }
        Ok(link.to_owned())
    }
}
