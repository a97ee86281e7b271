//! The product as a process.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;

use archive::objects::Access;
use archive::read::{Exchange, Reader};
use archive::seal::Keys;
use serde_json::Value;
use tempfile::TempDir;

use super::ORGANISATION_KEY;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_codex-proxy");

/// A gateway that is running, with its data folder. Killed when dropped.
pub(crate) struct Gateway {
    pub(crate) folder: TempDir,
    pub(crate) address: SocketAddr,
    /// Where operators ask, if elsewhere: it is told on the line after.
    pub(crate) operators: Option<SocketAddr>,
    process: Child,
    stderr: Option<JoinHandle<String>>,
}

/// A key that was made.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) value: String,
}

impl Gateway {
    /// Starts one on a fresh folder, towards this upstream.
    pub(crate) fn start(upstream: &str) -> Self {
        Self::start_with(upstream, &[])
    }

    /// The same with settings as environment variables.
    pub(crate) fn start_with(upstream: &str, settings: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), upstream, settings)
    }

    /// The same on a folder that exists already.
    pub(crate) fn start_in(folder: TempDir, upstream: &str, settings: &[(&str, &str)]) -> Self {
        Self::launch(folder, upstream, settings, &[])
    }

    /// The same below another program, such as a tracer.
    pub(crate) fn launch(
        folder: TempDir,
        upstream: &str,
        settings: &[(&str, &str)],
        below: &[&str],
    ) -> Self {
        Self::try_launch(folder, upstream, settings, below)
            .unwrap_or_else(|(_, said)| panic!("the gateway did not start: {said}"))
    }

    /// The same; where it ends before it listens, gives the folder back with what it said.
    pub(crate) fn try_launch(
        folder: TempDir,
        upstream: &str,
        settings: &[(&str, &str)],
        below: &[&str],
    ) -> Result<Self, (TempDir, String)> {
        let serve = [PROGRAM, "serve", "--listen", "127.0.0.1:0", "--upstream-url", upstream];
        Self::spawn(folder, &[below, &serve].concat(), settings)
    }

    /// Starts one in this folder that tells everything it does.
    pub(crate) fn traced(folder: TempDir, upstream: &str, settings: &[(&str, &str)]) -> Self {
        let told = [PROGRAM, "--log", "trace"];
        let serve = ["serve", "--listen", "127.0.0.1:0", "--upstream-url", upstream];
        Self::spawn(folder, &[&told[..], &serve].concat(), settings)
            .unwrap_or_else(|(_, said)| panic!("the gateway did not start: {said}"))
    }

    /// Starts one in this folder that listens at more places than the usual one.
    pub(crate) fn listening(
        folder: TempDir,
        upstream: &str,
        settings: &[(&str, &str)],
        more: &[&str],
    ) -> Result<Self, (TempDir, String)> {
        let serve = [PROGRAM, "serve", "--listen", "127.0.0.1:0", "--upstream-url", upstream];
        let listens: Vec<&str> = more.iter().flat_map(|at| ["--listen", at]).collect();
        Self::spawn(folder, &[&serve[..], &listens].concat(), settings)
    }

    fn spawn(
        folder: TempDir,
        words: &[&str],
        settings: &[(&str, &str)],
    ) -> Result<Self, (TempDir, String)> {
        let mut command = clean(words[0], folder.path());
        command.args(&words[1..]).env("OPENAI_API_KEY", ORGANISATION_KEY);
        command.envs(settings.iter().copied()).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap());
        let (mut said, mut address) = (String::new(), None);
        while address.is_none() && lines.read_line(&mut said).unwrap() > 0 {
            let line = said.lines().last().unwrap();
            let url = line.split("listens on http").nth(1).and_then(|url| url.split("://").nth(1));
            address = url.map(|text| text.parse().unwrap());
        }
        let Some(address) = address else {
            let _ = process.wait();
            return Err((folder, said));
        };
        let _ = lines.read_line(&mut said).unwrap();
        let next = said.lines().last().unwrap();
        let operators = next.split("for operators http://").nth(1);
        let operators = operators.map(|text| text.parse().unwrap());
        // Read on, so that the pipe never fills.
        let stderr = std::thread::spawn(move || {
            let _ = lines.read_to_string(&mut said);
            said
        });
        Ok(Self { folder, address, operators, process, stderr: Some(stderr) })
    }

    /// Runs another command beside it, on the same folder.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        run(self.folder.path(), arguments)
    }

    /// Starts another command beside it, whose output is read while it runs.
    pub(crate) fn begin(&self, arguments: &[&str]) -> Child {
        let mut command = clean(PROGRAM, self.folder.path());
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// The same, for a command that must succeed; its stdout.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes a key.
    pub(crate) fn key(&self, user: &str) -> Key {
        self.key_with(user, &[])
    }

    /// Makes a key with more arguments.
    pub(crate) fn key_with(&self, user: &str, more: &[&str]) -> Key {
        let arguments = [&["key", "create", "--user", user, "--format", "json"], more].concat();
        let made: Value = serde_json::from_str(&self.ok(&arguments)).unwrap();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        Key { id: text("id"), value: text("key") }
    }

    /// All records, oldest first.
    pub(crate) fn records(&self) -> Vec<Value> {
        records(self.folder.path())
    }

    /// A body of an exchange as the archive has it.
    pub(crate) fn raw(&self, id: &str, part: &str) -> Vec<u8> {
        let output = self.run(&["audit", "show", id, "--part", part, "--raw"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// An exchange as it is stored.
    pub(crate) async fn stored(&self, id: &str) -> Exchange {
        let data = self.folder.path().join("data");
        let url = format!("file:{}", data.join("archive").display());
        let objects = archive::open(&url, &Access::default(), Keys::default()).unwrap();
        let reader = Reader::new(data.join("spool"), objects);
        let found = reader.find(id).await.unwrap().expect("it has no record");
        reader.exchange(&found).await.unwrap()
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Asks it to read its configuration again.
    pub(crate) fn hang_up(&self) {
        signal(self.pid(), libc::SIGHUP);
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, number: i32) {
        signal(self.pid(), number);
    }

    /// Tells it to stop, and does not wait.
    pub(crate) fn tell_to_stop(&self) {
        signal(self.pid(), libc::SIGTERM);
    }

    /// Starts another one on its folder that takes over from it, and listens where it was told to
    /// besides the usual place. Where that does not come up, what it said.
    pub(crate) fn take_over(
        &mut self,
        upstream: &str,
        settings: &[(&str, &str)],
        more: &[&str],
    ) -> Result<Self, String> {
        let serve = [PROGRAM, "serve", "--takeover", "--listen", "127.0.0.1:0"];
        let mut words = [&serve[..], &["--upstream-url", upstream]].concat();
        words.extend(more.iter().flat_map(|at| ["--listen", at]));
        let folder = std::mem::replace(&mut self.folder, TempDir::new().unwrap());
        Self::spawn(folder, &words, settings).map_err(|(folder, said)| {
            self.folder = folder;
            said
        })
    }

    /// Waits until it has ended by itself; whether well, and what it said.
    pub(crate) fn ended(mut self) -> (bool, String) {
        let well = self.process.wait().unwrap().success();
        (well, self.stderr.take().unwrap().join().unwrap())
    }

    /// Tells it to stop, waits, and gives the folder, whether it ended well, and what it said.
    pub(crate) fn stop(mut self) -> (TempDir, bool, String) {
        // It may have ended by itself, or been killed.
        if !self.has_ended() {
            signal(self.pid(), libc::SIGTERM);
        }
        let well = self.process.wait().unwrap().success();
        let said = self.stderr.take().unwrap().join().unwrap();
        (self.into_folder(), well, said)
    }

    /// Kills it, as `kill -9` does, and gives the folder.
    pub(crate) fn kill(mut self) -> TempDir {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.into_folder()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    fn into_folder(mut self) -> TempDir {
        std::mem::replace(&mut self.folder, TempDir::new().unwrap())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs a command of the product on a data folder.
pub(crate) fn run(data: &Path, arguments: &[&str]) -> Output {
    run_with(data, arguments, &[])
}

/// The same with settings as environment variables.
pub(crate) fn run_with(data: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut command = clean(PROGRAM, data);
    command.args(arguments).envs(settings.iter().copied()).stdin(Stdio::null()).output().unwrap()
}

/// All records of a data folder, oldest first.
pub(crate) fn records(data: &Path) -> Vec<Value> {
    let output = run(data, &["audit", "list", "--limit", "0", "--format", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut records: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    records.reverse();
    records
}

/// A command that knows nothing of the machine's own configuration.
fn clean(program: &str, data: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", env!("PATH")).env("HOME", data);
    command.env("CODEX_PROXY_DATA", data.join("data")).current_dir(data);
    command
}

/// Sends a signal to a process.
pub(crate) fn signal(pid: u32, signal: i32) {
    let number = [format!("-{signal}"), pid.to_string()];
    Command::new("kill").args(number).stderr(Stdio::null()).status().unwrap();
}
