//! Configuration that changes under way: read again as a whole, and taken as a whole or not at all.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::signal::unix::Signal;
use tokio_util::sync::CancellationToken;

use super::route::Site;
use super::terms::{Lasting, Read, Terms};
use super::tls;
use crate::config::layer::Layers;
use crate::config::reference::SecretRef;
use crate::config::setting::FIXED;
use crate::config::target::Target;
use crate::config::tls::Tls;
use crate::config::{Config, Origin, Wrong};

/// How often files are looked at. What has changed is taken when it is the same at the next look:
/// a file that is just being written says what nobody meant.
const LOOK: Duration = Duration::from_millis(500);

/// A configuration that was read, with an eye on the files it came from.
pub struct Watch {
    origin: Origin,
    layers: Layers,
    config: Files,
    certificates: Files,
    tls: Option<Tls>,
    /// How often services are asked for secrets that they keep, and when they were last.
    refresh: (Duration, Instant),
}

impl Watch {
    /// Reads the configuration; says everything that is wrong with it.
    pub fn read(origin: Origin) -> Result<(Config, Self), Wrong> {
        // Looked at before it is read: what changes in between is seen as changed.
        let mut files = Files::new(vec![origin.file()]);
        let (config, layers) = origin.load().map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Wrong(lines.join("\n"))
        })?;
        for warning in &layers.warnings {
            tracing::warn!("{warning}");
        }
        // It may come later.
        files.add(Some(config.prices.clone().unwrap_or_else(|| config.own_prices())));
        for (_, reference) in config.targets().flat_map(Target::references) {
            if let SecretRef::File(secret) = reference {
                files.add(Some(secret.clone()));
            }
        }
        let tls = config.tls.clone();
        let certificates = Files::new(tls.iter().flat_map(files_of).collect());
        let refresh = (config.secrets_refresh, Instant::now());
        let watch = Self { origin, layers, config: files, certificates, tls, refresh };
        Ok((config, watch))
    }
}

fn files_of(tls: &Tls) -> Vec<PathBuf> {
    let mut files = vec![tls.certificate.clone(), tls.key.clone()];
    files.extend(tls.clients.iter().map(|(ca, _)| ca.clone()));
    files
}

/// Reads configuration again.
pub struct Reader {
    watch: Watch,
    site: Arc<Site>,
    lasting: Arc<Lasting>,
}

impl Reader {
    /// Keeps a gateway at what its configuration says.
    pub fn new(watch: Watch, site: Arc<Site>, lasting: Arc<Lasting>) -> Self {
        Self { watch, site, lasting }
    }

    /// Looks until it is told to stop.
    pub async fn run(mut self, mut asked: Signal, stop: CancellationToken) {
        loop {
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                _ = asked.recv() => true,
                () = tokio::time::sleep(LOOK) => false,
            };
            // Reading files and secrets must not stand in the way of exchanges.
            let looked = tokio::task::spawn_blocking(move || {
                if asked {
                    self.reload();
                }
                self.look();
                self
            });
            let Ok(same) = looked.await else { return };
            self = same;
        }
    }

    fn look(&mut self) {
        if self.watch.config.have_changed() || self.secrets_have_changed() {
            self.reload();
        }
        if self.watch.certificates.have_changed() {
            self.renew();
        }
    }

    /// Whether what services keep is not what is in use. One that cannot be asked changes nothing,
    /// and is asked again.
    fn secrets_have_changed(&mut self) -> bool {
        let (every, last) = &mut self.watch.refresh;
        if last.elapsed() < *every {
            return false;
        }
        *last = Instant::now();
        self.site.terms().secrets_have_changed().unwrap_or_else(|wrong| {
            tracing::warn!("the secret in use stays: {wrong}");
            false
        })
    }

    /// Takes the configuration as it is now, or says why not.
    fn reload(&mut self) {
        self.watch.config.take();
        let reloaded = self.try_reload();
        self.site.metrics.reloaded("configuration", outcome(&reloaded));
        match reloaded {
            Ok(changed) => {
                tracing::info!(changed = changed.join(", "), "the configuration was read again");
            }
            Err(error) => {
                tracing::warn!("the configuration is not taken, the one before stays: {error:#}");
            }
        }
    }

    fn try_reload(&mut self) -> Result<Vec<&'static str>> {
        let (config, watch) = Watch::read(self.watch.origin.clone())?;
        let changed = watch.layers.differing(&self.watch.layers);
        let fixed: Vec<&str> = changed.iter().filter(|p| FIXED.contains(p)).copied().collect();
        ensure!(
            fixed.is_empty(),
            "{} cannot change under way: restart, or put back what was there; all other changes wait for that",
            fixed.join(", ")
        );
        let read = Read::new(&config, Some(&self.site.terms()))?;
        self.site.put(Terms::new(&config, read, &self.lasting));
        self.watch = watch;
        Ok(changed)
    }

    /// Takes the certificate as it is now, or says why not. It is renewed also while the rest of
    /// the configuration is wrong: an old one would end all connections.
    fn renew(&mut self) {
        let Some(settings) = &self.watch.tls else { return };
        let renewed = tls::read(settings);
        self.site.metrics.reloaded("certificate", outcome(&renewed));
        match renewed {
            Ok(tls) => {
                self.site.put(self.site.terms().with_tls(tls));
                tracing::info!("a new certificate is in use");
            }
            Err(error) => {
                tracing::warn!("the certificate is not taken, the one before stays: {error:#}");
            }
        }
    }
}

fn outcome<T, E>(reloaded: &Result<T, E>) -> &'static str {
    if reloaded.is_ok() { "taken" } else { "refused" }
}

/// Files, as they were when they were taken.
struct Files {
    paths: Vec<PathBuf>,
    taken: Vec<Option<Stamp>>,
    last: Vec<Option<Stamp>>,
}

/// Tells one state of a file from another: its number, length and time of change. A file that was
/// replaced has another number.
type Stamp = (u64, u64, i64, i64);

impl Files {
    fn new(paths: Vec<PathBuf>) -> Self {
        let taken: Vec<_> = paths.iter().map(stamp).collect();
        Self { last: taken.clone(), taken, paths }
    }

    fn add(&mut self, path: Option<PathBuf>) {
        let stamps = path.iter().map(stamp);
        self.taken.extend(stamps.clone());
        self.last.extend(stamps);
        self.paths.extend(path);
    }

    /// What they are now is what was taken.
    fn take(&mut self) {
        self.last = self.paths.iter().map(stamp).collect();
        self.taken.clone_from(&self.last);
    }

    /// Whether one is not as it was taken, and rests. Said once for each change.
    fn have_changed(&mut self) -> bool {
        let now: Vec<_> = self.paths.iter().map(stamp).collect();
        let rest = now == self.last;
        let changed = rest && now != self.taken;
        if changed {
            self.taken.clone_from(&now);
        }
        self.last = now;
        changed
    }
}

fn stamp(path: &PathBuf) -> Option<Stamp> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
}
