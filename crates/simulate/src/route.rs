//! Which operation is asked.

use http::Method;

use crate::backend::Backend;
use crate::organization::Organization;

/// An operation. All but the simulator's own may stand below any prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    /// `POST /v1/responses`
    Responses,
    /// `POST /v1/chat/completions`
    Chat,
    /// `POST /v1/embeddings`
    Embeddings,
    /// `POST /v1/files`
    Files,
    /// `GET /v1/models`
    Models,
    /// `GET /v1/models/{id}`
    Model(&'a str),
    /// `GET /v1/responses/{id}`
    Response(&'a str),
    /// `GET /v1/responses`, where a WebSocket would open
    Socket,
    /// `HEAD` of anything known
    Head,
    /// Look-ups of the backend of ChatGPT
    Backend(Backend),
    /// Look-ups of an organisation's administrators
    Organization(Organization),
    /// The simulator's own
    Own(Own),
    /// Anything else
    Unknown,
}

/// An operation of the simulator itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Own {
    /// `GET /simulate/bill`
    Bill,
    /// `GET /simulate/requests`
    Requests,
    /// `POST /simulate/reset`
    Reset,
    /// `POST /simulate/socket`
    Socket,
}

impl<'a> Route<'a> {
    /// Reads method and path.
    pub(crate) fn of(method: &Method, path: &'a str) -> Self {
        match (method.as_str(), path) {
            ("GET", "/simulate/bill") => return Self::Own(Own::Bill),
            ("GET", "/simulate/requests") => return Self::Own(Own::Requests),
            ("POST", "/simulate/reset") => return Self::Own(Own::Reset),
            ("POST", "/simulate/socket") => return Self::Own(Own::Socket),
            _ => {}
        }
        if let Some(backend) = Backend::of(method, path) {
            return Self::Backend(backend);
        }
        if let ("GET", Some(organization)) = (method.as_str(), Organization::of(path)) {
            return Self::Organization(organization);
        }
        let mut segments = path.rsplit('/').filter(|segment| !segment.is_empty());
        let last = segments.next().unwrap_or_default();
        match (method.as_str(), segments.next().unwrap_or_default(), last) {
            ("POST", _, "responses") => Self::Responses,
            ("POST", "chat", "completions") => Self::Chat,
            ("POST", _, "embeddings") => Self::Embeddings,
            ("POST", _, "files") => Self::Files,
            ("GET", _, "models") => Self::Models,
            ("GET", _, "responses") => Self::Socket,
            ("GET", "models", id) => Self::Model(id),
            ("GET", "responses", id) => Self::Response(id),
            ("HEAD", _, "responses" | "completions" | "embeddings" | "files" | "models")
            | ("HEAD", "models" | "responses", _) => Self::Head,
            _ => Self::Unknown,
        }
    }
}
