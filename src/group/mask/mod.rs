//! From a line to its template: the parts that vary are masked, in one pass over the bytes.
//!
//! What is masked: timestamps (`<TS>`, and nothing at all at the start of a line), UUIDs, hexadecimal and random identifiers, suffixes of
//! pod names, IP and MAC addresses with their port, e-mail addresses, durations, sizes and numbers, query strings, and quoted values after
//! `=` or `:` that look like identifiers. White space is folded, colour codes are dropped.
//!
//! What stays, because it says what happened: digits inside of short words (`x509`, `http2`, `P1`), numbers after a word such as `status`,
//! `code`, `errno` or `signal`, codes such as `ORA-00942` and `E11000`, API versions, and hosts and paths of URLs (their variable parts are
//! masked like any others): which upstream failed is what an error is about.

pub(super) mod shape;
#[cfg(test)]
mod tests;
pub(super) mod time;

use shape::{class, is_word};

/// Longest template in bytes. Lines that differ only behind it are the same event.
pub const MAX_TEMPLATE: usize = 512;

/// Longest quoted value that is looked at as a whole.
const MAX_QUOTED: usize = 128;

/// Longest local part of an e-mail address (RFC 5321).
const MAX_LOCAL_PART: usize = 64;

/// Words (or ends of words) after which a number of at most so many digits is a code and stays.
const CODE_WORDS: [(&[u8], usize); 8] =
    [(b"status", 4), (b"code", 4), (b"errno", 4), (b"signal", 3), (b"exit", 3), (b"http", 3), (b"error", 4), (b"sqlstate", 5)];

/// Upper-case words whose number behind a `-` is part of the name.
const CODE_PREFIXES: [&[u8]; 10] = [b"ORA", b"TNS", b"PLS", b"UTF", b"SHA", b"AES", b"ISO", b"TLS", b"RFC", b"ERR"];

/// Five consonants that are words all the same, and no random suffix of a pod.
const CONSONANT_WORDS: [&[u8]; 8] = [b"https", b"httpd", b"grpcs", b"dhcpd", b"btrfs", b"xhtml", b"sshfs", b"rdbms"];

/// Writes the template of a line into `out`, which is cleared first. The same bytes always give the same template.
///
/// Bytes that are not UTF-8 become U+FFFD. Takes time linear in the length of the line, and stops early once the template is full.
pub fn mask(line: &[u8], out: &mut String) {
    let mut written = std::mem::take(out).into_bytes();
    written.clear();
    let mut masker = Masker { text: line, at: 0, kept: 0, out: written, next_at_sign: find(line, 0, b'@'), in_path: false, word: (0, 0) };
    masker.run();
    let mut template = match String::from_utf8(masker.out) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    };
    template.truncate(template.floor_char_boundary(MAX_TEMPLATE));
    template.truncate(template.trim_end().len());
    *out = template;
}

/// The scan. What lies between `kept` and `at` was read, stays as it is, and is copied when the next masked part begins.
struct Masker<'a> {
    text: &'a [u8],
    at: usize,
    kept: usize,
    out: Vec<u8>,
    /// Place of the next `@`, or the length of the text: most lines have none, and then e-mail addresses cost nothing.
    next_at_sign: usize,
    /// Inside of a path or URL, where digits at the end of a word are numbers.
    in_path: bool,
    /// The last word that stayed, for numbers that it gives a meaning to.
    word: (usize, usize),
}

impl Masker<'_> {
    fn run(&mut self) {
        while self.at < self.text.len() && self.out.len() + (self.at - self.kept) < MAX_TEMPLATE + 4 {
            let class = class(self.text[self.at]);
            if class & shape::WORD != 0 {
                self.word();
            } else if class & shape::BLANK != 0 {
                self.blank();
            } else if class & shape::MARK != 0 {
                self.punctuation();
            } else {
                self.at += 1;
            }
        }
        self.flush(self.at);
    }

    fn flush(&mut self, to: usize) {
        self.out.extend_from_slice(&self.text[self.kept..to]);
        self.kept = to;
    }

    /// Writes `name` in place of the bytes from `from` to `to` and goes on behind them.
    fn put(&mut self, from: usize, to: usize, name: &[u8]) {
        self.flush(from);
        self.out.extend_from_slice(name);
        (self.kept, self.at) = (to, to);
    }

    /// A number may carry a sign, unless the `-` joins it to a word.
    fn put_number(&mut self, from: usize, to: usize, name: &[u8]) {
        let signed = from > self.kept
            && matches!(self.text[from - 1], b'-' | b'+')
            && !self.text[..from - 1].last().is_some_and(|b| is_word(*b) || *b == b')' || *b == b']');
        self.put(from - usize::from(signed), to, name);
    }

    fn put_time(&mut self, from: usize, to: usize) {
        if self.out.is_empty() && self.kept == from {
            (self.kept, self.at) = (to, to);
        } else {
            self.put(from, to, b"<TS>");
        }
    }

    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    /// White space and control characters: one blank for all of them, none at the start.
    fn blank(&mut self) {
        self.in_path = false;
        let start = self.at;
        if self.text[start] == 0x1b && self.byte(start + 1) == b'[' {
            // A colour code: drops to the letter that ends it.
            let end = self.text[start + 2..].iter().take(16).position(|b| (0x40..0x7f).contains(b));
            self.put(start, end.map_or(start + 2, |end| start + 3 + end), b"");
            return;
        }
        while self.at < self.text.len() && class(self.text[self.at]) & shape::BLANK != 0 && self.text[self.at] != 0x1b {
            self.at += 1;
        }
        if self.at == start {
            self.put(start, start + 1, b"");
        } else if self.out.is_empty() && self.kept == start {
            self.kept = self.at;
        } else if (self.at > start + 1 || self.text[start] != b' ') || (self.kept == start && self.out.ends_with(b" ")) {
            let blank: &[u8] = if self.kept == start && self.out.ends_with(b" ") { b"" } else { b" " };
            self.put(start, self.at, blank);
        }
    }

    fn punctuation(&mut self) {
        let at = self.at;
        match self.text[at] {
            b':' if self.text[at + 1..].starts_with(b"//") => {
                self.in_path = true;
                self.at += 3;
            }
            b':' if self.byte(at + 1) == b':' && !self.after_word(at) => match shape::ipv6(self.text, at) {
                Some(end) => self.put(at, end, b"<IP>"),
                None => self.at += 2,
            },
            b'/' => {
                self.in_path |= !self.after_word(at);
                self.at += 1;
            }
            b'?' if self.in_path && is_word(self.byte(at + 1)) => {
                let end = self.text[at..].iter().position(|b| b" \t\r\n\"'<>()[]{}".contains(b)).map_or(self.text.len(), |n| at + n);
                self.put(at + 1, end, b"<QUERY>");
            }
            quote @ (b'"' | b'\'') => {
                self.in_path = false;
                match self.identifier_in_quotes(at, quote) {
                    Some(end) => self.put(at + 1, end, b"<STR>"),
                    None => self.at += 1,
                }
            }
            _ => self.at += 1,
        }
    }

    fn after_word(&self, at: usize) -> bool {
        at > 0 && is_word(self.text[at - 1])
    }

    /// The end of a quoted value after `=` or `:` that has no blank, no path and letters as well as digits: a name or an identifier.
    fn identifier_in_quotes(&self, at: usize, quote: u8) -> Option<usize> {
        if at == 0 || !matches!(self.text[at - 1], b'=' | b':') || self.code_follows(at + 1, 4) {
            return None;
        }
        let inside = &self.text[at + 1..];
        let length = inside.iter().take(MAX_QUOTED).position(|b| *b == quote)?;
        let (mut seen, value) = (0, &inside[..length]);
        for byte in value {
            if matches!(byte, b' ' | b'\t' | b'/' | b'\\' | b'<') {
                return None;
            }
            seen |= class(*byte);
        }
        (length >= 8 && seen & shape::DIGIT != 0 && seen & shape::LETTER != 0).then_some(at + 1 + length)
    }

    fn word(&mut self) {
        let start = self.at;
        let mut seen = 0;
        let mut end = start;
        while end < self.text.len() {
            let class = class(self.text[end]);
            if class & shape::WORD == 0 {
                break;
            }
            seen |= class;
            end += 1;
        }
        self.at = end;
        if self.next_at_sign < self.text.len() && self.email(start) {
            return;
        }
        let masked = match seen & shape::DIGIT {
            0 => self.letters(start, end, seen),
            _ => self.with_digits(start, end, seen),
        };
        if !masked {
            self.word = (start, end);
        }
    }

    /// `name@host.tld`, recognised from the start of the local part.
    fn email(&mut self, start: usize) -> bool {
        let local = |b: &u8| is_word(*b) || b"._%+-".contains(b);
        if self.next_at_sign < start {
            self.next_at_sign = find(self.text, start, b'@');
        }
        let sign = self.next_at_sign;
        if sign >= self.text.len() || sign - start > MAX_LOCAL_PART || !self.text[start..sign].iter().all(local) {
            return false;
        }
        let domain = &self.text[sign + 1..];
        let length = domain.iter().take(255).take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-')).count();
        let domain = domain[..length].trim_ascii_end();
        let length = domain.len() - domain.iter().rev().take_while(|b| **b == b'.').count();
        if !domain[..length].contains(&b'.') {
            return false;
        }
        self.put(start, sign + 1 + length, b"<EMAIL>");
        true
    }

    /// A word without digits: what may still vary are names of days, and identifiers that happen to start with letters.
    fn letters(&mut self, start: usize, end: usize, seen: u8) -> bool {
        let length = end - start;
        if length > 8 {
            return false;
        }
        if length == 3
            && self.text[start].is_ascii_uppercase()
            && let Some(end) = time::named(self.text, start)
        {
            self.put_time(start, end);
            return true;
        }
        if seen & !shape::HEX == 0 && self.colon_or_dash_id(start, end) {
            return true;
        }
        if length == 5 && self.joined(start) && !CONSONANT_WORDS.contains(&&self.text[start..end]) && shape::random(&self.text[start..end])
        {
            self.put(start, end, b"<POD>");
            return true;
        }
        false
    }

    /// Follows a `-` that follows a word.
    fn joined(&self, start: usize) -> bool {
        start >= 2 && self.text[start - 1] == b'-' && (is_word(self.text[start - 2]) || self.text[start - 2] == b'>')
    }

    /// UUID, MAC or IPv6 address: hexadecimal groups.
    fn colon_or_dash_id(&mut self, start: usize, end: usize) -> bool {
        let next = self.byte(end);
        let found = match end - start {
            8 if next == b'-' => shape::uuid(self.text, start).map(|end| (end, &b"<UUID>"[..])),
            2 if matches!(next, b':' | b'-') => shape::mac(self.text, start).map(|end| (end, &b"<MAC>"[..])),
            _ => None,
        };
        let found = match found {
            None if end - start <= 4 && next == b':' => shape::ipv6(self.text, start).map(|end| (end, &b"<IP>"[..])),
            found => found,
        };
        if let Some((end, name)) = found {
            self.put(start, end, name);
        }
        found.is_some()
    }

    fn with_digits(&mut self, start: usize, end: usize, seen: u8) -> bool {
        if seen & !(shape::HEX | shape::DIGIT) == 0 && self.colon_or_dash_id(start, end) {
            return true;
        }
        if seen & !shape::DIGIT != 0 && self.pod_suffix(start, end) {
            return true;
        }
        if self.text[start].is_ascii_digit() {
            if let Some(end) = time::numeric(self.text, start) {
                self.put_time(start, end);
                return true;
            }
            if let Some((end, kind)) = shape::quantity(self.text, start) {
                return self.quantity(start, end, kind);
            }
        }
        self.mixed(start, end, seen)
    }

    fn quantity(&mut self, start: usize, end: usize, kind: shape::Quantity) -> bool {
        match kind {
            shape::Quantity::Number if self.is_code(start, end) => {
                self.at = end;
                if self.text[start - 1] == b'/' {
                    // The word reaches to here now, so that both numbers of `HTTP/1.1" 404` stay.
                    self.word.1 = end;
                }
            }
            shape::Quantity::Number => self.put_number(start, end, b"<NUM>"),
            shape::Quantity::Duration => self.put_number(start, end, b"<DUR>"),
            shape::Quantity::Size => self.put_number(start, end, b"<SIZE>"),
            shape::Quantity::Address => self.put(start, end, b"<IP>"),
        }
        true
    }

    /// A number that says what happened.
    fn is_code(&self, start: usize, end: usize) -> bool {
        self.code_follows(start, end - start) || {
            let prefix = self.word.1 + 1 == start && self.text[start - 1] == b'-';
            prefix && end - start <= 5 && CODE_PREFIXES.contains(&&self.text[self.word.0..self.word.1])
        }
    }

    /// True when a number of `length` bytes at `start` stands right behind a word that makes it a code.
    fn code_follows(&self, start: usize, length: usize) -> bool {
        let (from, to) = self.word;
        if to == 0 || to >= start || start - to > 4 || length > 5 {
            return false;
        }
        let (word, gap) = (&self.text[from..to], &self.text[to..start]);
        let http = word.get(..4).is_some_and(|head| head.eq_ignore_ascii_case(b"http")) && matches!(word.get(4), None | Some(b'/'));
        if http && gap == b"/" {
            return true;
        }
        let word = if http { &word[..4] } else { word };
        let plain = gap.iter().all(|b| b" =:\"'(#-".contains(b));
        // `Error: 5 items` is a sentence; `ERROR 1045` is a code.
        let known = CODE_WORDS.iter().any(|(code, digits)| {
            length <= *digits
                && word.len() >= code.len()
                && word[word.len() - code.len()..].eq_ignore_ascii_case(code)
                && (*code != b"error" || gap == b" ")
        });
        plain && known
    }

    /// `-<hash of a ReplicaSet>-<5>` or `-<5>` behind a name.
    fn pod_suffix(&mut self, start: usize, end: usize) -> bool {
        if !self.joined(start) {
            return false;
        }
        let word = &self.text[start..end];
        if (6..=10).contains(&word.len()) && self.byte(end) == b'-' && (shape::random(word) || shape::lower_hex(word)) {
            let tail = self.text[end + 1..].iter().take(6).take_while(|b| b.is_ascii_lowercase() || b.is_ascii_digit()).count();
            if tail == 5 && !is_word(self.byte(end + 6)) {
                self.put(start, end + 6, b"<POD>");
                return true;
            }
        }
        let suffix = word.len() == 5 && shape::random(word);
        if suffix {
            self.put(start, end, b"<POD>");
        }
        suffix
    }

    /// A word of letters and digits: an identifier, a name with a number in it, or just a word.
    fn mixed(&mut self, start: usize, end: usize, seen: u8) -> bool {
        let word = &self.text[start..end];
        if word.len() > 2 && word[0] == b'0' && matches!(word[1], b'x' | b'X') && word[2..].iter().all(u8::is_ascii_hexdigit) {
            self.put(start, end, b"<HEX>");
            return true;
        }
        let one_case = seen & shape::LOWER == 0 || seen & shape::UPPER == 0;
        if word.len() >= 7 && one_case && seen & !(shape::HEX | shape::DIGIT) == 0 {
            self.put(start, end, b"<HEX>");
            return true;
        }
        if let Some(end) = time::klog(self.text, start, end) {
            self.put(start + 1, end, b"<TS>");
            return true;
        }
        if word[0] == b'v' && self.byte(end) == b'.' && word[1..].iter().all(u8::is_ascii_digit) && self.byte(end + 1).is_ascii_digit() {
            let end = shape::dotted(self.text, start + 1);
            self.put(start + 1, end, b"<NUM>");
            return true;
        }
        let changes = word.windows(2).filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit()).count();
        let long = word.len() >= 16 && seen & shape::LOWER != 0 && seen & shape::UPPER != 0 && changes >= 2;
        if changes >= 4 || long {
            // What follows is more of the same when the identifier is base64.
            let more = if long { self.text[end..].iter().take_while(|b| is_word(**b) || b"+/=".contains(b)).count() } else { 0 };
            self.put(start, end + more, b"<ID>");
            return true;
        }
        self.digit_runs(start, end)
    }

    /// Masks the long numbers inside of a word, and in paths those behind a name; `E11000` is a code and stays.
    fn digit_runs(&mut self, start: usize, end: usize) -> bool {
        let word = &self.text[start..end];
        let letters = word.iter().take_while(|b| b.is_ascii_uppercase()).count();
        if (1..=2).contains(&letters) && word.len() - letters <= 5 && word[letters..].iter().all(u8::is_ascii_digit) && !self.in_path {
            return false;
        }
        let mut masked = false;
        let mut at = start;
        while at < end {
            let run = self.text[at..end].iter().take_while(|b| b.is_ascii_digit()).count();
            if run >= 4 || (run > 0 && self.in_path && at >= start + 3) {
                self.put(at, at + run, b"<NUM>");
                masked = true;
            }
            at += run.max(1);
        }
        self.at = end;
        masked
    }
}

fn find(text: &[u8], from: usize, byte: u8) -> usize {
    memchr::memchr(byte, &text[from..]).map_or(text.len(), |at| from + at)
}
