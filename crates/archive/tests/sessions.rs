//! Sessions as Codex CLI makes them: what they cost, and that every byte is read back.

#![expect(clippy::unwrap_used, reason = "in a test a panic is how a failure is told")]

mod sessions {
    pub(crate) mod play;
}

use std::path::{Path, PathBuf};
use std::process::Command;

use sessions::play::{House, Recorded, all, recorded};

/// Makes sessions; their texts are the sources that cargo has fetched for this very build.
fn make(folder: &Path, sessions: u32, turns: u32) -> Vec<Recorded> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/sessions.py");
    let sizes = [sessions, turns].map(|number| number.to_string());
    let made = Command::new("python3").arg(script).arg(folder).args(sizes).arg(sources()).status();
    assert!(made.unwrap().success());
    recorded(folder)
}

fn sources() -> PathBuf {
    let home = option_env!("CARGO_HOME").map(PathBuf::from);
    let home = home.unwrap_or_else(|| Path::new(env!("HOME")).join(".cargo"));
    let registries = std::fs::read_dir(home.join("registry/src")).unwrap();
    let registries = registries.map(|entry| entry.unwrap().path());
    registries.max_by_key(|path| std::fs::read_dir(path).unwrap().count()).unwrap()
}

#[test]
fn conversations_are_stored_once_a_day_and_read_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut exchanges = make(&folder.path().join("sessions"), 3, 20);
    let house = House { folder: folder.path().join("data") };
    house.live_through_all(&mut exchanges);

    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let reader = house.reader();
        let found = all(&reader).await;
        assert_eq!(found.len(), exchanges.len());
        for one in &exchanges {
            let found = &found[&one.record.id];
            assert_eq!(found.record, one.record);
            let exchange = reader.exchange(found).await.unwrap();
            assert!(exchange.request_body == one.request && exchange.response_body == one.response);
        }
    });
    // Longer sessions are worth more: see docs/benchmarks.md.
    let raw: usize = exchanges.iter().map(|one| one.request.len() + one.response.len()).sum();
    let (raw, stored) = (raw as u64, house.bytes());
    assert!(stored * 12 < raw, "{raw} bytes are stored as {stored}");
}
