//! Flags that say which records are wanted.

use archive::record::Outcome;
use clap::ValueEnum;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use wildmatch::WildMatch;

use crate::admin::audit::filter::Filter;
use crate::admin::keys::normal;

/// Which records are wanted.
#[derive(Debug, clap::Args)]
pub(super) struct FilterArgs {
    /// Whose
    #[arg(long)]
    user: Option<String>,
    /// Of which team
    #[arg(long)]
    team: Option<String>,
    /// Asked or answered by a model of this name; * and ? stand for other letters
    #[arg(long, value_name = "PATTERN")]
    model: Option<String>,
    /// With this HTTP status
    #[arg(long)]
    status: Option<u16>,
    /// That ended so
    #[arg(long, value_enum)]
    outcome: Option<OutcomeName>,
    /// With a finding of a rule of this name; * and ? stand for other letters
    #[arg(long, value_name = "PATTERN")]
    finding: Option<String>,
    /// With a finding of any rule
    #[arg(long, conflicts_with = "finding")]
    findings: bool,
    /// Refused with this text in the refusal's word or in what the client was told
    #[arg(long, value_name = "TEXT")]
    refusal: Option<String>,
    /// In the repository of this name
    #[arg(long)]
    repo: Option<String>,
    /// Of this Codex session or thread
    #[arg(long)]
    session: Option<String>,
    /// That began on this day or at this time, or later (UTC)
    #[arg(long, value_parser = from_time)]
    from: Option<Timestamp>,
    /// That began on this day or before it, or before this time (UTC)
    #[arg(long, value_parser = to_time)]
    to: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OutcomeName {
    Complete,
    Refused,
    Failed,
    Cancelled,
}

impl From<FilterArgs> for Filter {
    fn from(args: FilterArgs) -> Self {
        Self {
            user: args.user.map(|user| normal(&user)),
            team: args.team,
            model: args.model.map(|pattern| WildMatch::new(&pattern)),
            status: args.status,
            outcome: args.outcome.map(|outcome| match outcome {
                OutcomeName::Complete => Outcome::Complete,
                OutcomeName::Refused => Outcome::Refused,
                OutcomeName::Failed => Outcome::Failed,
                OutcomeName::Cancelled => Outcome::Cancelled,
            }),
            finding: args
                .finding
                .or_else(|| args.findings.then(|| "*".to_owned()))
                .map(|pattern| WildMatch::new(&pattern)),
            session: args.session,
            repo: args.repo,
            refusal: args.refusal,
            from: args.from,
            to: args.to,
        }
    }
}

fn from_time(text: &str) -> Result<Timestamp, String> {
    time(text, Span::new())
}

/// A whole day is meant to its end.
fn to_time(text: &str) -> Result<Timestamp, String> {
    time(text, Span::new().days(1))
}

fn time(text: &str, after_day: Span) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let wrong = || "write a day as 2026-11-22 or a time as 2026-11-22T08:30:00Z".to_owned();
    let day: Date = text.parse().map_err(|_| wrong())?;
    let day = day.checked_add(after_day).map_err(|_| wrong())?;
    Ok(day.to_zoned(TimeZone::UTC).map_err(|_| wrong())?.timestamp())
}
