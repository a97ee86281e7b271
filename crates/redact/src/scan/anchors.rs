//! Places that a name or a structure marks: a second pass over everything, for a few short texts.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::packed::{Config, MatchKind, Searcher};
use aho_corasick::{AhoCorasick, AhoCorasickKind};

/// What a marked place may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Part of a name that may be given a secret.
    Name,
    /// A PEM block begins.
    Pem,
    /// After a URL's scheme.
    Url,
    /// After `Bearer`.
    Bearer,
    /// After `Basic`.
    Basic,
    /// After `IDENTIFIED BY`.
    Identified,
    /// After `sig=`.
    Signature,
    /// After a flag that takes user and password.
    User,
    /// After a flag that takes a password, with some commands.
    Flag,
    /// After the port in a line of a password file of PostgreSQL.
    PasswordFile,
}

/// More than 32, at most 64, and at least three bytes each: so the vectorised searcher takes its
/// wide form, which stops at fewer places in vain.
const MARKS: [(&str, Mark); 33] = [
    ("key", Mark::Name),
    ("Key", Mark::Name),
    ("KEY", Mark::Name),
    ("ecret", Mark::Name),
    ("ECRET", Mark::Name),
    ("oken", Mark::Name),
    ("OKEN", Mark::Name),
    ("pass", Mark::Name),
    ("Pass", Mark::Name),
    ("PASS", Mark::Name),
    ("pwd", Mark::Name),
    ("Pwd", Mark::Name),
    ("PWD", Mark::Name),
    ("psw", Mark::Name),
    ("PSW", Mark::Name),
    ("redential", Mark::Name),
    ("REDENTIAL", Mark::Name),
    ("auth", Mark::Name),
    ("Auth", Mark::Name),
    ("AUTH", Mark::Name),
    ("_pw", Mark::Name),
    ("_PW", Mark::Name),
    ("-----BEGIN ", Mark::Pem),
    ("://", Mark::Url),
    ("earer ", Mark::Bearer),
    ("asic ", Mark::Basic),
    ("ified by ", Mark::Identified),
    ("IFIED BY ", Mark::Identified),
    ("sig=", Mark::Signature),
    (" -u ", Mark::User),
    ("--user", Mark::User),
    (" -p", Mark::Flag),
    (":5432:", Mark::PasswordFile),
];

enum Finder {
    Packed(Searcher),
    /// Where the processor has no vectors that the other knows.
    Plain(AhoCorasick),
}

static FINDER: LazyLock<Option<Finder>> = LazyLock::new(|| {
    let texts = MARKS.iter().map(|(text, _)| text);
    let mut builder = Config::new().match_kind(MatchKind::LeftmostFirst).builder();
    if let Some(packed) = builder.extend(texts.clone()).build() {
        return Some(Finder::Packed(packed));
    }
    let plain = AhoCorasick::builder().kind(Some(AhoCorasickKind::DFA)).build(texts).ok();
    plain.map(Finder::Plain)
});

/// Tells of every marked place, in order.
pub(super) fn each(bytes: &[u8], mut tell: impl FnMut(Mark, Range<usize>)) {
    let mut one = |pattern: usize, range: Range<usize>| {
        if let Some((_, mark)) = MARKS.get(pattern) {
            tell(*mark, range);
        }
    };
    match &*FINDER {
        Some(Finder::Packed(finder)) => {
            finder.find_iter(bytes).for_each(|m| one(m.pattern().as_usize(), m.span().range()));
        }
        Some(Finder::Plain(finder)) => {
            finder.find_iter(bytes).for_each(|m| one(m.pattern().as_usize(), m.span().range()));
        }
        None => {}
    }
}
