//! Stands for AWS Secrets Manager in a program that was built without it.

use std::future::{Ready, ready};

use zeroize::Zeroizing;

/// It was not built.
#[derive(Debug, thiserror::Error)]
#[error(
    "this program was built without AWS Secrets Manager: build it with \
     `cargo build --release --package codex-proxy --features aws`"
)]
pub struct NotBuilt;

/// Fails: says what to do.
pub fn text(_id: &str, _endpoint: Option<&str>) -> Ready<Result<Zeroizing<String>, NotBuilt>> {
    ready(Err(NotBuilt))
}
