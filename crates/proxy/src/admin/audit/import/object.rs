//! An object of the other archive as a record of ours.
//!
//! Its fields are read by the names that are usual for them: which ones a copy has depends on when
//! it was written.

use anyhow::{Context, Result};
use archive::frame::{RequestHead, ResponseHead};
use archive::record::{Outcome, Record, Source, Transport, UsageKind};
use archive::segment::day_of;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ring::digest::{SHA256, digest};
use serde_json::Value;
use wire::ask::Ask;
use wire::attribution::Attribution;
use wire::meter::{Ending, Meter, Reading, Shape};
use wire::price::{PriceTable, usd};

use super::Place;
use crate::admin::keys::normal;

/// An exchange, ready to be written.
pub(super) struct Object {
    pub(super) record: Record,
    pub(super) request: RequestHead,
    pub(super) response: ResponseHead,
    pub(super) request_body: Vec<u8>,
    pub(super) response_body: Vec<u8>,
}

/// Bodies were cut off there, in bytes or in kilobytes of either kind.
const CUT: usize = 100_000;

/// Reads an object.
pub(super) fn read(json: &[u8], place: &Place, prices: &PriceTable, node: &str) -> Result<Object> {
    let object: Value = serde_json::from_slice(json).context("reading its JSON")?;
    let field = |names: &[&str]| {
        let found = names.iter().filter_map(|name| object.get(*name));
        found.into_iter().find(|value| !value.is_null()).cloned().unwrap_or_default()
    };
    let text = |names: &[&str]| field(names).as_str().map(str::to_owned);
    let request_body = body(&field(&["request_body", "requestBody", "request"]));
    let response_body = body(&field(&["response_body", "responseBody", "response"]));
    let status = number(&field(&["status_code", "statusCode", "response_status", "status"]));
    let status = status.and_then(|status| u16::try_from(status).ok());
    let path = text(&["path", "endpoint", "url"]).unwrap_or_else(|| "/v1/responses".to_owned());
    let method = text(&["method", "http_method"]).unwrap_or_else(|| "POST".to_owned());
    let time = time(&field(&["timestamp", "time", "created_at"]), place)?;

    let ask = Ask::read(&request_body);
    let (reading, transport) = answer(&response_body, &path);
    let user = text(&["user_id", "user", "email", "userId"]);
    let mut record = Record::blank(id(time, place), time, node);
    "imported".clone_into(&mut record.key_id);
    record.source = Source::Upstream;
    record.tags.insert("imported".to_owned(), "s3".to_owned());
    record.user = user.map_or_else(|| "unknown".to_owned(), |user| normal(&user));
    record.endpoint = format!("{method} {}", path.split('?').next().unwrap_or_default());
    record.transport = transport;
    record.status = status;
    record.model = ask.as_ref().and_then(|ask| ask.model.clone()).or_else(|| text(&["model"]));
    record.took_ms = number(&field(&["duration_ms", "latency_ms", "took_ms"])).unwrap_or(0);
    record.request_bytes = request_body.len() as u64;
    record.response_bytes = response_body.len() as u64;
    attribute(&mut record, ask);
    conclude(&mut record, &reading, prices);
    mark(&mut record, &request_body, (&response_body, &reading));
    let request = RequestHead { method, target: path, headers: Vec::new(), wire: None };
    let response = ResponseHead { status: status.unwrap_or(0), headers: Vec::new(), wire: None };
    Ok(Object { record, request, response, request_body, response_body })
}

/// A body that was stored as a text, or as the JSON that it is.
fn body(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) => text.clone().into_bytes(),
        value => value.to_string().into_bytes(),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64().map(|number| number as u64))
}

/// When it began: as a text, in seconds or in milliseconds since 1970; else the beginning of its
/// day.
fn time(value: &Value, place: &Place) -> Result<Timestamp> {
    let time = match (value.as_str(), number(value)) {
        (Some(text), _) => text.parse().with_context(|| format!("reading its time {text}"))?,
        (None, Some(number)) => {
            let number = i64::try_from(number)?;
            let is_seconds = number < 100_000_000_000;
            Timestamp::from_millisecond(if is_seconds { number * 1000 } else { number })?
        }
        (None, None) => place.day.to_zoned(TimeZone::UTC)?.timestamp(),
    };
    // Records are kept to the millisecond.
    Ok(Timestamp::from_millisecond(time.as_millisecond())?)
}

/// The same id each time, so that nothing is taken over twice; the token cannot be read from it.
fn id(time: Timestamp, place: &Place) -> String {
    let hash =
        digest(&SHA256, format!("{}/{}/{}", place.day, place.token, place.request).as_bytes());
    let mut random = [0; 10];
    random.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
    let millis = u64::try_from(time.as_millisecond()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().to_string()
}

/// Reads an answer that is there as far as it was kept.
fn answer(body: &[u8], path: &str) -> (Reading, Transport) {
    let is_json = body.trim_ascii_start().starts_with(b"{");
    let (shape, transport) = match (is_json, path.contains("chat/completions")) {
        (true, _) => (Shape::Json, Transport::Http),
        (false, true) => (Shape::ChatEvents, Transport::Sse),
        (false, false) => (Shape::ResponsesEvents, Transport::Sse),
    };
    let mut meter = Meter::new(shape);
    meter.feed(body);
    (meter.reading(), transport)
}

fn attribute(record: &mut Record, ask: Option<Ask>) {
    let said = Attribution::read(&|_| None, &ask.unwrap_or_default());
    said.request_kind.as_str().clone_into(&mut record.request_kind);
    record.session_id = said.session_id;
    record.thread_id = said.thread_id;
    record.turn_id = said.turn_id;
    record.parent_thread_id = said.parent_thread_id;
    record.subagent = said.subagent;
    record.repo = said.repo;
    record.commit = said.commit;
}

/// How it ended and what it cost, as far as the answer tells.
fn conclude(record: &mut Record, reading: &Reading, prices: &PriceTable) {
    let is_error = record.status.is_some_and(|status| status >= 400);
    let failed = is_error || reading.ending == Some(Ending::Failed);
    record.outcome = if failed { Outcome::Failed } else { Outcome::Complete };
    record.upstream_model.clone_from(&reading.upstream_model);
    record.service_tier.clone_from(&reading.service_tier);
    record.response_id.clone_from(&reading.response_id);
    let cost = if let Some(usage) = reading.usage {
        record.usage = UsageKind::Exact;
        record.input_tokens = usage.input_tokens;
        record.cached_input_tokens = usage.cached_input_tokens;
        record.cache_write_tokens = usage.cache_write_tokens;
        record.output_tokens = usage.output_tokens;
        record.reasoning_tokens = usage.reasoning_tokens;
        record.total_tokens = usage.total_tokens();
        let model = record.upstream_model.as_ref().or(record.model.as_ref());
        let (tier, day) = (record.service_tier.as_deref(), day_of(record.time));
        model.and_then(|model| prices.cost(model, tier, day, &usage)).map(|cost| cost.nanos)
    } else {
        is_error.then_some(0)
    };
    record.priced = cost.is_some();
    record.cost_usd = cost.map(usd);
}

/// Says which bodies are cut off.
fn mark(record: &mut Record, request: &[u8], (response, reading): (&[u8], &Reading)) {
    let is_json = |body: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
    let is_cut = |body: &[u8], is_whole: bool| {
        let says = body.ends_with(b"[truncated]") || body.ends_with(b"...(truncated)");
        says || body.len() >= CUT && !is_whole
    };
    let mut cut = Vec::new();
    if is_cut(request, is_json(request)) {
        cut.push("request");
    }
    if is_cut(response, reading.ending.is_some() || is_json(response)) {
        cut.push("response");
    }
    if !cut.is_empty() {
        record.tags.insert("truncated".to_owned(), cut.join(" "));
    }
}
