//! Log lines to measure with: made from templates by a fixed pseudo-random sequence, so that every run and every machine has the same.
//!
//! BIAS: the templates are forty-odd real layouts with random values, so text between the values repeats more than in a real cluster, which
//! is kind to compression and to the branch predictor. `--loghub DIR` measures on the labelled logs instead.

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
const FAULT_NAMES: [&str; 20] = [
    "CircuitOpen",
    "ReplicaLag",
    "QuorumLost",
    "LeaseExpired",
    "ShardUnassigned",
    "TokenRevoked",
    "QuotaBreach",
    "SchemaMismatch",
    "ChecksumFailed",
    "SocketHangup",
    "PoolDrained",
    "BrokerUnreachable",
    "SnapshotCorrupt",
    "FenceRejected",
    "ClockSkewed",
    "JournalFull",
    "PartitionOffline",
    "HandshakeAborted",
    "ReplayDetected",
    "WatchdogBarked",
];

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

/// About `bytes` of lines, of which one in 200 reports a fault.
pub fn lines(bytes: usize, seed: u64) -> Vec<String> {
    let (quiet, faults): (Vec<&str>, Vec<&str>) = (LINES.lines().collect(), FAULTS.lines().collect());
    let mut random = Random::new(seed);
    let mut made = Vec::new();
    let mut total = 0;
    while total < bytes {
        let templates = if random.below(200) == 0 { &faults } else { &quiet };
        let mut line = String::with_capacity(200);
        fill(templates[random.below(templates.len())], &mut random, &mut line);
        total += line.len();
        made.push(line);
    }
    made
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

/// Rule files: fifty hand-written rules, and then made-up pairs of a service and a fault until there are `count`.
pub fn rules(count: usize) -> String {
    let mut text = include_str!("data/rules.yaml").to_owned();
    let mut pairs = (0..)
        .flat_map(|round: usize| SERVICES.iter().flat_map(move |service| FAULT_NAMES.iter().map(move |fault| (round, *service, *fault))));
    for n in 50..count {
        let (round, service, fault) = pairs.next().expect("an endless sequence");
        let _written = write!(
            text,
            "  - name: {service}-{fault}-{n}\n    priority: P3\n    match: {{pattern: '{service}[-_ ]v{round}.*{fault}(?:Error|Exception)?'}}\n"
        );
    }
    text
}

/// Ten rules without a usable literal and forty ordinary ones.
pub fn hostile_rules() -> String {
    const POOR: [&str; 10] = [
        r"\b\d{3,}\s+(?:ms|us)\b.*\b5\d\d\b",
        r"[A-Z]{3}-\d{9}",
        r"^\s*at\s\S+\(\S+:\d{6}\)$",
        r"\d+\.\d+\.\d+\.\d+:\d+ .* [45]\d\d \d{9}",
        r"(?:[0-9a-f]{2}:){15}[0-9a-f]{2}",
        r"^\W{3,}\w",
        r"[^ ]{180,}",
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [EF]\w+ \d{5}",
        r"\s{9,}\S+\s{9,}",
        r"^.{900,}$",
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
