//! Settings of the archive and its spool.

use std::path::{Path, PathBuf};
use std::time::Duration;

use archive::objects::{Access, BucketIn, is_built};

use super::layer::{Layers, Problem};
use super::{Bodies, WhenFull};

/// The archive and its spool.
#[derive(Debug, Clone)]
pub struct Archive {
    /// Address of the object store.
    pub url: String,
    /// What the address does not say.
    pub access: Access,
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
        let Access { region, endpoint, kms_key, .. } = &self.access;
        let of_s3 = [("region", region), ("endpoint", endpoint), ("kms_key", kms_key)];
        for (name, value) in of_s3 {
            if value.is_some() && !self.url.starts_with("s3:") {
                let name = format!("archive.{name}");
                problem(&name, format!("{name} is set, and archive.url is no s3:// address"));
            }
        }
        problems
    }
}

fn access(layers: &Layers) -> Access {
    let endpoint = Some(layers.url("archive.endpoint")).filter(|url| url.host().is_some());
    Access {
        region: layers.optional_text("archive.region"),
        endpoint: endpoint.map(|url| url.to_string().trim_end_matches('/').to_owned()),
        kms_key: layers.optional_text("archive.kms_key"),
        bucket_in: match layers.text("archive.path_style").as_str() {
            "on" => BucketIn::Path,
            "off" => BucketIn::Host,
            _ => BucketIn::Usual,
        },
    }
}
