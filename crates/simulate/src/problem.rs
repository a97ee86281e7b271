//! The API's error answers.

use http::{Method, StatusCode};

use crate::json::{Json, Object};

/// An error as the API words it.
#[derive(Debug)]
pub(crate) struct Problem {
    /// The status it is answered with.
    pub(crate) status: StatusCode,
    /// `error.message`.
    pub(crate) message: String,
    /// `error.type`.
    pub(crate) kind: String,
    /// `error.param`.
    pub(crate) param: Option<&'static str>,
    /// `error.code`.
    pub(crate) code: Option<String>,
}

impl Problem {
    /// An `invalid_request_error` without code.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let kind = "invalid_request_error".to_owned();
        Self { status, message: message.into(), kind, param: None, code: None }
    }

    /// Adds the code.
    pub(crate) fn code(self, code: &str) -> Self {
        Self { code: Some(code.to_owned()), ..self }
    }

    /// The body is not JSON.
    pub(crate) fn malformed() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "We could not parse the JSON body of your request. (HINT: This likely means you \
             aren't using your HTTP library correctly. The OpenAI API expects a JSON payload, \
             but what was sent was not valid JSON.)",
        )
    }

    /// A field is not there.
    pub(crate) fn missing(param: &'static str) -> Self {
        let message = format!("Missing required parameter: '{param}'.");
        let problem = Self::new(StatusCode::BAD_REQUEST, message);
        Self { param: Some(param), ..problem.code("missing_required_parameter") }
    }

    /// Nobody knows the model.
    pub(crate) fn no_model(model: &str) -> Self {
        let message =
            format!("The model `{model}` does not exist or you do not have access to it.");
        Self::new(StatusCode::NOT_FOUND, message).code("model_not_found")
    }

    /// Nothing is here.
    pub(crate) fn no_url(method: &Method, path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("Invalid URL ({method} {path})"))
    }

    /// The response is not one of those made here.
    pub(crate) fn no_response(id: &str) -> Self {
        let message = format!("Response with id '{id}' not found.");
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// The bearer is not the one expected.
    pub(crate) fn unauthorized(bearer: &str) -> Self {
        if bearer.is_empty() {
            return Self::new(
                StatusCode::UNAUTHORIZED,
                "You didn't provide an API key. You need to provide your API key in an \
                 Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
            );
        }
        let message = format!(
            "Incorrect API key provided: {}. You can find your API key at \
             https://platform.openai.com/account/api-keys.",
            starred(bearer)
        );
        Self::new(StatusCode::UNAUTHORIZED, message).code("invalid_api_key")
    }

    /// The body is longer than the limit.
    pub(crate) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "Request body is too large.")
    }

    /// What stands before is not known here.
    pub(crate) fn no_previous(id: &str) -> Self {
        let message = format!("Previous response with id '{id}' not found.");
        let problem = Self::new(StatusCode::BAD_REQUEST, message);
        Self { param: Some("previous_response_id"), ..problem.code("previous_response_not_found") }
    }

    /// The WebSocket has been open for too long.
    pub(crate) fn socket_limit() -> Self {
        let message = "Responses websocket connection limit reached (60 minutes). Create a new \
                       websocket connection to continue.";
        let code = "websocket_connection_limit_reached";
        Self::new(StatusCode::BAD_REQUEST, message).code(code)
    }

    /// A message of a WebSocket that asks for nothing.
    pub(crate) fn no_event() -> Self {
        let message = "Invalid event: expected a JSON text of type 'response.create'.";
        let problem = Self::new(StatusCode::BAD_REQUEST, message);
        Self { param: Some("type"), ..problem }
    }

    /// The error as JSON, in the API's order.
    pub(crate) fn json(&self) -> Json {
        Object::new().json("error", &self.error()).done()
    }

    /// What the error says, in the API's order.
    pub(crate) fn error(&self) -> Json {
        Object::new()
            .with("message", &self.message)
            .with("type", &self.kind)
            .with("param", self.param)
            .with("code", &self.code)
            .done()
    }
}

/// The key as the API repeats it: its first and last characters.
fn starred(bearer: &str) -> String {
    let count = bearer.chars().count();
    if count < 16 {
        return "*".repeat(count);
    }
    let first: String = bearer.chars().take(8).collect();
    let last: String = bearer.chars().skip(count - 4).collect();
    format!("{first}{}{last}", "*".repeat(count - 12))
}
