use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

use super::*;

/// How a side sends: what it masks with, and whether it compresses.
#[derive(Debug, Clone, Copy)]
struct Manner {
    mask: Option<[u8; 4]>,
    compresses: Option<Forgets>,
}

/// A frame as a peer would write it, made bit by bit.
fn raw(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(first, payload);
    let Some(mask) = mask else { return bytes };
    bytes[1] |= 0x80;
    let head = bytes.len() - payload.len();
    for (at, byte) in bytes[head..].iter_mut().enumerate() {
        *byte ^= mask[at % 4];
    }
    bytes.splice(head..head, mask);
    bytes
}

/// Messages as one side sends them: cut into fragments, with a ping between.
fn sent(messages: &[Vec<u8>], fragment: usize, manner: Manner) -> Vec<u8> {
    let mut compressor = Compress::new(Compression::fast(), false);
    let mut bytes = Vec::new();
    for message in messages {
        let (payload, coded) = match manner.compresses {
            None => (message.clone(), 0),
            Some(forgets) => {
                if forgets == Forgets::EachMessage {
                    compressor.reset();
                }
                let mut coded = Vec::with_capacity(message.len() * 2 + 100);
                compressor.compress_vec(message, &mut coded, FlushCompress::Sync).unwrap();
                coded.truncate(coded.len() - 4);
                (coded, 0x40)
            }
        };
        let fragments: Vec<&[u8]> =
            if payload.is_empty() { vec![&[]] } else { payload.chunks(fragment).collect() };
        for (index, piece) in fragments.iter().enumerate() {
            let last = if index + 1 == fragments.len() { 0x80 } else { 0 };
            let opcode = if index == 0 { 1 | coded } else { 0 };
            bytes.extend(raw(last | opcode, manner.mask, piece));
            bytes.extend(raw(0x89, manner.mask, b"there?"));
        }
    }
    bytes
}

/// What a follower shows of these bytes, cut like this, and what it goes over.
fn followed(bytes: &[u8], cut: usize, manner: Manner) -> (Vec<Vec<u8>>, Vec<u8>, Follower) {
    let mut follower = Follower::new(manner.compresses);
    let (mut messages, mut message, mut over) = (Vec::new(), Vec::new(), Vec::new());
    for mut piece in bytes.chunks(cut) {
        while !piece.is_empty() {
            let step = follower.step(piece, &mut |data| message.extend_from_slice(data));
            match step.part {
                Part::PartOfHead => {}
                Part::Head(head) => over.extend_from_slice(head.bytes()),
                Part::Payload => over.extend_from_slice(&piece[..step.used]),
            }
            if step.ends_message() {
                messages.push(std::mem::take(&mut message));
            }
            piece = &piece[step.used..];
        }
    }
    (messages, over, follower)
}

fn manners() -> impl Strategy<Value = Manner> {
    let forgets = prop_oneof![Just(Forgets::EachMessage), Just(Forgets::Never)];
    (any::<Option<[u8; 4]>>(), proptest::option::of(forgets))
        .prop_map(|(mask, compresses)| Manner { mask, compresses })
}

proptest! {
    #[test]
    fn messages_are_read_however_they_are_cut(
        messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 0..6),
        fragment in 1usize..300,
        cut in 1usize..200,
        manner in manners(),
    ) {
        let bytes = sent(&messages, fragment, manner);
        let (read, over, follower) = followed(&bytes, cut, manner);
        prop_assert!(follower.is_readable() && follower.is_between_messages());
        prop_assert!(messages.is_empty() || follower.control() == b"there?");
        prop_assert_eq!(read, messages);
        prop_assert_eq!(over, bytes);
    }

    #[test]
    fn rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..500), cut in 1usize..50) {
        let manner = Manner { mask: None, compresses: Some(Forgets::Never) };
        let (_, over, _) = followed(&bytes, cut, manner);
        prop_assert!(bytes.starts_with(&over));
    }
}

#[test]
fn long_messages_have_long_heads() {
    let manner = Manner { mask: Some([1, 2, 3, 4]), compresses: None };
    for length in [125, 126, 65_535, 65_536, 200_000] {
        let message = vec![7; length];
        let bytes = sent(std::slice::from_ref(&message), usize::MAX, manner);
        assert_eq!(followed(&bytes, 4096, manner).0, [message], "{length}");
    }
}

#[test]
fn what_nobody_agreed_on_is_told_unreadable() {
    let manner = Manner { mask: None, compresses: None };
    let compressed = raw(0xC1, None, b"\xaaVJ");
    let (messages, _, follower) = followed(&compressed, 100, manner);
    assert_eq!((messages, follower.is_readable()), (vec![vec![]], false));
}

#[test]
fn a_message_in_an_open_frame_is_no_place_for_another() {
    let manner = Manner { mask: None, compresses: None };
    let bytes = raw(0x81, None, b"{\"type\":\"x\"}");
    assert!(!followed(&bytes[..1], 1, manner).2.is_between_messages());
    assert!(!followed(&bytes[..5], 5, manner).2.is_between_messages());
    assert!(!followed(&raw(0x01, None, b"{"), 5, manner).2.is_between_messages());
    assert!(followed(&bytes, 5, manner).2.is_between_messages());
}

#[test]
fn frames_of_ours_have_the_form_of_the_standard() {
    // RFC 6455 §5.7: a single-frame unmasked text message.
    assert_eq!(text(b"Hello"), [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    // And a masked one.
    let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(super::masked(Opcode::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d]), masked);
    assert_eq!(close(1012, "bye"), [0x88, 0x05, 0x03, 0xF4, b'b', b'y', b'e']);
    let long = close(1008, &"ü".repeat(100));
    assert_eq!((long.len(), long[1]), (2 + 2 + 122, 124));
    assert_eq!(text(&[b'x'; 300])[..4], [0x81, 126, 1, 44]);
}

#[test]
fn what_is_offered_and_agreed_is_read() {
    let offer = "permessage-deflate; client_max_window_bits, x-other;a=1 , Permessage-Deflate";
    let kept = "permessage-deflate; client_max_window_bits, Permessage-Deflate";
    assert_eq!(offered(offer).as_deref(), Some(kept));
    assert_eq!(offered("x-webkit-deflate-frame"), None);
    let none = Agreement::default();
    assert_eq!(Agreement::read(""), none);
    let (each, never) = (Some(Forgets::EachMessage), Some(Forgets::Never));
    let plain = Agreement { client: never, server: never };
    assert_eq!(Agreement::read("permessage-deflate"), plain);
    let agreed = "permessage-deflate; server_no_context_takeover; client_max_window_bits=12";
    assert_eq!(Agreement::read(agreed), Agreement { client: never, server: each });
}
