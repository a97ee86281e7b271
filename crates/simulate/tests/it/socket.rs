//! The Responses API over a WebSocket.

use std::time::Duration;

use flate2::{Compress, Compression};
use serde_json::json;
use tokio::time::timeout;
use tungstenite::protocol::frame::{
    CloseFrame, Frame,
    coding::{CloseCode, Data, OpCode},
};

use crate::{
    harness::{get, post, request, say, send, start, start_with},
    socket_client::{Came, Socket, create, handshake, kinds},
};

#[tokio::test]
async fn an_answer_has_the_events_of_http_one_in_each_frame() {
    let simulator = start().await;
    let over_http = say(&simulator, "hello").await;
    let mut socket = Socket::open(&simulator).await;
    socket.say("hello").await;
    assert_eq!(kinds(&socket.events().await), over_http.kinds());
    assert!(socket.head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert!(socket.head.contains("x-request-id: req_"));
}

#[tokio::test]
async fn each_request_is_billed_and_noted_and_prewarming_is_not_billed() {
    let simulator = start().await;
    let mut socket = Socket::open(&simulator).await;
    let mut prewarm = create("");
    prewarm["generate"] = json!(false);
    prewarm["input"] = json!([]);
    socket.ask(&prewarm).await;
    let warmed = socket.events().await;
    assert_eq!(kinds(&warmed), ["response.created", "response.in_progress", "response.completed"]);
    assert_eq!(warmed[2]["response"]["output"], json!([]));
    assert_eq!(simulator.bill().exchanges, []);

    let mut asked = create("hello");
    asked["previous_response_id"] = warmed[2]["response"]["id"].clone();
    socket.ask(&asked).await;
    let answered = socket.events().await.pop().unwrap();
    let bill = simulator.bill().exchanges;
    assert_eq!(bill.len(), 1);
    assert_eq!(answered["response"]["id"], bill[0].response_id);
    assert_eq!((bill[0].endpoint.as_str(), bill[0].bearer_suffix.as_str()), ("responses", "abcd"));
    assert_eq!(answered["response"]["previous_response_id"], asked["previous_response_id"]);
    let seen = get(&simulator, "/simulate/requests").await.json();
    let methods: Vec<_> = seen.as_array().unwrap().iter().map(|seen| &seen["method"]).collect();
    assert_eq!(methods, ["GET", "WEBSOCKET", "WEBSOCKET"]);
}

#[tokio::test]
async fn a_conversation_goes_on_with_what_is_new_on_any_connection() {
    let simulator = start().await;
    let mut first = Socket::open(&simulator).await;
    let mut asked = create(r#"sim:shell="ls" sim:say="seen""#);
    asked["tools"] = json!([{"type": "function", "name": "shell_command"}]);
    first.ask(&asked).await;
    let called = first.events().await.pop().unwrap()["response"].clone();
    assert_eq!(called["output"][0]["name"], "shell_command");

    let mut second = Socket::open(&simulator).await;
    let output = json!({"type": "function_call_output", "call_id": "call_1", "output": "a.txt"});
    let mut went_on = create("");
    went_on["input"] = json!([output]);
    went_on["previous_response_id"] = called["id"].clone();
    second.ask(&went_on).await;
    let answered = second.events().await.pop().unwrap()["response"].clone();
    assert_eq!(answered["output"][0]["content"][0]["text"], "seen");
    let bill = simulator.bill().exchanges;
    assert!(bill[1].input_tokens > bill[0].input_tokens, "{bill:?}");
}

#[tokio::test]
async fn what_stands_before_must_be_known() {
    let simulator = start().await;
    let mut socket = Socket::open(&simulator).await;
    let mut asked = create("hello");
    asked["previous_response_id"] = json!("resp_other");
    socket.ask(&asked).await;
    let error = json!({
        "message": "Previous response with id 'resp_other' not found.",
        "type": "invalid_request_error",
        "param": "previous_response_id",
        "code": "previous_response_not_found",
    });
    let frame = json!({"type": "error", "status": 400, "error": error});
    assert_eq!(socket.events().await, [frame]);
    assert_eq!(simulator.bill().exchanges, []);
    socket.say("hello").await;
    assert_eq!(socket.events().await.pop().unwrap()["type"], "response.completed");
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_the_socket_stays_open() {
    let simulator = start().await;
    let mut socket = Socket::open(&simulator).await;
    socket.ask(&json!("{")).await;
    socket.ask(&json!({"type": "response.cancel", "model": "m"})).await;
    socket.send(Frame::message("{}", OpCode::Data(Data::Binary), true)).await;
    for _ in 0..3 {
        assert_eq!(socket.events().await[0]["status"], 400);
    }
    socket.say("hello").await;
    assert_eq!(socket.events().await.pop().unwrap()["type"], "response.completed");
}

#[tokio::test]
async fn requests_are_answered_one_after_the_other() {
    let simulator = start().await;
    let mut socket = Socket::open(&simulator).await;
    socket.say("sim:say=\"one\" sim:pace=1ms").await;
    socket.say("sim:say=\"two\"").await;
    for text in ["one", "two"] {
        let last = socket.events().await.pop().unwrap();
        assert_eq!(last["response"]["output"][0]["content"][0]["text"], text);
    }
}

#[tokio::test]
async fn the_words_for_errors_make_an_error_frame() {
    let simulator = start().await;
    let mut socket = Socket::open(&simulator).await;
    socket.say("sim:status=429 sim:message=\"slow\" sim:retry_after=2").await;
    let error = json!({
        "message": "slow",
        "type": "requests",
        "param": null,
        "code": "rate_limit_exceeded",
    });
    let frame = json!({
        "type": "error", "status": 429, "error": error, "headers": {"retry-after": "2"},
    });
    assert_eq!(socket.events().await, [frame]);
    assert_eq!(simulator.bill().exchanges[0].status, 429);
    socket.say("sim:fail=server_error").await;
    assert_eq!(socket.events().await.pop().unwrap()["type"], "response.failed");
    socket.say("sim:stattus=1").await;
    assert_eq!(socket.events().await[0]["error"]["code"], "simulate_directive");
}

#[tokio::test]
async fn connections_break_where_the_script_says() {
    let simulator = start().await;
    let mut socket = Socket::open(&simulator).await;
    socket.say("sim:cut=2").await;
    let cut = socket.all().await;
    assert_eq!(cut.len(), 3);
    assert!(matches!(cut[2], Came::End(1..)), "{cut:?}");

    let mut socket = Socket::open(&simulator).await;
    socket.say("sim:cutbytes=3").await;
    assert_eq!(socket.all().await, [Came::End(3)]);

    let mut socket = Socket::open(&simulator).await;
    socket.say("sim:drop").await;
    assert_eq!(socket.all().await, [Came::End(0)]);
}

#[tokio::test]
async fn the_server_closes_with_a_code_and_a_reason() {
    let simulator = start().await;
    let mut socket = Socket::open(&simulator).await;
    socket.say("sim:close=1008 sim:reason=\"not here\" sim:eof=1").await;
    let came = socket.all().await;
    assert_eq!((came.len(), &came[1]), (2, &Came::Close(1008, "not here".to_owned())));

    let mut socket = Socket::open(&simulator).await;
    socket.say("sim:eof=0").await;
    assert_eq!(socket.all().await, [Came::Close(1000, String::new())]);
}

#[tokio::test]
async fn a_stalled_answer_answers_pings() {
    let simulator = start().await;
    let mut socket = Socket::open(&simulator).await;
    socket.say("sim:stall=0").await;
    let silence = timeout(Duration::from_millis(20), socket.came()).await;
    assert!(silence.is_err());
    socket.send(Frame::ping("you?")).await;
    assert_eq!(socket.came().await, Came::Pong("you?".to_owned()));
}

#[tokio::test]
async fn a_client_that_closes_is_answered() {
    let simulator = start().await;
    let mut socket = Socket::open(&simulator).await;
    let close = CloseFrame { code: CloseCode::Away, reason: "bye".into() };
    socket.send(Frame::close(Some(close))).await;
    assert_eq!(socket.came().await, Came::Close(1001, String::new()));
    assert_eq!(socket.came().await, Came::End(0));
}

#[tokio::test]
async fn events_may_come_in_pieces_with_pings_between_them() {
    let simulator = start().await;
    let mut plain = Socket::open(&simulator).await;
    plain.say("sim:say=\"hi\"").await;
    let whole = plain.events().await;
    let mut socket = Socket::open(&simulator).await;
    socket.say("sim:say=\"hi\" sim:fragment=100").await;
    assert_eq!(kinds(&socket.events().await), kinds(&whole));

    socket.say("sim:say=\"hi\" sim:fragment=100 sim:comment sim:eof=1").await;
    let first = socket.frame().await.unwrap();
    assert_eq!(first.payload(), b"ping");
    let first = socket.frame().await.unwrap();
    assert_eq!((first.header().is_final, first.payload().len()), (false, 100));
    assert_eq!(socket.frame().await.unwrap().payload(), b"between");
}

#[tokio::test]
async fn an_event_may_be_binary_or_large() {
    let simulator = start().await;
    let mut socket = Socket::open(&simulator).await;
    socket.say("sim:binary sim:eof=1").await;
    assert!(matches!(socket.came().await, Came::Binary(_)));
    let mut socket = Socket::open(&simulator).await;
    socket.say("sim:event=17MiB").await;
    let events = socket.events().await;
    let longest = events.iter().map(|event| event.to_string().len()).max().unwrap();
    assert!(longest > 17 << 20);
}

#[tokio::test]
async fn messages_are_compressed_where_it_is_offered_and_allowed() {
    let simulator = start().await;
    let offer = "sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n";
    let mut plain = Socket::open(&simulator).await;
    plain.say("hello").await;
    let whole = kinds(&plain.events().await).len();
    for (words, told) in [
        ("deflate=on", Some("permessage-deflate\r\n")),
        (
            "deflate=fresh",
            Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"),
        ),
        ("deflate=off", None),
    ] {
        let headers = format!("{offer}x-simulate-socket: {words}\r\n");
        let mut socket = Socket::open_with(&simulator, &headers).await;
        let extension = socket.head.split("sec-websocket-extensions: ").nth(1);
        let line = extension.map(|rest| rest.split_inclusive("\r\n").next().unwrap());
        assert_eq!(line, told);
        for _ in 0..2 {
            socket.say("hello").await;
            assert_eq!(socket.events().await.len(), whole, "{words}");
        }
    }
}

#[tokio::test]
async fn compressed_requests_may_refer_to_the_ones_before() {
    let simulator = start().await;
    let offer = "sec-websocket-extensions: permessage-deflate\r\n";
    let mut socket = Socket::open_with(&simulator, offer).await;
    let mut deflate = Compress::new(Compression::best(), false);
    for _ in 0..3 {
        socket.ask_deflated(&create("sim:say=\"hi\""), &mut deflate).await;
        assert_eq!(socket.events().await.pop().unwrap()["type"], "response.completed");
    }
}

#[tokio::test]
async fn a_smaller_window_for_the_server_is_not_taken() {
    let simulator = start().await;
    let offer = "sec-websocket-extensions: permessage-deflate; server_max_window_bits=10\r\n";
    let socket = Socket::open_with(&simulator, offer).await;
    assert!(!socket.head.contains("sec-websocket-extensions"));
}

#[tokio::test]
async fn an_upgrade_is_refused_as_the_simulator_was_told() {
    let simulator = start().await;
    let told = request("POST", "/simulate/socket", "status=503 message=\"no\" times=1");
    assert_eq!(send(&simulator, &told).await.unwrap().status, 200);
    let refused = send(&simulator, &handshake("")).await.unwrap();
    assert_eq!((refused.status, refused.json()["error"]["message"].clone()), (503, json!("no")));
    Socket::open(&simulator).await;
    let unfit = send(&simulator, &request("POST", "/simulate/socket", "stattus=1")).await.unwrap();
    assert_eq!(unfit.status, 400);
}

#[tokio::test]
async fn an_upgrade_may_be_sent_back_to_http_or_dropped() {
    let simulator = start().await;
    let refused = send(&simulator, &handshake("x-simulate-socket: status=426\r\n")).await;
    assert_eq!(refused.unwrap().status, 426);
    assert_eq!(send(&simulator, &handshake("x-simulate-socket: drop\r\n")).await, None);
}

#[tokio::test]
async fn a_handshake_must_be_one_and_bring_the_key() {
    let simulator = start_with(Some("sk-right")).await;
    let refused = send(&simulator, &handshake("")).await.unwrap();
    assert_eq!(
        (refused.status, refused.json()["error"]["code"].clone()),
        (401, json!("invalid_api_key"))
    );
    let simulator = start().await;
    let old = handshake("").replace("version: 13", "version: 8");
    assert_eq!(send(&simulator, &old).await.unwrap().status, 400);
}

#[tokio::test]
async fn a_socket_has_a_limit_and_sends_pings() {
    let simulator = start().await;
    let headers = "x-simulate-socket: limit=1 ping=5ms\r\n";
    let mut socket = Socket::open_with(&simulator, headers).await;
    assert_eq!(socket.came().await, Came::Ping("there?".to_owned()));
    socket.say("hello").await;
    socket.say("hello").await;
    let mut came = Vec::new();
    while !matches!(came.last(), Some(Came::Close(..))) {
        came.push(socket.came().await);
    }
    let errors: Vec<_> = came
        .iter()
        .filter_map(|came| match came {
            Came::Event(event) if event["type"] == "error" => Some(event["error"]["code"].clone()),
            _ => None,
        })
        .collect();
    assert_eq!(errors, [json!("websocket_connection_limit_reached")]);
}

#[tokio::test]
async fn a_client_that_breaks_the_protocol_is_told_so() {
    let simulator = start().await;
    // Not masked; a reserved bit; a reserved opcode; text that is no UTF-8.
    let breaches: [(&[u8], u16); 4] = [
        (&[0x81, 0x00], 1002),
        (&[0xc1, 0x80, 0, 0, 0, 0], 1002),
        (&[0x83, 0x80, 0, 0, 0, 0], 1002),
        (&[0x81, 0x81, 0, 0, 0, 0, 0xff], 1007),
    ];
    for (bytes, code) in breaches {
        let mut socket = Socket::open(&simulator).await;
        socket.send_bytes(bytes).await;
        let came = socket.came().await;
        assert!(matches!(came, Came::Close(told, _) if told == code), "{bytes:?}: {came:?}");
    }
}

#[tokio::test]
async fn a_script_may_hold_for_a_number_of_requests() {
    let simulator = start().await;
    let body = json!({"model": "m", "input": "sim:status=500 sim:times=2"});
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(post(&simulator, "/v1/responses", &body).await.status);
    }
    assert_eq!(statuses, [500, 500, 200]);
}
