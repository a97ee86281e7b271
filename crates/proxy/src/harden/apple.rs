//! macOS: a process that no debugger attaches to.

#![expect(unsafe_code, reason = "the system's call has no safe form")]

use std::io::{Error, Result};
use std::ptr::null_mut;

/// ptrace(2), `PT_DENY_ATTACH`: nobody traces this process from now on. One that is traced already
/// ends at once.
pub(super) fn deny_tracers() -> Result<()> {
    // SAFETY: it takes neither a process nor an address, and touches no memory of ours.
    let result = unsafe { libc::ptrace(libc::PT_DENY_ATTACH, 0, null_mut(), 0) };
    if result == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}
