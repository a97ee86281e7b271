//! codex-proxy: the gateway between developers' Codex CLI and the OpenAI API.
//!
//! `exchange.rs` is the journey of one request; ARCHITECTURE.md tells the rest.

pub mod admin;
pub mod budget;
pub mod cli;
pub mod clock;
pub mod config;
pub mod exchange;
pub mod harden;
pub mod ledger;
pub mod metrics;
pub mod rollup;
pub mod secret;
pub mod serve;
pub mod stored;
