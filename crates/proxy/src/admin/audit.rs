//! Finding exchanges, and reading them back.

use anyhow::{Context, Result, bail};
use archive::read::{Exchange, Found, Reader};
use archive::record::{Outcome, Record, to_the_millisecond};
use jiff::Timestamp;
use serde::Serialize;

/// Which records are wanted; what is absent does not matter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Whose.
    pub user: Option<String>,
    /// Of which team.
    pub team: Option<String>,
    /// Asked or answered by this model.
    pub model: Option<String>,
    /// With this HTTP status.
    pub status: Option<u16>,
    /// That ended so.
    pub outcome: Option<Outcome>,
    /// Of this Codex session or thread.
    pub session: Option<String>,
    /// That began then or later.
    pub from: Option<Timestamp>,
    /// That began before.
    pub to: Option<Timestamp>,
}

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

impl Filter {
    fn takes(&self, record: &Record) -> bool {
        let same = |wanted: &Option<String>, is: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| is == Some(wanted))
        };
        same(&self.user, Some(&record.user))
            && same(&self.team, record.team.as_deref())
            && (same(&self.model, record.model.as_deref())
                || same(&self.model, record.upstream_model.as_deref()))
            && self.status.is_none_or(|status| record.status == Some(status))
            && self.outcome.is_none_or(|outcome| record.outcome == outcome)
            && (same(&self.session, record.session_id.as_deref())
                || same(&self.session, record.thread_id.as_deref()))
            && self.from.is_none_or(|from| record.time >= from)
            && self.to.is_none_or(|to| record.time < to)
    }
}

/// The newest records that pass the filter, newest first; a limit of 0 means all.
pub async fn list(reader: &Reader, filter: &Filter, limit: usize) -> Result<Vec<Found>> {
    let limit = if limit == 0 { usize::MAX } else { limit };
    let mut listed = Vec::new();
    let view = reader.view()?;
    for day in view.days().await? {
        let mut of_day = Vec::new();
        let mut keep = |found: Found| {
            if filter.takes(&found.record) {
                of_day.push(found);
            }
        };
        view.records(day, &mut keep).await?;
        // Ids are UUIDv7: among records of one millisecond they tell the order.
        of_day.sort_by(|one, other| {
            (other.record.time, &other.record.id).cmp(&(one.record.time, &one.record.id))
        });
        of_day.truncate(limit - listed.len());
        listed.append(&mut of_day);
        if listed.len() == limit {
            break;
        }
    }
    Ok(listed)
}

/// One exchange by its id, or by the beginning of it where that is enough.
pub async fn show(reader: &Reader, id: &str) -> Result<(Record, Exchange)> {
    let found = match reader.find(id).await? {
        Some(found) => found,
        None => by_prefix(reader, id).await?,
    };
    let exchange = reader.exchange(&found).await.context("reading the exchange")?;
    Ok((found.record, exchange))
}

/// Where a text stands in bodies, newest first; it may be written as JSON escapes it.
pub async fn search(
    reader: &Reader,
    text: &str,
    filter: &Filter,
    each: &mut dyn FnMut(Hit) -> Result<()>,
) -> Result<usize> {
    let escaped = serde_json::to_string(text)?;
    let escaped = escaped.trim_matches('"');
    let mut needles = vec![text.as_bytes()];
    if escaped != text {
        needles.push(escaped.as_bytes());
    }
    let mut hits = 0;
    for found in list(reader, filter, 0).await? {
        let exchange = reader.exchange(&found).await?;
        let sides = [("request", &exchange.request_body), ("response", &exchange.response_body)];
        for (side, body) in sides {
            let at = needles.iter().find_map(|needle| Some((find(body, needle)?, needle.len())));
            let Some((at, length)) = at else { continue };
            hits += 1;
            each(hit(&found.record, side, excerpt(body, at, length)))?;
        }
    }
    Ok(hits)
}

async fn by_prefix(reader: &Reader, id: &str) -> Result<Found> {
    if id.len() < 8 {
        bail!("no exchange has the id {id}: see `codex-proxy audit list`");
    }
    let mut all = list(reader, &Filter::default(), 0).await?;
    all.retain(|found| found.record.id.starts_with(id));
    match all.len() {
        1 => Ok(all.remove(0)),
        0 => bail!("no exchange has the id {id}: see `codex-proxy audit list`"),
        many => bail!("{many} exchanges begin with {id}: write more of the id"),
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

fn find(body: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(body, needle)
}

/// The text and up to forty bytes on each side, on one line.
fn excerpt(body: &[u8], at: usize, length: usize) -> String {
    let from = at.saturating_sub(40);
    let to = (at + length + 40).min(body.len());
    let text = String::from_utf8_lossy(body.get(from..to).unwrap_or_default()).into_owned();
    text.trim_matches('\u{FFFD}').chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
