//! TLS towards clients.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::harness::authority::{Authority, Manners};
use crate::harness::client::{ask, request};
use crate::harness::gateway::run;
use crate::harness::{Gateway, Raw, simulator, url};

const PAIR: [(&str, &str); 2] =
    [("CODEX_PROXY_TLS_CERTIFICATE", "tls.pem"), ("CODEX_PROXY_TLS_KEY", "tls.key")];

const ASKED: &str = r#"{"model":"gpt-5.5","stream":true,"input":"hello"}"#;

/// A folder with a certificate of this authority in it.
fn folder(authority: &Authority) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    authority.sign("gateway").write(folder.path());
    folder
}

fn question(key: &str) -> String {
    let authorization = format!("Bearer {key}");
    request("POST", "/v1/responses", &[("authorization", &authorization)], ASKED)
}

#[tokio::test]
async fn an_exchange_over_tls_is_the_same_journey_in_every_version() {
    let (simulator, authority) = (simulator().await, Authority::new());
    let gateway = Gateway::start_in(folder(&authority), &url(&simulator), &PAIR);
    let key = gateway.key("ada@example.com").value;

    let old = Manners { version: Some(&rustls::version::TLS12), ..Manners::default() };
    let new = Manners { offers: &["http/1.1"], ..Manners::default() };
    let mut lengths = Vec::new();
    for manners in [old, new] {
        let stream = authority.connect(gateway.address, manners).await.unwrap();
        let mut client = Raw::over(stream);
        // Twice on one connection.
        for _ in 0..2 {
            client.send(question(&key).as_bytes()).await;
            let answer = client.answer().await;
            assert_eq!((answer.status, answer.broken), (200, false));
            lengths.push(answer.body.len());
        }
    }
    let two = Manners { offers: &["h2", "http/1.1"], ..Manners::default() };
    let stream = authority.connect(gateway.address, two).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    lengths.push(over_http2(stream, &key).await);

    let records = gateway.records();
    let seen = records.iter().map(|r| (r["outcome"].clone(), r["response_bytes"].clone()));
    let expected = lengths.iter().map(|length| (json!("complete"), json!(length)));
    assert_eq!(seen.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    let (_, well, said) = gateway.stop();
    assert!(well && said.contains("listens on https://127.0.0.1:"), "{said}");
    simulator.stop().await;
}

/// Asks once; how long the answer's body is.
async fn over_http2(stream: tokio_rustls::client::TlsStream<TcpStream>, key: &str) -> usize {
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(connection);
    let request = http::Request::post("https://127.0.0.1/v1/responses")
        .header("authorization", format!("Bearer {key}"))
        .body(Full::new(Bytes::from(ASKED)));
    let answer = sender.send_request(request.unwrap()).await.unwrap();
    answer.into_body().collect().await.unwrap().to_bytes().len()
}

#[tokio::test]
async fn who_speaks_no_tls_is_told_and_who_says_nothing_holds_nobody_up() {
    let (simulator, authority) = (simulator().await, Authority::new());
    let gateway = Gateway::start_in(folder(&authority), &url(&simulator), &PAIR);
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(gateway.address).await.unwrap());
    }
    let answer = ask(gateway.address, "GET", "/v1/models", &[], "").await;
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].clone()),
        (400, json!("bad_request"))
    );
    assert_eq!(answer.json()["error"]["message"], "TLS is spoken here: use https://.");

    let stream = authority.connect(gateway.address, Manners::default()).await.unwrap();
    let mut client = Raw::over(stream);
    client.send(request("GET", "/healthz", &[], "").as_bytes()).await;
    assert_eq!(client.answer().await.text(), "alive\n");
    simulator.stop().await;
}

#[tokio::test]
async fn clients_show_certificates_where_they_must_and_right_ones_where_they_may() {
    let (simulator, authority, stranger) = (simulator().await, Authority::new(), Authority::new());
    let (known, unknown) = (authority.sign("ada"), stranger.sign("eve"));
    let mut outcomes = Vec::new();
    for demand in ["required", "optional"] {
        let folder = folder(&authority);
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        let more =
            [("CODEX_PROXY_TLS_CLIENT_CA", "ca.pem"), ("CODEX_PROXY_TLS_CLIENT_AUTH", demand)];
        let settings = [PAIR, more].concat();
        let gateway = Gateway::start_in(folder, &url(&simulator), &settings);
        for shows in [None, Some(&known), Some(&unknown)] {
            let manners = Manners { shows, ..Manners::default() };
            let stream = authority.connect(gateway.address, manners).await.unwrap();
            // With TLS 1.3 a client learns that it was refused when it reads.
            let mut client = Raw::over(stream);
            client.send(request("GET", "/healthz", &[], "").as_bytes()).await;
            outcomes.push(client.piece().await.starts_with(b"HTTP/1.1 200"));
        }
    }
    assert_eq!(outcomes, [false, true, false, true, true, false]);
    simulator.stop().await;
}

#[tokio::test]
async fn files_that_are_not_right_are_told_before_anything_listens() {
    let authority = Authority::new();
    let folder = folder(&authority);
    let other = authority.sign("another");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("other.key", &other.key);
    write("empty.pem", "");
    let check = |tls: &str| {
        write("codex-proxy.toml", &format!("[tls]\n{tls}"));
        let output = run(folder.path(), &["config", "check"]);
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said.trim_end().to_owned())
    };
    let wrong = |said: &str| (Some(2), format!("error: {said}"));

    assert_eq!(
        check("certificate = 'tls.pem'\nkey = 'tls.key'"),
        (Some(0), "the configuration is right".to_owned())
    );
    assert_eq!(
        check("key = 'tls.key'"),
        wrong(
            "codex-proxy.toml:2:1: tls.key is set and tls.certificate is not: one is nothing without the other"
        )
    );
    assert_eq!(
        check("certificate = 'tls.pem'\nkey = 'other.key'"),
        wrong(
            "the certificate in tls.pem and the key in other.key do not go together: keys may not be consistent: KeyMismatch"
        )
    );
    assert_eq!(
        check("certificate = 'empty.pem'\nkey = 'tls.key'"),
        wrong("tls.certificate: no certificate is in empty.pem: it must be PEM")
    );
    assert_eq!(
        check("certificate = 'tls.pem'\nkey = 'empty.pem'"),
        wrong("tls.key: reading a private key from empty.pem: none is in it, as PEM")
    );
    assert_eq!(
        check("certificate = 'tls.pem'\nkey = 'nowhere.key'"),
        wrong(
            "tls.key: reading a private key from nowhere.key: No such file or directory (os error 2)"
        )
    );
    let settings =
        [("CODEX_PROXY_TLS_CERTIFICATE", "tls.pem"), ("CODEX_PROXY_TLS_KEY", "other.key")];
    write("codex-proxy.toml", "");
    let started = Gateway::try_launch(folder, "http://127.0.0.1:9/v1", &settings, &[]);
    let (folder, said) = started.err().unwrap();
    assert!(said.contains("do not go together"), "{said}");
    assert!(!folder.path().join("data").exists());
}
