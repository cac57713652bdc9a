//! What was read of a Loki, and what to ask it next: values only, no clock and no I/O.
//!
//! Lines come late to a Loki: behind slow senders, or over a second one of its parts. So each moment is read several times, in *passes*: when it is
//! new, and again when it is as old as each of `reread_after`. A pass has read everything before `read_to[pass]`, at a time when that was as old as the
//! pass wants it. Lines that a pass meets again are told by [`Seen`], which holds all that was taken since `read_to` of the last pass: what is
//! older is final and never asked for again.
//!
//! ```text
//!            final          | read twice        | read once  | to be read
//! ──────────────────────────┴───────────────────┴────────────┴─────────────► time
//!                       read_to[2]          read_to[1]   read_to[0]   now
//! ```
//!
//! What was taken and how far passes are is committed with the effects of the lines (see `Step::cursors`), so that a restart goes on where the
//! last commit was: nothing is taken twice, and nothing is left out.
//!
//! INVARIANT: `read_to` of a pass never goes beyond a moment that was not asked for at the age that the pass wants, except over what
//! [`Plan::take_skipped`] and [`Step::is_truncated`] tell.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Cursor, CursorTooLarge, SourceName, Timestamp};

use super::seen::{self, LineKey, Seen, Sieve};

/// What a plan goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlanConfig {
    /// Name of the source: the key of its cursors.
    pub(super) name: String,
    /// How old a moment is when it is read again, ascending.
    pub(super) reread_after: Vec<Duration>,
    /// Longest time between two questions for what is new.
    pub(super) poll_interval: Duration,
    /// Shortest time between two of them, where something is known to be new.
    pub(super) hint_interval: Duration,
    /// Longest time that one question is about.
    pub(super) max_window: Duration,
    /// Lines of one answer.
    pub(super) limit: u32,
    /// Lines that are remembered.
    pub(super) max_seen: usize,
    /// What is older was lost when the source comes back.
    pub(super) max_backfill: Duration,
}

/// What was read, and what was taken of it.
#[derive(Debug)]
pub(super) struct Plan {
    config: PlanConfig,
    /// For each pass, the first of which reads what is new: all before this was read.
    read_to: Vec<Timestamp>,
    seen: Seen,
    /// Pieces of `seen` in the store, the oldest first, each with the time of its newest line.
    stored: VecDeque<(u64, Timestamp)>,
    next_piece: u64,
    /// Pieces that are to be removed from the store.
    obsolete: Vec<u64>,
    /// Passes whose last answer was full: there is more.
    unfinished: Vec<bool>,
    /// The pass whose turn it is.
    turn: usize,
    /// Most lines that the server gives, as far as that is known.
    most: u32,
    /// Lines that are asked for now.
    limit: u32,
    /// An answer with so many lines was too large where the plan is now.
    too_many: u32,
    skipped: Duration,
    shortened: u64,
}

/// A question: the lines from `from` to before `to`, the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    /// Most lines of the answer.
    pub(super) limit: u32,
    /// Which pass it is for; 0 reads what is new.
    pub(super) pass: usize,
    /// When it is asked.
    pub(super) at: Timestamp,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask this.
    Ask(Ask),
    /// Nothing for so long.
    Wait(Duration),
}

/// What an answer was found to be.
#[derive(Debug)]
pub(super) struct Answered {
    /// All lines as sent.
    pub(super) lines: u64,
    /// Those that are new, the oldest first.
    pub(super) new: Vec<LineKey>,
    /// Time of the newest line within what was asked for.
    pub(super) newest: Option<Timestamp>,
}

/// What changes with an answer, once its new lines are on their way to the disk.
#[derive(Debug)]
pub(super) struct Step {
    read_to: Vec<Timestamp>,
    new: Vec<LineKey>,
    pieces: Vec<(u64, Timestamp, Vec<u8>)>,
    next_piece: u64,
    pass: usize,
    is_unfinished: bool,
    limit: u32,
    /// It went on from where it was.
    is_further: bool,
    /// More lines than one answer holds are of one nanosecond: what is more of them was not read.
    pub(super) is_truncated: bool,
}

/// An answer that cannot be one: it is full of lines that were not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer is full of lines from another time than was asked for")]
pub(super) struct Beside;

/// The form of the cursor.
const FORM: u8 = 1;

/// A clock that is set back by less is waited for.
const SET_BACK: Duration = Duration::from_secs(1);

/// A nanosecond.
const NEXT: Duration = Duration::from_nanos(1);

impl Plan {
    /// A source that begins to read at a time.
    pub(super) fn new(config: PlanConfig, from: Timestamp) -> Self {
        let (limit, passes) = (config.limit.max(1), 1 + config.reread_after.len());
        Self {
            config,
            read_to: vec![from; passes],
            seen: Seen::default(),
            stored: VecDeque::new(),
            next_piece: 0,
            obsolete: Vec::new(),
            unfinished: vec![false; passes],
            turn: 0,
            most: limit,
            limit,
            too_many: u32::MAX,
            skipped: Duration::ZERO,
            shortened: 0,
        }
    }

    /// Goes on where the cursors of the source say. Gives the number of pieces that cannot be read: what was taken with these may be taken again.
    /// `None` when there is no cursor, or none that can be read.
    pub(super) fn restore(config: PlanConfig, cursors: &[Cursor]) -> Option<(Self, usize)> {
        let value = |key: &str| cursors.iter().find(|cursor| &**cursor.key() == key).and_then(Cursor::value);
        let (read_to, next_piece) = read_head(value(&config.name)?)?;
        let (first, last) = (*read_to.first()?, *read_to.last()?);
        let mut plan = Self::new(config, last);
        // Passes of other ages than before begin where nothing is final.
        let is_as_before = read_to.len() == plan.read_to.len();
        if is_as_before {
            plan.read_to = read_to
        } else {
            plan.read_to[0] = first
        }
        plan.next_piece = next_piece;
        let prefix = format!("{}/", plan.config.name);
        let mut broken = 0;
        let mut pieces: Vec<(u64, &[u8])> = Vec::new();
        for cursor in cursors {
            let Some(number) = cursor.key().strip_prefix(&*prefix).and_then(|number| u64::from_str_radix(number, 16).ok()) else {
                continue;
            };
            pieces.extend(cursor.value().map(|value| (number, value)));
        }
        pieces.sort_unstable_by_key(|(number, _)| *number);
        for (number, piece) in pieces {
            plan.next_piece = plan.next_piece.max(number.saturating_add(1));
            match seen::read_piece(piece) {
                Ok(lines) => {
                    plan.seen.add(&lines);
                    plan.stored.push_back((number, lines.last().map_or(last, |(time, _)| *time)));
                }
                Err(_) => {
                    broken += 1;
                    plan.obsolete.push(number);
                }
            }
        }
        plan.forget();
        Some((plan, broken))
    }

    /// What to do at a time. With a hint something is known to be new.
    pub(super) fn next(&mut self, now: Timestamp, is_hinted: bool) -> Next {
        self.follow_clock(now);
        // Far behind, what is old enough for a late pass is read by that one: it is read once, then, and not again by each pass.
        let behind = |pass: &usize| self.end(*pass, now).since(self.read_to[0]) > self.config.max_window;
        if let Some(pass) = (1..self.read_to.len()).rev().find(behind) {
            return self.ask(pass, now);
        }
        let passes = self.read_to.len();
        let turns = (0..passes).map(|after| (self.turn + after) % passes);
        let mut pause = self.config.poll_interval;
        for pass in turns {
            let (span, step) = (self.span(pass, now), self.step_of(pass, is_hinted));
            if span >= step || span > Duration::ZERO && self.unfinished[pass] {
                self.turn = pass + 1;
                return self.ask(pass, now);
            }
            pause = pause.min(step - span);
        }
        Next::Wait(pause)
    }

    /// Tells new lines of an answer from known ones.
    pub(super) fn sieve(&self) -> Sieve<'_> {
        self.seen.sieve()
    }

    /// What follows from an answer.
    ///
    /// # Errors
    /// When it is full, and of nothing that was asked for.
    pub(super) fn step(&self, ask: &Ask, answered: Answered) -> Result<Step, Beside> {
        let is_full = answered.lines >= u64::from(ask.limit);
        let (mut to, mut is_truncated) = (ask.to, false);
        let more = ask.limit.saturating_mul(2).min(self.most);
        if is_full {
            to = answered.newest.ok_or(Beside)?;
            // All of them are of one time: more are asked for, as far as that is possible.
            if to == ask.from && (more <= ask.limit || more >= self.too_many) {
                (to, is_truncated) = (to.plus(NEXT), true);
            }
        }
        let mut next_piece = self.next_piece;
        let mut pieces = Vec::new();
        for (newest, piece) in seen::pieces(&answered.new) {
            pieces.push((next_piece, newest, piece));
            next_piece += 1;
        }
        let read_to = self.read_to.iter().enumerate().map(|(pass, read_to)| match *read_to >= ask.from {
            true => to.min(ask.at.minus(self.age(pass))).max(*read_to),
            false => *read_to,
        });
        let read_to = read_to.collect();
        Ok(Step {
            read_to,
            new: answered.new,
            pieces,
            next_piece,
            pass: ask.pass,
            is_unfinished: is_full,
            limit: more,
            is_further: to > ask.from,
            is_truncated,
        })
    }

    /// What the store has to hold of this step: how far passes are, the new lines, and what of those before is final.
    ///
    /// # Errors
    /// Never: names of sources and pieces are bounded.
    pub(super) fn cursors(&self, step: &Step) -> Result<Vec<Cursor>, CursorTooLarge> {
        let name = &self.config.name;
        let mut cursors = vec![Cursor::try_new(SourceName::LokiTail, &**name, head(&step.read_to, step.next_piece))?];
        for (number, _, piece) in &step.pieces {
            cursors.push(Cursor::try_new(SourceName::LokiTail, piece_key_of(name, *number), &**piece)?);
        }
        cursors.extend(self.obsolete.iter().map(|number| Cursor::gone(SourceName::LokiTail, piece_key_of(name, *number))));
        Ok(cursors)
    }

    /// The step is on its way to the disk.
    pub(super) fn take(&mut self, step: Step) {
        self.obsolete.clear();
        self.read_to = step.read_to;
        self.next_piece = step.next_piece;
        self.unfinished[step.pass] = step.is_unfinished;
        self.limit = step.limit;
        if step.is_further {
            self.too_many = u32::MAX;
        }
        self.seen.add(&step.new);
        self.stored.extend(step.pieces.iter().map(|(number, newest, _)| (*number, *newest)));
        self.forget();
        while self.seen.len() > self.config.max_seen && self.seen.oldest().is_some_and(|oldest| oldest < self.read_to[0]) {
            let Some(oldest) = self.seen.forget_oldest() else { break };
            let after = oldest.plus(NEXT);
            self.read_to.iter_mut().for_each(|read_to| *read_to = after.max(*read_to));
            self.shortened += 1;
        }
        self.forget();
    }

    /// The answer was too large: ask for fewer lines. False when one line is asked for already.
    pub(super) fn ask_less(&mut self) -> bool {
        let is_more = self.limit > 1;
        self.too_many = self.too_many.min(self.limit);
        self.limit = (self.limit / 2).max(1);
        is_more
    }

    /// The server gives less than was asked for in one answer. False when one line was asked for already.
    pub(super) fn server_gives_less(&mut self, than: u32) -> bool {
        self.most = (than / 2).max(1);
        self.limit = self.limit.min(self.most);
        than > 1
    }

    /// How much time that is older than the time between two questions was not read yet.
    pub(super) fn lag(&self, now: Timestamp) -> Duration {
        now.since(self.read_to[0]).saturating_sub(self.config.poll_interval)
    }

    /// How far what is new was read.
    pub(super) fn read_to(&self) -> Timestamp {
        self.read_to[0]
    }

    /// Lines that are remembered.
    pub(super) fn remembered(&self) -> usize {
        self.seen.len()
    }

    /// How much time was given up since the last call, because it is longer ago than is read.
    pub(super) fn take_skipped(&mut self) -> Duration {
        std::mem::take(&mut self.skipped)
    }

    /// Moments since the last call whose lines were forgotten because there were too many: lines that come late to these are not found.
    pub(super) fn take_shortened(&mut self) -> u64 {
        std::mem::take(&mut self.shortened)
    }

    fn ask(&self, pass: usize, now: Timestamp) -> Next {
        let from = self.read_to[pass];
        let to = self.end(pass, now).min(from.plus(self.config.max_window));
        Next::Ask(Ask { from, to, limit: self.limit, pass, at: now })
    }

    /// Up to where a pass may read at a time.
    fn end(&self, pass: usize, now: Timestamp) -> Timestamp {
        now.minus(self.age(pass))
    }

    /// What a pass has to read at a time.
    fn span(&self, pass: usize, now: Timestamp) -> Duration {
        self.end(pass, now).since(self.read_to[pass])
    }

    fn age(&self, pass: usize) -> Duration {
        pass.checked_sub(1).and_then(|at| self.config.reread_after.get(at)).copied().unwrap_or_default()
    }

    /// How much a pass waits for before it reads: late passes read seldom and much.
    fn step_of(&self, pass: usize, is_hinted: bool) -> Duration {
        match pass {
            0 if is_hinted => self.config.hint_interval,
            0 => self.config.poll_interval,
            _ => (self.age(pass) / 5).max(self.config.poll_interval).min(self.config.max_window),
        }
    }

    /// What was read is never asked for again when the clock is set back, and what is too long ago is given up.
    fn follow_clock(&mut self, now: Timestamp) {
        if self.read_to[0].since(now) > SET_BACK {
            self.read_to.iter_mut().for_each(|read_to| *read_to = now.min(*read_to));
        }
        let earliest = now.minus(self.config.max_backfill);
        if self.read_to[0] < earliest {
            self.skipped += earliest.since(self.read_to[0]);
            self.read_to.iter_mut().for_each(|read_to| *read_to = earliest.max(*read_to));
            self.forget();
        }
    }

    /// Forgets what is final.
    fn forget(&mut self) {
        let Some(last) = self.read_to.iter().min().copied() else { return };
        self.seen.forget_before(last);
        // Pieces are in the order in which they were taken, and nearly in that of their lines.
        while let Some((number, _)) = self.stored.pop_front_if(|(_, newest)| *newest < last) {
            self.obsolete.push(number);
        }
    }
}

/// The key of a piece. A name has no slash.
fn piece_key_of(name: &str, number: u64) -> Arc<str> {
    format!("{name}/{number:016x}").into()
}

/// The cursor of a source: the form, how far each pass is, and the number of the next piece.
fn head(read_to: &[Timestamp], next_piece: u64) -> Vec<u8> {
    let mut head = vec![FORM];
    head.extend_from_slice(&next_piece.to_be_bytes());
    read_to.iter().for_each(|time| head.extend_from_slice(&time.nanos().to_be_bytes()));
    head
}

fn read_head(head: &[u8]) -> Option<(Vec<Timestamp>, u64)> {
    let (form, rest) = head.split_first()?;
    let (next_piece, rest) = rest.split_first_chunk()?;
    let (times, left) = rest.as_chunks();
    let is_whole = *form == FORM && left.is_empty() && !times.is_empty();
    is_whole.then(|| (times.iter().map(|time| Timestamp(i64::from_be_bytes(*time))).collect(), u64::from_be_bytes(*next_piece)))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
