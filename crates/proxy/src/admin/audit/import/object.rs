//! An object of the other archive as a record of ours.
//!
//! Its fields are read by the names that are usual for them, however they are spelled: which ones a
//! copy has depends on when it was written.

use anyhow::{Context, Result, ensure};
use archive::frame::{RequestHead, ResponseHead};
use archive::record::{Outcome, Record, Source, Transport, UsageKind};
use archive::segment::day_of;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ring::digest::{SHA256, digest};
use serde_json::Value;
use wire::ask::Ask;
use wire::attribution::{Attribution, Paths};
use wire::meter::{Ending, Meter, Reading, Shape};
use wire::price::{PriceTable, usd};

use super::Place;
use super::fields::Fields;
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

const REQUEST: &[&str] = &["request_body", "req_body", "request"];
const RESPONSE: &[&str] = &["response_body", "resp_body", "res_body", "response"];
const STATUS: &[&str] = &["status_code", "response_status", "response_status_code", "status"];
const PATH: &[&str] = &["path", "request_path", "raw_path", "endpoint", "url", "uri"];
const METHOD: &[&str] = &["method", "http_method", "request_method"];
const TIME: &[&str] = &["timestamp", "time", "created_at", "request_time", "started_at", "ts"];
const USER: &[&str] = &["user_id", "user", "email", "user_email", "user_name"];
const TOOK: &[&str] = &["duration_ms", "latency_ms", "took_ms", "elapsed_ms"];
const REQUEST_CUT: &[&str] = &["request_truncated", "request_body_truncated", "truncated"];
const RESPONSE_CUT: &[&str] = &["response_truncated", "response_body_truncated", "truncated"];

/// Reads an object.
pub(super) fn read(json: &[u8], place: &Place, prices: &PriceTable, node: &str) -> Result<Object> {
    let object: Value = serde_json::from_slice(json).context("reading its JSON")?;
    let has_fields = object.as_object().is_some_and(|object| !object.is_empty());
    ensure!(has_fields, "it is no JSON object with fields, of which one stands for a request");
    let fields = Fields::of(&object);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let request_body = body(fields.request_body(REQUEST));
    let response_body = body(fields.response_body(RESPONSE));
    let status = number(fields.of_response(STATUS));
    let status = status.and_then(|status| u16::try_from(status).ok());
    let path =
        text(fields.of_request(PATH)).map_or("/v1/responses".to_owned(), |path| below(&path));
    let method = text(fields.of_request(METHOD)).unwrap_or_else(|| "POST".to_owned());
    let time = time(fields.any(TIME), place)?;

    let ask = Ask::read(&request_body);
    let (reading, transport) = answer(&response_body, &path);
    let user = text(fields.any(USER));
    let mut record = Record::blank(id(time, place), time, node);
    "imported".clone_into(&mut record.key_id);
    record.source = Source::Upstream;
    record.tags.insert("imported".to_owned(), "s3".to_owned());
    record.user = user.map_or_else(|| "unknown".to_owned(), |user| normal(&user));
    record.endpoint = format!("{method} {}", path.split('?').next().unwrap_or_default());
    record.transport = transport;
    record.status = status;
    record.model =
        ask.as_ref().and_then(|ask| ask.model.clone()).or_else(|| text(fields.any(&["model"])));
    record.took_ms = number(fields.any(TOOK)).unwrap_or(0);
    record.request_bytes = request_body.len() as u64;
    record.response_bytes = response_body.len() as u64;
    attribute(&mut record, ask);
    conclude(&mut record, &reading, prices);
    let says = [REQUEST_CUT, RESPONSE_CUT].map(|names| fields.any(names) == &Value::Bool(true));
    mark(&mut record, says, &request_body, (&response_body, &reading));
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

/// The path of an address.
fn below(address: &str) -> String {
    let Some((_, rest)) = address.split_once("://") else { return address.to_owned() };
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/").to_owned()
}

/// A number, also one that was written as a text.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
fn number(value: &Value) -> Option<u64> {
    let written = || value.as_str().and_then(|text| text.trim().parse().ok());
    value.as_u64().or_else(|| value.as_f64().or_else(written).map(|number| number as u64))
}

/// When it began: as a text, or as a number since 1970; else the beginning of its day.
fn time(value: &Value, place: &Place) -> Result<Timestamp> {
    let time = match (number(value), value.as_str()) {
        (Some(number), _) => since_1970(i64::try_from(number)?)?,
        (None, Some(text)) => text.parse().with_context(|| format!("reading its time {text}"))?,
        (None, None) => place.day.to_zoned(TimeZone::UTC)?.timestamp(),
    };
    // Records are kept to the millisecond.
    Ok(Timestamp::from_millisecond(time.as_millisecond())?)
}

/// Seconds, milliseconds, microseconds or nanoseconds: which they are shows in how many there are.
fn since_1970(number: i64) -> Result<Timestamp> {
    Ok(match number.checked_ilog10().unwrap_or_default() {
        ..11 => Timestamp::from_second(number)?,
        11..14 => Timestamp::from_millisecond(number)?,
        14..17 => Timestamp::from_microsecond(number)?,
        _ => Timestamp::from_nanosecond(i128::from(number))?,
    })
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
    let said = Attribution::read(&|_| None, &ask.unwrap_or_default(), Paths::Name);
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
fn mark(
    record: &mut Record,
    [request_says, response_says]: [bool; 2],
    request: &[u8],
    (response, reading): (&[u8], &Reading),
) {
    let is_json = |body: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
    let is_cut = |body: &[u8], is_whole: bool| {
        let says = body.ends_with(b"[truncated]") || body.ends_with(b"...(truncated)");
        says || body.len() >= CUT && !is_whole
    };
    let mut cut = Vec::new();
    if request_says || is_cut(request, is_json(request)) {
        cut.push("request");
    }
    if response_says || is_cut(response, reading.ending.is_some() || is_json(response)) {
        cut.push("response");
    }
    if !cut.is_empty() {
        record.tags.insert("truncated".to_owned(), cut.join(" "));
    }
}
