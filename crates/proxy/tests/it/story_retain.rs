//! What is kept no longer goes, whole days at a time.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::gateway::run_with;
use crate::harness::{Gateway, simulator, until, url};

/// Lays an object into a day of the archive.
fn lay(data: &Path, kind: &str, day: &str) -> std::path::PathBuf {
    let folder = data.join("data/archive").join(kind).join(day);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("a1w0-20200101T000000000-000000.jsonl.zst");
    std::fs::write(&path, "what it was").unwrap();
    path
}

#[tokio::test]
async fn a_gateway_deletes_what_is_too_old_and_nothing_else() {
    let simulator = simulator().await;
    let folder = tempfile::tempdir().unwrap();
    let older = lay(folder.path(), "bodies", "year=2019/month=12/day=31");
    let old = lay(folder.path(), "bodies", "year=2020/month=01/day=01");
    let record = lay(folder.path(), "records", "year=2020/month=01/day=01");
    let newer = lay(folder.path(), "records", "year=2999/month=01/day=01");
    let settings = [("CODEX_PROXY_ARCHIVE_RETAIN_RECORDS_DAYS", "400000")];
    let gateway = Gateway::start_in(folder, &url(&simulator), &settings);
    until("the old days gone", || !older.exists() && !old.exists()).await;
    // It is told a moment after they are gone: another command takes longer than that.
    gateway.ok(&["key", "list"]);
    let (_folder, well, said) = gateway.stop();
    assert!(well && said.contains("bodies of 2019-12-31 are deleted"), "{said}");
    assert!(record.exists() && newer.exists(), "what is kept for longer stays");
    simulator.stop().await;
}

#[test]
fn a_dry_run_tells_and_the_next_does_it() {
    let folder = tempfile::tempdir().unwrap();
    let bodies = lay(folder.path(), "bodies", "year=2020/month=01/day=01");
    let records = lay(folder.path(), "records", "year=2020/month=01/day=01");
    let prune = |more: &[&str]| -> Value {
        let arguments = [&["audit", "prune", "--format", "json"], more].concat();
        let output = run_with(folder.path(), &arguments, &[]);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let expected = |outcome: &str| {
        let row = |kind: &str| json!({"kind": kind, "day": "2020-01-01", "objects": 1, "bytes": 11, "outcome": outcome});
        json!([row("bodies"), row("records")])
    };
    assert_eq!(prune(&["--dry-run"]), expected("would be deleted"));
    assert!(bodies.exists() && records.exists());
    assert_eq!(prune(&[]), expected("deleted"));
    assert!(!bodies.exists() && !records.exists());
    assert_eq!(prune(&[]), json!([]));
}

#[test]
fn records_are_kept_no_shorter_than_bodies() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("CODEX_PROXY_ARCHIVE_RETAIN_RECORDS_DAYS", "30")];
    let output = run_with(folder.path(), &["config", "check"], &settings);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("is less than archive.retain_days, 90"), "{said}");
}
