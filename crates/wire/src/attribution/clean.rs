//! Bounds what a client says about itself.

/// Longest value that is kept, in bytes.
const LIMIT: usize = 256;

/// The value without control characters, cut to its bound; nothing if nothing remains.
pub(super) fn clean(value: &str) -> Option<String> {
    let mut cleaned = String::new();
    for letter in value.trim().chars().filter(|letter| !letter.is_control()) {
        if cleaned.len() + letter.len_utf8() > LIMIT {
            break;
        }
        cleaned.push(letter);
    }
    (!cleaned.is_empty()).then_some(cleaned)
}
