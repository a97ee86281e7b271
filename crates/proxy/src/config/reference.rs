//! Where a secret stands. A secret itself never stands in configuration.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use redact::secret::Secret;

use super::Wrong;

/// A reference to a secret; resolved only by the command that needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// `env:NAME`
    Env(String),
    /// `file:PATH`
    File(PathBuf),
    /// `stdin`
    Stdin,
    /// `kms:KEY`: one that stays with Amazon's key service. Only keys of the archive are named so.
    Kms(String),
}

impl SecretRef {
    /// Reads a reference; relative paths are taken from `base`.
    pub fn parse(text: &str, base: &Path) -> Option<Self> {
        if text == "stdin" {
            return Some(Self::Stdin);
        }
        match text.split_once(':')? {
            ("env", name) if !name.is_empty() => Some(Self::Env(name.to_owned())),
            ("file", path) if !path.is_empty() => Some(Self::File(base.join(path))),
            _ => None,
        }
    }

    /// Fetches the secret; surrounding white space is not part of it.
    pub fn resolve(&self) -> Result<Secret<String>, Wrong> {
        self.fetch().map_err(|error| Wrong(format!("{error:#}")))
    }

    fn fetch(&self) -> Result<Secret<String>> {
        let mut text = match self {
            Self::Env(name) => super::environment(name)
                .with_context(|| format!("the environment variable {name} is not set"))?,
            Self::File(path) => std::fs::read_to_string(path)
                .with_context(|| format!("reading the secret in {}", path.display()))?,
            Self::Stdin => {
                let mut text = String::new();
                std::io::stdin()
                    .read_to_string(&mut text)
                    .context("reading a secret from stdin")?;
                text
            }
            Self::Kms(_) => bail!("{self} stays with KMS: nobody reads it"),
        };
        let trimmed = Secret::new(text.trim().to_owned());
        zeroize::Zeroize::zeroize(&mut text);
        ensure!(!trimmed.expose().is_empty(), "the secret {self} is empty");
        if trimmed.expose().contains(char::is_control) {
            bail!("the secret {self} has a line break or another control character in it");
        }
        Ok(trimmed)
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Stdin => f.write_str("stdin"),
            Self::Kms(key) => write!(f, "kms:{key}"),
        }
    }
}
