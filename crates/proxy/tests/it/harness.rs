//! A test language: an upstream, a gateway, a client, each in a line.

pub(crate) mod amazon;
pub(crate) mod authority;
pub(crate) mod autobahn;
pub(crate) mod bucket;
pub(crate) mod client;
pub(crate) mod codex;
pub(crate) mod gateway;
pub(crate) mod matrix;
pub(crate) mod memory;
pub(crate) mod names;
pub(crate) mod recording;
pub(crate) mod sdk;
pub(crate) mod socket;
pub(crate) mod strict;

use std::time::{Duration, Instant};

pub(crate) use client::Raw;
pub(crate) use gateway::Gateway;
pub(crate) use recording::Recording;
pub(crate) use simulate::Simulator;

/// The organisation's key in these tests.
pub(crate) const ORGANISATION_KEY: &str = "sk-organisation-key-of-these-tests";

/// The simulated upstream on a free port.
pub(crate) async fn simulator() -> Simulator {
    let options = simulate::Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        key: Some(ORGANISATION_KEY.to_owned()),
        pace: Duration::ZERO,
    };
    Simulator::start(options).await.unwrap()
}

/// The base address of a simulated upstream.
pub(crate) fn url(simulator: &Simulator) -> String {
    format!("http://{}/v1", simulator.address())
}

/// Waits until something is so, looking often; tells what was awaited when it never comes.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
