//! The headers that change on the way to an upstream, and on the way back.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, Version};

/// Headers of our own that go to an upstream with the organisation's credential.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The header that holds the credential.
    pub credential: (HeaderName, HeaderValue),
    /// Whatever else is configured.
    pub more: Vec<(HeaderName, HeaderValue)>,
}

impl Shown {
    /// Ours for this name, where it has one.
    fn more(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.more.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

/// The client's headers in their order, but for those that must change. With nothing of ours to
/// show the caller's own credential passes.
pub fn outgoing(client: &HeaderMap, host: &HeaderValue, shown: Option<&Shown>) -> HeaderMap {
    let connection = listed_in_connection(client);
    let mut headers = HeaderMap::with_capacity(client.len() + 1);
    for (name, value) in client {
        if is_hop_by_hop(name, &connection) || is_ours(name) {
            continue;
        }
        let ours = shown.and_then(|shown| shown.more(name));
        match (shown, ours) {
            _ if name == header::HOST => drop(headers.insert(name, host.clone())),
            (Some(shown), _) if name == header::AUTHORIZATION => {
                let (name, value) = shown.credential.clone();
                headers.insert(name, value);
            }
            (_, Some(ours)) => drop(headers.insert(name, ours.clone())),
            _ => drop(headers.append(name, value.clone())),
        }
    }
    let Some(shown) = shown else { return headers };
    // What the client did not send has no place of its own: it stands at the end.
    for (name, value) in [&shown.credential].into_iter().chain(&shown.more) {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    headers
}

/// An answer without what its connection says for itself, and without what only we may say.
pub fn incoming<B>(mut response: Response<B>) -> Response<B> {
    // Which version the upstream speaks ends with its connection too.
    *response.version_mut() = Version::HTTP_11;
    let connection = listed_in_connection(response.headers());
    let ends_here = |name: &HeaderName| is_hop_by_hop(name, &connection) || is_our_word(name);
    if response.headers().keys().any(ends_here) {
        let all = response.headers().iter();
        let kept = all.filter(|(name, _)| !ends_here(name));
        let kept = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        // Rebuilt, not removed from: removal would change the order of those that stay.
        *response.headers_mut() = kept;
    }
    response
}

/// RFC 9110 §7.6.1: what a connection says about itself ends with it.
fn is_hop_by_hop(name: &HeaderName, connection: &[HeaderName]) -> bool {
    const FIXED: [HeaderName; 4] =
        [header::CONNECTION, header::TE, header::TRANSFER_ENCODING, header::UPGRADE];
    FIXED.contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
        || connection.contains(name)
}

/// What only an answer of ours may say.
fn is_our_word(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-codex-proxy-")
}

/// What is meant for this proxy, or must not leave the house.
fn is_ours(name: &HeaderName) -> bool {
    *name == header::PROXY_AUTHORIZATION
        || matches!(*name, header::COOKIE | header::SET_COOKIE)
        || matches!(name.as_str(), "api-key")
        || is_our_word(name)
}

fn listed_in_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let names = values.flat_map(|value| value.split(','));
    // What the end-to-end parts need cannot be listed away (RFC 9110 §7.6.1, last paragraph).
    names
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| *name != header::CONTENT_LENGTH && *name != header::HOST)
        .collect()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{Shown, outgoing};

    const CLIENT: &[(&str, &str)] = &[
        ("accept", "*/*"),
        ("host", "gateway.test"),
        ("authorization", "Bearer theirs"),
        ("api-key", "theirs"),
        ("openai-project", "theirs"),
        ("openai-project", "theirs again"),
        ("chatgpt-account-id", "account"),
        ("cookie", "a=b"),
        ("set-cookie", "a=b"),
        ("proxy-authorization", "Basic eA=="),
        ("x-codex-proxy-key", "cpk_1"),
        ("x-codex-turn-state", "kept"),
        ("connection", "x-mine"),
        ("x-mine", "1"),
    ];

    fn name(text: &str) -> HeaderName {
        text.parse().unwrap()
    }

    fn check(shown: Option<&Shown>, expected: &[(&str, &str)]) {
        let mut client = HeaderMap::new();
        for (known, value) in CLIENT {
            client.append(name(known), HeaderValue::from_str(value).unwrap());
        }
        let headers = outgoing(&client, &HeaderValue::from_static("upstream.test"), shown);
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(headers, expected);
    }

    #[test]
    fn the_callers_own_credential_passes_and_what_is_ours_does_not() {
        let expected = [
            ("accept", "*/*"),
            ("host", "upstream.test"),
            ("authorization", "Bearer theirs"),
            ("openai-project", "theirs"),
            ("openai-project", "theirs again"),
            ("chatgpt-account-id", "account"),
            ("x-codex-turn-state", "kept"),
        ];
        check(None, &expected);
    }

    #[test]
    fn ours_stand_where_the_clients_stood() {
        let value = HeaderValue::from_static;
        let more = vec![
            (name("openai-project"), value("proj_1")),
            (name("openai-organization"), value("org_1")),
        ];
        let mut shown = Shown { credential: (name("authorization"), value("Bearer sk")), more };
        let mut expected = [
            ("accept", "*/*"),
            ("host", "upstream.test"),
            ("authorization", "Bearer sk"),
            ("openai-project", "proj_1"),
            ("chatgpt-account-id", "account"),
            ("x-codex-turn-state", "kept"),
            ("openai-organization", "org_1"),
        ];
        check(Some(&shown), &expected);
        shown.credential = (name("api-key"), value("azure"));
        expected[2] = ("api-key", "azure");
        check(Some(&shown), &expected);
    }
}
