//! Private keys between their BEGIN and END, on many lines or, in JSON, on one.

use memchr::memmem;

use super::{Scan, strength};
use crate::rule::Anchor;

const DASHES: &[u8] = b"-----";
/// The longest key: RSA of 16,384 bits has 12 KB.
const LONGEST: usize = 32 * 1024;
/// A line of a key, at least, where its END is missing.
const LINE: usize = 40;
/// Fewer characters are no key, but `…`.
const LEAST: usize = 40;

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

impl Scan<'_> {
    /// Looks for a private key whose BEGIN stands here; `label` is where the word after it does.
    pub(super) fn pem(&mut self, begin: usize, label: usize) {
        let Some(rest) = self.bytes.get(label..) else { return };
        let is_label =
            |byte: &&u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || **byte == b' ';
        let length = rest.iter().take(48).take_while(is_label).count();
        let Some((name, rest)) = rest.split_at_checked(length) else { return };
        let private = name.ends_with(b"PRIVATE KEY") || name.ends_with(b"PRIVATE KEY BLOCK");
        let Some(rest) = rest.strip_prefix(DASHES).filter(|_| private) else { return };
        let body = label + length + DASHES.len();
        let rest = rest.get(..rest.len().min(LONGEST)).unwrap_or_default();
        let end = match memmem::find(rest, DASHES) {
            Some(at) => closed(rest, at).or_else(|| torn(rest.get(..at)?)),
            None => torn(rest),
        };
        if let Some(end) = end {
            self.push_anchor(Anchor::Pem, begin..body + end);
        }
    }
}

/// Where the END that stands here ends, if the key before it is one.
fn closed(rest: &[u8], at: usize) -> Option<usize> {
    let (body, end) = rest.split_at_checked(at)?;
    let dashes = end.iter().take_while(|byte| **byte == b'-').count();
    let label = end.get(dashes..)?.strip_prefix(b"END ")?;
    let length = memmem::find(label.get(..label.len().min(64))?, DASHES)?;
    let is_run = |run: &&[u8]| run.len() >= 16;
    let runs = body.split(|byte| !is_base64(*byte)).filter(is_run);
    let key: usize = runs.filter(|run| strength::entropy(run) > 2.5).map(<[u8]>::len).sum();
    (key >= LEAST).then_some(at + dashes + b"END ".len() + length + DASHES.len())
}

/// Where a key ends whose END is missing: after its whole lines, and one that is cut.
fn torn(rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut end = None;
    while at < rest.len() {
        let run = rest.get(at..)?.iter().take_while(|byte| is_base64(**byte)).count();
        if run >= LINE {
            end = Some(at + run);
        } else if end.is_some() && run > 2 {
            break;
        } else if at > 512 && end.is_none() {
            return None;
        }
        at += run.max(1);
    }
    end
}
