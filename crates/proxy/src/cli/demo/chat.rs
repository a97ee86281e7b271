//! A developer's client, as small as can be: asks, and prints the answer as it streams.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use redact::secret::Secret;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What a developer asks.
pub(super) struct Prompt {
    who: &'static str,
    model: &'static str,
    text: &'static str,
    /// What the simulated model is told to do, which no real prompt has.
    script: &'static str,
}

impl Prompt {
    pub(super) const fn new(
        who: &'static str,
        model: &'static str,
        text: &'static str,
        script: &'static str,
    ) -> Self {
        Self { who, model, text, script }
    }
}

/// Asks and prints what comes back, as it comes.
pub(super) async fn ask(address: SocketAddr, key: &Secret<String>, prompt: &Prompt) -> Result<()> {
    say(&format!("\n    {:<6}> {}  [{}]\n          < ", prompt.who, prompt.text, prompt.model))?;
    let began = Instant::now();
    let stream = TcpStream::connect(address).await.context("connecting to the gateway")?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let answer = sender.send_request(request(address, key, prompt)?).await?;
    let status = answer.status();
    if !status.is_success() {
        return refused(answer.into_body(), status).await;
    }
    let mut events = Events::default();
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            events.take(data)?;
        }
    }
    let took = began.elapsed().as_millis();
    say(&format!("\n            {} events, {took} ms\n", events.count))
}

fn request(
    address: SocketAddr,
    key: &Secret<String>,
    prompt: &Prompt,
) -> Result<Request<Full<Bytes>>> {
    let text = format!("{} {}", prompt.text, prompt.script);
    let text = text.trim();
    let tools = json!([{ "type": "function", "name": "exec_command", "parameters": {} }]);
    let body = json!({ "model": prompt.model, "stream": true, "input": text, "tools": tools });
    let request = Request::post("/v1/responses")
        .header(header::HOST, address.to_string())
        .header(header::AUTHORIZATION, format!("Bearer {}", key.expose()))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, "codex-proxy-demo/1");
    Ok(request.body(Full::new(body.to_string().into()))?)
}

async fn refused(body: Incoming, status: http::StatusCode) -> Result<()> {
    let body = body.collect().await?.to_bytes();
    let error: Value = serde_json::from_slice(&body).unwrap_or_default();
    let message = error.pointer("/error/message").and_then(Value::as_str).unwrap_or_default();
    say(&format!("{status}: {message}\n"))
}

/// Events as they come in pieces; what a person would see of them is printed.
#[derive(Default)]
struct Events {
    rest: String,
    count: u64,
}

impl Events {
    fn take(&mut self, piece: &[u8]) -> Result<()> {
        self.rest.push_str(&String::from_utf8_lossy(piece));
        while let Some((event, rest)) = self.rest.split_once("\n\n") {
            let data = event.lines().find_map(|line| line.strip_prefix("data: "));
            let event: Value = serde_json::from_str(data.unwrap_or_default()).unwrap_or_default();
            self.rest = rest.to_owned();
            self.count += 1;
            show(&event)?;
        }
        Ok(())
    }
}

fn show(event: &Value) -> Result<()> {
    let text = |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or_default();
    match text("/type") {
        "response.output_text.delta" | "response.function_call_arguments.delta" => {
            say(text("/delta"))
        }
        "response.output_item.added" if text("/item/type") == "function_call" => {
            say(&format!("[runs {}] ", text("/item/name")))
        }
        _ => Ok(()),
    }
}

fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
