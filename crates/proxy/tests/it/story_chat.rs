//! Chat streams whose client did not ask for their usage.

use serde_json::json;

use crate::harness::client::post;
use crate::harness::recording::{chunk, stream_head, whole};
use crate::harness::{Gateway, Recording};

const BODY: &str =
    r#"{ "model":"gpt-5.5", "stream":true, "messages":[{"role":"user","content":"say hi"}] }"#;
const TEXT: &str = "data: {\"id\":\"c\",\"model\":\"gpt-5.5\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi there\"}}],\"usage\":null}\r\n\r\n";
const USAGE: &str = "data: {\"id\":\"c\",\"model\":\"gpt-5.5\",\"choices\":[],\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":10}}\r\n\r\n";
const DONE: &str = "data: [DONE]\r\n\r\n";

fn body(request: &[u8]) -> String {
    String::from_utf8_lossy(request).split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[tokio::test]
async fn usage_is_asked_for_and_kept_from_who_did_not_ask() {
    // Cut in the middle of the chunk, as networks do.
    let (first, second) = USAGE.split_at(40);
    let steps = [&format!("{TEXT}{first}"), second, DONE, ""].map(chunk).into_iter();
    let upstream = Recording::start([stream_head()].into_iter().chain(steps).collect()).await;
    let gateway = Gateway::start_with(&upstream.url(), &[("CODEX_PROXY_CHAT_USAGE", "inject")]);
    let key = gateway.key("ada@example.com");

    let answer = post(gateway.address, "/v1/chat/completions", &key.value, BODY).await;

    assert_eq!(answer.text(), format!("{TEXT}{DONE}"));
    let asked = BODY.replace(" }", r#" ,"stream_options":{"include_usage":true}}"#);
    assert_eq!(body(&upstream.requests()[0]), asked);
    // What is on record is what the upstream saw and said.
    let record = gateway.records().remove(0);
    let id = record["id"].as_str().unwrap();
    assert_eq!(String::from_utf8(gateway.raw(id, "request")).unwrap(), asked);
    assert_eq!(
        String::from_utf8(gateway.raw(id, "response")).unwrap(),
        format!("{TEXT}{USAGE}{DONE}")
    );
    assert_eq!(record["altered"], "translated");
    assert_eq!((&record["usage"], &record["total_tokens"]), (&json!("exact"), &json!(110)));
    assert_eq!(record["outcome"], "complete");

    // Who asks for it gets it, and nothing is changed.
    let answer = post(gateway.address, "/v1/chat/completions", &key.value, &asked).await;
    assert_eq!(answer.text(), format!("{TEXT}{USAGE}{DONE}"));
    assert_eq!(gateway.records()[1]["altered"], "none");
}

#[tokio::test]
async fn an_answer_that_is_no_stream_passes_as_it_is() {
    let error = r#"{"error":{"message":"no","choices":[]},"choices":[],"usage":{}}"#;
    let upstream = Recording::start(vec![whole("application/json", error)]).await;
    let gateway = Gateway::start_with(&upstream.url(), &[("CODEX_PROXY_CHAT_USAGE", "inject")]);
    let key = gateway.key("ada@example.com");
    let answer = post(gateway.address, "/v1/chat/completions", &key.value, BODY).await;
    assert_eq!(answer.text(), error);
}

#[tokio::test]
async fn without_it_usage_is_estimated_and_the_request_is_untouched() {
    let steps = [stream_head(), chunk(TEXT), chunk(DONE), chunk("")];
    let upstream = Recording::start(steps.to_vec()).await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");

    let answer = post(gateway.address, "/v1/chat/completions", &key.value, BODY).await;

    assert_eq!(
        (answer.text(), body(&upstream.requests()[0])),
        (format!("{TEXT}{DONE}"), BODY.to_owned())
    );
    let record = gateway.records().remove(0);
    assert_eq!((&record["usage"], &record["altered"]), (&json!("estimated"), &json!("none")));
    // "hi there".
    assert_eq!(record["output_tokens"], 2);
}
