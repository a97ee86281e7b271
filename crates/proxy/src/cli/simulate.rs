//! `simulate`: the simulated OpenAI upstream alone.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use simulate::{Options, Simulator};

use super::stop_asked;

/// Run a simulated OpenAI API, with scripted faults.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy simulate --listen 127.0.0.1:9090 &
  OPENAI_API_KEY=any codex-proxy serve --upstream-url http://127.0.0.1:9090/v1

What it does is asked for in the prompt, or in the header x-simulate: `sim:status=429`,
`sim:cut=5`, `sim:shell=\"echo hi\"`; docs/simulate.md has them all. GET /simulate/bill says what
it billed.")]
pub struct Args {
    /// Where to listen
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9090")]
    listen: SocketAddr,
    /// The only bearer key it takes [default: any]
    #[arg(long)]
    key: Option<String>,
    /// Pause between two events of a stream
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration)]
    pace: Duration,
}

/// Serves until it is told to stop.
pub fn run(args: &Args) -> Result<()> {
    let options = Options { listen: args.listen, key: args.key.clone(), pace: args.pace };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let simulator = Simulator::start(options).await?;
        let address = simulator.address();
        writeln!(std::io::stderr(), "the simulated OpenAI API listens on http://{address}/v1")?;
        stop_asked().await?;
        simulator.stop().await;
        Ok(())
    })
}
