//! What a mask looks like: `[secret:LABEL:HHHHHHHHHHHH]`.

use std::ops::Range;

use memchr::memmem;

const PREFIX: &[u8] = b"[secret:";
const DIGITS: usize = 12;
const LONGEST_LABEL: usize = 48;
/// The most bytes that a mask has.
pub(crate) const LONGEST: usize = PREFIX.len() + LONGEST_LABEL + 1 + DIGITS + 1;

/// Writes the mask of a value with this label and hash.
pub(super) fn write(label: &str, hash: &blake3::Hash) -> Box<[u8]> {
    let mut mask = PREFIX.to_vec();
    let fits = |byte: u8| if is_of_label(byte) { byte } else { b'-' };
    mask.extend(label.bytes().take(LONGEST_LABEL).map(fits));
    if label.is_empty() {
        mask.extend(b"value");
    }
    mask.push(b':');
    mask.extend(hash.to_hex().bytes().take(DIGITS));
    mask.push(b']');
    mask.into_boxed_slice()
}

/// Where bytes have something of this shape, ours or not.
pub fn find(bytes: &[u8]) -> Vec<Range<usize>> {
    let starts = memmem::find_iter(bytes, PREFIX);
    starts.filter_map(|start| Some(start..start + length(bytes.get(start..)?)?)).collect()
}

/// The length of the mask that bytes begin with.
fn length(bytes: &[u8]) -> Option<usize> {
    let rest = bytes.strip_prefix(PREFIX)?;
    let label = rest.iter().take(LONGEST_LABEL).take_while(|byte| is_of_label(**byte)).count();
    let (digits, end) = rest.get(label..)?.strip_prefix(b":")?.split_at_checked(DIGITS)?;
    let is_hex = digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (label > 0 && is_hex && end.starts_with(b"]")).then_some(PREFIX.len() + label + DIGITS + 2)
}

fn is_of_label(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_found_whatever_its_label_was() {
        for label in ["github-pat", "", "Mein Schlüssel", &"long".repeat(40)] {
            let mask = write(label, &blake3::hash(b"x"));
            assert!(mask.len() <= LONGEST);
            let text = [b"a [secret:x] ", &mask[..], b"]"].concat();
            assert_eq!(find(&text), vec![Range { start: 13, end: 13 + mask.len() }]);
        }
    }

    #[test]
    fn what_is_not_quite_a_mask_is_none() {
        let near = "[secret:a:0123456789a] [secret:a:0123456789abc] [secret::0123456789ab] \
                    [secret:a:0123456789AB] [secret:A:0123456789ab] [secret:a:0123456789ab";
        assert!(find(near.as_bytes()).is_empty());
    }
}
