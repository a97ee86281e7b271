//! A simulator and a client so plain that it hides nothing.

use std::time::Duration;

use serde_json::Value;
use simulate::{Options, Simulator};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Starts a simulator on a free port.
pub(crate) async fn start() -> Simulator {
    start_with(None).await
}

/// Starts a simulator that knows one key.
pub(crate) async fn start_with(key: Option<&str>) -> Simulator {
    let listen = "127.0.0.1:0".parse().unwrap();
    let key = key.map(str::to_owned);
    Simulator::start(Options { listen, key, pace: Duration::ZERO }).await.unwrap()
}

/// What came back, as far as it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// Whether the body was whole by HTTP's own rules.
    pub(crate) whole: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The data of each event.
    pub(crate) fn events(&self) -> Vec<Value> {
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data: "));
        data.filter_map(|data| serde_json::from_str(data).ok()).collect()
    }

    /// The type of each event.
    pub(crate) fn kinds(&self) -> Vec<String> {
        self.events().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn usage(&self) -> Value {
        self.events().last().unwrap()["response"]["usage"].clone()
    }
}

/// A request to `POST /v1/responses`, streamed, with this prompt.
pub(crate) async fn say(simulator: &Simulator, prompt: &str) -> Answer {
    let body = serde_json::json!({"model": "gpt-5.5", "stream": true, "input": prompt});
    post(simulator, "/v1/responses", &body).await
}

pub(crate) async fn post(simulator: &Simulator, path: &str, body: &Value) -> Answer {
    send(simulator, &request("POST", path, &body.to_string())).await.unwrap()
}

pub(crate) async fn get(simulator: &Simulator, path: &str) -> Answer {
    send(simulator, &request("GET", path, "")).await.unwrap()
}

/// A request as text; further headers may be put before its first empty line.
pub(crate) fn request(method: &str, path: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: simulated\r\nauthorization: Bearer sk-test-abcd\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Sends a request on a connection of its own; `None` if it was closed without an answer.
pub(crate) async fn send(simulator: &Simulator, request: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(simulator.address()).await.unwrap();
    let request = request.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    parse(&String::from_utf8(bytes).unwrap())
}

fn parse(text: &str) -> Option<Answer> {
    let (head, rest) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers: Vec<_> = headers.map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let (body, whole) = match length {
        Some((_, length)) => (rest.to_owned(), rest.len() == length.parse::<usize>().unwrap()),
        None => unchunk(rest),
    };
    Some(Answer { status, headers, body, whole })
}

/// The chunks joined, and whether the last one came.
fn unchunk(mut rest: &str) -> (String, bool) {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return (body, true);
        }
        body.push_str(after.get(..size).unwrap_or(after));
        rest = after.get(size + 2..).unwrap_or_default();
    }
    (body, false)
}
