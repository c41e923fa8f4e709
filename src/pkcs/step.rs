//! What to do next for a PKCS request: pure. State, answer and time in; state and action out.

use core::time::Duration;

use crate::ports::{CaCapabilities, RowState};
use crate::time::Timestamp;

/// Shortest and longest wait for a pending certificate, whatever the CA says.
const POLL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3_600));
/// Calls to revoke a certificate that failed the post-issue check, before an operator must.
const REVOKE_CALLS: u32 = 5;
/// Between two such calls; doubled each time.
const REVOKE_PAUSE: Duration = Duration::from_secs(2);

/// What the CA's abilities mean for this flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Abilities {
    pub(crate) find: bool,
    pub(crate) idempotent: bool,
    pub(crate) in_flight: Duration,
}

impl From<&CaCapabilities> for Abilities {
    fn from(capabilities: &CaCapabilities) -> Self {
        Self { find: capabilities.find, idempotent: capabilities.idempotent_issue, in_flight: capabilities.in_flight }
    }
}

/// Where a request stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Neither policy nor key pair yet.
    New,
    /// Key pair and CSR are made, not journalled.
    Made,
    /// Another instance may have asked the CA.
    LookFirst,
    /// An answer was lost at this time; the CA may still issue. With `last`, the call also said that it is of no use to ask again.
    LookAfterLoss { lost: Timestamp, last: bool, due: Timestamp },
    /// It will be asked without knowing what became of the earlier ask: journal that first.
    Suspect,
    /// To be journalled before the CA is asked.
    Announce,
    /// The CA may be asked.
    Ask,
    /// The CA works on it.
    Pending { poll_id: String, due: Timestamp },
    /// A certificate is there, unchecked.
    Check,
    /// It failed the check and will be revoked: journal that first, lest another run takes it for good.
    Doomed,
    /// It failed the check: revoke it.
    Revoke { calls: u32, due: Timestamp },
    /// It passed: journal that.
    Passed,
    /// To be packed.
    Pack,
    /// It ended without a result.
    Refused,
}

/// What the asynchronous part shall do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Check the policies, make key pair and CSR.
    Make,
    /// Journal this state.
    Commit(RowState),
    /// Ask the CA whether it has issued.
    Find,
    /// Ask the CA to issue.
    Issue,
    /// Ask the CA about the pending request.
    Status(String),
    /// Wait.
    Wait(Duration),
    /// Hold the certificate against the plan.
    Check,
    /// Revoke the certificate.
    Revoke,
    /// Make the PKCS#12 file and the envelopes.
    Pack,
    /// End with the failure at hand.
    Fail,
}

/// What came of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Made,
    Committed,
    /// The CA has issued for our key.
    Found,
    /// The CA has issued for a key of another instance.
    FoundForOther,
    Absent,
    CannotTell,
    Issued,
    Pending {
        poll_id: String,
        after: Duration,
    },
    /// The call failed, and certainly did nothing.
    NotDone {
        again: bool,
    },
    /// The call failed, and may have done its work.
    Lost {
        again: bool,
    },
    Passed,
    /// With `revoke` the certificate can be named to the CA.
    Mismatch {
        revoke: bool,
    },
    /// The certificate is good, but cannot be packed for the recipient.
    Unpackable,
    Revoked,
    RevokeFailed {
        again: bool,
    },
}

/// What the asynchronous part tells the engine after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on with the next action.
    GoOn,
    /// This attempt failed.
    Retry,
    /// The request failed for good.
    Fail,
}

/// The machine of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) phase: Phase,
    abilities: Abilities,
    find_first: bool,
    /// A certificate may exist that nobody gets.
    pub(crate) orphan_suspected: bool,
    /// Asks that went unanswered before the present one, of a CA that is not idempotent: each may still lead to a certificate.
    pub(crate) earlier: u32,
    /// The CA was asked, and its answer is lost.
    unanswered: bool,
}

/// How far a request came, as its row keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The CA was not asked.
    NotAsked,
    /// It may have been asked.
    Asked,
    /// The same, and it is of no use to ask again.
    AskedLast,
    /// It works on it.
    Pending(String),
    /// It is asked anew, without knowing what became of the last time.
    Again,
    /// A certificate is there.
    Issued,
    /// It ended without a result.
    Refused,
    /// A certificate is there that is to be revoked.
    Doomed,
}

impl Mark {
    /// The number in rows, which never changes.
    pub(crate) fn number(&self) -> u8 {
        match self {
            Self::NotAsked => 1,
            Self::Asked => 2,
            Self::AskedLast => 3,
            Self::Pending(_) => 4,
            Self::Again => 5,
            Self::Issued => 6,
            Self::Refused => 7,
            Self::Doomed => 8,
        }
    }

    /// The mark of a number.
    pub(crate) fn of(number: u8, poll_id: Option<&str>) -> Option<Self> {
        Some(match number {
            1 => Self::NotAsked,
            2 => Self::Asked,
            3 => Self::AskedLast,
            4 => Self::Pending(poll_id?.to_owned()),
            5 => Self::Again,
            6 => Self::Issued,
            7 => Self::Refused,
            8 => Self::Doomed,
            _ => return None,
        })
    }
}

impl Machine {
    pub(crate) fn new(abilities: Abilities, find_first: bool) -> Self {
        Self { phase: Phase::New, abilities, find_first, orphan_suspected: false, earlier: 0, unanswered: false }
    }

    /// What the row shall say. A phase that is not committed by itself may have gone on by the time the process ends, so it says the more
    /// careful thing.
    pub(crate) fn mark(&self) -> Mark {
        match &self.phase {
            Phase::New | Phase::Made | Phase::LookFirst => Mark::NotAsked,
            Phase::Suspect => Mark::Again,
            Phase::Announce | Phase::Ask | Phase::LookAfterLoss { last: false, .. } => Mark::Asked,
            Phase::LookAfterLoss { last: true, .. } => Mark::AskedLast,
            Phase::Pending { poll_id, .. } => Mark::Pending(poll_id.clone()),
            Phase::Check | Phase::Passed | Phase::Pack => Mark::Issued,
            Phase::Doomed | Phase::Revoke { .. } => Mark::Doomed,
            Phase::Refused => Mark::Refused,
        }
    }

    /// The machine of a request that another process, or an earlier run, has begun. When the CA was asked last is not known, so its time
    /// in flight starts now.
    pub(crate) fn restored(abilities: Abilities, find_first: bool, mark: Mark, has_certificate: bool, now: Timestamp) -> Self {
        let mut machine = Self::new(abilities, find_first);
        machine.phase = match mark {
            Mark::NotAsked if find_first && abilities.find => Phase::LookFirst,
            Mark::NotAsked => {
                machine.orphan_suspected = find_first && !abilities.idempotent;
                Phase::Announce
            }
            Mark::Asked | Mark::AskedLast if abilities.find => Phase::LookAfterLoss { lost: now, last: mark == Mark::AskedLast, due: now },
            Mark::Asked | Mark::AskedLast if abilities.idempotent => {
                machine.unanswered = true;
                Phase::Ask
            }
            Mark::Asked => {
                machine.orphan_suspected = true;
                machine.earlier = 1;
                Phase::Suspect
            }
            Mark::AskedLast => {
                machine.orphan_suspected = true;
                Phase::Refused
            }
            Mark::Pending(poll_id) => Phase::Pending { poll_id, due: now },
            Mark::Again => Phase::Announce,
            Mark::Issued if has_certificate => Phase::Check,
            Mark::Doomed if has_certificate => Phase::Revoke { calls: 0, due: now },
            Mark::Issued | Mark::Doomed | Mark::Refused => Phase::Refused,
        };
        machine
    }

    /// Whether the CA has it in hand.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.phase, Phase::Pending { .. })
    }

    /// How many certificates may exist that nobody gets, and whether the one at hand is one of them. `ended` says that the request failed.
    pub(crate) fn suspicion(&self, ended: bool, has_certificate: bool) -> Option<(u32, bool)> {
        let known = ended && has_certificate && (self.phase != Phase::Refused || self.orphan_suspected);
        let unknown = ended && !has_certificate && (self.may_have_issued() || self.unanswered);
        let unknown = if unknown { self.earlier.saturating_add(1) } else { self.earlier };
        let most = unknown.saturating_add(u32::from(known));
        (most > 0).then_some((most, known))
    }

    /// Whether a certificate may exist, now or soon, that nobody gets when the request ends here.
    pub(crate) fn may_have_issued(&self) -> bool {
        self.orphan_suspected || matches!(self.phase, Phase::LookAfterLoss { .. } | Phase::Pending { .. })
    }

    /// The next thing to do.
    pub(crate) fn next(&self, now: Timestamp) -> Action {
        match &self.phase {
            Phase::New => Action::Make,
            Phase::Made => Action::Commit(RowState::Planned),
            Phase::Pending { due, .. } | Phase::Revoke { due, .. } | Phase::LookAfterLoss { due, .. } if now < *due => {
                Action::Wait(due.since(now))
            }
            Phase::LookFirst | Phase::LookAfterLoss { .. } => Action::Find,
            Phase::Suspect | Phase::Doomed => Action::Commit(RowState::OrphanSuspected),
            Phase::Announce => Action::Commit(RowState::Asked),
            Phase::Ask => Action::Issue,
            Phase::Pending { poll_id, .. } => Action::Status(poll_id.clone()),
            Phase::Check => Action::Check,
            Phase::Revoke { .. } => Action::Revoke,
            Phase::Passed => Action::Commit(RowState::Issued),
            Phase::Pack => Action::Pack,
            Phase::Refused => Action::Fail,
        }
    }

    /// Takes the answer to the last action.
    pub(crate) fn on(&mut self, answer: Answer, now: Timestamp) -> Verdict {
        let (phase, verdict) = self.after(answer, now);
        self.phase = phase;
        verdict
    }

    fn after(&mut self, answer: Answer, now: Timestamp) -> (Phase, Verdict) {
        use Verdict::{Fail, GoOn, Retry};
        match (&self.phase, &answer) {
            (Phase::Ask, Answer::Lost { .. }) => self.unanswered = true,
            (_, Answer::Issued | Answer::Found) => self.unanswered = false,
            (Phase::LookAfterLoss { lost, .. }, Answer::Absent) if now >= lost.saturating_add(self.abilities.in_flight) => {
                self.unanswered = false;
            }
            _ => {}
        }
        let stay = self.phase.clone();
        match (&self.phase, answer) {
            (Phase::New, Answer::Made) => (Phase::Made, GoOn),
            (Phase::Made, Answer::Committed) if self.find_first && self.abilities.find => (Phase::LookFirst, GoOn),
            (Phase::Made, Answer::Committed) => {
                self.orphan_suspected |= self.find_first && !self.abilities.idempotent;
                (Phase::Announce, GoOn)
            }
            (Phase::Suspect, Answer::Committed) => (Phase::Announce, GoOn),
            (Phase::Announce, Answer::Committed) => (Phase::Ask, GoOn),
            (Phase::Passed, Answer::Committed) => (Phase::Pack, GoOn),

            (Phase::LookFirst | Phase::LookAfterLoss { .. }, Answer::Found) => (Phase::Check, GoOn),
            // Its private key is elsewhere or lost; it may still be delivered by its owner, so it is not revoked from here.
            (Phase::LookFirst, Answer::FoundForOther | Answer::CannotTell) => {
                self.orphan_suspected = true;
                self.earlier = self.earlier.saturating_add(1);
                (Phase::Suspect, GoOn)
            }
            (Phase::LookFirst, Answer::Absent) => (Phase::Announce, GoOn),
            (Phase::LookAfterLoss { last: true, .. }, Answer::CannotTell | Answer::FoundForOther) => {
                self.orphan_suspected = true;
                (Phase::Refused, Fail)
            }
            (Phase::LookAfterLoss { .. }, Answer::CannotTell | Answer::FoundForOther) => self.ask_blindly(),
            (Phase::LookAfterLoss { lost, last, .. }, Answer::Absent) => {
                let certain = lost.saturating_add(self.abilities.in_flight);
                match (now >= certain, last) {
                    (false, _) => (Phase::LookAfterLoss { lost: *lost, last: *last, due: certain }, GoOn),
                    (true, true) => (Phase::Refused, Fail),
                    (true, false) if self.abilities.idempotent => (Phase::Ask, GoOn),
                    // It has said that it will not issue any more; if it does all the same, the ledger knows of it.
                    (true, false) => {
                        self.earlier = self.earlier.saturating_add(1);
                        (Phase::Announce, GoOn)
                    }
                }
            }
            (Phase::LookFirst | Phase::LookAfterLoss { .. }, Answer::NotDone { again } | Answer::Lost { again }) => {
                (stay, if again { Retry } else { Fail })
            }

            (Phase::Ask | Phase::Pending { .. }, Answer::Issued) => (Phase::Check, GoOn),
            (Phase::Ask | Phase::Pending { .. }, Answer::Pending { poll_id, after }) => {
                (Phase::Pending { poll_id, due: now.saturating_add(after.clamp(POLL.0, POLL.1)) }, GoOn)
            }
            (Phase::Ask, Answer::NotDone { again: true }) => (Phase::Ask, Retry),
            (Phase::Ask, Answer::Lost { again }) if self.abilities.find => {
                (Phase::LookAfterLoss { lost: now, last: !again, due: now }, Retry)
            }
            (Phase::Ask, Answer::Lost { again: true }) => {
                let (phase, _) = self.ask_blindly();
                (phase, Retry)
            }
            (Phase::Ask, Answer::Lost { again: false }) => {
                self.orphan_suspected |= !self.abilities.idempotent;
                (Phase::Refused, Fail)
            }
            // Asking for the state changes nothing, whatever became of the call.
            (Phase::Pending { .. }, Answer::NotDone { again: true } | Answer::Lost { again: true }) => (stay, Retry),

            (Phase::Check, Answer::Passed) => (Phase::Passed, GoOn),
            (Phase::Check, Answer::Mismatch { revoke: true }) | (Phase::Pack, Answer::Unpackable) => (Phase::Doomed, GoOn),
            (Phase::Doomed, Answer::Committed) => (Phase::Revoke { calls: 0, due: now }, GoOn),
            (Phase::Revoke { .. }, Answer::Revoked) => (Phase::Refused, GoOn),
            (Phase::Revoke { calls, .. }, Answer::RevokeFailed { again: true }) if calls + 1 < REVOKE_CALLS => {
                let due = now.saturating_add(REVOKE_PAUSE * 2u32.saturating_pow(*calls));
                (Phase::Revoke { calls: calls + 1, due }, GoOn)
            }
            (Phase::Check, Answer::Mismatch { revoke: false }) | (Phase::Revoke { .. }, Answer::RevokeFailed { .. }) => {
                self.orphan_suspected = true;
                (Phase::Refused, GoOn)
            }
            _ => (Phase::Refused, Fail),
        }
    }

    fn ask_blindly(&mut self) -> (Phase, Verdict) {
        if self.abilities.idempotent {
            (Phase::Ask, Verdict::GoOn)
        } else {
            self.orphan_suspected = true;
            self.earlier = self.earlier.saturating_add(1);
            self.unanswered = false;
            (Phase::Suspect, Verdict::GoOn)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp::from_secs(1_000_000);
    const SEARCHABLE: Abilities = Abilities { find: true, idempotent: false, in_flight: Duration::from_secs(60) };
    const BLIND: Abilities = Abilities { find: false, idempotent: false, in_flight: Duration::from_secs(60) };
    const IDEMPOTENT: Abilities = Abilities { find: false, idempotent: true, in_flight: Duration::from_secs(60) };

    fn asked(abilities: Abilities) -> Machine {
        let mut machine = Machine::new(abilities, false);
        for answer in [Answer::Made, Answer::Committed, Answer::Committed] {
            assert_eq!(machine.on(answer, T0), Verdict::GoOn);
        }
        assert_eq!(machine.next(T0), Action::Issue);
        machine
    }

    #[test]
    fn the_straight_way_journals_before_and_after_the_ca() {
        let mut machine = Machine::new(SEARCHABLE, false);
        let mut actions = Vec::new();
        for answer in [Answer::Made, Answer::Committed, Answer::Committed, Answer::Issued, Answer::Passed, Answer::Committed] {
            actions.push(machine.next(T0));
            assert_eq!(machine.on(answer, T0), Verdict::GoOn);
        }
        actions.push(machine.next(T0));
        assert_eq!(
            actions,
            [
                Action::Make,
                Action::Commit(RowState::Planned),
                Action::Commit(RowState::Asked),
                Action::Issue,
                Action::Check,
                Action::Commit(RowState::Issued),
                Action::Pack
            ]
        );
    }

    #[test]
    fn a_lost_answer_goes_to_find_and_absent_is_trusted_only_after_in_flight() {
        let mut machine = asked(SEARCHABLE);
        assert_eq!(machine.on(Answer::Lost { again: true }, T0), Verdict::Retry);
        let early = T0.saturating_add(Duration::from_secs(59));
        assert_eq!(machine.next(early), Action::Find);
        assert_eq!(machine.on(Answer::Absent, early), Verdict::GoOn);
        assert_eq!(machine.next(early), Action::Wait(Duration::from_secs(1)));
        let late = T0.saturating_add(Duration::from_secs(60));
        assert_eq!(machine.next(late), Action::Find);
        assert_eq!(machine.on(Answer::Absent, late), Verdict::GoOn);
        assert_eq!((machine.next(late), machine.orphan_suspected, machine.earlier), (Action::Commit(RowState::Asked), false, 1));
        machine.on(Answer::Committed, late);
        assert_eq!(machine.next(late), Action::Issue);
    }

    #[test]
    fn a_lost_answer_that_is_found_is_checked_and_not_asked_again() {
        let mut machine = asked(SEARCHABLE);
        machine.on(Answer::Lost { again: true }, T0);
        assert_eq!(machine.on(Answer::Found, T0), Verdict::GoOn);
        assert_eq!(machine.next(T0), Action::Check);
    }

    #[test]
    fn a_blind_ca_is_asked_again_and_the_orphan_is_journalled_first() {
        let mut machine = asked(BLIND);
        assert_eq!(machine.on(Answer::Lost { again: true }, T0), Verdict::Retry);
        assert_eq!((machine.next(T0), machine.orphan_suspected), (Action::Commit(RowState::OrphanSuspected), true));
        machine.on(Answer::Committed, T0);
        assert_eq!(machine.next(T0), Action::Commit(RowState::Asked));
    }

    #[test]
    fn an_idempotent_ca_is_asked_again_without_suspicion() {
        let mut machine = asked(IDEMPOTENT);
        assert_eq!(machine.on(Answer::Lost { again: true }, T0), Verdict::Retry);
        assert_eq!((machine.next(T0), machine.orphan_suspected), (Action::Issue, false));
    }

    #[test]
    fn the_ca_is_searched_before_the_first_ask_when_another_instance_may_have_asked() {
        let mut machine = Machine::new(SEARCHABLE, true);
        machine.on(Answer::Made, T0);
        machine.on(Answer::Committed, T0);
        assert_eq!(machine.next(T0), Action::Find);
        machine.on(Answer::FoundForOther, T0);
        assert_eq!((machine.next(T0), machine.orphan_suspected), (Action::Commit(RowState::OrphanSuspected), true));
    }

    #[test]
    fn a_certificate_that_fails_the_check_is_revoked_with_a_bounded_number_of_calls_and_never_packed() {
        let mut machine = asked(SEARCHABLE);
        machine.on(Answer::Issued, T0);
        machine.on(Answer::Mismatch { revoke: true }, T0);
        let mut now = T0;
        let mut calls = 0;
        assert_eq!(machine.next(now), Action::Commit(RowState::OrphanSuspected), "another run must not take it for good");
        assert_eq!(Machine::restored(SEARCHABLE, false, machine.mark(), true, now).next(now), Action::Revoke);
        machine.on(Answer::Committed, now);
        loop {
            match machine.next(now) {
                Action::Wait(pause) => now = now.saturating_add(pause),
                Action::Revoke => {
                    calls += 1;
                    machine.on(Answer::RevokeFailed { again: true }, now);
                }
                other => break assert_eq!(other, Action::Fail),
            }
        }
        assert_eq!((calls, machine.orphan_suspected), (REVOKE_CALLS, true));
    }

    /// Every answer in every reachable state, three times each on a path: no way leads to `Pack` but through a passed check,
    /// and none asks the CA again after a lost answer without `find`, idempotency or a journalled suspicion.
    #[test]
    fn no_order_of_answers_packs_unchecked_or_asks_twice_unnoticed() {
        let answers = [
            Answer::Made,
            Answer::Committed,
            Answer::Found,
            Answer::FoundForOther,
            Answer::Absent,
            Answer::CannotTell,
            Answer::Issued,
            Answer::Pending { poll_id: "p".into(), after: Duration::ZERO },
            Answer::NotDone { again: true },
            Answer::NotDone { again: false },
            Answer::Lost { again: true },
            Answer::Lost { again: false },
            Answer::Passed,
            Answer::Mismatch { revoke: true },
            Answer::Mismatch { revoke: false },
            Answer::Unpackable,
            Answer::Revoked,
            Answer::RevokeFailed { again: true },
            Answer::RevokeFailed { again: false },
        ];
        let late = T0.saturating_add(Duration::from_secs(120));
        let mut seen = 0;
        for abilities in [Abilities { in_flight: Duration::ZERO, ..SEARCHABLE }, BLIND, IDEMPOTENT] {
            for find_first in [false, true] {
                // (machine, whether a check has passed, whether an ask is unanswered)
                let mut open = vec![(Machine::new(abilities, find_first), false, false)];
                let mut known = std::collections::HashSet::new();
                while let Some((machine, passed, unanswered)) = open.pop() {
                    if machine.earlier > 3 || !known.insert(format!("{machine:?}{passed}{unanswered}")) {
                        continue;
                    }
                    seen += 1;
                    let action = machine.next(late);
                    assert!(action != Action::Pack || passed, "packed unchecked: {machine:?}");
                    if action == Action::Issue && unanswered {
                        let noticed = machine.orphan_suspected || machine.earlier > 0;
                        assert!(abilities.idempotent || noticed, "asked twice unnoticed: {machine:?}");
                    }
                    for answer in &answers {
                        let mut after = machine.clone();
                        after.on(answer.clone(), late);
                        let unanswered = match (&action, answer) {
                            (Action::Issue, Answer::Lost { .. }) => true,
                            (Action::Find, Answer::Absent) => unanswered && after.next(late) != Action::Issue,
                            (Action::Find, Answer::Found) => false,
                            _ => unanswered,
                        };
                        let passed = passed || (action == Action::Check && *answer == Answer::Passed);
                        open.push((after, passed, unanswered));
                    }
                }
            }
        }
        assert!(seen > 50, "{seen}");
    }
}
