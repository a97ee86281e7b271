//! `audit show`: one exchange.

use std::io::Write;

use anyhow::{Result, bail};
use archive::frame::{RequestHead, ResponseHead, Side};
use archive::read::{Exchange, Reader};
use archive::record::Record;
use clap::ValueEnum;

use crate::admin::audit;
use crate::cli::output::{line, visible};

/// Show one exchange
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy audit show 0199a2b4-6f3e-7c11-9a55-0242ac120002 --part request --raw | jq .model")]
pub(super) struct Show {
    /// Its id, or the beginning of it: the client saw it as x-codex-proxy-id
    id: String,
    /// Only this part
    #[arg(long, value_enum)]
    part: Option<PartName>,
    /// The body's exact bytes and nothing else [part: response]
    #[arg(long)]
    raw: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PartName {
    Request,
    Response,
    Meta,
}

/// Prints the exchange, or a part of it.
pub(super) async fn run(reader: &Reader, show: &Show) -> Result<()> {
    let (record, exchange) = audit::show(reader, &show.id).await?;
    let body = match show.part {
        Some(PartName::Request) => Some(Side::Request),
        Some(PartName::Response) => Some(Side::Response),
        None if show.raw => Some(Side::Response),
        Some(PartName::Meta) | None => None,
    };
    if let Some(why) = body.and_then(|side| exchange.lacks(&record, side)) {
        bail!("exchange {}: {why}", record.id);
    }
    print(show, &record, &exchange)
}

fn print(show: &Show, record: &Record, exchange: &Exchange) -> Result<()> {
    if show.raw {
        let body = match show.part {
            Some(PartName::Request) => exchange.request_body.clone(),
            Some(PartName::Meta) => serde_json::to_vec(&meta(record, exchange)?)?,
            Some(PartName::Response) | None => exchange.response_body.clone(),
        };
        let mut out = std::io::stdout().lock();
        out.write_all(&body)?;
        return Ok(out.flush()?);
    }
    let wanted = |part| show.part.is_none_or(|only| only == part);
    if wanted(PartName::Meta) {
        line(&serde_json::to_string_pretty(&meta(record, exchange)?)?)?;
    }
    let sides = [
        (PartName::Request, "request", Side::Request, &exchange.request_body),
        (PartName::Response, "response", Side::Response, &exchange.response_body),
    ];
    for (part, name, side, body) in sides.into_iter().filter(|(part, ..)| wanted(*part)) {
        match exchange.lacks(record, side) {
            Some(why) => line(&format!("\n--- {name}: {why}"))?,
            None => line(&readable(name, show.part.filter(|only| *only == part), body))?,
        }
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
