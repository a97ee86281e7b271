//! Our books beside the provider's: by day, model, project and key, each difference explained.

pub mod theirs;

use std::collections::BTreeMap;

use anyhow::Result;
use archive::read::Reader;
use archive::record::{Record, UsageKind};
use archive::segment::day_of;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use wire::price::{nanos, usd};

use theirs::{Key, Theirs};

/// Usage of a day is counted by the provider within some hours; until then it is open.
const OPEN_HOURS: i64 = 6;
/// Costs are told as floating numbers, and rounded by the provider: to a ten thousandth of a cent.
const ROUNDING_NANOS: u64 = 1000;

/// A line: one model on one day, or what went past us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// UTC.
    pub day: Date,
    /// As the provider calls it.
    pub model: String,
    /// The provider's project and key, where the line is about what did not come from us.
    pub project: Option<String>,
    /// The key's id.
    pub key: Option<String>,
    /// What the difference is, or `agrees`.
    pub finding: Finding,
    /// In words.
    pub explanation: String,
    /// Requests the provider counts.
    pub their_requests: u64,
    /// Requests we have records of.
    pub our_requests: u64,
    /// Input tokens the provider counts.
    pub their_input_tokens: u64,
    /// Input tokens in our records.
    pub our_input_tokens: u64,
    /// Output tokens the provider counts.
    pub their_output_tokens: u64,
    /// Output tokens in our records.
    pub our_output_tokens: u64,
    /// What the provider charges; absent where it names no cost of the model.
    pub their_cost_usd: Option<String>,
    /// What our records cost.
    pub our_cost_usd: String,
}

/// What a difference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// There is none.
    Agrees,
    /// The provider counts what did not come through this gateway: with another key.
    Bypass,
    /// The provider counts more than we have records of, with a key of ours.
    MissingRecord,
    /// We have records of more than the provider counts.
    NotBilled,
    /// The tokens agree and the costs do not.
    PriceDrift,
    /// We have no price for the model.
    UnknownModel,
    /// As far as it differs, our tokens are estimates.
    Estimated,
    /// The day's counts are not closed yet.
    StillOpen,
}

/// What we have of a model on a day.
#[derive(Debug, Clone, Copy, Default)]
struct Ours {
    requests: u64,
    estimated: u64,
    estimated_tokens: u64,
    unpriced: u64,
    input: u64,
    cached: u64,
    output: u64,
    cost_nanos: u64,
}

/// Compares these days, both inclusive.
pub async fn reconcile(
    reader: &Reader,
    theirs: &Theirs,
    days: (Date, Date),
    now: Timestamp,
) -> Result<Vec<Line>> {
    let mut ours: BTreeMap<(Date, String), Ours> = BTreeMap::new();
    let mut add = |found: archive::read::Found| {
        let record = &found.record;
        if let Some(model) = asked(record) {
            ours.entry((day_of(record.time), model)).or_default().add(record);
        }
    };
    reader.records(days, &mut add).await?;
    let mut lines = Vec::new();
    let mut models: Vec<(Date, String)> = ours.keys().cloned().collect();
    models.extend(theirs.usage.keys().map(|key| (key.day, key.model.clone())));
    models.extend(theirs.costs.keys().cloned());
    models.sort();
    models.dedup();
    for (day, model) in models {
        let mine = ours.get(&(day, model.clone())).copied().unwrap_or_default();
        let all = theirs.usage.iter().filter(|(key, _)| key.day == day && key.model == model);
        let (own, others): (Vec<_>, Vec<_>) = all.partition(|(key, _)| theirs.is_ours(key));
        let billed = own.iter().fold(theirs::Usage::default(), |sum, (_, usage)| sum.and(usage));
        // What others cost is not told apart by key: then ours is not known either.
        let cost = theirs.costs.get(&(day, model.clone())).copied().filter(|_| others.is_empty());
        lines.extend(others.iter().map(|(key, usage)| past_us(key, usage)));
        if mine.requests > 0 || billed != theirs::Usage::default() || cost.is_some() {
            lines.push(compare((day, &model), &mine, (&billed, cost), now));
        }
    }
    Ok(lines)
}

/// The model that a record is to be found under at the provider, if it may be billed at all.
fn asked(record: &Record) -> Option<String> {
    let is_model_call = record.usage != UsageKind::None;
    let model = record.upstream_model.as_ref().or(record.model.as_ref())?;
    is_model_call.then(|| model.clone())
}

impl Ours {
    fn add(&mut self, record: &Record) {
        let is_estimated = record.usage == UsageKind::Estimated;
        self.requests += 1;
        self.estimated += u64::from(is_estimated);
        self.estimated_tokens += if is_estimated { record.total_tokens } else { 0 };
        self.unpriced += u64::from(!record.priced);
        self.input += record.input_tokens;
        self.cached += record.cached_input_tokens;
        self.output += record.output_tokens;
        self.cost_nanos += record.cost_usd.as_deref().map_or(0, nanos);
    }
}

/// What the provider counts with a key that is none of ours.
fn past_us(key: &Key, usage: &theirs::Usage) -> Line {
    let with = key.key.as_deref().unwrap_or("a key that is not told");
    Line {
        day: key.day,
        model: key.model.clone(),
        project: key.project.clone(),
        key: key.key.clone(),
        finding: Finding::Bypass,
        explanation: format!(
            "{} requests with {with}, which is none of reconcile.keys",
            usage.requests
        ),
        their_requests: usage.requests,
        our_requests: 0,
        their_input_tokens: usage.input,
        our_input_tokens: 0,
        their_output_tokens: usage.output,
        our_output_tokens: 0,
        their_cost_usd: None,
        our_cost_usd: usd(0),
    }
}

fn compare(
    (day, model): (Date, &str),
    ours: &Ours,
    (theirs, cost): (&theirs::Usage, Option<u64>),
    now: Timestamp,
) -> Line {
    let (finding, explanation) = explain(ours, theirs, cost, is_open(day, now));
    Line {
        day,
        model: model.to_owned(),
        project: None,
        key: None,
        finding,
        explanation,
        their_requests: theirs.requests,
        our_requests: ours.requests,
        their_input_tokens: theirs.input,
        our_input_tokens: ours.input,
        their_output_tokens: theirs.output,
        our_output_tokens: ours.output,
        their_cost_usd: cost.map(usd),
        our_cost_usd: usd(ours.cost_nanos),
    }
}

/// Whether the provider may still count for a day.
fn is_open(day: Date, now: Timestamp) -> IsOpen {
    let grace = jiff::SignedDuration::from_hours(OPEN_HOURS);
    let latest = now.saturating_sub(grace).map_or(day, day_of);
    if latest <= day { IsOpen::Yes } else { IsOpen::No }
}

/// Whether a day's counts may still change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IsOpen {
    Yes,
    No,
}

/// What a difference comes from: the first of these that explains it.
fn explain(
    ours: &Ours,
    theirs: &theirs::Usage,
    cost: Option<u64>,
    is_open: IsOpen,
) -> (Finding, String) {
    let tokens = (ours.input, ours.cached, ours.output);
    let same = tokens == (theirs.input, theirs.cached, theirs.output);
    let away = ours.input.abs_diff(theirs.input) + ours.output.abs_diff(theirs.output);
    if !same && ours.requests == theirs.requests && ours.estimated > 0 {
        let what = format!(
            "{} of our {} requests have estimated tokens, {} in all; {away} tokens differ",
            ours.estimated, ours.requests, ours.estimated_tokens
        );
        return (Finding::Estimated, what);
    }
    if ours.requests != theirs.requests || !same {
        let more = theirs.requests.saturating_sub(ours.requests);
        let fewer = ours.requests.saturating_sub(theirs.requests);
        return match (is_open, more, fewer) {
            (IsOpen::Yes, 0, _) => (
                Finding::StillOpen,
                format!(
                    "{fewer} of our requests and {away} tokens are not counted there yet: the day is not closed"
                ),
            ),
            (_, 0, 0) => (
                Finding::MissingRecord,
                format!(
                    "as many requests, but {away} tokens differ, and none of ours is an estimate"
                ),
            ),
            (_, 0, _) => (
                Finding::NotBilled,
                format!(
                    "{fewer} of our requests are not counted there: they failed, or are billed elsewhere"
                ),
            ),
            _ => (
                Finding::MissingRecord,
                format!(
                    "{more} requests are counted there that we have no record of: made past this gateway with its own key, or not recorded"
                ),
            ),
        };
    }
    if ours.unpriced > 0 {
        let what = format!("{} requests have no price here: see `prices check`", ours.unpriced);
        return (Finding::UnknownModel, what);
    }
    match cost {
        Some(cost) if cost.abs_diff(ours.cost_nanos) > ROUNDING_NANOS => match is_open {
            IsOpen::Yes if cost < ours.cost_nanos => (
                Finding::StillOpen,
                "its cost is not counted there yet: the day is not closed".to_owned(),
            ),
            _ => {
                let what = "the tokens agree, and what they cost does not: compare `prices list` with the provider's prices, and discounts";
                (Finding::PriceDrift, what.to_owned())
            }
        },
        _ => (Finding::Agrees, String::new()),
    }
}
