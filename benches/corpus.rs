//! Log lines to measure with, drawn by a fixed pseudo-random sequence, so that every run and every machine has the same.
//!
//! The labelled logs are used where they are present, else lines made from templates; the two have different numbers of hits.
//!
//! BIAS: the labelled logs are 16,000 lines of eight systems and almost all ASCII; the templates are forty-odd layouts. Text between the
//! values repeats more than in a real cluster, which is kind to compression, to the branch predictor and to automata with a cache. The rules
//! for made-up faults hardly ever meet a line.

use std::fmt::Write;

const LINES: &str = include_str!("data/lines.txt");
const FAULTS: &str = include_str!("data/faults.txt");

const SERVICES: [&str; 12] = [
    "checkout",
    "payment",
    "inventory",
    "catalog",
    "shipping",
    "search",
    "session",
    "gateway",
    "billing",
    "mailer",
    "reporting",
    "identity",
];
const NAMESPACES: [&str; 6] = ["shop", "platform", "data", "edge", "internal", "batch"];
const USERS: [&str; 6] = ["alice", "deploy", "svc-backup", "jenkins", "operator", "mallory"];
const WHAT: [&str; 40] = [
    "Circuit",
    "Replica",
    "Quorum",
    "Lease",
    "Shard",
    "Token",
    "Quota",
    "Schema",
    "Checksum",
    "Socket",
    "Pool",
    "Broker",
    "Snapshot",
    "Fence",
    "Clock",
    "Journal",
    "Partition",
    "Handshake",
    "Replay",
    "Watchdog",
    "Ledger",
    "Cursor",
    "Channel",
    "Segment",
    "Index",
    "Cache",
    "Tenant",
    "Route",
    "Stream",
    "Batch",
    "Worker",
    "Voucher",
    "Invoice",
    "Payload",
    "Session",
    "Gossip",
    "Mirror",
    "Volume",
    "Backup",
    "Secret",
];
const HOW: [&str; 50] = [
    "Open",
    "Lagging",
    "Lost",
    "Expired",
    "Unassigned",
    "Revoked",
    "Breached",
    "Mismatch",
    "Failed",
    "HungUp",
    "Drained",
    "Unreachable",
    "Corrupt",
    "Rejected",
    "Skewed",
    "Full",
    "Offline",
    "Aborted",
    "Detected",
    "Barked",
    "Stale",
    "Evicted",
    "Orphaned",
    "Throttled",
    "Stalled",
    "Diverged",
    "Leaked",
    "Missing",
    "Duplicated",
    "Truncated",
    "Poisoned",
    "Blocked",
    "Denied",
    "Exhausted",
    "Inverted",
    "Broken",
    "Forked",
    "Vanished",
    "Tainted",
    "Delayed",
    "Refused",
    "Overrun",
    "Underrun",
    "Wedged",
    "Frozen",
    "Flapping",
    "Degraded",
    "Shadowed",
    "Escaped",
    "Reset",
];

/// Lines for which the same fault is reported, about as many as one pod has in one request.
const FAULT_LASTS: usize = 430;

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
        "svc" => line.push_str(SERVICES[random.below(SERVICES.len())]),
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
            .filter(|line| !line.is_empty() && !hand_written().is_match(line))
            .collect();
        if quiet.is_empty() {
            Self { name: "made", quiet: LINES.lines().map(str::to_owned).collect() }
        } else {
            Self { name: "loghub", quiet }
        }
    }

    /// About `bytes` of lines, of which one in 200 reports a fault. Digits of the labelled logs are drawn anew, so that lines do not repeat.
    pub fn lines(&self, bytes: usize, seed: u64) -> Vec<String> {
        let faults: Vec<&str> = FAULTS.lines().collect();
        let mut random = Random::new(seed);
        let mut made = Vec::new();
        let mut total = 0;
        let mut quiet = self.quiet.iter().cycle();
        while total < bytes {
            let mut line = String::with_capacity(200);
            if random.below(200) == 0 {
                // What fails says so again: the same fault for a while, then another one.
                fill(faults[made.len() / FAULT_LASTS % faults.len()], &mut random, &mut line);
            } else if self.name == "made" {
                fill(&self.quiet[random.below(self.quiet.len())], &mut random, &mut line);
            } else {
                let digit = |random: &mut Random| (b'0' + random.below(10) as u8) as char;
                line.extend(
                    quiet.next().into_iter().flat_map(|line| line.chars()).map(|c| if c.is_ascii_digit() { digit(&mut random) } else { c }),
                );
            }
            total += line.len();
            made.push(line);
        }
        made
    }
}

/// The patterns of the hand-written rules.
fn hand_written() -> &'static regex::RegexSet {
    static SET: std::sync::LazyLock<regex::RegexSet> = std::sync::LazyLock::new(|| {
        let patterns =
            include_str!("data/rules.yaml").lines().filter_map(|line| line.trim().strip_prefix("match: {pattern: '")?.strip_suffix("'}"));
        regex::RegexSet::new(patterns.map(|pattern| pattern.replace("''", "'"))).expect("our own patterns")
    });
    &SET
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

/// Rule files: fifty hand-written rules, and then rules for a service and a fault, each fault a name of its own, until there are `count`.
///
/// People write such rules in several ways, and so do we: in this order, without regard to case, as a whole word, behind the head of a line.
pub fn rules(count: usize) -> String {
    let mut text = include_str!("data/rules.yaml").to_owned();
    for n in 0..count.saturating_sub(50) {
        let (service, what, how) = (SERVICES[n % SERVICES.len()], WHAT[n % WHAT.len()], HOW[n / WHAT.len() % HOW.len()]);
        let pattern = match n % 4 {
            0 => format!("{service}.*{what}{how}(?:Error|Exception)?"),
            1 => format!("(?i){what}[ _-]?{how}.*{service}"),
            2 => format!(r"\b{what}{how}(?:Error|Exception)\b"),
            _ => format!(r"^\S+ \S+ .*{service}: {what}{how}"),
        };
        let _written = write!(text, "  - name: {service}-{what}{how}\n    priority: P3\n    match: {{pattern: '{pattern}'}}\n");
    }
    text
}

/// Ten rules without a usable literal and forty ordinary ones.
pub fn hostile_rules() -> String {
    const POOR: [&str; 10] = [
        r"\b\d{3,}\s+(?:ms|us)\b.*\b5\d\d\b",
        r"[A-Z]{3}-\d{9}",
        r"^\W{3,}\w",
        r"\d+\.\d+\.\d+\.\d+:\d+ .* [45]\d\d ",
        r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}",
        r"[^ ]{80,}",
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [EF]",
        r"\s{9,}\S+\s{9,}",
        r"\d..\s..\d{5}$",
        r"^\S+ \S+ \d{7}$",
    ];
    let text = include_str!("data/rules.yaml");
    let mut rules: Vec<&str> = text.split_inclusive('\n').collect();
    let starts: Vec<usize> = rules.iter().enumerate().filter(|(_, line)| line.starts_with("  - name:")).map(|(at, _)| at).collect();
    rules.truncate(starts[40]);
    let mut text = rules.concat();
    for (n, pattern) in POOR.iter().enumerate() {
        let _written = write!(text, "  - name: poor-{n}\n    priority: P4\n    match: {{pattern: '{pattern}'}}\n");
    }
    text
}
