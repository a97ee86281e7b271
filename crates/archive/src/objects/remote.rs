//! What object stores have in common that are reached over HTTP.

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use super::once::{Once, Parts};
use crate::Error;

/// For a connection to stand, TLS included.
const CONNECT: Duration = Duration::from_secs(5);
/// For one request; a part of 8 MiB at 2 MBit/s has this long.
const REQUEST: Duration = Duration::from_secs(40);
/// After this a request is not tried again: whoever waits asks again later.
const RETRIES: Duration = Duration::from_secs(20);
/// How often it is tried again within that.
const MOST_RETRIES: usize = 4;
/// The longest pause between two tries.
const PAUSE: Duration = Duration::from_secs(3);

/// A part is larger than the least of all providers, and small enough to be sent again.
const PARTS: Parts = Parts { above: 16 << 20, size: 8 << 20 };

/// How requests are made: every wait is bounded.
pub(crate) fn client() -> ClientOptions {
    // The program's TLS provider; that it is installed already is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ClientOptions::new().with_connect_timeout(CONNECT).with_timeout(REQUEST)
}

/// How often what failed is tried again.
pub(super) fn retries() -> RetryConfig {
    let backoff = BackoffConfig { max_backoff: PAUSE, ..BackoffConfig::default() };
    RetryConfig { backoff, max_retries: MOST_RETRIES, retry_timeout: RETRIES }
}

/// The part of a store below a prefix, in which nothing is overwritten.
pub(super) fn below(objects: impl ObjectStore, prefix: Path) -> Arc<dyn ObjectStore> {
    Arc::new(Once::in_parts(PrefixStore::new(objects, prefix), PARTS))
}

/// Splits `//BUCKET/PREFIX`.
pub(super) fn bucket(rest: &str) -> Result<(&str, Path), Error> {
    let wrong = || Error::BadAddress(rest.to_owned());
    let address = rest.strip_prefix("//").ok_or_else(wrong)?;
    let (bucket, prefix) = address.split_once('/').unwrap_or((address, ""));
    let bad = |c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c));
    if bucket.is_empty() || bucket.contains(bad) {
        return Err(wrong());
    }
    let prefix = Path::parse(prefix.trim_end_matches('/')).map_err(|_| wrong())?;
    Ok((bucket, prefix))
}

#[cfg(test)]
mod tests {
    use object_store::path::Path;

    use super::bucket;

    #[test]
    fn an_address_is_a_bucket_and_a_prefix() {
        let cases = [
            ("//audit", Some(("audit", ""))),
            ("//audit/", Some(("audit", ""))),
            ("//audit/codex/eu/", Some(("audit", "codex/eu"))),
            ("//", None),
            ("audit", None),
            ("///prefix", None),
            ("//a b/c", None),
            ("//audit/a//b", None),
        ];
        for (rest, expected) in cases {
            let expected = expected.map(|(name, prefix)| (name, Path::from(prefix)));
            assert_eq!(bucket(rest).ok(), expected, "{rest}");
        }
    }
}
