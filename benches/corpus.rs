//! Log lines to measure with, drawn by a fixed pseudo-random sequence, so that every run and every machine has the same.
//!
//! The labelled logs are used where they are present, else lines made from templates; the two have different numbers of hits, which
//! `count.py` counts without this package.
//!
//! Rules, faults, templates and words were written by somebody who had seen no result of the benches, and are not to be changed for one.
//!
//! BIAS: the labelled logs are 16,000 lines of eight systems and almost all ASCII; the templates are some hundred layouts. Text between the
//! values repeats more than in a real cluster, which is kind to compression, to the branch predictor and to automata with a cache. Every
//! fault meets one of the fifty rules, so the generated rules hardly ever meet a line. Lines of one incident name various services.

use std::fmt::Write;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

const RULES: &str = include_str!("data/rules.yaml");
const LINES: &str = include_str!("data/lines.txt");
const FAULTS: &str = include_str!("data/faults.txt");
/// A name and the format of its log, for which see `generated`.
const SERVICES: &str = include_str!("data/services.txt");
/// What the code of a service can name an error, in words.
const ERRORS: &str = include_str!("data/errors.txt");

const NAMESPACES: [&str; 6] = ["shop", "platform", "data", "edge", "internal", "batch"];
const USERS: [&str; 6] = ["alice", "deploy", "svc-backup", "jenkins", "operator", "mallory"];

static SERVICE_LIST: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| SERVICES.lines().filter_map(|line| line.split_once(' ')).collect());

/// Asks for made lines also where the labelled logs are.
pub static MADE_ONLY: AtomicBool = AtomicBool::new(false);

/// One line in so many reports a fault.
const FAULT_EVERY: usize = 200;

/// A small generator of pseudo-random numbers (xorshift64*), because results must never change with a library's version.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n
    }
}

/// Writes one line, every `{name}` replaced.
fn fill(template: &str, random: &mut Random, line: &mut String) {
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        line.push_str(&rest[..open]);
        let close = rest[open..].find('}').map_or(rest.len(), |at| open + at);
        let name = &rest[open + 1..close.max(open + 1)];
        if value(name, random, line) {
            rest = &rest[close + 1..];
        } else {
            line.push('{');
            rest = &rest[open + 1..];
        }
    }
    line.push_str(rest);
}

fn value(name: &str, random: &mut Random, line: &mut String) -> bool {
    let mut digits = |line: &mut String, n: usize| (0..n).for_each(|_| line.push((b'0' + random.below(10) as u8) as char));
    match name {
        "d1" => digits(line, 1),
        "d2" => digits(line, 2),
        "ms" | "num3" => digits(line, 3),
        "num4" => digits(line, 4),
        "num5" => digits(line, 5),
        "num6" => digits(line, 6),
        "mmdd" => {
            let _written = write!(line, "11{:02}", 10 + random.below(10));
        }
        "hms" | "ts" | "clf" | "syslog" => {
            let (h, m, s, ms) = (random.below(24), random.below(60), random.below(60), random.below(1000));
            let _written = match name {
                "hms" => write!(line, "{h:02}:{m:02}:{s:02}"),
                "ts" => write!(line, "2026-11-{:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z", 10 + random.below(10)),
                "clf" => write!(line, "{}/Nov/2026:{h:02}:{m:02}:{s:02} +0000", 10 + random.below(10)),
                _ => write!(line, "Nov {} {h:02}:{m:02}:{s:02}", 10 + random.below(10)),
            };
        }
        "ip" => {
            let _written = write!(line, "10.{}.{}.{}", random.below(256), random.below(256), random.below(256));
        }
        "uuid" => {
            let (a, b) = (random.next(), random.next());
            let _written =
                write!(line, "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}", a >> 32, a & 0xffff, (a >> 16) & 0xfff, b & 0xfff, b >> 16);
        }
        "hex8" => {
            let _written = write!(line, "{:08x}", random.next() >> 32);
        }
        "hex16" => {
            let _written = write!(line, "{:016x}", random.next());
        }
        "hex26" => {
            let _written = write!(line, "{:016x}{:010x}", random.next(), random.next() >> 24);
        }
        "word5" => (0..5).for_each(|_| line.push((b'a' + random.below(26) as u8) as char)),
        "svc" => {
            let (service, _format) = SERVICE_LIST[random.below(SERVICE_LIST.len())];
            line.push_str(service);
        }
        "ns" => line.push_str(NAMESPACES[random.below(NAMESPACES.len())]),
        "user" => line.push_str(USERS[random.below(USERS.len())]),
        _ => return false,
    }
    true
}

/// Where lines that report nothing come from.
pub struct Source {
    /// How the numbers of hits that are expected are called in the definitions.
    pub name: &'static str,
    quiet: Vec<String>,
}

impl Source {
    /// The labelled logs where they are beside the package, else lines made from templates.
    pub fn find() -> Self {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/loghub");
        let mut files: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.retain(|file| file.extension().is_some_and(|ending| ending == "log"));
        files.sort();
        let texts = files.iter().filter_map(|file| std::fs::read(file).ok());
        let quiet: Vec<String> = texts
            .flat_map(|text| String::from_utf8_lossy(&text).lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>())
            .filter(|line| !line.is_empty() && !HAND_WRITTEN.is_match(line) && !names_an_error(line))
            .collect();
        if quiet.is_empty() || MADE_ONLY.load(Ordering::Relaxed) {
            Self { name: "made", quiet: LINES.lines().map(str::to_owned).collect() }
        } else {
            Self { name: "loghub", quiet }
        }
    }

    /// About `bytes` of lines, of which one in 200 reports a fault. Digits of the labelled logs are drawn anew, so that lines do not repeat.
    ///
    /// Faults come in incidents, because what fails is tried again (by its client, by kubelet, by the queue), and says so each time: a few
    /// incidents write most of the lines, and many write one or two. So the number of lines of an incident is 1, 2, 4, ... or 32, each as
    /// likely. They stand close together but not in a row: what fails still logs its other work, so every other line is a quiet one.
    /// Which fault is drawn anew for each incident, and its lines lie anywhere in the quiet lines that make them one in 200.
    pub fn lines(&self, bytes: usize, seed: u64) -> Vec<String> {
        let faults: Vec<&str> = FAULTS.lines().collect();
        let mut random = Random::new(seed);
        let mut made = Vec::new();
        let mut total = 0;
        let mut quiet = self.quiet.iter().cycle();
        let (mut fault, mut left, mut wait, mut after) = ("", 0, 0, 0);
        while total < bytes {
            if left == 0 {
                fault = faults[random.below(faults.len())];
                left = 1_usize << random.below(6);
                // Two lines for each fault are those of the incident itself.
                let calm = (FAULT_EVERY - 2) * left;
                let before = random.below(calm + 1);
                wait = after + before;
                after = calm - before;
            }
            let mut line = String::with_capacity(200);
            if wait > 0 {
                wait -= 1;
                self.quiet_line(&mut quiet, &mut random, &mut line);
            } else if random.below(2) == 0 {
                left -= 1;
                fill(fault, &mut random, &mut line);
            } else {
                self.quiet_line(&mut quiet, &mut random, &mut line);
            }
            total += line.len();
            made.push(line);
        }
        made
    }

    /// Writes the next line of the labelled logs, or a line of any template.
    fn quiet_line<'a>(&self, logs: &mut impl Iterator<Item = &'a String>, random: &mut Random, line: &mut String) {
        if self.name == "made" {
            fill(&self.quiet[random.below(self.quiet.len())], random, line);
        } else {
            let text = logs.next().into_iter().flat_map(|log| log.chars());
            line.extend(text.map(|c| if c.is_ascii_digit() { char::from(b'0' + random.below(10) as u8) } else { c }));
        }
    }
}

/// The patterns of the hand-written rules.
static HAND_WRITTEN: LazyLock<regex::RegexSet> = LazyLock::new(|| {
    let patterns = RULES.lines().filter_map(|line| line.trim().strip_prefix("match: {pattern: '")?.strip_suffix("'}"));
    regex::RegexSet::new(patterns.map(|pattern| pattern.replace("''", "'"))).expect("our own patterns")
});

/// Whether a line holds what every generated rule asks for: the words of an error, whatever is written between them.
fn names_an_error(line: &str) -> bool {
    let plain: String = line.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    ERRORS.lines().any(|error| plain.contains(&error.replace(' ', "")))
}

/// Lines that all meet one rule.
pub fn storm(bytes: usize, seed: u64) -> Vec<String> {
    let mut random = Random::new(seed);
    let mut made = Vec::new();
    let mut total = 0;
    while total < bytes {
        let mut line = String::with_capacity(200);
        fill(
            "{ts} ERROR [worker-{d2}] c.s.checkout.Gateway - dial tcp {ip}:5432: connect: connection refused (attempt {num3}, request {uuid})",
            &mut random,
            &mut line,
        );
        total += line.len();
        made.push(line);
    }
    made
}

/// Rule files: the fifty hand-written rules, and then generated ones until there are `count`, at most one for each service and error.
///
/// The teams generate them from the code: one service after the other, each with every error that the common library knows.
pub fn rules(count: usize) -> String {
    let errors: Vec<&str> = ERRORS.lines().collect();
    let wanted = count.saturating_sub(50);
    assert!(wanted <= SERVICE_LIST.len() * errors.len(), "not enough services and errors for {count} rules");
    let mut text = RULES.to_owned();
    for n in 0..wanted {
        let ((service, format), error) = (SERVICE_LIST[n / errors.len()], errors[n % errors.len()]);
        let (name, pattern) = (error.replace(' ', "-"), generated(service, format, error));
        let _written = write!(text, "  - name: {service}-{name}\n    priority: P3\n    match: {{pattern: '{pattern}'}}\n");
    }
    text
}

/// How a service tells of an error, by the format of its log.
fn generated(service: &str, format: &str, error: &str) -> String {
    let plain = service.replace('-', "");
    let camel: String = error.split(' ').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
    match format {
        // The class of an exception, at any depth of the service's package.
        "java" => format!(r"\bcom\.acme\.{plain}\.(?:\w+\.)*{camel}Exception\b"),
        // Go wraps errors: the words stand anywhere in the field, and may be capitalised at its start.
        "go-json" => format!(r#""service":"{service}".*"error":"[^"]*(?i:{error})"#),
        "logfmt" => format!(r#"level=(?:warn|error) .*service={service} .*err="[^"]*{error}"#),
        // The last line of a traceback, alone or behind the header of the logger.
        "python" => format!(r"(?:^|\s){}\.errors\.{camel}(?:Error)?: ", service.replace('-', "_")),
        "node" => format!(r"\[{service}\] .*\bERR_{}\b", error.replace(' ', "_").to_uppercase()),
        // Old systems and bridges to them, of which nobody knows how they write.
        _ => format!(r"(?i){}.*{}", service.replace('-', "[ _-]?"), error.replace(' ', "[ _-]?")),
    }
}

/// Ten rules without a usable literal and forty ordinary ones.
pub fn hostile_rules() -> String {
    const POOR: [&str; 10] = [
        // Lines that the log viewer cuts off: somebody logs whole payloads.
        r"^.{900,}$",
        // Tokens, keys and blobs in base64, which must not be in logs.
        r"[^ ]{80,}",
        // Server errors in the access log of anything, without a look at where each server writes the status, or at what else is 5xx.
        r"\b5\d\d\b",
        // Whatever took a second or longer, in the words of any service.
        r"\b\d{4,}ms\b",
        // E-mail addresses, for the data protection officer.
        r"[\w.+-]+@[\w-]+\.[\w.]+",
        // Card numbers, for the auditors.
        r"\b(?:\d{4}[ -]?){3}\d{4}\b",
        // The short word for an error, as a field or in prose.
        r"(?i)\berr\b",
        // Stack frames of a JVM, to count traces whose first line is lost.
        r"^\s+at \S+\(\S+\)$",
        // Error codes of bought software: ORA-00600, TNS-12541, and whoever else has three letters.
        r"\b[A-Z]{3}-\d{4,5}\b",
        // Anything that is nearly full, or fully broken.
        r"\b(?:9\d|100) ?%",
    ];
    let ordinary = RULES.match_indices("  - name:").nth(40).map_or(RULES.len(), |(at, _)| at);
    let mut text = RULES[..ordinary].to_owned();
    for (n, pattern) in POOR.iter().enumerate() {
        let _written = write!(text, "  - name: poor-{n}\n    priority: P4\n    match: {{pattern: '{pattern}'}}\n");
    }
    text
}
