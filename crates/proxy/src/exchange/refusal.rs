//! The only place where an error becomes HTTP.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

/// An answer of ours instead of the upstream's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    word: Word,
    message: String,
    retry_after: Option<u32>,
    reach: Reach,
    /// What is told of a budget that is nearly spent.
    note: Option<HeaderValue>,
}

/// How far the request came that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Surely not to the upstream.
    Here,
    /// Perhaps to the upstream, where it may have cost.
    Upstream,
    /// The client broke off: nobody hears the refusal.
    Nobody,
}

/// Why something is refused: our own word for it, as in `x-codex-proxy-refusal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Word {
    /// No key was shown.
    KeyMissing,
    /// The key is not in the store.
    KeyUnknown,
    /// The key was disabled, revoked or replaced.
    KeyDisabled,
    /// The key's time is over.
    KeyExpired,
    /// The endpoint is closed.
    NotAllowed,
    /// The key may not ask this model.
    ModelNotAllowed,
    /// A budget is spent, or has too little left for this exchange.
    BudgetExceeded,
    /// The request holds a secret.
    SecretBlocked,
    /// The body cannot be read.
    UnreadableBody,
    /// Too much at once for this key.
    TooManyRequests,
    /// The body is larger than `max_body`.
    BodyTooLarge,
    /// No room to record or to buffer, or stopping.
    Busy,
    /// No connection to the upstream.
    UpstreamUnreachable,
    /// The upstream took too long.
    UpstreamTimeout,
    /// A WebSocket is asked where none is spoken.
    WebsocketOff,
}

impl Word {
    /// As it stands in records, headers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KeyMissing => "key_missing",
            Self::KeyUnknown => "key_unknown",
            Self::KeyDisabled => "key_disabled",
            Self::KeyExpired => "key_expired",
            Self::NotAllowed => "not_allowed",
            Self::ModelNotAllowed => "model_not_allowed",
            Self::BudgetExceeded => "budget_exceeded",
            Self::SecretBlocked => "secret_blocked",
            Self::UnreadableBody => "unreadable_body",
            Self::TooManyRequests => "too_many_requests",
            Self::BodyTooLarge => "body_too_large",
            Self::Busy => "busy",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::WebsocketOff => "websocket_off",
        }
    }

    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::KeyMissing | Self::KeyUnknown | Self::KeyDisabled | Self::KeyExpired => {
                StatusCode::UNAUTHORIZED
            }
            Self::NotAllowed => StatusCode::FORBIDDEN,
            Self::ModelNotAllowed
            | Self::BudgetExceeded
            | Self::SecretBlocked
            | Self::UnreadableBody => StatusCode::BAD_REQUEST,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::UpstreamUnreachable => StatusCode::BAD_GATEWAY,
            Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::WebsocketOff => StatusCode::UPGRADE_REQUIRED,
        }
    }

    /// `error.code`. `invalid_prompt` is the one that Codex shows word for word and does not retry.
    fn code(self) -> &'static str {
        match self {
            Self::KeyMissing | Self::KeyUnknown | Self::KeyDisabled | Self::KeyExpired => {
                "invalid_api_key"
            }
            Self::NotAllowed => "not_allowed",
            Self::ModelNotAllowed
            | Self::BudgetExceeded
            | Self::SecretBlocked
            | Self::UnreadableBody => "invalid_prompt",
            Self::TooManyRequests => "rate_limit_exceeded",
            Self::BodyTooLarge => "request_too_large",
            Self::Busy => "server_is_overloaded",
            Self::UpstreamUnreachable | Self::UpstreamTimeout => "upstream_error",
            Self::WebsocketOff => "websocket_off",
        }
    }

    /// `error.type`, as `OpenAI` groups its own errors.
    fn kind(self) -> &'static str {
        match self.status().as_u16() {
            401 => "authentication_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }
}

impl Refusal {
    /// Refuses for a reason; the message says what happened and what to do.
    pub fn new(word: Word, message: impl Into<String>) -> Self {
        let (message, reach) = (message.into(), Reach::Upstream);
        Self { word, message, retry_after: None, reach, note: None }
    }

    /// No room at the moment.
    pub fn busy(message: impl Into<String>) -> Self {
        Self { retry_after: Some(2), ..Self::new(Word::Busy, message) }
    }

    /// The key was switched off, replaced or revoked while its exchange was open.
    pub fn key_ended() -> Self {
        let message = "This key was disabled or replaced while its exchange was under way.";
        Self::new(Word::KeyDisabled, message)
    }

    /// Adds a sentence.
    #[must_use]
    pub fn and(mut self, sentence: &str) -> Self {
        self.message = format!("{} {sentence}", self.message);
        self
    }

    /// Tells after how many seconds to come again.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// Tells that nothing of the request reached the upstream, though it was on its way.
    #[must_use]
    pub fn before_upstream(self) -> Self {
        Self { reach: Reach::Here, ..self }
    }

    /// Tells of a budget that is nearly spent.
    #[must_use]
    pub fn with_note(self, note: Option<HeaderValue>) -> Self {
        Self { note, ..self }
    }

    /// Tells that the client broke off.
    #[must_use]
    pub fn to_nobody(self) -> Self {
        Self { reach: Reach::Nobody, ..self }
    }

    /// How far the request came, once it was on its way to the upstream.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// Tells whom to ask.
    #[must_use]
    pub fn with_contact(mut self, contact: Option<&str>) -> Self {
        if let Some(contact) = contact {
            self.message = format!("{} Ask {contact}.", self.message);
        }
        self
    }

    /// Why.
    pub fn word(&self) -> Word {
        self.word
    }

    /// The refusal as a whole answer.
    pub fn response(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(self.body().to_string()));
        *response.status_mut() = self.word.status();
        self.headers(response.headers_mut());
        response
    }

    /// The refusal inside an event stream that has begun: the event that Codex ends a turn on.
    pub fn responses_event(&self) -> String {
        let error = serde_json::json!({ "code": self.word.code(), "message": self.message });
        let data = serde_json::json!({
            "type": "response.failed",
            "response": { "object": "response", "status": "failed", "error": error },
        });
        format!("event: response.failed\ndata: {data}\n\n")
    }

    /// The refusal inside a stream of Chat Completions: the object that `OpenAI`'s SDKs raise.
    pub fn chat_event(&self) -> String {
        format!("data: {}\n\n", self.body())
    }

    /// The refusal as a message of a WebSocket.
    pub fn socket_message(&self) -> String {
        let mut message = serde_json::json!({
            "type": "error",
            "status": self.word.status().as_u16(),
        });
        if let (Some(message), serde_json::Value::Object(body)) =
            (message.as_object_mut(), self.body())
        {
            message.extend(body);
        }
        message.to_string()
    }

    fn body(&self) -> serde_json::Value {
        serde_json::json!({ "error": {
            "message": self.message,
            "type": self.word.kind(),
            "param": null,
            "code": self.word.code(),
        } })
    }

    fn headers(&self, headers: &mut HeaderMap) {
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        let word = HeaderValue::from_static(self.word.as_str());
        headers.insert("x-codex-proxy-refusal", word);
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(note) = &self.note {
            headers.insert(super::BUDGET_HEADER, note.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Refusal, Word};

    #[test]
    fn a_refusal_has_the_shape_that_clients_read() {
        let refusal = Refusal::busy("No room.").with_contact(Some("ada@example.com"));
        let response = refusal.response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "2");
        assert_eq!(response.headers()["x-codex-proxy-refusal"], "busy");
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        let expected = serde_json::json!({ "error": {
            "message": "No room. Ask ada@example.com.", "type": "server_error",
            "param": null, "code": "server_is_overloaded",
        } });
        assert_eq!(body, expected);
    }

    #[test]
    fn policy_is_told_with_the_code_that_codex_shows() {
        let event = Refusal::new(Word::ModelNotAllowed, "no").responses_event();
        assert!(event.starts_with("event: response.failed\ndata: {"));
        assert!(event.contains("\"code\":\"invalid_prompt\"") && event.ends_with("\n\n"));
    }
}
