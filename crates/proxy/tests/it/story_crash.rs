//! What a crash leaves: the real process is killed at each of its writes, syncs and renames.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::client::{Answer, post};
use crate::harness::gateway::{records, run};
use crate::harness::{Gateway, simulator, url};

/// System calls that change what is on disk.
const CALLS: [&str; 9] =
    ["write", "writev", "pwrite64", "fsync", "fdatasync", "ftruncate", "rename", "link", "unlink"];

/// What the client saw of one exchange: its id and answer, if it came to its end.
type Seen = Option<Answer>;

#[tokio::test]
async fn a_kill_at_any_write_sync_or_rename_loses_no_record_and_doubles_none() {
    let simulator = simulator().await;
    let prepared = prepared(&url(&simulator)).await;
    let mut kills = 0;
    for call in CALLS {
        for number in 1..200 {
            let billed_before = simulator.bill().exchanges.len();
            let folder = copy(prepared.folder.path());
            let (folder, seen, ended_well) =
                one_life(folder, &url(&simulator), &prepared.key, (call, number)).await;
            let billed = simulator.bill().exchanges.len() - billed_before;
            let folder = second_life(folder, &url(&simulator));
            check(&folder, &seen, billed, &format!("{call} {number}"));
            if ended_well {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills >= 20, "only {kills} kills: is strace injecting?");
    simulator.stop().await;
}

/// A data folder with a key, and an exchange from an earlier life left in the spool.
struct Prepared {
    folder: TempDir,
    key: String,
}

async fn prepared(upstream: &str) -> Prepared {
    let gateway = Gateway::start(upstream);
    let key = gateway.key("ada@example.com").value;
    post(gateway.address, "/v1/responses", &key, &body("small")).await;
    // Killed: the next life begins with a recovery.
    Prepared { folder: gateway.kill(), key }
}

fn body(input: &str) -> String {
    format!("{{\"model\":\"gpt-5.5\",\"stream\":true,\"input\":\"{input}\"}}")
}

/// Starts with a tracer that kills at the nth call of a kind (counted by thread), asks twice, and
/// stops. Tells what the clients saw, and whether it ended well, so was not killed.
async fn one_life(
    folder: TempDir,
    upstream: &str,
    key: &str,
    (call, number): (&str, usize),
) -> (TempDir, Vec<Seen>, bool) {
    let inject = format!("inject={call}:signal=KILL:when={number}");
    let trace = format!("trace={call}");
    let tracer = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    // One thread for each kind of work, so that the count of calls is the same in each run.
    let settings = [("TOKIO_WORKER_THREADS", "1"), ("CODEX_PROXY_ARCHIVE_SYNC", "always")];
    let (folder, gateway) = match Gateway::try_launch(folder, upstream, &settings, &tracer) {
        Ok(gateway) => (None, Some(gateway)),
        Err((folder, _)) => (Some(folder), None),
    };
    let Some(gateway) = gateway else { return (folder.unwrap(), Vec::new(), false) };
    let mut seen = Vec::new();
    for input in ["hello", &"a long text ".repeat(30_000)] {
        seen.push(try_post(gateway.address, key.to_owned(), body(input)).await);
    }
    let (folder, ended_well, _) = gateway.stop();
    (folder, seen, ended_well)
}

/// Starts and stops without a tracer: recovers and publishes.
fn second_life(folder: TempDir, upstream: &str) -> TempDir {
    let (folder, well, said) = Gateway::start_in(folder, upstream, &[]).stop();
    assert!(well, "{said}");
    folder
}

/// Asks; a connection that breaks gives nothing.
async fn try_post(address: SocketAddr, key: String, body: String) -> Seen {
    let asked = async move { post(address, "/v1/responses", &key, &body).await };
    let answer = tokio::task::JoinSet::from_iter([asked]).join_next().await.unwrap();
    answer.ok().filter(|answer| !answer.broken)
}

fn check(folder: &TempDir, seen: &[Seen], billed: usize, when: &str) {
    let records = records(folder.path());
    let mut ids: Vec<&str> = records.iter().map(|r| r["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all, "killed at {when}: a record is there twice");
    // One of an earlier life, and one for each exchange that reached the upstream; one that was
    // opened and not sent on may be there besides.
    let least = 1 + billed;
    assert!(all >= least && all <= 3, "killed at {when}: {all} records, {billed} billed");
    for answer in seen.iter().flatten().filter(|answer| answer.status == 200) {
        let id = answer.header("x-codex-proxy-id").unwrap();
        let record = records.iter().find(|record| record["id"] == id);
        let record = record.unwrap_or_else(|| panic!("killed at {when}: {id} has no record"));
        assert_eq!(record["outcome"], "complete", "killed at {when}");
        let raw = run(folder.path(), &["audit", "show", id, "--raw"]);
        assert!(raw.stdout == answer.body, "killed at {when}: the answer is not as it was sent");
    }
    let others = records.iter().filter(|record| record["outcome"] != "complete");
    for record in others {
        let end = (&record["outcome"], &record["source"]);
        assert_eq!(end, (&Value::from("failed"), &Value::from("proxy")), "killed at {when}");
    }
}

/// A copy of a folder with all that is in it.
fn copy(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    let source = format!("{}/.", folder.display());
    let done = std::process::Command::new("cp").arg("-a").arg(source).arg(copy.path()).status();
    assert!(done.unwrap().success());
    copy
}
