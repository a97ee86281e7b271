//! Keeps secrets out of what is printed, stored or sent on.
//!
//! Pure: no IO, no clock, no randomness of its own.

mod beginnings;
pub mod depth;
pub mod headers;
pub mod mask;
pub mod own_key;
pub mod recollection;
pub mod restore;
pub mod rule;
pub mod scan;
pub mod secret;
