//! Which lines of a file have to be framed together with a candidate line, because they may be one stack trace with it.

use std::ops::Range;

use crate::collect::files::{Chunk, Layout, StdStream, parse_cri};
use crate::group::{Look, MAX_LOOSE, TraceConfig, look_at, parts_of};

/// Lines of the other output of a container that are stepped over.
const MAX_ASIDE: usize = 512;

/// Lines that are framed in one direction at most: as many as a trace may have by default. What is behind them is looked at by its own hits.
const MAX_LINES: usize = 10_000;

/// Bytes at the end of a chunk in which the first line of a trace is looked for that goes on with the next one. Of a longer trace the part in
/// this chunk is one by itself.
const MOST_KEPT_BACK: usize = 32 << 10;

/// Lines at the end of a chunk that tell whether a container writes to both of its outputs at the time.
const NEAR: usize = 64;

/// The text of a framed line, and which output of a container it is of.
pub(super) fn framed(layout: Layout, line: &[u8]) -> (&[u8], StdStream) {
    match layout {
        Layout::Cri => parse_cri(line).map_or((line, StdStream::Out), |parsed| (parsed.text, parsed.stream)),
        Layout::Plain => (line, StdStream::Out),
    }
}

/// The lines from the first to the last that may be one trace with a line, as a range without the last `\n`: most often the line alone. Nothing
/// before `after` is looked at.
pub(super) fn around_trace(chunk: Chunk<'_>, layout: Layout, line: Range<usize>, after: usize) -> Range<usize> {
    let (text, side) = framed(layout, &chunk.0[line.clone()]);
    let before =
        |line: &Range<usize>| line.start.checked_sub(1).filter(|end| *end >= after && line.start > after).map(|end| chunk.around(end));
    let behind = |line: &Range<usize>| (line.end + 1 < chunk.0.len()).then(|| chunk.around(line.end + 1));
    let look_of = |line: &Range<usize>| {
        let (text, of) = framed(layout, &chunk.0[line.clone()]);
        (of == side).then(|| look_at(text))
    };
    let is_telling = |found: Option<Range<usize>>| found.and_then(|line| look_of(&line)).is_some_and(|(look, _)| look == Look::Telling);
    if look_at(text).0 == Look::Other && !is_telling(next(&line, &before, &look_of)) && !is_telling(next(&line, &behind, &look_of)) {
        return line;
    }
    let start = farthest(&line, &before, &look_of);
    let end = farthest(&line, &behind, &look_of).end;
    // What is framed now is not looked at again: lines of the other output in between may be the end of a trace that began before.
    let other = std::iter::successors(Some(start.clone()), behind).take_while(|line| line.start < end).find(|line| look_of(line).is_none());
    let look_of_other = |line: &Range<usize>| {
        let (text, of) = framed(layout, &chunk.0[line.clone()]);
        (of != side).then(|| look_at(text))
    };
    let start = other.map_or(start.start, |other| start.start.min(farthest(&other, &before, &look_of_other).start));
    start..end
}

/// How many bytes at the end of a chunk should be looked at together with the chunk that follows: a trace may begin there that goes on, or what
/// its logger wrote before it. No other trace is parted.
pub(super) fn unfinished(chunk: Chunk<'_>, layout: Layout, config: &TraceConfig) -> usize {
    let whole = chunk.0.len();
    let floor = whole.checked_sub(MOST_KEPT_BACK).map_or(0, |at| chunk.around(at).end + 1).min(whole);
    let before = |line: &Range<usize>| line.start.checked_sub(1).filter(|end| *end >= floor).map(|end| chunk.around(end));
    let last = chunk.around(whole.saturating_sub(1));
    let near = || std::iter::successors(Some(last.clone()), before).take(NEAR);
    let of = |line: &Range<usize>| framed(layout, &chunk.0[line.clone()]);
    let is_mixed = near().any(|line| of(&line).1 != of(&last).1);
    // Lines of both outputs have to be parted at the same place, so all traces of both must be known.
    let from = match is_mixed {
        true => floor,
        false => farthest(&last, &before, &|line: &Range<usize>| Some(look_at(of(line).0))).start.max(floor),
    };
    let behind = |line: &Range<usize>| (line.end + 1 < whole).then(|| chunk.around(line.end + 1));
    let mut cut = whole;
    let mut over = Vec::new();
    for side in [StdStream::Out, StdStream::Err] {
        let lines: Vec<Range<usize>> =
            std::iter::successors((from < whole).then(|| chunk.around(from)), behind).filter(|line| of(line).1 == side).collect();
        let texts: Vec<&[u8]> = lines.iter().map(|line| of(line).0).collect();
        let parts = parts_of(&texts, config);
        over.extend(parts.over.iter().map(|(first, last)| lines[*first].start..lines[*last].end));
        // What may have begun before the floor is left as it is.
        let open = parts.open.map(|first| lines[first].start).filter(|open| *open > floor || floor == 0);
        cut = cut.min(open.unwrap_or(whole));
    }
    while let Some(trace) = over.iter().find(|trace| trace.start < cut && cut < trace.end) {
        cut = trace.start;
    }
    whole - cut
}

/// The next line of the same output.
fn next(
    from: &Range<usize>,
    step: &impl Fn(&Range<usize>) -> Option<Range<usize>>,
    look_of: &impl Fn(&Range<usize>) -> Option<(Look, bool)>,
) -> Option<Range<usize>> {
    std::iter::successors(step(from), step).take(MAX_ASIDE).find(|line| look_of(line).is_some())
}

/// The farthest line in one direction that may be one trace with `from`.
fn farthest(
    from: &Range<usize>,
    step: &impl Fn(&Range<usize>) -> Option<Range<usize>>,
    look_of: &impl Fn(&Range<usize>) -> Option<(Look, bool)>,
) -> Range<usize> {
    let (mut last, mut loose, mut aside) = (from.clone(), 0, 0);
    for line in std::iter::successors(step(from), step).take(MAX_LINES) {
        match look_of(&line) {
            None if aside == MAX_ASIDE => break,
            None => aside += 1,
            Some((Look::Other, has_header)) => {
                loose += 1;
                // The line before a trace may be its logger's.
                last = line;
                if has_header || loose > MAX_LOOSE {
                    break;
                }
            }
            Some(_) => {
                (loose, aside) = (0, 0);
                last = line;
            }
        }
    }
    last
}
