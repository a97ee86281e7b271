//! How long an object store itself keeps objects from being deleted.

use std::fmt;

/// What holds for objects that are put now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retention {
    /// Whoever has the credentials may delete them at once.
    Off,
    /// The store keeps them: mode and time as it calls them, `COMPLIANCE 400 days`.
    On(String),
    /// The store does not say; the text tells why.
    Unknown(String),
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::On(what) => write!(f, "on: {what}"),
            Self::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}
