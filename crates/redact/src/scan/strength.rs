//! How random a value looks, and whether it only stands for one.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

/// Shannon's entropy, in bits a character.
#[expect(clippy::cast_precision_loss, reason = "a token has few characters")]
pub(super) fn entropy(text: &[u8]) -> f32 {
    let mut counts = [0u8; 256];
    // The sum over the characters of how often each stands, times the logarithm of that.
    let mut sum = 0.0;
    for byte in text {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            sum += STEPS.get(usize::from(*count)).copied().unwrap_or(0.0);
            *count = count.saturating_add(1);
        }
    }
    let all = text.len().max(1) as f32;
    all.log2() - sum / all
}

/// How much `n * log2(n)` grows from each number to the next.
static STEPS: LazyLock<[f32; 256]> = LazyLock::new(|| {
    let of = |n: u8| f32::from(n) * f32::from(n.max(1)).log2();
    std::array::from_fn(|n| u8::try_from(n + 1).map_or(0.0, |next| of(next) - of(next - 1)))
});

/// Words that stand where a secret would.
static STANDING: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(&[
        "example",
        "placeholder",
        "changeme",
        "xxxx",
        "dummy",
        "redacted",
        "yourtoken",
        "your_",
        "your-",
        "123456789abc",
        "eby8vdm02xnocqf",
    ])
});

/// Texts that are looked for in letters of either case.
#[derive(Debug)]
pub(super) struct Phrases(Option<AhoCorasick>);

impl Phrases {
    pub(super) fn new(texts: &[&str]) -> Self {
        let mut builder = AhoCorasick::builder();
        let builder = builder.ascii_case_insensitive(true).kind(Some(AhoCorasickKind::DFA));
        Self(builder.build(texts).ok())
    }

    /// Whether one of them stands in this.
    pub(super) fn any_in(&self, text: &[u8]) -> bool {
        self.0.as_ref().is_some_and(|texts| texts.is_match(text))
    }
}

/// Whether this only stands for a token: words that say so, one character over and over.
pub(super) fn is_placeholder(text: &[u8]) -> bool {
    repeats(text) || STANDING.any_in(text)
}

/// Whether one character stands six times in a row.
pub(super) fn repeats(text: &[u8]) -> bool {
    let mut last = None;
    let mut count = 0;
    text.iter().any(|byte| {
        count = if last == Some(byte) { count + 1 } else { 1 };
        last = Some(byte);
        count == 6
    })
}

/// Whether a word in small letters stands in the text in letters of either case.
pub(super) fn contains(text: &[u8], word: &[u8]) -> bool {
    let Some(first) = word.first() else { return true };
    let begins = |window: &[u8]| window.first().is_some_and(|b| b.to_ascii_lowercase() == *first);
    text.windows(word.len()).any(|window| begins(window) && window.eq_ignore_ascii_case(word))
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

/// What a byte is to the table below: a letter of either case by its place, a digit, or other.
fn class(byte: u8) -> usize {
    match byte {
        b'a'..=b'z' => usize::from(byte - b'a'),
        b'A'..=b'Z' => usize::from(byte - b'A') + 26,
        b'0'..=b'9' => 52,
        _ => 53,
    }
}

/// How much it surprises that a byte of one class follows one of another.
static POINTS: LazyLock<[[u8; 54]; 54]> = LazyLock::new(|| {
    let points = |one: usize, next: usize| match (one, next) {
        // A word begins anew with a capital.
        (0..=25, 26..=51) => 40,
        (0..=51, 0..=51) => {
            let often = FOLLOW.get(one % 26).map_or(&b""[..], |letters| letters.as_bytes());
            let is_next = |letter: &u8| usize::from(letter - b'a') == next % 26;
            if often.iter().any(is_next) { 0 } else { 100 }
        }
        (52, 52) | (53, _) | (_, 53) => 20,
        _ => 60,
    };
    std::array::from_fn(|one| std::array::from_fn(|next| points(one, next)))
});

/// How much a text surprises one who expects words: 0 for plain words, about 60 for random
/// characters, in hundredths.
pub(super) fn surprise(text: &[u8]) -> usize {
    let points = &*POINTS;
    let mut sum = 0;
    let mut last: Option<&[u8; 54]> = None;
    for byte in text {
        let class = class(*byte);
        let more = last.and_then(|row| row.get(class)).copied().unwrap_or(0);
        sum += usize::from(more);
        last = points.get(class);
    }
    sum / text.len().saturating_sub(1).max(1)
}
