//! `audit`: find exchanges and read them back.

mod lifecycle;
mod prune;

use std::io::Write;

use anyhow::Result;
use archive::frame::{RequestHead, ResponseHead};
use archive::read::Exchange;
use archive::record::{Outcome, Record};
use clap::{Subcommand, ValueEnum};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::output::{Format, Listing, line, visible};
use super::report::reader;
use super::{Common, block_on};
use crate::admin::audit::{self, Filter, Hit};
use crate::admin::keys::normal;
use crate::config::Flags;

/// Find exchanges and read them back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy audit list --user ada@example.com --outcome failed
  codex-proxy audit show 0199a2b4-6f3e-7c11-9a55-0242ac120002 --part response --raw")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Show(Show),
    Search(Search),
    Prune(prune::Prune),
    Lifecycle(lifecycle::Lifecycle),
}

/// List records, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  codex-proxy audit list --team blue --from 2026-11-01")]
struct List {
    #[command(flatten)]
    filter: FilterArgs,
    /// How many at most; 0: all
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Form of the listing
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Show one exchange
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy audit show 0199a2b4-6f3e-7c11-9a55-0242ac120002 --part request --raw | jq .model")]
struct Show {
    /// Its id, or the beginning of it: the client saw it as x-codex-proxy-id
    id: String,
    /// Only this part
    #[arg(long, value_enum)]
    part: Option<PartName>,
    /// The body's exact bytes and nothing else [part: response]
    #[arg(long)]
    raw: bool,
}

/// Find a text in bodies
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  codex-proxy audit search 'high demand'")]
struct Search {
    /// The text
    text: String,
    #[command(flatten)]
    filter: FilterArgs,
    /// Form of the listing
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PartName {
    Request,
    Response,
    Meta,
}

#[derive(Debug, clap::Args)]
struct FilterArgs {
    /// Whose
    #[arg(long)]
    user: Option<String>,
    /// Of which team
    #[arg(long)]
    team: Option<String>,
    /// Asked or answered by this model
    #[arg(long)]
    model: Option<String>,
    /// With this HTTP status
    #[arg(long)]
    status: Option<u16>,
    /// That ended so
    #[arg(long, value_enum)]
    outcome: Option<OutcomeName>,
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

const RECORD_COLUMNS: &[&str] = &[
    "id",
    "time",
    "user",
    "team",
    "endpoint",
    "model",
    "status",
    "outcome",
    "source",
    "total_tokens",
    "cost_usd",
    "took_ms",
];
const HIT_COLUMNS: &[&str] = &["id", "time", "user", "status", "side", "excerpt"];

/// Runs one of the audit commands.
pub fn run(common: &Common, args: Args) -> Result<()> {
    let config = common.settings(Flags::new())?;
    let reader = reader(&config)?;
    block_on(async {
        match args.command {
            Command::List(List { filter, limit, format }) => {
                let found = audit::list(&reader, &filter.into(), limit).await?;
                let records: Vec<Record> = found.into_iter().map(|found| found.record).collect();
                Listing::new(RECORD_COLUMNS, &records)?.print(format)
            }
            Command::Show(show) => {
                let (record, exchange) = audit::show(&reader, &show.id).await?;
                print(&show, &record, &exchange)
            }
            Command::Search(Search { text, filter, format }) => {
                let mut hits: Vec<Hit> = Vec::new();
                let mut keep = |hit| {
                    hits.push(hit);
                    Ok(())
                };
                audit::search(&reader, &text, &filter.into(), &mut keep).await?;
                Listing::new(HIT_COLUMNS, &hits)?.print(format)
            }
            Command::Prune(args) => prune::run(&config, &args).await,
            Command::Lifecycle(_) => lifecycle::run(&config),
        }
    })
}

fn print(show: &Show, record: &Record, exchange: &Exchange) -> Result<()> {
    if show.raw {
        let body = match show.part {
            Some(PartName::Request) => exchange.request_body.clone(),
            Some(PartName::Meta) => serde_json::to_vec(&meta(record, exchange)?)?,
            Some(PartName::Response) | None => exchange.response_body.clone(),
        };
        return Ok(std::io::stdout().write_all(&body)?);
    }
    let wanted = |part| show.part.is_none_or(|only| only == part);
    if wanted(PartName::Meta) {
        line(&serde_json::to_string_pretty(&meta(record, exchange)?)?)?;
    }
    if wanted(PartName::Request) {
        line(&readable("request", show.part, &exchange.request_body))?;
    }
    if wanted(PartName::Response) {
        line(&readable("response", show.part, &exchange.response_body))?;
    }
    Ok(())
}

/// The record with the heads of both sides.
fn meta(record: &Record, exchange: &Exchange) -> Result<serde_json::Value> {
    #[derive(serde::Serialize)]
    struct Meta<'a> {
        #[serde(flatten)]
        record: &'a Record,
        request: &'a Option<RequestHead>,
        response: &'a Option<ResponseHead>,
    }
    let meta = Meta { record, request: &exchange.request, response: &exchange.response };
    Ok(serde_json::to_value(meta)?)
}

/// A body for people: JSON with line breaks; under a heading where it is not alone.
fn readable(name: &str, only: Option<PartName>, body: &[u8]) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let pretty = json.and_then(|json| serde_json::to_string_pretty(&json).ok());
    let text = pretty.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let text = text.lines().map(visible).collect::<Vec<_>>().join("\n");
    if only.is_some() { text } else { format!("\n--- {name}, {} bytes\n{text}", body.len()) }
}

impl From<FilterArgs> for Filter {
    fn from(args: FilterArgs) -> Self {
        Self {
            user: args.user.map(|user| normal(&user)),
            team: args.team,
            model: args.model,
            status: args.status,
            outcome: args.outcome.map(|outcome| match outcome {
                OutcomeName::Complete => Outcome::Complete,
                OutcomeName::Refused => Outcome::Refused,
                OutcomeName::Failed => Outcome::Failed,
                OutcomeName::Cancelled => Outcome::Cancelled,
            }),
            session: args.session,
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
