//! No room: to record, or to buffer. Nothing is lost silently, and nobody waits for ever.

use serde_json::{Value, json};

use crate::harness::client::{self, ask, post, request};
use crate::harness::gateway::records;
use crate::harness::{Gateway, Raw, simulator, until, url};

const BODY: &str = r#"{"model":"gpt-5.5","input":"hi"}"#;

/// Bounds how long a file may grow: beyond, a write fails as on a full disk.
const FULL: [&str; 6] = ["prlimit", "--fsize=65536", "sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];

/// Text that does not compress well: so many hexadecimal digits.
fn noise(digits: usize) -> String {
    let mut state = 1u64;
    let next = |_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from_digit((state >> 60) as u32, 16).unwrap()
    };
    (0..digits).map(next).collect()
}

#[tokio::test]
async fn a_full_disk_refuses_new_exchanges_and_breaks_off_those_under_way() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let key = gateway.key("ada@example.com");
    let (folder, _, _) = gateway.stop();
    let gateway = Gateway::launch(folder, &url(&simulator), &[], &FULL);

    // One exchange has room; the next has room for its request alone, which its answer repeats.
    let first = post(gateway.address, "/v1/responses", &key.value, BODY).await;
    assert_eq!((first.status, first.broken), (200, false));
    let large = format!(
        "{{\"model\":\"gpt-5.5\",\"stream\":true,\"input\":\"hi\",\"instructions\":\"{}\"}}",
        noise(40_000)
    );
    let second = post(gateway.address, "/v1/responses", &key.value, &large).await;
    assert_eq!((second.status, second.broken), (200, true), "not recorded, so not complete");
    // From then on nothing large begins, and everybody is told.
    let third = post(gateway.address, "/v1/responses", &key.value, &large).await;
    assert_eq!((third.status, third.refusal()), (503, Some("busy")));
    assert_eq!(third.header("retry-after"), Some("2"));
    assert_eq!(ask(gateway.address, "GET", "/readyz", &[], "").await.status, 503);
    assert_eq!(simulator.bill().exchanges.len(), 2);

    // With room again, the next life has both on record, and nothing of the third.
    let folder = gateway.kill();
    let (folder, well, said) = Gateway::start_in(folder, &url(&simulator), &[]).stop();
    assert!(well, "{said}");
    let records = records(folder.path());
    let ends: Vec<_> = records.iter().map(|r| (&r["outcome"], &r["source"])).collect();
    assert_eq!(
        ends,
        [(&json!("complete"), &json!("upstream")), (&json!("failed"), &json!("proxy")),]
    );
    simulator.stop().await;
}

#[tokio::test]
async fn full_buffers_refuse_without_a_record() {
    let simulator = simulator().await;
    let settings = [("CODEX_PROXY_MAX_BODY", "64KiB"), ("CODEX_PROXY_MAX_BUFFERED", "64KiB")];
    let gateway = Gateway::start_with(&url(&simulator), &settings);
    let key = gateway.key("ada@example.com");
    let authorization = format!("Bearer {}", key.value);
    let large = format!("{{\"model\":\"gpt-5.5\",\"input\":\"{}\"}}", "x".repeat(60_000));
    let sent = request("POST", "/v1/responses", &[("authorization", &authorization)], &large);
    let (most, last) = sent.split_at(sent.len() - 1);
    let mut slow = Raw::connect(gateway.address).await;
    slow.send(most.as_bytes()).await;

    // While one body is on its way there is no memory for another.
    client::metric(gateway.address, "codex_proxy_buffered_bytes 65536").await;
    let refused = post(gateway.address, "/v1/responses", &key.value, &large).await;
    assert_eq!((refused.status, refused.refusal()), (503, Some("busy")));
    slow.send(last.as_bytes()).await;
    assert_eq!(slow.answer().await.status, 200);

    let records = gateway.records();
    assert!(records.iter().all(|record| record["outcome"] == "complete"), "{records:?}");
    until("the refusal in the store", || {
        let shown = gateway.ok(&["key", "show", &key.id, "--format", "json"]);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        shown[0]["refusals"][0]["refusal"] == "busy"
    })
    .await;
    simulator.stop().await;
}
