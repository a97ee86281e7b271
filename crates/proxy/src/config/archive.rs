//! Settings of the archive and its spool.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use archive::Objects;
use archive::objects::{Access, BucketIn, is_built};
use archive::read::Reader;
use archive::seal::service::KeyService;
use archive::seal::{Key, Keys, kms};

use super::layer::{Layers, Problem};
use super::reference::SecretRef;
use super::{Bodies, WhenFull, Wrong};

const ENCRYPTION_KEY: &str = "archive.encryption_key";
const ENCRYPTION_KEYS_OLD: &str = "archive.encryption_keys_old";

/// The archive and its spool.
#[derive(Debug, Clone)]
pub struct Archive {
    /// Address of the object store.
    pub url: String,
    /// What the address does not say.
    pub access: Access,
    /// Where the key stands that new objects are sealed with; none: they are not.
    pub encryption_key: Option<SecretRef>,
    /// Where those stand that older objects were sealed with.
    pub encryption_keys_old: Vec<SecretRef>,
    /// The folder on local disk that feeds it.
    pub spool: PathBuf,
    /// The most that may wait in that folder, bytes.
    pub spool_quota: u64,
    /// Whether bodies are kept.
    pub bodies: Bodies,
    /// How many days bodies are kept.
    pub retain_days: u64,
    /// How many days records are kept.
    pub retain_records_days: u64,
    /// When appended frames are brought to the disk.
    pub sync: archive::spool::Sync,
    /// What happens when no record can be taken.
    pub when_full: WhenFull,
    /// How long a segment of the spool grows.
    pub seal_after: Duration,
}

impl Archive {
    pub(super) fn build(layers: &Layers, data: &Path) -> Self {
        let url = layers.optional_text("archive.url");
        Self {
            url: url.unwrap_or_else(|| format!("file:{}", data.join("archive").display())),
            access: access(layers),
            encryption_key: layers.reference(ENCRYPTION_KEY),
            encryption_keys_old: layers.references(ENCRYPTION_KEYS_OLD),
            spool: layers.optional_path("spool").unwrap_or_else(|| data.join("spool")),
            spool_quota: layers.bytes("archive.spool_quota"),
            bodies: match layers.text("archive.bodies").as_str() {
                "none" => Bodies::None,
                _ => Bodies::Full,
            },
            retain_days: layers.bytes("archive.retain_days"),
            retain_records_days: layers.bytes("archive.retain_records_days"),
            sync: match layers.text("archive.sync").as_str() {
                "os" => archive::spool::Sync::Os,
                "always" => archive::spool::Sync::Always,
                _ => archive::spool::Sync::Group,
            },
            when_full: match layers.text("archive.when_full").as_str() {
                "proceed" => WhenFull::Proceed,
                _ => WhenFull::Refuse,
            },
            seal_after: layers.duration("archive.seal_after"),
        }
    }

    /// Opens the object store, with the keys of sealed objects.
    pub fn open(&self) -> Result<Objects> {
        let objects = archive::open(&self.url, &self.access, self.keys()?);
        objects.with_context(|| format!("opening the archive {}", self.url))
    }

    /// What reads the archive, and the spool that feeds it.
    pub fn reader(&self) -> Result<Reader> {
        Ok(Reader::new(self.spool.clone(), self.open()?))
    }

    /// Fetches the keys of sealed objects.
    pub fn keys(&self) -> Result<Keys, Wrong> {
        let mut keys = Keys::default();
        match &self.encryption_key {
            Some(SecretRef::Kms(kms)) => {
                keys.service = Some(service(ENCRYPTION_KEY, kms, &self.access)?);
            }
            Some(reference) => keys.current = Some(key(ENCRYPTION_KEY, reference)?),
            None => {}
        }
        for reference in &self.encryption_keys_old {
            if let SecretRef::Kms(kms) = reference {
                keys.old_services.push(service(ENCRYPTION_KEYS_OLD, kms, &self.access)?);
            } else {
                keys.old.push(key(ENCRYPTION_KEYS_OLD, reference)?);
            }
        }
        Ok(keys)
    }

    /// Whether a key of the archive stays with KMS.
    fn asks_kms(&self) -> bool {
        let mut keys = self.encryption_key.iter().chain(&self.encryption_keys_old);
        keys.any(|key| matches!(key, SecretRef::Kms(_)))
    }

    /// Where the keys of sealed objects stand that can be read, each under its setting.
    pub fn references(&self) -> impl Iterator<Item = (String, &SecretRef)> {
        let current = self.encryption_key.iter().map(|one| (ENCRYPTION_KEY.to_owned(), one));
        current
            .chain(self.encryption_keys_old.iter().map(|one| (ENCRYPTION_KEYS_OLD.to_owned(), one)))
            .filter(|(_, one)| !matches!(one, SecretRef::Kms(_)))
    }

    /// Values that are right alone and wrong together, or in this build.
    pub(super) fn contradictions(&self, layers: &Layers) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |name: &str, what: String| {
            problems.push(Problem { place: layers.place(name), what });
        };
        if let Err(error) = is_built(&self.url) {
            problem("archive.url", format!("archive.url: {error}"));
        }
        if self.retain_records_days < self.retain_days {
            let (records, bodies) = (self.retain_records_days, self.retain_days);
            let what = format!(
                "archive.retain_records_days, {records}, is less than archive.retain_days, \
                 {bodies}: without its record nobody finds a body"
            );
            problem("archive.retain_records_days", what);
        }
        if let Some((name, _)) = self.references().find(|(_, one)| **one == SecretRef::Stdin) {
            let what = "every command that reads needs it: write env:NAME or file:PATH";
            problem(&name, format!("{name} is stdin, and {what}"));
        }
        let Access { region, endpoint, kms_key, kms_endpoint, .. } = &self.access;
        if kms_endpoint.is_some() && !self.asks_kms() {
            let what = "archive.kms_endpoint is set, and no key of the archive is kms:KEY";
            problem("archive.kms_endpoint", what.to_owned());
        }
        let of_s3 = [("region", region), ("endpoint", endpoint), ("kms_key", kms_key)];
        for (name, value) in of_s3 {
            let is_of_kms = name == "region" && self.asks_kms();
            if value.is_some() && !is_of_kms && !self.url.starts_with("s3:") {
                let name = format!("archive.{name}");
                problem(&name, format!("{name} is set, and archive.url is no s3:// address"));
            }
        }
        problems
    }
}

fn key(name: &str, reference: &SecretRef) -> Result<Key, Wrong> {
    let text = reference.resolve().map_err(|wrong| Wrong(format!("{name}: {wrong}")))?;
    Key::parse(text.expose()).ok_or_else(|| {
        let hint = "make one with `openssl rand -hex 32`";
        Wrong(format!("{name}: the key in {reference} is not 64 hexadecimal digits: {hint}"))
    })
}

fn service(name: &str, key: &str, access: &Access) -> Result<Arc<dyn KeyService>, Wrong> {
    kms(key, access).map_err(|error| Wrong(format!("{name}: {error}")))
}

fn access(layers: &Layers) -> Access {
    let endpoint = |name| {
        let url = Some(layers.url(name)).filter(|url| url.host().is_some());
        url.map(|url| url.to_string().trim_end_matches('/').to_owned())
    };
    Access {
        region: layers.optional_text("archive.region"),
        endpoint: endpoint("archive.endpoint"),
        kms_endpoint: endpoint("archive.kms_endpoint"),
        kms_key: layers.optional_text("archive.kms_key"),
        bucket_in: match layers.text("archive.path_style").as_str() {
            "on" => BucketIn::Path,
            "off" => BucketIn::Host,
            _ => BucketIn::Usual,
        },
    }
}
