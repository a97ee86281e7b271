//! The rest of the API: every operation that clients use passes as it is, and leaves its record.

use serde_json::{Value, json};

use crate::harness::client::{Raw, contains, lossy, request};
use crate::harness::recording::{Step, lasting};
use crate::harness::{Gateway, Recording, simulator, url};

/// A request as a client sends it, without what identifies it; what the upstream answers; and what
/// of the record is of interest: endpoint, kind, model, outcome, status.
struct Case {
    request: &'static [u8],
    answer: &'static [u8],
    record: [&'static str; 5],
}

const FORM: &[u8] = b"--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\ncontent-type: audio/wav\r\n\r\nRIFF\x00\x01\xff\r\n--x\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--x--\r\n";

const CASES: &[Case] = &[
    Case {
        request: b"GET /v1/models HTTP/1.1\r\n\r\n",
        answer: b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\netag: \"m1\"\r\ncontent-length: 2\r\n\r\n{}",
        record: ["GET /v1/models", "other", "", "complete", "200"],
    },
    Case {
        request: b"GET /v1/models?client_version=0.169.0 HTTP/1.1\r\nIf-None-Match: \"m1\"\r\n\r\n",
        answer: b"HTTP/1.1 304 Not Modified\r\netag: \"m1\"\r\n\r\n",
        record: ["GET /v1/models", "other", "", "complete", "304"],
    },
    Case {
        request: b"HEAD /v1/models HTTP/1.1\r\n\r\n",
        answer: b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 745\r\n\r\n",
        record: ["HEAD /v1/models", "other", "", "complete", "200"],
    },
    Case {
        request: b"GET /v1/responses/resp_1?include%5B%5D=a&include[]=b&&x=%e2%82%ac&stream=false= HTTP/1.1\r\n\r\n",
        answer: b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{\"id\":\"resp_1\"}",
        record: ["GET /v1/responses/resp_1", "other", "", "complete", "200"],
    },
    Case {
        request: b"DELETE /v1/responses/resp_1? HTTP/1.1\r\n\r\n",
        answer: b"HTTP/1.1 204 No Content\r\nx-request-id: req_1\r\n\r\n",
        record: ["DELETE /v1/responses/resp_1", "other", "", "complete", "204"],
    },
    Case {
        request: b"POST /v1/responses/resp_1/cancel HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        answer: b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
        record: ["POST /v1/responses/resp_1/cancel", "other", "", "complete", "200"],
    },
    Case {
        request: b"POST /v1/responses/compact HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 29\r\n\r\n{\"model\":\"gpt-5.5\",\"input\":1}",
        answer: b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{\"usage\":{\"input_tokens\":1000,\"output_tokens\":10}}",
        record: ["POST /v1/responses/compact", "compaction", "gpt-5.5", "complete", "200"],
    },
    Case {
        request: b"POST /v1/embeddings HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 44\r\n\r\n{\"model\":\"text-embedding-3-small\",\"input\":1}",
        answer: b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 46\r\n\r\n{\"usage\":{\"prompt_tokens\":9,\"total_tokens\":9}}",
        record: ["POST /v1/embeddings", "turn", "text-embedding-3-small", "complete", "200"],
    },
    Case {
        request: b"POST /v1/audio/speech HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 30\r\n\r\n{\"model\":\"tts-1\",\"input\":\"hi\"}",
        answer: b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\xff\xfb\x00\x01\r\n3\r\n\n\n\r\r\n0\r\n\r\n",
        record: ["POST /v1/audio/speech", "turn", "tts-1", "complete", "200"],
    },
    Case {
        request: b"GET /v1/files/file-1/content HTTP/1.1\r\n\r\n",
        answer: b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-disposition: attachment; filename=\"a\"\r\ncontent-length: 5\r\n\r\n\x00\xff\x1f\x8b\n",
        record: ["GET /v1/files/file-1/content", "other", "", "complete", "200"],
    },
    Case {
        request: b"DELETE /v1/files/file-1 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
        answer: b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n{\"error\":{}}",
        record: ["DELETE /v1/files/file-1", "other", "", "failed", "404"],
    },
];

/// Cases whose body is a form.
fn forms() -> Vec<(Vec<u8>, &'static [&'static str], [&'static str; 5])> {
    let head = |path: &str, framing: String| {
        format!(
            "POST {path} HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=x\r\n{framing}\r\n\r\n"
        )
    };
    let length = format!("Content-Length: {}", FORM.len());
    let whole = |path: &str| [head(path, length.clone()).as_bytes(), FORM].concat();
    let chunk = |part: &[u8]| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
    let chunked = [
        head("/v1/images/edits", "Transfer-Encoding: chunked".to_owned()).as_bytes(),
        &chunk(FORM),
        b"0\r\n\r\n",
    ]
    .concat();
    vec![
        (
            whole("/v1/audio/transcriptions"),
            BOUND,
            ["POST /v1/audio/transcriptions", "turn", "whisper-1", "complete", "200"],
        ),
        (chunked, BOUND, ["POST /v1/images/edits", "turn", "whisper-1", "complete", "200"]),
        (whole("/v1/files"), &[], ["POST /v1/files", "other", "", "complete", "200"]),
    ]
}

/// A key that may ask what is asked here, and nothing whose model cannot be read.
const BOUND: &[&str] = &["--models", "gpt-5*,text*,tts*,whisper*"];

/// Sends a request through a gateway of its own; what the client got, what passed on, the record.
async fn pass(request: &[u8], answer: &[u8], key: &[&str]) -> (Vec<u8>, Vec<u8>, Value) {
    let upstream = Recording::start(vec![Step::Send(answer.to_vec()), Step::Close]).await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key_with("ada@example.com", key);
    let (line, rest) = request.split_at(request.windows(2).position(|w| w == b"\r\n").unwrap() + 2);
    let identity = format!("Host: gateway.test\r\nAuthorization: Bearer {}\r\n", key.value);
    let mut client = Raw::connect(gateway.address).await;
    client.send(&[line, identity.as_bytes(), b"Connection: close\r\n", rest].concat()).await;
    let mut got = Vec::new();
    loop {
        let piece = client.piece().await;
        if piece.is_empty() {
            break;
        }
        got.extend(piece);
    }
    let seen = upstream.requests();
    assert_eq!(seen.len(), 1, "{} got {}", lossy(request), lossy(&got));
    (got, seen[0].clone(), gateway.records().remove(0))
}

/// The lines of a head and the body, without what a connection says for itself.
fn end_to_end(message: &[u8]) -> (Vec<String>, Vec<u8>) {
    let (lines, body) = lasting(message);
    let ours = ["x-codex-proxy-id:", "transfer-encoding: chunked"];
    let kept = lines.into_iter().filter(|line| {
        let line = line.to_ascii_lowercase();
        !ours.iter().any(|prefix| line.starts_with(prefix))
    });
    (kept.collect(), body)
}

fn told(record: &Value) -> [String; 5] {
    ["endpoint", "request_kind", "model", "outcome", "status"]
        .map(|name| record[name].as_str().map_or(record[name].to_string(), str::to_owned))
        .map(|text| if text == "null" { String::new() } else { text })
}

#[tokio::test]
async fn every_operation_passes_exactly_and_is_recorded() {
    for case in CASES {
        let (got, seen, record) = pass(case.request, case.answer, BOUND).await;
        let name = case.record[0];
        let got = got.strip_prefix(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&got);
        assert_eq!(end_to_end(&seen), end_to_end(case.request), "{name}: what passed on");
        let (lines, body) = end_to_end(got);
        let (expected_lines, expected_body) = end_to_end(case.answer);
        assert_eq!(lines, expected_lines, "{name}: the head of the answer");
        assert_eq!(lossy(&unchunked(got, body)), lossy(&unchunked(case.answer, expected_body)));
        assert_eq!(told(&record), case.record.map(str::to_owned), "{record}");
    }
}

/// A body without its chunks, wherever they were cut.
fn unchunked(message: &[u8], body: Vec<u8>) -> Vec<u8> {
    if !contains(&message.to_ascii_lowercase(), b"transfer-encoding: chunked") {
        return body;
    }
    let (mut rest, mut whole) = (&body[..], Vec::new());
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n").unwrap();
        let length = usize::from_str_radix(&lossy(&rest[..end]), 16).unwrap();
        if length == 0 {
            return whole;
        }
        whole.extend(&rest[end + 2..end + 2 + length]);
        rest = &rest[end + 4 + length..];
    }
}

#[tokio::test]
async fn forms_pass_exactly_and_say_their_model() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\nwell";
    for (request, key, expected) in forms() {
        let (got, seen, record) = pass(&request, answer, key).await;
        // How a body is framed is a matter of each connection.
        let framed = |line: &String| !line.to_ascii_lowercase().starts_with("content-length:");
        let (mut lines, body) = end_to_end(&request);
        let (mut seen_lines, seen_body) = end_to_end(&seen);
        lines.retain(framed);
        seen_lines.retain(framed);
        assert_eq!(seen_lines, lines);
        assert!(unchunked(&seen, seen_body) == unchunked(&request, body));
        assert_eq!(end_to_end(&got), end_to_end(answer));
        assert_eq!(told(&record), expected.map(str::to_owned), "{record}");
        assert_eq!(record["request_bytes"], json!(FORM.len()));
    }
}

#[tokio::test]
async fn a_large_upload_is_never_in_memory_as_a_whole() {
    let simulator = simulator().await;
    let settings = [("CODEX_PROXY_MAX_BODY", "256MiB"), ("CODEX_PROXY_ARCHIVE_BODIES", "none")];
    let gateway = Gateway::start_with(&url(&simulator), &settings);
    let key = gateway.key("ada@example.com");
    let authorization = format!("Bearer {}", key.value);
    let (piece, pieces) = (vec![b'x'; 1 << 20], 200);
    let length = (piece.len() * pieces).to_string();
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "multipart/form-data; boundary=x"),
        ("content-length", length.as_str()),
    ];
    let mut client = Raw::connect(gateway.address).await;
    client.send(request("POST", "/v1/files", &headers, "").as_bytes()).await;
    for _ in 0..pieces {
        client.send(&piece).await;
    }
    let answer = client.answer().await;

    assert_eq!((answer.status, answer.json()["bytes"].to_string()), (200, length.clone()));
    assert_eq!(gateway.records()[0]["request_bytes"].to_string(), length);
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kibibytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kibibytes < 100 << 10, "{kibibytes} KiB at the peak");
    simulator.stop().await;
}
