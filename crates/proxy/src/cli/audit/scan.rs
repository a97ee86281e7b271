//! `audit scan`: secrets in what is stored, or in a text.

use std::io::{BufWriter, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use archive::erase::mask::{Done, Masker};
use archive::read::Reader;
use clap::ValueEnum;
use jiff::civil::Date;
use redact::rule::{Rules, Tier};
use serde::Serialize;

use super::hold::holds;
use super::verify::keys_in;
use crate::admin::keys::normal;
use crate::cli::output::{Format, Listing, Progress};
use crate::cli::{Common, Found};
use crate::clock;
use crate::config::{Config, Flags, Wrong};
use crate::secret::Derived;
use crate::secret::screen::ScreenKeys;
use crate::serve;
use crate::stored::look::{Look, Wanted};
use crate::stored::memory::Memory;
use crate::stored::tally::{Row as Counted, Tally};
use crate::stored::{self, Among};

/// Find secrets in what is stored, or in a text
///
/// Looks through the spool and the archive with today's rules, and counts what is found by person
/// and rule. What is stored once is looked through once. Exit code 3: something was found.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy audit scan 2026-11-01 2026-11-30 --user ada@example.com
  codex-proxy audit scan --since-last --format json
  codex-proxy audit scan --mask
  codex-proxy audit scan --stdin < body.json
  codex-proxy audit scan --stdin --rule github-pat < notes.txt
  codex-proxy audit scan --rules --format csv")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct Scan {
    /// First day (UTC) of the exchanges [default: whatever there is]
    from: Option<Date>,
    /// Last day [default: the first, if that is given]
    to: Option<Date>,
    /// Only what this person sent
    #[arg(long, value_name = "EMAIL")]
    user: Option<String>,
    /// Only what has come into the archive since this was last done with these rules
    #[arg(long, conflicts_with_all = ["from", "to", "user", "rule"])]
    since_last: bool,
    /// Put masks in the place of what is found in the archive: that cannot be undone. Exit code 0:
    /// it is done. 1: something is still there, as is said; run it again
    #[arg(long, conflicts_with = "since_last")]
    mask: bool,
    /// File with public keys of earlier secrets, whose manifests count too, one a line
    #[arg(long, value_name = "FILE", requires = "mask")]
    public_key: Option<PathBuf>,
    /// Look through what is read from stdin: a body, or any text. A line of JSON a finding
    #[arg(long, conflicts_with_all = ["from", "to", "user", "since_last", "mask"])]
    stdin: bool,
    /// List the rules
    #[arg(long, conflicts_with_all = ["stdin", "from", "to", "user", "since_last", "mask"])]
    rules: bool,
    /// How sure at least [default: likely; with --rule: possible]
    #[arg(long, value_enum)]
    tier: Option<TierName>,
    /// Only what these rules find
    #[arg(long, value_name = "RULE")]
    rule: Vec<String>,
    /// Form of the listing
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TierName {
    /// A checksum, or a shape that nothing else has.
    Certain,
    /// Also what most likely is a secret.
    Likely,
    /// Also what may be one.
    Possible,
}

impl TierName {
    fn tier(self) -> Tier {
        match self {
            Self::Certain => Tier::Certain,
            Self::Likely => Tier::Likely,
            Self::Possible => Tier::Possible,
        }
    }
}

/// A finding in a text.
#[derive(Serialize)]
struct Line<'a> {
    rule: &'a str,
    tier: &'a str,
    start: usize,
    end: usize,
}

/// A rule.
#[derive(Serialize)]
struct Row<'a> {
    rule: &'a str,
    tier: &'a str,
    about: &'a str,
    source: &'a str,
}

impl Scan {
    /// Whether it is about a text, or about rules.
    pub(super) fn needs_no_archive(&self) -> bool {
        self.stdin || self.rules
    }

    fn wanted(&self, rules: &Rules) -> Result<Wanted, Wrong> {
        Wanted::new(rules, self.tier.map(TierName::tier), &self.rule).map_err(Wrong)
    }
}

const COLUMNS: &[&str] =
    &["user", "rule", "tier", "count", "exchanges", "first_day", "last_day", "first_exchange"];

/// Looks through what is stored, and prints what was found.
pub(super) async fn run(config: &Config, reader: &Reader, scan: &Scan) -> Result<()> {
    let (from, to) = (scan.from, scan.to.or(scan.from));
    if let (Some(from), Some(to)) = (from, to)
        && to < from
    {
        return Err(Wrong(format!("the last day {to} is before the first, {from}")).into());
    }
    let wanted = scan.wanted(&config.screen.rules)?;
    let keys = ScreenKeys::new(&Derived::from(&config.secret)?.screen_key());
    let among = Among { user: scan.user.as_deref().map(normal), from, to };
    if scan.mask {
        let look = Look::new(&config.screen, keys, wanted);
        return mask((config, reader), scan, &look, &among).await;
    }
    let look = Arc::new(Look::new(&config.screen, keys, wanted));
    let progress = Progress::default();
    let mut tell = move |done: &dyn std::fmt::Display| progress.tell(done);
    if !scan.since_last {
        let tally = stored::all(reader, &look, among, &mut tell).await?;
        drop(tell);
        return report(tally, scan.format, || Ok(()));
    }
    let Some(mut memory) = Memory::open(&config.data, &look)? else {
        bail!("somebody else is at it: a `serve` does the same once a day, or another command");
    };
    let tally = stored::fresh(reader, &look, &mut memory, (0, &mut tell)).await?;
    drop(tell);
    report(tally, scan.format, || memory.told())
}

/// Masks what is found in the archive, and says what is left.
async fn mask(
    (config, reader): (&Config, &Reader),
    scan: &Scan,
    look: &Look,
    among: &Among,
) -> Result<()> {
    let derived = Derived::from(&config.secret)?;
    let signer = derived.signer();
    let others = scan.public_key.as_deref().map_or(Ok(Vec::new()), keys_in)?;
    let objects = config.archive.open()?;
    let holds = holds(config, &others).await?;
    let keys = [vec![signer.public_key()], others].concat();
    // What no `serve` has open is brought to the archive first.
    if !reader.view().context("reading the spool")?.unpublished().is_empty() {
        let (_, spool, publisher) = serve::spool(config).await?;
        spool.close();
        publisher.finish();
    }
    let (objects, signer, keys, holds) = (&*objects, &signer, &*keys, &holds);
    let masker = Masker { objects, signer, keys, holds, now: clock::now() };
    let screen_keys = ScreenKeys::new(&derived.screen_key());
    let progress = Progress::default();
    let mut tell = move |done: &dyn std::fmt::Display| progress.tell(done);
    let made =
        stored::mask::mask((reader, &masker), (look, &screen_keys), among, &mut tell).await?;
    drop(tell);
    let rows: Vec<Counted> = made.tally.into_rows().collect();
    Listing::new(COLUMNS, &rows)?.print(scan.format)?;
    left(&made.done, made.waiting.count())
}

/// Says what was masked; fails where something is left.
fn left(done: &Done, waiting: u64) -> Result<()> {
    let mut stderr = std::io::stderr();
    let Done { exchanges, files, held, refused } = done;
    let _ = writeln!(stderr, "masked in {exchanges} exchanges, {files} files");
    if *held > 0 {
        let _ = writeln!(stderr, "left as they are, since they are held: {held} exchanges");
    }
    for refused in refused {
        let _ = writeln!(stderr, "not masked: {refused}");
    }
    if !refused.is_empty() {
        bail!("{} files could not be masked", refused.len());
    }
    if waiting > 0 {
        bail!(
            "{waiting} secrets are still in the spool: run this again in a minute, when serve has \
             published them"
        );
    }
    Ok(())
}

/// Prints what was found; `told` is called when that is done.
fn report(tally: Tally, format: Format, told: impl FnOnce() -> Result<()>) -> Result<()> {
    let count = tally.count();
    let rows: Vec<Counted> = tally.into_rows().collect();
    Listing::new(COLUMNS, &rows)?.print(format)?;
    told()?;
    found(count)
}

/// Looks through stdin, or lists rules: that needs no data folder.
pub(super) fn run_alone(common: &Common, scan: &Scan) -> Result<()> {
    let rules = rules(common)?;
    let wanted = scan.wanted(&rules)?;
    if scan.rules { list(&rules, &wanted, scan.format) } else { stdin(&rules, &wanted) }
}

/// Those of the configuration. One that nobody has named, and that is wrong, is not this command's
/// affair: a check in somebody's pipeline goes on with the rules of this program.
fn rules(common: &Common) -> Result<Arc<Rules>> {
    match common.settings(Flags::new()) {
        Ok(config) => Ok(config.screen.rules),
        Err(error) if common.config.is_some() => Err(error),
        Err(error) => {
            tracing::warn!("the configuration is wrong, so its rules are not used: {error:#}");
            Ok(Arc::new(Rules::builtin()))
        }
    }
}

fn stdin(rules: &Rules, wanted: &Wanted) -> Result<()> {
    let mut text = Vec::new();
    std::io::stdin().lock().read_to_end(&mut text).context("reading stdin")?;
    let mut findings = rules.scan(&text);
    findings.retain(|finding| wanted.takes(finding));
    let mut out = BufWriter::new(std::io::stdout().lock());
    for finding in &findings {
        let (rule, tier) = (rules.name(finding.rule), finding.tier.as_str());
        let line = Line { rule, tier, start: finding.span.start, end: finding.span.end };
        serde_json::to_writer(&mut out, &line)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    found(findings.len() as u64)
}

fn list(rules: &Rules, wanted: &Wanted, format: Format) -> Result<()> {
    let row = |id| {
        let source = match rules.source(id) {
            "" => "screen.custom",
            source => source,
        };
        let tier = rules.tier(id).as_str();
        Row { rule: rules.name(id), tier, about: rules.about(id), source }
    };
    let rows: Vec<Row<'_>> = rules.iter().filter(|id| wanted.lists(*id)).map(row).collect();
    Listing::new(&["rule", "tier", "about", "source"], &rows)?.print(format)
}

/// Says by the exit code whether something was found.
fn found(count: u64) -> Result<()> {
    match count {
        0 => Ok(()),
        1 => Err(Found("1 secret was found".to_owned()).into()),
        count => Err(Found(format!("{count} secrets were found")).into()),
    }
}
