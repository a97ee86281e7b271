//! Secrets in requests: found, masked, refused, given back. What the upstream saw, what the client
//! got, what the record says.

use std::path::Path;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};

use crate::harness::client::{Answer, contains, lossy, metric, post, request};
use crate::harness::codex::Codex;
use crate::harness::gateway::Key;
use crate::harness::recording::{Relay, Step, chunk, stream_head, whole};
use crate::harness::socket::{Upstream, asks, frame, masked, open_with, read_frame, says};
use crate::harness::{Gateway, Raw, Recording, simulator, url};

/// A key of our own is a secret that is told with certainty, by its checksum.
fn token(digit: u8) -> String {
    redact::own_key::build([digit; redact::own_key::RANDOM_CHARACTERS])
}

const ANSWER: &str = r#"{"id":"resp_1","object":"response","status":"completed","model":"gpt-5.5","usage":{"input_tokens":9,"output_tokens":1,"total_tokens":10}}"#;

/// The body of a request as the upstream got it.
fn body(request: &[u8]) -> String {
    lossy(request).split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// The only mask in a text.
fn mask(text: &str) -> &str {
    let at = text.find("[secret:").unwrap_or_else(|| panic!("no mask in {text}"));
    let end = at + text[at..].find(']').unwrap() + 1;
    &text[at..end]
}

fn outline(record: &Value) -> Value {
    let names = ["status", "outcome", "source", "refusal", "altered", "findings"];
    names.iter().map(|name| ((*name).to_owned(), record[*name].clone())).collect()
}

/// Everything below a folder, archives unpacked, with the names of files.
fn all_files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all_files(&path, found);
            continue;
        }
        let name = path.display().to_string();
        // A socket has no contents.
        let Ok(bytes) = std::fs::read(&path) else { continue };
        if path.extension().is_some_and(|extension| extension == "zst") {
            found.push((format!("{name}, unpacked"), zstd::decode_all(&bytes[..]).unwrap()));
        }
        found.push((name, bytes));
    }
}

/// Where a value stands below a folder: as it is, as JSON has it, or in base64.
fn places(folder: &Path, value: &str) -> Vec<String> {
    let escaped = json!(value).to_string();
    let escaped = escaped.trim_matches('"').to_owned();
    // In base64 a value that begins at the second or third byte of a group looks otherwise.
    let coded = (0..3).map(|pad| {
        let coded = BASE64_STANDARD.encode(format!("{}{value}", "x".repeat(pad)));
        coded[4..coded.len() - 4].to_owned()
    });
    let looks: Vec<String> = [value.to_owned(), escaped].into_iter().chain(coded).collect();
    let mut files = Vec::new();
    all_files(folder, &mut files);
    let holds = |bytes: &[u8]| looks.iter().any(|look| contains(bytes, look.as_bytes()));
    files.into_iter().filter(|(_, bytes)| holds(bytes)).map(|(name, _)| name).collect()
}

#[tokio::test]
async fn a_secret_is_masked_on_its_way_and_given_back_in_the_answer() {
    // Given an upstream that says what it was told.
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let key = gateway.key("ada@example.com");
    let secret = token(7);

    // When a client sends a secret twice, and asks for it back.
    let asked = format!(
        "{{ \"model\":\"gpt-5.5\",\n\"input\":\"TOKEN={secret} h\\u00e9 {secret} sim:say=\\\"It is <<[secret:...]>>.\\\"\"}}"
    );
    let answer = post(gateway.address, "/v1/responses", &key.value, &asked).await;

    // Then it reads its own value.
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains(&format!("It is {secret}.")), "{}", answer.text());
    assert!(!answer.text().contains("[secret:"));

    // What is on record is what the upstream saw: masks, and all else byte for byte.
    let record = gateway.records().remove(0);
    let id = record["id"].as_str().unwrap().to_owned();
    let seen = lossy(&gateway.raw(&id, "request"));
    let mask = mask(&seen).to_owned();
    assert!(mask.starts_with("[secret:codex-proxy-key:") && mask.len() == 24 + 12 + 1, "{mask}");
    assert_eq!(seen, asked.replace(&secret, &mask));
    assert!(lossy(&gateway.raw(&id, "response")).contains(&format!("It is {mask}.")));
    let finding =
        json!({"rule": "codex-proxy-key", "tier": "certain", "action": "mask", "count": 2});
    let expected = json!({ "status": 200, "outcome": "complete", "source": "upstream",
        "refusal": null, "altered": "masked", "findings": [finding] });
    assert_eq!(outline(&record), expected);
    metric(
        gateway.address,
        "codex_proxy_findings_total{rule=\"codex-proxy-key\",tier=\"certain\",action=\"mask\"} 2",
    )
    .await;
    simulator.stop().await;
}

#[tokio::test]
async fn a_clean_request_passes_as_it_was_sent() {
    let upstream = Recording::start(vec![whole("application/json", ANSWER)]).await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let asked = "{ \"model\" : \"gpt-5.5\", \"input\": \"a mask as [secret:x:0123456789ab] is none of ours\" }";
    let answer = post(gateway.address, "/v1/responses", &key.value, asked).await;
    assert_eq!(answer.text(), ANSWER);
    assert_eq!(answer.header("content-length"), Some(ANSWER.len().to_string().as_str()));
    assert_eq!(body(&upstream.requests()[0]), asked);
    let record = gateway.records().remove(0);
    assert_eq!((&record["altered"], &record["findings"]), (&json!("none"), &json!([])));
}

#[tokio::test]
async fn a_request_is_refused_where_that_is_ordered_and_its_record_has_no_secret() {
    let upstream = Recording::start(vec![whole("application/json", ANSWER)]).await;
    let settings = [("CODEX_PROXY_SCREEN_ACTION", "block"), ("CODEX_PROXY_CONTACT", "sec@x.test")];
    let gateway = Gateway::start_with(&upstream.url(), &settings);
    let key = gateway.key("ada@example.com");
    let secret = token(8);
    let call = json!({"type": "function_call", "call_id": "c1", "name": "shell",
        "arguments": "{\"command\":[\"bash\",\"-lc\",\"cat config/.env\"]}"});
    let output =
        json!({"type": "function_call_output", "call_id": "c1", "output": format!("K={secret}\n")});
    let asked = json!({"model": "gpt-5.5", "input": [call, output]}).to_string();

    let answer = post(gateway.address, "/v1/responses", &key.value, &asked).await;

    assert_eq!((answer.status, answer.refusal()), (400, Some("secret_blocked")));
    let error = answer.json();
    assert_eq!(error["error"]["code"], "invalid_prompt");
    let message = error["error"]["message"].as_str().unwrap();
    for part in [
        "codex-proxy-key",
        "the output of the tool call `shell`: `cat config/.env` (item 2 of `input`)",
        "Ask sec@x.test.",
    ] {
        assert!(message.contains(part), "{part} is not in {message}");
    }
    assert!(!message.contains(&secret));
    assert_eq!(upstream.requests().len(), 0);
    let record = gateway.records().remove(0);
    let finding =
        json!({"rule": "codex-proxy-key", "tier": "certain", "action": "block", "count": 1});
    let expected = json!({ "status": 400, "outcome": "refused", "source": "proxy",
        "refusal": "secret_blocked", "altered": "masked", "findings": [finding] });
    assert_eq!(outline(&record), expected);
    let kept = lossy(&gateway.raw(record["id"].as_str().unwrap(), "request"));
    assert_eq!(kept, asked.replace(&secret, mask(&kept)));
    let (folder, _, said) = gateway.stop();
    assert_eq!(places(folder.path(), &secret), Vec::<String>::new());
    assert!(said.contains("a secret was found in a request") && !said.contains(&secret));
}

#[tokio::test]
async fn what_is_done_depends_on_rule_and_person() {
    let steps = vec![whole("application/json", ANSWER); 8];
    let upstream = Recording::start(steps).await;
    let exceptions = r#"[{"teams":["red"],"action":"block"},{"users":["off@example.com"],"action":"off"},
        {"users":["eve@example.com"],"rules":{"codex-proxy-key":"alert"}}]"#;
    let gateway =
        Gateway::start_with(&upstream.url(), &[("CODEX_PROXY_SCREEN_EXCEPTIONS", exceptions)]);
    let secret = token(9);
    let asked = json!({"model": "gpt-5.5", "input": format!("use {secret}")}).to_string();
    let ask = async |key: &Key| post(gateway.address, "/v1/responses", &key.value, &asked).await;
    let red = gateway.key_with("bob@example.com", &["--team", "red"]);
    assert_eq!(ask(&red).await.refusal(), Some("secret_blocked"));
    for (user, passes) in
        [("ada@example.com", false), ("off@example.com", true), ("eve@example.com", true)]
    {
        assert_eq!(ask(&gateway.key(user)).await.status, 200);
        let seen = body(upstream.requests().last().unwrap());
        assert_eq!(seen.contains(&secret), passes, "{user}: {seen}");
    }
    let records = gateway.records();
    let actions: Vec<&Value> = records.iter().map(|r| &r["findings"][0]["action"]).collect();
    let null = Value::Null;
    assert_eq!(actions, [&json!("block"), &json!("mask"), &null, &json!("alert")]);
    assert_eq!(records[3]["altered"], "none");
}

#[tokio::test]
async fn a_coded_body_is_coded_again_as_it_came() {
    let steps = vec![whole("application/json", ANSWER); 4];
    let upstream = Recording::start(steps).await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let secret = token(10);
    let asked = json!({"model": "gpt-5.5", "input": format!("use {secret}")}).to_string();
    for coding in ["zstd", "gzip", "br", "deflate"] {
        let coded = wire::coding::encode::whole(coding, asked.clone().into_bytes()).unwrap();
        let answer = send(&gateway, &key, &[("content-encoding", coding)], &coded).await;
        assert_eq!(answer.status, 200, "{coding}: {}", answer.text());
        let request = upstream.requests().pop().unwrap();
        let (head, coded) = split(&request);
        assert!(head.contains(&format!("content-encoding: {coding}\r\n")), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", coded.len())), "{head}");
        let mut decoder = wire::coding::Decoder::new(coding).unwrap();
        let seen = lossy(&decoder.feed(coded).unwrap());
        assert_eq!(seen, asked.replace(&secret, mask(&seen)), "{coding}");
        let record = gateway.records().pop().unwrap();
        assert_eq!(record["altered"], "masked");
        assert_eq!(lossy(&gateway.raw(record["id"].as_str().unwrap(), "request")), seen);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_unless_that_is_ordered_otherwise() {
    let upstream = Recording::start(vec![whole("application/json", ANSWER); 2]).await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    for (coding, body) in
        [("compress", &b"xxxx"[..]), ("gzip", b"no gzip"), ("identity", b"\xff\xfe{\0}\0")]
    {
        let answer = send(&gateway, &key, &[("content-encoding", coding)], body).await;
        assert_eq!((answer.status, answer.refusal()), (400, Some("unreadable_body")), "{coding}");
    }
    assert_eq!(upstream.requests().len(), 0);
    let gateway =
        Gateway::start_with(&upstream.url(), &[("CODEX_PROXY_SCREEN_UNREADABLE", "pass")]);
    let key = gateway.key("ada@example.com");
    let answer = send(&gateway, &key, &[("content-encoding", "compress")], b"xxxx").await;
    assert_eq!(answer.status, 200);
    assert_eq!(gateway.records()[0]["tags"]["screen"], "unscanned");
}

#[tokio::test]
async fn headers_address_and_forms_are_looked_through_too() {
    let upstream = Recording::start(vec![whole("application/json", ANSWER); 2]).await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let (one, two, three) = (token(11), token(12), token(13));
    let metadata = format!("{{\"remote\":\"https://{one}@git.example.com/x.git\"}}");
    let asked = json!({"model": "gpt-5.5", "input": format!("and {three}")}).to_string();
    let authorization = format!("Bearer {}", key.value);
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
        ("x-codex-turn-metadata", metadata.as_str()),
        ("x-note", three.as_str()),
    ];
    let mut client = Raw::connect(gateway.address).await;
    let path = format!("/v1/responses?note={two}");
    client.send(request("POST", &path, &headers, &asked).as_bytes()).await;
    assert_eq!(client.answer().await.status, 200);
    let seen = lossy(&upstream.requests()[0]);
    for secret in [&one, &two, &three] {
        assert!(!seen.contains(secret.as_str()), "{seen}");
    }
    assert!(seen.contains("?note=%5Bsecret:codex-proxy-key:"), "{seen}");
    assert!(seen.contains("x-note: [secret:codex-proxy-key:"), "{seen}");

    // Of a form the texts are, and a picture goes as it is.
    let picture = b"\x89PNG\r\n\x1a\n\0\xff\xfe";
    let form = [
        format!("--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ngpt-image-1\r\n--b\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\nwith {one}\r\n--b\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n").as_bytes(),
        picture,
        b"\r\n--b--\r\n",
    ]
    .concat();
    let headers = [("content-type", "multipart/form-data; boundary=b")];
    let answer = send_to(&gateway, &key, "/v1/images/edits", &headers, &form).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let request = upstream.requests().pop().unwrap();
    let (_, seen) = split(&request);
    assert!(contains(seen, picture) && !contains(seen, one.as_bytes()));
    assert!(lossy(seen).contains("with [secret:codex-proxy-key:"));
    let (folder, ..) = gateway.stop();
    for secret in [&one, &two, &three] {
        assert_eq!(places(folder.path(), secret), Vec::<String>::new());
    }
}

/// The events of a function call whose arguments come in these pieces.
fn call(pieces: &[&str]) -> Vec<Step> {
    let event = |value: Value| {
        chunk(&format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap()))
    };
    let deltas = pieces.iter().map(|piece| {
        event(json!({"type": "response.function_call_arguments.delta", "item_id": "fc_1",
            "output_index": 0, "delta": piece}))
    });
    let whole = pieces.concat();
    let item = json!({"type": "function_call", "id": "fc_1", "call_id": "c", "name": "shell",
        "arguments": whole});
    let done = json!({"type": "response.function_call_arguments.done", "item_id": "fc_1",
        "output_index": 0, "arguments": whole});
    let item_done = json!({"type": "response.output_item.done", "output_index": 0, "item": item});
    let mut response: Value = serde_json::from_str(ANSWER).unwrap();
    response["output"] = json!([item]);
    let completed = json!({"type": "response.completed", "response": response});
    [stream_head()]
        .into_iter()
        .chain(deltas)
        .chain([event(done), event(item_done), event(completed), chunk("")])
        .collect()
}

#[tokio::test]
async fn a_mask_that_comes_in_pieces_is_restored_in_arguments_and_their_copies() {
    // Given a password with characters that JSON escapes, and the mask it will have.
    let secret = "pa\"ss\\w0rd-Xy7!q";
    let line = format!("DB_PASSWORD={secret}\n");
    let asked = json!({"model": "gpt-5.5", "stream": true, "prompt_cache_key": "thread-1",
        "input": [{"type": "function_call_output", "call_id": "a", "output": line}]})
    .to_string();
    let custom = json!([{"id": "our-password", "pattern": "DB_PASSWORD=(\\S+)", "tier": "certain",
        "example": "DB_PASSWORD=x1"}]);
    let settings = [("CODEX_PROXY_SCREEN_CUSTOM", &*custom.to_string())];
    let first = Recording::start(vec![whole("application/json", ANSWER)]).await;
    let gateway = Gateway::start_with(&first.url(), &settings);
    let key = gateway.key("ada@example.com");
    post(gateway.address, "/v1/responses", &key.value, &asked).await;
    let seen = body(&first.requests()[0]);
    let mask = mask(&seen).to_owned();
    let (folder, ..) = gateway.stop();

    // When the model writes it in pieces, inside of JSON inside of JSON.
    let arguments = format!("{{\"command\":\"printf '{mask}' > x\"}}");
    let (one, two, three) = (&arguments[..25], &arguments[25..31], &arguments[31..]);
    let upstream = Recording::start(call(&[one, two, three])).await;
    let gateway = Gateway::start_in(folder, &upstream.url(), &settings);
    let answer = post(gateway.address, "/v1/responses", &key.value, &asked).await;

    // Then the pieces together are what the copies say: the developer's own value.
    let text = answer.text();
    let events: Vec<Value> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let deltas: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
    let copies = [
        &events[3]["arguments"],
        &events[4]["item"]["arguments"],
        &events[5]["response"]["output"][0]["arguments"],
    ];
    assert_eq!(copies, [&json!(deltas); 3], "{text}");
    let arguments: Value = serde_json::from_str(&deltas).unwrap();
    assert_eq!(arguments["command"], format!("printf '{secret}' > x"));
    // And what is on record has the mask.
    let record = gateway.records().pop().unwrap();
    let kept = lossy(&gateway.raw(record["id"].as_str().unwrap(), "response"));
    assert!(!kept.contains("w0rd-Xy7"), "{kept}");
}

#[tokio::test]
async fn masks_are_the_same_in_every_turn_so_that_the_cache_stays_warm() {
    let upstream = Recording::start(vec![whole("application/json", ANSWER); 4]).await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let (one, two) = (token(14), token(15));
    let item = |text: &str| json!({"role": "user", "content": text});
    let (first, second) = (item(&format!("A={one}")), item(&format!("B={two} and {one}")));
    let asked = |items: &[Value]| {
        json!({"model": "gpt-5.5", "prompt_cache_key": "thread-1", "input": items}).to_string()
    };
    let (before, after) =
        (asked(std::slice::from_ref(&first)), asked(&[first.clone(), second.clone()]));
    for text in [&before, &after] {
        post(gateway.address, "/v1/responses", &key.value, text).await;
    }
    // In another order, and by another process, they are the same.
    let (folder, ..) = gateway.stop();
    let gateway = Gateway::start_in(folder, &upstream.url(), &[]);
    post(gateway.address, "/v1/responses", &key.value, &asked(&[second, first])).await;
    // And in another conversation they are others.
    let other = before.replace("thread-1", "thread-2");
    post(gateway.address, "/v1/responses", &key.value, &other).await;

    let seen: Vec<String> = upstream.requests().iter().map(|request| body(request)).collect();
    let shared = |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let end = seen[0].rfind("]}").unwrap();
    assert_eq!(shared(&seen[0], &seen[1]), end, "{} {}", seen[0], seen[1]);
    let mut masks: Vec<&str> =
        seen[1].split("[secret:").skip(1).map(|rest| rest.split(']').next().unwrap()).collect();
    let mut again: Vec<&str> =
        seen[2].split("[secret:").skip(1).map(|rest| rest.split(']').next().unwrap()).collect();
    assert_eq!(masks[0], masks[2]);
    masks.sort_unstable();
    again.sort_unstable();
    assert_eq!(masks, again);
    assert_ne!(mask(&seen[3]), mask(&seen[0]));
}

#[tokio::test]
async fn a_value_that_was_found_is_masked_wherever_it_stands() {
    let upstream = Recording::start(vec![whole("application/json", ANSWER)]).await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let password = "Xq7-plover-Nine";
    let line = format!("postgres://app:{password}@db.example.com/app");
    let nested = json!({"output": format!("it was {password} all along")}).to_string();
    let asked = json!({"model": "gpt-5.5", "input": [
        {"role": "user", "content": format!("is {password} right?")},
        {"type": "function_call_output", "call_id": "a", "output": line},
        {"type": "function_call_output", "call_id": "b", "output": nested},
    ]});
    post(gateway.address, "/v1/responses", &key.value, &asked.to_string()).await;
    let seen = body(&upstream.requests()[0]);
    assert_eq!(seen, asked.to_string().replace(password, mask(&seen)));
    assert_eq!(seen.matches("[secret:").count(), 3);
}

/// More of an answer's text.
fn delta(piece: &str) -> Value {
    json!({"type": "response.output_text.delta", "item_id": "m", "output_index": 0,
        "content_index": 0, "delta": piece})
}

#[tokio::test]
async fn on_a_websocket_masks_live_as_long_as_the_socket() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let (mut client, mut server) = open_with(&gateway, &upstream, &key.value, "").await;
    let password = "Xq7-plover-Nine";
    let create = |input: String| json!({"type": "response.create", "model": "gpt-5.5", "prompt_cache_key": "t", "input": input});
    // The first message gives it away, the second has it bare.
    let mut masks = Vec::new();
    let inputs = [format!("amqp://app:{password}@mq.example.com"), format!("say {password}")];
    for (number, input) in inputs.iter().enumerate() {
        let asked = create(input.clone());
        client.send(&asks(&asked)).await;
        let (first, payload) = read_frame(&mut server).await.unwrap();
        let seen = lossy(&payload);
        assert_eq!((first, &seen), (0x81, &asked.to_string().replace(password, mask(&seen))));
        masks.push(mask(&seen).to_owned());
        // The answer has it in two pieces, with a ping between.
        let (one, two) = masks[0].split_at(9);
        let id = format!("resp_{number}");
        let completed = json!({"type": "response.completed", "response": {"id": id,
            "status": "completed", "usage": {"input_tokens": 1, "output_tokens": 1}}});
        let frames =
            [says(&delta(one)), frame(0x89, b"?"), says(&delta(two)), says(&completed)].concat();
        for piece in frames.chunks(7) {
            server.send(piece).await;
        }
        let mut got = Vec::new();
        while got.last().is_none_or(|text: &String| !text.contains("response.completed")) {
            let (first, payload) = read_frame(&mut client).await.unwrap();
            if first == 0x81 {
                got.push(lossy(&payload));
            }
        }
        let deltas: String = got
            .iter()
            .filter_map(|text| {
                serde_json::from_str::<Value>(text).unwrap()["delta"].as_str().map(str::to_owned)
            })
            .collect();
        assert_eq!(deltas, password);
    }
    assert_eq!(masks[0], masks[1]);
    let records = gateway.records();
    assert_eq!(records.iter().map(|r| &r["altered"]).collect::<Vec<_>>(), [&json!("masked"); 2]);
    let (folder, ..) = gateway.stop();
    assert_eq!(places(folder.path(), password), Vec::<String>::new());
}

#[tokio::test]
async fn on_a_websocket_what_might_become_a_mask_waits_only_so_long() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let (mut client, mut server) = open_with(&gateway, &upstream, &key.value, "").await;
    let input = "amqp://app:Xq7-plover-Nine@mq.example.com";
    client
        .send(&asks(&json!({"type": "response.create", "model": "gpt-5.5", "input": input})))
        .await;
    let (_, payload) = read_frame(&mut server).await.unwrap();
    let seen = lossy(&payload);
    // The model begins a word that begins as the mask does, and then says nothing for long.
    let begun = Instant::now();
    server.send(&says(&delta(&mask(&seen)[..9]))).await;
    let (_, payload) = read_frame(&mut client).await.unwrap();
    assert_eq!(lossy(&payload), delta(&mask(&seen)[..9]).to_string());
    let waited = begun.elapsed();
    assert!((2000..4000).contains(&waited.as_millis()), "{waited:?}");
    // What comes then passes at once.
    server.send(&says(&delta(" and so on"))).await;
    let (_, payload) = read_frame(&mut client).await.unwrap();
    assert_eq!(lossy(&payload), delta(" and so on").to_string());
    assert!(begun.elapsed() < waited + Duration::from_secs(1));
}

#[tokio::test]
async fn a_refusal_inside_a_websocket_leaves_it_open() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start_with(&upstream.url(), &[("CODEX_PROXY_SCREEN_ACTION", "block")]);
    let key = gateway.key("ada@example.com");
    let (mut client, mut server) = open_with(&gateway, &upstream, &key.value, "").await;
    let secret = token(16);
    let create = |input: &str| json!({"type": "response.create", "model": "m", "input": input});
    client.send(&asks(&create(&secret))).await;
    let (_, payload) = read_frame(&mut client).await.unwrap();
    let error: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!((&error["type"], &error["status"]), (&json!("error"), &json!(400)));
    assert_eq!(error["error"]["code"], "invalid_prompt");
    client.send(&asks(&create("harmless"))).await;
    let (_, payload) = read_frame(&mut server).await.unwrap();
    assert!(lossy(&payload).contains("harmless"));
    let record = gateway.records().remove(0);
    assert_eq!(record["refusal"], "secret_blocked");
}

#[tokio::test]
async fn a_word_that_is_a_password_does_not_break_later_turns() {
    let upstream = Recording::start(vec![whole("application/json", ANSWER); 2]).await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let item = |text: &str| json!({"type": "message", "role": "developer", "content": text});
    let first = item("postgres://app:developer@db.internal/x");
    let asked = |items: &[&Value]| json!({"model": "m", "prompt_cache_key": "t", "input": items});
    for turn in [asked(&[&first]), asked(&[&first, &item("a developer, completed")])] {
        post(gateway.address, "/v1/responses", &key.value, &turn.to_string()).await;
        let seen: Value = serde_json::from_str(&body(upstream.requests().last().unwrap())).unwrap();
        assert_eq!(seen["input"][0]["role"], "developer");
        assert_eq!(
            seen["input"][1]["content"],
            if seen["input"][1].is_null() { Value::Null } else { json!("a developer, completed") }
        );
    }
}

#[tokio::test]
async fn a_pattern_of_ones_own_finds_what_stands_in_texts() {
    let upstream = Recording::start(vec![whole("application/json", ANSWER)]).await;
    let custom = json!([{"id": "badge", "pattern": "\\d{12}", "example": "123456789012"}]);
    let settings = [("CODEX_PROXY_SCREEN_CUSTOM", &*custom.to_string())];
    let gateway = Gateway::start_with(&upstream.url(), &settings);
    let key = gateway.key("ada@example.com");
    let text = r#"{"model":"m","input":"badge 123456789012"}"#;
    assert_eq!(post(gateway.address, "/v1/responses", &key.value, text).await.status, 200);
    let seen = body(&upstream.requests()[0]);
    assert_eq!(seen, text.replace("123456789012", mask(&seen)));
    let (folder, ..) = gateway.stop();
    assert_eq!(places(folder.path(), "123456789012"), Vec::<String>::new());
}

#[tokio::test]
async fn heads_are_looked_through_where_bodies_cannot_be_read() {
    let upstream = Recording::start(vec![whole("application/json", ANSWER)]).await;
    let settings = [("CODEX_PROXY_SCREEN_UNREADABLE", "pass")];
    let gateway = Gateway::start_with(&upstream.url(), &settings);
    let key = gateway.key("ada@example.com");
    let secret = token(19);
    let headers = [("content-encoding", "compress"), ("x-note", secret.as_str())];
    assert_eq!(send(&gateway, &key, &headers, b"xxxx").await.status, 200);
    assert!(!lossy(&upstream.requests()[0]).contains(&secret));
    let (folder, ..) = gateway.stop();
    assert_eq!(places(folder.path(), &secret), Vec::<String>::new());
}

#[tokio::test]
async fn every_message_of_a_websocket_is_looked_through() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let (mut client, mut server) = open_with(&gateway, &upstream, &key.value, "").await;
    let secret = token(20);
    // No JSON, in fragments; bytes; another type of message.
    let (one, two) = secret.split_at(20);
    client.send(&[masked(0x01, one.as_bytes()), masked(0x80, two.as_bytes())].concat()).await;
    client.send(&masked(0x82, format!("k={secret}").as_bytes())).await;
    client.send(&asks(&json!({"type": "session.update", "note": secret}))).await;
    for first in [0x81, 0x82, 0x81] {
        let (head, payload) = read_frame(&mut server).await.unwrap();
        let seen = lossy(&payload);
        assert!(seen.contains("[secret:codex-proxy-key:") && !seen.contains(one), "{seen}");
        assert_eq!(head, first);
    }
    // What is no UTF-8 and might be a question is refused, as a body would be.
    client.send(&masked(0x81, b"\xFF\xFE{\0}\0")).await;
    let (_, payload) = read_frame(&mut client).await.unwrap();
    let error: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!((&error["type"], &error["status"]), (&json!("error"), &json!(400)));
    assert_eq!(gateway.records()[0]["refusal"], "unreadable_body");
}

/// Runs exchanges with a secret of several kinds, kills the gateway, starts it again, stops it, and
/// tells where the secret stands below its folder and in what it said.
async fn leaves(action: &str, secret: &str) -> (Vec<String>, bool) {
    let simulator = simulator().await;
    let settings = [("CODEX_PROXY_SCREEN_ACTION", action)];
    let gateway = Gateway::start_with(&url(&simulator), &settings);
    let key = gateway.key("ada@example.com");
    let plain =
        json!({"model": "gpt-5.5", "input": format!("T={secret} sim:say=\"<<[secret:...]>>\"")});
    let nested = json!({"cmd": format!("export T={secret}")}).to_string();
    let streamed = json!({"model": "gpt-5.5", "stream": true, "input": [
        {"type": "function_call", "call_id": "c", "name": "shell", "arguments": nested},
        {"role": "user", "content": "hi"}]});
    let chat = json!({"model": "gpt-5.5", "messages": [{"role": "user", "content": secret}]});
    for (path, body) in
        [("responses", &plain), ("responses", &streamed), ("chat/completions", &chat)]
    {
        let answer =
            post(gateway.address, &format!("/v1/{path}"), &key.value, &body.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let folder = gateway.kill();
    let gateway = Gateway::traced(folder, &url(&simulator), &settings);
    post(gateway.address, "/v1/responses", &key.value, &plain.to_string()).await;
    let listed = gateway.ok(&["audit", "export", "--bodies"])
        + &gateway.ok(&["audit", "list", "--format", "json"]);
    let (folder, _, said) = gateway.stop();
    simulator.stop().await;
    (places(folder.path(), secret), listed.contains(secret) || said.contains(secret))
}

#[tokio::test]
async fn a_masked_value_is_nowhere_below_the_data_folder() {
    let secret = token(17);
    assert_eq!(leaves("mask", &secret).await, (Vec::new(), false));
    // The same look finds it where nothing is masked.
    let (places, is_told) = leaves("off", &secret).await;
    assert!(places.iter().any(|place| place.contains("archive/bodies")), "{places:?}");
    assert!(is_told);
}

#[tokio::test]
async fn codex_reads_an_env_file_and_patches_with_the_true_value_that_the_upstream_never_saw() {
    // Given a repository with an .env file, and somebody who listens before the upstream.
    let simulator = simulator().await;
    let relay = Relay::start(simulator.address()).await;
    let gateway = Gateway::start(&format!("http://{}/v1", relay.address));
    let key = gateway.key("ada@example.com");
    let codex = Codex::new();
    let secret = token(18);
    std::fs::write(codex.repository().join(".env"), format!("API_TOKEN={secret}\n")).unwrap();
    let base = format!("http://{}/v1", gateway.address);

    // When the model asks to read it, and in the next turn writes a file with what it read.
    let first = codex.exec(&base, &key.value, &["sim:shell=\"cat .env\" please"]).await;
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let patch = "*** Begin Patch\n*** Add File: copy.txt\n+token <<[secret:...]>>\n*** End Patch\n";
    let prompt = format!("sim:custom=apply_patch sim:input=\"{patch}\" please");
    let second = codex.exec(&base, &key.value, &["resume", first.session(), &prompt]).await;
    assert_eq!(second.code, Some(0), "{}", second.stderr);

    // Then the file has the true value,
    let copy = std::fs::read_to_string(codex.repository().join("copy.txt")).unwrap();
    assert_eq!(copy, format!("token {secret}\n"));
    // the upstream has seen masks only,
    let passed = relay.passed();
    let sent: Vec<u8> = passed.iter().flat_map(|one| one.sent.clone()).collect();
    let received: Vec<u8> = passed.iter().flat_map(|one| one.received.clone()).collect();
    for bytes in [&sent, &received] {
        assert!(!lossy(bytes).contains(&secret), "{}", lossy(bytes));
        assert!(lossy(bytes).contains("[secret:codex-"), "{}", lossy(bytes));
    }
    // and so has the archive.
    let records = gateway.records();
    assert_eq!(records.len(), 4);
    assert!(records[1..].iter().all(|record| record["altered"] == "masked"));
    let (folder, ..) = gateway.stop();
    assert_eq!(places(folder.path(), &secret), Vec::<String>::new());
    simulator.stop().await;
}

fn split(request: &[u8]) -> (String, &[u8]) {
    let end = request.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    (lossy(&request[..end]).to_lowercase(), &request[end..])
}

async fn send(gateway: &Gateway, key: &Key, more: &[(&str, &str)], body: &[u8]) -> Answer {
    let headers = [&[("content-type", "application/json")], more].concat();
    send_to(gateway, key, "/v1/responses", &headers, body).await
}

async fn send_to(
    gateway: &Gateway,
    key: &Key,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let (authorization, length) = (format!("Bearer {}", key.value), body.len().to_string());
    let ours = [("authorization", authorization.as_str()), ("content-length", length.as_str())];
    let head = request("POST", path, &[&ours, headers].concat(), "");
    let mut client = Raw::connect(gateway.address).await;
    client.send(&[head.as_bytes(), body].concat()).await;
    client.answer().await
}
