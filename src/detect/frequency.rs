//! How often a text stands in logs: rough, but enough to choose between literals.
//!
//! The tables were counted over the eight raw samples of loghub (Apache, HDFS, Hadoop, HealthApp, Linux, OpenSSH, Spark and Zookeeper, 2,000
//! lines each), every file with the same weight, with case folded and all digits taken as one. They say how rare a pair of neighbours is,
//! and no line can be read back out of them.

/// The symbols that are told apart, in the order of the tables. All digits are `0`; whatever is not listed is one more symbol, the last.
const SYMBOLS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0 .-_:=()[],";

/// Number of symbols with the last one.
const KINDS: usize = SYMBOLS.len() + 1;

/// How rare each pair is: a digit of base 36 that stands for -log2 of its share of all pairs, times 1.5. A row is the first symbol of a pair.
#[rustfmt::skip]
const PAIRS: [&[u8; KINDS]; KINDS] = [
    b"peddrpevdvlcddvevddbejohhrlnkfuuuovvvrj", // a
    b"iurklqvqiuvdrndrvgfupvuvfvonlupvvukvvks", // b
    b"cokldrvdovdgpgbmvlndegvkjsmdinvjvusvvrf", // c
    b"ejhfbetsgvsihsfqtffngvgvlvlbhrgfehnetlh", // d
    b"efbchniqfvqheckdiacdghfesvlcesiiflovfmf", // e
    b"etrrrnvngvvnvqbtveegpvvvoslhuvvuvvvvvsh", // f
    b"otupdvqnlvvuufisuhmpnvvvsvtegvvmvvuvuvp", // g
    b"eqhddlsvevvunmevvjuglvvvuuhfnnjpuvhvhtt", // h
    b"klddekiksvscfadhtjeduevfvhqkntuquvrvvvi", // i
    b"ovtutvvlvvfsvvlvvusveovvvvuvttvvuvvvvvv", // j
    b"ijuvcrunlvumhjvvvolsqvvvrvgdllfirunvvri", // k
    b"esgedrnsevffvocpolfggnvvivsejkrirvnvvul", // l
    b"dfftduuuhvvmhkefvqfohvvmivvegufimtotvuh", // m
    b"dvjcccescujmjedkviidnfqgovobglmjpstvook", // n
    b"fldeqhfqjvghcbdevafcfrimruvbluvrvvvvvvv", // o
    b"dsgffusqklvinsfhvehfgtvvgvqjfpeqrlvvvuj", // p
    b"vtvvvvvvvvvsvuvuvvuvfvvvvvvstovvvvvvvvv", // q
    b"eiheasggfvdmffcmrefedguogvkcgkndftqlgse", // r
    b"fsehblucfvffsiifsfcbevhvgfhefoshhrkvvsg", // s
    b"blgmbtrdbvvimqbfvfhdholngvlchjhggfkuuuh", // t
    b"okhhgrnvevmdfcggvgecqqvqvvvmoovsvkvvvvt", // u
    b"hvlveuuvhvvoosqvvvivvvgvvvihhvvvvvvqvvq", // v
    b"fqrvhvvigvvuujdvvqkvvvlvvvviqvvjvvvvvvn", // w
    b"oriveuvvkvvvgjvnvluguvvvpvkkouusvhgvvvt", // x
    b"mruvhvvvjvvrpjtmvlgflvvvvvofortjgvvuvvk", // y
    b"tvtvhvvsrvvvvvkvvvvsqvvqvvvftvvvvvvvvvv", // z
    b"lmmokltvtqmvnuvvvvvvvvvkvv489be8vvgvbdb", // 0
    b"dcccdbhibfidefdejcbcejdtqp8ekdviefvcuse", //  
    b"ejgghgofflpjgiogthkhkimunmagivvvvvvvvvv", // .
    b"numsrqvvkuvttrosvogouovvsvbevtvvvvvvvvo", // -
    b"tvqohqvlghvgikmnvlhifvvvvvdvugtvvvvvvvq", // _
    b"hsusqnmuvsuoiltngvqutvvvvk8avlvnvvvuvvl", // :
    b"qqorrsopqvvspisqvhiprvvvvqddvvvuvvvvvvl", // =
    b"mtrmksumvvvolmrgvshhlvvvrvlvvvvvvvevvvv", // (
    b"vvvvvvvvvvvvvvvvvvvvvvvvvvveivvhvvuguml", // )
    b"lvlkhvvtkvviffvhlgfrvvpvvvdtvvvvvvvvvvj", // [
    b"vvvvvvvvvvvvvvvvvvvvvvvvvvvcvvvdvvvvvvl", // ]
    b"qvrtrvvvtvvvuvotvvrpvvrvvveevvvvvvvvvvv", // ,
    b"nkfhhoognpujhnhhthellmhtusaervjvvvvvvre", // other
];

/// How rare each symbol is, in the same unit.
const SINGLES: &[u8; KINDS] = b"7a886aba8da99779f7779cbcce358ab7bcdbbd9";

/// The symbol of each byte.
const KINDS_OF_BYTES: [u8; 256] = kinds_of_bytes();

/// Words of about every tenth log line, by judgement. Pairs alone say that a word is as rare as any other text of its length.
#[rustfmt::skip]
const COMMON_WORDS: [&[u8]; 48] = [
    b"error", b"info", b"warn", b"warning", b"debug", b"notice", b"level", b"message", b"time", b"timestamp", b"failed", b"failure",
    b"exception", b"connection", b"connected", b"request", b"response", b"timeout", b"client", b"server", b"service", b"status", b"state",
    b"user", b"root", b"from", b"host", b"port", b"process", b"thread", b"logger", b"caller", b"node", b"pod", b"container", b"namespace",
    b"kubernetes", b"stdout", b"stderr", b"start", b"started", b"finished", b"received", b"authentication", b"invalid", b"null", b"java",
    b"task",
];

/// Bytes of an ordinary line.
const LINE: f64 = 120.0;

/// Few lines are as long as this, in bytes.
const LONG_LINE: usize = 512;

/// Share of positions where a common word begins.
const COMMON_SHARE: f64 = 0.1 / LINE;

/// Steps of the tables in one factor of two.
const STEPS: f64 = 1.5;

/// The share of positions in log text where `text` begins, in any case: between 0 and 1.
pub(super) fn share(text: &[u8]) -> f64 {
    let is_common = COMMON_WORDS.iter().any(|word| word.windows(text.len().max(1)).any(|part| part.eq_ignore_ascii_case(text)));
    share_of_pairs(text).max(if is_common { COMMON_SHARE } else { 0.0 })
}

/// The same by pairs alone, a first-order Markov chain: for pieces of words.
pub(super) fn share_of_pairs(text: &[u8]) -> f64 {
    let Some(first) = text.first() else { return 1.0 };
    let single = |byte: u8| level(SINGLES[kind(byte)]) + within_kind(byte);
    let levels = text.windows(2).fold(single(*first), |sum, pair| {
        // The second symbol, given the first one.
        let step = level(PAIRS[kind(pair[0])][kind(pair[1])]) - level(SINGLES[kind(pair[0])]);
        sum + step.max(0.0) + within_kind(pair[1])
    });
    (-levels / STEPS).exp2()
}

/// All ten digits are one kind, so a certain digit is rarer by a factor of ten: 3.3 factors of two.
fn within_kind(byte: u8) -> f64 {
    if byte.is_ascii_digit() { 3.3 * STEPS } else { 0.0 }
}

/// The share of lines that hold so many bytes of a class in a row, as if each byte were drawn alone. What is not printable ASCII does not count.
pub(super) fn share_of_lines_with_run(is_member: impl Fn(u8) -> bool, length: usize) -> f64 {
    let (mut members, mut all) = (0.0, 0.0);
    for byte in (b' '..=b'~').filter(|byte| !byte.is_ascii_uppercase()) {
        let share = share_of_pairs(&[byte]);
        all += share;
        members += if is_member(byte) || is_member(byte.to_ascii_uppercase()) { share } else { 0.0 };
    }
    let (member, stranger) = (members / all, 1.0 - members / all);
    if length >= LONG_LINE { 0.0 } else { member.powi(length as i32) * (1.0 + stranger * LINE) }
}

fn kind(byte: u8) -> usize {
    usize::from(KINDS_OF_BYTES[usize::from(byte)])
}

const fn kinds_of_bytes() -> [u8; 256] {
    let mut kinds = [SYMBOLS.len() as u8; 256];
    let mut at = 0;
    while at < SYMBOLS.len() {
        kinds[SYMBOLS[at] as usize] = at as u8;
        kinds[SYMBOLS[at].to_ascii_uppercase() as usize] = at as u8;
        at += 1;
    }
    let mut digit = b'0';
    while digit <= b'9' {
        kinds[digit as usize] = kinds[b'0' as usize];
        digit += 1;
    }
    kinds
}

fn level(digit: u8) -> f64 {
    f64::from(char::from(digit).to_digit(36).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_texts_have_a_smaller_share_than_common_ones() {
        for (rare, common) in [
            ("xz", "in"),
            ("oomkilled", "connection"),
            ("redis", "error"),
            ("tls", "error"),
            ("errors", "error"),
            ("quota", "2024"),
            ("zq", "e"),
        ] {
            assert!(share(rare.as_bytes()) < share(common.as_bytes()), "{rare} {common}");
        }
        assert!(PAIRS.iter().chain([&SINGLES]).all(|row| row.iter().all(|digit| char::from(*digit).is_digit(36))));
    }
}
