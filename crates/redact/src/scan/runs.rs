//! Finds runs of token bytes: the pass over everything, so it must be fast.
//!
//! Bytes are put into classes 64 at a time, a bit each; runs are then found in those bits.

#[cfg(target_arch = "x86_64")]
mod avx2;

use std::ops::Range;
use std::sync::LazyLock;

use super::is_token;

/// The shortest run that is told of.
pub(crate) const SHORTEST: usize = 16;
/// Bytes in a block: a bit each in a word.
const BLOCK: usize = 64;
/// Blocks that are put into classes at once.
const BLOCKS: usize = 64;

/// Says of each block's bytes which are token bytes.
type Classify = fn(&[[u8; BLOCK]], &mut [u64; BLOCKS]);

static CLASSIFY: LazyLock<Classify> = LazyLock::new(fastest);

fn fastest() -> Classify {
    #[cfg(target_arch = "x86_64")]
    if let Some(classify) = avx2::classify() {
        return classify;
    }
    scalar
}

/// Tells of every run of at least [`SHORTEST`] token bytes, in order.
pub(crate) fn each(bytes: &[u8], tell: impl FnMut(Range<usize>)) {
    each_with(*CLASSIFY, bytes, tell);
}

fn each_with(classify: Classify, bytes: &[u8], tell: impl FnMut(Range<usize>)) {
    let mut finder = Finder { open: None, tell };
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let mut base = 0;
    let mut words = [0; BLOCKS];
    for some in blocks.chunks(BLOCKS) {
        classify(some, &mut words);
        for word in words.iter().take(some.len()) {
            finder.word(base, *word);
            base += BLOCK;
        }
    }
    let mut last = [0; BLOCK];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    classify(&[last], &mut words);
    finder.word(base, words[0]);
    finder.close(base + BLOCK);
}

struct Finder<F> {
    /// Where the run began that reaches up to the block at hand.
    open: Option<usize>,
    tell: F,
}

impl<F: FnMut(Range<usize>)> Finder<F> {
    fn word(&mut self, base: usize, mut word: u64) {
        if self.open.is_some() {
            let low = word.trailing_ones();
            if low == u64::BITS {
                return;
            }
            self.close(base + low as usize);
            word = word >> low << low;
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
        while starts != 0 {
            let at = starts.trailing_zeros();
            let end = at + (word >> at).trailing_ones();
            (self.tell)(base + at as usize..base + end as usize);
            starts = starts.checked_shr(end).unwrap_or(0).checked_shl(end).unwrap_or(0);
        }
    }

    fn close(&mut self, end: usize) {
        if let Some(start) = self.open.take().filter(|start| end - start >= SHORTEST) {
            (self.tell)(start..end);
        }
    }
}

/// Works everywhere; what the vectorised twin does, said plainly.
fn scalar(blocks: &[[u8; BLOCK]], words: &mut [u64; BLOCKS]) {
    for (block, word) in blocks.iter().zip(words) {
        *word = block.iter().rev().fold(0, |word, byte| word << 1 | u64::from(is_token(*byte)));
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use proptest::prelude::*;

    use super::{Classify, SHORTEST, each_with, fastest, is_token, scalar};

    fn runs(classify: Classify, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        each_with(classify, bytes, |run| found.push(run));
        found
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
    fn texts() -> impl Strategy<Value = Vec<u8>> {
        let run =
            (0usize..200, any::<u8>()).prop_map(|(n, end)| [vec![b'a'; n], vec![end]].concat());
        proptest::collection::vec(run, 0..60).prop_map(|runs| runs.concat())
    }

    proptest! {
        #[test]
        fn both_ways_find_the_runs_there_are(text in texts()) {
            let expected = plainly(&text);
            prop_assert_eq!(runs(scalar, &text), expected.clone());
            prop_assert_eq!(runs(fastest(), &text), expected);
        }

        #[test]
        fn every_byte_is_in_the_same_class_both_ways(text in proptest::collection::vec(any::<u8>(), 0..500)) {
            prop_assert_eq!(runs(scalar, &text), runs(fastest(), &text));
        }
    }

    #[test]
    fn all_256_bytes_are_classed_alike() {
        for byte in 0..=255 {
            let text = [byte; 64];
            assert_eq!(runs(fastest(), &text), plainly(&text), "{byte}");
        }
    }
}
