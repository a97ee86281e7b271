//! Classes of 32 bytes at once, where the processor has AVX2.
//!
//! The one place with `unsafe`: the processor's instructions are called here, after it has been
//! asked whether it has them. `runs.rs` has the twin that works everywhere, and tests that both
//! agree.

use std::arch::x86_64::{
    __m256i, _mm256_and_si256, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8,
    _mm256_set1_epi8, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srli_epi16,
};

use super::{BLOCK, BLOCKS, Classify};

/// The fast way, where the processor can.
pub(super) fn classify() -> Option<Classify> {
    std::arch::is_x86_feature_detected!("avx2").then_some(checked as Classify)
}

#[expect(
    unsafe_code,
    reason = "`classify` has asked the processor for AVX2 before it hands this out"
)]
fn checked(blocks: &[[u8; BLOCK]], words: &mut [u64; BLOCKS]) {
    // SAFETY: nobody but `classify` names this function, and it found AVX2.
    unsafe { classes(blocks, words) }
}

#[target_feature(enable = "avx2")]
fn classes(blocks: &[[u8; BLOCK]], words: &mut [u64; BLOCKS]) {
    for (block, word) in blocks.iter().zip(words) {
        let (halves, _) = block.as_chunks::<32>();
        let [low, high] = halves else { continue };
        *word = u64::from(half(low)) | u64::from(half(high)) << 32;
    }
}

/// A byte's low and high four bits each name a set of classes; a byte is of those in both. The
/// classes by high bits: `-`, digits, `A`–`O` and `a`–`o`, `P`–`Z` and `p`–`z`, `_`.
#[target_feature(enable = "avx2")]
fn half(bytes: &[u8; 32]) -> u32 {
    const DASH: i8 = 1;
    const DIGIT: i8 = 2;
    const EARLY: i8 = 4;
    const LATE: i8 = 8;
    const LINE: i8 = 16;
    const LL: i8 = DIGIT | EARLY | LATE;
    const BY_LOW: [i8; 16] = [
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
    const BY_HIGH: [i8; 16] =
        [0, 0, DASH, DIGIT, EARLY, LATE | LINE, EARLY, LATE, 0, 0, 0, 0, 0, 0, 0, 0];
    let bytes = load(bytes);
    let nibble = _mm256_set1_epi8(15);
    let low = _mm256_and_si256(bytes, nibble);
    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), nibble);
    let classes = _mm256_and_si256(
        _mm256_shuffle_epi8(table(BY_LOW), low),
        _mm256_shuffle_epi8(table(BY_HIGH), high),
    );
    let none = _mm256_cmpeq_epi8(classes, _mm256_setzero_si256());
    !_mm256_movemask_epi8(none).cast_unsigned()
}

#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "the instruction that loads takes a pointer")]
fn load(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: the array has the 32 bytes that are loaded, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
fn table(entries: [i8; 16]) -> __m256i {
    let twice: [i8; 32] = std::array::from_fn(|at| entries.get(at % 16).copied().unwrap_or(0));
    load(&twice.map(i8::cast_unsigned))
}
