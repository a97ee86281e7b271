//! Classes of 64 bytes at once, where the processor has AVX2.
//!
//! The one place with `unsafe`: the processor's instructions are called here, after it has been
//! asked whether it has them. `runs.rs` has the twin that works everywhere, and tests that both
//! agree.

use std::arch::x86_64::{
    __m256i, _mm256_and_si256, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8,
    _mm256_or_si256, _mm256_set_epi64x, _mm256_set1_epi8, _mm256_setzero_si256,
    _mm256_shuffle_epi8, _mm256_srli_epi16,
};

use super::{BLOCK, Bits, Classify, Nibbles, WINDOW};

/// The fast way, where the processor can.
pub(super) fn classify() -> Option<Classify> {
    std::arch::is_x86_feature_detected!("avx2").then_some(checked as Classify)
}

#[expect(
    unsafe_code,
    reason = "`classify` has asked the processor for AVX2 before it hands this out"
)]
fn checked(nibbles: &Nibbles, bytes: &[u8], blocks: &mut [Bits]) {
    // SAFETY: nobody but `classify` names this function, and it found AVX2.
    unsafe { classes(nibbles, bytes, blocks) }
}

/// The tables of one of the sets of eight groups: for each of three bytes, by its low and by its
/// high four bits.
type Tables = [[__m256i; 2]; 3];

#[target_feature(enable = "avx2")]
fn classes(nibbles: &Nibbles, bytes: &[u8], blocks: &mut [Bits]) {
    let [one, other] = nibbles.halves.map(|set| set.map(|byte| byte.map(|half| table(half))));
    let mut rest = bytes;
    for bits in blocks {
        let Some(window) = rest.first_chunk::<WINDOW>() else { return };
        let low = [load::<0>(window), load::<1>(window), load::<2>(window)];
        let high = [load::<32>(window), load::<33>(window), load::<34>(window)];
        let (low_tokens, low_texts) = half(&one, &other, low);
        let (high_tokens, high_texts) = half(&one, &other, high);
        bits.tokens = u64::from(low_tokens) | u64::from(high_tokens) << 32;
        bits.texts = u64::from(low_texts) | u64::from(high_texts) << 32;
        rest = rest.get(BLOCK..).unwrap_or_default();
    }
}

/// Which of 32 bytes are token bytes, and at which a text may have its mark.
#[target_feature(enable = "avx2")]
#[inline]
fn half(one: &Tables, other: &Tables, [first, second, third]: [__m256i; 3]) -> (u32, u32) {
    let (first, second, third) = (split(first), split(second), split(third));
    let texts = _mm256_or_si256(all(one, first, second, third), all(other, first, second, third));
    (tokens(first), some(texts))
}

/// The groups that all three bytes may be of.
#[target_feature(enable = "avx2")]
#[inline]
fn all(tables: &Tables, first: Split, second: Split, third: Split) -> __m256i {
    let [a, b, c] = tables;
    let two = _mm256_and_si256(both(a, first), both(b, second));
    _mm256_and_si256(two, both(c, third))
}

/// The groups that a byte's low and high four bits both name.
#[target_feature(enable = "avx2")]
#[inline]
fn both([low, high]: &[__m256i; 2], split: Split) -> __m256i {
    _mm256_and_si256(_mm256_shuffle_epi8(*low, split.low), _mm256_shuffle_epi8(*high, split.high))
}

/// The low and the high four bits of each byte. The instruction that looks up takes the low four
/// itself, and finds nothing for a byte that is not ASCII.
#[derive(Clone, Copy)]
struct Split {
    low: __m256i,
    high: __m256i,
}

#[target_feature(enable = "avx2")]
#[inline]
fn split(bytes: __m256i) -> Split {
    let nibble = _mm256_set1_epi8(15);
    Split { low: bytes, high: _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), nibble) }
}

/// Groups of token bytes by high bits: `-`, digits, `A`–`O` and `a`–`o`, `P`–`Z` and `p`–`z`, `_`.
#[target_feature(enable = "avx2")]
#[inline]
fn tokens(split: Split) -> u32 {
    const DASH: u8 = 1;
    const DIGIT: u8 = 2;
    const EARLY: u8 = 4;
    const LATE: u8 = 8;
    const LINE: u8 = 16;
    const LL: u8 = DIGIT | EARLY | LATE;
    const BY_LOW: [u8; 16] = [
        DIGIT | LATE,
        LL,
        LL,
        LL,
        LL,
        LL,
        LL,
        LL,
        LL,
        LL,
        EARLY | LATE,
        EARLY,
        EARLY,
        EARLY | DASH,
        EARLY,
        EARLY | LINE,
    ];
    const BY_HIGH: [u8; 16] =
        [0, 0, DASH, DIGIT, EARLY, LATE | LINE, EARLY, LATE, 0, 0, 0, 0, 0, 0, 0, 0];
    some(both(&[table(BY_LOW), table(BY_HIGH)], split))
}

/// A bit for each byte that is of some group.
#[target_feature(enable = "avx2")]
#[inline]
fn some(groups: __m256i) -> u32 {
    let none = _mm256_cmpeq_epi8(groups, _mm256_setzero_si256());
    !_mm256_movemask_epi8(none).cast_unsigned()
}

/// 32 bytes of a window, from a place on.
#[target_feature(enable = "avx2")]
#[inline]
#[expect(unsafe_code, reason = "the instruction that loads takes a pointer")]
fn load<const AT: usize>(window: &[u8; WINDOW]) -> __m256i {
    const { assert!(AT + 32 <= WINDOW) };
    // SAFETY: the 32 bytes from there on are the window's, as was just shown, and the load needs no
    // alignment.
    unsafe { _mm256_loadu_si256(window.as_ptr().add(AT).cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn table(entries: [u8; 16]) -> __m256i {
    let (halves, _) = entries.as_chunks::<8>();
    let [low, high] = [halves.first(), halves.last()];
    let [low, high] = [low, high].map(|half| half.map_or(0, |half| i64::from_le_bytes(*half)));
    _mm256_set_epi64x(high, low, high, low)
}
