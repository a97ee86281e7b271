//! Parses, starts, dispatches.

use std::process::ExitCode;

/// Takes and gives memory in half the time that the system's needs: thousands of streams at once have
/// theirs in blocks of a few sizes, with little between them.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    codex_proxy::cli::run()
}
