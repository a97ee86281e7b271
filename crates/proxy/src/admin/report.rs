//! Who used what, and what it cost.

use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use archive::read::Reader;
use archive::record::{Outcome, Record};
use archive::segment::day_of;
use jiff::civil::Date;
use serde::Serialize;
use wire::attribution::RequestKind;
use wire::price::{nanos, usd};

/// What the rows of a report stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// People.
    User,
    /// Teams.
    Team,
    /// The models that answered, else those asked.
    Model,
    /// Keys.
    Key,
    /// Days, UTC.
    Day,
    /// Repositories.
    Repo,
    /// Codex sessions.
    Session,
    /// Programs that asked.
    Client,
}

impl By {
    /// The name of the grouping field.
    pub fn field(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Team => "team",
            Self::Model => "model",
            Self::Key => "key_id",
            Self::Day => "day",
            Self::Repo => "repo",
            Self::Session => "session_id",
            Self::Client => "client",
        }
    }

    fn of(self, record: &Record) -> Option<String> {
        match self {
            Self::User => Some(record.user.clone()),
            Self::Team => record.team.clone(),
            Self::Model => model(record).map(str::to_owned),
            Self::Key => Some(record.key_id.clone()),
            Self::Day => Some(day_of(record.time).to_string()),
            Self::Repo => record.repo.clone(),
            Self::Session => record.session_id.clone(),
            Self::Client => record.client.clone(),
        }
    }
}

/// A report over days.
#[derive(Debug)]
pub struct Report {
    /// Both inclusive, UTC.
    pub days: (Date, Date),
    /// What the rows stand for.
    pub by: By,
    /// Dearest first.
    pub rows: Vec<Row>,
    /// The sum of all rows.
    pub total: Row,
    /// Records read, with those that count as no request.
    pub records: u64,
}

/// A line of a report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// The value of the grouping field; absent where records have none.
    pub group: Option<String>,
    /// What was counted.
    pub sums: Sums,
}

/// What is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// Exchanges, but for those that only made a socket ready.
    pub requests: u64,
    /// Of them, those that did not end complete.
    pub errors: u64,
    /// Input, with cached tokens.
    pub input_tokens: u64,
    /// Input from the provider's cache.
    pub cached_input_tokens: u64,
    /// Output, with reasoning.
    pub output_tokens: u64,
    /// Reasoning.
    pub reasoning_tokens: u64,
    /// Input and output.
    pub total_tokens: u64,
    /// Nano-dollars of what is priced.
    #[serde(rename = "cost_usd", serialize_with = "as_usd")]
    pub cost_nanos: u64,
    /// Exchanges of unknown cost, which are in no sum of money.
    pub unpriced_requests: u64,
    /// How often which model, as `model:count`.
    #[serde(serialize_with = "as_counts")]
    pub models: BTreeMap<String, u64>,
}

/// Reads the records of these days and adds them up.
pub async fn report(reader: &Reader, days: (Date, Date), by: By) -> Result<Report> {
    let mut groups: HashMap<Option<String>, Sums> = HashMap::new();
    let (mut total, mut records) = (Row::default(), 0);
    reader
        .records(days, &mut |found| {
            groups.entry(by.of(&found.record)).or_default().add(&found.record);
            total.sums.add(&found.record);
            records += 1;
        })
        .await?;
    let mut rows: Vec<Row> = groups.into_iter().map(|(group, sums)| Row { group, sums }).collect();
    if by == By::Day {
        rows.sort_by(|one, other| one.group.cmp(&other.group));
    } else {
        let rank = |row: &Row| (row.sums.cost_nanos, row.sums.total_tokens, row.sums.requests);
        rows.sort_by(|one, other| rank(other).cmp(&rank(one)).then(one.group.cmp(&other.group)));
    }
    Ok(Report { days, by, rows, total, records })
}

impl Sums {
    fn add(&mut self, record: &Record) {
        let asks = record.request_kind != RequestKind::Prewarm.as_str();
        self.requests += u64::from(asks);
        self.errors += u64::from(asks && record.outcome != Outcome::Complete);
        self.input_tokens += record.input_tokens;
        self.cached_input_tokens += record.cached_input_tokens;
        self.output_tokens += record.output_tokens;
        self.reasoning_tokens += record.reasoning_tokens;
        self.total_tokens += record.total_tokens;
        self.cost_nanos += record.cost_usd.as_deref().map_or(0, nanos);
        self.unpriced_requests += u64::from(!record.priced);
        if let Some(model) = model(record).filter(|_| asks) {
            *self.models.entry(model.to_owned()).or_default() += 1;
        }
    }
}

/// The model that answered, else the one asked.
fn model(record: &Record) -> Option<&str> {
    record.upstream_model.as_deref().or(record.model.as_deref())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn as_usd<S: serde::Serializer>(nanos: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&usd(*nanos))
}

fn as_counts<S: serde::Serializer>(
    counts: &BTreeMap<String, u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&counted(counts))
}

/// `model:count` of each model, the commonest first.
pub fn counted(counts: &BTreeMap<String, u64>) -> String {
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by(|one, other| other.1.cmp(one.1).then(one.0.cmp(other.0)));
    counts.iter().map(|(model, count)| format!("{model}:{count}")).collect::<Vec<_>>().join(" ")
}
