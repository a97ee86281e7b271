//! Runs the simulator: `cargo run -p simulate --example serve -- 127.0.0.1:8090`.

use std::time::Duration;

use anyhow::Context;
use simulate::{Options, Simulator};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8090".to_owned());
    let listen = address.parse().with_context(|| format!("reading the address {address}"))?;
    let simulator = Simulator::start(Options { listen, key: None, pace: Duration::ZERO }).await?;
    println!("simulating on http://{}/v1", simulator.address());
    std::future::pending().await
}
