//! `doctor`: is every part of this installation well?

use anyhow::Result;

use super::output::{Format, Listing};
use super::{Common, Found, block_on};
use crate::admin::doctor::{examine, verdict};
use crate::clock;
use crate::config::Flags;

/// Look at every part of this installation
///
/// Writes and deletes a probe in the data folder and in the archive, and asks each upstream for its
/// models. Ends with 3 where something is wrong.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  codex-proxy doctor --format json")]
pub struct Args {
    /// Form of the listing
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Prints how every part is.
pub fn run(common: &Common, args: &Args) -> Result<()> {
    let config = common.settings(Flags::new())?;
    let parts = block_on(async { Ok(examine(&config, clock::now).await) })?;
    Listing::new(&["part", "state", "detail"], &parts)?.print(args.format)?;
    verdict(&parts).map_err(|wrong| Found(wrong.to_string()).into())
}
