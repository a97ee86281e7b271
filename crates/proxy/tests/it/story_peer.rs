//! Who asks, behind load balancers.

use tokio::net::TcpStream;

use crate::harness::authority::{Authority, Manners};
use crate::harness::client::{Answer, request};
use crate::harness::{Gateway, Raw, Recording, recording, simulator, url};

/// A version 2 header (its §2.2) from 198.51.100.7, port 4711, with a TLV behind the addresses.
const VERSION_2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xc6\x33\x64\x07\x7f\0\0\x01\x12\x67\0\x50\x04\0\x01\0";
/// Nobody's: the load balancer looks whether we are alive.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

const STRANGER: (&str, &str) = ("authorization", "Bearer cpk_of_a_stranger");

/// Sends these bytes, then a question with these headers.
async fn ask_behind(gateway: &Gateway, first: &[u8], headers: &[(&str, &str)]) -> Answer {
    let mut client = Raw::connect(gateway.address).await;
    client.send(first).await;
    client.send(request("GET", "/v1/models", headers, "").as_bytes()).await;
    client.answer().await
}

/// Who was refused, and for what, as the diagnostics tell it.
fn refused(said: &str) -> Vec<String> {
    let lines = said.lines().filter_map(|line| line.split_once("somebody was refused "));
    lines.map(|(_, fields)| fields.replace(" unnamed=0", "")).collect()
}

#[tokio::test]
async fn a_stranger_behind_load_balancers_is_named() {
    let simulator = simulator().await;
    let settings = [
        ("CODEX_PROXY_PROXY_PROTOCOL", "127.0.0.0/8"),
        ("CODEX_PROXY_TRUSTED_PROXIES", "198.51.100.0/24, 127.0.0.1"),
    ];
    let gateway = Gateway::start_with(&url(&simulator), &settings);
    let version_1 = b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 80\r\n";
    let forwarded = ("x-forwarded-for", "192.0.2.1, 203.0.113.10");
    for (first, headers) in [
        (&version_1[..], &[STRANGER][..]),
        // Not trusted: what it forwards is not believed.
        (version_1, &[STRANGER, forwarded]),
        (VERSION_2, &[STRANGER, forwarded]),
        (VERSION_2, &[STRANGER]),
        (LOCAL, &[STRANGER]),
    ] {
        assert_eq!(ask_behind(&gateway, first, headers).await.status, 401);
    }
    // Without a header there is no answer.
    let mut client = Raw::connect(gateway.address).await;
    client.send(request("GET", "/v1/models", &[STRANGER], "").as_bytes()).await;
    assert_eq!(client.piece().await, b"");

    let (_, _, said) = gateway.stop();
    let expected = [
        "client=203.0.113.9 refusal=\"key_unknown\"",
        "client=203.0.113.9 refusal=\"key_unknown\"",
        "client=203.0.113.10 refusal=\"key_unknown\"",
        "client=198.51.100.7 refusal=\"key_unknown\"",
        "client=127.0.0.1 refusal=\"key_unknown\"",
        "client=127.0.0.1 refusal=\"no PROXY header\"",
    ];
    assert_eq!(refused(&said), expected);
    simulator.stop().await;
}

#[tokio::test]
async fn a_header_from_anybody_else_is_no_http_and_names_nobody() {
    let upstream = Recording::start(vec![recording::whole("application/json", "{}")]).await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com").value;
    let answer = ask_behind(&gateway, b"PROXY TCP4 203.0.113.9 127.0.0.1 1 2\r\n", &[]).await;
    assert_eq!(answer.status, 400);

    let forwarded = ("x-forwarded-for", "203.0.113.9");
    assert_eq!(ask_behind(&gateway, b"", &[STRANGER, forwarded]).await.status, 401);
    // To the upstream it goes as it came.
    let authorization = format!("Bearer {key}");
    let known = ("authorization", authorization.as_str());
    assert_eq!(ask_behind(&gateway, b"", &[known, forwarded]).await.status, 200);
    let sent = String::from_utf8(upstream.requests().concat()).unwrap();
    assert!(sent.contains("\r\nx-forwarded-for: 203.0.113.9\r\n"), "{sent}");
    let (_, _, said) = gateway.stop();
    assert_eq!(refused(&said), ["client=127.0.0.1 refusal=\"key_unknown\""]);
}

#[tokio::test]
async fn a_header_stands_before_tls_and_may_come_in_pieces() {
    let (simulator, authority) = (simulator().await, Authority::new());
    let folder = tempfile::tempdir().unwrap();
    authority.sign("gateway").write(folder.path());
    let settings = [
        ("CODEX_PROXY_TLS_CERTIFICATE", "tls.pem"),
        ("CODEX_PROXY_TLS_KEY", "tls.key"),
        ("CODEX_PROXY_PROXY_PROTOCOL", "127.0.0.1"),
    ];
    let gateway = Gateway::start_in(folder, &url(&simulator), &settings);
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in VERSION_2 {
        tokio::io::AsyncWriteExt::write_all(&mut stream, &[*byte]).await.unwrap();
    }
    let secured = authority.secure(stream, Manners::default()).await.unwrap();
    let mut client = Raw::over(secured);
    client.send(request("GET", "/v1/models", &[STRANGER], "").as_bytes()).await;
    assert_eq!(client.answer().await.status, 401);
    let (_, _, said) = gateway.stop();
    assert_eq!(refused(&said), ["client=198.51.100.7 refusal=\"key_unknown\""]);
    simulator.stop().await;
}
