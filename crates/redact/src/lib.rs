//! Keeps secrets out of what is printed, stored or sent on.
//!
//! Pure: no IO, no clock, no randomness of its own.

pub mod headers;
pub mod own_key;
pub mod rule;
pub mod scan;
pub mod secret;
