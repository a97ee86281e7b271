//! What another process holds in memory, as root can look it up.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// A place where something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) address: u64,
    /// What the kernel says of the memory there: `lo` locked, `dd` not dumped, `dc` not given to
    /// children.
    pub(crate) flags: Vec<String>,
}

/// A stretch of addresses.
struct Region {
    begin: u64,
    end: u64,
    flags: Vec<String>,
}

/// All places in a process's memory where these bytes stand.
pub(crate) fn find(pid: u32, bytes: &[u8]) -> Vec<Place> {
    let memory = File::open(format!("/proc/{pid}/mem")).expect("looking into memory takes root");
    let mut found = Vec::new();
    let mut looked_at = 0;
    for region in regions(pid) {
        let length = usize::try_from(region.end - region.begin).unwrap();
        let mut content = vec![0; length];
        // Some cannot be read, as what belongs to the kernel.
        if memory.read_exact_at(&mut content, region.begin).is_err() {
            continue;
        }
        looked_at += length;
        let places = memchr::memmem::find_iter(&content, bytes);
        found.extend(
            places
                .map(|at| Place { address: region.begin + at as u64, flags: region.flags.clone() }),
        );
    }
    assert!(looked_at > 1 << 20, "nothing of the process's memory was seen");
    found
}

fn regions(pid: u32) -> Vec<Region> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let mut regions: Vec<Region> = Vec::new();
    for line in text.lines() {
        let first = line.split(' ').next().unwrap();
        let bounds = first.split_once('-').and_then(|(begin, end)| {
            let address = |text| u64::from_str_radix(text, 16).ok();
            Some((address(begin)?, address(end)?))
        });
        if let Some((begin, end)) = bounds {
            regions.push(Region { begin, end, flags: Vec::new() });
        } else if let (Some(flags), Some(region)) =
            (line.strip_prefix("VmFlags:"), regions.last_mut())
        {
            region.flags = flags.split_whitespace().map(str::to_owned).collect();
        }
    }
    regions
}
