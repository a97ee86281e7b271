//! Configuration that changes under way.

use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::harness::authority::{Authority, Manners};
use crate::harness::client::{metric, post, request};
use crate::harness::recording::{chunk, stream_head};
use crate::harness::{Gateway, Raw, Recording, recording::Step, simulator, url};

const ASKED: &str = r#"{"model":"gpt-5.5","stream":true,"input":"hello"}"#;
const FIRST: &str = "event: response.created\ndata: {\"type\":\"response.created\"}\n\n";
const LAST: &str = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\"}}\n\n";

fn write(folder: &Path, name: &str, text: &str) {
    // As editors and deployments do it: whole or not at all.
    let fresh = folder.join("fresh");
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(fresh, folder.join(name)).unwrap();
}

fn folder(configuration: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "codex-proxy.toml", configuration);
    folder
}

/// The counter of what was read again.
fn reloads(what: &str, outcome: &str, count: u32) -> String {
    format!("codex_proxy_reloads_total{{what=\"{what}\",outcome=\"{outcome}\"}} {count}")
}

/// What was said about configuration, without the time.
fn warnings(said: &str) -> Vec<&str> {
    let lines = said.lines().filter_map(|line| line.split_once("WARN ").map(|(_, rest)| rest));
    lines.filter(|line| line.contains("is not taken")).collect()
}

#[tokio::test]
async fn what_begins_after_a_change_finds_it_and_what_is_under_way_keeps_what_it_had() {
    let steps = vec![stream_head(), chunk(FIRST), Step::Wait, chunk(LAST), chunk("")];
    let upstream = Recording::start(steps).await;
    let settings = "contact = 'ada@example.com'\n[limits]\nexchanges_per_key = 1\n";
    let folder = folder(&format!("{settings}[upstream]\nkey = 'file:openai.key'"));
    write(folder.path(), "openai.key", "sk-first");
    let gateway = Gateway::start_in(folder, &upstream.url(), &[]);
    let key = gateway.key("ada@example.com").value;
    let mut under_way = Raw::asking(gateway.address, &key, ASKED).await;
    under_way.read_until("response.created\"}").await;

    // The organisation's key is another one, and whom to ask too; what is counted stays counted.
    write(gateway.folder.path(), "openai.key", "sk-second");
    let text = settings.replace("ada@", "grace@") + "[upstream]\nkey = 'file:openai.key'";
    write(gateway.folder.path(), "codex-proxy.toml", &text);
    metric(gateway.address, &reloads("configuration", "taken", 1)).await;
    let refused = post(gateway.address, "/v1/responses", &key, ASKED).await;
    assert_eq!((refused.status, refused.refusal()), (429, Some("too_many_requests")));
    let message = "This key has 1 exchanges under way, which is its limit. Ask grace@example.com.";
    assert_eq!(refused.json()["error"]["message"], message);

    // With room for one more it goes, with the new key; the first goes on to its end.
    write(gateway.folder.path(), "codex-proxy.toml", &text.replace("= 1", "= 2"));
    metric(gateway.address, &reloads("configuration", "taken", 2)).await;
    let mut second = Raw::asking(gateway.address, &key, ASKED).await;
    second.read_until("response.created\"}").await;
    upstream.go_on.notify_one();
    under_way.read_until("response.completed").await;
    upstream.go_on.notify_one();
    second.read_until("response.completed").await;

    let requests = upstream.requests().into_iter();
    let requests: Vec<_> = requests.map(|sent| String::from_utf8(sent).unwrap()).collect();
    let shown = ["sk-first", "sk-second"].map(|key| format!("Bearer {key}\r\n"));
    assert!(requests.len() == 2 && requests.iter().zip(&shown).all(|(r, key)| r.contains(key)));
    let ends: Vec<_> = gateway.records().iter().map(|record| record["outcome"].clone()).collect();
    assert_eq!(ends, [json!("complete"), json!("refused"), json!("complete")]);
}

#[tokio::test]
async fn a_wrong_configuration_changes_nothing_and_every_problem_is_said_once() {
    let simulator = simulator().await;
    let gateway = Gateway::start_in(folder("contact = 'ada@example.com'"), &url(&simulator), &[]);
    let folder = gateway.folder.path();
    let contact = async || {
        let answer = post(gateway.address, "/v1/responses", "cpk_1", ASKED).await;
        answer.json()["error"]["message"]
            .as_str()
            .unwrap()
            .rsplit_once("Ask ")
            .unwrap()
            .1
            .to_owned()
    };

    write(folder, "codex-proxy.toml", "contact = 'eve@example.com'\nmax_body = 'big'\nlistne = 1");
    metric(gateway.address, &reloads("configuration", "refused", 1)).await;
    assert_eq!(contact().await, "ada@example.com.");
    // What holds from start to end holds all else up.
    write(
        folder,
        "codex-proxy.toml",
        "contact = 'eve@example.com'\n[archive]\nsync = 'os'\n[limits]\nexchanges = 7",
    );
    metric(gateway.address, &reloads("configuration", "refused", 2)).await;
    write(folder, "codex-proxy.toml", "contact = 'eve@example.com'\nprices = 'nowhere.toml'");
    metric(gateway.address, &reloads("configuration", "refused", 3)).await;
    assert_eq!(contact().await, "ada@example.com.");
    write(folder, "codex-proxy.toml", "contact = 'grace@example.com'");
    metric(gateway.address, &reloads("configuration", "taken", 1)).await;
    assert_eq!(contact().await, "grace@example.com.");

    let (_, well, said) = gateway.stop();
    assert!(well, "{said}");
    let not = "the configuration is not taken, the one before stays:";
    let expected = [
        format!(
            "{not} codex-proxy.toml:2:1: max_body `big` is no size: write a number with a unit, as 64MiB"
        ),
        format!(
            "{not} limits.exchanges, archive.sync cannot change under way: restart, or put back what was there; all other changes wait for that"
        ),
        format!("{not} the price table nowhere.toml: No such file or directory (os error 2)"),
    ];
    assert_eq!(warnings(&said), expected);
    assert!(
        said.contains("\ncodex-proxy.toml:3:1: no setting is called listne; did you mean listen?")
    );
    simulator.stop().await;
}

#[tokio::test]
async fn a_hang_up_reads_everything_again_at_once() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let key = gateway.key("ada@example.com").value;
    gateway.hang_up();
    metric(gateway.address, &reloads("configuration", "taken", 1)).await;
    assert_eq!(post(gateway.address, "/v1/responses", &key, ASKED).await.status, 200);
    let (_, well, said) = gateway.stop();
    assert!(well && said.contains("the configuration was read again changed=\"\""), "{said}");
    simulator.stop().await;
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_a_bad_one_for_none() {
    let (simulator, authority) = (simulator().await, Authority::new());
    let pairs = ["first", "second", "third"].map(|name| authority.sign(name));
    let folder =
        folder("admin_listen = '127.0.0.1:0'\n[tls]\ncertificate = 'tls.pem'\nkey = 'tls.key'");
    pairs[0].write(folder.path());
    let gateway = Gateway::start_in(folder, &url(&simulator), &[]);
    let operators = gateway.operators.unwrap();
    let connect = async || authority.connect(gateway.address, Manners::default()).await.unwrap();
    let kept = connect().await;
    assert_eq!(kept.get_ref().1.peer_certificates().unwrap(), pairs[0].chain());
    let mut kept = Raw::over(kept);

    pairs[1].write(gateway.folder.path());
    metric(operators, &reloads("certificate", "taken", 1)).await;
    assert_eq!(connect().await.get_ref().1.peer_certificates().unwrap(), pairs[1].chain());
    // A key that is not this certificate's.
    write(gateway.folder.path(), "tls.key", &pairs[2].key);
    metric(operators, &reloads("certificate", "refused", 1)).await;
    assert_eq!(connect().await.get_ref().1.peer_certificates().unwrap(), pairs[1].chain());
    kept.send(request("GET", "/v1/models", &[], "").as_bytes()).await;
    assert_eq!(kept.answer().await.status, 401);

    let (_, well, said) = gateway.stop();
    assert!(well, "{said}");
    assert_eq!(warnings(&said).len(), 1, "{said}");
    assert!(warnings(&said)[0].contains("do not go together"), "{said}");
    simulator.stop().await;
}
