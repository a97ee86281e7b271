//! Answers with the API's headers.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};

use crate::{
    json::Json,
    playback::{self, Playback, Step},
    problem::Problem,
    script::{Script, delivery::Quirk},
    seed::Ids,
};

/// An answer under construction.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    steps: Vec<Step>,
    length: Option<u64>,
}

impl Reply {
    /// JSON with status 200.
    pub(crate) fn json(json: Json) -> Self {
        Self::text(StatusCode::OK, "application/json", json.into_text())
    }

    /// An error.
    pub(crate) fn problem(problem: &Problem) -> Self {
        Self::text(problem.status, "application/json", problem.json().into_text())
    }

    /// Any text.
    pub(crate) fn text(status: StatusCode, kind: &'static str, text: String) -> Self {
        let length = u64::try_from(text.len()).ok();
        Self { length, ..Self::of(status, kind, vec![Step::Send(Bytes::from(text))]) }
    }

    /// A stream of events.
    pub(crate) fn stream(steps: Vec<Step>) -> Self {
        Self::of(StatusCode::OK, "text/event-stream; charset=utf-8", steps)
    }

    /// The change to another protocol.
    pub(crate) fn switching(headers: HeaderMap) -> Self {
        Self { status: StatusCode::SWITCHING_PROTOCOLS, headers, steps: Vec::new(), length: None }
    }

    fn of(status: StatusCode, kind: &'static str, steps: Vec<Step>) -> Self {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        Self { status, headers, steps, length: None }
    }

    /// Adds the API's headers and the script's, which win, and leaves out what the script wants out.
    pub(crate) fn dress(mut self, script: &Script, ids: &Ids) -> Self {
        self.headers.extend(house_headers(ids));
        if let Some(model) = &script.content.model {
            self.headers.extend(header("openai-model", model));
        }
        let delivery = &script.delivery;
        self.headers.extend(delivery.headers.clone());
        if delivery.has(Quirk::NoType) {
            self.headers.remove(CONTENT_TYPE);
        }
        if delivery.has(Quirk::NoLength) {
            self.length = None;
        }
        if let Some(bytes) = delivery.cut_bytes {
            self.steps = playback::cut(self.steps, bytes);
        }
        self
    }

    /// The answer as HTTP.
    pub(crate) fn into_response(self) -> Response<Playback> {
        let mut response = Response::new(Playback::new(self.steps, self.length));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

fn house_headers(ids: &Ids) -> HeaderMap {
    let mut seed = ids.asked.with(11);
    let used = ids.counter % 10_000;
    let lines = [
        ("x-request-id", ids.id("req_", 9)),
        ("openai-processing-ms", (50 + seed.next() % 900).to_string()),
        ("openai-version", "2020-10-01".to_owned()),
        ("openai-organization", "org-simulated".to_owned()),
        ("x-ratelimit-limit-requests", "10000".to_owned()),
        ("x-ratelimit-limit-tokens", "2000000".to_owned()),
        ("x-ratelimit-remaining-requests", (10_000 - used).to_string()),
        ("x-ratelimit-remaining-tokens", (2_000_000 - used * 100).to_string()),
        ("x-ratelimit-reset-requests", "6ms".to_owned()),
        ("x-ratelimit-reset-tokens", "1ms".to_owned()),
    ];
    lines.iter().filter_map(|(name, value)| header(name, value)).collect()
}

/// A header, if the value can be one.
fn header(name: &'static str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((HeaderName::from_static(name), HeaderValue::from_str(value).ok()?))
}
