//! What the bytes of the `OpenAI` API mean: what a request asks, what an answer used, what that costs.
//!
//! Everything here is pure: no IO, no clock, no async. Nothing here can fail an answer: what is not
//! understood is left out. Bytes are read as they pass, whichever way they are cut, and only the few
//! members that matter are kept.

pub mod ask;
pub mod attribution;
pub mod bound;
pub mod chat;
pub mod coding;
pub mod estimate;
pub mod form;
pub mod meter;
mod pick;
pub mod price;
pub mod sse;
pub mod usage;
pub mod websocket;
