//! Values that a name is given: a secret, what stands for one, or code.

use std::sync::LazyLock;

use super::base64;
use super::name::Kind;
use super::strength::{self, Phrases};
use crate::rule::Anchor;

/// How a value stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// In quotes, or where only a literal can stand: a value, not code.
    Literal,
    /// Bare: it may be a variable.
    Bare,
}

/// Longer values are something else.
const LONGEST: usize = 512;

/// What a value would hold, as text anywhere in it, that only stands for a secret; last, the
/// tokens that RFC 5849, RFC 6749 and Flask's documents show, the key that Microsoft's storage
/// emulator has everywhere, and what a string of bytes looks like.
const STANDING: &[&str] = &[
    "example",
    "changeme",
    "change_me",
    "change-me",
    "placeholder",
    "your",
    "dummy",
    "redacted",
    "replace",
    "insert",
    "todo",
    "sample",
    "fake",
    "xxxx",
    "****",
    "....",
    "[secret:",
    "${",
    "$(",
    "{{",
    "#{",
    "<%",
    "%(",
    "://",
    "process.env",
    "environ",
    "[a-z",
    "[0-9",
    "</",
    "my-secret",
    "my_secret",
    "mysecret",
    "not-a-real",
    "2yotnfzfejr1zcsicmwpaa",
    "tgzv3jokf0xg5qx2tlkwia",
    "splxlobezqqybys6wxsbia",
    "czzcagrsa3f0mzpnwdfmqmf0m2jw",
    "h480djs93hd8",
    "ad180jjd733klru7",
    "0685bd9184jfhq22",
    "kd94hf93k423kf44",
    "pfkkdhi9sl3r4s00",
    "not a real",
    "not my real",
    "mysekret",
    "192b9bdd22ab9ed4d12e236c78afcb9a",
    "5f352379324c22463451387a0aec5d2f",
    "eby8vdm02xnocqflqu",
    "\\x",
    "\\u",
];

static STANDS: LazyLock<Phrases> = LazyLock::new(|| Phrases::new(STANDING));

/// What a value would be, whole.
fn is_word(value: &[u8]) -> bool {
    let mut small = [0; 12];
    let Some(small) = small.get_mut(..value.len()) else { return false };
    small.copy_from_slice(value);
    small.make_ascii_lowercase();
    matches!(
        &*small,
        b"null"
            | b"none"
            | b"true"
            | b"false"
            | b"undefined"
            | b"nil"
            | b"string"
            | b"str"
            | b"text"
            | b"required"
            | b"optional"
            | b"hidden"
            | b"default"
            | b"empty"
            | b"password"
            | b"passwd"
            | b"pass"
            | b"pwd"
            | b"passphrase"
            | b"secret"
            | b"token"
            | b"credential"
            | b"credentials"
            | b"bearer"
            | b"basic"
            | b"user"
            | b"username"
            | b"admin"
            | b"root"
            | b"guest"
            | b"test"
            | b"tests"
            | b"testing"
            | b"foo"
            | b"bar"
            | b"foobar"
            | b"unknown"
            | b"number"
            | b"object"
            | b"function"
    )
}

/// How many of each kind of character.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    small: usize,
    capital: usize,
    digit: usize,
    /// What joins words: `_`, `-`, `.`.
    joint: usize,
    /// What one adds to make a password stronger.
    special: usize,
    space: usize,
}

impl Counts {
    fn of(value: &[u8]) -> Self {
        let mut counts = Self::default();
        for byte in value {
            let count = match byte {
                b'a'..=b'z' => &mut counts.small,
                b'A'..=b'Z' => &mut counts.capital,
                b'0'..=b'9' => &mut counts.digit,
                b'_' | b'-' | b'.' => &mut counts.joint,
                byte if byte.is_ascii_whitespace() || byte.is_ascii_control() => &mut counts.space,
                _ => &mut counts.special,
            };
            *count += 1;
        }
        counts
    }

    fn letters(self) -> usize {
        self.small + self.capital
    }
}

/// What kind of secret a value of this name is, if it is one.
pub(super) fn judge(kind: Kind, value: &[u8], form: Form) -> Option<Anchor> {
    if !(6..=LONGEST).contains(&value.len()) {
        return None;
    }
    let counts = Counts::of(value);
    if counts.space > 0 || counts.special * 3 > value.len() * 2 {
        return None;
    }
    if stands_for(value) || is_code(value, form) {
        return None;
    }
    if is_mashed(value, counts) || is_encoded(value) || is_covered(value) {
        return None;
    }
    let strong = is_random(value, counts)
        || kind == Kind::Password && is_password(value, counts, form)
        || kind == Kind::Secret && value.len() >= 12 && is_mixed(value, counts)
        || form == Form::Literal && is_dense(value, counts);
    let weak = form == Form::Literal && is_weak(kind, value, counts);
    match (kind, strong) {
        (Kind::Password, true) => Some(Anchor::Password),
        (Kind::Secret, true) => Some(Anchor::Secret),
        (Kind::Password, false) => weak.then_some(Anchor::WeakPassword),
        (Kind::Secret, false) => weak.then_some(Anchor::WeakSecret),
    }
}

/// Whether this is written where a secret would stand.
pub(super) fn stands_for(value: &[u8]) -> bool {
    let variable = match value {
        [b'$', next, ..] => next.is_ascii_alphabetic() || *next == b'_',
        [b'<', .., b'>']
        | [b'{', .., b'}']
        | [b'[', .., b']']
        | [b'(', .., b')']
        | [b'%', .., b'%']
        | [b'%', b's' | b'd']
        | [b'*', b'*', ..]
        | [b'.', b'.', ..] => true,
        [b'!', rest @ ..] => rest.iter().all(u8::is_ascii_alphabetic),
        // `@PASSWORD@`: what a build puts something in for.
        [b'@', rest @ ..] => rest.iter().all(|b| b.is_ascii_uppercase() || b"_@".contains(b)),
        _ => false,
    };
    variable || is_word(value) || strength::repeats(value) || STANDS.any_in(value)
}

/// Typed with the fingers where they rest: somebody made up a value to show.
fn is_mashed(value: &[u8], counts: Counts) -> bool {
    if value.len() >= 20 || counts.capital + counts.special > 0 || counts.small < 7 {
        return false;
    }
    let rests = |b: &&u8| matches!(b, b'a' | b's' | b'd' | b'f' | b'g' | b'h' | b'j' | b'k' | b'l');
    let beyond_hex = value.iter().any(|b| matches!(b, b's' | b'g' | b'h' | b'j' | b'k' | b'l'));
    beyond_hex && value.iter().filter(rests).count() * 10 >= counts.small * 7
}

/// What only stands for a secret, in base64.
fn is_encoded(value: &[u8]) -> bool {
    let is_text = |text: &Vec<u8>| text.iter().all(|byte| (0x20..0x7f).contains(byte));
    let decoded = |part: Option<&[u8]>| part.and_then(base64::decoded).filter(is_text);
    value.len().is_multiple_of(4)
        && value.len() < 100
        && decoded(value.get(..4)).is_some()
        && decoded(Some(value)).is_some_and(|text| stands_for(&text))
}

/// Hardly more than escapes of addresses: `%3A%40`.
pub(super) fn is_covered(value: &[u8]) -> bool {
    memchr::memchr_iter(b'%', value).count() * 5 > value.len()
}

/// Whether this is an expression, a path, an address: nothing that is typed as a secret.
fn is_code(value: &[u8], form: Form) -> bool {
    let call = value.iter().position(|byte| *byte == b'(');
    let named = call.and_then(|at| value.get(..at)).is_some_and(|name| {
        !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || b"_.:".contains(b))
    });
    if named && value.contains(&b')') || is_path(value) {
        return true;
    }
    if form == Form::Literal {
        return is_address(value);
    }
    let bare = [&b"->"[..], b"::", b"=>", b"=="].iter().any(|part| strength::contains(value, part));
    bare || value.iter().any(|byte| b"()[]{}|".contains(byte)) || is_address(value)
}

/// The way to a file: words with slashes.
fn is_path(value: &[u8]) -> bool {
    let rooted = [&b"/"[..], b"./", b"~/", b"../"].iter().any(|root| value.starts_with(root));
    value.contains(&b'/') && strength::surprise(value) < if rooted { 33 } else { 26 }
}

/// A mail address, or a dotted name of plain words.
fn is_address(value: &[u8]) -> bool {
    let plain = |part: &[u8]| {
        !part.is_empty() && part.iter().all(|b| b.is_ascii_alphanumeric() || b"-_+".contains(b))
    };
    let (user, host) = match value.iter().position(|byte| *byte == b'@') {
        Some(at) => (value.get(..at).unwrap_or_default(), value.get(at + 1..).unwrap_or_default()),
        None => (&b"a"[..], value),
    };
    let dotted = host.contains(&b'.') && host.split(|byte| *byte == b'.').all(plain);
    let last = host.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    let word = last.len() >= 2 && last.iter().all(u8::is_ascii_alphabetic);
    dotted && word && user.split(|byte| *byte == b'.').all(plain) && strength::surprise(value) < 30
}

/// Made by a machine: long, and unlike words.
fn is_random(value: &[u8], counts: Counts) -> bool {
    if value.len() < 16 {
        return false;
    }
    let hexadecimal = value.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-');
    if hexadecimal {
        return counts.digit > 0 && counts.letters() > 0 && strength::entropy(value) >= 2.8;
    }
    let surprise = strength::surprise(value);
    let mixed = counts.digit > 0 && counts.letters() > 0;
    strength::entropy(value) >= 3.0
        && (mixed && surprise >= 33 || value.len() >= 20 && surprise >= 42)
}

/// Short and made by a machine.
fn is_mixed(value: &[u8], counts: Counts) -> bool {
    counts.digit >= 2
        && counts.letters() >= 2
        && strength::surprise(value) >= 38
        && strength::entropy(value) >= 2.9
}

/// Digits and marks of several kinds among letters: nothing that is written but a secret.
fn is_dense(value: &[u8], counts: Counts) -> bool {
    if value.len() < 12 || counts.special < 2 || counts.digit < 2 || counts.letters() < 4 {
        return false;
    }
    let marks = [b'!', b'@', b'#', b'$', b'%', b'^', b'&', b'*'];
    let kinds = marks.iter().filter(|mark| value.contains(mark)).count();
    kinds >= 2
}

/// Typed by a person who was asked for more than letters.
fn is_password(value: &[u8], counts: Counts, form: Form) -> bool {
    let Counts { small, capital, digit, special, .. } = counts;
    if strength::contains(value, b"password") && special == 0 {
        return false;
    }
    if special > 0 && digit > 0 && counts.letters() >= 2 {
        return value.len() >= 6
            && value
                .iter()
                .filter(|b| matches!(b, b'<' | b'>' | b'(' | b')' | b'{' | b'}'))
                .count()
                < 2;
    }
    if value.len() < 8 {
        return form == Form::Literal && digit > 0 && small > 0 && capital > 0;
    }
    if small > 0 && capital > 0 && digit > 0 {
        return form == Form::Literal || digit >= 2 || strength::surprise(value) >= 25;
    }
    if digit > 0 && counts.letters() > 0 {
        return form == Form::Literal && counts.joint == 0 || strength::surprise(value) >= 33;
    }
    let marks = value.iter().filter(|byte| b"!@#$%^&*?+".contains(byte)).count();
    form == Form::Literal && marks > 0 && marks < 4 && counts.letters() >= 4
}

/// It may be a secret, and may be a word.
fn is_weak(kind: Kind, value: &[u8], counts: Counts) -> bool {
    match kind {
        Kind::Password => counts.letters() > 0 || counts.digit >= 6,
        Kind::Secret => counts.digit > 0 && counts.letters() > 0 && value.len() >= 8,
    }
}
