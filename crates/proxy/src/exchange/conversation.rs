//! To which conversation a request belongs.

use http::HeaderMap;
use wire::ask::Ask;

use super::auth::Principal;

/// The name of the conversation, as the client tells it; of a handshake there is no [`Ask`] yet. What
/// tells nothing belongs to the one conversation of its key.
pub fn of<'r>(principal: &'r Principal, headers: &'r HeaderMap, ask: Option<&'r Ask>) -> &'r str {
    let header = |name: &&str| headers.get(*name)?.to_str().ok().filter(|text| !text.is_empty());
    let told = ["thread-id", "session-id", "session_id"].iter().find_map(header);
    told.or_else(|| ask?.thread_id.as_deref())
        .or_else(|| ask?.prompt_cache_key.as_deref())
        .unwrap_or(&principal.key.id)
}
