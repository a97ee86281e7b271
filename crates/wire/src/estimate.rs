//! Estimates how many tokens a text has, where the upstream did not get to say it: with the tokenizer
//! of current models, on a sample of bounded size.

use memchr::memmem;
use tiktoken_rs::o200k_base_singleton;

use crate::ask::Ask;

/// A text is kept in blocks of so many bytes,
const BLOCK: usize = 256;
/// and so many bytes at most: a thousand tokens tell how dense the rest is. An idle stream shall not
/// weigh more.
const MOST: usize = 16 * BLOCK;
/// A rule of thumb for English text and code, where nothing is kept.
const BYTES_PER_TOKEN: u64 = 4;
/// Letters that are no language for so long are data: encrypted reasoning, a file, a picture.
const OPAQUE: usize = 80;
/// Encrypted reasoning has about so many bytes for each token that it stands for.
const OPAQUE_BYTES_PER_TOKEN: u64 = 6;
/// A picture of ordinary size at the detail that the API chooses.
const PICTURE_TOKENS: u64 = 1_000;
/// In shorter pieces of a request pictures are not looked for.
const LONG: usize = 32 << 10;

/// All of a short text; of a long one blocks that lie evenly over it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// Bytes that have come.
    seen: u64,
    /// Whole blocks, and one that is not whole yet.
    kept: Vec<u8>,
    /// One block of 2 to the power of this is kept.
    thinned: u32,
}

impl Sample {
    /// For a text of so many bytes at most: what would be thinned out later is not kept at all.
    fn of(bytes: usize) -> Self {
        let mut thinned = 0;
        while bytes >> thinned > MOST {
            thinned += 1;
        }
        Self { thinned, ..Self::default() }
    }

    /// Adds what a JSON string holds between its quotes, or other JSON, as it stands.
    pub fn add(&mut self, raw: &[u8]) {
        let mut rest = raw;
        while !rest.is_empty() {
            let (block, within) = (self.seen / BLOCK as u64, self.seen % BLOCK as u64);
            let every = 1u64 << self.thinned;
            let is_kept = block.is_multiple_of(every);
            let next = if is_kept { 1 } else { every - block % every };
            let length = usize::try_from(next * BLOCK as u64 - within).unwrap_or(usize::MAX);
            let (piece, after) = rest.split_at(length.min(rest.len()));
            if is_kept {
                self.kept.extend_from_slice(piece);
            }
            self.seen += piece.len() as u64;
            rest = after;
            if self.kept.len() == MOST {
                self.thin();
            }
        }
    }

    /// Keeps every other block of those there are.
    fn thin(&mut self) {
        let half = MOST / BLOCK / 2;
        for block in 0..half {
            let from = 2 * block * BLOCK;
            self.kept.copy_within(from..from + BLOCK, block * BLOCK);
        }
        self.kept.truncate(half * BLOCK);
        self.thinned += 1;
    }

    /// How many tokens so many bytes are, of which this is a sample.
    pub fn tokens(&self, bytes: u64) -> u64 {
        if self.kept.is_empty() {
            return by_bytes(bytes);
        }
        let tokens: u64 = match self.thinned {
            0 => count(&self.kept),
            _ => self.kept.chunks(BLOCK).map(count).sum(),
        };
        let tokens = u128::from(tokens) * u128::from(bytes);
        u64::try_from(tokens.div_ceil(self.kept.len() as u128)).unwrap_or(u64::MAX)
    }
}

/// Tokens of so many bytes, where nothing of them is kept.
pub fn by_bytes(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN)
}

/// What a request says, as far as it tells how many tokens that is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    sample: Sample,
    pictures: u64,
}

impl Question {
    /// Takes a sample of what a body says to the model.
    pub fn read(ask: &Ask, body: &[u8]) -> Self {
        let bytes = ask.items.iter().map(|item| item.range.len()).sum();
        let mut question = Self { sample: Sample::of(bytes), pictures: 0 };
        for item in &ask.items {
            question.add(body.get(item.range.clone()).unwrap_or_default());
        }
        question
    }

    fn add(&mut self, item: &[u8]) {
        let mut rest = item;
        // The bytes of a picture say nothing about its tokens.
        while rest.len() >= LONG
            && let Some(begin) = memmem::find(rest, b"\"data:image/")
        {
            let (before, picture) = rest.split_at(begin + 1);
            self.sample.add(before);
            self.pictures += 1;
            let end = memchr::memchr(b'"', picture).unwrap_or(picture.len());
            rest = picture.get(end..).unwrap_or_default();
        }
        self.sample.add(rest);
    }

    /// How many tokens it has; nothing where it says nothing that is known here.
    pub fn tokens(&self) -> Option<u64> {
        let pictures = self.pictures.saturating_mul(PICTURE_TOKENS);
        let seen = Some(self.sample.seen).filter(|seen| *seen > 0)?;
        Some(self.sample.tokens(seen).saturating_add(pictures))
    }
}

/// Tokens of a piece of raw JSON; its ends may be anywhere.
fn count(raw: &[u8]) -> u64 {
    let text = plain(raw);
    let (mut tokens, mut rest) = (0, text.as_str());
    while let Some((begin, end)) = opaque(rest) {
        let (before, data) = rest.split_at(begin);
        let (data, after) = data.split_at(end - begin);
        tokens += whole(before);
        tokens += (data.len() as u64).div_ceil(OPAQUE_BYTES_PER_TOKEN);
        rest = after;
    }
    tokens + whole(rest)
}

/// Tokens of a text. The tokenizer is made at its first use, which takes a moment.
fn whole(text: &str) -> u64 {
    o200k_base_singleton().encode_ordinary(text).len() as u64
}

/// Where the first run of data begins and ends: letters of all kinds, without end.
fn opaque(text: &str) -> Option<(usize, usize)> {
    let is_data = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=-_".contains(byte);
    let mut begin = 0;
    for run in text.as_bytes().split(|byte| !is_data(byte)) {
        let has = |is: fn(&u8) -> bool| run.iter().any(is);
        if run.len() >= OPAQUE
            && has(u8::is_ascii_digit)
            && has(u8::is_ascii_uppercase)
            && has(u8::is_ascii_lowercase)
        {
            return Some((begin, begin + run.len()));
        }
        begin += run.len() + 1;
    }
    None
}

/// The text that raw JSON stands for. Escapes, and letters, that are cut at the ends are left out.
fn plain(raw: &[u8]) -> String {
    let raw = String::from_utf8_lossy(raw);
    let (mut text, mut rest) = (String::with_capacity(raw.len()), &*raw);
    while let Some((before, escape)) = rest.split_once('\\') {
        text.push_str(before);
        let mut letters = escape.chars();
        match letters.next() {
            Some('n' | 'r') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some('u') => {
                let (letter, used) = unicode(escape.get(1..).unwrap_or_default());
                text.extend(letter);
                letters = escape.get(1 + used..).unwrap_or_default().chars();
            }
            other => text.extend(other),
        }
        rest = letters.as_str();
    }
    text.push_str(rest);
    text
}

/// The letter of the digits behind `\u`, of two such where they are a pair, and how long they are.
fn unicode(digits: &str) -> (Option<char>, usize) {
    let unit = |at: usize| u16::from_str_radix(digits.get(at..at + 4)?, 16).ok();
    let Some(first) = unit(0) else { return (None, 0) };
    let second = digits.get(4..6).filter(|mark| *mark == "\\u").and_then(|_| unit(6));
    let units = [Some(first), second];
    match char::decode_utf16(units.into_iter().flatten()).next() {
        Some(Ok(letter)) => (Some(letter), if letter.len_utf16() == 2 { 10 } else { 4 }),
        _ => (None, 4),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(text: &str) -> u64 {
        whole(text)
    }

    fn sample(pieces: &[&[u8]]) -> Sample {
        let mut sample = Sample::default();
        for piece in pieces {
            sample.add(piece);
        }
        sample
    }

    #[test]
    fn a_short_text_is_counted_as_its_model_does() {
        let text = r#"fn main() {\n\tprintln!(\"gr\u00fc\u00df dich \ud83d\ude00\");\n}"#;
        let plain = "fn main() {\n\tprintln!(\"grüß dich 😀\");\n}";
        assert_eq!(super::plain(text.as_bytes()), plain);
        let sample = sample(&[text.as_bytes()]);
        assert_eq!(sample.tokens(text.len() as u64), tokens(plain));
    }

    #[test]
    fn a_long_text_is_counted_within_a_few_percent() {
        let text = include_str!("estimate.rs").repeat(20);
        let raw = serde_json::to_string(&text).unwrap();
        let raw = &raw.as_bytes()[1..raw.len() - 1];
        let sample = sample(&[raw]);
        assert!(sample.kept.len() < MOST);
        let (estimate, exact) = (sample.tokens(raw.len() as u64), tokens(&text));
        assert!(estimate.abs_diff(exact) * 20 < exact, "{estimate} for {exact}");
    }

    #[test]
    fn data_is_not_read_as_text() {
        let picture = "iVBORw0KGgo".repeat(10_000);
        let body = format!(
            r#"{{"input":[{{"image_url":"data:image/png;base64,{picture}"}},{{"encrypted_content":"{}"}}]}}"#,
            "gAAAAABoXy9".repeat(60),
        );
        let question = Question::read(&Ask::read(body.as_bytes()).unwrap(), body.as_bytes());
        let tokens = question.tokens().unwrap();
        assert!((1_110..1_140).contains(&tokens), "{tokens}");
    }

    #[test]
    fn what_was_not_kept_counts_by_its_bytes() {
        assert_eq!(Sample::default().tokens(9), 3);
        assert_eq!(Question::default().tokens(), None);
    }

    #[test]
    fn hostile_texts_are_counted_too() {
        // The tokenizer's pattern looks ahead and goes back: runs of what it goes back over.
        for run in [" ", "A", "a", "\u{300}", "1", "\t", "'", "Aa", " \u{a0}", "\u{4e00}"] {
            let text = run.repeat(MOST / run.len());
            assert!(whole(&text) > 0, "{run:?}");
            assert!(whole(&format!("{text}x")) > 0, "{run:?}");
        }
    }

    proptest! {
        #[test]
        fn a_sample_is_the_same_however_its_text_is_cut(
            text in prop::collection::vec(any::<u8>(), 0..40_000),
            cuts in prop::collection::vec(0usize..2_000, 0..60),
        ) {
            let mut cut = Sample::default();
            let mut rest = &text[..];
            for length in cuts {
                let (piece, after) = rest.split_at(length.min(rest.len()));
                cut.add(piece);
                rest = after;
            }
            cut.add(rest);
            prop_assert_eq!(&cut, &sample(&[&text]));
            prop_assert!(cut.kept.len() < MOST);
            // It never fails, whatever the bytes are.
            cut.tokens(text.len() as u64);
        }
    }
}
