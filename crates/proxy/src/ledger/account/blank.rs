//! A record before anything is known.

use archive::record::{Altered, Outcome, Record, Source, Transport, UsageKind};

use super::Arrival;

/// A record of which only its name, time and node are known: it reads as if we had broken off now.
pub(super) fn blank(arrival: Arrival, node: &str) -> Record {
    Record {
        id: arrival.id.to_string(),
        time: arrival.time,
        key_id: String::new(),
        user: String::new(),
        team: None,
        endpoint: String::new(),
        transport: Transport::Http,
        request_kind: String::new(),
        model: None,
        upstream_model: None,
        service_tier: None,
        status: None,
        outcome: Outcome::Failed,
        source: Source::Proxy,
        refusal: None,
        altered: Altered::None,
        input_tokens: 0,
        cached_input_tokens: 0,
        cache_write_tokens: 0,
        output_tokens: 0,
        reasoning_tokens: 0,
        total_tokens: 0,
        usage: UsageKind::None,
        cost_usd: None,
        priced: false,
        took_ms: 0,
        first_byte_ms: None,
        request_bytes: 0,
        response_bytes: 0,
        content_encoding: None,
        session_id: None,
        thread_id: None,
        turn_id: None,
        parent_thread_id: None,
        response_id: None,
        previous_response_id: None,
        connection_id: None,
        subagent: None,
        repo: None,
        commit: None,
        client: None,
        client_version: None,
        tags: std::collections::BTreeMap::new(),
        findings: Vec::new(),
        node: node.to_owned(),
    }
}
