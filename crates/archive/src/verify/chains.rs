//! The manifests of each node, one behind the other.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::Wrong;
use crate::manifest::Manifest;
use crate::sign::sha256;

/// The manifests of each node, by their numbers.
pub(super) type Chains = BTreeMap<String, BTreeMap<u64, Link>>;

/// A manifest in its chain.
pub(super) struct Link {
    path: String,
    sha256: String,
    previous: Option<String>,
}

/// Adds a manifest to its chain.
pub(super) fn link(manifest: Manifest, path: String, text: &[u8], chains: &mut Chains) {
    let links = chains.entry(manifest.node).or_default();
    let link = Link { path, sha256: sha256(text), previous: manifest.previous };
    links.insert(manifest.number, link);
}

/// Where the first chain is broken. What came before the first day was not asked.
pub(super) fn broken(chains: &Chains, first: Option<Date>) -> Option<Wrong> {
    for (node, links) in chains {
        let mut last: Option<(u64, &Link)> = None;
        for (number, link) in links {
            let what = match last {
                None if *number == 0 || first.is_some() => None,
                None => {
                    Some(format!("it is manifest {number} of {node}: those before it are missing"))
                }
                Some((before, last)) if *number != before + 1 => Some(format!(
                    "it is manifest {number} of {node}, behind {before}, {}: what was between them is missing",
                    last.path
                )),
                Some((_, last)) if link.previous.as_ref() != Some(&last.sha256) => Some(format!(
                    "it does not go on from {}: one of the two was put there later",
                    last.path
                )),
                Some(_) => None,
            };
            if let Some(what) = what {
                return Some(Wrong { path: link.path.clone(), what });
            }
            last = Some((*number, link));
        }
    }
    None
}
