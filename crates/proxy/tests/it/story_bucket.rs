//! The archive in a bucket: found by whoever knows it, while it is away, and by two at once.

use std::collections::HashSet;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use archive::objects::Access;
use archive::seal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::bucket::{Emulator, Gate, settings};
use crate::harness::client::{ask, metric, post};
use crate::harness::gateway::{Key, run_with};
use crate::harness::sdk::installed;
use crate::harness::{Gateway, simulator, until, url};

const URL: &str = "s3://audit/codex";

/// Says where the suite finds its bucket.
const ENDPOINT: &str = "SUITE_ENDPOINT";

fn pairs(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn body(input: &str) -> String {
    format!("{{\"model\":\"gpt-5.5\",\"stream\":true,\"input\":\"{input}\"}}")
}

/// All records that this data folder and the bucket have.
fn records(folder: &Path, settings: &[(&str, &str)]) -> Vec<Value> {
    let output = run_with(folder, &["audit", "list", "--limit", "0", "--format", "json"], settings);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn ids(records: &[Value]) -> Vec<String> {
    records.iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect()
}

/// Asks, and gives the id with the answer's bytes.
async fn exchange(gateway: &Gateway, key: &Key, input: &str) -> (String, Vec<u8>) {
    let answer = post(gateway.address, "/v1/responses", &key.value, &body(input)).await;
    assert_eq!((answer.status, answer.broken), (200, false), "{}", answer.text());
    (answer.header("x-codex-proxy-id").unwrap().to_owned(), answer.body)
}

/// A data folder that has seen nothing yet.
fn fresh() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    folder
}

#[tokio::test]
async fn a_bucket_passes_the_suite() {
    let emulator = Emulator::start();
    emulator.make("audit", &[]).await;
    let settings = settings(URL, emulator.address);
    let mut suite = Command::new(std::env::current_exe().unwrap());
    suite.args(["--ignored", "--exact", "story_bucket::suite", "--nocapture"]);
    suite.envs(pairs(&settings)).env(ENDPOINT, format!("http://{}", emulator.address));
    let ran = tokio::task::spawn_blocking(move || suite.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "run by the test above, in a process that has credentials"]
async fn suite() {
    #[expect(clippy::disallowed_methods, reason = "this is how it is told where the bucket is")]
    let endpoint = std::env::var(ENDPOINT);
    let Ok(endpoint) = endpoint else { return };
    let access = Access { endpoint: Some(endpoint), ..Access::default() };
    let current = seal::Key::parse(&"a".repeat(64));
    let sealed = seal::Keys { current, ..seal::Keys::default() };
    for keys in [seal::Keys::default(), sealed] {
        archive::contract::all(&*archive::open(URL, &access, keys).unwrap()).await;
    }
}

#[tokio::test]
async fn what_passed_is_found_by_whoever_knows_the_bucket() {
    let (simulator, emulator) = (simulator().await, Emulator::start());
    emulator.make("audit", &[]).await;
    let settings = settings(URL, emulator.address);
    let settings = pairs(&settings);
    let gateway = Gateway::start_with(&url(&simulator), &settings);
    let key = gateway.key("ada@example.com");
    let mut seen = vec![exchange(&gateway, &key, "hello").await];
    // Killed, with all of it in the spool.
    let gateway = Gateway::start_in(gateway.kill(), &url(&simulator), &settings);
    // More than goes to the bucket in one piece.
    let mut noise = String::new();
    for number in 0..3_000_000u64 {
        let _ = write!(noise, "{:016x}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    }
    seen.push(exchange(&gateway, &key, &noise).await);
    let (_, well, said) = gateway.stop();
    assert!(well, "{said}");

    // Somebody else, with the bucket alone.
    let elsewhere = fresh();
    let found = records(elsewhere.path(), &settings);
    let expected: Vec<String> = seen.iter().rev().map(|(id, _)| id.clone()).collect();
    assert_eq!(ids(&found), expected);
    assert!(found.iter().all(|record| record["outcome"] == "complete"), "{found:?}");
    for (id, answer) in &seen {
        let raw = run_with(elsewhere.path(), &["audit", "show", id, "--raw"], &settings);
        assert!(raw.stdout == *answer, "{}", String::from_utf8_lossy(&raw.stderr));
    }
    let part = ["audit", "show", &seen[1].0, "--part", "request", "--raw"];
    assert!(run_with(elsewhere.path(), &part, &settings).stdout == body(&noise).as_bytes());
    simulator.stop().await;
}

// The gate goes on while a command is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_bucket_is_away_records_wait_and_none_is_lost() {
    let (simulator, emulator) = (simulator().await, Emulator::start());
    emulator.make("audit", &[]).await;
    let mut gate = Gate::open(emulator.address).await;
    let settings = settings(URL, gate.address);
    let settings = [&pairs(&settings)[..], &[("CODEX_PROXY_ARCHIVE_SEAL_AFTER", "50ms")]].concat();
    let gateway = Gateway::start_with(&url(&simulator), &settings);
    let key = gateway.key("ada@example.com");
    let before = exchange(&gateway, &key, "before").await.0;
    let elsewhere = fresh();
    until("the record in the bucket", || records(elsewhere.path(), &settings).len() == 1).await;

    gate.cut().await;
    let during = exchange(&gateway, &key, "during").await.0;
    // Twice, and said once.
    metric(gateway.address, "codex_proxy_publish_failures_total 2").await;
    let counters = ask(gateway.address, "GET", "/metrics", &[], "").await.text();
    let waits = |line: &str| line.starts_with("codex_proxy_spool_bytes ") && !line.ends_with(" 0");
    assert!(counters.lines().any(waits), "{counters}");

    gate.reopen().await;
    let after = exchange(&gateway, &key, "after").await.0;
    until("all records in the bucket", || records(elsewhere.path(), &settings).len() == 3).await;
    metric(gateway.address, "codex_proxy_spool_bytes 0").await;
    let (folder, well, said) = gateway.stop();
    assert!(well, "{said}");
    for folder in [folder.path(), elsewhere.path()] {
        assert_eq!(ids(&records(folder, &settings)), [&*after, &*during, &*before]);
    }
    let told = |what: &str| said.lines().filter(|line| line.contains(what)).count();
    assert_eq!(told("the archive cannot be written"), 1, "{said}");
    assert_eq!(told("the archive takes records again"), 1, "{said}");
    simulator.stop().await;
}

#[tokio::test]
async fn two_nodes_share_a_bucket() {
    let (simulator, emulator) = (simulator().await, Emulator::start());
    emulator.make("audit", &[]).await;
    let settings = settings(URL, emulator.address);
    let settings = [&pairs(&settings)[..], &[("CODEX_PROXY_ARCHIVE_SEAL_AFTER", "50ms")]].concat();
    let nodes = [(); 2].map(|()| Gateway::start_with(&url(&simulator), &settings));
    let keys = nodes.each_ref().map(|node| node.key("ada@example.com"));
    let mut promised = HashSet::new();
    for number in 0..6 {
        let (node, key) = (&nodes[number % 2], &keys[number % 2]);
        promised.insert(exchange(node, key, &format!("number {number}")).await.0);
    }
    for node in nodes {
        let (_, well, said) = node.stop();
        assert!(well, "{said}");
    }
    let found = ids(&records(fresh().path(), &settings));
    assert_eq!(found.len(), 6, "none twice");
    assert_eq!(found.into_iter().collect::<HashSet<_>>(), promised);
    simulator.stop().await;
}

// The gate goes on while a command is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_is_full_refuses_before_anything_is_sent() {
    let (simulator, emulator) = (simulator().await, Emulator::start());
    emulator.make("audit", &[]).await;
    let mut gate = Gate::open(emulator.address).await;
    gate.cut().await;
    let of_bucket = settings(URL, gate.address);
    let quota =
        [("CODEX_PROXY_ARCHIVE_SPOOL_QUOTA", "64KiB"), ("CODEX_PROXY_ARCHIVE_SEAL_AFTER", "50ms")];
    let settings = [&pairs(&of_bucket)[..], &quota].concat();
    let gateway = Gateway::start_with(&url(&simulator), &settings);
    let key = gateway.key("ada@example.com");
    exchange(&gateway, &key, &"a long text ".repeat(8_000)).await;

    until_ready(&gateway, 503).await;
    let refused = post(gateway.address, "/v1/responses", &key.value, &body("more")).await;
    assert_eq!((refused.status, refused.refusal()), (503, Some("busy")));
    assert_eq!(simulator.bill().exchanges.len(), 1, "nothing was sent");

    // Whoever prefers to serve does, and counts what is not on record.
    let proceed = [("CODEX_PROXY_ARCHIVE_WHEN_FULL", "proceed")];
    let (folder, well, said) = gateway.stop();
    assert!(well && said.contains("the spool's quota is used up"), "{said}");
    let gateway = Gateway::start_in(folder, &url(&simulator), &[&settings[..], &proceed].concat());
    until_ready(&gateway, 503).await;
    exchange(&gateway, &key, "unrecorded").await;
    metric(gateway.address, "codex_proxy_unrecorded_total 1").await;

    gate.reopen().await;
    until_ready(&gateway, 200).await;
    exchange(&gateway, &key, "recorded").await;
    let (_, well, said) = gateway.stop();
    assert!(well && said.contains("the spool has room again"), "{said}");
    assert_eq!(records(fresh().path(), &settings).len(), 2);
    simulator.stop().await;
}

/// Waits until the gateway says whether it can record.
async fn until_ready(gateway: &Gateway, status: u16) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while ask(gateway.address, "GET", "/readyz", &[], "").await.status != status {
        assert!(std::time::Instant::now() < deadline, "waited in vain for {status}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

// The upstream answers while the doctor is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_bucket_takes_what_is_put_and_the_doctor_knows_it() {
    let (simulator, emulator) = (simulator().await, Emulator::start());
    emulator.make("audit", &[("x-amz-bucket-object-lock-enabled", "true")]).await;
    let lock = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>\
        <DefaultRetention><Mode>COMPLIANCE</Mode><Days>400</Days></DefaultRetention>\
        </Rule></ObjectLockConfiguration>";
    emulator.put("/audit?object-lock", &[], lock).await;
    let settings = settings(URL, emulator.address);
    let settings =
        [&pairs(&settings)[..], &[("OPENAI_API_KEY", crate::harness::ORGANISATION_KEY)]].concat();
    let gateway = Gateway::start_with(&url(&simulator), &settings);
    let key = gateway.key("ada@example.com");
    let id = exchange(&gateway, &key, "hello").await.0;
    let (folder, well, said) = gateway.stop();
    assert!(well, "{said}");
    assert_eq!(ids(&records(fresh().path(), &settings)), [id], "{said}");

    let upstream = url(&simulator);
    let with_upstream = [&settings[..], &[("CODEX_PROXY_UPSTREAM_URL", &*upstream)]].concat();
    let (code, parts) = doctor(folder.path(), &with_upstream);
    let found = |name: &str| parts.iter().find(|part| part["part"] == name).unwrap().clone();
    assert_eq!(code, Some(0), "{parts:?}");
    assert_eq!(found("object lock")["detail"], "on: COMPLIANCE 400 days");
    for name in ["data folder", "secret", "store", "spool", "archive", "upstream default"] {
        assert_eq!(found(name)["state"], "ok", "{parts:?}");
    }

    // A key that is not taken, and a bucket that is not there.
    let wrong = [
        ("OPENAI_API_KEY", "sk-not-this-one"),
        ("CODEX_PROXY_ARCHIVE_URL", "s3://no-such-bucket/codex"),
    ];
    let (code, parts) = doctor(folder.path(), &[&with_upstream[..], &wrong].concat());
    let states: Vec<_> = parts.iter().filter(|part| part["state"] != "ok").collect();
    let states: Vec<_> = states.iter().map(|part| (&part["part"], &part["state"])).collect();
    let (wrong, unknown) = (json!("wrong"), json!("unknown"));
    assert_eq!(code, Some(3));
    assert_eq!(
        states,
        [
            (&json!("archive"), &wrong),
            (&json!("object lock"), &unknown),
            (&json!("encryption"), &unknown),
            (&json!("upstream default"), &wrong),
            // The simulated upstream knows no time.
            (&json!("clock"), &unknown),
        ]
    );
    simulator.stop().await;
}

/// What the doctor says, and its exit code.
fn doctor(folder: &Path, settings: &[(&str, &str)]) -> (Option<i32>, Vec<Value>) {
    let output = run_with(folder, &["doctor", "--format", "json"], settings);
    let parts = serde_json::from_slice(&output.stdout);
    (output.status.code(), parts.unwrap_or_else(|_| panic!("{output:?}")))
}

/// Runs lines of Python with Amazon's own client `bucket` and this argument; what they leave in
/// `told`.
async fn boto(emulator: &Emulator, lines: &str, argument: &str) -> Value {
    let endpoint = format!("http://{}", emulator.address);
    let script = format!(
        "import boto3, json, sys\n\
         bucket = boto3.client('s3', endpoint_url=sys.argv[1], region_name='eu-central-1')\n\
         {lines}\n\
         print(json.dumps(told))\n"
    );
    let mut python = Command::new(installed("python/bin/python"));
    python.args(["-c", &script, &endpoint, argument]);
    python.envs(pairs(&settings(URL, emulator.address)));
    let ran = tokio::task::spawn_blocking(move || python.output().unwrap()).await.unwrap();
    assert!(ran.status.success(), "{ran:?}");
    serde_json::from_slice(&ran.stdout).unwrap()
}

#[tokio::test]
async fn what_is_put_is_encrypted_with_the_key_that_is_set() {
    let (simulator, emulator) = (simulator().await, Emulator::start());
    emulator.make("audit", &[]).await;
    let settings = settings(URL, emulator.address);
    let key = [("CODEX_PROXY_ARCHIVE_KMS_KEY", "arn:aws:kms:eu-central-1:123456789012:key/audit")];
    let settings = [&pairs(&settings)[..], &key].concat();
    let gateway = Gateway::start_with(&url(&simulator), &settings);
    let ada = gateway.key("ada@example.com");
    exchange(&gateway, &ada, "hello").await;
    let (_, well, said) = gateway.stop();
    assert!(well, "{said}");
    let heads = "names = [one['Key'] for one in bucket.list_objects_v2(Bucket='audit')['Contents']]\n\
                 told = [bucket.head_object(Bucket='audit', Key=name)['SSEKMSKeyId'] for name in names]";
    // A segment, its records and their manifest.
    assert_eq!(boto(&emulator, heads, "").await, json!([key[0].1, key[0].1, key[0].1]));
    simulator.stop().await;
}

#[tokio::test]
async fn a_bucket_takes_the_rules_that_are_printed() {
    let emulator = Emulator::start();
    emulator.make("audit", &[]).await;
    let settings = settings(URL, emulator.address);
    let folder = fresh();
    let printed = run_with(folder.path(), &["audit", "lifecycle"], &pairs(&settings));
    assert!(printed.status.success(), "{printed:?}");
    let put = "bucket.put_bucket_lifecycle_configuration(\
               Bucket='audit', LifecycleConfiguration=json.loads(sys.argv[2]))\n\
               told = bucket.get_bucket_lifecycle_configuration(Bucket='audit')['Rules']";
    let taken = boto(&emulator, put, &String::from_utf8(printed.stdout.clone()).unwrap()).await;
    let printed: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(taken, printed["Rules"]);
    assert_eq!(taken[0]["Filter"]["Prefix"], "codex/bodies/");
}

#[test]
fn an_archive_that_is_not_in_the_build_names_the_feature() {
    let folder = fresh();
    let settings = [("CODEX_PROXY_ARCHIVE_URL", "gs://audit")];
    let output = run_with(folder.path(), &["config", "check"], &settings);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--features gcp"), "{said}");
}
