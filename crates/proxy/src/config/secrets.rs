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

    /// Fetches what a configuration refers to, each once. What was read from stdin can be read only
    /// once, so that it is taken from what was fetched before; and so is what a service keeps that
    /// cannot be asked now.
    pub fn fetch(config: &Config, before: Option<&Self>) -> Result<Self, Wrong> {
        let mut secrets = Self(Vec::new());
        for (name, reference) in config.targets().flat_map(super::target::Target::references) {
            if secrets.get(reference).is_some() {
                continue;
            }
            let known = before.and_then(|before| before.get(reference)).cloned();
            let secret = match (reference, known) {
                (SecretRef::Stdin, Some(known)) => known,
                (SecretRef::Stdin, None) if before.is_some() => {
                    return Err(Wrong(format!("{name}: stdin is read only at the start")));
                }
                (_, known) => match (reference.resolve(), known) {
                    (Ok(secret), _) => secret,
                    (Err(wrong), Some(known)) if reference.is_kept_elsewhere() => {
                        tracing::warn!("the secret in use stays: {name}: {wrong}");
                        known
                    }
                    (Err(wrong), _) => return Err(Wrong(format!("{name}: {wrong}"))),
                },
            };
            secrets.0.push((reference.clone(), secret));
        }
        Ok(secrets)
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
