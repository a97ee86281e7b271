//! WebSocket: frames pass as they are, and each `response.create` is an exchange.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::client::{ask, lossy};
use crate::harness::socket::{
    ACCEPTED, Upstream, asks, frame, handshake, masked, open, open_with, read_frame, read_text,
    says,
};
use crate::harness::{Gateway, Raw, until};

/// What is asked, and what answers it.
fn create(more: &Value) -> Value {
    let mut message = json!({ "type": "response.create", "model": "gpt-5.5", "input": "hi" });
    message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    message
}

fn completed(id: &str) -> Value {
    json!({ "type": "response.completed", "response": { "id": id, "model": "gpt-5.5-2026",
        "status": "completed", "usage": { "input_tokens": 11, "output_tokens": 4,
        "input_tokens_details": { "cached_tokens": 3 }, "total_tokens": 15 } } })
}

fn ends(gateway: &Gateway) -> Vec<Value> {
    let records = gateway.records();
    let end = |record: &Value| {
        json!([record["outcome"], record["source"], record["refusal"], record["status"]])
    };
    records.iter().map(end).collect()
}

#[tokio::test]
async fn frames_pass_as_they_are_in_both_directions() {
    let upstream = Upstream::start().await;
    // Nobody looks for secrets: so what cannot ask anything is not held.
    let gateway = Gateway::start_with(&upstream.url(), &[("CODEX_PROXY_SCREEN_ACTION", "off")]);
    let key = gateway.key("ada@example.com");
    let (mut client, mut server) = open(&gateway, &upstream, &key.value).await;

    // Fragments with a ping between, bytes, an empty message, another type of message, a closing.
    let other = json!({ "type": "response.cancel", "response_id": "resp_1" });
    let sent = [
        masked(0x01, b"HELLO-"),
        masked(0x89, b"there?"),
        masked(0x80, "w\u{f6}rld".as_bytes()),
        masked(0x82, &[7, 159, 146, 150]),
        masked(0x81, b""),
        masked(0x01, b"  {\"type\":"),
        masked(0x8A, b"pong"),
        masked(0x80, b"\"response.cancel\"} "),
        asks(&other),
        masked(0x81, b"{ this is no JSON"),
        masked(0x88, &[3, 232, b'b', b'y', b'e']),
    ];
    // The pong overtakes the held message that it stands in; else every byte is in its place.
    for piece in sent.concat().chunks(5) {
        client.send(piece).await;
    }
    let mut expected: Vec<(u8, Vec<u8>)> = Vec::new();
    for (first, payload) in [
        (0x01, &b"HELLO-"[..]),
        (0x89, b"there?"),
        (0x80, "w\u{f6}rld".as_bytes()),
        (0x82, &[7, 159, 146, 150]),
        (0x81, b""),
        (0x8A, b"pong"),
        (0x01, b"  {\"type\":"),
        (0x80, b"\"response.cancel\"} "),
        (0x81, other.to_string().as_bytes()),
        (0x81, b"{ this is no JSON"),
        (0x88, &[3, 232, b'b', b'y', b'e']),
    ] {
        expected.push((first, payload.to_vec()));
    }
    let mut seen = Vec::new();
    while seen.len() < expected.len() {
        seen.push(read_frame(&mut server).await.unwrap());
    }
    assert_eq!(seen, expected);

    let answered = [
        frame(0x01, b"half "),
        frame(0x89, b"server's ping"),
        frame(0x80, b"whole"),
        frame(0x82, &vec![7; 70_000]),
        frame(0x88, &[3, 232]),
    ];
    let answered = answered.concat();
    server.send(&answered).await;
    drop(server);
    let got = client.exactly(answered.len()).await.unwrap();
    assert!(got == answered, "an answer was changed");
    assert_eq!(read_frame(&mut client).await, None);
    // What cannot be read might have asked something: it is on record.
    until("the record", || gateway.records().len() == 1).await;
    let record = gateway.records().remove(0);
    assert_eq!((&record["model"], &record["outcome"]), (&Value::Null, &json!("failed")));
    let id = record["id"].as_str().unwrap();
    assert_eq!(lossy(&gateway.raw(id, "request")), "{ this is no JSON");
}

#[tokio::test]
async fn a_handshake_goes_upstream_with_everything_it_needs() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let mut client = Raw::connect(gateway.address).await;
    let more = ["x-extra: kept", "cookie: a=b"];
    client.send(handshake(&key.value, &more).as_bytes()).await;
    let (mut server, head) = upstream.next().await;

    assert!(head.starts_with("GET /v1/responses HTTP/1.1\r\n"), "{head}");
    let head = head.to_lowercase();
    for line in [
        "authorization: bearer sk-organisation-key-of-these-tests\r\n",
        "connection: upgrade\r\n",
        "upgrade: websocket\r\n",
        "sec-websocket-version: 13\r\n",
        "sec-websocket-key: dghlihnhbxbszsbub25jzq==\r\n",
        "x-extra: kept\r\n",
    ] {
        assert!(head.contains(line), "{line:?} is not in {head}");
    }
    assert!(!head.contains("cpk_") && !head.contains("cookie"), "{head}");
    server.send(format!("{ACCEPTED}\r\n").as_bytes()).await;
    let accepted = lossy(&client.read_until("\r\n\r\n").await).to_lowercase();
    assert!(accepted.starts_with("http/1.1 101"), "{accepted}");
    assert!(accepted.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"));
    assert!(accepted.contains("openai-model: gpt-5.5\r\n"), "{accepted}");
}

#[tokio::test]
async fn each_create_is_an_exchange_with_its_record() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let mut client = Raw::connect(gateway.address).await;
    client.send(handshake(&key.value, &["thread-id: thread-1"]).as_bytes()).await;
    let (mut server, _) = upstream.next().await;
    server.send(format!("{ACCEPTED}\r\n").as_bytes()).await;
    let accepted = lossy(&client.read_until("\r\n\r\n").await).to_lowercase();
    let connection = accepted.split("x-codex-proxy-id: ").nth(1).unwrap()[..36].to_owned();

    // When it is made ready, and then asked something that goes on from there.
    let prewarm = create(&json!({ "generate": false }));
    let turn = create(&json!({ "previous_response_id": "resp_1" }));
    let delta = json!({ "type": "response.output_text.delta", "delta": "hello" });
    let created = json!({ "type": "response.created", "response": { "id": "resp_1" } });
    client.send(&asks(&prewarm)).await;
    assert_eq!(read_text(&mut server).await, prewarm.to_string());
    server.send(&[says(&created), says(&completed("resp_1"))].concat()).await;
    assert_eq!(read_text(&mut client).await, created.to_string());
    assert_eq!(read_text(&mut client).await, completed("resp_1").to_string());
    client.send(&asks(&turn)).await;
    assert_eq!(read_text(&mut server).await, turn.to_string());
    server.send(&[says(&delta), says(&completed("resp_2"))].concat()).await;
    assert_eq!(read_text(&mut client).await, delta.to_string());
    assert_eq!(read_text(&mut client).await, completed("resp_2").to_string());

    // Then both were on record when their last message came, on one connection.
    let records = gateway.records();
    let facts = |record: &Value| {
        json!({
            "kind": record["request_kind"], "outcome": record["outcome"], "usage": record["usage"],
            "tokens": record["total_tokens"], "cached": record["cached_input_tokens"],
            "id": record["response_id"], "previous": record["previous_response_id"],
            "model": [record["model"], record["upstream_model"]],
            "transport": record["transport"], "status": record["status"],
            "connection": record["connection_id"], "thread": record["thread_id"],
        })
    };
    let expected = |kind: &str, id: &str, previous: Option<&str>| {
        json!({
            "kind": kind, "outcome": "complete", "usage": "exact", "tokens": 15, "cached": 3,
            "id": id, "previous": previous, "model": ["gpt-5.5", "gpt-5.5-2026"],
            "transport": "ws", "status": 200, "connection": connection, "thread": "thread-1",
        })
    };
    let all: Vec<Value> = records.iter().map(facts).collect();
    let turned = expected("turn", "resp_2", Some("resp_1"));
    assert_eq!(all, [expected("prewarm", "resp_1", None), turned]);
    let id = records[1]["id"].as_str().unwrap();
    assert_eq!(lossy(&gateway.raw(id, "request")), turn.to_string());
    let lines = format!("{delta}\n{}\n", completed("resp_2"));
    assert_eq!(lossy(&gateway.raw(id, "response")), lines);

    // A prewarm is no request of the report's.
    let report: Value = serde_json::from_str(&gateway.ok(&["report", "--format", "json"])).unwrap();
    assert_eq!((&report[0]["requests"], &report[0]["total_tokens"]), (&json!(1), &json!(30)));
}

#[tokio::test]
async fn compressed_messages_pass_and_are_read_in_a_copy() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let agreed = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";
    let (mut client, mut server) = open_with(&gateway, &upstream, &key.value, agreed).await;

    // The client's second message repeats from its first; the server's stand alone.
    let mut remembers = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut deflated = |message: &Value| {
        remembers.write_all(message.to_string().as_bytes()).unwrap();
        remembers.flush().unwrap();
        let mut coded = std::mem::take(remembers.get_mut());
        coded.truncate(coded.len() - 4);
        coded
    };
    for id in ["resp_1", "resp_2"] {
        let coded = deflated(&create(&json!({ "input": format!("hello {id}") })));
        let frames = [masked(0x41, &coded[..5]), masked(0x80, &coded[5..])].concat();
        client.send(&frames).await;
        assert_eq!(read_frame(&mut server).await, Some((0x41, coded[..5].to_vec())));
        assert_eq!(read_frame(&mut server).await, Some((0x80, coded[5..].to_vec())));
        let mut alone = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        alone.write_all(completed(id).to_string().as_bytes()).unwrap();
        alone.flush().unwrap();
        let mut coded = alone.get_ref().clone();
        coded.truncate(coded.len() - 4);
        server.send(&frame(0xC1, &coded)).await;
        assert_eq!(read_frame(&mut client).await, Some((0xC1, coded)));
    }

    let records = gateway.records();
    let ids: Vec<&Value> = records.iter().map(|record| &record["response_id"]).collect();
    assert_eq!(ids, ["resp_1", "resp_2"]);
    assert_eq!(records[1]["content_encoding"], "permessage-deflate");
    let id = records[1]["id"].as_str().unwrap();
    assert!(lossy(&gateway.raw(id, "request")).contains("hello resp_2"));
    assert_eq!(lossy(&gateway.raw(id, "response")), format!("{}\n", completed("resp_2")));

    // What is no such compression is refused, since nobody can tell what it asks.
    client.send(&masked(0xC1, &[0xFF; 20])).await;
    let refused: Value = serde_json::from_str(&read_text(&mut client).await).unwrap();
    assert_eq!((&refused["type"], &refused["status"]), (&json!("error"), &json!(400)));
    assert_eq!(refused["error"]["code"], "invalid_prompt");
    // The upstream did not get it, and could not read what repeats from it: so the socket ends.
    assert_eq!(read_text(&mut client).await, "close 1008 a compressed message was refused");
    assert_eq!(read_frame(&mut server).await, None);
}

#[tokio::test]
async fn what_is_no_question_after_all_stands_in_nobodys_way() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let (mut client, mut server) = open(&gateway, &upstream, &key.value).await;
    // More than may wait for their answers, each sent back as it came.
    for _ in 0..40 {
        client.send(&masked(0x81, b"{ no JSON")).await;
        assert_eq!(read_text(&mut server).await, "{ no JSON");
        server.send(&frame(0x81, b"{ no JSON")).await;
        assert_eq!(read_text(&mut client).await, "{ no JSON");
    }
    client.send(&asks(&create(&json!({})))).await;
    read_frame(&mut server).await.unwrap();
    server.send(&says(&completed("resp_1"))).await;
    assert_eq!(read_text(&mut client).await, completed("resp_1").to_string());
    let ends = ends(&gateway);
    assert_eq!((ends.len(), &ends[40][0]), (41, &json!("complete")));
}

#[tokio::test]
async fn nothing_that_might_ask_gets_by_without_a_record() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key_with("ada@example.com", &["--models", "gpt-5*"]);
    let question = create(&json!({ "model": "o3" })).to_string();
    let twice = r#"{"type":"response.create","model":"o3","type":"x"}"#;
    let text = json!(question).to_string();
    let wide: Vec<u8> = question.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let disguised: [(u8, &[u8]); 9] = [
        (0x82, question.as_bytes()),
        (0x81, twice.as_bytes()),
        (0x82, &wide),
        (0x81, &[&b"\xEF\xBB\xBF"[..], question.as_bytes()].concat()),
        (0x81, &[&b" \n\t"[..], question.as_bytes(), b" x"].concat()),
        (0x81, &[&b"["[..], question.as_bytes(), b"]"].concat()),
        (0x81, text.as_bytes()),
        (0x80, question.as_bytes()),
        (0x81, br#"{"model":"o3","input":"hi"}"#),
    ];
    let (mut client, mut server) = open(&gateway, &upstream, &key.value).await;
    for (first, payload) in disguised {
        client.send(&masked(first, payload)).await;
        let told: Value = serde_json::from_str(&read_text(&mut client).await).unwrap();
        assert_eq!(told["status"], 400, "{}", lossy(payload));
    }
    assert_eq!(gateway.records().len(), disguised.len());
    client.send(&masked(0x81, b"done")).await;
    assert_eq!(read_text(&mut server).await, "done");
}

#[tokio::test]
async fn a_refusal_is_an_error_inside_the_socket_which_stays_open() {
    let upstream = Upstream::start().await;
    let settings = [("CODEX_PROXY_MAX_BODY", "1KiB"), ("CODEX_PROXY_CONTACT", "ops@example.com")];
    let gateway = Gateway::start_with(&upstream.url(), &settings);
    let key = gateway.key_with("ada@example.com", &["--models", "gpt-5*"]);
    let (mut client, mut server) = open(&gateway, &upstream, &key.value).await;

    let large = create(&json!({ "input": "x".repeat(2000) }));
    let foreign = create(&json!({ "model": "o3" }));
    let sent =
        [asks(&foreign), asks(&large), masked(0x81, b"{\"type\":"), asks(&create(&json!({})))];
    client.send(&sent.concat()).await;

    let message = "This key may not ask the model o3, only gpt-5*. Ask ops@example.com.";
    let expected = json!({ "type": "error", "status": 400, "error": { "message": message,
        "type": "invalid_request_error", "param": null, "code": "invalid_prompt" } });
    let told: Value = serde_json::from_str(&read_text(&mut client).await).unwrap();
    assert_eq!(told, expected);
    for (status, code) in [(413, "request_too_large"), (400, "invalid_prompt")] {
        let told: Value = serde_json::from_str(&read_text(&mut client).await).unwrap();
        assert_eq!((&told["status"], &told["error"]["code"]), (&json!(status), &json!(code)));
    }
    // Nothing of all that went upstream; what may, does.
    assert_eq!(read_text(&mut server).await, create(&json!({})).to_string());
    server.send(&says(&completed("resp_1"))).await;
    assert_eq!(read_text(&mut client).await, completed("resp_1").to_string());
    let refused = |word: &str, status: u16| json!(["refused", "proxy", word, status]);
    assert_eq!(
        ends(&gateway),
        [
            refused("model_not_allowed", 400),
            refused("body_too_large", 413),
            refused("unreadable_body", 400),
            json!(["complete", "upstream", null, 200]),
        ]
    );
}

#[tokio::test]
async fn whoever_ends_an_exchange_is_on_record() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let question = asks(&create(&json!({})));
    let limit = json!({ "type": "error", "status": 400, "error": {
        "type": "invalid_request_error", "code": "websocket_connection_limit_reached",
        "message": "Create a new connection." } });

    // An error of the upstream's, in the middle of nothing and as an answer.
    let (mut client, mut server) = open(&gateway, &upstream, &key.value).await;
    client.send(&question).await;
    read_frame(&mut server).await.unwrap();
    server.send(&says(&limit)).await;
    assert_eq!(read_text(&mut client).await, limit.to_string());
    // The upstream breaks off.
    client.send(&question).await;
    read_frame(&mut server).await.unwrap();
    server.send(&frame(0x81, b"{\"type\":\"response.crea")[..9]).await;
    drop(server);
    assert_eq!(read_frame(&mut client).await, None);
    // The upstream closes, and the client answers that.
    let (mut client, mut server) = open(&gateway, &upstream, &key.value).await;
    client.send(&question).await;
    read_frame(&mut server).await.unwrap();
    server.send(&frame(0x88, &[3, 243])).await;
    assert_eq!(read_text(&mut client).await, "close 1011 ");
    client.send(&masked(0x88, &[3, 243])).await;
    drop(client);
    assert_eq!(read_frame(&mut server).await, Some((0x88, vec![3, 243])));
    drop(server);
    // The client leaves, and the upstream hears of it.
    let (mut client, mut server) = open(&gateway, &upstream, &key.value).await;
    client.send(&question).await;
    read_frame(&mut server).await.unwrap();
    drop(client);
    assert_eq!(read_frame(&mut server).await, None);

    until("four records", || gateway.records().len() == 4).await;
    assert_eq!(
        ends(&gateway),
        [
            json!(["failed", "upstream", null, 400]),
            json!(["failed", "upstream", null, 200]),
            json!(["failed", "upstream", null, null]),
            json!(["cancelled", "client", null, null]),
        ]
    );
    assert_eq!(gateway.records()[3]["usage"], "estimated");
}

#[tokio::test]
async fn a_key_that_is_switched_off_ends_its_sockets_within_a_second() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url());
    let (ada, grace) = (gateway.key("ada@example.com"), gateway.key("grace@example.com"));
    let (mut idle, mut idle_server) = open(&gateway, &upstream, &ada.value).await;
    let (mut busy, mut busy_server) = open(&gateway, &upstream, &ada.value).await;
    let (mut other, mut other_server) = open(&gateway, &upstream, &grace.value).await;
    busy.send(&asks(&create(&json!({})))).await;
    read_frame(&mut busy_server).await.unwrap();
    busy_server.send(&says(&json!({ "type": "response.created" }))).await;
    read_frame(&mut busy).await.unwrap();

    gateway.ok(&["key", "disable", &ada.id]);

    let since = Instant::now();
    assert_eq!(read_text(&mut idle).await, "close 1008 This key was disabled or replaced.");
    let told: Value = serde_json::from_str(&read_text(&mut busy).await).unwrap();
    assert_eq!((&told["status"], &told["error"]["code"]), (&json!(401), &json!("invalid_api_key")));
    assert_eq!(read_text(&mut busy).await, "close 1008 This key was disabled or replaced.");
    assert_eq!(read_frame(&mut idle_server).await, None);
    assert_eq!(read_frame(&mut busy_server).await, None);
    assert!(since.elapsed() < Duration::from_secs(1), "it took {:?}", since.elapsed());
    assert_eq!(ends(&gateway), [json!(["refused", "proxy", "key_disabled", 401])]);
    other.send(&asks(&create(&json!({})))).await;
    assert!(read_frame(&mut other_server).await.is_some());
}

#[tokio::test]
async fn sockets_are_told_of_a_restart_when_their_exchange_has_ended() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let (mut idle, _idle_server) = open(&gateway, &upstream, &key.value).await;
    let (mut busy, mut server) = open(&gateway, &upstream, &key.value).await;
    busy.send(&asks(&create(&json!({})))).await;
    read_frame(&mut server).await.unwrap();

    gateway.tell_to_stop();

    assert_eq!(read_text(&mut idle).await, "close 1012 This proxy is stopping.");
    server.send(&says(&completed("resp_1"))).await;
    assert_eq!(read_text(&mut busy).await, completed("resp_1").to_string());
    assert_eq!(read_text(&mut busy).await, "close 1012 This proxy is stopping.");
    let (folder, well, said) = gateway.stop();
    assert!(well, "{said}");
    let records = crate::harness::gateway::records(folder.path());
    assert_eq!((records.len(), &records[0]["outcome"]), (1, &json!("complete")));
}

#[tokio::test]
async fn an_exchange_that_does_not_end_in_time_is_cut_off_with_a_word() {
    let upstream = Upstream::start().await;
    let settings = [("CODEX_PROXY_UPSTREAM_IDLE_TIMEOUT", "300ms")];
    let gateway = Gateway::start_with(&upstream.url(), &settings);
    let key = gateway.key("ada@example.com");
    let (mut client, mut server) = open(&gateway, &upstream, &key.value).await;
    client.send(&asks(&create(&json!({})))).await;
    read_frame(&mut server).await.unwrap();

    let told: Value = serde_json::from_str(&read_text(&mut client).await).unwrap();
    assert_eq!((&told["status"], &told["error"]["code"]), (&json!(504), &json!("upstream_error")));
    assert_eq!(read_text(&mut client).await, "close 1011 upstream_timeout");
    assert_eq!(ends(&gateway), [json!(["refused", "proxy", "upstream_timeout", 504])]);
}

#[tokio::test]
async fn a_message_of_many_megabytes_passes_whole() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let (mut client, mut server) = open(&gateway, &upstream, &key.value).await;
    let question = create(&json!({ "input": "x".repeat(20 << 20) })).to_string();
    let answer = json!({ "type": "response.image", "data": "y".repeat(20 << 20) }).to_string();
    let last = completed("resp_1").to_string();

    let asked = masked(0x81, question.as_bytes());
    let ((), seen) = tokio::join!(client.send(&asked), read_text(&mut server));
    assert!(seen == question, "the question was changed");
    let sent = [frame(0x81, answer.as_bytes()), frame(0x81, last.as_bytes())].concat();
    let ((), seen) = tokio::join!(server.send(&sent), read_text(&mut client));
    assert!(seen == answer, "the answer was changed");
    assert_eq!(read_text(&mut client).await, last);
    let id = gateway.records()[0]["id"].as_str().unwrap().to_owned();
    assert!(gateway.raw(&id, "request") == question.as_bytes());
    assert!(gateway.raw(&id, "response") == format!("{answer}\n{last}\n").as_bytes());
}

#[tokio::test]
async fn a_client_that_does_not_read_is_left_after_a_while() {
    let upstream = Upstream::start().await;
    let settings = [("CODEX_PROXY_CLIENT_READ_TIMEOUT", "300ms")];
    let gateway = Gateway::start_with(&upstream.url(), &settings);
    let key = gateway.key("ada@example.com");
    let (mut client, mut server) = open(&gateway, &upstream, &key.value).await;
    client.send(&asks(&create(&json!({})))).await;
    read_frame(&mut server).await.unwrap();

    // More than the sockets between hold; then the upstream is told that nobody listens.
    let event =
        says(&json!({ "type": "response.output_text.delta", "delta": "z".repeat(1 << 20) }));
    while server.try_send(&event).await.is_ok() {}
    until("a record", || gateway.records().len() == 1).await;
    assert_eq!(ends(&gateway), [json!(["cancelled", "client", null, 200])]);
}

#[tokio::test]
async fn a_message_inside_another_ends_the_socket() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let (mut client, mut server) = open(&gateway, &upstream, &key.value).await;
    client.send(&[masked(0x01, b"{"), asks(&create(&json!({})))].concat()).await;
    assert!(read_text(&mut client).await.starts_with("close 1002 "));
    assert_eq!(read_frame(&mut server).await, None);
}

#[tokio::test]
async fn a_refused_handshake_comes_in_one_piece() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let mut client = Raw::connect(gateway.address).await;
    client.send(handshake(&key.value, &[]).as_bytes()).await;
    let (mut server, _) = upstream.next().await;
    server.send(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 12\r\n\r\nnot ").await;
    server.send(b"for you.").await;

    // Codex reads no more of the body than what is there when it reads the head's last byte.
    let piece = client.piece().await;

    assert!(piece.ends_with(b"\r\n\r\nnot for you."), "{}", String::from_utf8_lossy(&piece));
}

#[tokio::test]
async fn a_handshake_is_refused_as_a_request_is() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");

    // By the upstream: its answer passes, and is on record.
    let mut client = Raw::connect(gateway.address).await;
    client.send(handshake(&key.value, &[]).as_bytes()).await;
    let (mut server, _) = upstream.next().await;
    let body = r#"{"error":{"message":"no","type":"x","param":null,"code":"invalid_api_key"}}"#;
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 401 Unauthorized\r\nx-request-id: req_7\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    server.send(answer.as_bytes()).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.text()), (401, body.to_owned()));
    assert_eq!(answer.header("x-request-id"), Some("req_7"));
    assert_eq!(ends(&gateway), [json!(["failed", "upstream", null, 401])]);

    // By this proxy: one with a body, an unknown key, another address, one that is not there, and none spoken.
    let mut client = Raw::connect(gateway.address).await;
    client.send(handshake(&key.value, &["content-length: 10"]).as_bytes()).await;
    client.send(b"0123456789").await;
    assert_eq!(client.answer().await.refusal(), Some("unreadable_body"));
    let mut client = Raw::connect(gateway.address).await;
    client.send(handshake("cpk_nobody", &[]).as_bytes()).await;
    assert_eq!(client.answer().await.refusal(), Some("key_unknown"));
    let mut client = Raw::connect(gateway.address).await;
    let elsewhere = handshake(&key.value, &[]).replace("/v1/responses", "/v1/realtime");
    client.send(elsewhere.as_bytes()).await;
    assert_eq!(client.answer().await.status, 426);
    drop((server, upstream));
    let mut client = Raw::connect(gateway.address).await;
    client.send(handshake(&key.value, &[]).as_bytes()).await;
    assert_eq!(client.answer().await.refusal(), Some("upstream_unreachable"));
    let off = Gateway::start_with("http://127.0.0.1:1/v1", &[("CODEX_PROXY_WEBSOCKET", "off")]);
    let key = off.key("ada@example.com");
    let mut client = Raw::connect(off.address).await;
    client.send(handshake(&key.value, &[]).as_bytes()).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.refusal()), (426, Some("websocket_off")));
    assert_eq!(off.records(), Vec::<Value>::new(), "a handshake is no exchange");
    assert_eq!(ask(off.address, "GET", "/readyz", &[], "").await.text(), "ready\n");
}
