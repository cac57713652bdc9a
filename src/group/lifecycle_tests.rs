use EventState::{Firing, Pending, Quiet, Resolved};
use HeldBecause::{SourceDown, SourceLagging};
use TransitionReason::{FirstHit, Quieted, Reappeared, Resumed, RuleRemoved, SeenAgain, StayedQuiet, ThresholdReached};

use super::*;

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_parts(1_700_000_000 + seconds, 0)
}

#[test]
fn every_state_and_every_input_lead_where_the_table_says() {
    const FULL: Input = Input::Hit { fires: true };
    const BELOW: Input = Input::Hit { fires: false };
    /// A state, the reasons that it may have, whether it has fired, and what comes of each input.
    type Row = (EventState, &'static [TransitionReason], bool, [Option<Step>; 3]);
    let table: [Row; 7] = [
        (Pending, &[FirstHit], false, [Some((Firing, ThresholdReached)), None, None]),
        (Pending, &[Reappeared], true, [Some((Firing, Reappeared)), None, None]),
        (Pending, &[RuleRemoved], false, [Some((Firing, ThresholdReached)), Some((Pending, FirstHit)), None]),
        (Pending, &[RuleRemoved], true, [Some((Firing, Reappeared)), Some((Pending, Reappeared)), None]),
        (Firing, &[ThresholdReached, Reappeared, Resumed], true, [None, None, Some((Quiet, Quieted))]),
        (Quiet, &[Quieted], true, [Some((Firing, Resumed)), None, Some((Resolved, StayedQuiet))]),
        (Resolved, &[StayedQuiet, RuleRemoved], true, [Some((Firing, Reappeared)), Some((Pending, Reappeared)), None]),
    ];
    for (state, reasons, has_fired, expected) in table {
        for reason in reasons {
            for (input, expected) in [FULL, BELOW, Input::Due].into_iter().zip(expected) {
                assert_eq!(next((state, *reason), has_fired, input), expected, "{state:?} {reason:?} {has_fired} {input:?}");
            }
        }
    }
    let (absent, down) = ((Firing, TransitionReason::Absent), (Pending, TransitionReason::SourceDown));
    // What comes of: absent, source down, seen again, the rule waits no more.
    type AbsenceRow = (EventState, &'static [TransitionReason], bool, [Option<Step>; 4]);
    let lagging = TransitionReason::SourceLagging;
    let absences: [AbsenceRow; 6] = [
        (Pending, &[FirstHit], false, [Some(absent), Some(down), Some((Pending, SeenAgain)), Some((Pending, RuleRemoved))]),
        (
            Pending,
            &[TransitionReason::SourceLagging, RuleRemoved],
            true,
            [Some(absent), Some(down), Some((Resolved, SeenAgain)), Some((Pending, RuleRemoved))],
        ),
        (Pending, &[TransitionReason::SourceDown], false, [Some(absent), None, Some((Pending, SeenAgain)), Some((Pending, RuleRemoved))]),
        (Pending, &[SeenAgain], false, [Some(absent), Some(down), None, Some((Pending, RuleRemoved))]),
        (Firing, &[TransitionReason::Absent], true, [None, None, Some((Resolved, SeenAgain)), Some((Resolved, RuleRemoved))]),
        (Resolved, &[SeenAgain, RuleRemoved], true, [Some(absent), Some(down), None, None]),
    ];
    let inputs = [Input::Absent, Input::Held(SourceDown), Input::SeenAgain, Input::Retired];
    for (state, reasons, has_fired, expected) in absences {
        for reason in reasons {
            for (input, expected) in inputs.into_iter().zip(expected) {
                // Of a rule that is gone there is nothing more to tell.
                let expected = expected.filter(|step| *step != (state, *reason));
                assert_eq!(next((state, *reason), has_fired, input), expected, "{state:?} {reason:?} {has_fired} {input:?}");
            }
        }
    }
    let over = Some((Resolved, TransitionReason::AlertResolved));
    for (state, has_fired, expected) in
        [(Pending, false, None), (Pending, true, over), (Firing, true, over), (Quiet, true, over), (Resolved, true, None)]
    {
        assert_eq!(next((state, Reappeared), has_fired, Input::Over), expected, "{state:?} {has_fired}");
    }
    assert_eq!(next(down, false, Input::Held(SourceLagging)), Some((Pending, lagging)), "another reason is told");
    assert_eq!([true, false].map(born), [(Firing, ThresholdReached), (Pending, FirstHit)]);
    for from in EventState::ALL {
        for to in EventState::ALL {
            let expected = to == Firing && [Pending, Resolved].contains(&from);
            assert_eq!(breaks_out(from, to), expected, "{from:?} to {to:?}");
        }
    }
}

#[test]
fn an_open_state_ends_after_its_time_and_not_before_the_window_of_its_rule() {
    let lifecycle = Lifecycle(LifecycleConfig::default());
    let minutes = |minutes: i64| HealthyTime(minutes * MINUTE * 1_000_000_000);
    let (now, short, long) = (minutes(100), Duration::from_secs(60), Duration::from_secs(3_600));
    assert_eq!(lifecycle.due(Firing, short, now), minutes(105));
    assert_eq!(lifecycle.due(Quiet, short, now), minutes(130));
    assert_eq!(lifecycle.due(Firing, long, now), minutes(160));
    assert_eq!(lifecycle.due(Quiet, long, now), minutes(185), "as long quiet as any other");
    for state in [Pending, Resolved] {
        assert_eq!(lifecycle.due(state, short, now), HealthyTime::NEVER);
    }
    assert_eq!(lifecycle.due_after(Quiet, minutes(105)), minutes(130), "the same as from the hit");
    assert_eq!(lifecycle.due_after(Resolved, minutes(130)), HealthyTime::NEVER);
}

/// What is told of outbreaks at these seconds, and how often the event is then said to have come back.
fn told(outbreaks: &[i64]) -> Vec<(Notice, u64, bool)> {
    let lifecycle = Lifecycle(LifecycleConfig::default());
    let mut life = Life::default();
    let mut outbreak = |seconds: &i64| {
        lifecycle.break_out(&mut life, at(*seconds), false);
        (life.notice.expect("a notice"), life.flap_count(), life.flapping)
    };
    outbreaks.iter().map(&mut outbreak).collect()
}

#[test]
fn the_noise_rules_of_the_contracts_hold() {
    use Notice::{Send, SendResurfaced, SuppressChronic};
    // Three in six hours, the last less than two hours ago: chronic. Away for two hours and more: resurfaced.
    assert_eq!(told(&[0]), [(Send, 0, false)]);
    assert_eq!(
        told(&[0, HOUR, 2 * HOUR, 3 * HOUR, 4 * HOUR]),
        [(Send, 0, false), (Send, 1, false), (Send, 2, true), (SuppressChronic, 3, true), (SuppressChronic, 4, true)]
    );
    assert_eq!(told(&[0, 2 * HOUR]), [(Send, 0, false), (SendResurfaced, 1, false)]);
    assert_eq!(told(&[0, 2 * HOUR - 1]), [(Send, 0, false), (Send, 1, false)]);
    let chronic = [0, HOUR, 2 * HOUR];
    let fourth = |seconds| told(&[&chronic[..], &[seconds]].concat()).pop().expect("a fourth");
    assert_eq!(fourth(4 * HOUR - 1), (SuppressChronic, 3, true));
    assert_eq!(fourth(4 * HOUR), (SendResurfaced, 3, true), "chronic and away for two hours: it is told again");
    assert_eq!(fourth(20 * HOUR), (SendResurfaced, 3, false));
    // Three are within six hours of the fourth, or are not.
    assert_eq!(told(&[0, 100 * MINUTE, 200 * MINUTE, 300 * MINUTE]).pop(), Some((SuppressChronic, 3, true)));
    assert_eq!(told(&[0, 119 * MINUTE, 238 * MINUTE, 357 * MINUTE]).pop(), Some((SuppressChronic, 3, true)));
    let slow = [0, 119 * MINUTE, 357 * MINUTE + 5 * MINUTE, 362 * MINUTE];
    assert_eq!(told(&slow).pop(), Some((Send, 3, true)), "the first of three is over six hours ago");
}

#[test]
fn a_rollout_comes_before_every_other_rule_and_its_outbreak_counts() {
    let lifecycle = Lifecycle(LifecycleConfig::default());
    let mut life = Life::default();
    for n in 0..3 {
        lifecycle.break_out(&mut life, at(n), true);
        assert_eq!(life.notice, Some(Notice::SuppressRollout));
    }
    lifecycle.break_out(&mut life, at(3), false);
    assert_eq!((life.notice, life.outbreaks), (Some(Notice::SuppressChronic), 4));
    assert_eq!(life.last_outbreaks, [3, 2, 1].map(|seconds| Some(at(seconds))));
}

#[test]
fn outbreaks_in_the_future_suppress_nothing() {
    // The clock was three days ahead, and was set right.
    let ahead = [72 * HOUR, 73 * HOUR, 74 * HOUR];
    assert_eq!(told(&[&ahead[..], &[75 * HOUR]].concat()).pop().map(|told| told.0), Some(Notice::SuppressChronic));
    let right = told(&[&ahead[..], &[HOUR, 2 * HOUR, 3 * HOUR]].concat());
    assert_eq!(right[3..].iter().map(|told| told.0).collect::<Vec<_>>(), [Notice::Send; 3]);
    // One of them is enough.
    assert_eq!(told(&[HOUR, 72 * HOUR, 2 * HOUR, 3 * HOUR]).pop().map(|told| told.0), Some(Notice::Send));
}

#[test]
fn an_event_of_which_nobody_knows_when_it_last_fired_is_told() {
    let mut life = Life { outbreaks: 1, ..Life::default() };
    Lifecycle(LifecycleConfig::default()).break_out(&mut life, at(0), false);
    assert_eq!((life.notice, life.flap_count()), (Some(Notice::SendResurfaced), 1));
}
