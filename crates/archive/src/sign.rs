//! Signatures of manifests: Ed25519 (RFC 8032).

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::publish::others_first;

/// Others have their turn after so many bytes of a digest.
const BREATH: usize = 256 << 10;

/// Signs manifests.
pub struct Signer(Ed25519KeyPair);

/// What a signature is checked with; may be given to anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl Signer {
    /// A signer whose private key is this seed. The same seed gives the same signer.
    pub fn new(seed: &[u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed);
        Self(pair.expect("32 bytes are a seed"))
    }

    /// The key that its signatures are checked with.
    pub fn public_key(&self) -> PublicKey {
        let key = self.0.public_key().as_ref();
        PublicKey(key.try_into().expect("a public key has 32 bytes"))
    }

    /// The signature of these bytes, as 128 hexadecimal digits.
    pub(crate) fn sign(&self, bytes: &[u8]) -> String {
        hex(self.0.sign(bytes).as_ref())
    }
}

impl PublicKey {
    /// Reads a key as it is printed: 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(unhex(text.trim())?.try_into().ok()?))
    }

    /// Whether its signer has signed just these bytes.
    pub(crate) fn has_signed(&self, bytes: &[u8], signature: &str) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.0);
        unhex(signature).is_some_and(|signature| key.verify(bytes, &signature).is_ok())
    }
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// SHA-256, hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    for piece in bytes.chunks(BREATH) {
        digest.update(piece);
        others_first();
    }
    hex(digest.finish().as_ref())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
    rest.is_empty().then(|| pairs.iter().map(byte).collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::{PublicKey, Signer, sha256};

    #[test]
    fn a_signature_is_of_one_key_and_of_these_bytes() {
        // RFC 8032, 7.1, test 2: one byte.
        let seed = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
        let public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        let signer = Signer::new(&super::unhex(seed).unwrap().try_into().unwrap());
        let key = PublicKey::parse(public).unwrap();
        assert_eq!((signer.public_key(), key.to_string().as_str()), (key.clone(), public));
        let signature = signer.sign(&[0x72]);
        assert!(signature.starts_with("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223"));
        assert!(key.has_signed(&[0x72], &signature));
        assert!(!key.has_signed(&[0x73], &signature));
        assert!(!Signer::new(&[1; 32]).public_key().has_signed(&[0x72], &signature));
        assert!(!key.has_signed(&[0x72], "no signature"));
        assert_eq!(PublicKey::parse("0x12"), None);
    }

    #[test]
    fn the_digest_is_that_of_sha256sum() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(b""), empty);
    }
}
