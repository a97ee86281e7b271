//! The installation's one secret, and the keys derived from it.

pub mod screen;

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use archive::sign::Signer;
use redact::secret::Secret;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{hkdf, hmac};

use crate::config::reference::SecretRef;

/// Keys derived from the secret by HKDF (RFC 5869), each under a label with a version of its own.
pub struct Derived {
    key_hash: hmac::Key,
    fingerprint: [u8; 32],
    signing_seed: [u8; 32],
    screen_key: [u8; 32],
}

impl Derived {
    /// Reads the secret, makes a `file:` that does not exist, and derives.
    pub fn from(reference: &SecretRef) -> Result<Self> {
        if let SecretRef::File(path) = reference {
            make_if_new(path)?;
        }
        Ok(Self::derive(&reference.resolve().context("the setting `secret`")?))
    }

    /// Derives from a secret that nobody knows, and that ends with this process.
    pub fn fleeting() -> Result<Self> {
        Ok(Self::derive(&Secret::new(hex(&random::<32>()?))))
    }

    /// Derives from a secret.
    pub fn derive(secret: &Secret<String>) -> Self {
        let key_hash = expand(secret, b"codex-proxy/1/key-hash");
        let fingerprint = expand(secret, b"codex-proxy/1/fingerprint");
        let signing_seed = expand(secret, b"codex-proxy/1/archive-signature");
        let screen_key = expand(secret, b"codex-proxy/1/screen");
        let key_hash = hmac::Key::new(hmac::HMAC_SHA256, &key_hash);
        Self { key_hash, fingerprint, signing_seed, screen_key }
    }

    /// The keyed hash under which a developer's key stands in the store.
    pub fn key_hash(&self, key: &str) -> [u8; 32] {
        let tag = hmac::sign(&self.key_hash, key.as_bytes());
        tag.as_ref().try_into().expect("SHA-256 gives 32 bytes")
    }

    /// What signs the archive's manifests.
    pub fn signer(&self) -> Signer {
        Signer::new(&self.signing_seed)
    }

    /// What masks and fingerprints of values are made with.
    pub fn screen_key(&self) -> [u8; 32] {
        self.screen_key
    }

    /// Tells secrets apart without telling them.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}

/// Random base62 digits for a new key.
pub fn random_digits() -> Result<[u8; redact::own_key::RANDOM_CHARACTERS]> {
    let mut digits = [0; redact::own_key::RANDOM_CHARACTERS];
    for digit in &mut digits {
        // 248 is the largest multiple of 62 in a byte: beyond it some digits would come oftener.
        *digit = loop {
            let [byte] = random::<1>()?;
            if byte < 248 {
                break byte % 62;
            }
        };
    }
    Ok(digits)
}

/// Random bytes of the operating system.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .ok()
        .context("the operating system gives no random numbers")?;
    Ok(bytes)
}

/// Bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

fn expand(secret: &Secret<String>, label: &[u8]) -> [u8; 32] {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"codex-proxy");
    let key = salt.extract(secret.expose().as_bytes());
    let mut output = [0; 32];
    key.expand(&[label], hkdf::HKDF_SHA256)
        .and_then(|material| material.fill(&mut output))
        .expect("32 bytes are what HKDF-SHA256 gives at once");
    output
}

/// Others than its owner should not be able to read a secret.
#[cfg(unix)]
fn warn_if_open(path: &Path, found: &std::fs::Metadata) {
    let mode = std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!("others may read {}: its mode is {mode:04o}, make it 0600", path.display());
    }
}

#[cfg(not(unix))]
fn warn_if_open(_path: &Path, _found: &std::fs::Metadata) {}

/// Writes a fresh secret where none is. Whole or not at all: another process may do the same.
fn make_if_new(path: &Path) -> Result<()> {
    if let Ok(found) = std::fs::metadata(path) {
        warn_if_open(path, &found);
        return Ok(());
    }
    let making = || format!("making the secret {}", path.display());
    let folder = path.parent().unwrap_or(Path::new(""));
    let temporary = folder.join(format!(".secret-{}", hex(&random::<8>()?)));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary).with_context(making)?;
    writeln!(file, "{}", hex(&random::<32>()?))
        .and_then(|()| file.sync_all())
        .with_context(making)?;
    let linked = std::fs::hard_link(&temporary, path);
    std::fs::remove_file(&temporary).with_context(making)?;
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(error).with_context(making)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use redact::secret::Secret;

    use super::{Derived, make_if_new, random_digits};

    #[test]
    fn derived_keys_depend_on_the_secret_alone() {
        let derive = |text: &str| Derived::derive(&Secret::new(text.to_owned()));
        assert_eq!(derive("a").key_hash("k"), derive("a").key_hash("k"));
        assert_ne!(derive("a").key_hash("k"), derive("b").key_hash("k"));
        assert_ne!(derive("a").fingerprint(), derive("b").fingerprint());
        assert_ne!(derive("a").fingerprint(), derive("a").key_hash(""));
    }

    #[test]
    fn a_secret_is_made_once_and_only_for_its_owner() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.key");
        make_if_new(&path).unwrap();
        let first = std::fs::read_to_string(&path).unwrap();
        make_if_new(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), first);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(first.trim().len(), 64);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn digits_are_base62() {
        assert!(random_digits().unwrap().iter().all(|digit| *digit < 62));
    }
}
