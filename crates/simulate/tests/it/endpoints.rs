//! The other operations, and the connection itself.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{get, post, request, say, send, start, start_with};

#[tokio::test]
async fn another_key_is_refused_as_the_api_refuses_it() {
    let simulator = start_with(Some("sk-right")).await;
    let answer = say(&simulator, "hello").await;
    let message = "Incorrect API key provided: ************. You can find your API key at \
                   https://platform.openai.com/account/api-keys.";
    let error = json!({
        "message": message,
        "type": "invalid_request_error",
        "param": null,
        "code": "invalid_api_key",
    });
    assert_eq!((answer.status, answer.json()), (401, json!({"error": error})));
    assert_eq!(simulator.bill().exchanges, []);
}

#[tokio::test]
async fn the_right_key_is_served() {
    let simulator = start_with(Some("sk-test-abcd")).await;
    assert_eq!(say(&simulator, "hello").await.status, 200);
}

#[tokio::test]
async fn what_is_not_json_is_refused() {
    let simulator = start().await;
    for path in ["/v1/responses", "/v1/chat/completions", "/v1/embeddings"] {
        for body in ["", "{", "[]", "\"x\"", "{\"model\":\"m\"} x", "\u{1}\u{2}"] {
            let answer = send(&simulator, &request("POST", path, body)).await.unwrap();
            let kind = answer.json()["error"]["type"].clone();
            assert_eq!((answer.status, kind), (400, json!("invalid_request_error")), "{body}");
        }
    }
}

#[tokio::test]
async fn odd_bodies_are_answered() {
    let simulator = start().await;
    let deep = format!("{{\"model\":\"m\",\"input\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    let odd = [
        deep.as_str(),
        r#"{"model":"m"}"#,
        r#"{"model":"m","input":7,"tools":{},"reasoning":[],"include":1}"#,
        r#"{"model":"m","input":[null,1,{"role":1},{"role":"user","content":[1,{"text":2}]}]}"#,
        r#"{"model":"m","input":1e999,"stream":"yes","model":"n"}"#,
        r#"{"model":"m","input":"sim:header=\"\u0000\" "}"#,
        r#"{"model":"\ud800","input":""}"#,
    ];
    for body in odd {
        let answer = send(&simulator, &request("POST", "/v1/responses", body)).await.unwrap();
        assert!(matches!(answer.status, 200 | 400) && answer.whole, "{body}");
    }
}

#[tokio::test]
async fn nobody_has_the_model_nope() {
    let simulator = start().await;
    let answer = post(&simulator, "/v1/responses", &json!({"model": "nope", "input": ""})).await;
    let code = answer.json()["error"]["code"].clone();
    assert_eq!((answer.status, code), (404, json!("model_not_found")));
}

#[tokio::test]
async fn what_is_nowhere_is_not_found() {
    let simulator = start().await;
    let answer = get(&simulator, "/v1/nowhere").await;
    let message = answer.json()["error"]["message"].clone();
    assert_eq!((answer.status, message), (404, json!("Invalid URL (GET /v1/nowhere)")));
}

#[tokio::test]
async fn an_operation_may_stand_below_a_prefix() {
    let simulator = start().await;
    let body = json!({"model": "m", "input": "hello"});
    let answer = post(&simulator, "/openai/deployments/x/responses?api-version=1", &body).await;
    assert_eq!(answer.json()["object"], "response");
}

#[tokio::test]
async fn a_response_can_be_read_again() {
    let simulator = start().await;
    let made = say(&simulator, "hello").await.events().pop().unwrap()["response"].clone();
    let path = format!("/v1/responses/{}", made["id"].as_str().unwrap());
    assert_eq!(get(&simulator, &path).await.json(), made);
    assert_eq!(get(&simulator, "/v1/responses/resp_other").await.status, 404);
}

#[tokio::test]
async fn models_are_listed_for_either_kind_of_client() {
    let simulator = start().await;
    let list = get(&simulator, "/v1/models").await.json();
    assert_eq!(list["data"][0]["object"], "model");
    let catalogue = get(&simulator, "/v1/models?client_version=0.169.0").await.json();
    assert_eq!(catalogue["models"][0]["slug"], "gpt-6.1-sol");
    assert_eq!(get(&simulator, "/v1/models/gpt-5.5").await.json()["id"], "gpt-5.5");
    assert_eq!(get(&simulator, "/v1/models/nope").await.status, 404);
}

#[tokio::test]
async fn embeddings_come_in_either_encoding() {
    let simulator = start().await;
    let body = json!({"model": "e", "input": ["a", "b"], "dimensions": 4});
    let floats = post(&simulator, "/v1/embeddings", &body).await.json();
    let data = floats["data"].as_array().unwrap();
    assert_eq!(data.iter().map(|d| d["embedding"].as_array().unwrap().len()).sum::<usize>(), 8);
    let body = json!({"model": "e", "input": "a", "dimensions": 4, "encoding_format": "base64"});
    let coded = post(&simulator, "/v1/embeddings", &body).await.json();
    assert_eq!(coded["data"][0]["embedding"].as_str().unwrap().len(), 24);
    assert_eq!(simulator.bill().exchanges[0].endpoint, "embeddings");
}

#[tokio::test]
async fn a_file_is_counted() {
    let simulator = start().await;
    let body = "x".repeat(300_000);
    let answer = send(&simulator, &request("POST", "/v1/files", &body)).await.unwrap().json();
    assert_eq!((&answer["object"], &answer["bytes"]), (&json!("file"), &json!(300_000)));
}

#[tokio::test]
async fn requests_are_remembered_as_they_came() {
    let simulator = start().await;
    let body = json!({"model": "m", "input": "hello"}).to_string();
    send(&simulator, &request("POST", "/v1/responses?a=b", &body)).await;
    let seen = json!([{
        "method": "POST",
        "path": "/v1/responses?a=b",
        "headers": [
            ["connection", "close"],
            ["host", "simulated"],
            ["authorization", "Bearer sk-test-abcd"],
            ["content-length", body.len().to_string()],
        ],
        "body_length": body.len(),
        "body_start": body,
    }]);
    assert_eq!(get(&simulator, "/simulate/requests").await.json(), seen);
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let simulator = start().await;
    let mut stream = TcpStream::connect(simulator.address()).await.unwrap();
    for _ in 0..3 {
        let asked = request("GET", "/v1/models/gpt-5.5", "");
        stream.write_all(asked.as_bytes()).await.unwrap();
        let mut answer = String::new();
        while !answer.ends_with("\"openai\"}") {
            answer.push(char::from(stream.read_u8().await.unwrap()));
        }
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

#[tokio::test]
async fn http_2_is_served_without_tls() {
    let simulator = start().await;
    let stream = TcpStream::connect(simulator.address()).await.unwrap();
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    let body = json!({"model": "m", "input": "hello"}).to_string();
    let asked = http::Request::post("http://simulated/v1/responses");
    let asked = asked.body(Full::new(Bytes::from(body))).unwrap();
    let answer = async {
        let answer = sender.send_request(asked).await.unwrap();
        answer.into_body().collect().await.unwrap().to_bytes()
    };
    let bytes = tokio::select! {
        bytes = answer => bytes,
        ended = connection => unreachable!("the connection ended: {ended:?}"),
    };
    let answer: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(answer["status"], "completed");
}
