//! One integration binary: a harness, and stories told with it.
//!
//! The product runs as its own process, on a free port, over a temporary folder.

mod harness;
mod story_exchange;
mod tidy;
