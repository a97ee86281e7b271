//! Where a secret stands. A secret itself never stands in configuration.

use std::collections::HashMap;
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
    /// `secretsmanager:NAME`, or `secretsmanager:NAME#MEMBER` where it is JSON.
    SecretsManager {
        /// Its name or ARN at AWS Secrets Manager.
        id: String,
        /// Which member of the JSON object that it is.
        member: Option<String>,
    },
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
            ("secretsmanager", name) => {
                let (id, member) = match name.split_once('#') {
                    Some((id, member)) => (id, Some(member)),
                    None => (name, None),
                };
                let is_whole = !id.is_empty() && member != Some("");
                let (id, member) = (id.to_owned(), member.map(str::to_owned));
                is_whole.then_some(Self::SecretsManager { id, member })
            }
            _ => None,
        }
    }

    /// Whether it is kept by a service, which changes it without a word to us.
    pub fn is_kept_elsewhere(&self) -> bool {
        matches!(self, Self::SecretsManager { .. })
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
            Self::SecretsManager { id, member } => kept_elsewhere(id, member.as_deref())?,
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
            Self::SecretsManager { id, member: None } => write!(f, "secretsmanager:{id}"),
            Self::SecretsManager { id, member: Some(member) } => {
                write!(f, "secretsmanager:{id}#{member}")
            }
            Self::Kms(key) => write!(f, "kms:{key}"),
        }
    }
}

/// Where AWS Secrets Manager answers, if not at its usual place: as Amazon's own tools take it.
const ENDPOINT: &str = "AWS_ENDPOINT_URL_SECRETS_MANAGER";

/// Asks AWS Secrets Manager, on a thread of its own: whoever resolves may be in the midst of others'
/// work.
fn kept_elsewhere(id: &str, member: Option<&str>) -> Result<String> {
    let endpoint = super::environment(ENDPOINT);
    let ask = || -> Result<_> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(amazon::secret::text(id, endpoint.as_deref()))?)
    };
    let asked = std::thread::scope(|scope| scope.spawn(ask).join());
    let mut text = asked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let Some(member) = member else { return Ok(std::mem::take(&mut *text)) };
    // What it holds is not repeated.
    let mut object: HashMap<String, serde_json::Value> = serde_json::from_str(&text)
        .map_err(|_| anyhow::anyhow!("the secret secretsmanager:{id} is no JSON object"))?;
    match object.remove(member) {
        Some(serde_json::Value::String(value)) => Ok(value),
        _ => bail!("the secret secretsmanager:{id} has no text under `{member}`"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::SecretRef;

    #[test]
    fn a_reference_is_written_as_it_is_read() {
        let read = |text: &str| SecretRef::parse(text, Path::new("/etc"));
        let arn = "secretsmanager:arn:aws:secretsmanager:eu-central-1:1:secret:openai-AbCdEf#key";
        for text in ["stdin", "env:A", "file:/a/b", "secretsmanager:prod/openai", arn] {
            assert_eq!(read(text).unwrap().to_string(), text);
        }
        for text in
            ["", "env:", "file:", "secretsmanager:", "secretsmanager:#a", "secretsmanager:a#"]
        {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read("kms:alias/x"), None, "only keys of the archive are");
    }
}
