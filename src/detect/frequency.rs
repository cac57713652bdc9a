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

/// Steps of the tables in one factor of two.
const STEPS: f64 = 1.5;

/// The share of positions in log text where `text` begins, by a first-order Markov chain. Between 0 and 1.
pub(super) fn share(text: &[u8]) -> f64 {
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

fn kind(byte: u8) -> usize {
    let folded = if byte.is_ascii_digit() { b'0' } else { byte.to_ascii_lowercase() };
    SYMBOLS.iter().position(|symbol| *symbol == folded).unwrap_or(KINDS - 1)
}

fn level(digit: u8) -> f64 {
    f64::from(char::from(digit).to_digit(36).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_texts_have_a_smaller_share_than_common_ones() {
        for (rare, common) in [("xz", "in"), ("oomkilled", "connection"), ("errors", "error"), ("quota", "2024"), ("zq", "e")] {
            assert!(share(rare.as_bytes()) < share(common.as_bytes()), "{rare} {common}");
        }
        assert!(PAIRS.iter().chain([&SINGLES]).all(|row| row.iter().all(|digit| char::from(*digit).is_digit(36))));
    }
}
