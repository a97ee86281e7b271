//! Which headers may be stored, and how.

use std::borrow::Cow;

use crate::own_key;

/// Names (lower case) of headers that hold a credential; they are never stored.
///
/// RFC 9110 §11 (`authorization`, `proxy-authorization`), RFC 6265 (cookies), Azure `OpenAI`
/// (`api-key`), and the names by which other gateways take a key.
const CREDENTIALS: [&str; 11] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "api-key",
    "ocp-apim-subscription-key",
    "x-api-key",
    "x-goog-api-key",
    "x-auth-token",
    "x-codex-proxy-key",
    // Browsers put a key into it: `openai-insecure-api-key.<key>`.
    "sec-websocket-protocol",
];

/// Whether a header holds a credential, by its name in lower case.
pub fn is_credential(name: &str) -> bool {
    CREDENTIALS.contains(&name)
}

/// The value of a header as it may be stored: `None` for a credential, our own keys masked.
///
/// `name` is in lower case, as HTTP libraries keep it.
pub fn storable<'v>(name: &str, value: &'v str) -> Option<Cow<'v, str>> {
    if is_credential(name) {
        return None;
    }
    Some(own_key::mask(value))
}

#[cfg(test)]
mod tests {
    use super::storable;
    use crate::own_key;

    #[test]
    fn credentials_are_left_out_and_keys_elsewhere_are_masked() {
        let key = own_key::build([7; own_key::RANDOM_CHARACTERS]);
        assert_eq!(storable("authorization", "Bearer x"), None);
        assert_eq!(storable("cookie", "a=b"), None);
        assert_eq!(storable("accept", "text/event-stream").unwrap(), "text/event-stream");
        assert_eq!(storable("x-note", &format!("mine: {key}.")).unwrap(), "mine: cpk_***.");
    }
}
