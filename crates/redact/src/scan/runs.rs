//! The one pass over everything, so it must be fast: finds runs of token bytes, and the places
//! where one of a few short texts may stand.
//!
//! Bytes are put into classes 64 at a time, a bit each; runs are then found in those bits. A text
//! is looked for by three of its bytes. Texts are in sixteen groups; a byte's low and high four bits
//! each name the groups it may be of, and where three bytes in a row may be of one group, a text
//! may stand.

#[cfg(target_arch = "x86_64")]
mod avx2;

use std::ops::Range;
use std::sync::LazyLock;

use super::is_token;

/// The shortest run that is told of.
pub(crate) const SHORTEST: usize = 16;
/// Bytes in a block: a bit each in a word.
const BLOCK: usize = 64;
/// A block, and two bytes more: three bytes of a text may begin at its last.
const WINDOW: usize = BLOCK + 2;
/// Blocks that are put into classes at once.
const BLOCKS: usize = 64;

/// What the bytes of a block are, a bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Bits {
    /// Token bytes.
    tokens: u64,
    /// Where three bytes begin that may be those of a text.
    texts: u64,
}

/// Says of as many blocks as are asked for what their bytes are; two bytes stand after the last.
type Classify = fn(&Nibbles, &[u8], &mut [Bits]);

/// Which groups three ASCII bytes may be of. By low and by high four bits, for each set of eight groups
/// and each of the three; and the same by whole bytes.
#[derive(Debug, Clone)]
pub(super) struct Nibbles {
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "read 32 bytes at once"))]
    halves: [[[[u8; 16]; 2]; 3]; 2],
    whole: Box<[[u16; 3]; 256]>,
}

impl Nibbles {
    /// Three bytes each, and the group of each; a byte that is left open may be any.
    pub(super) fn new(texts: impl Iterator<Item = (usize, [Option<u8>; 3])>) -> Self {
        let mut halves = [[[[0; 16]; 2]; 3]; 2];
        for (group, bytes) in texts {
            let set = halves.get_mut(group / 8).into_iter().flatten();
            for ([low, high], byte) in set.zip(bytes) {
                let bit = 1 << (group % 8);
                add(low, byte.map(|byte| byte & 15), bit);
                add(high, byte.map(|byte| byte >> 4), bit);
            }
        }
        let of = |set: [[[u8; 16]; 2]; 3], at: usize, byte: usize| -> u8 {
            let [low, high] = set.get(at).copied().unwrap_or_default();
            let half = |half: [u8; 16], nibble: usize| half.get(nibble).copied().unwrap_or(0);
            half(low, byte & 15) & half(high, byte >> 4)
        };
        let both = |at: usize, byte: usize| u16::from_le_bytes(halves.map(|set| of(set, at, byte)));
        let ascii = |at, byte| if byte < 128 { both(at, byte) } else { 0 };
        let whole = std::array::from_fn(|byte| [0, 1, 2].map(|at| ascii(at, byte)));
        Self { halves, whole: Box::new(whole) }
    }

    /// The groups of which three bytes may be, a bit each.
    pub(super) fn groups(&self, [a, b, c]: [u8; 3]) -> u16 {
        let of = |byte: u8| self.whole.get(usize::from(byte)).copied().unwrap_or_default();
        of(a)[0] & of(b)[1] & of(c)[2]
    }
}

/// Adds a group to four bits; to all of them where they are open.
fn add(half: &mut [u8; 16], nibble: Option<u8>, group: u8) {
    let is_meant = |at: usize| nibble.is_none_or(|nibble| usize::from(nibble) == at);
    let meant = half.iter_mut().enumerate().filter(|(at, _)| is_meant(*at));
    meant.for_each(|(_, groups)| *groups |= group);
}

static CLASSIFY: LazyLock<Classify> = LazyLock::new(fastest);

fn fastest() -> Classify {
    #[cfg(target_arch = "x86_64")]
    if let Some(classify) = avx2::classify() {
        return classify;
    }
    scalar
}

/// A place that the pass tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A run of at least [`SHORTEST`] token bytes.
    Run(Range<usize>),
    /// Three bytes that may be those of a text begin here.
    Text(usize),
}

/// Tells of every run and of every place where a text may stand, until it is told to stop.
pub(super) fn each(nibbles: &Nibbles, bytes: &[u8], tell: impl FnMut(Place) -> bool) {
    each_with(*CLASSIFY, nibbles, bytes, tell);
}

fn each_with(classify: Classify, nibbles: &Nibbles, bytes: &[u8], tell: impl FnMut(Place) -> bool) {
    let mut finder = Finder { open: None, tell };
    let mut blocks = [Bits::default(); BLOCKS];
    let mut base = 0;
    while let Some(rest) = bytes.get(base..).filter(|rest| rest.len() >= WINDOW) {
        let count = ((rest.len() - 2) / BLOCK).min(BLOCKS);
        let some = blocks.get_mut(..count).unwrap_or_default();
        classify(nibbles, rest, some);
        for bits in some {
            if !finder.block(base, *bits) {
                return;
            }
            base += BLOCK;
        }
    }
    // The last blocks, filled up with bytes that are nothing.
    let mut last = [0; 2 * BLOCK + 2];
    let rest = bytes.get(base..).unwrap_or_default();
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let some = blocks.get_mut(..if rest.len() < BLOCK { 1 } else { 2 }).unwrap_or_default();
    classify(nibbles, &last, some);
    for bits in some {
        if !finder.block(base, *bits) {
            return;
        }
        base += BLOCK;
    }
    finder.close(base);
}

struct Finder<F> {
    /// Where the run began that reaches up to the block at hand.
    open: Option<usize>,
    tell: F,
}

impl<F: FnMut(Place) -> bool> Finder<F> {
    /// Tells of what is in a block; whether to go on.
    #[inline]
    fn block(&mut self, base: usize, bits: Bits) -> bool {
        let mut on = self.word(base, bits.tokens);
        let mut texts = bits.texts;
        while texts != 0 && on {
            on = (self.tell)(Place::Text(base + texts.trailing_zeros() as usize));
            texts &= texts - 1;
        }
        on
    }

    #[inline]
    fn word(&mut self, base: usize, mut word: u64) -> bool {
        let mut on = true;
        if self.open.is_some() {
            let low = word.trailing_ones();
            if low == u64::BITS {
                return true;
            }
            on = self.close(base + low as usize);
            word = word >> low << low;
        }
        if word == 0 {
            return on;
        }
        let high = word.leading_ones();
        if high > 0 {
            self.open = Some(base + BLOCK - high as usize);
            word = word.checked_shl(high).unwrap_or(0) >> (high % u64::BITS);
        }
        let two = word & word >> 1;
        let four = two & two >> 2;
        let eight = four & four >> 4;
        let mut starts = eight & eight >> 8;
        while starts != 0 && on {
            let at = starts.trailing_zeros();
            let end = at + (word >> at).trailing_ones();
            on = (self.tell)(Place::Run(base + at as usize..base + end as usize));
            starts = starts.checked_shr(end).unwrap_or(0).checked_shl(end).unwrap_or(0);
        }
        on
    }

    fn close(&mut self, end: usize) -> bool {
        let run = self.open.take().filter(|start| end - start >= SHORTEST);
        run.is_none_or(|start| (self.tell)(Place::Run(start..end)))
    }
}

/// Works everywhere; what the vectorised twin does, said plainly.
fn scalar(nibbles: &Nibbles, bytes: &[u8], blocks: &mut [Bits]) {
    let token = |word: u64, (at, byte): (usize, &u8)| word | u64::from(is_token(*byte)) << at;
    let text = |word: u64, (at, three): (usize, &[u8])| {
        let groups = three.first_chunk().map_or(0, |three| nibbles.groups(*three));
        word | u64::from(groups != 0) << at
    };
    for (index, bits) in blocks.iter_mut().enumerate() {
        let block = bytes.get(index * BLOCK..).unwrap_or_default();
        bits.tokens = block.iter().take(BLOCK).enumerate().fold(0, token);
        bits.texts = block.windows(3).take(BLOCK).enumerate().fold(0, text);
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use proptest::prelude::*;

    use super::{Classify, Nibbles, Place, SHORTEST, each_with, fastest, is_token, scalar};

    fn nibbles() -> Nibbles {
        let texts = [
            (0, [b'a', b'a', b'b'].map(Some)),
            (9, [b'k', b'e', b'y'].map(Some)),
            (15, [Some(b'\\'), Some(b'/'), None]),
        ];
        Nibbles::new(texts.into_iter())
    }

    fn places(classify: Classify, bytes: &[u8]) -> Vec<Place> {
        let mut found = Vec::new();
        each_with(classify, &nibbles(), bytes, |place| {
            found.push(place);
            true
        });
        found
    }

    fn runs(classify: Classify, bytes: &[u8]) -> Vec<Range<usize>> {
        let run = |place| if let Place::Run(run) = place { Some(run) } else { None };
        places(classify, bytes).into_iter().filter_map(run).collect()
    }

    fn texts(classify: Classify, bytes: &[u8]) -> Vec<usize> {
        let text = |place| if let Place::Text(at) = place { Some(at) } else { None };
        places(classify, bytes).into_iter().filter_map(text).collect()
    }

    /// The same, as one would say it.
    fn plainly(bytes: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let mut start = 0;
        for at in 0..=bytes.len() {
            if bytes.get(at).is_some_and(|byte| is_token(*byte)) {
                continue;
            }
            if at - start >= SHORTEST {
                found.push(start..at);
            }
            start = at + 1;
        }
        found
    }

    /// Texts in which runs of every length begin and end at every place of a block.
    fn some_runs() -> impl Strategy<Value = Vec<u8>> {
        let run =
            (0usize..200, any::<u8>()).prop_map(|(n, end)| [vec![b'a'; n], vec![end]].concat());
        proptest::collection::vec(run, 0..60).prop_map(|runs| runs.concat())
    }

    /// Where three bytes stand that may be those of a text, byte for byte.
    fn texts_plainly(bytes: &[u8]) -> Vec<usize> {
        let padded = [bytes, &[0; 2]].concat();
        let groups = padded.windows(3).map(|three| nibbles().groups(three.try_into().unwrap()));
        groups.enumerate().filter(|(_, groups)| *groups != 0).map(|(at, _)| at).collect()
    }

    proptest! {
        #[test]
        fn both_ways_find_the_runs_there_are(text in some_runs()) {
            let expected = plainly(&text);
            prop_assert_eq!(runs(scalar, &text), expected.clone());
            prop_assert_eq!(runs(fastest(), &text), expected);
        }

        #[test]
        fn both_ways_find_the_texts_there_are(text in r"([abkey\\/]{0,9}|[a-z]{50}|é){0,20}") {
            let expected = texts_plainly(text.as_bytes());
            prop_assert_eq!(texts(scalar, text.as_bytes()), expected.clone());
            prop_assert_eq!(texts(fastest(), text.as_bytes()), expected);
        }

        #[test]
        fn every_byte_is_in_the_same_class_both_ways(text in proptest::collection::vec(any::<u8>(), 0..500)) {
            prop_assert_eq!(places(scalar, &text), places(fastest(), &text));
        }
    }

    #[test]
    fn all_256_bytes_are_classed_alike() {
        for byte in 0..=255 {
            let text = [byte; 64];
            assert_eq!(runs(fastest(), &text), plainly(&text), "{byte}");
        }
    }

    #[test]
    fn every_length_ends_where_it_ends() {
        for length in 0..300 {
            let text = [b"aab", &vec![b'k'; length][..], b"key"].concat();
            assert_eq!(places(fastest(), &text), places(scalar, &text), "{length}");
            assert_eq!(texts(fastest(), &text), [0, length + 3], "{length}");
        }
    }
}
