//! Answers, whole.

use serde_json::{Value, json};

use crate::harness::{Answer, get, post, say, start};

/// What a CLI of the newest style asks: the tools stand in the input.
fn lite(prompt: &str) -> Value {
    json!({
        "model": "gpt-6.1-sol",
        "stream": true,
        "input": [
            {"type": "additional_tools", "role": "developer", "tools": [
                {"type": "namespace", "name": "functions", "tools": [
                    {"type": "custom", "name": "exec"},
                ]},
            ]},
            {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": prompt},
            ]},
        ],
    })
}

#[tokio::test]
async fn a_streamed_response_has_the_events_of_the_api() {
    let simulator = start().await;
    let body = json!({
        "model": "gpt-5.5",
        "stream": true,
        "instructions": "be\nbrief",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "good morning"}]}],
        "tools": [{"type": "function", "name": "look", "parameters": {"z": 1, "a": 2}}],
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
    });
    let answer = post(&simulator, "/v1/responses", &body).await;
    insta::assert_snapshot!(render(&answer));
}

#[tokio::test]
async fn a_response_is_one_object_without_stream() {
    let simulator = start().await;
    let body = json!({"model": "gpt-5.5", "input": "good morning", "metadata": {"team": "blue"}});
    insta::assert_snapshot!(render(&post(&simulator, "/v1/responses", &body).await));
}

#[tokio::test]
async fn a_custom_tool_runs_the_command_where_the_tools_stand_in_the_input() {
    let simulator = start().await;
    let answer = post(&simulator, "/v1/responses", &lite(r#"sim:shell="echo \"hi\"""#)).await;
    insta::assert_snapshot!(render(&answer));
}

#[tokio::test]
async fn a_streamed_completion_has_the_chunks_of_the_api() {
    let simulator = start().await;
    let body = json!({
        "model": "gpt-5.5",
        "stream": true,
        "stream_options": {"include_usage": true},
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": r#"sim:tool="look" sim:args="{\"at\":\"the sky\"}""#},
        ],
        "tools": [{"type": "function", "function": {"name": "look"}}],
    });
    insta::assert_snapshot!(render(&post(&simulator, "/v1/chat/completions", &body).await));
}

#[tokio::test]
async fn a_completion_is_one_object_without_stream() {
    let simulator = start().await;
    let body = json!({
        "model": "gpt-5.5",
        "reasoning_effort": "high",
        "messages": [
            {"role": "user", "content": r#"sim:shell="ls""#},
            {"role": "assistant", "tool_calls": []},
            {"role": "tool", "tool_call_id": "call_1", "content": "a.txt"},
        ],
    });
    insta::assert_snapshot!(render(&post(&simulator, "/v1/chat/completions", &body).await));
}

#[tokio::test]
async fn after_the_tool_has_answered_the_model_goes_on_with_text() {
    let simulator = start().await;
    let user = json!({"role": "user", "content": r#"sim:shell="ls" sim:say="seen""#});
    let output = json!({"type": "function_call_output", "call_id": "call_1", "output": "a.txt"});
    let again = json!({"role": "user", "content": r#"sim:shell="ls""#});
    let first = json!({"model": "m", "input": [user]});
    let second = json!({"model": "m", "input": [user, output]});
    let third = json!({"model": "m", "input": [user, output, again]});
    let mut kinds = Vec::new();
    for body in [first, second, third] {
        let answer = post(&simulator, "/v1/responses", &body).await.json();
        kinds.push(answer["output"][0]["type"].clone());
    }
    assert_eq!(kinds, ["function_call", "message", "function_call"]);
}

#[tokio::test]
async fn several_tools_are_called_in_one_answer() {
    let simulator = start().await;
    let prompt = r#"sim:tool="a" sim:args="{}" sim:custom="b" sim:input="two words""#;
    let answer = say(&simulator, prompt).await;
    let done: Vec<Value> = answer
        .events()
        .into_iter()
        .filter(|event| event["type"] == "response.output_item.done")
        .map(|event| json!([event["item"]["name"], event["item"]["input"]]))
        .collect();
    assert_eq!(done, [json!(["a", null]), json!(["b", "two words"])]);
}

#[tokio::test]
async fn a_conversation_is_made_small_where_that_is_asked() {
    let simulator = start().await;
    let user = json!({"role": "user", "content": "hello"});
    let body = json!({"model": "m", "input": [user, {"type": "compaction_trigger"}]});
    let output = post(&simulator, "/v1/responses", &body).await.json()["output"].clone();
    let kinds: Vec<_> = output.as_array().unwrap().iter().map(|item| &item["type"]).collect();
    assert_eq!(kinds, ["compaction"]);
    assert_eq!(output[0]["encrypted_content"].as_str().unwrap().len(), 400);
}

#[tokio::test]
async fn the_same_requests_get_the_same_bytes() {
    let mut told = Vec::new();
    for _ in 0..2 {
        let simulator = start().await;
        let first = say(&simulator, "hello sim:reasoning=9").await;
        let second = say(&simulator, "hello sim:words=30").await;
        told.push((first, second, get(&simulator, "/simulate/bill").await));
    }
    assert_eq!(told[0], told[1]);
}

#[tokio::test]
async fn a_reset_simulator_answers_as_a_new_one() {
    let simulator = start().await;
    let new = say(&simulator, "hello").await;
    post(&simulator, "/simulate/reset", &json!({})).await;
    assert_eq!(say(&simulator, "hello").await, new);
}

#[tokio::test]
async fn texts_are_as_long_as_asked() {
    let simulator = start().await;
    let words = say(&simulator, "sim:words=200").await.events();
    let huge = say(&simulator, "sim:huge=100KiB").await.events();
    let event = say(&simulator, "sim:event=1MiB").await.events();
    let text = |events: &[Value]| {
        let item = &events.last().unwrap()["response"]["output"][0];
        item["content"][0]["text"].as_str().unwrap().to_owned()
    };
    let deltas = |events: &[Value]| {
        let is_delta = |event: &&Value| event["type"] == "response.output_text.delta";
        events.iter().filter(is_delta).count()
    };
    assert_eq!((text(&words).split(' ').count(), deltas(&words)), (200, 67));
    assert_eq!((text(&huge).len(), deltas(&huge)), (100 << 10, 7));
    assert_eq!((text(&event).len(), deltas(&event)), (1 << 20, 1));
}

/// Status, headers and body as text.
fn render(answer: &Answer) -> String {
    let headers = answer.headers.iter().map(|(name, value)| format!("{name}: {value}\n"));
    format!("{}\n{}\n{}", answer.status, headers.collect::<String>(), answer.body)
}
