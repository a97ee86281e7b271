//! Parses, starts, dispatches.

use std::process::ExitCode;

/// Takes and gives memory in half the time that the system's needs: thousands of streams at once have
/// theirs in blocks of a few sizes, with little between them.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// It gives back within half a second what is not needed any more: streams that begin leave half as
/// much behind as they keep. Read by the allocator as it starts (`jemalloc`(3), "TUNING").
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "it is under this name that the allocator looks for it")]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static ALLOCATOR_SETTINGS: &[u8; 36] = b"dirty_decay_ms:500,muzzy_decay_ms:0\0";

fn main() -> ExitCode {
    codex_proxy::cli::run()
}
