//! Landlock: which files are left, and where connections may lead.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath,
    PathFd, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::Needs;

/// All that is known of Landlock when this was written; an older kernel has less.
const KNOWN: ABI = ABI::V6;

/// What the C library's resolver looks into, whenever it is asked.
const RESOLVER: [&str; 7] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
];

/// For names that are asked over TCP.
const DNS: u16 = 53;

/// Closes the file system but for the resolver's files and the folders that are needed, and the
/// network but for the ports that are.
pub(super) fn enter(needs: &Needs) -> Result<()> {
    let rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?;
    let mut rules = rules.create()?;
    let files = RESOLVER.map(Path::new).into_iter().filter(|file| file.exists());
    for file in files.chain(needs.files.iter().map(PathBuf::as_path)) {
        rules = allow(rules, file, AccessFs::ReadFile.into())?;
    }
    for folder in &needs.folders {
        rules = allow(rules, folder, in_folder(needs))?;
    }
    for port in needs.ports.iter().chain([&DNS]) {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        RulesetStatus::PartiallyEnforced => bail!("this kernel's Landlock knows only a part of it"),
        RulesetStatus::NotEnforced => bail!("this kernel has no Landlock"),
    }
}

/// What may be done in a folder: files are made there; an archive is also read, moved and cleared.
fn in_folder(needs: &Needs) -> BitFlags<AccessFs> {
    if needs.archive {
        return AccessFs::from_all(KNOWN) & !BitFlags::from(AccessFs::Execute);
    }
    AccessFs::WriteFile | AccessFs::MakeReg
}

fn allow(rules: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> Result<RulesetCreated> {
    let beneath = || PathBuf::from(path).display().to_string();
    let at = PathFd::new(path).with_context(beneath)?;
    // Of a single file only what files have can be allowed.
    Ok(rules.add_rule(PathBeneath::new(at, access))?)
}
