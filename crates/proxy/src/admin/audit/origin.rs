//! Who said a text that a developer got: the upstream, or this proxy.

use anyhow::Result;
use archive::read::Reader;
use archive::record::{Outcome, Record, to_the_millisecond};
use jiff::Timestamp;
use serde::Serialize;

use super::filter::Filter;
use super::search::Needle;
use super::{Tell, days, of_day};

/// So many answers are shown; all are counted.
const SHOWN: usize = 20;

/// The answers that have a text, counted by who gave them.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// `upstream`, `proxy`, `both`; absent where no stored answer has the text.
    pub origin: Option<&'static str>,
    /// How many answers of the upstream have it.
    pub upstream: u64,
    /// How many refusals of this proxy have it.
    pub proxy: u64,
    /// The newest of them.
    pub answers: Vec<Answer>,
}

/// An answer that has the text.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The exchange.
    pub id: String,
    /// When it began.
    #[serde(serialize_with = "to_the_millisecond")]
    pub time: Timestamp,
    /// Who asked.
    pub user: String,
    /// HTTP status.
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// `upstream` or `proxy`.
    pub origin: &'static str,
    /// The text and what stands around it.
    pub excerpt: String,
}

/// Which answers are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Among {
    /// Those that did not end well.
    Errors,
    /// The others.
    Complete,
}

/// Looks for the text in answers that did not end well; where none has it, in all others.
pub async fn origin(
    reader: &Reader,
    text: &str,
    filter: &Filter,
    tell: Tell<'_>,
) -> Result<Origin> {
    let needle = Needle::new(text)?;
    let errors = look(reader, &needle, (filter, Among::Errors), tell).await?;
    if errors.origin.is_some() {
        return Ok(errors);
    }
    look(reader, &needle, (filter, Among::Complete), tell).await
}

async fn look(
    reader: &Reader,
    needle: &Needle,
    (filter, among): (&Filter, Among),
    tell: Tell<'_>,
) -> Result<Origin> {
    let mut origin = Origin::default();
    let view = reader.view()?;
    let mut read = 0u64;
    for day in days(&view, filter).await? {
        for found in of_day(reader, &view, (day, filter), usize::MAX).await? {
            if (found.record.outcome == Outcome::Complete) != (among == Among::Complete) {
                continue;
            }
            read += 1;
            tell(&format_args!("{day}: {read} answers read"));
            let exchange = reader.exchange(&found).await?;
            let Some(excerpt) = needle.find(&exchange.response_body) else { continue };
            let headers = exchange.response.into_iter().flat_map(|response| response.headers);
            let is_ours = found.record.outcome == Outcome::Refused
                && headers.into_iter().any(|(name, _)| name == "x-codex-proxy-refusal");
            origin.add(found.record, if is_ours { "proxy" } else { "upstream" }, excerpt);
        }
    }
    origin.origin = match (origin.upstream, origin.proxy) {
        (0, 0) => None,
        (_, 0) => Some("upstream"),
        (0, _) => Some("proxy"),
        (_, _) => Some("both"),
    };
    Ok(origin)
}

impl Origin {
    fn add(&mut self, record: Record, origin: &'static str, excerpt: String) {
        self.proxy += u64::from(origin == "proxy");
        self.upstream += u64::from(origin == "upstream");
        let Record { id, time, user, status, outcome, .. } = record;
        if self.answers.len() < SHOWN {
            self.answers.push(Answer { id, time, user, status, outcome, origin, excerpt });
        }
    }
}
