use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: i64) -> Timestamp {
    Timestamp((1_700_000_000 + seconds) * 1_000_000_000)
}

fn config() -> PlanConfig {
    PlanConfig {
        name: "main".to_owned(),
        reread_after: vec![10 * SECOND, 300 * SECOND],
        poll_interval: 10 * SECOND,
        hint_interval: SECOND,
        max_window: 300 * SECOND,
        limit: 100,
        max_seen: 100_000,
        max_backfill: 86_400 * SECOND,
    }
}

/// A Loki as a plan sees it: lines with the time from which on it has them.
#[derive(Default)]
struct Loki {
    lines: Vec<(LineKey, Timestamp)>,
}

/// A reader with its store.
struct Reader {
    plan: Plan,
    stored: BTreeMap<Arc<str>, Cursor>,
    taken: Vec<LineKey>,
    asked: u64,
}

impl Loki {
    fn push(&mut self, line: LineKey, now: Timestamp) {
        let place = self.lines.partition_point(|(known, _)| *known <= line);
        self.lines.insert(place, (line, now));
    }

    fn answer(&self, ask: &Ask) -> Vec<LineKey> {
        let [from, to] = [ask.from, ask.to].map(|time| self.lines.partition_point(|(line, _)| line.0 < time));
        let there = self.lines[from..to].iter().filter(|(_, since)| *since <= ask.at);
        there.map(|(line, _)| *line).take(ask.limit as usize).collect()
    }
}

impl Reader {
    fn new(config: PlanConfig, from: Timestamp) -> Self {
        Self { plan: Plan::new(config, from), stored: BTreeMap::new(), taken: Vec::new(), asked: 0 }
    }

    /// Reads all that is due, and gives what was asked.
    fn run(&mut self, loki: &Loki, now: Timestamp, is_hinted: bool) -> Vec<Ask> {
        let mut asked = Vec::new();
        while let Next::Ask(ask) = self.plan.next(now, is_hinted && asked.is_empty()) {
            self.answer(&ask, &loki.answer(&ask));
            asked.push(ask);
            assert!(asked.len() < 100_000, "it never ends");
        }
        self.asked += asked.len() as u64;
        asked
    }

    fn answer(&mut self, ask: &Ask, answer: &[LineKey]) -> bool {
        let mut sieve = self.plan.sieve();
        for line in answer {
            sieve.is_new(*line);
        }
        let new = sieve.into_new();
        let answered = Answered { lines: answer.len() as u64, new: new.clone(), newest: answer.iter().map(|line| line.0).max() };
        let step = self.plan.step(ask, answered).expect("within what was asked for");
        for cursor in self.plan.cursors(&step).expect("small") {
            match cursor.value() {
                Some(_) => drop(self.stored.insert(Arc::clone(cursor.key()), cursor)),
                None => drop(self.stored.remove(cursor.key())),
            }
        }
        let is_truncated = step.is_truncated;
        self.plan.take(step);
        self.taken.extend(new);
        is_truncated
    }

    /// The process was killed: what is known is what is in the store.
    fn restart(&mut self) {
        let stored: Vec<Cursor> = self.stored.values().cloned().collect();
        let (plan, broken) = Plan::restore(self.plan.config.clone(), &stored).expect("a cursor");
        assert_eq!(broken, 0);
        self.plan = plan;
    }

    fn taken(&self) -> Vec<LineKey> {
        let mut taken = self.taken.clone();
        taken.sort_unstable();
        taken
    }
}

#[test]
fn every_moment_is_read_when_it_is_new_and_again_when_it_is_old() {
    let (loki, mut reader) = (Loki::default(), Reader::new(config(), at(0)));
    let mut asked = Vec::new();
    for second in 0..1_000 {
        asked.extend(reader.run(&loki, at(second), false));
    }
    for (pass, (age, interval)) in [(0, 10), (10, 10), (300, 60)].into_iter().enumerate() {
        let of_pass: Vec<&Ask> = asked.iter().filter(|ask| ask.pass == pass).collect();
        assert!(of_pass.windows(2).all(|pair| pair[0].to == pair[1].from), "no gap and nothing twice");
        assert!(of_pass.iter().all(|ask| ask.to == ask.at.minus(age * SECOND)), "pass {pass} is of its age");
        assert_eq!(of_pass.len(), (1_000 - 1 - age as usize) / interval, "pass {pass}");
    }
    assert_eq!(reader.plan.next(at(991), false), Next::Wait(9 * SECOND));
}

#[test]
fn a_hint_is_followed_at_once_and_no_more_often_than_is_allowed() {
    let (loki, mut reader) = (Loki::default(), Reader::new(config(), at(0)));
    reader.run(&loki, at(10), false);
    assert!(reader.run(&loki, Timestamp(at(10).0 + 999_999_999), true).is_empty());
    let asked = reader.run(&loki, at(11), true);
    assert_eq!((asked.len(), asked[0].pass, asked[0].from, asked[0].to), (1, 0, at(10), at(11)));
    assert!(reader.run(&loki, at(12), false).is_empty(), "without a hint nothing is due");
}

#[test]
fn more_lines_than_an_answer_holds_are_read_in_pages_each_once() {
    let (mut loki, mut reader) = (Loki::default(), Reader::new(config(), at(0)));
    // Ten lines of each time, so that pages end within a time.
    (0..5_003).for_each(|n| loki.push((Timestamp(at(1).0 + n / 10), n as u64), at(2)));
    let asked = reader.run(&loki, at(10), false);
    assert_eq!(reader.taken(), loki.lines.iter().map(|(line, _)| *line).collect::<Vec<_>>());
    assert!((50..60).contains(&asked.len()), "{}", asked.len());
}

#[test]
fn lines_that_come_late_are_found_up_to_the_last_age_and_counted_once() {
    let (mut loki, mut reader) = (Loki::default(), Reader::new(config(), at(0)));
    for second in 0..2_000 {
        loki.push((at(second), 1), at(second));
        loki.push((at(second - 20), 2), at(second));
        loki.push((at(second - 299), 3), at(second));
        reader.run(&loki, at(second), second % 3 == 0);
    }
    reader.run(&loki, at(3_000), false);
    let expected: Vec<LineKey> = loki.lines.iter().map(|(line, _)| *line).filter(|line| line.0 >= at(0)).collect();
    assert_eq!(reader.taken(), expected);
}

#[test]
fn after_an_outage_the_gap_is_read_once_in_windows_and_the_lag_goes_to_zero() {
    let (mut loki, mut reader) = (Loki::default(), Reader::new(config(), at(0)));
    reader.run(&loki, at(100), false);
    (0..3_600).for_each(|second| loki.push((at(100 + second), 1), at(100 + second)));
    let now = at(3_700);
    assert_eq!(reader.plan.lag(now), 3_590 * SECOND);
    let mut lags = Vec::new();
    let mut asked = 0;
    while let Next::Ask(ask) = reader.plan.next(now, false) {
        assert!(ask.to.since(ask.from) <= 300 * SECOND);
        reader.answer(&ask, &loki.answer(&ask));
        lags.push(reader.plan.lag(now));
        asked += 1;
    }
    assert!(lags.is_sorted_by(|a, b| a >= b), "{lags:?}");
    assert_eq!(lags.last(), Some(&Duration::ZERO));
    assert_eq!(reader.taken.len(), 3_600);
    // An hour is 36 pages of 100 lines; what is read twice are the last minutes and the ends of pages.
    assert!((36..80).contains(&asked), "{asked}");
    assert!(reader.plan.remembered() < 1_000, "{}", reader.plan.remembered());
}

#[test]
fn what_is_longer_ago_than_is_read_is_given_up_and_told() {
    let (loki, mut reader) = (Loki::default(), Reader::new(config(), at(0)));
    reader.run(&loki, at(10), false);
    let asked = reader.run(&loki, at(86_400 + 110), false);
    assert_eq!((asked[0].from, reader.plan.take_skipped()), (at(110), 100 * SECOND));
    assert_eq!(reader.plan.take_skipped(), Duration::ZERO);
}

#[test]
fn more_lines_of_one_time_than_the_server_gives_are_passed_over_and_told() {
    let mut reader = Reader::new(config(), at(0));
    let mut loki = Loki::default();
    (0..150).for_each(|n| loki.push((at(1), n), at(1)));
    loki.push((at(2), 7), at(2));
    let mut truncated = 0;
    while let Next::Ask(ask) = reader.plan.next(at(10), false) {
        truncated += usize::from(reader.answer(&ask, &loki.answer(&ask)));
    }
    assert_eq!((truncated, reader.taken.len()), (1, 101), "a hundred of them, and what comes after");
}

#[test]
fn answers_that_are_too_large_are_asked_for_in_smaller_ones_and_then_in_larger_ones_again() {
    let mut reader = Reader::new(config(), at(0));
    let mut loki = Loki::default();
    (0..2_000).for_each(|n| loki.push((Timestamp(at(1).0 + n), 1), at(2)));
    let mut limits = Vec::new();
    while let Next::Ask(ask) = reader.plan.next(at(10), false) {
        limits.push(ask.limit);
        // In the beginning only ten lines fit.
        if reader.taken.len() < 50 && ask.limit > 10 {
            assert!(reader.plan.ask_less());
            continue;
        }
        reader.answer(&ask, &loki.answer(&ask));
    }
    assert_eq!(reader.taken.len(), 2_000);
    assert_eq!(limits[..5], [100, 50, 25, 12, 6]);
    assert_eq!(limits.last(), Some(&100));

    assert!(reader.plan.server_gives_less(100));
    (0..200).for_each(|n| loki.push((Timestamp(at(12).0 + n), 1), at(13)));
    assert!(reader.run(&loki, at(30), false).iter().all(|ask| ask.limit <= 50));
    assert_eq!(reader.taken.len(), 2_200);
}

#[test]
fn where_not_even_a_page_of_one_time_fits_it_goes_on_after_it() {
    let mut reader = Reader::new(config(), at(0));
    let mut loki = Loki::default();
    (0..40).for_each(|n| loki.push((at(1), n), at(1)));
    loki.push((at(2), 7), at(2));
    let mut asked = 0;
    while let Next::Ask(ask) = reader.plan.next(at(10), false) {
        asked += 1;
        assert!(asked < 100, "it never ends");
        match ask.limit > 10 && ask.from <= at(1) {
            true => assert!(reader.plan.ask_less()),
            false => drop(reader.answer(&ask, &loki.answer(&ask))),
        }
    }
    assert!(reader.taken.contains(&(at(2), 7)));
}

#[test]
fn what_is_remembered_is_bounded_and_nothing_new_is_lost_or_taken_twice_by_that() {
    let config = PlanConfig { max_seen: 500, ..config() };
    let (mut loki, mut reader) = (Loki::default(), Reader::new(config, at(0)));
    for second in 0..200 {
        (0..50).for_each(|n| loki.push((Timestamp(at(second).0 + n), n as u64), at(second)));
        reader.run(&loki, at(second), true);
        assert!(reader.plan.remembered() <= 500);
    }
    reader.run(&loki, at(1_000), false);
    assert_eq!(reader.taken.len(), 200 * 50);
    assert!(reader.plan.take_shortened() > 0);
}

#[test]
fn a_clock_that_is_set_back_does_not_stop_reading() {
    let (mut loki, mut reader) = (Loki::default(), Reader::new(config(), at(0)));
    reader.run(&loki, at(5_000), false);
    loki.push((at(1_001), 1), at(1_001));
    reader.run(&loki, at(1_000), false);
    let asked = reader.run(&loki, at(1_010), false);
    assert_eq!((asked[0].from, reader.taken.len()), (at(1_000), 1));
}

#[test]
fn a_cursor_that_cannot_be_read_is_none_and_other_ages_begin_where_nothing_is_final() {
    let (mut loki, mut reader) = (Loki::default(), Reader::new(config(), at(0)));
    loki.push((at(950), 1), at(950));
    (0..1_000).for_each(|second| drop(reader.run(&loki, at(second), false)));
    let stored: Vec<Cursor> = reader.stored.values().cloned().collect();
    assert!(Plan::restore(PlanConfig { name: "other".to_owned(), ..config() }, &stored).is_none());
    let broken = [Cursor::try_new(SourceName::LokiTail, "main", [1, 2, 3]).expect("small")];
    assert!(Plan::restore(config(), &broken).is_none());
    let broken = [stored[0].clone(), Cursor::try_new(SourceName::LokiTail, "main/0000000000000000", [1, 2, 3]).expect("small")];
    assert_eq!(Plan::restore(config(), &broken).expect("a head").1, 1);

    let (plan, _) = Plan::restore(PlanConfig { reread_after: vec![60 * SECOND], ..config() }, &stored).expect("a cursor");
    assert_eq!(plan.read_to, [reader.plan.read_to[0], reader.plan.read_to[2]]);
    assert_eq!(plan.remembered(), 1);
}

#[test]
fn a_full_answer_of_other_times_is_refused() {
    let reader = Reader::new(config(), at(0));
    let ask = Ask { from: at(0), to: at(10), limit: 2, pass: 0, at: at(10) };
    let answered = |lines| Answered { lines, new: Vec::new(), newest: None };
    assert_eq!(reader.plan.step(&ask, answered(2)).map(drop), Err(Beside));
    assert!(reader.plan.step(&ask, answered(1)).is_ok());
}

proptest! {
    /// Whatever comes late, whenever the Loki or the reader is away, and however small answers are: each line is taken once.
    #[test]
    fn every_line_is_taken_once(
        lines in prop::collection::vec((0i64..600, 0i64..250, 0u64..3), 0..300),
        kills in prop::collection::btree_set(0i64..1_500, 0..8),
        outages in prop::collection::vec((0i64..1_000, 0i64..600), 0..3),
        limit in 5u32..40,
        hints in 1i64..20,
    ) {
        let config = PlanConfig { limit, ..config() };
        let (mut loki, mut reader) = (Loki::default(), Reader::new(config, at(-300)));
        let mut lines: Vec<(Timestamp, LineKey)> =
            lines.iter().map(|(seconds, late, hash)| (at(seconds + late), (at(*seconds), *hash))).collect();
        lines.sort_unstable();
        // A Loki keeps one of equal lines.
        let mut known = std::collections::BTreeSet::new();
        lines.retain(|(_, line)| known.insert(*line));
        let mut next = lines.iter().peekable();
        reader.run(&loki, at(-1), false);
        for second in 0..1_500 {
            while let Some((now, line)) = next.next_if(|(now, _)| *now <= at(second)) {
                loki.push(*line, *now);
            }
            if kills.contains(&second) {
                reader.restart();
            }
            if !outages.iter().any(|(from, length)| (*from..from + length).contains(&second)) {
                reader.run(&loki, at(second), second % hints == 0);
            }
        }
        reader.run(&loki, at(2_500), false);
        let mut expected: Vec<LineKey> = known.into_iter().collect();
        expected.sort_unstable();
        // No more lines of one time than one answer holds.
        prop_assert_eq!(reader.taken(), expected);
    }
}
