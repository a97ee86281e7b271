//! The archive without this program: read with the tools and statements of its page, and verified
//! with nothing but its files and a key.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::client::post;
use crate::harness::gateway::{records, run};
use crate::harness::sdk::{duckdb, finish};
use crate::harness::{Gateway, simulator, url};

/// The page that says how the archive is read.
const PAGE: &str = include_str!("../../../../docs/archive-format.md");

/// What is in the page between fences of this kind.
fn commands(kind: &str) -> Vec<&'static str> {
    let fence = format!("```{kind}\n");
    PAGE.split(fence.as_str()).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

/// The conversation of a client that says everything again with each request.
fn turn(number: usize) -> String {
    let words = "Zeile\n\"zwei\", äöü und ein \\ dazu. ".repeat(8);
    let said = |at| json!({ "role": "user", "content": format!("sim:say={at} {words} {at}") });
    let input: Vec<Value> = (0..=number).map(said).collect();
    let tool = json!({ "type": "function", "name": "shell", "description": words });
    json!({ "model": "gpt-5.5", "instructions": words.repeat(4), "input": input,
            "tools": [tool], "stream": number.is_multiple_of(2) })
    .to_string()
}

/// A data folder in which a conversation is archived; by id what was asked and answered.
async fn archived(turns: usize) -> (TempDir, BTreeMap<String, (String, String)>) {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let key = gateway.key("ada@example.com");
    let mut passed = BTreeMap::new();
    for number in 0..turns {
        let asked = turn(number);
        let answer = post(gateway.address, "/v1/responses", &key.value, &asked).await;
        let id = answer.header("x-codex-proxy-id").unwrap().to_owned();
        passed.insert(id, (asked, String::from_utf8(answer.body.clone()).unwrap()));
    }
    // In the archive is what was sealed; the rest is said.
    let said = gateway.ok(&["audit", "verify"]);
    assert!(said.contains("complete and unchanged: 0 exchanges"), "{said}");
    assert!(said.contains("not in the archive yet: 1 journals"), "{said}");
    let (folder, well, said) = gateway.stop();
    assert!(well, "{said}");
    simulator.stop().await;
    (folder, passed)
}

#[tokio::test]
async fn the_pages_commands_give_every_body_byte_for_byte() {
    let (folder, passed) = archived(30).await;
    let data = folder.path().join("data");
    let jq = commands("sh").into_iter().find(|text| text.contains("def bytes")).unwrap();
    let jq = jq.replace("year=2026/month=11/day=22", "*/*/*");
    for (id, (asked, answered)) in passed.iter().take(3) {
        for (side, expected) in [("request", asked), ("response", answered)] {
            let line = jq.replace("ID", id).replace("side request", &format!("side {side}"));
            let mut shell = Command::new("sh");
            shell.args(["-c", &line]).current_dir(&data);
            let shown = finish(shell).await;
            assert_eq!((&shown.stdout, shown.stderr.as_str()), (expected, ""));
        }
    }

    let statements = commands("sql");
    let [views, questions, bodies] = statements[..] else { panic!("three pieces of SQL") };
    let asked = query(&data, &[views, bodies]).await;
    let answered = query(&data, &[views, &bodies.replace("e.request", "e.response")]).await;
    for (id, (request, response)) in &passed {
        assert!(asked[id] == *request && answered[id] == *response, "{id}");
    }
    assert_eq!((asked.len(), answered.len()), (passed.len(), passed.len()));
    let sums = query(&data, &[views, questions.split_inclusive(';').next().unwrap()]).await;
    assert_eq!(sums["ada@example.com"], json!(passed.len()));
}

/// What `DuckDB` answers: the second column by the first.
async fn query(data: &Path, statements: &[&str]) -> BTreeMap<String, Value> {
    let rows = duckdb(data, statements).await;
    rows.into_iter().map(|row| (row[0].as_str().unwrap().to_owned(), row[1].clone())).collect()
}

#[tokio::test]
async fn an_archive_is_verified_anywhere_and_what_was_edited_is_named() {
    let (folder, passed) = archived(3).await;
    assert_eq!(records(folder.path()).len(), passed.len());
    let verify = |at: &Path, more: &[&str]| run(at, &[&["audit", "verify"], more].concat());
    let said = |output: &std::process::Output| {
        let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        (output.status.code(), format!("{out}{err}"))
    };
    let (code, text) = said(&verify(folder.path(), &[]));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("complete and unchanged: 3 exchanges, 2 files of "), "{text}");

    // Elsewhere: the files and the public key.
    let key = verify(folder.path(), &["--print-key"]).stdout;
    let away = TempDir::new().unwrap();
    let mut copy = Command::new("cp");
    copy.arg("-r").arg(folder.path().join("data/archive")).arg(away.path());
    assert!(copy.status().unwrap().success());
    std::fs::write(away.path().join("archive.pub"), &key).unwrap();
    std::fs::write(away.path().join("other.pub"), "0".repeat(64)).unwrap();
    std::fs::write(away.path().join("no.pub"), "a key\n").unwrap();
    let url = format!("archive.url = \"file:{}\"\n", away.path().join("archive").display());
    let config = away.path().join("codex-proxy.toml");
    std::fs::write(&config, url).unwrap();
    let elsewhere = |key: &str| {
        let (config, key) = (config.to_str().unwrap(), away.path().join(key));
        said(&verify(away.path(), &["--config", config, "--public-key", key.to_str().unwrap()]))
    };
    assert_eq!(elsewhere("archive.pub").0, Some(0), "{:?}", elsewhere("archive.pub"));
    assert_eq!(elsewhere("other.pub").0, Some(3));
    let (code, text) = elsewhere("no.pub");
    assert_eq!(code, Some(2));
    assert!(text.contains("no.pub, line 1: a public key is 64 hexadecimal digits"), "{text}");
    assert!(!away.path().join("data").exists(), "nothing is made there");

    // One byte of it.
    let find =
        Command::new("find").arg(folder.path().join("data/archive/bodies")).output().unwrap();
    let found = String::from_utf8(find.stdout).unwrap();
    let segment = found.lines().find(|line| line.contains(".jsonl")).unwrap();
    let mut bytes = std::fs::read(segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(segment, bytes).unwrap();
    let (code, text) = said(&verify(folder.path(), &[]));
    let path = segment.split("data/archive/").nth(1).unwrap();
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("the archive is not what was written") && text.contains(path), "{text}");
}
