//! Exchanges written down for people: a file for the request, and one for its answer.
//!
//! A help in finding faults, no archive: what cannot be written is told and forgotten.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use http::{HeaderMap, Request, response};
use jiff::Timestamp;
use redact::headers::is_credential;
use redact::rule::Rules;
use serde_json::{Value, json};

/// What stands in the place of what nobody may read.
const REDACTED: &str = "[REDACTED]";

/// So much of an answer is written down.
const MOST: usize = 64 << 20;

/// The folder in which exchanges are written down.
pub struct Dumps {
    folder: PathBuf,
    rules: Arc<Rules>,
    count: AtomicU64,
}

/// One exchange that is written down.
pub(crate) struct Dump {
    dumps: Arc<Dumps>,
    name: String,
    request: Value,
    response: Option<Value>,
    answer: Vec<u8>,
}

impl Dumps {
    /// Writes into a folder that is there. By these rules secrets are found in what is written.
    pub fn new(folder: PathBuf, rules: Arc<Rules>) -> Self {
        Self { folder, rules, count: AtomicU64::new(0) }
    }

    pub(crate) fn open<B>(self: &Arc<Self>, request: &Request<B>, now: Timestamp) -> Dump {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let request = json!({
            "method": request.method().as_str(),
            "url": self.readable(request.uri().to_string().as_bytes()),
            "headers": self.headers(request.headers()),
        });
        Dump {
            dumps: self.clone(),
            name: format!("{count:06}-{}", now.as_millisecond()),
            request,
            response: None,
            answer: Vec::new(),
        }
    }

    fn headers(&self, headers: &HeaderMap) -> Value {
        let pairs = headers.iter().map(|(name, value)| {
            let is_whose = matches!(name.as_str(), "chatgpt-account-id");
            let value = if is_credential(name.as_str()) || is_whose {
                REDACTED.to_owned()
            } else {
                self.readable(value.as_bytes())
            };
            json!({ "name": name.as_str(), "value": value })
        });
        pairs.collect()
    }

    /// A text without the secrets that are found in it.
    fn readable(&self, bytes: &[u8]) -> String {
        let mut text = bytes.to_vec();
        for found in self.rules.scan(bytes).into_iter().rev() {
            text.splice(found.span, REDACTED.bytes());
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// A body: JSON where it is that, else a text.
    fn body(&self, bytes: &[u8]) -> Value {
        let text = self.readable(bytes);
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    }

    fn write(&self, name: &str, content: &Value) {
        if let Err(error) = self.try_write(name, content) {
            tracing::warn!("an exchange is not written down: {error:#}");
        }
    }

    fn try_write(&self, name: &str, content: &Value) -> Result<()> {
        let path = self.folder.join(format!("{name}.json"));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let writing = || format!("writing {}", path.display());
        let mut file = options.open(&path).with_context(writing)?;
        let text = serde_json::to_string_pretty(content)? + "\n";
        file.write_all(text.as_bytes()).with_context(writing)
    }
}

impl Dump {
    /// Writes the request down, with its body as it can be read.
    pub(crate) fn asked(&mut self, body: &[u8]) {
        let body = self.dumps.body(body);
        let mut request = std::mem::take(&mut self.request);
        if let Some(members) = request.as_object_mut() {
            members.insert("body".to_owned(), body);
        }
        self.dumps.write(&format!("{}-request", self.name), &request);
    }

    /// Notes the head of the answer.
    pub(crate) fn answered(&mut self, head: &response::Parts) {
        let headers = self.dumps.headers(&head.headers);
        self.response = Some(json!({ "status": head.status.as_u16(), "headers": headers }));
    }

    /// Notes a piece of the answer, as it can be read.
    pub(crate) fn piece(&mut self, piece: &[u8]) {
        let room = MOST.saturating_sub(self.answer.len());
        self.answer.extend_from_slice(piece.get(..room).unwrap_or(piece));
    }

    /// Writes down what there is of the answer.
    pub(crate) fn close(self) {
        let Some(mut response) = self.response else { return };
        if let Some(members) = response.as_object_mut() {
            members.insert("body".to_owned(), self.dumps.body(&self.answer));
        }
        self.dumps.write(&format!("{}-response", self.name), &response);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use http::{Request, Response};
    use jiff::Timestamp;
    use redact::rule::Rules;

    use super::Dumps;

    #[test]
    fn an_exchange_is_written_for_its_owner_and_without_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let dumps = Arc::new(Dumps::new(path.to_owned(), Arc::new(Rules::builtin())));
        let request = Request::post("/v1/responses")
            .header("authorization", "Bearer sk")
            .header("proxy-authorization", "Basic x")
            .header("chatgpt-account-id", "account")
            .header("x-note", "n");
        let time = Timestamp::from_millisecond(1_700_000_000_123).unwrap();
        let mut dump = dumps.open(&request.body(()).unwrap(), time);
        let key = redact::own_key::build([7; redact::own_key::RANDOM_CHARACTERS]);
        dump.asked(format!("{{\"input\":\"mine: {key}\"}}").as_bytes());
        let head = Response::builder().header("set-cookie", "a=b").body(()).unwrap();
        dump.answered(&head.into_parts().0);
        dump.piece(b"data: 1\n\n");
        dump.close();

        let read = |name: &str| {
            let path = path.join(format!("000001-1700000000123-{name}.json"));
            let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(mode == 0o600 && text.ends_with("}\n") && text.contains("\n  \"headers\""));
            serde_json::from_str::<serde_json::Value>(&text).unwrap()
        };
        let header = |name: &str, value: &str| serde_json::json!({"name": name, "value": value});
        let expected = serde_json::json!({
            "method": "POST", "url": "/v1/responses",
            "headers": [header("authorization", "[REDACTED]"),
                header("proxy-authorization", "[REDACTED]"),
                header("chatgpt-account-id", "[REDACTED]"), header("x-note", "n")],
            "body": {"input": "mine: [REDACTED]"},
        });
        assert_eq!(read("request"), expected);
        let expected = serde_json::json!({
            "status": 200, "headers": [header("set-cookie", "[REDACTED]")], "body": "data: 1\n\n",
        });
        assert_eq!(read("response"), expected);
    }
}
