//! Real client programs: where they are installed, how they run, and OpenAI's SDKs among them.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// No client needs longer.
const CAP: Duration = Duration::from_mins(1);

/// What the installed clients must have been installed from.
const PINS: &str = concat!(
    include_str!("../../clients/package.json"),
    include_str!("../../clients/requirements.txt")
);

/// One of OpenAI's SDKs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sdk {
    Python,
    Node,
}

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: Option<i32>,
}

impl Sdk {
    /// Makes these calls one after the other; what came back from each.
    pub(crate) async fn call(self, url: &str, key: &str, prompt: &str, calls: &[&str]) -> Value {
        let (program, file) = match self {
            Self::Python => (installed("python/bin/python"), "sdk.py"),
            Self::Node => ("node".into(), "sdk.mjs"),
        };
        let mut command = Command::new(program);
        command.arg(script(file)).args(calls).current_dir(installed("."));
        command.env_clear().env("PATH", env!("PATH")).env("HOME", installed("."));
        command.envs([("OPENAI_BASE_URL", url), ("OPENAI_API_KEY", key), ("PROMPT", prompt)]);
        let finished = finish(command).await;
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
        serde_json::from_str(&finished.stdout).unwrap()
    }
}

/// A file among the installed clients.
pub(crate) fn installed(path: &str) -> PathBuf {
    let clients = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients");
    let stamp = std::fs::read_to_string(clients.join("installed")).unwrap_or_default();
    let hint = "the clients are not installed: run `sh crates/proxy/tests/clients/install.sh`";
    assert!(stamp == PINS, "{hint} (with the same CARGO_TARGET_DIR)");
    clients.join(path)
}

/// A file among the older versions of Codex, which only the whole matrix runs.
pub(crate) fn older(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients-older").join(path);
    assert!(path.exists(), "{} is not there: run `make matrix`", path.display());
    path
}

/// A small program of these tests.
pub(crate) fn script(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(file)
}

/// What `DuckDB` answers to the last of these pieces of SQL, run in this folder.
pub(crate) async fn duckdb(folder: &Path, sql: &[&str]) -> Vec<Vec<Value>> {
    let mut python = Command::new(installed("python/bin/python"));
    python.arg(script("query.py")).current_dir(folder);
    for (number, text) in sql.iter().enumerate() {
        let file = folder.join(format!("{number}.sql"));
        std::fs::write(&file, text).unwrap();
        python.arg(file);
    }
    let finished = finish(python).await;
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
    serde_json::from_str(&finished.stdout).unwrap()
}

/// Runs a program to its end, while upstreams of the test go on answering.
pub(crate) async fn finish(command: Command) -> Finished {
    let program = command.get_program().to_owned();
    let finished = finish_within(command, CAP).await;
    finished.unwrap_or_else(|| panic!("{} did not end within {CAP:?}", program.display()))
}

/// The same; nothing if it took too long and was killed.
pub(crate) async fn finish_within(mut command: Command, cap: Duration) -> Option<Finished> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = command.spawn().unwrap();
    let group = child.id();
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output());
    let Ok(ended) = tokio::time::timeout(cap, ended).await else {
        // The whole group: what the program started holds its pipes as well.
        let group = format!("-{group}");
        Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status().unwrap();
        return None;
    };
    let output = ended.unwrap().unwrap();
    Some(Finished {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code(),
    })
}

/// What is on the upstream's bill and in a record alike.
pub(crate) const COUNTED: [&str; 9] = [
    "response_id",
    "status",
    "service_tier",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "total_tokens",
];

/// That of each exchange in order.
pub(crate) fn counted(exchanges: &[Value]) -> Vec<[&Value; 9]> {
    exchanges.iter().map(|exchange| COUNTED.map(|name| &exchange[name])).collect()
}

/// The upstream's bill so far, each entry as JSON.
pub(crate) fn bill(simulator: &simulate::Simulator) -> Vec<Value> {
    let bill = simulator.bill();
    bill.exchanges.iter().map(|billed| serde_json::to_value(billed).unwrap()).collect()
}
