//! The bill is what the answers say, also where they say nothing.

use serde_json::json;
use simulate::{Billed, Simulator};

use crate::harness::{get, post, say, start};

fn tokens(billed: &Billed) -> [u64; 6] {
    [
        billed.input_tokens,
        billed.cached_input_tokens,
        billed.cache_write_tokens,
        billed.output_tokens,
        billed.reasoning_tokens,
        billed.total_tokens,
    ]
}

fn last(simulator: &Simulator) -> Billed {
    simulator.bill().exchanges.pop().unwrap()
}

#[tokio::test]
async fn a_bill_has_what_the_answer_says() {
    let simulator = start().await;
    let answer = say(&simulator, "hello sim:reasoning=200 sim:tier=flex sim:model=other").await;
    let response = answer.events().pop().unwrap()["response"].clone();
    let usage = answer.usage();
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    let billed = Billed {
        response_id: response["id"].as_str().unwrap().to_owned(),
        endpoint: "responses".to_owned(),
        model: "other".to_owned(),
        service_tier: "flex".to_owned(),
        input_tokens: number(&usage["input_tokens"]),
        cached_input_tokens: 0,
        cache_write_tokens: 0,
        output_tokens: number(&usage["output_tokens"]),
        reasoning_tokens: 200,
        total_tokens: number(&usage["total_tokens"]),
        status: 200,
        bearer_suffix: "abcd".to_owned(),
    };
    assert_eq!(simulator.bill().exchanges, [billed]);
    assert_eq!(response["model"], "other");
    assert_eq!(response["service_tier"], "flex");
    assert_eq!(answer.header("openai-model"), Some("other"));
}

#[tokio::test]
async fn chat_is_billed_by_its_own_names() {
    let simulator = start().await;
    let messages = json!([{"role": "user", "content": "hello"}]);
    let body = json!({"model": "m", "messages": messages, "service_tier": "priority"});
    let answer = post(&simulator, "/v1/chat/completions", &body).await.json();
    let billed = last(&simulator);
    assert_eq!(answer["id"], billed.response_id);
    assert_eq!(answer["usage"]["prompt_tokens"], billed.input_tokens);
    assert_eq!(answer["usage"]["completion_tokens"], billed.output_tokens);
    assert_eq!(billed.service_tier, "priority");
    assert_eq!(billed.endpoint, "chat/completions");
}

#[tokio::test]
async fn a_conversation_seen_before_is_cached_in_steps_of_128() {
    let simulator = start().await;
    let body = |text: &str| json!({"model": "m", "input": text, "prompt_cache_key": "thread"});
    let long = "x".repeat(2000);
    post(&simulator, "/v1/responses", &body(&long)).await;
    post(&simulator, "/v1/responses", &body(&format!("{long}{long}"))).await;
    post(&simulator, "/v1/responses", &body("short")).await;
    let bill = simulator.bill();
    let cached: Vec<_> =
        bill.exchanges.iter().map(|b| (b.input_tokens, b.cached_input_tokens)).collect();
    assert_eq!(cached, [(507, 0), (1007, 384), (9, 0)]);
}

#[tokio::test]
async fn the_script_may_say_what_was_used() {
    let simulator = start().await;
    let prompt = "sim:input_tokens=1000 sim:cached=512 sim:cache_write=64 sim:output_tokens=50";
    let answer = say(&simulator, prompt).await;
    assert_eq!(tokens(&last(&simulator)), [1000, 512, 64, 50, 0, 1050]);
    let details = &answer.usage()["input_tokens_details"];
    assert_eq!(*details, json!({"cached_tokens": 512, "cache_write_tokens": 64}));
}

#[tokio::test]
async fn a_silent_answer_is_billed_all_the_same() {
    let simulator = start().await;
    let answer = say(&simulator, "sim:usage=none sim:output_tokens=5 sim:input_tokens=3").await;
    assert_eq!(answer.usage(), json!(null));
    assert_eq!(tokens(&last(&simulator)), [3, 0, 0, 5, 0, 8]);
}

#[tokio::test]
async fn what_was_cut_is_billed_and_what_was_refused_is_not() {
    let simulator = start().await;
    say(&simulator, "hello sim:cut=3").await;
    say(&simulator, "hello sim:status=429").await;
    say(&simulator, "hello sim:fail=server_error").await;
    let bill = simulator.bill();
    let billed: Vec<_> = bill.exchanges.iter().map(|b| (b.status, b.total_tokens > 0)).collect();
    assert_eq!(billed, [(200, true), (429, false), (200, false)]);
}

#[tokio::test]
async fn the_bill_over_http_is_the_same_and_has_a_sum() {
    let simulator = start().await;
    say(&simulator, "sim:input_tokens=10 sim:output_tokens=1").await;
    say(&simulator, "sim:input_tokens=20 sim:cached=5 sim:output_tokens=2").await;
    let told = get(&simulator, "/simulate/bill").await.json();
    assert_eq!(told["exchanges"], serde_json::to_value(simulator.bill().exchanges).unwrap());
    let sum = json!({
        "input_tokens": 30,
        "cached_input_tokens": 5,
        "cache_write_tokens": 0,
        "output_tokens": 3,
        "reasoning_tokens": 0,
        "total_tokens": 33,
    });
    assert_eq!(told["sum"], sum);
}
