//! Checksums that tokens carry: what has one is no accident.

use crate::own_key;

/// A checksum by name, as rule files say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// The last six characters are the CRC-32 of those after the prefix, in base 62.
    Crc32Base62,
    /// Our own keys: the same, with the prefix.
    OwnKey,
}

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const CHARACTERS: usize = 6;

impl Checksum {
    /// The checksum of this name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "github-crc32" | "npm-crc32" | "crc32-base62" => Some(Self::Crc32Base62),
            "own-key" => Some(Self::OwnKey),
            _ => None,
        }
    }

    /// Whether a token's checksum is right.
    pub(crate) fn agrees(self, prefix: &[u8], rest: &[u8]) -> bool {
        let Some((body, sum)) =
            rest.len().checked_sub(CHARACTERS).and_then(|at| rest.split_at_checked(at))
        else {
            return false;
        };
        match self {
            Self::Crc32Base62 => base62(crc32fast::hash(body)) == sum,
            Self::OwnKey => {
                let key = [prefix, rest].concat();
                let whole = own_key::find(&key).first().is_some_and(|one| one.len() == key.len());
                whole && prefix == own_key::PREFIX.as_bytes()
            }
        }
    }

    /// The checksum of what stands between a prefix and it.
    #[cfg(test)]
    pub(crate) fn of(self, prefix: &str, body: &str) -> String {
        let hash = match self {
            Self::Crc32Base62 => crc32fast::hash(body.as_bytes()),
            Self::OwnKey => crc32fast::hash(format!("{prefix}{body}").as_bytes()),
        };
        String::from_utf8(base62(hash).to_vec()).unwrap()
    }
}

fn base62(mut number: u32) -> [u8; CHARACTERS] {
    let mut digits = [b'0'; CHARACTERS];
    for digit in digits.iter_mut().rev() {
        let index = usize::try_from(number % 62).unwrap_or(0);
        *digit = BASE62.get(index).copied().unwrap_or(b'0');
        number /= 62;
    }
    digits
}
