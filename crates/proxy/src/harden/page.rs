//! Memory for a credential: never swapped, never dumped, never given to a child, wiped at its end.
//!
//! With `unsafe`, since no safe call gives out such memory.

#![expect(unsafe_code, reason = "memory that the kernel treats apart is asked for by address")]

use std::ffi::c_void;
use std::io::Result;
use std::ptr::{NonNull, null_mut};

#[cfg(target_os = "linux")]
use rustix::mm::{Advice, madvise};
use rustix::mm::{MapFlags, ProtFlags, mlock, mmap_anonymous, munmap};
use zeroize::Zeroize;

/// Whole pages of memory that nothing else shares.
pub struct Page {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory is this value's alone, and belongs to no thread.
unsafe impl Send for Page {}
// SAFETY: through a shared reference it is only read.
unsafe impl Sync for Page {}

impl Page {
    /// Memory for so many bytes, all zero, and what of its protection could not be had.
    pub fn new(length: usize) -> Result<(Self, Vec<String>)> {
        let (access, kind) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // The kernel gives whole pages, and takes each call below as about whole pages.
        // SAFETY: a fresh mapping, at an address of the kernel's choice: it overlaps nothing.
        let start = unsafe { mmap_anonymous(null_mut(), length, access, kind) }?;
        let start = NonNull::new(start.cast::<u8>()).ok_or(std::io::ErrorKind::OutOfMemory)?;
        let page = Self { start, length };
        let missing = page.protect();
        Ok((page, missing))
    }

    fn protect(&self) -> Vec<String> {
        let (address, length) = (self.address(), self.length);
        // SAFETY: all three are about this mapping alone, and none changes what it holds.
        let asked = unsafe {
            [
                ("locking the key's memory", mlock(address, length)),
                #[cfg(target_os = "linux")]
                (
                    "keeping the key's memory out of dumps",
                    madvise(address, length, Advice::LinuxDontDump),
                ),
                #[cfg(target_os = "linux")]
                (
                    "keeping the key's memory from children",
                    madvise(address, length, Advice::LinuxDontFork),
                ),
            ]
        };
        let failed = asked.into_iter().filter_map(|(what, result)| Some((what, result.err()?)));
        failed.map(|(what, error)| format!("{what}: {error}")).collect()
    }

    /// What it holds.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: so many bytes are mapped from there on as long as this value is, and whoever
        // writes needs it alone.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    /// What it holds, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; and nobody else has a reference now.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }

    fn address(&self) -> *mut c_void {
        self.start.as_ptr().cast()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        // SAFETY: the mapping is this value's, which nobody can use from here on. It unlocks too.
        let _ = unsafe { munmap(self.address(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use super::Page;

    #[test]
    fn a_page_is_empty_and_takes_what_is_written() {
        let (mut page, missing) = Page::new(10).unwrap();
        assert!(page.bytes().iter().all(|byte| *byte == 0), "{missing:?}");
        page.bytes_mut()[..3].copy_from_slice(b"key");
        assert_eq!(&page.bytes()[..4], b"key\0");
    }
}
