//! Who used what, and what it cost.

pub mod chargeback;

use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use archive::read::Reader;
use jiff::civil::Date;
use jiff::{Span, Timestamp};
use serde::Serialize;
use wildmatch::WildMatch;
use wire::price::usd;

use crate::rollup::{Group, Groups, Rollups, Sums as Counted};

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
    /// Hours, UTC.
    Hour,
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
            Self::Hour => "hour",
            Self::Repo => "repo",
            Self::Session => "session_id",
            Self::Client => "client",
        }
    }

    /// Whether rows stand in the order of time.
    pub fn is_time(self) -> bool {
        matches!(self, Self::Day | Self::Hour)
    }

    /// The row that a group goes to, so many days later.
    fn of(self, group: &Group, later: i64) -> Option<String> {
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let hour = || Timestamp::from_second((group.hour + later * 24) * 3600).ok();
        match self {
            Self::User => text(&group.user),
            Self::Team => text(&group.team),
            Self::Model => text(&group.model),
            Self::Key => text(&group.key),
            Self::Day => hour().map(|hour| archive::segment::day_of(hour).to_string()),
            Self::Hour => hour().map(|hour| hour.to_string()),
            Self::Repo => text(&group.repo),
            Self::Session => text(&group.session),
            Self::Client => text(&group.client),
        }
    }
}

/// What a report is about.
#[derive(Debug, Clone)]
pub struct Question {
    /// Both inclusive, UTC.
    pub days: (Date, Date),
    /// What rows stand for.
    pub by: By,
    /// Which exchanges count.
    pub filter: Filter,
    /// Whether the time before is told beside.
    pub compare: Compare,
}

impl Question {
    /// All exchanges of these days.
    pub fn of(days: (Date, Date), by: By) -> Self {
        Self { days, by, filter: Filter::default(), compare: Compare::Nothing }
    }
}

/// Whether the time before is told beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// It is: as many days.
    Before,
    /// It is not.
    Nothing,
}

/// Which exchanges count: of what is named, all that fit.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Whose.
    pub user: Option<String>,
    /// Which team's.
    pub team: Option<String>,
    /// Glob of models.
    pub model: Option<String>,
}

impl Filter {
    fn fits(&self, group: &Group) -> bool {
        let is = |wanted: &Option<String>, has: &str| wanted.as_ref().is_none_or(|one| one == has);
        let model = |glob: &String| WildMatch::new(glob).matches(&group.model);
        is(&self.user, &group.user)
            && is(&self.team, &group.team)
            && self.model.as_ref().is_none_or(model)
    }
}

/// A report over days.
#[derive(Debug)]
pub struct Report {
    /// Both inclusive, UTC.
    pub days: (Date, Date),
    /// What the rows stand for.
    pub by: By,
    /// Dearest first; days and hours in their order.
    pub rows: Vec<Row>,
    /// The sum of all rows.
    pub total: Row,
    /// Records read, with those that count as no request.
    pub records: u64,
    /// The days before, where they are told beside.
    pub before: Option<(Date, Date)>,
}

/// A line of a report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// The value of the grouping field; absent where records have none.
    pub group: Option<String>,
    /// What was counted.
    pub sums: Sums,
    /// The same of the time before.
    pub before: Option<Previous>,
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

/// What was counted in the time before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Previous {
    /// Exchanges.
    pub previous_requests: u64,
    /// Input and output.
    pub previous_total_tokens: u64,
    /// Nano-dollars.
    #[serde(rename = "previous_cost_usd", serialize_with = "as_usd")]
    pub previous_cost_nanos: u64,
    /// How much more or less it costs now, in percent with one decimal; nothing where it cost
    /// nothing before.
    pub cost_change_percent: Option<String>,
}

/// Adds up what is asked.
pub async fn report(reader: &Reader, rollups: &mut Rollups, question: &Question) -> Result<Report> {
    let Question { days, by, filter, compare } = question;
    let mut groups: HashMap<Option<String>, Sums> = HashMap::new();
    let (mut total, mut records) = (Row::default(), 0);
    let mut add = |group: &Group, counted: &Counted| {
        if filter.fits(group) {
            groups.entry(by.of(group, 0)).or_default().add(group, counted);
            total.sums.add(group, counted);
            records += counted.records;
        }
    };
    rollups.each_group(reader, *days, &mut add).await?;
    let before = match compare {
        Compare::Before => Some(earlier(*days)?),
        Compare::Nothing => None,
    };
    let mut rows: Vec<Row> =
        groups.into_iter().map(|(group, sums)| Row { group, sums, before: None }).collect();
    if let Some(earlier) = before {
        let later = i64::from(span_days(earlier));
        let mut earlier_groups: HashMap<Option<String>, Sums> = HashMap::new();
        let mut earlier_total = Sums::default();
        let mut add = |group: &Group, counted: &Counted| {
            if filter.fits(group) {
                earlier_groups.entry(by.of(group, later)).or_default().add(group, counted);
                earlier_total.add(group, counted);
            }
        };
        rollups.each_group(reader, earlier, &mut add).await?;
        for row in &mut rows {
            let sums = earlier_groups.remove(&row.group).unwrap_or_default();
            row.before = Some(Previous::of(&sums, &row.sums));
        }
        // What was there and is no more is a change too.
        rows.extend(earlier_groups.into_iter().map(|(group, sums)| {
            let now = Sums::default();
            Row { group, before: Some(Previous::of(&sums, &now)), sums: now }
        }));
        total.before = Some(Previous::of(&earlier_total, &total.sums));
    }
    sort(&mut rows, *by);
    Ok(Report { days: *days, by: *by, rows, total, records, before })
}

fn sort(rows: &mut [Row], by: By) {
    if by.is_time() {
        rows.sort_by(|one, other| one.group.cmp(&other.group));
        return;
    }
    let rank = |row: &Row| (row.sums.cost_nanos, row.sums.total_tokens, row.sums.requests);
    rows.sort_by(|one, other| rank(other).cmp(&rank(one)).then(one.group.cmp(&other.group)));
}

/// As many days before these.
fn earlier((first, last): (Date, Date)) -> Result<(Date, Date)> {
    let days = Span::new().days(i64::from(span_days((first, last))));
    Ok((first.checked_sub(days)?, last.checked_sub(days)?))
}

/// How many days these are.
fn span_days((first, last): (Date, Date)) -> i32 {
    first.until(last).map_or(0, |span| span.get_days()) + 1
}

/// Adds up these days from every record, and from the rollups; tells where they differ.
pub async fn verify(
    reader: &Reader,
    rollups: &mut Rollups,
    days: (Date, Date),
) -> Result<(u64, Vec<String>)> {
    let mut kept = Groups::new();
    let mut add = |group: &Group, sums: &Counted| {
        kept.entry(group.clone()).or_default().add(sums);
    };
    rollups.each_group(reader, days, &mut add).await?;
    let (mut true_sums, mut records) = (Groups::new(), 0);
    let mut add = |found: archive::read::Found| {
        let group = Group::of(&found.record);
        true_sums.entry(group).or_default().add(&Counted::of(&found.record));
        records += 1;
    };
    reader.records(days, &mut add).await?;
    let mut groups: Vec<&Group> = kept.keys().chain(true_sums.keys()).collect();
    groups.sort_unstable();
    groups.dedup();
    let differing = groups.into_iter().filter(|group| kept.get(group) != true_sums.get(group));
    let told = differing.map(|group| {
        format!("{group:?}: kept {:?}, records {:?}", kept.get(group), true_sums.get(group))
    });
    Ok((records, told.collect()))
}

impl Sums {
    fn add(&mut self, group: &Group, counted: &Counted) {
        self.requests += counted.requests;
        self.errors += counted.errors;
        self.input_tokens += counted.input_tokens;
        self.cached_input_tokens += counted.cached_input_tokens;
        self.output_tokens += counted.output_tokens;
        self.reasoning_tokens += counted.reasoning_tokens;
        self.total_tokens += counted.total_tokens();
        self.cost_nanos += counted.cost_nanos;
        self.unpriced_requests += counted.unpriced;
        if counted.requests > 0 && !group.model.is_empty() {
            match self.models.get_mut(&group.model) {
                Some(count) => *count += counted.requests,
                None => drop(self.models.insert(group.model.clone(), counted.requests)),
            }
        }
    }
}

impl Previous {
    fn of(before: &Sums, now: &Sums) -> Self {
        Self {
            previous_requests: before.requests,
            previous_total_tokens: before.total_tokens,
            previous_cost_nanos: before.cost_nanos,
            cost_change_percent: change(before.cost_nanos, now.cost_nanos),
        }
    }
}

/// Per mille, as a percent with one decimal.
fn change(before: u64, now: u64) -> Option<String> {
    let difference = i128::from(now) - i128::from(before);
    let mille = (difference * 1000).checked_div(i128::from(before))?;
    let sign = if mille < 0 { "-" } else { "+" };
    let mille = mille.unsigned_abs();
    Some(format!("{sign}{}.{}", mille / 10, mille % 10))
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

#[cfg(test)]
mod tests {
    use super::change;

    #[test]
    fn a_change_is_told_to_a_tenth_of_a_percent() {
        let changes = [(200, 250), (200, 150), (3, 4), (7, 7), (0, 5), (1, u64::MAX)];
        let told = changes.map(|(before, now)| change(before, now));
        let told: Vec<_> = told.iter().map(Option::as_deref).collect();
        let most = "+1844674407370955161400.0";
        assert_eq!(
            told,
            [Some("+25.0"), Some("-25.0"), Some("+33.3"), Some("+0.0"), None, Some(most)]
        );
    }
}
