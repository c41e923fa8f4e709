//! What an outcome says about token and location, and whether the call is made again: decisions alone.

use crate::adapters::http::HttpErrorKind;

/// How a call may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Always: it has the same effect once and twice.
    Safe,
    /// Only when the service certainly did nothing.
    UnlessSeen,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Answer {
        status: u16,
        wait: bool,
    },
    Error(HttpErrorKind),
    /// Our own time was up while it was under way.
    Late,
}

/// What was tried in this call already.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tried {
    pub(super) token: bool,
    pub(super) location: bool,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The outcome is the caller's.
    Done,
    /// The same, and the location is stale.
    DoneForget,
    /// The same, and the token is refused.
    DoneDrop,
    /// Drop the token and call again.
    FreshToken,
    /// Forget the location and call again.
    Rediscover,
}

impl Ended {
    /// Whether the service may have done what was asked.
    pub(super) const fn may_have_acted(self) -> bool {
        match self {
            // Refused at the door, or by a host that is not the service any more.
            Self::Answer { status, .. } => !matches!(status, 401 | 403 | 404 | 410 | 421),
            Self::Error(kind) => !kind.is_unsent(),
            Self::Late => true,
        }
    }

    /// Whether the location has gone stale. Neither a refusal of the call nor a slow service says so.
    const fn is_stale(self) -> bool {
        match self {
            Self::Answer { status, .. } => matches!(status, 404 | 410 | 421 | 500..=599),
            Self::Error(kind) => matches!(kind, HttpErrorKind::Dns | HttpErrorKind::Connect | HttpErrorKind::Tls),
            Self::Late => false,
        }
    }
}

/// Decides. Each of token and location is renewed once in a call. A service that names a time to wait is not called again before it.
pub(super) fn next(ended: Ended, repeat: Repeat, tried: Tried) -> Next {
    if matches!(ended, Ended::Answer { status: 401 | 403, .. }) {
        return if tried.token { Next::DoneDrop } else { Next::FreshToken };
    }
    if !ended.is_stale() {
        return Next::Done;
    }
    let told_to_wait = matches!(ended, Ended::Answer { status: 500..=599, wait: true });
    let allowed = repeat == Repeat::Safe || !ended.may_have_acted();
    if allowed && !tried.location && !told_to_wait { Next::Rediscover } else { Next::DoneForget }
}

#[cfg(test)]
mod tests {
    use super::*;
    use HttpErrorKind as K;

    const KINDS: [HttpErrorKind; 8] = [K::Request, K::Dns, K::Connect, K::Proxy, K::Tls, K::Timeout, K::Closed, K::TooLarge];

    fn answer(status: u16) -> Ended {
        Ended::Answer { status, wait: false }
    }

    #[test]
    fn a_stale_location_is_discovered_anew_once() {
        for ended in [K::Dns, K::Connect, K::Tls].map(Ended::Error).into_iter().chain([404, 410, 421, 500, 502, 503, 599].map(answer)) {
            assert_eq!(next(ended, Repeat::Safe, Tried::default()), Next::Rediscover, "{ended:?}");
            assert_eq!(next(ended, Repeat::Safe, Tried { location: true, token: false }), Next::DoneForget, "{ended:?}");
        }
        for ended in [200, 204, 302, 400, 407, 408, 409, 413, 429, 600].map(answer) {
            assert_eq!(next(ended, Repeat::Safe, Tried::default()), Next::Done, "{ended:?}");
        }
        for ended in [K::Request, K::Proxy, K::Timeout, K::Closed, K::TooLarge].map(Ended::Error).into_iter().chain([Ended::Late]) {
            assert_eq!(next(ended, Repeat::Safe, Tried::default()), Next::Done, "{ended:?}");
        }
    }

    #[test]
    fn a_download_that_the_service_may_have_seen_is_never_made_again() {
        let all = KINDS.map(Ended::Error).into_iter().chain((0..=65_535).map(answer)).chain([Ended::Late]);
        let again: Vec<Ended> =
            all.filter(|ended| matches!(next(*ended, Repeat::UnlessSeen, Tried::default()), Next::Rediscover | Next::FreshToken)).collect();
        let expected = [K::Dns, K::Connect, K::Tls].map(Ended::Error).into_iter().chain([401, 403, 404, 410, 421].map(answer));
        assert_eq!(again, expected.collect::<Vec<_>>());
        // The location is forgotten all the same.
        assert_eq!(next(answer(502), Repeat::UnlessSeen, Tried::default()), Next::DoneForget);
    }

    #[test]
    fn a_token_is_renewed_once_and_dropped_each_time() {
        for status in [401, 403] {
            assert_eq!(next(answer(status), Repeat::Safe, Tried::default()), Next::FreshToken);
            assert_eq!(next(answer(status), Repeat::Safe, Tried { token: true, location: true }), Next::DoneDrop);
        }
    }

    #[test]
    fn a_service_that_names_a_time_to_wait_is_not_called_again_before() {
        let busy = Ended::Answer { status: 503, wait: true };
        assert_eq!(next(busy, Repeat::Safe, Tried::default()), Next::DoneForget);
    }
}
