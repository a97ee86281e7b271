//! The secrets that upstreams need, fetched all together.

use redact::secret::Secret;

use super::reference::SecretRef;
use super::{Config, Wrong};

/// Fetched secrets, each under its reference.
#[derive(Debug, Clone)]
pub struct Secrets(Vec<(SecretRef, Secret<String>)>);

impl Secrets {
    /// What stands in for the only one, which is kept elsewhere.
    pub fn standing_in(reference: SecretRef, stand_in: Secret<String>) -> Self {
        Self(vec![(reference, stand_in)])
    }

    /// Fetches what a configuration refers to. What was read from stdin can be read only once, so
    /// that it is taken from what was fetched before.
    pub fn fetch(config: &Config, before: Option<&Self>) -> Result<Self, Wrong> {
        let mut secrets = Vec::new();
        for (name, reference) in config.targets().flat_map(super::target::Target::references) {
            let secret = match (reference, before) {
                (SecretRef::Stdin, Some(before)) => before
                    .get(reference)
                    .cloned()
                    .ok_or_else(|| Wrong(format!("{name}: stdin is read only at the start")))?,
                _ => reference.resolve().map_err(|wrong| Wrong(format!("{name}: {wrong}")))?,
            };
            secrets.push((reference.clone(), secret));
        }
        Ok(Self(secrets))
    }

    /// Whether a service keeps another one now than was fetched; asks it, and waits.
    pub fn have_changed(&self) -> Result<bool, Wrong> {
        for (reference, secret) in &self.0 {
            if reference.is_kept_elsewhere() && reference.resolve()?.expose() != secret.expose() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The secret of a reference.
    pub fn get(&self, reference: &SecretRef) -> Option<&Secret<String>> {
        self.0.iter().find(|(known, _)| known == reference).map(|(_, secret)| secret)
    }
}

impl PartialEq for Secrets {
    fn eq(&self, other: &Self) -> bool {
        let mine = self.0.iter().map(|(reference, secret)| (reference, secret.expose()));
        mine.eq(other.0.iter().map(|(reference, secret)| (reference, secret.expose())))
    }
}
