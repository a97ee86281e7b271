//! Secrets that passed while nobody looked: found later in what is stored, told once, and masked.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};

use crate::harness::client::{ask, contains, lossy};
use crate::harness::{Gateway, Simulator, simulator, until, url};

/// Told by what stands before it, and sent bare from then on.
const WORD: &str = "amber-\"lighthouse\"-77";
const RULE: &str = r#"
[screen]
action = "off"
[[screen.custom]]
id = "vault-word"
pattern = 'vault word: ([a-z]+-\\*"[a-z]+\\*"-[0-9]+)'
tier = "likely"
example = 'vault word: oak-"tree"-12'
"#;

/// Two people and what they sent; nobody looked.
struct Office {
    simulator: Simulator,
    gateway: Gateway,
    keys: [String; 2],
    token: String,
}

impl Office {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("codex-proxy.toml"), RULE).unwrap();
        let simulator = simulator().await;
        let quick = [("CODEX_PROXY_ARCHIVE_SEAL_AFTER", "1s")];
        let gateway = Gateway::start_in(folder, &url(&simulator), &quick);
        let keys = ["ada@example.com", "bob@example.com"].map(|user| gateway.key(user).value);
        let token = redact::own_key::build([7; redact::own_key::RANDOM_CHARACTERS]);
        Self { simulator, gateway, keys, token }
    }

    /// A person goes on with their conversation.
    async fn say(&self, person: usize, history: &[&str]) {
        let bearer = format!("Bearer {}", self.keys[person]);
        let thread = format!("thread-{person}");
        let headers = [("authorization", bearer.as_str()), ("thread-id", &thread)];
        let input = history.iter().map(|text| json!({"role": "user", "content": text}));
        let input: Vec<Value> = input.collect();
        let body = json!({"model": "gpt-5.5", "stream": true, "input": input}).to_string();
        let answer = ask(self.gateway.address, "POST", "/v1/responses", &headers, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Ada tells two secrets, sends one of them again, and hears it from the model; Bob tells none.
    async fn talk(&self) {
        // The model repeats nothing of it but where it is asked to.
        let padding = format!("{}sim:say=fine", "and much more about the light. ".repeat(20));
        let first = format!("vault word: {WORD} {padding}");
        let second = format!("key: {} {padding}", self.token);
        let third =
            format!("so type {WORD} now {padding} sim:say=\"I type <<amber...77>> for you\"");
        self.say(0, &[&first]).await;
        self.say(0, &[&first, &second]).await;
        self.say(0, &[&first, &second, &third]).await;
        self.say(1, &[&format!("nothing to hide {padding}")]).await;
    }

    async fn published(&self, exchanges: usize) {
        let data = self.data();
        until("all published", || lines(&data.join("archive/records")) == exchanges).await;
        until("an empty spool", || {
            self.gateway
                .ok(&["audit", "verify"])
                .lines()
                .all(|line| !line.starts_with("in the spool"))
        })
        .await;
    }

    fn data(&self) -> std::path::PathBuf {
        self.gateway.folder.path().join("data")
    }

    fn scan(&self, more: &[&str]) -> (Option<i32>, Value, String) {
        let output = self.gateway.run(&[&["audit", "scan", "--format", "json"], more].concat());
        let said = lossy(&output.stderr);
        let rows = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
        (output.status.code(), rows, said)
    }
}

fn lines(folder: &Path) -> usize {
    let mut count = 0;
    for (name, bytes) in files(folder) {
        let text = if Path::new(&name).extension().is_some_and(|extension| extension == "zst") {
            bytes
        } else {
            Vec::new()
        };
        count += text.split(|byte| *byte == b'\n').count() - 1;
    }
    count
}

/// All files below a folder, decompressed where they are that.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if let Ok(bytes) = std::fs::read(&path) {
            let bytes = zstd::decode_all(&*bytes).unwrap_or(bytes);
            found.push((path.display().to_string(), bytes));
        }
    }
    found
}

/// In which files a value stands: as it is, in JSON, in JSON in JSON, or in base64.
fn places(folder: &Path, value: &str) -> Vec<String> {
    let escaped = |text: &str| serde_json::to_string(text).unwrap().trim_matches('"').to_owned();
    let once = escaped(value).trim_end_matches('\\').to_owned();
    let coded = (0..3).map(|pad| {
        let coded = BASE64_STANDARD.encode(format!("{}{value}", "x".repeat(pad)));
        coded[4..coded.len() - 4].to_owned()
    });
    let looks: Vec<String> =
        [value.to_owned(), once.clone(), escaped(&once)].into_iter().chain(coded).collect();
    let holds = |bytes: &[u8]| looks.iter().any(|look| contains(bytes, look.as_bytes()));
    files(folder).into_iter().filter(|(_, bytes)| holds(bytes)).map(|(name, _)| name).collect()
}

fn row(rule: &str, tier: &str, rows: &Value) -> Value {
    let day = jiff::Timestamp::now().to_string()[..10].to_owned();
    let found = rows.as_array().unwrap().iter().find(|row| row["rule"] == rule);
    let mut row = found.unwrap_or_else(|| panic!("no {rule} in {rows}")).clone();
    assert!(row["first_day"].as_str() <= Some(&day) && row["first_day"] == row["last_day"]);
    assert_eq!((&row["user"], &row["tier"]), (&json!("ada@example.com"), &json!(tier)));
    let row = row.as_object_mut().unwrap();
    row.retain(|name, _| ["count", "exchanges", "first_exchange"].contains(&name.as_str()));
    json!(row)
}

#[tokio::test]
async fn what_passed_is_found_told_once_and_masked_so_that_the_archive_still_verifies() {
    let office = Office::new().await;
    office.talk().await;
    office.published(4).await;
    let records = office.gateway.records();
    let ids: Vec<&str> = records.iter().map(|record| record["id"].as_str().unwrap()).collect();
    let data = office.data();
    assert!(!places(&data, WORD).is_empty() && !places(&data, &office.token).is_empty());
    let bob = office.gateway.raw(ids[3], "request");

    // Found where it was told first, and only there: the history is stored once.
    let (code, rows, said) = office.scan(&[]);
    assert_eq!(code, Some(3), "{said}");
    assert_eq!(rows.as_array().unwrap().len(), 2, "{rows}");
    let once = |id: &str| json!({"count": 1, "exchanges": 1, "first_exchange": id});
    assert_eq!(row("vault-word", "likely", &rows), once(ids[0]));
    assert_eq!(row("codex-proxy-key", "certain", &rows), once(ids[1]));
    let (code, certain, _) = office.scan(&["--tier", "certain"]);
    assert_eq!((code, certain.as_array().unwrap().len()), (Some(3), 1));
    let (code, none, _) = office.scan(&["--user", "bob@example.com"]);
    assert_eq!((code, none), (Some(0), json!([])));
    let (code, none, _) = office.scan(&["2020-01-01"]);
    assert_eq!((code, none), (Some(0), json!([])));

    // A standing look tells it once.
    assert_eq!(office.scan(&["--since-last"]).0, Some(3));
    let (code, none, said) = office.scan(&["--since-last"]);
    assert_eq!((code, none), (Some(0), json!([])), "{said}");

    // Masked, it is nowhere any more.
    let (code, _, said) = office.scan(&["--mask"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("masked in 3 exchanges"), "{said}");
    for value in [WORD, office.token.as_str()] {
        assert_eq!(places(&data, value), Vec::<String>::new(), "{value}");
    }
    let verdict = office.gateway.ok(&["audit", "verify"]);
    assert!(verdict.starts_with("complete and unchanged: 4 exchanges"), "{verdict}");
    assert!(verdict.contains("masked, as signed statements say: 3 exchanges"), "{verdict}");

    // What is stored can still be read: a value has one mask in its conversation.
    let asked: Value = serde_json::from_slice(&office.gateway.raw(ids[2], "request")).unwrap();
    let text = |at: usize| asked["input"][at]["content"].as_str().unwrap().to_owned();
    let mask =
        |text: String| text.split(' ').find(|w| w.starts_with("[secret:")).unwrap().to_owned();
    assert_eq!(mask(text(0)), mask(text(2)));
    assert!(mask(text(1)).starts_with("[secret:codex-proxy-key:"), "{}", text(1));
    let answer = lossy(&office.gateway.raw(ids[2], "response"));
    // (The simulated model repeats it as JSON has it: that is another value.)
    assert!(answer.contains("I type [secret:value:"), "{answer}");
    assert_eq!(office.gateway.raw(ids[3], "request"), bob);
    let listed = office.gateway.ok(&["audit", "list", "--findings", "--format", "json"]);
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.len(), 3);
    let finding =
        json!([{"rule": "codex-proxy-key", "tier": "certain", "action": "stored", "count": 1}]);
    assert_eq!(listed[1]["findings"], finding);

    // Again there is nothing to find, nor to mask.
    assert_eq!(office.scan(&[]).0, Some(0));
    let (code, _, said) = office.scan(&["--mask"]);
    assert!(code == Some(0) && said.contains("masked in 0 exchanges"), "{said}");

    // Who is erased after that leaves an archive that verifies.
    office.gateway.ok(&["audit", "erase", "--user", "ada@example.com", "--yes"]);
    let verdict = office.gateway.ok(&["audit", "verify"]);
    assert!(verdict.starts_with("complete and unchanged: 4 exchanges"), "{verdict}");
    office.simulator.stop().await;
}

#[tokio::test]
async fn what_is_still_in_the_spool_is_found_too() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("codex-proxy.toml"), RULE).unwrap();
    let simulator = simulator().await;
    let gateway = Gateway::start_in(folder, &url(&simulator), &[]);
    let keys = ["ada@example.com", "bob@example.com"].map(|user| gateway.key(user).value);
    let token = redact::own_key::build([7; redact::own_key::RANDOM_CHARACTERS]);
    let office = Office { simulator, gateway, keys, token };
    office.talk().await;
    let (code, rows, said) = office.scan(&[]);
    assert_eq!(code, Some(3), "{said}");
    let first = office.gateway.records()[0]["id"].clone();
    let once = json!({"count": 1, "exchanges": 1, "first_exchange": first});
    assert_eq!(row("vault-word", "likely", &rows), once);
    // There nothing is masked.
    let output = office.gateway.run(&["audit", "scan", "--mask"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(lossy(&output.stderr).contains("still in the spool"), "{}", lossy(&output.stderr));
    office.simulator.stop().await;
}

/// Runs the program on a text, where there is nothing of an installation.
fn stdin(text: &[u8], more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_codex-proxy"));
    command.args(["audit", "scan", "--stdin"]).args(more).env_clear();
    command.current_dir(std::env::temp_dir()).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    process.stdin.take().unwrap().write_all(text).unwrap();
    process.wait_with_output().unwrap()
}

#[test]
fn a_text_is_looked_through_without_an_installation() {
    let token = redact::own_key::build([7; redact::own_key::RANDOM_CHARACTERS]);
    for before in ["{\"input\":\"first\\n", "plain\n", "h\u{e9} \u{1F512} ", "\u{0}\u{1} "] {
        let text = format!("{before}{token}\"}} and on");
        let output = stdin(text.as_bytes(), &[]);
        let (start, end) = (before.len(), before.len() + token.len());
        let expected = format!(
            "{{\"rule\":\"codex-proxy-key\",\"tier\":\"certain\",\"start\":{start},\"end\":{end}}}\n"
        );
        assert_eq!(lossy(&output.stdout), expected, "{}", lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(3));
    }
    let text = format!("{token}\n");
    let only = |rule: &str| stdin(text.as_bytes(), &["--rule", rule]);
    assert_eq!(only("codex-proxy-key").status.code(), Some(3));
    assert_eq!((only("jwt").status.code(), only("jwt").stdout), (Some(0), Vec::new()));
    assert_eq!(only("no-such-rule").status.code(), Some(2));
    let clean = stdin(b"nothing \xFF\xFE in here", &["--tier", "possible"]);
    assert_eq!((clean.status.code(), clean.stdout), (Some(0), Vec::new()));
}

/// What takes two minutes here is that a start has other things to do first.
#[tokio::test]
async fn a_gateway_looks_by_itself_and_tells_once() {
    let office = Office::new().await;
    office.talk().await;
    office.published(4).await;
    let address = office.gateway.address;
    let counted = async || {
        let counters = ask(address, "GET", "/metrics", &[], "").await.text();
        let name = "codex_proxy_stored_findings_total{";
        let found = counters.lines().filter(|line| line.starts_with(name)).map(str::to_owned);
        let mut found: Vec<String> = found.collect();
        found.sort();
        found
    };
    let deadline = Instant::now() + Duration::from_secs(160);
    while counted().await.len() < 2 {
        assert!(Instant::now() < deadline, "nobody looked");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let expected =
        [("codex-proxy-key", "certain"), ("vault-word", "likely")].map(|(rule, tier)| {
            format!("codex_proxy_stored_findings_total{{rule=\"{rule}\",tier=\"{tier}\"}} 1")
        });
    assert_eq!(counted().await, expected);
    // The command knows what was told already.
    let (code, none, said) = office.scan(&["--since-last"]);
    assert_eq!((code, none), (Some(0), json!([])), "{said}");
    let (folder, well, said) = office.gateway.stop();
    let told = said.lines().filter(|line| line.contains("secrets are in what is stored"));
    assert_eq!((told.count(), well), (2, true), "{said}");
    assert!(!said.contains("lighthouse") && !said.contains(&office.token), "{said}");
    drop(folder);
    office.simulator.stop().await;
}
