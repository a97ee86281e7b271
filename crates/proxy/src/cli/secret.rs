//! `print-secret`: for strict mode, whose process must not fetch its key itself.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

use crate::config::Wrong;
use crate::config::reference::SecretRef;
use crate::harden;

/// Print the secret of a reference
#[derive(Debug, clap::Args)]
pub struct Args {
    /// As in configuration: secretsmanager:NAME, for example
    #[arg(value_name = "REFERENCE")]
    reference: String,
}

/// Prints it, without a line's end.
pub fn run(args: &Args) -> Result<()> {
    // Nobody but whoever called it is to see the secret.
    harden::close();
    let reference = SecretRef::parse(&args.reference, Path::new(""));
    let reference = reference.ok_or_else(|| Wrong("this is no reference to a secret".into()))?;
    let secret = reference.resolve()?;
    std::io::stdout().write_all(secret.expose().as_bytes()).context("printing a secret")
}
