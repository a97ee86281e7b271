//! Keys of masks and fingerprints, the same for what passes and for what is stored.

use redact::mask::MaskKey;
use redact::secret::Secret;
use subtle::ConstantTimeEq;

/// Hexadecimal digits of a fingerprint.
const FINGERPRINT: usize = 16;

/// Keys that are derived from the screen's.
pub struct ScreenKeys {
    masks: Secret<[u8; 32]>,
    fingerprints: Secret<[u8; 32]>,
}

impl ScreenKeys {
    /// Derives them.
    pub fn new(key: &[u8; 32]) -> Self {
        let derive = |context| Secret::new(blake3::derive_key(context, key));
        Self {
            masks: derive("codex-proxy 1 masks"),
            fingerprints: derive("codex-proxy 1 fingerprints"),
        }
    }

    /// What masks are made with that belong to no conversation.
    pub fn of_nobody(&self) -> MaskKey {
        MaskKey::new(*self.masks.expose())
    }

    /// What masks of one conversation of a person are made with, and a name for it: the same on
    /// every node, and after every restart.
    pub fn of(&self, user: &str, conversation: &str) -> (MaskKey, [u8; 32]) {
        let mut key = blake3::Hasher::new_keyed(self.masks.expose());
        for text in [user, conversation] {
            key.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        let key = key.finalize();
        let name = blake3::derive_key("codex-proxy 1 conversation", key.as_bytes());
        (MaskKey::new(*key.as_bytes()), name)
    }

    /// What a value is known by without being told.
    pub fn fingerprint(&self, value: &[u8]) -> String {
        let mut hex = blake3::keyed_hash(self.fingerprints.expose(), value).to_hex().to_string();
        hex.truncate(FINGERPRINT);
        hex
    }

    /// Whether a value is one of those that are known by these fingerprints.
    pub fn is_among(&self, value: &[u8], known: &[String]) -> bool {
        let fingerprint = || self.fingerprint(value);
        known.iter().any(|one| one.as_bytes().ct_eq(fingerprint().as_bytes()).into())
    }
}
