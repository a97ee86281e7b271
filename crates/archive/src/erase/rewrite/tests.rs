//! Rewritten files, byte by byte.

use std::collections::BTreeSet;

use super::{grave, records, segment};

/// A record's members, but its id.
const FULL: &str = r#""time":"2025-10-20T11:59:58.500Z","key_id":"key_1","user":"USER",
"team":"blue","endpoint":"GET /v1/responses/resp_1/input_items","transport":"http",
"request_kind":"turn","model":"gpt-5.5","outcome":"complete","source":"upstream",
"altered":"none","input_tokens":7,"cached_input_tokens":0,"cache_write_tokens":0,
"output_tokens":2,"reasoning_tokens":0,"total_tokens":9,"usage":"exact","cost_usd":"0.25",
"priced":true,"took_ms":5,"request_bytes":3,"response_bytes":4,"session_id":"s",
"thread_id":"t","turn_id":"u","parent_thread_id":"p","response_id":"resp_1",
"previous_response_id":"resp_0","connection_id":"c","subagent":"review","repo":"lighthouse",
"commit":"abc","client":"codex","client_version":"1","tags":{"who":"USER"},"findings":[],
"node":"n""#;
/// Those that are left of them.
const LEFT: &str = r#""time":"2025-10-20T11:59:58.500Z","key_id":"erased","user":"erased",
"team":"blue","endpoint":"GET /v1/responses","transport":"http",
"request_kind":"turn","model":"gpt-5.5","outcome":"complete","source":"upstream",
"altered":"none","input_tokens":7,"cached_input_tokens":0,"cache_write_tokens":0,
"output_tokens":2,"reasoning_tokens":0,"total_tokens":9,"usage":"exact","cost_usd":"0.25",
"priced":true,"took_ms":5,"request_bytes":3,"response_bytes":4,"tags":{},"findings":[],
"node":"n""#;

fn frame(lines: &str) -> Vec<u8> {
    zstd::encode_all(lines.as_bytes(), 3).unwrap()
}

/// An exchange's line that does not become short by compressing.
fn exchange(id: &str, user: &str) -> String {
    let noise: String = (0..20).map(|n| blake3::hash(&[n]).to_hex().to_string()).collect();
    let (item, noise) = ("0".repeat(64), noise.as_str());
    format!(
        "{{\"kind\":\"item\",\"id\":\"{item}\",\"session\":\"s\",\"user\":\"{user}\",\"text\":\"{id}\"}}\n\
         {{\"kind\":\"exchange\",\"link\":null,\"id\":\"{id}\",\"user\":\"{user}\",\"noise\":\"{noise}\"}}\n"
    )
}

#[test]
fn the_frames_of_others_keep_their_bytes_and_places() {
    let frames =
        [("1", "ada"), ("2", "bob"), ("3", "ada")].map(|(id, user)| frame(&exchange(id, user)));
    let whole = frames.concat();
    let (rewritten, graves) = segment(&whole, "ada").unwrap();
    assert_eq!((rewritten.bytes.len(), rewritten.erased), (whole.len(), 2));
    let second = frames[0].len()..frames[0].len() + frames[1].len();
    assert_eq!(rewritten.bytes[second.clone()], frames[1]);
    assert_eq!(graves, BTreeSet::from([0, second.end as u64]));

    // Whatever reads zstd reads what is left.
    let text = String::from_utf8(zstd::decode_all(&*rewritten.bytes).unwrap()).unwrap();
    let was = |id: &str| {
        let line = exchange(id, "ada").lines().last().unwrap().to_owned();
        format!("{{\"kind\":\"erased\",\"was\":\"{}\"}}\n", blake3::hash(line.as_bytes()).to_hex())
    };
    assert_eq!(text, was("1") + &exchange("2", "bob") + &was("3"));

    // Again it changes nothing, and finds the same places.
    let (again, same) = segment(&rewritten.bytes, "ada").unwrap();
    assert_eq!((again.bytes, again.erased, same), (rewritten.bytes, 0, graves));
}

#[test]
fn a_segment_that_is_cut_off_is_not_rewritten() {
    let whole = frame(&exchange("1", "ada"));
    let cut = whole.get(..whole.len() - 5).unwrap();
    assert_eq!(segment(cut, "ada").unwrap_err().to_string(), "it is cut off");
}

#[test]
fn a_grave_is_as_long_as_what_was_there_or_refused() {
    let shortest = (0..400).find(|length| grave(None, b"x", *length).is_ok()).unwrap();
    for length in shortest..shortest + 40 {
        let made = grave(None, b"x", length);
        // No frame that holds nothing is shorter than eight bytes.
        let is_short = (1..8).contains(&(length - shortest));
        assert_eq!(made.as_ref().map(Vec::len).ok(), (!is_short).then_some(length));
    }
}

#[test]
fn a_record_keeps_its_numbers_and_names_nobody() {
    let line = |id: &str, user: &str, offset: u64| {
        let names = FULL.replace("USER", user).replace('\n', "");
        format!("{{\"id\":\"{id}\",{names},\"frame\":[{offset},5]}}\n")
    };
    // The third is of somebody whose exchange an earlier erasure has taken.
    let before = line("1", "ada", 0) + &line("2", "bob", 5) + &line("3", "eve", 10);
    let bytes = zstd::encode_all(before.as_bytes(), 3).unwrap();
    let rewritten = records(&bytes, "ada", &BTreeSet::from([0, 10])).unwrap();
    assert_eq!(rewritten.erased, 2);
    let text = String::from_utf8(zstd::decode_all(&*rewritten.bytes).unwrap()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1], line("2", "bob", 5).trim_end(), "byte for byte");
    let mut left: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
    left.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let expected = format!("{{\"id\":\"1\",{LEFT},\"frame\":[0,5]}}");
    let expected: serde_json::Value = serde_json::from_str(&expected).unwrap();
    assert_eq!(left, expected);
    assert!(!lines[2].contains("eve"), "{}", lines[2]);
    let again = records(&rewritten.bytes, "ada", &BTreeSet::from([0, 10])).unwrap();
    assert_eq!((again.bytes, again.erased), (rewritten.bytes, 0));
}
