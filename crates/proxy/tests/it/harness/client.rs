//! A client that sees every byte: a socket, and what came back on it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection to a gateway.
pub(crate) struct Raw {
    stream: Box<dyn Wire>,
    /// What was read and not given out yet.
    left: Vec<u8>,
}

/// What bytes travel on.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// An answer, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names as they were spelt, in order.
    pub(crate) headers: Vec<(String, String)>,
    /// With the chunked coding removed.
    pub(crate) body: Vec<u8>,
    /// Whether the connection broke before the body's end.
    pub(crate) broken: bool,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    /// Speaks over a connection of any kind.
    pub(crate) fn over(stream: impl Wire + 'static) -> Self {
        Self { stream: Box::new(stream), left: Vec::new() }
    }

    /// Reads just so many bytes; none where the connection ends before.
    pub(crate) async fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        let is_whole = self.fill(length).await;
        is_whole.then(|| self.left.drain(..length).collect())
    }

    /// Connects and sends a request of the Responses API; what comes back is the caller's to read.
    pub(crate) async fn asking(address: SocketAddr, key: &str, body: &str) -> Self {
        let authorization = format!("Bearer {key}");
        let headers = [("authorization", authorization.as_str())];
        let mut client = Self::connect(address).await;
        client.send(request("POST", "/v1/responses", &headers, body).as_bytes()).await;
        client
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The same, to an end that may be gone.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads one more piece; empty at the end of the connection.
    pub(crate) async fn piece(&mut self) -> Vec<u8> {
        if !self.left.is_empty() {
            return std::mem::take(&mut self.left);
        }
        let mut buffer = vec![0; 65536];
        let length = self.stream.read(&mut buffer).await.unwrap_or(0);
        buffer.truncate(length);
        buffer
    }

    /// Reads until these bytes have come; all that was read.
    pub(crate) async fn read_until(&mut self, end: &str) -> Vec<u8> {
        let mut all = Vec::new();
        while !contains(&all, end.as_bytes()) {
            let piece = self.piece().await;
            assert!(!piece.is_empty(), "the connection ended before {end:?}: {}", lossy(&all));
            all.extend(piece);
        }
        all
    }

    /// Reads one whole answer; the connection may be used again.
    pub(crate) async fn answer(&mut self) -> Answer {
        self.try_answer().await.expect("the connection ended before an answer's head")
    }

    /// The same, where none may come.
    pub(crate) async fn try_answer(&mut self) -> Option<Answer> {
        let mut read = Vec::new();
        let end = loop {
            if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            let piece = self.piece().await;
            (!piece.is_empty()).then(|| read.extend(piece))?;
        };
        self.left = read.split_off(end);
        let (status, headers) = head(&lossy(&read));
        let mut answer = Answer { status, headers, body: Vec::new(), broken: false };
        if answer.header("transfer-encoding").is_some() {
            self.chunks(&mut answer).await;
        } else {
            let length = answer.header("content-length").map_or(0, |text| text.parse().unwrap());
            answer.broken = !self.fill(length).await;
            let length = length.min(self.left.len());
            answer.body = self.left.drain(..length).collect();
        }
        Some(answer)
    }

    async fn chunks(&mut self, answer: &mut Answer) {
        loop {
            let Some(line) = self.line().await else { return answer.broken = true };
            let length = usize::from_str_radix(line.split(';').next().unwrap(), 16).unwrap();
            if !self.fill(length + 2).await {
                answer.body.append(&mut self.left);
                return answer.broken = true;
            }
            answer.body.extend(self.left.drain(..length));
            self.left.drain(..2);
            if length == 0 {
                return;
            }
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.left.windows(2).position(|window| window == b"\r\n") {
                let line = lossy(&self.left[..end]);
                self.left.drain(..end + 2);
                return Some(line);
            }
            if !self.fill(self.left.len() + 1).await {
                return None;
            }
        }
    }

    /// Reads until so many bytes are there; false where the connection ends before.
    async fn fill(&mut self, length: usize) -> bool {
        let mut buffer = vec![0; 65536];
        while self.left.len() < length {
            match self.stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return false,
                Ok(read) => self.left.extend(&buffer[..read]),
            }
        }
        true
    }
}

impl Answer {
    /// A header's value; its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(spelt, _)| spelt.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        lossy(&self.body)
    }

    pub(crate) fn refusal(&self) -> Option<&str> {
        self.header("x-codex-proxy-refusal")
    }
}

/// Sends a request with a body on a connection of its own.
pub(crate) async fn post(address: SocketAddr, path: &str, key: &str, body: &str) -> Answer {
    ask(address, "POST", path, &[("authorization", &format!("Bearer {key}"))], body).await
}

/// Sends any request on a connection of its own.
pub(crate) async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut client = Raw::connect(address).await;
    client.send(request(method, path, headers, body).as_bytes()).await;
    client.answer().await
}

/// Waits until the gateway's counters have this line.
pub(crate) async fn metric(address: SocketAddr, line: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let counters = ask(address, "GET", "/metrics", &[], "").await.text();
        if counters.lines().any(|known| known == line) {
            return;
        }
        assert!(Instant::now() < deadline, "waited in vain for {line}: {counters}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The bytes of a request; JSON where it has a body.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut lines = vec![format!("{method} {path} HTTP/1.1"), "Host: gateway.test".to_owned()];
    lines.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
    if !body.is_empty() {
        lines.push("Content-Type: application/json".to_owned());
        lines.push(format!("Content-Length: {}", body.len()));
    }
    lines.join("\r\n") + "\r\n\r\n" + body
}

fn head(text: &str) -> (u16, Vec<(String, String)>) {
    let mut lines = text.trim_end().split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let pair = |line: &str| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_owned(), value.trim().to_owned())
    };
    (status, lines.map(pair).collect())
}

pub(crate) fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
