//! How random a value looks, and whether it only stands for one.

/// Shannon's entropy, in bits a character.
#[expect(clippy::cast_precision_loss, reason = "a token has few characters")]
pub(super) fn entropy(text: &[u8]) -> f32 {
    let mut counts = [0u16; 256];
    for byte in text {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count = count.saturating_add(1);
        }
    }
    let all = text.len() as f32;
    let share = |count: &u16| f32::from(*count) / all;
    let some = counts.iter().filter(|count| **count > 0);
    some.map(|count| -share(count) * share(count).log2()).sum()
}

/// Words that stand where a secret would.
const STANDING: [&[u8]; 11] = [
    b"example",
    b"placeholder",
    b"changeme",
    b"xxxx",
    b"dummy",
    b"redacted",
    b"yourtoken",
    b"your_",
    b"your-",
    b"123456789abc",
    b"eby8vdm02xnocqf",
];

/// Whether this only stands for a token: words that say so, one character over and over.
pub(super) fn is_placeholder(text: &[u8]) -> bool {
    repeats(text) || STANDING.iter().any(|word| contains(text, word))
}

/// Whether one character stands six times in a row.
pub(super) fn repeats(text: &[u8]) -> bool {
    text.windows(6).any(|six| six.iter().all(|byte| six.first() == Some(byte)))
}

/// Whether a word stands in the text in letters of either case.
pub(super) fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

/// Letters that follow a letter often in words of code and prose: counted in the sources of
/// Python's and Node's libraries and of some hundred crates. Nine of ten pairs are among them; of
/// random pairs, one of three.
const FOLLOW: [&str; 26] = [
    "abcdgilmnprstuvy",
    "aeilorsu",
    "acehiklorstu",
    "adeilorsu",
    "abcdefgilmnpqrstvwx",
    "aefilorsu",
    "aehinrs",
    "aeiot",
    "abcdefglmnoprstvz",
    "",
    "eis",
    "adeilostuy",
    "aeimopsu",
    "acdefgiklnostuv",
    "bcdfgklmnoprstuvw",
    "aehiloprstuy",
    "u",
    "acdegilmnoprstuy",
    "acehilopstuy",
    "acehiloprstuy",
    "abceilmnprst",
    "aei",
    "aei",
    "t",
    "p",
    "e",
];

const PAIRS: [u32; 26] = pairs();

const fn pairs() -> [u32; 26] {
    let mut pairs = [0; 26];
    let mut letter = 0;
    while letter < 26 {
        #[expect(clippy::indexing_slicing, reason = "runs when compiled")]
        let text = FOLLOW[letter].as_bytes();
        let mut at = 0;
        while at < text.len() {
            #[expect(clippy::indexing_slicing, reason = "runs when compiled")]
            {
                pairs[letter] |= 1 << (text[at] - b'a');
            }
            at += 1;
        }
        letter += 1;
    }
    pairs
}

/// How much a text surprises one who expects words: 0 for plain words, about 60 for random
/// characters, in hundredths.
pub(super) fn surprise(text: &[u8]) -> usize {
    let points: usize = text.windows(2).map(points).sum();
    points / text.len().saturating_sub(1).max(1)
}

fn points(pair: &[u8]) -> usize {
    let [one, next] = *pair else { return 0 };
    if one.is_ascii_alphabetic() && next.is_ascii_alphabetic() {
        // A word begins anew with a capital.
        if one.is_ascii_lowercase() && next.is_ascii_uppercase() {
            return 40;
        }
        let index = usize::from(one.to_ascii_lowercase() - b'a');
        let often =
            PAIRS.get(index).is_some_and(|set| set >> (next.to_ascii_lowercase() - b'a') & 1 == 1);
        return if often { 0 } else { 100 };
    }
    if one.is_ascii_alphanumeric() && next.is_ascii_alphanumeric() {
        return if one.is_ascii_digit() && next.is_ascii_digit() { 20 } else { 60 };
    }
    20
}
