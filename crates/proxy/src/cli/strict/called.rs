//! How this program was called: whether strict mode is meant, before anything is parsed.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use anyhow::Result;
use clap::Parser;

use super::source;
use crate::cli::{Cli, Command, Common};
use crate::config::preset::kept_environment;
use crate::harden;

/// The name of the program that strict mode stands in for.
const ALONE: &str = "codex-responses-api-proxy";

/// Flags before a command that take a value.
const VALUED: [&str; 3] = ["--data", "--config", "--log"];

/// How this program was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Called {
    /// By the name of the other program: there are no commands.
    Alone,
    /// With the command `strict`.
    Strict,
    /// For something else.
    Otherwise,
}

/// A program without commands.
#[derive(Debug, Parser)]
#[command(name = ALONE, version, max_term_width = 100)]
struct Alone {
    #[command(flatten)]
    args: super::Args,
    /// How much to say about what is going on
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log: tracing::Level,
}

impl Called {
    /// Reads the arguments, the program's name first.
    pub fn by(words: impl IntoIterator<Item = OsString>) -> Self {
        let mut words = words.into_iter();
        let name = words.next().unwrap_or_default();
        if Path::new(&name).file_stem() == Some(OsStr::new(ALONE)) {
            return Self::Alone;
        }
        while let Some(word) = words.next() {
            if VALUED.iter().any(|flag| word == *flag) {
                words.next();
            } else if !word.to_string_lossy().starts_with('-') {
                return if word == "strict" { Self::Strict } else { Self::Otherwise };
            }
        }
        Self::Otherwise
    }

    /// Closes this process, where strict mode is meant; what could not be had. Whatever the
    /// environment holds besides what is needed is left behind in the process that was, and with it
    /// what a key is fetched with.
    pub fn close(self, mut words: Vec<OsString>) -> Result<Vec<String>> {
        if self == Self::Otherwise {
            return Ok(Vec::new());
        }
        let missing = harden::close();
        let (environment, is_less) = kept_environment();
        let key = source::fetched(&mut words)?;
        if !is_less && key.is_none() {
            return Ok(missing);
        }
        let failed = harden::start_again(&words, environment, key.map(Into::into));
        Ok(missing.into_iter().chain([failed]).collect())
    }

    /// What is asked for.
    pub(in crate::cli) fn parse(self) -> Cli {
        if self != Self::Alone {
            return Cli::parse();
        }
        let Alone { args, log } = Alone::parse();
        let common = Common { data: None, config: None, log: Some(log) };
        Cli { common, command: Command::Strict(args) }
    }
}

#[cfg(test)]
mod tests {
    use super::Called;

    fn check(line: &str, expected: Called) {
        let words = line.split(' ').map(Into::into);
        assert_eq!(Called::by(words), expected, "{line}");
    }

    #[test]
    fn strict_mode_is_known_before_anything_is_parsed() {
        check("/usr/bin/codex-responses-api-proxy --port 1", Called::Alone);
        check("codex-responses-api-proxy.exe", Called::Alone);
        check("./codex-proxy strict --port 1", Called::Strict);
        check("codex-proxy --log debug strict", Called::Strict);
        check("codex-proxy --log=debug strict", Called::Strict);
        check("codex-proxy --data strict serve", Called::Otherwise);
        check("codex-proxy serve", Called::Otherwise);
        check("codex-proxy --help", Called::Otherwise);
    }
}
