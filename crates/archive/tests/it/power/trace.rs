//! Reads what `strace -f -y -v -xx` wrote.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// With this begins what the watched process says.
pub(super) const SAYS: &str = "safe: ";

/// Something that happened to the disk, or was said.
#[derive(Debug)]
pub(super) enum Event {
    Opened { path: PathBuf, truncates: bool },
    Wrote { path: PathBuf, bytes: Vec<u8> },
    Sought { path: PathBuf, to: usize },
    Cut { path: PathBuf, length: usize },
    Renamed { from: PathBuf, to: PathBuf },
    Linked { from: PathBuf, to: PathBuf },
    Removed { path: PathBuf },
    MadeFolder { path: PathBuf },
    SyncBegan { path: PathBuf, number: u64 },
    SyncEnded { number: u64 },
    Said(String),
}

/// The events below `root`, in their order.
pub(super) fn events(log: &str, root: &Path) -> Vec<Event> {
    let (mut events, mut begun, mut syncs) = (Vec::new(), HashMap::new(), 0);
    let mut syncing = HashMap::new();
    for line in log.lines() {
        let (pid, text) = line.split_once(char::is_whitespace).unwrap();
        let text = text.trim_start();
        let (call, is_whole) = if let Some(call) = text.strip_suffix(" <unfinished ...>") {
            begun.insert(pid, call);
            (call.to_owned(), false)
        } else if let Some(rest) = text.strip_prefix("<... ") {
            let (_, rest) = rest.split_once(" resumed>").unwrap();
            (begun.remove(pid).unwrap().to_owned() + rest, true)
        } else {
            (text.to_owned(), true)
        };
        let was_begun = is_whole && text.starts_with("<... ");
        if let Some(path) = synced(&call, root) {
            if !was_begun {
                syncs += 1;
                syncing.insert(pid, syncs);
                events.push(Event::SyncBegan { path, number: syncs });
            }
            if is_whole {
                events.push(Event::SyncEnded { number: syncing[pid] });
            }
        } else if is_whole {
            events.extend(event(&call, root));
        }
    }
    events
}

/// The file or folder that a call syncs.
fn synced(call: &str, root: &Path) -> Option<PathBuf> {
    let (name, rest) = call.split_once('(')?;
    matches!(name, "fsync" | "fdatasync").then_some(())?;
    // The folder of all, too: it has names.
    path_of_descriptor(rest).filter(|path| path.starts_with(root))
}

fn event(call: &str, root: &Path) -> Option<Event> {
    let (name, rest) = call.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    if result.starts_with('-') {
        return None;
    }
    let descriptor = || path_of_descriptor(arguments);
    let named = |index: usize| {
        let path = PathBuf::from(text(&strings(arguments).get(index)?.clone()));
        below(root.join(path), root)
    };
    match name {
        "openat" => opened(arguments, result, root),
        "write" | "writev" => {
            let bytes: Vec<u8> = strings(arguments).concat();
            if let Some(said) = text(&bytes).strip_prefix(SAYS) {
                return Some(Event::Said(said.to_owned()));
            }
            let path = below(descriptor()?, root)?;
            let written: usize = result.split('<').next()?.trim().parse().unwrap();
            Some(Event::Wrote { path, bytes: bytes[..written].to_vec() })
        }
        "lseek" => {
            Some(Event::Sought { path: below(descriptor()?, root)?, to: result.parse().ok()? })
        }
        "ftruncate" => {
            let length = arguments.trim_end_matches(')').rsplit(", ").next()?.parse().ok()?;
            Some(Event::Cut { path: below(descriptor()?, root)?, length })
        }
        "rename" | "renameat" | "renameat2" => {
            Some(Event::Renamed { from: named(0)?, to: named(1)? })
        }
        "link" | "linkat" => Some(Event::Linked { from: named(0)?, to: named(1)? }),
        "unlink" | "unlinkat" | "rmdir" => Some(Event::Removed { path: named(0)? }),
        "mkdir" | "mkdirat" => Some(Event::MadeFolder { path: named(0)? }),
        _ => None,
    }
}

/// Only what is opened to be written; the name is read where the result tells it.
fn opened(arguments: &str, result: &str, root: &Path) -> Option<Event> {
    let has = |flag: &str| arguments.contains(flag);
    (has("O_WRONLY") || has("O_RDWR")).then_some(())?;
    let path = below(path_of_descriptor(result)?, root)?;
    assert!(!has("O_APPEND"), "the model knows no such file: {}", path.display());
    Some(Event::Opened { path, truncates: has("O_TRUNC") })
}

/// `5<\x2f\x74…>`
fn path_of_descriptor(text: &str) -> Option<PathBuf> {
    let (number, rest) = text.split_once('<')?;
    number.parse::<u32>().ok()?;
    Some(PathBuf::from(self::text(&bytes(rest.split_once('>')?.0))))
}

fn below(path: PathBuf, root: &Path) -> Option<PathBuf> {
    (path.starts_with(root) && path != root).then_some(path)
}

/// The strings among arguments; as all their bytes are written in hexadecimal, no quote is inside.
fn strings(arguments: &str) -> Vec<Vec<u8>> {
    arguments.split('"').skip(1).step_by(2).map(bytes).collect()
}

/// `\x61\x62`
fn bytes(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
