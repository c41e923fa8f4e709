//! The plan.

use core::time::Duration;
use std::collections::BTreeMap;

use super::random::SplitMix64;
use super::{Fault, RetryAfter};
use crate::sim::endpoint::Endpoint;
use crate::sim::location::Stale;

/// Which calls go wrong, and how: by chance at a rate, and at steps that are named.
///
/// With the same seed the same calls of the same endpoints go wrong in the same way, whatever else happens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultPlan {
    rate: u16,
    rates: BTreeMap<Endpoint, u16>,
    steps: BTreeMap<(Endpoint, u64), Fault>,
    longest_delay: Duration,
    most: u64,
}

impl Default for FaultPlan {
    fn default() -> Self {
        Self::none()
    }
}

impl FaultPlan {
    /// Nothing goes wrong.
    #[must_use]
    pub fn none() -> Self {
        Self { rate: 0, rates: BTreeMap::new(), steps: BTreeMap::new(), longest_delay: Duration::from_secs(2), most: u64::MAX }
    }

    /// One call in ten goes wrong; answers are late by up to half a second.
    #[must_use]
    pub fn mild() -> Self {
        Self { rate: 100, longest_delay: Duration::from_millis(500), ..Self::none() }
    }

    /// Two calls in five go wrong; answers are late by up to five seconds.
    #[must_use]
    pub fn harsh() -> Self {
        Self { rate: 400, longest_delay: Duration::from_secs(5), ..Self::none() }
    }

    /// The preset of that name: `none`, `mild` or `harsh`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Self::none()),
            "mild" => Some(Self::mild()),
            "harsh" => Some(Self::harsh()),
            _ => None,
        }
    }

    /// Sets how many calls in a thousand go wrong.
    #[must_use]
    pub fn with_rate(mut self, per_mille: u16) -> Self {
        self.rate = per_mille.min(1_000);
        self
    }

    /// Sets how many calls in a thousand go wrong at one endpoint.
    #[must_use]
    pub fn with_rate_at(mut self, endpoint: Endpoint, per_mille: u16) -> Self {
        self.rates.insert(endpoint, per_mille.min(1_000));
        self
    }

    /// Plays that fault at that call of the endpoint, counted from 1. A fault that cannot happen there is passed over.
    #[must_use]
    pub fn with_fault(mut self, endpoint: Endpoint, call: u64, fault: Fault) -> Self {
        self.steps.insert((endpoint, call), fault);
        self
    }

    /// Sets the longest delay that chance gives.
    #[must_use]
    pub fn with_longest_delay(mut self, delay: Duration) -> Self {
        self.longest_delay = delay;
        self
    }

    /// Sets after how many faults all goes well. Named steps count, and are played all the same.
    #[must_use]
    pub fn with_most(mut self, faults: u64) -> Self {
        self.most = faults;
        self
    }

    /// What happens to that call; `played` faults came before.
    pub(super) fn decide(&self, seed: u64, endpoint: Endpoint, call: u64, played: u64) -> Option<Fault> {
        if let Some(step) = self.steps.get(&(endpoint, call)) {
            return Some(*step).filter(|fault| fault.applies_to(endpoint));
        }
        let rate = self.rates.get(&endpoint).copied().unwrap_or(self.rate);
        let mut random = SplitMix64::of(seed, [endpoint as u64, call]);
        if played >= self.most || random.below(1_000) >= u64::from(rate) {
            return None;
        }
        let longest = u64::try_from(self.longest_delay.as_millis()).unwrap_or(u64::MAX).max(1);
        let done = random.below(2) == 1;
        let wait = u32::try_from(1 + random.below(3)).unwrap_or(1);
        let status = |status, retry_after| Fault::Status { status, retry_after, done: false };
        let statuses = [
            Fault::Status { status: 500, retry_after: None, done },
            status(503, Some(RetryAfter::Seconds(wait))),
            status(503, Some(RetryAfter::Date(wait))),
            status(429, Some(RetryAfter::Seconds(wait))),
            status(404, None),
            status(401, None),
            Fault::HtmlPage { done },
        ];
        let stale = random.pick(&[Stale::NotFound, Stale::Gone, Stale::Misdirected, Stale::UnknownHost]).unwrap_or_default();
        let kinds = [
            Some(Fault::DropBefore),
            Some(Fault::DropAfter),
            Some(Fault::Delay { millis: 1 + random.below(longest) }),
            Some(Fault::Duplicate),
            Some(Fault::Reorder),
            Some(Fault::Truncate),
            random.pick(&statuses),
            Some(Fault::WrongJson),
            Some(Fault::StaleLocation { stale }),
            Some(Fault::ExpiredToken),
        ];
        let kinds: Vec<Fault> = kinds.into_iter().flatten().filter(|fault| fault.applies_to(endpoint)).collect();
        random.pick(&kinds)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn of(plan: &FaultPlan, seed: u64, endpoint: Endpoint) -> Vec<Option<Fault>> {
        (1..=2_000).map(|call| plan.decide(seed, endpoint, call, 0)).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_faults_and_another_gives_others() {
        let plan = FaultPlan::harsh();
        assert_eq!(of(&plan, 7, Endpoint::Token), of(&plan, 7, Endpoint::Token));
        assert_ne!(of(&plan, 7, Endpoint::Token), of(&plan, 8, Endpoint::Token));
        assert_ne!(of(&plan, 7, Endpoint::Token), of(&plan, 7, Endpoint::Discovery));
    }

    #[test]
    fn every_kind_comes_and_the_rate_is_kept() {
        let faults = of(&FaultPlan::harsh(), 1, Endpoint::ValidateRequest);
        let kinds: BTreeSet<String> =
            faults.iter().flatten().map(|fault| format!("{fault:?}").split(' ').next().unwrap().to_owned()).collect();
        assert_eq!(kinds.len(), 11, "{kinds:?}");
        let count = faults.iter().flatten().count();
        assert!((700..900).contains(&count), "{count} of 2000");
        assert_eq!(of(&FaultPlan::none(), 1, Endpoint::Token).iter().flatten().count(), 0);
        assert_eq!(of(&FaultPlan::harsh().with_rate(1_000), 1, Endpoint::Control).iter().flatten().count(), 0);
    }

    #[test]
    fn a_step_is_played_where_it_is_set_and_only_there() {
        let plan = FaultPlan::none().with_fault(Endpoint::Token, 2, Fault::Reorder).with_fault(
            Endpoint::Token,
            3,
            Fault::StaleLocation { stale: Stale::Gone },
        );
        assert_eq!(of(&plan, 1, Endpoint::Token)[..4], [None, Some(Fault::Reorder), None, None]);
    }
}
