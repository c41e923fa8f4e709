use super::*;

const FULL: u32 = 8;

fn machine() -> Machine {
    Machine::new(&CaLimits::new(), FULL)
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn go(machine: &mut Machine, now: Duration) -> Ticket {
    match machine.ask(false, now, 0) {
        Decision::Go(ticket) => ticket,
        Decision::Wait { pause, .. } => panic!("told to wait {pause:?}"),
    }
}

fn pause(machine: &mut Machine, now: Duration) -> Duration {
    match machine.ask(false, now, 0) {
        Decision::Wait { pause, .. } => pause,
        Decision::Go(_) => panic!("let through"),
    }
}

fn trip(machine: &mut Machine, now: Duration, random: u64) -> Option<Change> {
    let mut change = None;
    for _ in 0..5 {
        let ticket = go(machine, now);
        change = machine.answer(ticket, Verdict::Failed, now, random);
    }
    change
}

#[test]
fn five_failures_in_a_row_open_it_and_a_success_between_them_does_not_count_as_one() {
    let mut machine = machine();
    let now = secs(100);
    for verdict in [Verdict::Failed, Verdict::Failed, Verdict::Failed, Verdict::Failed, Verdict::Healthy] {
        let ticket = go(&mut machine, now);
        assert_eq!(machine.answer(ticket, verdict, now, 0), None);
    }
    assert_eq!(trip(&mut machine, now, u64::MAX), Some(Change::Opened(secs(2) - Duration::from_nanos(1))));
    assert_eq!(machine.state(now).0, BreakerState::Open);
    assert!(pause(&mut machine, now) >= Duration::from_millis(1_999));
}

#[test]
fn half_of_the_last_twenty_calls_opens_it() {
    let mut machine = machine();
    let now = secs(100);
    let mut change = None;
    for call in 0..20 {
        assert_eq!(change, None, "{call}");
        let ticket = go(&mut machine, now);
        change = machine.answer(ticket, if call % 2 == 0 { Verdict::Healthy } else { Verdict::Failed }, now, 0);
    }
    assert!(matches!(change, Some(Change::Opened(_))));
}

#[test]
fn one_probe_then_two_then_four_then_all() {
    let mut machine = machine();
    trip(&mut machine, secs(100), 0);
    let mut now = secs(103);
    for probes in [1, 2, 4] {
        assert_eq!(machine.state(now).0, BreakerState::HalfOpen);
        let tickets: Vec<Ticket> = (0..probes).map(|_| go(&mut machine, now)).collect();
        assert!(pause(&mut machine, now) >= Duration::from_millis(250), "{probes} are under way");
        now += secs(1);
        for (number, ticket) in tickets.iter().enumerate() {
            let change = machine.answer(*ticket, Verdict::Healthy, now, 0);
            assert_eq!(change, (probes == 4 && number == 3).then_some(Change::Closed));
        }
    }
    let _: Vec<Ticket> = (0..100).map(|_| go(&mut machine, now)).collect();
}

#[test]
fn a_probe_that_fails_opens_it_for_longer_and_one_that_was_not_made_frees_its_place() {
    let mut machine = machine();
    let mut now = secs(100);
    trip(&mut machine, now, u64::MAX);
    for most in [4, 8, 16, 32, 60, 60, 60] {
        now += secs(61);
        let unused = go(&mut machine, now);
        assert_eq!(machine.answer(unused, Verdict::Unused, now, 0), None);
        let probe = go(&mut machine, now);
        assert_eq!(machine.answer(probe, Verdict::Failed, now, u64::MAX), None, "it was told before");
        let left = machine.state(now).1.unwrap();
        assert!(left > secs(most) - Duration::from_millis(1) && left <= secs(most), "{left:?} of {most}");
    }
}

#[test]
fn what_was_asked_before_it_opened_neither_closes_nor_prolongs_it() {
    let mut machine = machine();
    let now = secs(100);
    let (early, other) = (go(&mut machine, now), go(&mut machine, now));
    trip(&mut machine, now, 0);
    let before = machine.state(now);
    assert_eq!(machine.answer(early, Verdict::Failed, now, u64::MAX), None);
    assert_eq!(machine.state(now), before);
    let probe_time = secs(103);
    let probe = go(&mut machine, probe_time);
    assert_eq!(machine.answer(other, Verdict::Healthy, probe_time, 0), None);
    assert_eq!(machine.state(probe_time).0, BreakerState::HalfOpen);
    pause(&mut machine, probe_time);
    machine.answer(probe, Verdict::Healthy, probe_time, 0);
}

#[test]
fn a_throttled_ca_is_left_alone_for_as_long_as_it_asked_but_an_hour_at_most() {
    for (asked, least, most) in [(90, 90, 92), (u64::MAX, 3_600, 3_602)] {
        let mut machine = machine();
        let ticket = go(&mut machine, secs(5));
        let change = machine.answer(ticket, Verdict::Throttled(Some(secs(asked))), secs(5), u64::MAX / 2);
        let Some(Change::Opened(pause)) = change else { panic!("{change:?}") };
        assert!(pause >= secs(least) && pause < secs(most), "{pause:?}");
    }
    let mut machine = machine();
    let ticket = go(&mut machine, secs(5));
    assert!(matches!(machine.answer(ticket, Verdict::Throttled(None), secs(5), 0), Some(Change::Opened(LEAST_PAUSE))));
}

#[test]
fn a_misconfigured_ca_is_left_alone_for_the_cool_down_whenever_it_was_asked() {
    let mut machine = machine();
    let (first, late) = (go(&mut machine, secs(5)), go(&mut machine, secs(5)));
    machine.answer(first, Verdict::Misconfigured(secs(300)), secs(5), 0);
    assert_eq!(machine.ask(false, secs(6), 0), Decision::Wait { pause: secs(299), misconfigured: true });
    assert_eq!(machine.answer(late, Verdict::Throttled(Some(secs(10))), secs(6), 0), None);
    assert_eq!(machine.state(secs(6)).1, Some(secs(299)), "a shorter pause shortens nothing");
    go(&mut machine, secs(305));
    pause(&mut machine, secs(305));
}

#[test]
fn repeats_wait_when_their_budget_is_spent_and_first_asks_do_not() {
    let mut machine = machine();
    let now = secs(1_002);
    let repeat = |machine: &mut Machine| matches!(machine.ask(true, now, 0), Decision::Go(_));
    assert!((0..10).all(|_| repeat(&mut machine)), "the floor");
    assert!(!repeat(&mut machine));
    for _ in 0..10 {
        let ticket = go(&mut machine, now);
        machine.answer(ticket, Verdict::Healthy, now, 0);
    }
    assert!(repeat(&mut machine), "ten successes pay for one");
    let Decision::Wait { pause, misconfigured: false } = machine.ask(true, now, u64::MAX) else { panic!("over the budget") };
    assert!(pause >= secs(6) && pause <= secs(12), "{pause:?}");
}

/// Numbers without rhyme, the same in each run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Any order of asks, answers and jumps of the clock, and what must hold all the while; then the CA is well, and must be asked again.
#[test]
fn whatever_happened_a_healthy_ca_is_asked_again_and_half_open_lets_few_through() {
    for seed in 1..2_000_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let limits = if seed % 2 == 0 { CaLimits::new().with_calls_per_second(20.0) } else { CaLimits::new() };
        let full = [1, 2, 3, 8, 64][usize::try_from(seed % 5).unwrap()];
        let mut machine = Machine::new(&limits, full);
        let mut now = secs(dice.throw() % 1_000);
        let mut out: Vec<Ticket> = Vec::new();
        let mut grown = 1;
        for _ in 0..300 {
            match dice.throw() % 12 {
                0..=4 => {
                    let (repeat, random) = (dice.throw().is_multiple_of(4), dice.throw());
                    match machine.ask(repeat, now, random) {
                        Decision::Go(ticket) => out.push(ticket),
                        Decision::Wait { pause, .. } => assert!(!pause.is_zero() && pause <= secs(3_700), "seed {seed}: {pause:?}"),
                    }
                }
                5..=9 if !out.is_empty() => {
                    let ticket = out.swap_remove(usize::try_from(dice.throw()).unwrap() % out.len());
                    let verdict = match dice.throw() % 12 {
                        0..=3 => Verdict::Failed,
                        4 => Verdict::Throttled(Some(Duration::from_millis(dice.throw() >> (dice.throw() % 64)))),
                        5 => Verdict::Throttled(None),
                        6 => Verdict::Misconfigured(secs(dice.throw() % 300)),
                        7 => Verdict::Unused,
                        _ => Verdict::Healthy,
                    };
                    machine.answer(ticket, verdict, now, dice.throw());
                }
                10 => now = now.saturating_sub(secs(dice.throw() % 100_000)),
                _ => now = now.saturating_add(Duration::from_millis(dice.throw() % [10, 1_000, 100_000, 1 << 50][seed as usize % 4])),
            }
            if let Phase::HalfOpen { allowed, under_way, .. } = machine.phase {
                let current = out.iter().filter(|ticket| ticket.epoch == machine.epoch).count();
                assert_eq!(usize::try_from(under_way).unwrap(), current, "seed {seed}");
                assert!(under_way <= allowed && allowed < full.max(2), "seed {seed}: {allowed} of {full}");
                assert!(allowed <= 2 * grown, "seed {seed}: it grows by doubling");
                grown = allowed;
            } else {
                grown = 1;
            }
            assert_eq!(usize::try_from(machine.in_flight).unwrap(), out.len(), "seed {seed}");
        }
        out.drain(..).for_each(|ticket| assert!(machine.answer(ticket, Verdict::Unused, now, 0).is_none()));
        let (mut waited, mut calls) = (Duration::ZERO, 0);
        while machine.phase != Phase::Closed {
            match machine.ask(dice.throw().is_multiple_of(2), now, dice.throw()) {
                Decision::Go(ticket) => {
                    calls += 1;
                    machine.answer(ticket, Verdict::Healthy, now, dice.throw());
                }
                Decision::Wait { pause, .. } => {
                    now = now.saturating_add(pause);
                    waited = waited.saturating_add(pause);
                }
            }
            assert!(waited < secs(7_400) && calls <= 2 * full, "seed {seed}: stuck after {waited:?} and {calls} calls");
        }
    }
}

#[test]
fn the_ends_of_the_clock_overflow_nothing() {
    for now in [Duration::ZERO, Duration::MAX] {
        let mut machine = machine();
        for verdict in [Verdict::Throttled(Some(Duration::MAX)), Verdict::Misconfigured(Duration::MAX), Verdict::Failed] {
            if let Decision::Go(ticket) = machine.ask(true, now, u64::MAX) {
                machine.answer(ticket, verdict, Duration::MAX, u64::MAX);
            }
            machine.ask(false, Duration::MAX, u64::MAX);
            machine.ask(false, now, u64::MAX);
            machine.state(now);
        }
    }
}
