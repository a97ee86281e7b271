//! An archive whose bodies and records nobody reads without the key.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::client::post;
use crate::harness::gateway::{records, run};
use crate::harness::sdk::installed;
use crate::harness::{Gateway, Simulator, simulator, url};

/// The page that says how a sealed file is opened.
const PAGE: &str = include_str!("../../../../docs/archive-format.md");

/// What only the prompt and the answer have in them.
const WORDS: &str = "the lighthouse of Westerhever";

/// Keys as files, and a configuration that names these.
fn configure(folder: &Path, current: &str, old: &[&str], simulator: &Simulator) {
    for (key, digit) in [("one", "1"), ("two", "2"), ("three", "3")] {
        std::fs::write(folder.join(key), digit.repeat(64) + "\n").unwrap();
    }
    let old: Vec<String> = old.iter().map(|name| format!("file:{name}")).collect();
    let current = match current {
        "" => String::new(),
        name => format!("encryption_key = \"file:{name}\"\n"),
    };
    let text = format!(
        "[upstream]\nurl = {:?}\n[archive]\n{current}encryption_keys_old = {old:?}\n",
        url(simulator)
    );
    let text = text.replace("encryption_keys_old = []\n", "");
    std::fs::write(folder.join("codex-proxy.toml"), text).unwrap();
}

/// A text that compression leaves longer than a chunk.
fn noise() -> String {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        format!("{state:016x}")
    };
    (0..20_000).map(|_| next()).collect()
}

/// Serves one exchange, to the end; its id.
async fn exchange(folder: TempDir, simulator: &Simulator) -> (TempDir, String) {
    let gateway = Gateway::start_in(folder, &url(simulator), &[]);
    let key = gateway.key("ada@example.com");
    let asked = json!({ "model": "gpt-5.5", "input": format!("sim:say={WORDS:?} {}", noise()) });
    let asked = asked.to_string();
    let answer = post(gateway.address, "/v1/responses", &key.value, &asked).await;
    assert!(String::from_utf8_lossy(&answer.body).contains(WORDS));
    let id = answer.header("x-codex-proxy-id").unwrap().to_owned();
    let (folder, well, said) = gateway.stop();
    assert!(well, "{said}");
    (folder, id)
}

/// All files below the archive.
fn files(folder: &Path) -> Vec<PathBuf> {
    let found = Command::new("find").arg(folder.join("data/archive")).args(["-type", "f"]).output();
    let found = String::from_utf8(found.unwrap().stdout).unwrap();
    found.lines().map(PathBuf::from).collect()
}

/// How many of these files have what was said or who said it, as it is or decompressed.
fn readable(files: &[PathBuf]) -> usize {
    let has = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        text.contains(WORDS) || text.contains("ada@example.com")
    };
    let tells = |file: &&PathBuf| {
        let bytes = std::fs::read(file).unwrap();
        has(&bytes) || zstd::decode_all(&*bytes).is_ok_and(|text| has(&text))
    };
    files.iter().filter(tells).count()
}

fn said(output: &Output) -> (Option<i32>, String) {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    (output.status.code(), format!("{out}{err}"))
}

/// What the doctor says of encryption: state and detail.
fn doctor(folder: &Path) -> (String, String) {
    let output = run(folder, &["doctor", "--format", "json"]);
    let parts: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let part = parts.iter().find(|part| part["part"] == "encryption").unwrap();
    let text = |name: &str| part[name].as_str().unwrap().to_owned();
    (text("state"), text("detail"))
}

// The upstream answers while commands are waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_archive_is_read_with_its_key_and_not_without() {
    let (simulator, folder) = (simulator().await, TempDir::new().unwrap());
    configure(folder.path(), "one", &[], &simulator);
    assert!(doctor(folder.path()).1.ends_with("; nothing is there yet"));
    let (folder, id) = exchange(folder, &simulator).await;
    let at = folder.path();
    assert_eq!(readable(&files(at)), 0);
    let sealed = files(at).iter().filter(|file| file.extension().unwrap() == "sealed").count();
    assert_eq!(sealed, 2, "the segment and its records: {:?}", files(at));

    let commands: [(&[&str], &str); 5] = [
        (&["audit", "list"], "ada@example.com"),
        (&["audit", "show", &id, "--part", "response", "--raw"], WORDS),
        (&["audit", "search", WORDS], &id),
        (&["audit", "verify"], "complete and unchanged: 1 exchanges, 2 files"),
        (&["report"], "ada@example.com"),
    ];
    for (command, expected) in commands {
        let (code, text) = said(&run(at, command));
        assert!(code == Some(0) && text.contains(expected), "{command:?}: {text}");
    }
    let (state, detail) = doctor(at);
    assert!(state == "ok" && detail.contains("opens the newest file"), "{state}: {detail}");

    // Neither without a key nor with another one.
    for key in ["", "two"] {
        configure(at, key, &[], &simulator);
        for (command, _) in commands {
            let (code, text) = said(&run(at, command));
            assert_eq!(code, Some(1), "{command:?}: {text}");
            assert!(text.contains("so that it can neither be read nor checked"), "{text}");
            assert!(text.contains("archive.encryption_keys_old"), "{text}");
        }
        assert_eq!(doctor(at).0, "wrong");
    }
    simulator.stop().await;
}

#[tokio::test]
async fn what_is_done_to_sealed_files_is_named() {
    let (simulator, folder) = (simulator().await, TempDir::new().unwrap());
    configure(folder.path(), "one", &[], &simulator);
    let (folder, _) = exchange(folder, &simulator).await;
    let at = folder.path();
    for file in files(at).iter().filter(|file| file.extension().unwrap() == "sealed") {
        let bytes = std::fs::read(file).unwrap();
        let mut edited = bytes.clone();
        edited[bytes.len() / 2] ^= 1;
        let beside = file.with_extension("");
        let name = beside.strip_prefix(at.join("data/archive")).unwrap().display().to_string();
        let verify = |expected: &str| {
            let (code, text) = said(&run(at, &["audit", "verify"]));
            assert!(text.contains(&format!("{name}: {expected}")), "{text}");
            assert_eq!(code, Some(3));
        };
        std::fs::write(file, edited).unwrap();
        verify("it was edited or is cut off, at or behind byte ");
        std::fs::remove_file(file).unwrap();
        verify("it is missing");
        std::fs::write(file, bytes).unwrap();
        std::fs::write(&beside, "another past").unwrap();
        verify("it is there twice, sealed and not");
        std::fs::remove_file(&beside).unwrap();
    }
    assert_eq!(said(&run(at, &["audit", "verify"])).0, Some(0));
    simulator.stop().await;
}

#[tokio::test]
async fn what_is_erased_from_sealed_files_is_gone_and_they_stay_sealed() {
    let (simulator, folder) = (simulator().await, TempDir::new().unwrap());
    configure(folder.path(), "one", &[], &simulator);
    let (folder, id) = exchange(folder, &simulator).await;
    let at = folder.path();
    let names = files(at).into_iter().filter(|file| file.extension().unwrap() == "sealed");
    let names: Vec<PathBuf> = names.collect();
    let erase = ["audit", "erase", "--user", "ada@example.com", "--yes"];
    // By whoever has only the old key, nothing is put unsealed.
    configure(at, "", &["one"], &simulator);
    assert_ne!(said(&run(at, &erase)).0, Some(0));
    configure(at, "two", &["one"], &simulator);
    let (code, text) = said(&run(at, &erase));
    assert_eq!(code, Some(0), "{text}");
    assert!(names.iter().all(|name| name.exists()));
    assert_eq!(readable(&files(at)), 0);

    configure(at, "two", &[], &simulator);
    let shown = said(&run(at, &["audit", "show", &id, "--part", "request", "--raw"])).1;
    assert!(!shown.contains(WORDS), "{shown}");
    let (code, text) = said(&run(at, &["audit", "verify"]));
    assert_eq!(code, Some(0), "{text}");
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_changed_and_what_was_before_is_brought_to_it() {
    let (simulator, folder) = (simulator().await, TempDir::new().unwrap());
    let mut ids = Vec::new();
    let mut folder = folder;
    // Before there was a key, with the first, with the second.
    for (current, old) in [("", vec![]), ("one", vec![]), ("two", vec!["one"])] {
        configure(folder.path(), current, &old, &simulator);
        let (after, id) = exchange(folder, &simulator).await;
        (folder, ids) = (after, [ids, vec![id]].concat());
    }
    let at = folder.path();
    assert_eq!(readable(&files(at)), 2, "what was put before there was a key");
    let all_is_there = || {
        let listed = records(at);
        let listed: Vec<&str> =
            listed.iter().map(|record| record["id"].as_str().unwrap()).collect();
        assert_eq!(listed, ids);
        for id in &ids {
            let shown = run(at, &["audit", "show", id, "--part", "request", "--raw"]);
            assert!(said(&shown).1.contains(WORDS), "{id}");
        }
        let (code, text) = said(&run(at, &["audit", "verify"]));
        assert!(code == Some(0) && text.contains("3 exchanges, 6 files"), "{text}");
    };
    all_is_there();

    let reseal = |more: &[&str]| said(&run(at, &[&["audit", "reseal"], more].concat()));
    let would = "2 files would be brought to the current key; 2 have it already; \
                 2 would be encrypted that were not\n";
    assert_eq!(reseal(&["--dry-run"]), (Some(0), would.to_owned()));
    assert_eq!(readable(&files(at)), 2);
    let counts = |resealed: u8, current: u8, sealed: u8| {
        let have = format!("{current} have it already; {sealed} encrypted that were not\n");
        (Some(0), format!("{resealed} files brought to the current key; {have}"))
    };
    assert_eq!(reseal(&[]), counts(2, 2, 2));
    assert_eq!(reseal(&[]), counts(0, 6, 0));
    assert_eq!(readable(&files(at)), 0);
    configure(at, "two", &[], &simulator);
    all_is_there();

    configure(at, "three", &["one"], &simulator);
    let (code, text) = reseal(&[]);
    assert!(code == Some(1) && text.contains("6 files are encrypted with the key "), "{text}");
    configure(at, "", &["one"], &simulator);
    assert_eq!(reseal(&[]).0, Some(2));
    simulator.stop().await;
}

#[tokio::test]
async fn a_sealed_file_is_opened_with_what_the_page_says() {
    let (simulator, folder) = (simulator().await, TempDir::new().unwrap());
    configure(folder.path(), "one", &[], &simulator);
    let (folder, _) = exchange(folder, &simulator).await;
    let at = folder.path();
    let script = PAGE.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    std::fs::write(at.join("unseal.py"), script).unwrap();
    let files = files(at);
    let sealed = files.iter().find(|file| file.display().to_string().contains("/bodies/")).unwrap();
    assert!(sealed.metadata().unwrap().len() > 2 * 65_536, "it has more chunks than one");
    let open = |key: &str| {
        let mut python = Command::new(installed("python/bin/python"));
        python.arg("unseal.py").arg(key).arg(sealed).current_dir(at).output().unwrap()
    };
    let opened = open("one");
    assert!(opened.status.success(), "{}", said(&opened).1);
    let text = String::from_utf8(zstd::decode_all(&*opened.stdout).unwrap()).unwrap();
    assert!(text.contains(WORDS), "{text}");
    let (code, text) = said(&open("two"));
    assert!(code == Some(1) && text.contains("sealed with the key "), "{text}");
    simulator.stop().await;
}

#[test]
fn a_key_that_is_none_is_said() {
    let folder = TempDir::new().unwrap();
    let of = |text: &str| {
        let config = format!("archive.encryption_key = {text:?}\n");
        std::fs::write(folder.path().join("codex-proxy.toml"), config).unwrap();
        std::fs::write(folder.path().join("short"), "00112233\n").unwrap();
        said(&run(folder.path(), &["audit", "reseal"]))
    };
    let cases = [
        ("file:short", "is not 64 hexadecimal digits: make one with `openssl rand -hex 32`"),
        ("file:absent", "archive.encryption_key: reading the secret in "),
        ("stdin", "every command that reads needs it: write env:NAME or file:PATH"),
        ("00112233", "is a reference to a secret, never the secret"),
    ];
    for (reference, expected) in cases {
        let (code, text) = of(reference);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(expected) && !text.contains("00112233"), "{text}");
    }
}
