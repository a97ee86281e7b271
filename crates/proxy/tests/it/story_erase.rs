//! A person is erased, and another is held: with a real gateway, and what it says of both.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::client::ask;
use crate::harness::gateway::run_with;
use crate::harness::sdk::{duckdb, finish};
use crate::harness::{Gateway, Simulator, simulator, until, url};

/// Three people who asked, each in a session of theirs; what was asked is in the archive.
struct Office {
    simulator: Simulator,
    gateway: Gateway,
    keys: Vec<(String, String)>,
}

const PEOPLE: [&str; 3] = ["ada@example.com", "bob@example.com", "eve@example.com"];

/// Sealed as soon as it can be.
const QUICK: [(&str, &str); 1] = [("CODEX_PROXY_ARCHIVE_SEAL_AFTER", "1s")];

impl Office {
    async fn new(settings: &[(&str, &str)]) -> Self {
        let simulator = simulator().await;
        let gateway = Gateway::start_with(&url(&simulator), settings);
        let key = |user: &&str| ((*user).to_owned(), gateway.key_with(user, &[]).value);
        let keys = PEOPLE.iter().map(key).collect();
        let office = Self { simulator, gateway, keys };
        office.round().await;
        office
    }

    /// Everybody asks once more.
    async fn round(&self) {
        for (user, key) in &self.keys {
            let name = user.split('@').next().unwrap();
            let bearer = format!("Bearer {key}");
            let turn = json!({"session_id": format!("session-{name}")}).to_string();
            let headers = [("authorization", bearer.as_str()), ("x-codex-turn-metadata", &turn)];
            let words = format!("{name} asks about the lighthouse. ").repeat(20);
            let input = json!([{"role": "user", "content": words}]);
            let body = json!({"model": "gpt-5.5", "input": input}).to_string();
            ask(self.gateway.address, "POST", "/v1/responses", &headers, &body).await;
        }
    }

    /// Waits until nothing is in the spool.
    async fn published(&self, exchanges: usize) {
        let data = self.gateway.folder.path().join("data");
        let archive = data.join("archive");
        until("all published", || lines(&archive.join("records")) == exchanges).await;
        // The journals leave the spool behind that.
        until("an empty spool", || !holds_sealed(&data.join("spool"))).await;
    }

    fn erase(&self, user: &str, flag: &str) -> (Option<i32>, String, String) {
        let output =
            self.gateway.run(&["audit", "erase", "--user", user, flag, "--format", "json"]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    fn bodies(&self, user: &str) -> Vec<String> {
        let arguments = ["audit", "export", "--bodies", "--user", user];
        let lines = self.gateway.ok(&arguments);
        let body = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["request"]["body"].as_str().unwrap_or_default().to_owned()
        };
        lines.lines().map(body).collect()
    }
}

/// How many lines the compressed files below a folder have.
fn lines(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let count = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return lines(&path);
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        String::from_utf8(zstd::decode_all(&*bytes).unwrap_or_default()).unwrap().lines().count()
    };
    entries.map(count).sum()
}

/// Whether a text is in any file below a folder, decompressed where it is that.
fn has(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return has(&path, text);
        }
        let bytes = std::fs::read(&path).unwrap();
        let bytes = zstd::decode_all(&*bytes).unwrap_or(bytes);
        String::from_utf8_lossy(&bytes).contains(text)
    })
}

/// Whether a spool has journals that are on their way.
fn holds_sealed(spool: &Path) -> bool {
    let paths = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let writers = paths(spool).into_iter().filter(|path| path.is_dir());
    let mut files = writers.flat_map(|writer| paths(&writer));
    files.any(|path| path.extension().is_some_and(|ending| ending == "full"))
}

#[tokio::test]
async fn a_person_is_erased_and_nobody_else() {
    let office = Office::new(&QUICK).await;
    office.published(3).await;
    let before = office.bodies("bob@example.com");
    assert_eq!(before.len(), 1);
    let report = || -> Value {
        let told = office.gateway.ok(&["report", "--by", "model", "--format", "json"]);
        serde_json::from_str(&told).unwrap()
    };
    let cost = report();
    let ada = &office.gateway.records()[0];
    assert_eq!(ada["user"], "ada@example.com");

    let sums = |files: u64, exchanges: u64| json!([{"exchanges": exchanges, "records": exchanges, "files": files, "waiting": 0, "refused": 0}]);
    let (code, told, said) = office.erase("Ada@example.com", "--dry-run");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &told), (Some(0), &sums(2, 1)), "{said}");
    let data = office.gateway.folder.path().join("data");
    let archive = data.join("archive");
    assert!(has(&archive, "ada asks about the lighthouse"), "a dry run changes nothing");

    let (code, told, said) = office.erase("Ada@example.com", "--yes");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, told), (Some(0), sums(2, 1)), "{said}");
    for trace in ["ada@", "session-ada", "ada asks about"] {
        assert!(!has(&archive, trace), "{trace}");
    }
    let verdict = office.gateway.ok(&["audit", "verify"]);
    assert!(verdict.starts_with("complete and unchanged: 3 exchanges"), "{verdict}");
    assert!(verdict.contains("erased, as signed statements say: 1 exchanges"), "{verdict}");
    assert_eq!(office.bodies("bob@example.com"), before);
    assert_eq!(report(), cost, "what was paid is still known");
    let listed = office.gateway.ok(&["audit", "list", "--user", "erased", "--format", "csv"]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
    let shown = office.gateway.run(&["audit", "show", ada["id"].as_str().unwrap(), "--raw"]);
    let said = String::from_utf8_lossy(&shown.stderr).into_owned();
    assert!(!shown.status.success() && said.contains("was erased"), "{said}");
    let found = office.gateway.ok(&["audit", "search", "about the lighthouse"]);
    assert!(found.contains("bob@example.com") && !found.contains("ada"), "{found}");

    let items = seen_by_others(&data).await;
    assert_eq!(items, ["1 erased, 2 exchange, 2 item", "1 erased, 2 exchange, 2 item"]);

    // Who asks again after that is archived as before, in full.
    office.round().await;
    office.published(6).await;
    let asked = office.bodies("ada@example.com");
    assert!(asked.len() == 1 && asked[0].contains("ada asks about the lighthouse"), "{asked:?}");
    assert_eq!(office.bodies("bob@example.com").len(), 2);
    office.simulator.stop().await;
}

/// How many lines of each kind other programs see in the segments: `zstd` with `jq`, and `DuckDB`.
async fn seen_by_others(data: &Path) -> [String; 2] {
    let line = "cat archive/bodies/*/*/*/*.zst | zstd -dc | jq -r .kind | sort | uniq -c";
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).current_dir(data);
    let sql = "SELECT concat(count(*), ' ', kind) FROM read_json('archive/bodies/*/*/*/*.jsonl.zst', \
               format = 'newline_delimited', columns = {kind: 'VARCHAR'}) GROUP BY kind ORDER BY kind";
    let (shell, rows) = (finish(shell).await, duckdb(data, &[sql]).await);
    assert_eq!(shell.stderr, "");
    let by_jq: Vec<&str> = shell.stdout.lines().map(str::trim).collect();
    let by_duckdb: Vec<&str> = rows.iter().map(|row| row[0].as_str().unwrap()).collect();
    [by_jq.join(", "), by_duckdb.join(", ")]
}

#[tokio::test]
async fn what_is_still_in_the_spool_is_named_and_waits() {
    let office = Office::new(&[("CODEX_PROXY_ARCHIVE_SEAL_AFTER", "1h")]).await;
    assert_eq!(office.gateway.records().len(), 3);
    let (code, told, said) = office.erase("ada@example.com", "--yes");
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(serde_json::from_str::<Value>(&told).unwrap()[0]["waiting"], 1);
    assert!(said.contains("in the spool, not in the archive yet: exchange "), "{said}");
    assert!(said.contains("run this again in a minute"), "{said}");
    let Office { simulator, gateway, .. } = office;
    // Nobody has it open any more: it is brought to the archive, and goes.
    let folder = gateway.kill();
    let erase = ["audit", "erase", "--user", "ada@example.com", "--yes"];
    let output = run_with(folder.path(), &erase, &[]);
    assert!(output.status.success(), "{output:?}");
    assert!(!has(&folder.path().join("data/archive"), "ada@"));
    simulator.stop().await;
}

#[tokio::test]
async fn who_is_held_is_neither_pruned_nor_erased() {
    let office = Office::new(&QUICK).await;
    office.published(3).await;
    let gateway = &office.gateway;
    let add = ["audit", "hold", "add", "--user", "Eve@example.com", "--reason", "case 4711"];
    let eve = gateway.ok(&add).trim().to_owned();
    let add = ["audit", "hold", "add", "--session", "session-bob"];
    let bob = gateway.ok(&add).trim().to_owned();
    let holds: Value =
        serde_json::from_str(&gateway.ok(&["audit", "hold", "list", "--format", "json"])).unwrap();
    assert_eq!(
        (&holds[0]["user"], &holds[0]["reason"]),
        (&json!("eve@example.com"), &json!("case 4711"))
    );
    assert_eq!((&holds[1]["session"], &holds[1]["id"]), (&json!("session-bob"), &json!(bob)));

    for (user, hold) in [("eve@example.com", &eve), ("bob@example.com", &bob)] {
        let (code, _, said) = office.erase(user, "--yes");
        assert_eq!(code, Some(1));
        let expected = format!("error: hold {hold} on ");
        assert!(said.contains(&expected) && said.contains("nothing was erased"), "{said}");
    }
    let (code, _, said) = office.erase("ada@example.com", "--yes");
    assert_eq!(code, Some(0), "{said}");
    assert!(gateway.ok(&["audit", "verify"]).starts_with("complete and unchanged"));

    // The days are made old.
    let data = gateway.folder.path().join("data");
    for kind in ["bodies", "records"] {
        let folder = data.join("archive").join(kind);
        let year = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
        std::fs::rename(year, folder.join("year=2020")).unwrap();
    }
    let prune = || -> Vec<String> {
        let told = gateway.ok(&["audit", "prune", "--format", "json"]);
        let rows: Vec<Value> = serde_json::from_str(&told).unwrap();
        rows.iter().map(|row| row["outcome"].as_str().unwrap().to_owned()).collect()
    };
    // The first that is found is told: Bob asked before Eve.
    let kept = format!("kept by hold {bob} on session session-bob");
    assert_eq!(prune(), [kept.as_str(), &kept]);
    gateway.ok(&["audit", "hold", "remove", &bob]);
    let kept = format!("kept by hold {eve} on user eve@example.com");
    assert_eq!(prune(), [kept.as_str(), &kept]);

    // One that cannot be read keeps everything.
    let place = data.join("archive/holds").join(format!("{eve}.json"));
    std::fs::write(&place, "{}").unwrap();
    let output = gateway.run(&["audit", "prune"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains(&format!("holds/{eve}.json")), "{said}");
    assert!(has(&data.join("archive/bodies"), "eve asks"), "it is still there");
    gateway.ok(&["audit", "hold", "remove", &eve]);
    assert_eq!(prune(), ["deleted", "deleted"]);
    office.simulator.stop().await;
}

#[tokio::test]
async fn a_running_gateway_leaves_what_is_held() {
    let simulator = simulator().await;
    let folder = tempfile::tempdir().unwrap();
    let lay = |day: &str, user: &str| {
        let line = json!({"kind": "exchange", "user": user}).to_string() + "\n";
        let place = folder.path().join("data/archive/bodies/year=2020/month=01").join(day);
        std::fs::create_dir_all(&place).unwrap();
        let place = place.join("a1w0-20200101T000000000-000000.jsonl.zst");
        std::fs::write(&place, zstd::encode_all(line.as_bytes(), 3).unwrap()).unwrap();
        place
    };
    let held = lay("day=01", "eve@example.com");
    let old = lay("day=02", "bob@example.com");
    let add = ["audit", "hold", "add", "--user", "eve@example.com"];
    assert!(run_with(folder.path(), &add, &[]).status.success());
    let gateway = Gateway::start_in(folder, &url(&simulator), &[]);
    // Days go oldest first: the held one has been passed by then.
    until("the day after it gone", || !old.exists()).await;
    assert!(held.exists());
    let (_folder, well, said) = gateway.stop();
    assert!(well, "{said}");
    simulator.stop().await;
}

#[tokio::test]
async fn what_cannot_be_meant_is_told_before_anything_is_done() {
    let office = Office::new(&[]).await;
    let gateway = &office.gateway;
    for (arguments, code, told) in [
        (&["erase", "--user", "ada@example.com"][..], 2, "this cannot be undone: say --yes"),
        (&["erase", "--user", "erased", "--yes"], 2, "`erased` is nobody"),
        (&["hold", "add"], 2, "--user <EMAIL>"),
        (&["hold", "add", "--user", ""], 2, "--user, --session and --reason hold no"),
        (&["hold", "remove", "h1"], 1, "no hold has the id h1: see `codex-proxy audit hold list`"),
    ] {
        let output = gateway.run(&[&["audit"], arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(told), "{arguments:?}: {said}");
    }
    office.simulator.stop().await;
}
