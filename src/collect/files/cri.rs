//! The line format of the container runtime interface: `<RFC 3339 time> <stdout|stderr> <tags> <text>`.
//!
//! Tags are separated by `:`; the first one is `P` (more of this line follows) or `F` (the line ends here). The format comes from the
//! Kubernetes design document "kubelet CRI logging" and is what containerd and CRI-O write.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::model::Timestamp;

/// Which of its two outputs a container wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StdStream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// One line of a CRI file, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CriLine<'l> {
    /// Time as written.
    pub time: &'l [u8],
    /// Output that it was written to.
    pub stream: StdStream,
    /// More of the same line follows.
    pub partial: bool,
    /// What the container wrote.
    pub text: &'l [u8],
}

/// Joins the parts of one line; one for each file and output.
#[derive(Debug, Default)]
pub struct Joiner {
    text: Vec<u8>,
    /// The end of a line is awaited.
    open: bool,
    /// Time of the first part.
    time: Option<Timestamp>,
    cut: u64,
}

static PARTIAL_TAG: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b" P"));

/// Shortest time that can stand in front: `2006-01-02T15:04:05Z`.
const SHORTEST_TIME: usize = 20;

/// Takes a line apart; `None` when it is not of this format.
#[must_use]
pub fn parse_cri(line: &[u8]) -> Option<CriLine<'_>> {
    let time_len = memchr::memchr(b' ', line.get(..line.len().min(40))?)?;
    let (time, rest) = line.split_at_checked(time_len)?;
    let plausible = time.len() >= SHORTEST_TIME && time[4] == b'-' && time[7] == b'-' && time[10] == b'T' && time[0].is_ascii_digit();
    if !plausible {
        return None;
    }
    let (stream, rest) = match rest.split_at_checked(8)? {
        (b" stdout ", rest) => (StdStream::Out, rest),
        (b" stderr ", rest) => (StdStream::Err, rest),
        _ => return None,
    };
    // A line without text may end behind its tag.
    let tags_len = memchr::memchr(b' ', rest).unwrap_or(rest.len());
    let (tags, text) = rest.split_at_checked(tags_len)?;
    let partial = match tags.split(|b| *b == b':').next()? {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    Some(CriLine { time, stream, partial, text: text.get(1..).unwrap_or_default() })
}

impl CriLine<'_> {
    /// The time as a number; `None` when it cannot be read.
    #[must_use]
    pub fn at(&self) -> Option<Timestamp> {
        std::str::from_utf8(self.time).ok().and_then(|text| Timestamp::parse(text).ok())
    }
}

/// True when a chunk of a CRI file holds a part of a line (tag `P`).
#[must_use]
pub fn has_partial(chunk: &[u8]) -> bool {
    PARTIAL_TAG.find_iter(chunk).any(|at| {
        let before = chunk.get(at.saturating_sub(7)..at).unwrap_or_default();
        matches!(chunk.get(at + 2), Some(b' ' | b':' | b'\n')) && (before == b" stdout" || before == b" stderr")
    })
}

impl Joiner {
    /// Takes the next part of a stream; gives the whole line when it has ended, with the time of its first part where that can be read.
    ///
    /// A line over `limit` bytes is cut there and counted.
    pub fn take<'j>(&'j mut self, line: &CriLine<'j>, limit: usize) -> Option<(Option<Timestamp>, &'j [u8])> {
        if !self.open && !line.partial {
            self.cut += u64::from(line.text.len() > limit);
            return Some((line.at(), &line.text[..line.text.len().min(limit)]));
        }
        if !self.open {
            self.text.clear();
            self.time = line.at();
            self.open = true;
        }
        // One byte over the limit is kept, to know that the line was cut.
        let room = (limit + 1).saturating_sub(self.text.len());
        self.text.extend_from_slice(&line.text[..line.text.len().min(room)]);
        if line.partial {
            return None;
        }
        self.open = false;
        self.cut += u64::from(self.text.len() > limit);
        self.text.truncate(limit);
        Some((self.time, &self.text))
    }

    /// True while the end of a line is awaited.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Lines that were cut so far.
    #[must_use]
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// What is there of a line whose end never came, at the end of a file.
    pub fn rest(&mut self) -> Option<(Option<Timestamp>, &[u8])> {
        std::mem::take(&mut self.open).then_some((self.time, self.text.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2023-10-06T00:17:09.669794202Z";

    fn line(rest: &str) -> String {
        format!("{TIME} {rest}")
    }

    #[test]
    fn lines_are_taken_apart() {
        let text = line("stderr F panic: boom");
        let parsed = parse_cri(text.as_bytes()).expect("a CRI line");
        assert_eq!((parsed.stream, parsed.partial, parsed.text), (StdStream::Err, false, b"panic: boom".as_slice()));
        assert_eq!(parsed.at().map(|at| at.to_string()).as_deref(), Some(TIME));
        assert_eq!(parse_cri(line("stdout P:x a  b ").as_bytes()).map(|l| (l.partial, l.text)), Some((true, b"a  b ".as_slice())));
        assert_eq!(parse_cri(line("stdout F").as_bytes()).map(|l| l.text), Some(b"".as_slice()));
        for wrong in ["", "stdout", "stdout ", "other F x", "stdout Q x", "stdoutF x"] {
            assert_eq!(parse_cri(line(wrong).as_bytes()), None, "{wrong:?}");
        }
        assert_eq!(parse_cri(b"hello stdout F x"), None);
    }

    #[test]
    fn parts_of_a_line_are_found_and_joined() {
        let [a, b, c, d] = ["stdout P hel", "stdout P lo ", "stdout F world", "stdout F next"].map(line);
        let chunk = [a.as_str(), &b, &c, &d].join("\n");
        assert!(has_partial(chunk.as_bytes()));
        assert!(!has_partial(line("stdout F the letter P is here").as_bytes()));

        let mut joiner = Joiner::default();
        let mut whole = Vec::new();
        for text in chunk.lines() {
            let parsed = parse_cri(text.as_bytes()).expect("a CRI line");
            whole.extend(joiner.take(&parsed, 100).map(|(_, text)| String::from_utf8_lossy(text).into_owned()));
        }
        assert_eq!(whole, ["hello world", "next"]);
        assert_eq!(joiner.rest(), None);
        assert_eq!(joiner.cut(), 0);
    }

    #[test]
    fn a_line_over_the_limit_is_cut_and_says_so() {
        let mut joiner = Joiner::default();
        let [a, b] = ["stdout P abc", "stdout F def"].map(line);
        assert_eq!(joiner.take(&parse_cri(a.as_bytes()).expect("a part"), 4), None);
        let (_, text) = joiner.take(&parse_cri(b.as_bytes()).expect("the end"), 4).expect("whole");
        assert_eq!(text, b"abcd");
        let long = line("stdout F abcdef");
        let (_, text) = joiner.take(&parse_cri(long.as_bytes()).expect("a line"), 4).expect("whole");
        assert_eq!(text, b"abcd");
        assert_eq!(joiner.cut(), 2);
    }

    #[test]
    fn a_line_whose_end_never_comes_is_what_there_is_of_it() {
        let mut joiner = Joiner::default();
        let part = line("stdout P begun");
        assert_eq!(joiner.take(&parse_cri(part.as_bytes()).expect("a part"), 100), None);
        assert!(joiner.is_open());
        let (at, text) = joiner.rest().expect("a line");
        assert_eq!((at.map(|at| at.to_string()).as_deref(), text), (Some(TIME), b"begun".as_slice()));
        assert_eq!(joiner.rest(), None);
    }
}
