//! Where the key comes from, if not from stdin.

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::{ChildStdout, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::config::Wrong;
use crate::config::reference::SecretRef;
use crate::harden;

/// Where it comes from unless somebody says otherwise.
pub const STDIN: &str = "stdin";

/// The command, shown to nobody, that prints a secret.
pub const PRINT: &str = "print-secret";

/// Fetches the key that the words name, if a service keeps it; they name stdin then, which is what
/// comes back. Another process fetches it, with the whole environment, and is gone when the key is
/// handed over: nothing of the key nor of what it was fetched with is left in this one.
pub fn fetched(words: &mut [OsString]) -> Result<Option<ChildStdout>> {
    let Some((word, reference)) = named(words) else { return Ok(None) };
    if !SecretRef::parse(&reference, Path::new("")).is_some_and(|key| key.is_kept_elsewhere()) {
        return Ok(None);
    }
    let fetching = || format!("fetching the key {reference}");
    let print = ["codex-proxy", "--log", "warn", PRINT, &reference].map(OsString::from);
    let mut child = harden::called(&print).with_context(fetching)?;
    child.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = child.spawn().with_context(fetching)?;
    let key = child.stdout.take();
    // A secret is shorter than what a pipe holds.
    let ended = child.wait().with_context(fetching)?;
    ensure!(ended.success(), Wrong(format!("the key {reference} could not be fetched")));
    *word = word.to_string_lossy().replace(&reference, STDIN).into();
    Ok(key)
}

/// The word in which it is named, and its name.
fn named(words: &mut [OsString]) -> Option<(&mut OsString, String)> {
    let mut is_next = false;
    for word in words.iter_mut().skip(1) {
        let text = word.to_str().unwrap_or_default();
        let named = if is_next { Some(text) } else { text.strip_prefix("--key=") };
        if let Some(name) = named.map(str::to_owned) {
            return Some((word, name));
        }
        is_next = text == "--key";
    }
    None
}

/// Opens what a reference names, where this process reads it itself.
pub fn open(reference: &str) -> Result<Option<File>> {
    match SecretRef::parse(reference, Path::new("")) {
        Some(SecretRef::Stdin) => Ok(None),
        Some(SecretRef::File(path)) => {
            let opening = || format!("opening the key in {}", path.display());
            Ok(Some(File::open(&path).with_context(opening)?))
        }
        // The text may be the key itself: it is not repeated.
        _ => bail!(Wrong(
            "--key is a reference to the key, never the key: write stdin, file:PATH or \
             secretsmanager:NAME"
                .to_owned()
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::named;

    fn check(line: &str, expected: Option<(&str, &str)>) {
        let mut words: Vec<OsString> = line.split(' ').map(Into::into).collect();
        let found = named(&mut words).map(|(word, name)| (word.clone(), name));
        let expected = expected.map(|(word, name)| (word.into(), name.to_owned()));
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn the_key_is_named_in_one_word_or_two() {
        check("codex-proxy strict --key file:a --port 1", Some(("file:a", "file:a")));
        check("codex-proxy strict --port 1 --key=file:a", Some(("--key=file:a", "file:a")));
        check("codex-proxy strict --port 1", None);
        check("codex-proxy strict --key", None);
    }
}
