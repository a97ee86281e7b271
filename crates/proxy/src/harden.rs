//! What a process gives up, so that nobody gets at what it holds: first thing, and once more when it
//! has all it needs.
//!
//! Nothing here fails: what could not be had is told, and the caller decides.

#[cfg(target_os = "macos")]
mod apple;
#[cfg(target_os = "linux")]
mod calls;
pub mod key;
pub mod page;
#[cfg(target_os = "linux")]
mod sandbox;

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Open files at once: each exchange has a connection on either side.
const FILES: u64 = 8192;

/// What a process still needs once it serves.
#[derive(Debug, Default)]
pub struct Needs {
    /// Files that it reads.
    pub files: Vec<PathBuf>,
    /// Folders in which it makes files.
    pub folders: Vec<PathBuf>,
    /// Ports it connects to.
    pub ports: Vec<u16>,
    /// What reads and writes files needs more of the kernel.
    pub archive: bool,
}

/// Closes the process to others: no dumps, no tracer, no further privileges, also for what it
/// becomes. What could not be had.
pub fn close() -> Vec<String> {
    let mut missing = Vec::new();
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    tell(&mut missing, "switching off core dumps", setrlimit(Resource::Core, none));
    close_to_tracers(&mut missing);
    missing
}

/// Gives up all but what is needed, for this thread and those that it starts. What could not be had.
pub fn seal(needs: &Needs) -> Vec<String> {
    let mut missing = Vec::new();
    let mut files = getrlimit(Resource::Nofile);
    let most = files.maximum.map_or(FILES, |most| most.min(FILES));
    (files.current, files.maximum) = (Some(most), Some(most));
    tell(&mut missing, "bounding open files", setrlimit(Resource::Nofile, files));
    enter_sandbox(needs, &mut missing);
    missing
}

/// Starts this program again in its own place, called with these words, its name first, with this
/// environment only and perhaps another stdin: what was loaded for `LD_PRELOAD` and the like is gone
/// then, and no variable is left to be read. Comes back only where that fails.
pub fn start_again(
    words: &[OsString],
    environment: Vec<(OsString, OsString)>,
    stdin: Option<Stdio>,
) -> String {
    let error = called(words).map(|mut command| {
        command.stdin(stdin.unwrap_or_else(Stdio::inherit));
        command.env_clear().envs(environment).exec()
    });
    let (Ok(error) | Err(error)) = error;
    format!("starting again without the environment: {error}")
}

/// This program once more, called with these words, its name first.
pub fn called(words: &[OsString]) -> std::io::Result<Command> {
    let program = if cfg!(target_os = "linux") {
        PathBuf::from("/proc/self/exe")
    } else {
        std::env::current_exe()?
    };
    let mut command = Command::new(program);
    if let Some((name, arguments)) = words.split_first() {
        command.arg0(name).args(arguments);
    }
    Ok(command)
}

#[cfg(target_os = "linux")]
fn close_to_tracers(missing: &mut Vec<String>) {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    let not_dumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    tell(missing, "closing the process to tracers", not_dumpable);
    let no_more = rustix::thread::set_no_new_privs(true);
    tell(missing, "giving up new privileges", no_more);
    // It stays whom it was before the process was closed to it.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    if let Some(tracer) = tracer.map(str::trim).filter(|tracer| *tracer != "0") {
        missing.push(format!("process {tracer} traces this one already"));
    }
}

#[cfg(target_os = "macos")]
fn close_to_tracers(missing: &mut Vec<String>) {
    tell(missing, "closing the process to tracers", apple::deny_tracers());
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn close_to_tracers(missing: &mut Vec<String>) {
    missing.push("closing the process to tracers: not known on this system".to_owned());
}

#[cfg(target_os = "linux")]
fn enter_sandbox(needs: &Needs, missing: &mut Vec<String>) {
    tell(missing, "closing the file system and the network", sandbox::enter(needs));
    tell(missing, "closing the kernel's calls", calls::allow(needs));
}

#[cfg(not(target_os = "linux"))]
fn enter_sandbox(_needs: &Needs, missing: &mut Vec<String>) {
    missing.push("closing the file system, the network and the kernel: not known here".to_owned());
}

fn tell<E: std::fmt::Display>(missing: &mut Vec<String>, what: &str, result: Result<(), E>) {
    if let Err(error) = result {
        missing.push(format!("{what}: {error}"));
    }
}
