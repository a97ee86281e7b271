//! Keys of masks and fingerprints, the same for what passes and for what is stored.

use redact::mask::MaskKey;
use redact::secret::Secret;

use crate::config::screen::FINGERPRINT;

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

    /// What masks of one conversation of a person are made with, and a name for it: the same on
    /// every node, and after every restart.
    pub fn of(&self, user: &str, conversation: &str) -> (MaskKey, [u8; 16]) {
        let mut key = blake3::Hasher::new_keyed(self.masks.expose());
        for text in [user, conversation] {
            key.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        // Of one output, so that it costs one: a key, and a name that does not tell it.
        let (mut bytes, mut name) = ([0; 32], [0; 16]);
        let mut output = key.finalize_xof();
        output.fill(&mut bytes);
        output.fill(&mut name);
        (MaskKey::new(bytes), name)
    }

    /// What a value is known by without being told.
    pub fn fingerprint(&self, value: &[u8]) -> String {
        let mut hex = blake3::keyed_hash(self.fingerprints.expose(), value).to_hex().to_string();
        hex.truncate(FINGERPRINT);
        hex
    }

    /// Whether a value is one of those that are known by these fingerprints.
    pub fn is_among(&self, value: &[u8], known: &[String]) -> bool {
        !known.is_empty() && known.contains(&self.fingerprint(value))
    }
}
