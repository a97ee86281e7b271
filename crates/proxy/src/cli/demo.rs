//! x
/// x
#[derive(Debug, clap::Args)]
pub struct Args {
    /// x
    #[arg(long)]
    pub once: bool,
}
/// x
pub fn run(_args: &Args) -> anyhow::Result<()> {
    Ok(())
}
