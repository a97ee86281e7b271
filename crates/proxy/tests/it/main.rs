//! One integration binary: a harness, and stories told with it.
//!
//! The product runs as its own process, on a free port, over a temporary folder.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "in a test a panic is how a failure is told"
)]

mod harness;
mod story_any_bytes;
mod story_archive;
mod story_attribution;
mod story_audit;
mod story_audit_import;
mod story_audit_scan;
mod story_audit_session;
mod story_audit_tail;
mod story_autobahn;
mod story_bad_input;
mod story_bucket;
mod story_budget;
mod story_chat;
mod story_codex;
mod story_coding;
mod story_crash;
mod story_doctor;
mod story_endpoints;
mod story_erase;
mod story_exchange;
mod story_full;
mod story_http2;
mod story_keys;
mod story_kms;
mod story_ledger;
mod story_listen;
mod story_login;
mod story_long_session;
mod story_matrix;
mod story_nodes;
mod story_peer;
mod story_prices;
mod story_reconcile;
mod story_recovery;
mod story_reload;
mod story_report;
mod story_retain;
mod story_screen;
mod story_sdk;
mod story_seal;
mod story_secrets_manager;
mod story_soak;
mod story_socket;
mod story_strict;
mod story_strict_hard;
mod story_strict_twin;
mod story_strict_users;
mod story_takeover;
mod story_tls;
mod story_upstreams;
mod story_wire;
mod tidy;
