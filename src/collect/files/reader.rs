//! Whole lines in large chunks.

use std::io::{self, Read};

/// Bytes read at a time: large enough that a chunk's fixed costs vanish, small enough to stay in the cache of a core.
const CHUNK: usize = 256 << 10;

/// Reads chunks that end at the end of a line.
#[derive(Debug)]
pub struct ChunkReader<R> {
    input: R,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are filled.
    filled: usize,
    /// Bytes of the buffer that the last chunk covered.
    taken: usize,
    /// Longest line; longer ones are cut there.
    limit: usize,
    /// The rest of a line that was cut is being skipped.
    skipping: bool,
    cut: u64,
    /// Bytes that were given out or skipped.
    consumed: u64,
    ended: bool,
}

/// Some whole lines, each ended by `\n` except perhaps the last one of the input.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'c>(pub &'c [u8]);

impl<R: Read> ChunkReader<R> {
    /// Reads from `input`; lines over `limit` bytes are cut and counted. A limit under 512 KiB is taken as that.
    pub fn new(input: R, limit: usize) -> Self {
        let limit = limit.max(2 * CHUNK);
        let room = limit + CHUNK;
        Self { input, buffer: vec![0; room], filled: 0, taken: 0, limit, skipping: false, cut: 0, consumed: 0, ended: false }
    }

    /// The next chunk, or `None` at the end.
    ///
    /// # Errors
    /// When reading fails; interrupted reads are tried again.
    pub fn next_chunk(&mut self) -> io::Result<Option<Chunk<'_>>> {
        self.next_chunk_but(|_| 0)
    }

    /// The next chunk without the last lines that belong to what follows: `rest` says of a chunk how many bytes these have. They begin the next
    /// chunk. Nothing is kept back at the end of the input, nor where nothing else would be left.
    ///
    /// # Errors
    /// As [`ChunkReader::next_chunk`].
    pub fn next_chunk_but(&mut self, rest: impl Fn(Chunk<'_>) -> usize) -> io::Result<Option<Chunk<'_>>> {
        self.buffer.copy_within(self.taken..self.filled, 0);
        self.filled -= self.taken;
        self.consumed += self.taken as u64;
        self.taken = 0;
        loop {
            if self.skipping {
                self.skip_to_line_end();
            }
            let searched = &self.buffer[..self.filled];
            if self.filled > self.limit && memchr::memchr(b'\n', searched).is_none_or(|end| end > self.limit) {
                // Its beginning is a line, its rest is skipped. Only the first line can be so long: what holds a `\n` is given out before two
                // reads are in the buffer, and the limit is not under two reads.
                self.cut += 1;
                self.skipping = true;
                self.taken = self.limit;
                return Ok(Some(Chunk(&self.buffer[..self.limit])));
            }
            if self.ended {
                self.taken = self.filled;
                return Ok((self.filled > 0).then_some(Chunk(&self.buffer[..self.filled])));
            }
            if let Some(end) = memchr::memrchr(b'\n', searched).filter(|_| self.filled >= CHUNK) {
                let rest = rest(Chunk(&self.buffer[..=end]));
                self.taken = if rest > end { end + 1 } else { end + 1 - rest };
                return Ok(Some(Chunk(&self.buffer[..self.taken])));
            }
            self.fill()?;
        }
    }

    /// Lines that were cut so far.
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// Bytes that were taken from the input so far: the chunks, and what was cut off.
    pub fn taken(&self) -> u64 {
        self.consumed + self.taken as u64
    }

    fn skip_to_line_end(&mut self) {
        let end = memchr::memchr(b'\n', &self.buffer[..self.filled]);
        self.skipping = end.is_none() && !self.ended;
        let skipped = end.map_or(self.filled, |at| at + 1);
        self.buffer.copy_within(skipped..self.filled, 0);
        self.filled -= skipped;
        self.consumed += skipped as u64;
    }

    fn fill(&mut self) -> io::Result<()> {
        let end = self.buffer.len().min(self.filled + CHUNK);
        loop {
            match self.input.read(&mut self.buffer[self.filled..end]) {
                Ok(0) => self.ended = true,
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            return Ok(());
        }
    }
}

impl<'c> Chunk<'c> {
    /// The line around a place of the chunk, as a range without its `\n`.
    #[must_use]
    pub fn around(self, at: usize) -> std::ops::Range<usize> {
        let at = at.min(self.0.len());
        let start = memchr::memrchr(b'\n', &self.0[..at]).map_or(0, |before| before + 1);
        let end = memchr::memchr(b'\n', &self.0[at..]).map_or(self.0.len(), |after| at + after);
        start..end
    }

    /// Every line, without its `\n`.
    pub fn lines(self) -> impl Iterator<Item = &'c [u8]> {
        let text = self.0.strip_suffix(b"\n").unwrap_or(self.0);
        // An empty chunk has no line; a chunk of one `\n` has an empty one.
        let some = !self.0.is_empty();
        some.then(|| text.split(|b| *b == b'\n')).into_iter().flatten()
    }

    /// Number of lines.
    #[must_use]
    pub fn count(self) -> u64 {
        let ends = memchr::memchr_iter(b'\n', self.0).count() as u64;
        ends + u64::from(!self.0.is_empty() && !self.0.ends_with(b"\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in reads of odd sizes.
    struct Dribble<'d>(&'d [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = self.1 * 7 % 9973 + 1;
            let n = self.1.min(self.0.len()).min(buffer.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn lines_of(input: &[u8], limit: usize) -> (Vec<Vec<u8>>, u64) {
        let mut reader = ChunkReader::new(Dribble(input, 3), limit);
        let mut lines = Vec::new();
        while let Some(chunk) = reader.next_chunk().expect("memory can be read") {
            let before = lines.len();
            lines.extend(chunk.lines().map(<[u8]>::to_vec));
            assert_eq!((lines.len() - before) as u64, chunk.count());
        }
        assert_eq!(reader.taken(), input.len() as u64);
        (lines, reader.cut())
    }

    #[test]
    fn every_line_comes_once_however_it_is_read() {
        let text: String = (0..40_000).map(|n| format!("line {n} {}\n", "x".repeat(n % 50))).collect();
        let (lines, cut) = lines_of(text.as_bytes(), 1 << 20);
        let expected: Vec<Vec<u8>> = text.lines().map(|line| line.as_bytes().to_vec()).collect();
        assert!(lines == expected, "lines differ");
        assert_eq!(cut, 0);
    }

    #[test]
    fn what_is_kept_back_begins_the_next_chunk_and_nothing_is_kept_back_for_ever() {
        let text: String = (0..60_000).map(|n| format!("line {n}\n")).collect();
        for rest in [7, 100, 32 << 10, usize::MAX] {
            let mut reader = ChunkReader::new(Dribble(text.as_bytes(), 3), 1 << 20);
            let mut read = Vec::new();
            while let Some(chunk) = reader
                .next_chunk_but(|chunk| {
                    let from = chunk.0.len().saturating_sub(rest);
                    chunk.0.len() - chunk.around(from).start
                })
                .expect("memory can be read")
            {
                assert!(chunk.0.ends_with(b"\n"));
                read.extend_from_slice(chunk.0);
            }
            assert!(read == text.as_bytes(), "{rest}");
            assert_eq!(reader.taken(), text.len() as u64);
        }
    }

    #[test]
    fn the_last_line_needs_no_end() {
        assert_eq!(lines_of(b"a\n\nb", 100).0, [b"a".to_vec(), Vec::new(), b"b".to_vec()]);
        assert!(lines_of(b"", 100).0.is_empty());
        assert_eq!(lines_of(b"\n", 100).0, [Vec::<u8>::new()]);
    }

    #[test]
    fn a_line_without_end_is_cut_and_the_next_one_is_whole() {
        let mut text = vec![b'x'; 3 << 20];
        text.extend_from_slice(b"\nnext\n");
        let (lines, cut) = lines_of(&text, 1 << 20);
        assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), [1 << 20, 4]);
        assert_eq!(cut, 1);
    }

    #[test]
    fn lines_around_the_limit_are_cut_exactly_there() {
        const LIMIT: usize = 1 << 20;
        for (length, cuts) in [(LIMIT - 1, 0), (LIMIT, 0), (LIMIT + 1, 1), (LIMIT + CHUNK, 1), (3 * LIMIT, 1)] {
            let text = format!("a\n{}\nb\n{}", "x".repeat(length), "y".repeat(length));
            let (lines, cut) = lines_of(text.as_bytes(), LIMIT);
            assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), [1, length.min(LIMIT), 1, length.min(LIMIT)], "{length}");
            assert_eq!(cut, 2 * cuts, "{length}");
        }
    }

    #[test]
    fn the_line_around_a_place_is_found() {
        let chunk = Chunk(b"ab\ncd\n\nef");
        for (at, expected) in [(0, 0..2), (2, 0..2), (3, 3..5), (6, 6..6), (8, 7..9), (99, 7..9)] {
            assert_eq!(chunk.around(at), expected, "{at}");
        }
    }
}
