//! What a long session of the real Codex CLI costs to keep.

use std::path::Path;

use crate::harness::codex::Codex;
use crate::harness::gateway::records;
use crate::harness::{Gateway, simulator, url};

/// How often the developer asks; each time Codex reads a file and says a good deal about it.
const TURNS: usize = 40;

/// Prints the figure in docs/benchmarks.md.
#[tokio::test]
async fn a_long_session_of_codex_is_stored_small() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let key = gateway.key("ada@example.com").value;
    let base = format!("http://{}/v1", gateway.address);
    let codex = Codex::new();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/exchange");
    let mut files: Vec<_> =
        std::fs::read_dir(sources).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "rs"));
    files.sort();
    for turn in 0..TURNS {
        let file = &files[turn % files.len()];
        let ask = format!(
            "sim:shell=\"cat {}\" sim:words=150 sim:reasoning=60 what does part {turn} of this do?",
            file.display()
        );
        let flags = ["--skip-git-repo-check", "--sandbox", "danger-full-access"];
        let begin: &[&str] = if turn == 0 { &[] } else { &["resume", "--last"] };
        let arguments = [&flags, begin, &[ask.as_str()]].concat();
        let finished = codex.exec(&base, &key, &arguments).await;
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    }
    let (folder, ..) = gateway.stop();
    simulator.stop().await;
    let data = folder.path().join("data");
    let bytes = |name: &str| {
        let sum = |record: &serde_json::Value| record[name].as_u64().unwrap();
        records(folder.path()).iter().map(sum).sum::<u64>()
    };
    let (exchanges, raw) =
        (records(folder.path()).len(), bytes("request_bytes") + bytes("response_bytes"));
    let stored = size(&data.join("archive")) + size(&data.join("spool"));
    println!("{exchanges} exchanges, {raw} bytes, stored as {stored}: 1/{:.1}", ratio(raw, stored));
    assert!(exchanges >= 2 * TURNS && stored * 25 < raw);
}

#[expect(clippy::cast_precision_loss, reason = "it is shown with one digit")]
fn ratio(raw: u64, stored: u64) -> f64 {
    raw as f64 / stored as f64
}

/// Bytes of all files below a folder.
fn size(path: &Path) -> u64 {
    let found = std::fs::metadata(path).unwrap();
    if !found.is_dir() {
        return found.len();
    }
    std::fs::read_dir(path).unwrap().map(|entry| size(&entry.unwrap().path())).sum()
}
