//! Where a text stands in bodies.

use anyhow::{Context, Result};
use archive::frame::Side;
use archive::read::{Found, Reader, View};
use archive::record::{Record, to_the_millisecond};
use archive::search::{self, Seek};
use jiff::Timestamp;
use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::literal::Extractor;
use serde::Serialize;

use super::filter::Filter;
use super::{Tell, refusal_says};

/// A place where a text was found.
#[derive(Debug, Serialize)]
pub struct Hit {
    /// The exchange.
    pub id: String,
    /// When it began.
    #[serde(serialize_with = "to_the_millisecond")]
    pub time: Timestamp,
    /// Who asked.
    pub user: String,
    /// Method and path.
    pub endpoint: String,
    /// HTTP status.
    pub status: Option<u16>,
    /// `request` or `response`.
    pub side: &'static str,
    /// The text and what stands around it.
    pub excerpt: String,
}

/// What is looked for in bodies.
#[derive(Debug)]
pub enum Needle {
    /// A text in these forms.
    Text(Vec<Vec<u8>>),
    /// Whatever matches, and with what each match begins, where that is known.
    Pattern(Regex, Vec<String>),
}

/// Of a long place so many bytes are shown.
const EXCERPT: usize = 400;

/// A pattern may take so many bytes of memory.
const PATTERN: usize = 16 << 20;

/// A shorter beginning stands nearly everywhere.
const TELLING: usize = 3;

/// Looking for more beginnings is no quicker than for the pattern.
const MOST_BEGINNINGS: usize = 16;

impl Needle {
    /// Finds the text as it is, and as JSON escapes it: what must be, or all that is not ASCII too, as
    /// some writers do.
    pub(super) fn new(text: &str) -> Result<Self> {
        let quoted = serde_json::to_string(text)?;
        let escaped = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let escaped = escaped.unwrap_or(text);
        let lower = in_ascii(escaped, |unit| format!("\\u{unit:04x}"));
        let upper = in_ascii(escaped, |unit| format!("\\u{unit:04X}"));
        let mut forms = vec![text.as_bytes().to_vec()];
        for form in [escaped.to_owned(), lower, upper].map(String::into_bytes) {
            if !forms.contains(&form) {
                forms.push(form);
            }
        }
        Ok(Self::Text(forms))
    }

    /// The same; between slashes it is a regular expression.
    pub fn read(text: &str) -> Result<Self> {
        let inner = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        let Some(pattern) = inner.filter(|pattern| !pattern.is_empty()) else {
            return Self::new(text);
        };
        let compiled = RegexBuilder::new(pattern).size_limit(PATTERN).build();
        let compiled = compiled.context("reading the regular expression")?;
        Ok(Self::Pattern(compiled, beginnings(pattern).unwrap_or_default()))
    }

    /// Texts of which one must stand where it is found; none where that is not known.
    fn hints(&self) -> Vec<&str> {
        match self {
            Self::Text(forms) => {
                forms.iter().filter_map(|form| std::str::from_utf8(form).ok()).collect()
            }
            Self::Pattern(_, beginnings) => beginnings.iter().map(String::as_str).collect(),
        }
    }

    /// The first place, with what stands around it.
    pub(super) fn find(&self, body: &[u8]) -> Option<String> {
        let (at, length) = match self {
            Self::Text(forms) => {
                let place = |form: &Vec<u8>| Some((memchr::memmem::find(body, form)?, form.len()));
                forms.iter().filter_map(place).min()?
            }
            Self::Pattern(pattern, _) => {
                let place = pattern.find(body)?;
                (place.start(), place.len())
            }
        };
        Some(excerpt(body, at, length.min(EXCERPT)))
    }
}

/// A text with whatever is not ASCII escaped, in units of UTF-16 (RFC 8259 §7).
fn in_ascii(text: &str, escape: impl Fn(u16) -> String) -> String {
    let letter = |letter: char| {
        if letter.is_ascii() {
            return letter.to_string();
        }
        letter.encode_utf16(&mut [0; 2]).iter().map(|unit| escape(*unit)).collect()
    };
    text.chars().map(letter).collect()
}

/// With what the matches of a pattern begin; none where that is not known, or tells too little.
fn beginnings(pattern: &str) -> Option<Vec<String>> {
    let literals = Extractor::new().extract(&regex_syntax::parse(pattern).ok()?);
    let literals = literals.literals()?.iter();
    let texts = literals.map(|literal| String::from_utf8(literal.as_bytes().to_vec()).ok());
    let texts: Vec<String> = texts.collect::<Option<_>>()?;
    let tell = texts.iter().all(|text| text.len() >= TELLING);
    (tell && texts.len() <= MOST_BEGINNINGS).then_some(texts)
}

/// Where something stands in bodies, newest first: who brought it into a conversation that day. What
/// is not published yet is looked through exchange by exchange.
pub async fn search(
    reader: &Reader,
    needle: &Needle,
    filter: &Filter,
    each: &mut dyn FnMut(Hit) -> Result<()>,
    tell: Tell<'_>,
) -> Result<()> {
    let view = reader.view()?;
    let (mut looked, mut hits) = (0u64, 0u64);
    for (side, found, excerpt) in unpublished(reader, &view, needle, filter).await? {
        hits += 1;
        each(hit(&found.record, side, excerpt))?;
    }
    let find = |text: &[u8]| needle.find(text);
    let seek = Seek::new(&needle.hints(), &find);
    let mut days = view.days_of_bodies().await?;
    days.retain(|day| filter.takes_day_of_bodies(*day));
    for day in days {
        let mut found = Vec::new();
        let mut keep = |hit: search::Hit| {
            let record = &hit.found.record;
            if filter.takes(record) && !view.is_unpublished(&record.id) {
                found.push(hit);
            }
        };
        looked += view.search(day, &seek, &mut keep).await?;
        found.sort_by_key(|hit| std::cmp::Reverse(hit.found.record.time));
        for one in found {
            if let Some(text) = &filter.refusal
                && !refusal_says(reader, &one.found, text).await?
            {
                continue;
            }
            hits += 1;
            each(hit(&one.found.record, side_name(one.side), one.excerpt))?;
        }
        tell(&format_args!("{day}: {} MB of bodies, {hits} places found", looked / 1_000_000));
    }
    Ok(())
}

/// What is in the spool alone, newest first.
async fn unpublished(
    reader: &Reader,
    view: &View<'_>,
    needle: &Needle,
    filter: &Filter,
) -> Result<Vec<(&'static str, Found, String)>> {
    let mut spooled: Vec<&Found> = view.unpublished().iter().collect();
    spooled.retain(|found| filter.takes(&found.record));
    spooled.sort_by_key(|found| std::cmp::Reverse(found.record.time));
    let mut hits = Vec::new();
    for found in spooled {
        if let Some(text) = &filter.refusal
            && !refusal_says(reader, found, text).await?
        {
            continue;
        }
        let exchange = reader.exchange(found).await?;
        let sides = [("request", &exchange.request_body), ("response", &exchange.response_body)];
        for (side, body) in sides {
            if let Some(excerpt) = needle.find(body) {
                hits.push((side, found.clone(), excerpt));
            }
        }
    }
    Ok(hits)
}

fn side_name(side: Side) -> &'static str {
    match side {
        Side::Request => "request",
        Side::Response => "response",
    }
}

fn hit(record: &Record, side: &'static str, excerpt: String) -> Hit {
    Hit {
        id: record.id.clone(),
        time: record.time,
        user: record.user.clone(),
        endpoint: record.endpoint.clone(),
        status: record.status,
        side,
        excerpt,
    }
}

/// The text and up to forty bytes on each side, on one line.
fn excerpt(body: &[u8], at: usize, length: usize) -> String {
    let from = at.saturating_sub(40);
    let to = (at + length + 40).min(body.len());
    let text = String::from_utf8_lossy(body.get(from..to).unwrap_or_default()).into_owned();
    text.trim_matches('\u{FFFD}').chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::{Needle, beginnings};

    fn check(pattern: &str, expected: Option<&[&str]>) {
        let found = beginnings(pattern);
        let found =
            found.as_ref().map(|texts| texts.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(found.as_deref(), expected, "{pattern}");
    }

    #[test]
    fn a_text_is_found_however_json_spells_it() {
        let needle = Needle::new("cafe\u{301} \"é🙂\"").unwrap();
        for body in [
            "cafe\u{301} \"é🙂\"",
            "[\"cafe\u{301} \\\"é🙂\\\"\"]",
            r#"["cafe\u0301 \"\u00e9\ud83d\ude42\""]"#,
            r#"["cafe\u0301 \"\u00E9\uD83D\uDE42\""]"#,
        ] {
            assert!(needle.find(body.as_bytes()).is_some(), "{body}");
        }
        assert!(needle.find(b"cafe").is_none());
    }

    #[test]
    fn a_pattern_tells_with_what_its_matches_begin() {
        check("AKIA[0-9A-Z]{16}", Some(&["AKIA"]));
        check("error: (one|two)", Some(&["error: one", "error: two"]));
        // Nothing is known, or hardly anything.
        check("[a-z]+ing", None);
        check(".*text", None);
        check("ab|cd", None);
        check("text|", None);
        check("(broken", None);
    }
}
