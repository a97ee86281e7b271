//! Parses, starts, dispatches.

use std::process::ExitCode;

fn main() -> ExitCode {
    codex_proxy::cli::run()
}
