//! The strict proxy as a process, and the one that it stands in for.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use serde_json::Value;
use tempfile::TempDir;

use super::sdk::installed;

const PROGRAM: &str = env!("CARGO_BIN_EXE_codex-proxy");

/// A key that stands nowhere but where these tests put it.
pub(crate) const KEY: &str = "sk-strict-9qVvJd3wXk2-Zt7mRb5_yPc8NhLf4Gs6";

/// Which program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Twin {
    /// Ours, with its command.
    Ours,
    /// Ours, by the other's name.
    Named,
    /// The one of OpenAI's package.
    Original,
}

/// How it is run.
#[derive(Default)]
pub(crate) struct Launch {
    /// Programs and arguments before it, as those that change the user.
    pub(crate) below: Vec<String>,
    /// Its environment, besides the search path.
    pub(crate) environment: Vec<(String, String)>,
}

/// One that listens. Killed when dropped.
pub(crate) struct Strict {
    pub(crate) address: SocketAddr,
    /// Where it was started, with the file that tells where it listens.
    pub(crate) folder: TempDir,
    process: Child,
    stderr: Option<JoinHandle<String>>,
}

impl Twin {
    /// The program with the words that come first.
    pub(crate) fn words(self, folder: &Path) -> Vec<OsString> {
        match self {
            Self::Ours => vec![PROGRAM.into(), "strict".into()],
            Self::Original => vec![codex().into(), "responses-api-proxy".into()],
            Self::Named => {
                let name = folder.join("codex-responses-api-proxy");
                if !name.exists() {
                    std::os::unix::fs::symlink(PROGRAM, &name).unwrap();
                }
                vec![name.into()]
            }
        }
    }

    /// Runs it to its end with this on stdin: its exit code, and what it said first.
    pub(crate) fn fails(self, stdin: &[u8], arguments: &[&str]) -> (Option<i32>, String) {
        let folder = tempfile::tempdir().unwrap();
        let mut command = command(&self.words(folder.path()), folder.path(), &Launch::default());
        let mut child = command.args(arguments).spawn().unwrap();
        // It may have ended before it reads.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        // What follows is the original's backtrace.
        let first = said.split("\n\nStack backtrace").next().unwrap().trim_end().to_owned();
        (output.status.code(), first)
    }
}

impl Strict {
    /// Starts one towards this address.
    pub(crate) fn start(twin: Twin, upstream: &str, more: &[&str]) -> Self {
        Self::launch(twin, upstream, more, &Launch::default())
    }

    /// The same in a way of its own.
    pub(crate) fn launch(twin: Twin, upstream: &str, more: &[&str], launch: &Launch) -> Self {
        let folder = tempfile::tempdir().unwrap();
        open_to_all(folder.path());
        let mut command = command(&twin.words(folder.path()), folder.path(), launch);
        let usual = ["--server-info", "info.json", "--http-shutdown", "--upstream-url", upstream];
        let mut process = command.args(usual).args(more).spawn().unwrap();
        process.stdin.take().unwrap().write_all(format!("{KEY}\n").as_bytes()).unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap());
        let (mut said, mut address) = (String::new(), None);
        while address.is_none() {
            assert!(lines.read_line(&mut said).unwrap() > 0, "it did not start: {said}");
            let line = said.lines().last().unwrap();
            let listening = line.strip_prefix("responses-api-proxy listening on ");
            address = listening.map(|at| at.parse().unwrap());
        }
        let stderr = std::thread::spawn(move || {
            let _ = lines.read_to_string(&mut said);
            said
        });
        Self { address: address.unwrap(), folder, process, stderr: Some(stderr) }
    }

    /// The process that serves, also where others are before it.
    pub(crate) fn pid(&self) -> u32 {
        let pid = self.info()["pid"].as_u64().unwrap();
        u32::try_from(pid).unwrap()
    }

    /// What it tells of itself in a file.
    pub(crate) fn info(&self) -> Value {
        let text = std::fs::read_to_string(self.folder.path().join("info.json")).unwrap();
        assert!(text.ends_with("}\n") && text.lines().count() == 1, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Waits until it has ended by itself: its exit code, and what it said.
    pub(crate) fn ended(&mut self) -> (Option<i32>, String) {
        let code = self.process.wait().unwrap().code();
        (code, self.stderr.take().unwrap().join().unwrap())
    }
}

impl Drop for Strict {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// OpenAI's own program, of the pinned version.
pub(crate) fn codex() -> PathBuf {
    let packages = installed("node_modules/@openai");
    let vendor = |entry: std::fs::DirEntry| entry.path().join("vendor");
    let machines = std::fs::read_dir(packages).unwrap().map(|entry| vendor(entry.unwrap()));
    let mut folders = machines.filter(|vendor| vendor.exists()).flat_map(|vendor| {
        std::fs::read_dir(vendor).unwrap().map(|entry| entry.unwrap().path().join("bin/codex"))
    });
    folders.find(|path| path.exists()).expect("the Codex package has a program")
}

/// Whoever runs what is started there may go in.
pub(crate) fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).unwrap();
}

fn command(words: &[OsString], folder: &Path, launch: &Launch) -> Command {
    let all = launch.below.iter().map(OsString::from).chain(words.iter().cloned());
    let all: Vec<OsString> = all.collect();
    let mut command = Command::new(&all[0]);
    command.args(&all[1..]).current_dir(folder);
    command.env_clear().env("PATH", env!("PATH")).env("HOME", folder);
    command.envs(launch.environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}
