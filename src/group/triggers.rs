//! Which secrets a text may hold, by words without which there are none: what most texts are told by, in tens of nanoseconds.

/// A word without which nothing of its group is in a text, in lower case.
struct Trigger(&'static [u8], Group);

/// What may be in a text, as bits of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    PrivateKey = 1,
    Url = 2,
    Jwt = 4,
    Scheme = 8,
    Form = 16,
    Value = 32,
}

const TRIGGERS: &[Trigger] = &[
    Trigger(b"-----begin", Group::PrivateKey),
    Trigger(b"://", Group::Url),
    Trigger(b"eyj", Group::Jwt),
    Trigger(b"bearer", Group::Scheme),
    Trigger(b"basic", Group::Scheme),
    Trigger(b"akia", Group::Form),
    Trigger(b"asia", Group::Form),
    Trigger(b"aiza", Group::Form),
    Trigger(b"ghp_", Group::Form),
    Trigger(b"gho_", Group::Form),
    Trigger(b"ghu_", Group::Form),
    Trigger(b"ghs_", Group::Form),
    Trigger(b"ghr_", Group::Form),
    Trigger(b"github_pat_", Group::Form),
    Trigger(b"glpat-", Group::Form),
    Trigger(b"xox", Group::Form),
    Trigger(b"xapp-", Group::Form),
    Trigger(b"sk_live_", Group::Form),
    Trigger(b"rk_live_", Group::Form),
    Trigger(b"sk_test_", Group::Form),
    Trigger(b"npm_", Group::Form),
    Trigger(b"sig=", Group::Form),
    Trigger(b"ls0tls1crudjti", Group::Form),
    Trigger(b"passw", Group::Value),
    Trigger(b"passphrase", Group::Value),
    Trigger(b"pwd", Group::Value),
    Trigger(b"token", Group::Value),
    Trigger(b"secret", Group::Value),
    Trigger(b"apikey", Group::Value),
    Trigger(b"api_key", Group::Value),
    Trigger(b"api-key", Group::Value),
    Trigger(b"api key", Group::Value),
    Trigger(b"accesskey", Group::Value),
    Trigger(b"access_key", Group::Value),
    Trigger(b"access-key", Group::Value),
    Trigger(b"access key", Group::Value),
    Trigger(b"accountkey", Group::Value),
    Trigger(b"account_key", Group::Value),
    Trigger(b"account-key", Group::Value),
    Trigger(b"privatekey", Group::Value),
    Trigger(b"private_key", Group::Value),
    Trigger(b"private-key", Group::Value),
    Trigger(b"private key", Group::Value),
    Trigger(b"account key", Group::Value),
];

/// How far behind a word its `=`, `:` or quote may stand: the longest ending of a name, quotes and blanks. The `-` of an option may stand as
/// far before it.
const TO_SEPARATOR: usize = 32;

/// For each of the first three bytes of a trigger and each byte, the triggers that it fits.
///
/// PERF: three loads and two `and` for each byte: 130 ns for a line of 163 bytes (2026-11, 2 cores of a shared virtual machine).
static FITS: [[u64; 256]; 3] = fits();

const fn fits() -> [[u64; 256]; 3] {
    let mut table = [[0; 256]; 3];
    let mut trigger = 0;
    while trigger < TRIGGERS.len() {
        let mut place = 0;
        while place < 3 {
            let byte = TRIGGERS[trigger].0[place];
            table[place][byte as usize] |= 1 << trigger;
            table[place][byte.to_ascii_uppercase() as usize] |= 1 << trigger;
            place += 1;
        }
        trigger += 1;
    }
    table
}

/// The groups whose triggers are in the text.
pub(super) fn groups(text: &[u8]) -> u8 {
    let mut groups = 0;
    for (at, bytes) in text.windows(3).enumerate() {
        let mut fits = FITS[0][bytes[0] as usize] & FITS[1][bytes[1] as usize] & FITS[2][bytes[2] as usize];
        while fits != 0 {
            let Trigger(word, group) = &TRIGGERS[fits.trailing_zeros() as usize];
            fits &= fits - 1;
            let found = text.get(at..at + word.len()).is_some_and(|candidate| candidate.eq_ignore_ascii_case(word));
            if found && plausible(*group, &text[..at], &text[at + word.len()..]) {
                groups |= *group as u8;
            }
        }
    }
    groups
}

/// Looks a little around a trigger, so that `token expired` and ordinary URLs cost nothing more.
fn plausible(group: Group, before: &[u8], rest: &[u8]) -> bool {
    match group {
        Group::Value => {
            let marked = |rest: &[u8]| rest.iter().take(TO_SEPARATOR).any(|b| matches!(b, b'=' | b':' | b'"' | b'\'' | b'%'));
            let part_of_option = || before.iter().rev().take(TO_SEPARATOR + 2).take_while(|b| !b.is_ascii_whitespace()).any(|b| *b == b'-');
            marked(rest) || part_of_option()
        }
        Group::Url => rest.iter().take_while(|b| !matches!(b, b'/' | b' ' | b'"')).any(|b| *b == b'@'),
        _ => true,
    }
}
