//! Requests that come compressed: passed as they came, read and kept decoded.

use std::io::Write;

use archive::frame::Wire;
use serde_json::{Value, json};

use crate::harness::client::{Answer, Raw, request};
use crate::harness::recording::whole;
use crate::harness::{Gateway, Recording, simulator, url};

const ASKED: &str = r#"{"model":"gpt-5.5","input":"sim:say=\"well read\""}"#;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn deflate(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 3).unwrap()
}

/// A stream of one literal meta-block (RFC 7932 §9.2): 16-bit window, length in 16 bits.
fn brotli(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len() - 1).unwrap();
    // WBITS 0; ISLAST 0; MNIBBLES 00; MLEN - 1 in 16 bits; ISUNCOMPRESSED 1.
    let bits = length << 4 | 1 << 20;
    let head = &bits.to_le_bytes()[..3];
    [head, text, &[3]].concat()
}

/// Asks the Responses API with these bytes.
async fn ask(gateway: &Gateway, key: &str, coding: &str, body: &[u8]) -> Answer {
    let (authorization, length) = (format!("Bearer {key}"), body.len().to_string());
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
        ("content-encoding", coding),
        ("content-length", length.as_str()),
    ];
    let head = request("POST", "/v1/responses", &headers, "");
    let mut client = Raw::connect(gateway.address).await;
    client.send(&[head.as_bytes(), body].concat()).await;
    client.answer().await
}

#[tokio::test]
async fn a_compressed_request_is_read_by_both_sides_and_kept_decoded() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    // A key whose model must be read.
    let key = gateway.key_with("ada@example.com", &["--models", "gpt-5*"]);
    let text = ASKED.as_bytes();
    let cases = [
        ("zstd", zstd(text)),
        ("gzip", gzip(text)),
        ("deflate", deflate(text)),
        ("br", brotli(text)),
        ("gzip, zstd", zstd(&gzip(text))),
        ("identity", text.to_vec()),
    ];
    for (coding, body) in &cases {
        let answer = ask(&gateway, &key.value, coding, body).await;
        assert_eq!(answer.status, 200, "{coding}: {}", answer.text());
        assert!(answer.text().contains("well read"), "{coding}: {}", answer.text());
    }
    let records = gateway.records();
    assert_eq!(records.len(), cases.len());
    for (record, (coding, body)) in records.iter().zip(&cases) {
        let told = [&record["model"], &record["content_encoding"], &record["request_bytes"]];
        assert_eq!(told, [&json!("gpt-5.5"), &json!(coding), &json!(body.len())]);
        let id = record["id"].as_str().unwrap();
        assert_eq!(gateway.raw(id, "request"), text, "{coding}");
        // What passed is vouched for, where that is not what is kept.
        let wire = gateway.stored(id).await.request.unwrap().wire;
        let (bytes, blake3) = (body.len() as u64, blake3::hash(body).to_hex().to_string());
        let passed = Wire { coding: (*coding).to_owned(), bytes, blake3 };
        assert_eq!(wire, (*coding != "identity").then_some(passed));
    }

    // And what the key may not ask stays refused behind a coding.
    let other = gzip(br#"{"model":"o3","input":"hi"}"#);
    let answer = ask(&gateway, &key.value, "gzip", &other).await;
    assert_eq!((answer.status, answer.refusal()), (400, Some("model_not_allowed")));
    simulator.stop().await;
}

#[tokio::test]
async fn what_passes_is_what_was_sent_also_where_it_cannot_be_read() {
    let upstream = Recording::start(vec![whole("application/json", "{}")]).await;
    let settings = [("CODEX_PROXY_SCREEN_UNREADABLE", "pass")];
    let gateway = Gateway::start_with(&upstream.url(), &settings);
    let (free, bound) =
        (gateway.key("ada@example.com"), gateway.key_with("eve@example.com", &["--models", "o3"]));
    let cases = [
        ("zstd", zstd(ASKED.as_bytes()), json!("gpt-5.5")),
        ("compress", b"of another time".to_vec(), Value::Null),
        ("gzip", b"no gzip at all".to_vec(), Value::Null),
    ];
    for (coding, body, _) in &cases {
        assert_eq!(ask(&gateway, &free.value, coding, body).await.status, 200, "{coding}");
    }
    for (seen, (coding, body, _)) in upstream.requests().iter().zip(&cases) {
        assert!(seen.ends_with(&[b"\r\n\r\n", &body[..]].concat()), "{coding}");
        let head = String::from_utf8_lossy(seen).into_owned();
        assert!(head.contains(&format!("\r\ncontent-encoding: {coding}\r\n")), "{head}");
    }
    let models: Vec<Value> = gateway.records().iter().map(|r| r["model"].clone()).collect();
    assert_eq!(models, cases.map(|(_, _, model)| model));

    // Where policy must read it, the refusal says why it cannot.
    let answer = ask(&gateway, &bound.value, "compress", b"of another time").await;
    let message = "This key may ask only o3, and which model this request asks cannot be read. \
                   The body cannot be decoded: its content coding `compress` is not known here.";
    assert_eq!((answer.status, answer.refusal()), (400, Some("unreadable_body")));
    assert_eq!(answer.json()["error"]["message"], message);
    crate::harness::client::metric(gateway.address, "codex_proxy_requests_unread_total 3").await;
}

#[tokio::test]
async fn a_bomb_does_not_go_off() {
    let upstream = Recording::start(vec![whole("application/json", "{}")]).await;
    let settings = [("CODEX_PROXY_MAX_BODY", "32MiB")];
    let gateway = Gateway::start_with(&upstream.url(), &settings);
    let key = gateway.key("ada@example.com");
    let blank = |mebibytes: usize| vec![b' '; mebibytes << 20];
    let cases = [
        // Within the floor a body may repeat itself; beyond it only so often.
        ("zstd", zstd(&blank(8)), (200, None)),
        ("zstd", zstd(&blank(9)), (413, Some("body_too_large"))),
        ("gzip", gzip(&blank(31)), (413, Some("body_too_large"))),
        ("gzip, zstd", zstd(&gzip(&blank(400))), (413, Some("body_too_large"))),
    ];
    for (coding, body, expected) in cases {
        let answer = ask(&gateway, &key.value, coding, &body).await;
        assert_eq!((answer.status, answer.refusal()), expected, "{coding}: {}", answer.text());
    }
    assert_eq!(upstream.requests().len(), 1);
    crate::harness::client::metric(gateway.address, "codex_proxy_buffered_bytes 0").await;
}
