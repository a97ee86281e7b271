//! Where a text stands in bodies.

use anyhow::{Context, Result};
use archive::read::Reader;
use archive::record::{Record, to_the_millisecond};
use jiff::Timestamp;
use regex::bytes::{Regex, RegexBuilder};
use serde::Serialize;

use super::filter::Filter;
use super::{Tell, days, of_day};

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
    /// Whatever matches.
    Pattern(Regex),
}

/// Of a long place so many bytes are shown.
const EXCERPT: usize = 400;

/// A pattern may take so many bytes of memory.
const PATTERN: usize = 16 << 20;

impl Needle {
    /// Finds the text as it is, and as JSON escapes it.
    pub(super) fn new(text: &str) -> Result<Self> {
        let quoted = serde_json::to_string(text)?;
        let escaped = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let mut forms = vec![text.as_bytes().to_vec()];
        forms.extend(escaped.filter(|escaped| *escaped != text).map(|e| e.as_bytes().to_vec()));
        Ok(Self::Text(forms))
    }

    /// The same; between slashes it is a regular expression.
    pub fn read(text: &str) -> Result<Self> {
        let inner = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        let Some(pattern) = inner.filter(|pattern| !pattern.is_empty()) else {
            return Self::new(text);
        };
        let pattern = RegexBuilder::new(pattern).size_limit(PATTERN).build();
        Ok(Self::Pattern(pattern.context("reading the regular expression")?))
    }

    /// The first place, with what stands around it.
    pub(super) fn find(&self, body: &[u8]) -> Option<String> {
        let (at, length) = match self {
            Self::Text(forms) => {
                let place = |form: &Vec<u8>| Some((memchr::memmem::find(body, form)?, form.len()));
                forms.iter().filter_map(place).min()?
            }
            Self::Pattern(pattern) => {
                let place = pattern.find(body)?;
                (place.start(), place.len())
            }
        };
        Some(excerpt(body, at, length.min(EXCERPT)))
    }
}

/// Where something stands in bodies, newest first.
pub async fn search(
    reader: &Reader,
    needle: &Needle,
    filter: &Filter,
    each: &mut dyn FnMut(Hit) -> Result<()>,
    tell: Tell<'_>,
) -> Result<()> {
    let view = reader.view()?;
    let (mut read, mut hits) = (0u64, 0u64);
    for day in days(&view, filter).await? {
        for found in of_day(reader, &view, (day, filter), usize::MAX).await? {
            let exchange = reader.exchange(&found).await?;
            let sides =
                [("request", &exchange.request_body), ("response", &exchange.response_body)];
            for (side, body) in sides {
                let Some(excerpt) = needle.find(body) else { continue };
                hits += 1;
                each(hit(&found.record, side, excerpt))?;
            }
            read += 1;
            tell(&format_args!("{day}: {read} exchanges read, {hits} places found"));
        }
    }
    Ok(())
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
