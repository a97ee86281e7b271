//! Headers that are taken out of others, which keep their order.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Headers of a body that is not the one they were made for.
pub const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("repr-digest"),
];

/// All headers but these. Rebuilt, not removed from: removal would change the order of those that
/// stay.
pub fn without(headers: &HeaderMap, gone: &[HeaderName]) -> HeaderMap {
    if !gone.iter().any(|name| headers.contains_key(name)) {
        return headers.clone();
    }
    let kept = headers.iter().filter(|(name, _)| !gone.contains(name));
    let pair = |(name, value): (&HeaderName, &HeaderValue)| (name.clone(), value.clone());
    kept.map(pair).collect()
}
