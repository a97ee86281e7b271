//! Method and path become an endpoint, or a refusal.

use http::{Method, Request, Uri};
use wildmatch::WildMatch;

use super::refusal::{Refusal, Word};
use crate::config::preset::Opens;

/// What is asked, as far as its address tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Which operation.
    pub operation: Operation,
    /// Which interface it belongs to.
    pub surface: Surface,
    /// Path below that interface's base, beginning with a slash, without the query.
    pub path: String,
    /// Method and path as records name it.
    pub name: String,
}

/// What stands upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// The API: `/v1`.
    Api,
    /// The backend of ChatGPT, which people reach with their own login: `/backend-api`.
    ChatGpt,
}

/// The operations that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `POST /responses`
    Responses,
    /// `POST /chat/completions`
    ChatCompletions,
    /// Any other `POST`: it may cost
    Work,
    /// Anything else: it looks up, lists, cancels or deletes
    Other,
}

/// Paths that are also served without `/v1`.
const SHORT: [&str; 3] = ["/responses", "/chat/completions", "/models"];

/// The endpoints that are open.
pub struct Endpoints {
    open: Vec<(Option<Method>, WildMatch)>,
    opens: Opens,
}

impl Endpoints {
    /// Reads the setting: `METHOD PATH` or `PATH`; `*` stands for anything.
    pub fn new(patterns: &[String], opens: Opens) -> Self {
        let open = patterns.iter().map(|pattern| match pattern.split_once(' ') {
            Some((method, path)) => (method.parse().ok(), WildMatch::new(path.trim())),
            None => (None, WildMatch::new(pattern)),
        });
        Self { open: open.collect(), opens }
    }

    /// What this request asks, if it is open.
    pub fn resolve<B>(&self, request: &Request<B>) -> Result<Endpoint, Refusal> {
        if self.opens != Opens::Site && !is_exact(request.uri()) {
            return Err(Refusal::new(Word::NotAllowed, "This address is closed on this proxy."));
        }
        let (surface, path) = below(request.uri()).unwrap_or((Surface::Api, ""));
        let method = request.method();
        let whole = [method.as_str(), " ", surface.base(), path].concat();
        let name = whole.get(method.as_str().len() + 1..).unwrap_or_default();
        if !is_plain(path) {
            let message = format!("The address {name} is not in its plain form.");
            return Err(Refusal::new(Word::NotAllowed, message));
        }
        let open = |(only, glob): &(Option<Method>, WildMatch)| {
            only.as_ref().is_none_or(|only| only == method) && glob.matches(name)
        };
        if path.is_empty() || !self.open.iter().any(open) {
            let message = format!("The endpoint {method} {name} is closed on this proxy.");
            return Err(Refusal::new(Word::NotAllowed, message));
        }
        let operation = surface.operation(method, path);
        Ok(Endpoint { operation, surface, path: path.to_owned(), name: whole })
    }
}

impl Surface {
    fn base(self) -> &'static str {
        match self {
            Self::Api => "/v1",
            Self::ChatGpt => "/backend-api",
        }
    }

    fn operation(self, method: &Method, path: &str) -> Operation {
        // Below /codex stands what the API has too; the rest looks up, counts and sets.
        let path = match self {
            Self::Api => Some(path),
            Self::ChatGpt => path.strip_prefix("/codex"),
        };
        match (method.as_str(), path) {
            ("POST", Some("/responses")) => Operation::Responses,
            ("POST", Some("/chat/completions")) => Operation::ChatCompletions,
            ("POST", Some("/analytics-events/events")) => Operation::Other,
            ("POST", Some(path)) if is_cancelling(path) => Operation::Other,
            ("POST", Some(_)) => Operation::Work,
            _ => Operation::Other,
        }
    }
}

/// `/responses/{id}/cancel`: it asks no model, and may be asked by whoever may look it up.
fn is_cancelling(path: &str) -> bool {
    let id = path.strip_prefix("/responses/").and_then(|rest| rest.strip_suffix("/cancel"));
    id.is_some_and(|id| !id.is_empty() && !id.contains('/'))
}

/// Whether an address is a path below `/v1` and nothing else: no host, no query, not even an empty
/// one, and not the short form.
fn is_exact(uri: &Uri) -> bool {
    uri.scheme().is_none() && uri.query().is_none() && uri.path().starts_with(Surface::Api.base())
}

/// Whether this address belongs to the `OpenAI` API, or to the backend of ChatGPT.
pub fn is_api(uri: &Uri) -> bool {
    below(uri).is_some()
}

fn below(uri: &Uri) -> Option<(Surface, &str)> {
    let path = uri.path();
    for surface in [Surface::Api, Surface::ChatGpt] {
        if let Some(below) = path.strip_prefix(surface.base()).filter(|rest| rest.starts_with('/'))
        {
            return Some((surface, below));
        }
    }
    let is_short = SHORT.iter().any(|short| is_at_or_below(path, short));
    is_short.then_some((Surface::Api, path))
}

/// Whether a path means what it looks like: no empty or dotted segments, and nothing percent-encoded
/// that need not be. Whoever stands behind us might read it as another path than we decided on
/// (RFC 3986 §6.2.2).
fn is_plain(path: &str) -> bool {
    let segment = |segment: &str| !matches!(segment, "" | "." | "..");
    let mut codes = path.split('%').skip(1);
    let needed = |code: &str| {
        let byte = code.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        byte.is_some_and(|b| !(b.is_ascii_alphanumeric() || b"-._~/\\".contains(&b)))
    };
    path.split('/').skip(1).all(segment) && codes.all(needed)
}

fn is_at_or_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::{Endpoints, Operation};
    use crate::config::preset::{Opens, Shutdown};

    fn check(open: &[&str], method: &str, uri: &str) -> Result<(Operation, String), &'static str> {
        let open: Vec<String> = open.iter().map(|pattern| (*pattern).to_owned()).collect();
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        match Endpoints::new(&open, Opens::Site).resolve(&request) {
            Ok(endpoint) => Ok((endpoint.operation, endpoint.name)),
            Err(refusal) => Err(refusal.word().as_str()),
        }
    }

    #[test]
    fn addresses_become_endpoints() {
        let all = &["*"];
        let is = |operation, name: &str| Ok((operation, name.to_owned()));
        assert_eq!(
            check(all, "POST", "/v1/responses?a=b"),
            is(Operation::Responses, "POST /v1/responses")
        );
        assert_eq!(
            check(all, "POST", "/responses"),
            is(Operation::Responses, "POST /v1/responses")
        );
        assert_eq!(
            check(all, "GET", "/v1/responses/r_1"),
            is(Operation::Other, "GET /v1/responses/r_1")
        );
        assert_eq!(
            check(all, "POST", "/v1/embeddings"),
            is(Operation::Work, "POST /v1/embeddings")
        );
        assert_eq!(
            check(all, "POST", "/v1/responses/r_1/cancel"),
            is(Operation::Other, "POST /v1/responses/r_1/cancel")
        );
        assert_eq!(check(all, "HEAD", "/v1/models"), is(Operation::Other, "HEAD /v1/models"));
        assert_eq!(
            check(all, "POST", "/backend-api/codex/responses"),
            is(Operation::Responses, "POST /backend-api/codex/responses")
        );
        assert_eq!(
            check(all, "POST", "/backend-api/wham/tasks"),
            is(Operation::Other, "POST /backend-api/wham/tasks")
        );
        assert_eq!(check(all, "POST", "/backend-api"), Err("not_allowed"));
        assert_eq!(check(all, "POST", "/v2/x"), Err("not_allowed"));
        assert_eq!(check(all, "POST", "/v1"), Err("not_allowed"));
    }

    #[test]
    fn an_address_that_could_mean_another_is_refused() {
        let disguised = [
            "/v1//responses",
            "/v1/models/../responses",
            "/v1/./responses",
            "/v1/responses/",
            "/v1/%72esponses",
            "/v1/x%2f..%2fresponses",
            "/v1/models/%2e%2e/responses",
            "/v1/files/%zz",
        ];
        for path in disguised {
            assert_eq!(check(&["*"], "POST", path), Err("not_allowed"), "{path}");
        }
        assert!(check(&["*"], "GET", "/v1/files/a%20b%C3%A9").is_ok());
    }

    #[test]
    fn only_what_is_listed_is_open() {
        let some = &["POST /v1/responses", "/v1/models*"];
        assert!(check(some, "POST", "/v1/responses").is_ok());
        assert!(check(some, "GET", "/v1/models/gpt-5.5").is_ok());
        assert_eq!(check(some, "GET", "/v1/responses"), Err("not_allowed"));
        assert_eq!(check(some, "POST", "/v1/files"), Err("not_allowed"));
    }

    #[test]
    fn where_only_the_api_is_open_an_address_is_exact() {
        let open = ["POST /v1/responses".to_owned()];
        let endpoints = Endpoints::new(&open, Opens::Api { shutdown: Shutdown::Closed });
        let is_open = |method: &str, uri: &str| {
            let request = Request::builder().method(method).uri(uri).body(()).unwrap();
            endpoints.resolve(&request).is_ok()
        };
        assert!(is_open("POST", "/v1/responses"));
        let others = [
            "/responses",
            "/v1/responses/",
            "/v1/responses?",
            "/v1/responses?a=b",
            "/v1/responses/compact",
            "/v1//responses",
            "/v1/Responses",
            "http://a/v1/responses",
        ];
        for uri in others {
            assert!(!is_open("POST", uri), "{uri}");
        }
        for method in ["GET", "HEAD", "OPTIONS", "post"] {
            assert!(!is_open(method, "/v1/responses"), "{method}");
        }
    }
}
