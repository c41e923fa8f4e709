//! One kept token and what is known about asking for the next: decisions without a clock of their own.

use core::time::Duration;
use std::sync::Arc;

use super::AccessToken;
use crate::adapters::http::Failure;
use crate::crypto::constant_time_eq;
use crate::ports::PortErrorKind;
use crate::time::Timestamp;

/// After an early renewal began, the next one begins no earlier.
const PAUSE: Duration = Duration::from_secs(60);

/// A wait that Entra ID asks for is kept no longer.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// A token is not given in its last moments: a call must still get there.
const MARGIN: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Shelf {
    kept: Option<Kept>,
    /// Until when, on the clock that never goes back, Entra ID does not want to be asked.
    waiting: Option<(Duration, Failure)>,
}

#[derive(Debug)]
struct Kept {
    token: Arc<AccessToken>,
    /// From then on it should be renewed.
    renew: Timestamp,
    /// From then on it is given to nobody.
    end: Timestamp,
}

/// What a caller gets.
#[derive(Debug)]
pub(super) enum Look {
    Good(Arc<AccessToken>),
    /// Good, but this caller is to renew it.
    Ageing(Arc<AccessToken>),
    Empty,
    /// None, and it is too early to ask.
    Waiting(Failure),
}

impl Shelf {
    /// Looks; of many callers one is told that the token is ageing.
    pub(super) fn look(&mut self, now: Timestamp, monotonic: Duration) -> Look {
        let waiting = self.waiting.as_ref().filter(|(until, _)| *until > monotonic);
        if let Some(kept) = self.kept.as_mut().filter(|kept| now < kept.end) {
            if now < kept.renew || waiting.is_some() {
                return Look::Good(Arc::clone(&kept.token));
            }
            kept.renew = now.saturating_add(PAUSE);
            return Look::Ageing(Arc::clone(&kept.token));
        }
        match waiting {
            Some((until, failure)) => Look::Waiting(failure.clone().with_retry_after(Some(until.saturating_sub(monotonic)))),
            None => Look::Empty,
        }
    }

    /// The token, when it is still good.
    pub(super) fn usable(&self, now: Timestamp) -> Option<Arc<AccessToken>> {
        self.kept.as_ref().filter(|kept| now < kept.end).map(|kept| Arc::clone(&kept.token))
    }

    /// Keeps a token that lives so long. One with a short life is renewed in its last quarter.
    pub(super) fn put(&mut self, token: AccessToken, life: Duration, early: Duration) -> Arc<AccessToken> {
        let token = Arc::new(token);
        let renew = token.expires().saturating_sub(early.min(life / 4));
        let end = token.expires().saturating_sub(MARGIN.min(life / 8));
        self.kept = Some(Kept { token: Arc::clone(&token), renew, end });
        self.waiting = None;
        token
    }

    /// Takes note of a wait that was asked for.
    pub(super) fn wait(&mut self, failure: &Failure, monotonic: Duration) {
        let passing = matches!(failure.kind, PortErrorKind::Transient | PortErrorKind::Throttled);
        self.waiting =
            failure.retry_after.filter(|_| passing).map(|wait| (monotonic.saturating_add(wait.min(LONGEST_WAIT)), failure.clone()));
    }

    /// Forgets the token when it is this one.
    pub(super) fn drop_if(&mut self, refused: &AccessToken) {
        let same = |kept: &Kept| constant_time_eq(kept.token.secret_str().as_bytes(), refused.secret_str().as_bytes());
        if self.kept.as_ref().is_some_and(same) {
            self.kept = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Password;

    const HOUR: Duration = Duration::from_secs(3_600);
    const EARLY: Duration = Duration::from_secs(300);

    fn shelf(life: u64) -> Shelf {
        let mut shelf = Shelf::default();
        let token = AccessToken::new(Password::from("t1"), Timestamp::from_secs(life as i64));
        shelf.put(token, Duration::from_secs(life), EARLY);
        shelf
    }

    fn look(shelf: &mut Shelf, at: i64) -> String {
        let look = shelf.look(Timestamp::from_secs(at), Duration::from_secs(at as u64));
        format!("{look:?}").split(['(', ' ']).next().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_token_is_renewed_five_minutes_early_by_one_caller_and_not_given_at_its_end() {
        let mut shelf = shelf(3_600);
        let seen: Vec<String> = [0, 3_299, 3_300, 3_300, 3_359, 3_360, 3_361, 3_569, 3_570].map(|at| look(&mut shelf, at)).to_vec();
        assert_eq!(seen, ["Good", "Good", "Ageing", "Good", "Good", "Ageing", "Good", "Ageing", "Empty"]);
    }

    #[test]
    fn a_short_lived_token_is_used_for_most_of_its_life() {
        let mut shelf = shelf(80);
        let seen: Vec<String> = [0, 59, 60, 61, 69, 70].map(|at| look(&mut shelf, at)).to_vec();
        assert_eq!(seen, ["Good", "Good", "Ageing", "Good", "Good", "Empty"]);
    }

    #[test]
    fn only_the_refused_token_is_dropped() {
        let mut shelf = shelf(3_600);
        let token = |text: &str| AccessToken::new(Password::from(text), Timestamp::default());
        shelf.drop_if(&token("t0"));
        assert_eq!(look(&mut shelf, 0), "Good");
        shelf.drop_if(&token("t1"));
        assert_eq!(look(&mut shelf, 0), "Empty");
    }

    #[test]
    fn entra_is_not_asked_before_the_time_that_it_names_and_the_wait_is_bounded() {
        let mut shelf = Shelf::default();
        shelf.wait(&Failure::new(PortErrorKind::Throttled, "busy").with_retry_after(Some(Duration::from_secs(20))), Duration::ZERO);
        let Look::Waiting(failure) = shelf.look(Timestamp::default(), Duration::from_secs(15)) else { panic!("not waiting") };
        assert_eq!(failure.retry_after, Some(Duration::from_secs(5)));
        assert_eq!(look(&mut shelf, 20), "Empty");
        shelf.wait(&Failure::new(PortErrorKind::Throttled, "busy").with_retry_after(Some(24 * HOUR)), Duration::ZERO);
        assert_eq!((look(&mut shelf, 299), look(&mut shelf, 300)), ("Waiting".to_owned(), "Empty".to_owned()));
        shelf.wait(&Failure::new(PortErrorKind::Transient, "gone"), Duration::ZERO);
        assert_eq!(look(&mut shelf, 0), "Empty");
    }
}
