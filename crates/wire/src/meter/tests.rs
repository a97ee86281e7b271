//! Transcripts are in `testdata`: an answer, and beside it what is read in it. A case is two files.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

/// The terminal event as it is told: where the piece begins in which it ends, where it begins in that.
type Told = Option<(usize, usize)>;

/// What a meter read in these pieces, what it told, and whether it stands inside an event.
fn check(shape: Shape, pieces: &[&[u8]]) -> (Reading, Told, bool) {
    let (mut meter, mut told, mut at) = (Meter::new(shape), None, 0);
    for piece in pieces {
        if let Some(begin) = meter.feed(piece) {
            assert_eq!(told, None, "told twice");
            told = Some((at, begin));
        }
        at += piece.len();
    }
    (meter.reading(), told, meter.mid_event())
}

struct Transcript {
    path: PathBuf,
    shape: Shape,
    answer: Vec<u8>,
}

fn transcripts() -> Vec<Transcript> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let answers = paths.filter(|path| path.extension().unwrap() != "reading");
    let read = |path: PathBuf| {
        let chat = path.file_name().unwrap().to_str().unwrap().starts_with("chat-");
        let shape = match (path.extension().unwrap().to_str().unwrap(), chat) {
            ("sse", true) => Shape::ChatEvents,
            ("sse", false) => Shape::ResponsesEvents,
            _ => Shape::Json,
        };
        Transcript { answer: fs::read(&path).unwrap(), path, shape }
    };
    answers.map(read).collect()
}

/// The form of the `.reading` files: a line a fact, `-` for what is not known.
fn describe((reading, told, mid_event): &(Reading, Told, bool)) -> String {
    let usage = reading.usage.map(|usage| {
        format!(
            "input {} (cached {}, written {}), output {} (reasoning {})",
            usage.input_tokens,
            usage.cached_input_tokens,
            usage.cache_write_tokens,
            usage.output_tokens,
            usage.reasoning_tokens,
        )
    });
    let facts = [
        ("usage", usage),
        ("upstream_model", reading.upstream_model.clone()),
        ("service_tier", reading.service_tier.clone()),
        ("response_id", reading.response_id.clone()),
        ("ending", reading.ending.map(|ending| format!("{ending:?}"))),
        ("error_code", reading.error_code.clone()),
        ("text_bytes", Some(reading.text_bytes.to_string())),
        ("terminal event begins at", told.map(|(_, begin)| begin.to_string())),
        ("ends inside an event", Some(mid_event.to_string())),
    ];
    let line = |(name, fact): (&str, Option<String>)| {
        format!("{name}: {}\n", fact.unwrap_or_else(|| "-".to_owned()))
    };
    facts.map(line).concat()
}

#[test]
fn transcripts_are_read_as_the_files_beside_them_say() {
    for Transcript { path, shape, answer } in transcripts() {
        let golden = fs::read_to_string(path.with_extension("reading")).unwrap_or_default();
        let found = describe(&check(shape, &[&answer]));
        assert!(found == golden, "{} reads:\n{found}", path.display());
    }
}

/// Readings, terminal event and position must be the same as for the answer in one piece.
fn check_cut(transcript: &Transcript, pieces: &[&[u8]]) {
    let (reading, told, mid_event) = check(transcript.shape, &[&transcript.answer]);
    let cut = check(transcript.shape, pieces);
    let at = cut.1.map_or(0, |(at, _)| at);
    let told = told.map(|(_, begin)| (at, begin.saturating_sub(at)));
    assert_eq!(cut, (reading, told, mid_event), "{}", transcript.path.display());
}

#[test]
fn readings_are_the_same_byte_by_byte() {
    for transcript in transcripts() {
        let single: Vec<_> = transcript.answer.chunks(1).collect();
        check_cut(&transcript, &single);
    }
}

#[test]
fn the_terminal_event_is_told_with_its_last_byte_and_not_before() {
    let stream = b"data: {\"type\":\"x\"}\n\ndata: {\"type\":\"response.completed\"}\n\n";
    let (early, last) = stream.split_at(stream.len() - 1);
    let mut meter = Meter::new(Shape::ResponsesEvents);
    assert_eq!((meter.feed(early), meter.mid_event()), (None, true));
    assert_eq!((meter.feed(last), meter.mid_event()), (Some(0), false));
}

#[test]
fn an_opaque_answer_is_not_read() {
    let stream = b"data: {\"type\":\"response.completed\"}\n\ndata";
    assert_eq!(check(Shape::Opaque, &[stream]), (Reading::default(), None, false));
}

fn any_shape() -> impl Strategy<Value = Shape> {
    let shapes = [Shape::ResponsesEvents, Shape::ChatEvents, Shape::Json, Shape::Opaque];
    prop::sample::select(shapes.to_vec())
}

proptest! {
    #[test]
    fn readings_are_the_same_however_the_stream_is_cut(
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        for transcript in transcripts() {
            let answer = &transcript.answer;
            let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(answer.len() + 1)).collect();
            places.extend([0, answer.len()]);
            places.sort_unstable();
            let pieces: Vec<_> = places.windows(2).map(|pair| &answer[pair[0]..pair[1]]).collect();
            check_cut(&transcript, &pieces);
        }
    }

    #[test]
    fn no_bytes_make_the_meter_panic(
        shape in any_shape(),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        likely in r#"(data: |\n|\r|\{|\}|"type":|"delta":|"response":|"x"|"error"|\[DONE\]|,| ){0,40}"#,
    ) {
        check(shape, &[&bytes]);
        check(shape, &[likely.as_bytes(), &bytes]);
    }

    #[test]
    fn a_damaged_answer_is_read_without_panic(
        which in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut all = transcripts();
        let transcript = which.get_mut(&mut all);
        let place = place.index(transcript.answer.len());
        transcript.answer[place] = byte;
        let single: Vec<_> = transcript.answer.chunks(1).collect();
        check_cut(transcript, &single);
    }
}

#[test]
fn messages_of_a_socket_are_read_one_by_one() {
    let failed =
        r#"{"type":"error","status":429,"error":{"type":"x","code":"rate_limit_exceeded"}}"#;
    let done = r#"{"type":"response.completed","response":{"id":"resp_1","model":"m","usage":
        {"input_tokens":5,"output_tokens":2,"total_tokens":7}}}"#;
    let check = |messages: &[&str]| {
        let mut meter = Meter::new(Shape::ResponsesMessages);
        let terminal: Vec<bool> = messages
            .iter()
            .map(|message| {
                message.as_bytes().chunks(7).for_each(|piece| assert_eq!(meter.feed(piece), None));
                meter.end_message()
            })
            .collect();
        (terminal, meter.reading())
    };
    let created = r#"{"type":"response.created","response":{"id":"resp_1"}}"#;
    let (terminal, reading) = check(&[created, "no json", done, done]);
    assert_eq!(terminal, [false, false, true, false]);
    assert_eq!(reading.usage.map(|usage| usage.total_tokens()), Some(7));
    let (terminal, reading) = check(&[failed]);
    assert_eq!((terminal, reading.ending), (vec![true], Some(Ending::Failed)));
    assert_eq!(reading.error_status, Some(429));
    assert_eq!(reading.error_code.as_deref(), Some("rate_limit_exceeded"));
}

#[test]
fn a_piece_of_text_is_read_at_once_as_it_is_byte_by_byte() {
    let long = "x".repeat(20_000);
    let cases = [
        r#"{"type":"response.output_text.delta","item_id":"m","delta":"some text","logprobs":[]}"#,
        r#"{"type":"response.output_text.delta","delta":""}"#,
        r#"{"type":"response.output_text.delta","delta":"a \"quoted\" \\ one\n"}"#,
        r#"{"type":"response.output_text.delta","item_id":"\",\"delta\":\"no","delta":"yes"}"#,
        r#"{"type":"response.output_text.delta","item_id":",","delta":"yes"}"#,
        r#"{"type":"response.output_text.delta","other":{"x":1,"delta":"inner"},"delta":"outer"}"#,
        r#"{"type":"response.output_text.delta","delta":{"x":1}}"#,
        r#"{"type":"response.output_text.delta","delta":"no end"#,
        r#"{"type":"response.output_text.delta""#,
        r#"{"type":"response.output_text.done","delta":"none"}"#,
        r#"{"type":"#,
        r#"{"delta":"before","type":"response.output_text.delta"}"#,
        &format!(r#"{{"type":"response.function_call_arguments.delta","a":1,"delta":"{long}"}}"#),
    ];
    let shapes = [Shape::ResponsesEvents, Shape::ResponsesMessages];
    for (shape, case) in shapes.iter().flat_map(|shape| cases.map(|case| (*shape, case))) {
        let byte_by_byte = read_in(usize::MAX, shape, case);
        assert!(byte_by_byte.0.text_bytes >= 5, "{case}");
        for pieces in [1, 2, 3] {
            assert_eq!(read_in(pieces, shape, case), byte_by_byte, "{case} in {pieces}");
        }
    }
}

/// What is read of an event with this data and one more, each in so many pieces.
fn read_in(pieces: usize, shape: Shape, data: &str) -> (Reading, u64) {
    let mut meter = Meter::new(shape);
    for data in [data, r#"{"type":"response.output_text.delta","x":1,"delta":"again"}"#] {
        let event = format!("data: {data}\n\n");
        let text = if shape == Shape::ResponsesEvents { &*event } else { data };
        for piece in text.as_bytes().chunks(text.len().div_ceil(pieces)) {
            meter.feed(piece);
        }
        meter.end_message();
    }
    (meter.reading(), meter.text_tokens())
}
