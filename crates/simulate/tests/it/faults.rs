//! Each word of the script does what it says.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::harness::{post, request, say, send, start};

#[tokio::test]
async fn a_status_is_an_error_in_the_shape_of_the_api() {
    let simulator = start().await;
    let prompt =
        r#"sim:status=429 sim:code=slow sim:type=t sim:message="not \"now\"" sim:retry_after=2"#;
    let answer = say(&simulator, prompt).await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.header("retry-after"), Some("2"));
    let error = json!({"message": "not \"now\"", "type": "t", "param": null, "code": "slow"});
    assert_eq!(answer.json(), json!({"error": error}));
}

#[tokio::test]
async fn an_error_may_be_plain_text_or_a_page() {
    let simulator = start().await;
    let plain = say(&simulator, r#"sim:status=503 sim:plain sim:message="later""#).await;
    assert_eq!((plain.status, plain.body.as_str()), (503, "later"));
    assert_eq!(plain.header("content-type"), Some("text/plain; charset=utf-8"));
    let page = say(&simulator, "sim:status=502 sim:html").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=UTF-8"));
    assert!(page.body.contains("<h1>Simulated: Bad Gateway.</h1>"));
}

#[tokio::test]
async fn the_header_wins_over_the_prompt() {
    let simulator = start().await;
    let body = json!({"model": "m", "input": "sim:status=500"}).to_string();
    let asked = request("POST", "/v1/responses", &body);
    let asked = asked.replacen("\r\n", "\r\nx-simulate: say=\"from the header\"\r\n", 1);
    let answer = send(&simulator, &asked).await.unwrap().json();
    assert_eq!(answer["output"][0]["content"][0]["text"], "from the header");
}

#[tokio::test]
async fn a_cut_stream_breaks_in_the_middle_of_an_event() {
    let simulator = start().await;
    let whole = say(&simulator, "hello").await;
    let cut = say(&simulator, "hello sim:cut=4").await;
    assert!(whole.whole && !cut.whole);
    assert_eq!(cut.kinds(), whole.kinds()[..4]);
    assert!(cut.body.matches("event: ").count() == 5 && !cut.body.ends_with("\n\n"));
}

#[tokio::test]
async fn a_stream_cut_after_its_last_event_lacks_only_its_end() {
    let simulator = start().await;
    let whole = say(&simulator, "sim:say=\"hi\"").await;
    let count = whole.kinds().len();
    let cut = say(&simulator, &format!("sim:say=\"hi\" sim:cut={count}")).await;
    assert_eq!((cut.kinds(), cut.whole), (whole.kinds(), false));
}

#[tokio::test]
async fn bytes_are_counted_to_the_byte() {
    let simulator = start().await;
    let stream = say(&simulator, "hello sim:cutbytes=100").await;
    assert_eq!((stream.body.len(), stream.whole), (100, false));
    let body = json!({"model": "m", "input": "hello sim:cutbytes=10"});
    let object = post(&simulator, "/v1/responses", &body).await;
    assert_eq!((object.body.len(), object.whole), (10, false));
}

#[tokio::test]
async fn a_stream_may_end_cleanly_without_its_last_event() {
    let simulator = start().await;
    let answer = say(&simulator, "hello sim:eof=3").await;
    let kinds = ["response.created", "response.in_progress", "response.output_item.added"];
    assert_eq!(answer.kinds(), kinds);
    assert!(answer.whole);
}

#[tokio::test]
async fn a_dropped_request_gets_no_byte() {
    let simulator = start().await;
    let body = json!({"model": "m", "input": "sim:drop"}).to_string();
    assert_eq!(send(&simulator, &request("POST", "/v1/responses", &body)).await, None);
    assert_eq!(simulator.bill().exchanges[0].status, 0);
}

#[tokio::test]
async fn a_stalled_stream_stays_open_until_the_simulator_stops() {
    let simulator = start().await;
    let mut stream = TcpStream::connect(simulator.address()).await.unwrap();
    let body = json!({"model": "m", "stream": true, "input": "sim:stall=1"}).to_string();
    stream.write_all(request("POST", "/v1/responses", &body).as_bytes()).await.unwrap();
    let mut seen = String::new();
    while !seen.contains("\n\n") {
        seen.push(char::from(stream.read_u8().await.unwrap()));
    }
    let mut rest = Vec::new();
    let silence = timeout(Duration::from_millis(20), stream.read_to_end(&mut rest)).await;
    assert!(silence.is_err());
    simulator.stop().await;
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(!String::from_utf8(rest).unwrap().contains("response.in_progress"));
}

#[tokio::test]
async fn waits_are_waited() {
    let simulator = start().await;
    let begun = Instant::now();
    say(&simulator, "sim:delay=10ms sim:first=10ms sim:pace=1ms sim:eof=6").await;
    assert!(begun.elapsed() >= Duration::from_millis(25));
}

#[tokio::test]
async fn a_failed_response_ends_so() {
    let simulator = start().await;
    let prompt = r#"sim:fail=server_error sim:message="gone""#;
    let answer = say(&simulator, prompt).await;
    let kinds = ["response.created", "response.in_progress", "response.failed"];
    assert_eq!(answer.kinds(), kinds);
    let response = &answer.events()[2]["response"];
    assert_eq!(response["status"], "failed");
    assert_eq!(response["error"], json!({"code": "server_error", "message": "gone"}));
    assert_eq!(response["usage"], json!(null));
}

#[tokio::test]
async fn a_failed_completion_is_an_error_in_either_form() {
    let simulator = start().await;
    let body = |stream: bool| {
        let content = r#"sim:fail=server_error sim:message="gone""#;
        let messages = json!([{"role": "user", "content": content}]);
        json!({"model": "m", "stream": stream, "messages": messages})
    };
    let object = post(&simulator, "/v1/chat/completions", &body(false)).await;
    let stream = post(&simulator, "/v1/chat/completions", &body(true)).await;
    let error =
        json!({"message": "gone", "type": "server_error", "param": null, "code": "server_error"});
    assert_eq!((object.status, object.json()["error"].clone()), (500, error.clone()));
    assert_eq!((stream.status, stream.events()[1]["error"].clone()), (200, error));
}

#[tokio::test]
async fn an_incomplete_response_says_why() {
    let simulator = start().await;
    let answer = say(&simulator, "sim:incomplete=max_output_tokens").await;
    let last = answer.events().pop().unwrap();
    assert_eq!(last["type"], "response.incomplete");
    assert_eq!(last["response"]["incomplete_details"], json!({"reason": "max_output_tokens"}));
    assert_eq!(last["response"]["output"][0]["status"], "incomplete");
}

#[tokio::test]
async fn quirks_change_the_form_and_nothing_else() {
    let simulator = start().await;
    let plain = say(&simulator, "sim:say=\"hi\"").await;
    let comment = say(&simulator, "sim:say=\"hi\" sim:comment sim:trailing").await;
    assert_eq!(comment.body.matches(": ping\n\n").count(), plain.kinds().len());
    assert!(comment.body.ends_with("\n\n: trailing\n\n"));
    let crlf = say(&simulator, "sim:say=\"hi\" sim:crlf").await;
    assert!(crlf.body.starts_with("event: response.created\r\ndata: {"));
    assert!(crlf.body.ends_with("}\r\n\r\n"));
    let bare = say(&simulator, "sim:say=\"hi\" sim:noevent").await;
    assert!(!bare.body.contains("event:"));
    assert_eq!([comment.kinds(), crlf.kinds(), bare.kinds()], [(); 3].map(|()| plain.kinds()));
}

#[tokio::test]
async fn heads_may_lack_or_have_more() {
    let simulator = start().await;
    let body = json!({"model": "m", "input": r#"sim:nolength sim:notype sim:header="x-a: b""#});
    let answer = post(&simulator, "/v1/responses", &body).await;
    assert_eq!(answer.header("content-length"), None);
    assert_eq!(answer.header("content-type"), None);
    assert_eq!(answer.header("x-a"), Some("b"));
    assert_eq!(answer.json()["status"], "completed");
}

#[tokio::test]
async fn a_word_that_is_not_understood_is_an_error() {
    let simulator = start().await;
    for prompt in ["sim:stattus=429", "sim:status=99", "sim:delay=2h", "sim:args=\"{}\"", "sim:"] {
        let answer = say(&simulator, prompt).await;
        assert_eq!(
            (answer.status, answer.json()["error"]["code"].clone()),
            (400, json!("simulate_directive"))
        );
    }
}
