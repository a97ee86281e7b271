//! What the archive promises, tried from the outside.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in a test a panic is how a failure is told"
)]

mod power;
