//! Masked segments, byte by byte.

use super::{Masked, Room, fit, segment, split_slot};
use crate::hold::Holds;
use crate::survey::Text;

/// An exchange whose frame has hardly any room: what is in it does not become short.
fn line(secret: &str) -> String {
    let noise: String = (0..20_u8).map(|n| blake3::hash(&[n]).to_hex().to_string()).collect();
    format!(
        "{{\"kind\":\"exchange\",\"link\":null,\"id\":\"1\",\"time\":\"2025-10-20T11:59:58.500Z\",\
         \"key_id\":\"k\",\"user\":\"ada\",\"team\":null,\"endpoint\":\"POST /v1/responses\",\
         \"transport\":\"http\",\"request_kind\":\"turn\",\"model\":null,\"upstream_model\":null,\
         \"service_tier\":null,\"status\":200,\"outcome\":\"complete\",\"source\":\"upstream\",\
         \"refusal\":null,\"altered\":\"none\",\"input_tokens\":0,\"cached_input_tokens\":0,\
         \"cache_write_tokens\":0,\"output_tokens\":0,\"reasoning_tokens\":0,\"total_tokens\":0,\
         \"usage\":\"none\",\"cost_usd\":null,\"priced\":false,\"took_ms\":0,\"first_byte_ms\":null,\
         \"request_bytes\":0,\"response_bytes\":0,\"content_encoding\":null,\"session_id\":null,\
         \"thread_id\":null,\"turn_id\":null,\"parent_thread_id\":null,\"response_id\":null,\
         \"previous_response_id\":null,\"connection_id\":null,\"subagent\":null,\"repo\":null,\
         \"commit\":null,\"client\":null,\"client_version\":null,\"tags\":{{}},\"findings\":[],\
         \"node\":\"n\",\"session\":\"s\",\"request\":{{\"method\":\"POST\",\"target\":\"/\",\
         \"headers\":[[\"user-agent\",\"codex_cli_rs/0.99 (Debian 13; x86_64) xterm\"]],\"body\":{{\"bytes\":9,\"blake3\":\"{}\",\
         \"parts\":[{{\"text\":\"{secret} {noise}\"}}]}}}},\"response\":null,\"needs\":[]}}\n",
        hash()
    )
}

fn hash() -> String {
    blake3::hash(b"the body").to_hex().to_string()
}

fn pressed(lines: &str) -> Vec<u8> {
    let mut press = zstd::bulk::Compressor::new(3).unwrap();
    press.include_checksum(true).unwrap();
    press.compress(lines.as_bytes()).unwrap()
}

fn with(mask: &str, short: &str) -> (Vec<u8>, Vec<u8>) {
    let before = pressed(&line("hunter2"));
    let mut put = |text: Text<'_>, room: Room| {
        let words = std::str::from_utf8(text.bytes).unwrap();
        let mask = if room == Room::Enough { mask } else { short };
        let bytes = words.replace("hunter2", mask).into_bytes();
        words.contains("hunter2").then(|| Masked { bytes, findings: Vec::new() })
    };
    let made = segment(&before, &Holds::default(), &mut put).unwrap();
    assert_eq!(made.bytes.len(), before.len());
    (before, made.bytes)
}

#[test]
fn a_line_that_is_masked_keeps_all_else_and_says_what_it_was() {
    let (before, after) = with("***", "***");
    let was = zstd::decode_all(&*before).unwrap();
    let linked = blake3::hash(was.strip_suffix(b"\n").unwrap()).to_hex();
    let expected = line("***")
        .replace("\"link\":null,", &format!("\"link\":null,\"was\":\"{linked}\","))
        .replace(&format!("\"{}\"", hash()), "\"\",\"masked\":true");
    assert_eq!(String::from_utf8(zstd::decode_all(&*after).unwrap()).unwrap(), expected);
}

#[test]
fn where_a_mask_has_no_room_a_shorter_one_is_taken() {
    let long: String = (0..4_u8).map(|n| blake3::hash(&[n, 1]).to_hex().to_string()).collect();
    let (_, after) = with(&long, "***");
    let text = String::from_utf8(zstd::decode_all(&*after).unwrap()).unwrap();
    assert!(text.contains("*** ") && text.contains("user-agent"), "{text}");
}

#[test]
fn where_even_that_has_no_room_headers_go() {
    let long: String = (0..4_u8).map(|n| blake3::hash(&[n, 1]).to_hex().to_string()).collect();
    let short = long.get(..90).unwrap();
    let (_, after) = with(&long, short);
    let text = String::from_utf8(zstd::decode_all(&*after).unwrap()).unwrap();
    assert!(text.contains(short) && !text.contains("user-agent"), "{text}");
}

#[test]
fn what_fills_a_frames_place_belongs_to_it() {
    let (before, after) = with("***", "***");
    let two = [after.clone(), before.clone()].concat();
    let (_, slot, behind) = split_slot(&two).unwrap();
    assert_eq!((slot, behind), (&*after, &*before));
    let filled = fit(b"little\n", 100).unwrap().unwrap();
    assert_eq!((filled.len(), zstd::decode_all(&*filled).unwrap()), (100, b"little\n".to_vec()));
    assert_eq!(fit(b"little\n", 3).unwrap(), None);
}
