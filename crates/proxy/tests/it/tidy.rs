//! The house rules that a test can read off the sources: ARCHITECTURE.md gives their reasons.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Which crates of ours a crate may name.
const CRATES: [(&str, &[&str]); 7] = [
    ("amazon", &[]),
    ("wire", &[]),
    ("redact", &[]),
    ("simulate", &[]),
    ("store", &[]),
    ("archive", &["amazon"]),
    ("proxy", &["amazon", "archive", "redact", "simulate", "store", "wire"]),
];

/// Which modules of the program a module may name, besides itself and what is below it.
const MODULES: [(&str, &[&str]); 14] = [
    ("main", &[]),
    (
        "cli",
        &["admin", "budget", "clock", "config", "harden", "rollup", "secret", "serve", "stored"],
    ),
    (
        "serve",
        &[
            "budget", "clock", "config", "exchange", "harden", "ledger", "metrics", "rollup",
            "secret", "stored",
        ],
    ),
    // The journey writes to the ledger; the ledger knows who asked what, and why it was refused.
    ("exchange", &["budget", "clock", "config", "harden", "ledger", "secret"]),
    ("ledger", &["budget", "config", "exchange", "metrics"]),
    ("admin", &["budget", "config", "rollup", "secret"]),
    ("budget", &["metrics"]),
    ("rollup", &["config"]),
    ("stored", &["config", "secret"]),
    ("metrics", &[]),
    ("secret", &["config"]),
    ("config", &[]),
    ("clock", &[]),
    ("harden", &[]),
];

/// What the ledger may name of the journey: types, no step of it.
const LEDGER_OF_EXCHANGE: [&str; 4] = ["auth", "endpoint", "refusal", "screen"];

/// Files in which `unsafe` may stand.
const UNSAFE: [&str; 3] = [
    "crates/proxy/src/harden/apple.rs",
    "crates/proxy/src/harden/page.rs",
    "crates/redact/src/scan/runs/avx2.rs",
];

/// The longest a file may be, tests not counted.
const LINES: usize = 400;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every source file below a folder, as its path from the root and its text.
fn sources(below: &str) -> Vec<(String, String)> {
    let root = root();
    let mut folders = vec![root.join(below)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// The sources of the product: what is below a crate's `src`.
fn product() -> Vec<(String, String)> {
    let all = sources("crates").into_iter();
    all.filter(|(name, _)| name.contains("/src/") && !name.ends_with("tests.rs")).collect()
}

/// The text before the tests that stand at the end of a file.
fn without_tests(text: &str) -> &str {
    text.split_once("\n#[cfg(test)]\nmod tests").map_or(text, |(code, _)| code)
}

#[test]
fn crates_name_only_those_below_them() {
    for (name, allowed) in CRATES {
        let manifest = root().join(format!("crates/{name}/Cargo.toml"));
        let manifest = std::fs::read_to_string(manifest).unwrap();
        let named = CRATES.iter().map(|(other, _)| *other);
        let dependency = |other: &str| [format!("\n{other}.workspace"), format!("\n{other} =")];
        let named =
            named.filter(|other| dependency(other).iter().any(|line| manifest.contains(line)));
        let named: BTreeSet<&str> = named.collect();
        assert_eq!(named, allowed.iter().copied().collect(), "crates/{name}/Cargo.toml");
    }
}

#[test]
fn modules_name_only_what_the_table_allows() {
    for (name, text) in product() {
        let Some(path) = name.strip_prefix("crates/proxy/src/") else { continue };
        let module = path.split(['/', '.']).next().unwrap();
        let Some((_, allowed)) = MODULES.iter().find(|(known, _)| *known == module) else {
            assert_eq!(module, "lib", "{name}: the table does not know this module");
            continue;
        };
        for used in uses(without_tests(&text)) {
            let target = used.split("::").next().unwrap();
            let fine = target == module || allowed.contains(&target);
            assert!(fine, "{name} names crate::{used}, which the table does not allow");
            if module == "ledger" && target == "exchange" {
                let part = used.split("::").nth(1).unwrap_or_default();
                assert!(LEDGER_OF_EXCHANGE.contains(&part), "{name} names crate::{used}");
            }
        }
    }
}

/// What stands after each `crate::`.
fn uses(text: &str) -> Vec<&str> {
    let end = |c: char| !(c.is_alphanumeric() || c == '_' || c == ':');
    text.split("crate::").skip(1).map(|rest| rest.split(end).next().unwrap()).collect()
}

#[test]
fn http_and_async_stay_out_of_the_pure_crates() {
    for (name, text) in product() {
        let pure = ["crates/wire/", "crates/redact/"].iter().any(|krate| name.starts_with(krate));
        let low = pure || ["crates/store/", "crates/archive/"].iter().any(|k| name.starts_with(k));
        assert!(!low || !text.contains("use http::"), "{name} knows HTTP");
        let impure = ["tokio", "std::fs", "std::net", "async fn", "SystemTime", "Instant"];
        for word in impure.into_iter().filter(|_| pure) {
            assert!(!without_tests(&text).contains(word), "{name} has {word}, and is pure");
        }
    }
}

#[test]
fn files_are_short_and_safe() {
    for (name, text) in product() {
        let code = without_tests(&text);
        let lines = code.lines().count();
        assert!(
            lines <= LINES,
            "{name} has {lines} lines: which second thought wants its own file?"
        );
        assert!(!name.ends_with("/mod.rs"), "{name}: write foo.rs beside foo/");
        let dangerous = code.contains("unsafe {") || code.contains("unsafe fn");
        assert!(!dangerous || UNSAFE.contains(&name.as_str()), "{name} has unsafe code");
        for (index, line) in code.lines().enumerate() {
            let feature = line.contains("cfg(feature");
            let next = code.lines().nth(index + 1).unwrap_or_default();
            let allowed = ["mod ", "::open)"].iter().any(|word| next.contains(word));
            let allowed = allowed || line.contains("any(test,");
            assert!(!feature || allowed, "{name}:{}: cfg(feature) off a mod line", index + 1);
        }
    }
}

#[test]
fn the_architecture_names_every_module() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let missing: Vec<String> =
        product().into_iter().map(|(name, _)| name).filter(|name| !is_named(&text, name)).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md does not name {missing:?}");
}

/// Whether the tree in the text has this file: its name below its crate's heading will do.
fn is_named(text: &str, name: &str) -> bool {
    let below = name.split_once("/src/").unwrap().1;
    text.contains(name)
        || text.contains(below)
        || text.contains(Path::new(name).file_name().unwrap().to_str().unwrap())
}

#[test]
fn the_readme_shows_the_two_commands_first() {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let first_screen: String = text.lines().take(40).collect::<Vec<_>>().join("\n");
    assert!(first_screen.contains("make demo") && first_screen.contains("make test"));
}
