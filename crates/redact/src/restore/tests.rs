//! Answers with masks in them, as they come from the provider and as the client gets them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use crate::mask::Masks;
use crate::mask::tests::{PEM, marked_text, masked, masks, unmarked};

use super::*;

const TOKEN: &str = "ghp_16C7e42F292c6912E7";
const PASSWORD: &str = "pa\"ss\\word\n1";

/// A conversation that knows this value, and its mask.
fn conversation(value: &str) -> (Masks, String) {
    let mut masks = masks();
    let mask = masked(&mut masks, &format!("‹{value}›"));
    (masks, mask)
}

/// What a restorer lets through for each piece, and at the end.
fn feed(mut restorer: Restorer, pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut passed = Vec::new();
    for piece in pieces {
        let mut out = Vec::new();
        restorer.feed(piece, &mut out);
        passed.push(out);
    }
    let mut out = Vec::new();
    restorer.finish(&mut out);
    passed.push(out);
    passed
}

fn whole(restorer: Restorer, pieces: &[&[u8]]) -> String {
    String::from_utf8(feed(restorer, pieces).concat()).unwrap()
}

fn texts(passed: &[Vec<u8>]) -> Vec<&str> {
    passed.iter().map(|piece| std::str::from_utf8(piece).unwrap()).collect()
}

fn check(masks: &Masks, dialect: Dialect, stream: &str) -> String {
    whole(Restorer::events(masks.known(), dialect), &[stream.as_bytes()])
}

fn event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap())
}

fn text_delta(number: u64, delta: &str) -> String {
    event(&json!({ "type": "response.output_text.delta", "sequence_number": number,
        "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": delta, "logprobs": [] }))
}

fn arguments_delta(number: u64, delta: &str) -> String {
    event(&json!({ "type": "response.function_call_arguments.delta", "sequence_number": number,
        "item_id": "fc_1", "output_index": 1, "delta": delta }))
}

fn completed(number: u64, text: &str) -> String {
    event(&json!({ "type": "response.completed", "sequence_number": number, "response": {
        "id": "resp_1", "status": "completed", "output": [
            { "type": "reasoning", "encrypted_content": "gAAAAABh==" },
            { "type": "message", "id": "msg_1", "content": [{ "type": "output_text", "text": text }] },
        ], "usage": { "input_tokens": 10, "output_tokens": 5, "total_tokens": 15 } } }))
}

#[test]
fn a_mask_that_is_cut_over_deltas_is_put_back_into_the_first() {
    let (masks, mask) = conversation(TOKEN);
    let (first, second) = mask.split_at(4);
    let (second, third) = second.split_at(9);
    let stream = |deltas: [String; 4], text: &str| {
        let [a, b, c, d] = deltas;
        [text_delta(1, &a), text_delta(2, &b), text_delta(3, &c), text_delta(4, &d)].concat()
            + &completed(5, text)
    };
    let came = stream(
        [
            "Use ".to_owned() + first,
            second.to_owned(),
            third.to_owned() + ". Or",
            " not.".to_owned(),
        ],
        &format!("Use {mask}. Or not."),
    );
    let expected = stream(
        ["Use ".to_owned() + TOKEN, String::new(), ". Or".to_owned(), " not.".to_owned()],
        &format!("Use {TOKEN}. Or not."),
    );
    assert_eq!(check(&masks, Dialect::Responses, &came), expected);
}

#[test]
fn events_wait_only_while_a_known_mask_may_come() {
    let (masks, mask) = conversation(TOKEN);
    let (head, rest) = mask.split_at(12);
    let ping = ": ping\n\n".to_owned();
    let events = [
        text_delta(1, "A [list], a [secret:x:0123456789ab] and ["),
        ping.clone(),
        text_delta(2, "x"),
        text_delta(3, head),
        arguments_delta(4, "{}"),
        text_delta(5, rest),
        ping.clone(),
    ];
    let pieces: Vec<&[u8]> = events.iter().map(String::as_bytes).collect();
    let passed = feed(Restorer::events(masks.known(), Dialect::Responses), &pieces);
    let together = [text_delta(3, TOKEN), arguments_delta(4, "{}"), text_delta(5, "")].concat();
    let [first, _, third, ..] = &events;
    let expected =
        ["", "", &[first, &ping, third].map(String::as_str).concat(), "", "", &together, &ping, ""];
    assert_eq!(texts(&passed), expected);
}

#[test]
fn a_beginning_that_never_ends_leaves_as_it_came() {
    let (masks, mask) = conversation(TOKEN);
    let half = mask.split_at(20).0;
    let done = event(&json!({ "type": "response.output_text.done", "item_id": "msg_1",
        "output_index": 0, "content_index": 0, "text": half }));
    for end in [done, completed(2, half)] {
        let stream = text_delta(1, half) + &end + &text_delta(3, mask.split_at(20).1);
        assert_eq!(check(&masks, Dialect::Responses, &stream), stream);
    }
    assert_eq!(check(&masks, Dialect::Responses, &text_delta(1, half)), text_delta(1, half));
}

#[test]
fn what_is_held_is_bounded() {
    let (masks, mask) = conversation(TOKEN);
    let (head, rest) = mask.split_at(12);
    let others: String = (0..300).map(|n| arguments_delta(n, "x")).collect();
    let stream = text_delta(0, head) + &others + &text_delta(1, rest);
    assert_eq!(check(&masks, Dialect::Responses, &stream), stream);
    let mut restorer = Restorer::events(masks.known(), Dialect::Responses);
    let mut out = Vec::new();
    restorer.feed(text_delta(0, head).as_bytes(), &mut out);
    assert!(out.is_empty() && restorer.is_holding());
    restorer.release(&mut out);
    assert_eq!(String::from_utf8(out).unwrap(), text_delta(0, head));
    assert!(!restorer.is_holding());
}

#[test]
fn a_value_is_escaped_for_the_arguments_of_a_call() {
    let (masks, mask) = conversation(PASSWORD);
    let arguments = |value: &str| json!({ "cmd": ["psql", value] }).to_string();
    let stream = |cut: [&str; 2], whole: &str| {
        let item = json!({ "type": "function_call", "id": "fc_1", "arguments": whole });
        let done = json!({ "type": "response.output_item.done", "output_index": 1, "item": item });
        [arguments_delta(1, cut[0]), arguments_delta(2, cut[1]), event(&done)].concat()
    };
    let (came, whole) = (arguments(&mask), arguments(PASSWORD));
    let came = stream(came.split_at(25).into(), &came);
    let after = whole.rfind("\"]").unwrap();
    let expected = stream(whole.split_at(after).into(), &whole);
    assert_eq!(check(&masks, Dialect::Responses, &came), expected);
}

#[test]
fn a_value_in_a_patch_is_written_as_in_any_text() {
    let (masks, mask) = conversation(PEM);
    let delta = |number: u64, delta: &str| {
        event(&json!({ "type": "response.custom_tool_call_input.delta", "sequence_number": number,
            "item_id": "ctc_1", "output_index": 0, "delta": delta }))
    };
    let patch = |key: &str| format!("*** Begin Patch\n*** Add File: k.pem\n+{key}\n*** End Patch");
    let came = patch(&mask);
    let (first, second) = came.split_at(60);
    let came = delta(1, first) + &delta(2, second);
    let whole = patch(PEM);
    let (first, second) = whole.split_at(whole.find("\n*** End").unwrap());
    assert_eq!(check(&masks, Dialect::Responses, &came), delta(1, first) + &delta(2, second));
}

#[test]
fn a_chat_is_restored_choice_by_choice_and_call_by_call() {
    let (masks, mask) = conversation(PASSWORD);
    let chunk = |choices: &Value| {
        format!(
            "data: {}\n\n",
            json!({ "id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": choices })
        )
    };
    let content = |index: u64, text: &str| json!({ "index": index, "delta": { "content": text }, "finish_reason": null });
    let call = |tool: u64, arguments: &str| json!({ "index": 0, "delta": { "tool_calls": [{ "index": tool, "function": { "arguments": arguments } }] } });
    let (head, rest) = mask.split_at(10);
    let escaped = serde_json::to_string(PASSWORD).unwrap();
    let stop = chunk(&json!([{ "index": 0, "delta": {}, "finish_reason": "stop" }]));
    let end = "data: [DONE]\n\n";
    let came = [
        chunk(&json!([{ "index": 0, "delta": { "role": "assistant", "content": "" } }])),
        chunk(&json!([content(0, head), content(1, "["), call(0, &format!("{{\"a\":\"{head}"))])),
        chunk(&json!([call(1, head)])),
        chunk(&json!([content(1, "no"), call(0, &format!("{rest}\"}}")), content(0, rest)])),
        stop.clone(),
        end.to_owned(),
    ];
    let expected = [
        came[0].clone(),
        chunk(&json!([
            content(0, PASSWORD),
            content(1, "["),
            call(0, &format!("{{\"a\":{}", escaped.strip_suffix('"').unwrap()))
        ])),
        came[2].clone(),
        chunk(&json!([content(1, "no"), call(0, "\"}"), content(0, "")])),
        stop,
        end.to_owned(),
    ];
    assert_eq!(check(&masks, Dialect::Chat, &came.concat()), expected.concat());
}

#[test]
fn every_line_end_and_several_lines_of_data_stay() {
    let (masks, mask) = conversation(TOKEN);
    let (head, rest) = mask.split_at(20);
    for end in ["\n", "\r", "\r\n"] {
        let stream = |first: &str, second: &str| {
            [
                "event: x|data: {\"type\":\"response.output_text.delta\",|",
                &format!("data:\"delta\": \"{first}\", \"item_id\":\"m\"}}|id: 7||: hi||"),
                &format!("data: {{\"type\":\"response.output_text.delta\",\"item_id\":\"m\",\"delta\":\"{second}\"}}||"),
            ]
            .concat()
            .replace('|', end)
        };
        let came = stream(head, rest);
        assert_eq!(check(&masks, Dialect::Responses, &came), stream(TOKEN, ""));
        let single: Vec<&[u8]> = came.as_bytes().chunks(1).collect();
        let passed = whole(Restorer::events(masks.known(), Dialect::Responses), &single);
        assert_eq!(passed, stream(TOKEN, ""));
    }
}

#[test]
fn an_event_too_large_to_keep_is_restored_while_it_passes() {
    let (masks, mask) = conversation(PASSWORD);
    let stream = |value: &str| {
        let picture = "A".repeat(5_000_000);
        text_delta(1, "[secret:")
            + &event(
                &json!({ "type": "response.x", "b64": picture, "arguments": json!({ "a": value }).to_string() }),
            )
            + &text_delta(2, "after")
    };
    let came = stream(&mask);
    let pieces: Vec<&[u8]> = came.as_bytes().chunks(100_003).collect();
    let mut restorer = Restorer::events(masks.known(), Dialect::Responses);
    let mut out = Vec::new();
    for piece in pieces {
        restorer.feed(piece, &mut out);
    }
    restorer.finish(&mut out);
    assert!(String::from_utf8(out).unwrap() == stream(PASSWORD));
}

#[test]
fn messages_are_held_and_sent_in_order() {
    let (masks, mask) = conversation(TOKEN);
    let (head, rest) = mask.split_at(12);
    let delta = |text: &str| {
        json!({ "type": "response.output_text.delta", "item_id": "m", "delta": text }).to_string()
    };
    let other = json!({ "type": "keepalive" }).to_string();
    let whole = |text: &str| {
        json!({ "type": "response.completed", "response": { "output": [text] } }).to_string()
    };
    let mut messages = Messages::new(masks.known());
    let passed = |text: String, is_rewritten| Message { text: text.into_bytes(), is_rewritten };
    assert_eq!(messages.message(delta("a").as_bytes()), [passed(delta("a"), false)]);
    assert_eq!(messages.message(delta(head).as_bytes()), []);
    assert_eq!(messages.message(other.as_bytes()), []);
    assert_eq!(
        messages.message(delta(rest).as_bytes()),
        [passed(delta(TOKEN), true), passed(other, false), passed(delta(""), true)]
    );
    assert_eq!(messages.message(whole(&mask).as_bytes()), [passed(whole(TOKEN), true)]);
    assert_eq!(messages.message(delta(head).as_bytes()), []);
    assert_eq!(messages.renew(masks.known()), [passed(delta(head), false)]);
    assert!(!messages.is_holding());
}

#[test]
fn a_document_waits_only_for_the_rest_of_a_mask() {
    let (masks, mask) = conversation(TOKEN);
    let (head, rest) = mask.split_at(5);
    let pieces = ["{\"text\":[\"[s", "tr", "ing\",\"", head, rest, "\"]}["].map(str::as_bytes);
    let passed = feed(Restorer::document(masks.known()), &pieces);
    assert_eq!(texts(&passed), ["{\"text\":[\"", "[str", "ing\",\"", "", TOKEN, "\"]}", "["]);
}

/// A text that the model writes, the words in which it comes, and when.
#[derive(Debug, Clone)]
struct Spoken {
    text: String,
    cuts: Vec<Index>,
}

fn spoken() -> impl Strategy<Value = Spoken> {
    (marked_text(), prop::collection::vec(any::<Index>(), 0..12))
        .prop_map(|(text, cuts)| Spoken { text, cuts })
}

/// A text cut into deltas.
fn deltas(text: &str, cuts: &[Index]) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(characters.len() + 1)).collect();
    places.extend([0, characters.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| characters[pair[0]..pair[1]].iter().collect()).collect()
}

const KINDS: [(&str, &str); 4] = [
    ("output_text", "text"),
    ("function_call_arguments", "arguments"),
    ("custom_tool_call_input", "input"),
    ("reasoning_summary_text", "text"),
];

/// The data of an answer's events; the deltas of its texts come in the order that is drawn.
fn answer(texts: &[String; 4], cuts: &[Vec<Index>; 4], order: &[Index]) -> Vec<Value> {
    let all = texts.iter().zip(cuts).map(|(text, cuts)| deltas(text, cuts));
    let mut waiting: Vec<(usize, std::collections::VecDeque<String>)> =
        all.map(Into::into).enumerate().collect();
    let mut events = vec![json!({ "type": "response.created", "response": { "id": "resp_1" } })];
    let mut draw = order.iter().cycle();
    while !waiting.is_empty() {
        let chosen = draw.next().unwrap().index(waiting.len());
        let (text, left) = &mut waiting[chosen];
        let (kind, member) = KINDS[*text];
        let place = format!("item_{text}");
        let Some(delta) = left.pop_front() else {
            let mut done = json!({ "type": format!("response.{kind}.done"), "item_id": place, "output_index": text });
            done[member] = texts[*text].clone().into();
            events.push(done);
            waiting.remove(chosen);
            continue;
        };
        events.push(json!({ "type": format!("response.{kind}.delta"), "item_id": place, "output_index": text, "delta": delta }));
    }
    events.push(json!({ "type": "response.completed", "response": { "output": texts } }));
    for (number, event) in events.iter_mut().enumerate() {
        event["sequence_number"] = number.into();
    }
    events
}

/// Events without their deltas, and the whole of each text's.
fn gathered(events: &[Value]) -> (Vec<Value>, BTreeMap<String, String>) {
    let mut whole: BTreeMap<String, String> = BTreeMap::new();
    let mut rest = events.to_vec();
    for event in &mut rest {
        let item = event["item_id"].as_str().unwrap_or_default().to_owned();
        if let Some(delta) = event.as_object_mut().unwrap().remove("delta") {
            whole.entry(item).or_default().push_str(delta.as_str().unwrap());
        }
    }
    (rest, whole)
}

fn parsed(stream: &str) -> Vec<Value> {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn pieces_of<'s>(stream: &'s str, cuts: &[Index]) -> Vec<&'s [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    places.extend([0, stream.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &stream.as_bytes()[pair[0]..pair[1]]).collect()
}

/// What the developer's side had, and what the model saw of it.
struct Talk {
    masks: Masks,
    original: [String; 4],
    masked: [String; 4],
}

/// A request with the texts is masked; the second is in the arguments of a call.
fn talk(texts: &[Spoken; 4]) -> Talk {
    let texts = texts.each_ref().map(|spoken| spoken.text.clone());
    let arguments = json!({ "cmd": ["bash", texts[1]] }).to_string();
    let texts = [texts[0].clone(), arguments, texts[2].clone(), texts[3].clone()];
    let mut masks = masks();
    let body = masked(&mut masks, &json!(texts).to_string());
    let original = texts.map(|text| unmarked(&text).0);
    Talk { masks, original, masked: serde_json::from_str(&body).unwrap() }
}

proptest! {
    #[test]
    fn what_the_model_repeats_is_what_the_developer_had(
        texts in [spoken(), spoken(), spoken(), spoken()],
        order in prop::collection::vec(any::<Index>(), 1..8),
        cuts in prop::collection::vec(any::<Index>(), 0..8),
    ) {
        let talk = talk(&texts);
        let words = texts.each_ref().map(|spoken| spoken.cuts.clone());
        let came = answer(&talk.masked, &words, &order);
        let stream: String = came.iter().map(event).collect();
        let restorer = || Restorer::events(talk.masks.known(), Dialect::Responses);
        let passed = whole(restorer(), &pieces_of(&stream, &cuts));
        let (events, repeated) = gathered(&parsed(&passed));
        let (rest, came_whole) = gathered(&came);
        prop_assert_eq!(came_whole.into_values().collect::<Vec<_>>(), talk.masked.clone());
        prop_assert_eq!(repeated.into_values().collect::<Vec<_>>(), talk.original.clone());
        let types = |events: &[Value]| -> Vec<Value> {
            events.iter().map(|event| json!([event["type"], event["sequence_number"]])).collect()
        };
        prop_assert_eq!(types(&events), types(&rest));
        let (expected, _) = gathered(&answer(&talk.original, &words, &order));
        let dones = |events: Vec<Value>| -> Vec<Value> {
            let is_delta = |e: &Value| e["type"].as_str().unwrap().split('.').nth(2) == Some("delta");
            events.into_iter().filter(|e| !is_delta(e))
                .map(|mut e| { e.as_object_mut().unwrap().remove("sequence_number"); e }).collect()
        };
        prop_assert_eq!(dones(events), dones(expected));
        // The same however the bytes were cut, and nothing is left to put back.
        prop_assert_eq!(&whole(restorer(), &[stream.as_bytes()]), &passed);
        let single: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        prop_assert_eq!(&whole(restorer(), &single), &passed);
        prop_assert_eq!(&whole(restorer(), &[passed.as_bytes()]), &passed);
        // A socket's messages say the same.
        let mut messages = Messages::new(talk.masks.known());
        let mut sent: Vec<Message> = Vec::new();
        for event in &came {
            sent.extend(messages.message(event.to_string().as_bytes()));
        }
        sent.extend(messages.release());
        let said: Vec<Value> = sent.iter().map(|m| serde_json::from_slice(&m.text).unwrap()).collect();
        prop_assert_eq!(said, parsed(&passed));
    }

    #[test]
    fn a_chat_repeats_what_the_developer_had(
        texts in [spoken(), spoken(), spoken(), spoken()],
        cuts in prop::collection::vec(any::<Index>(), 0..8),
    ) {
        let talk = talk(&texts);
        let texts: Vec<Vec<String>> =
            talk.masked.iter().zip(&texts).map(|(text, spoken)| deltas(text, &spoken.cuts)).collect();
        let longest = texts.iter().map(Vec::len).max().unwrap();
        let mut stream = String::new();
        for turn in 0..longest {
            let piece = |text: usize| texts[text].get(turn).cloned();
            let call = json!([{ "index": 3, "function": { "arguments": piece(1) } }]);
            let choices = json!([
                { "index": 0, "delta": { "content": piece(0), "tool_calls": call } },
                { "delta": { "refusal": piece(2), "reasoning_content": piece(3) }, "index": 1 },
            ]);
            stream.extend(["data: ", &json!({ "choices": choices }).to_string(), "\r\n\r\n"]);
        }
        let end = "data: [DONE]\r\n\r\n";
        let restorer = Restorer::events(talk.masks.known(), Dialect::Chat);
        let passed = whole(restorer, &pieces_of(&(stream + end), &cuts));
        let chunks = parsed(passed.strip_suffix(end).unwrap());
        prop_assert_eq!(chunks.len(), longest);
        let pointers = [
            "/choices/0/delta/content",
            "/choices/0/delta/tool_calls/0/function/arguments",
            "/choices/1/delta/refusal",
            "/choices/1/delta/reasoning_content",
        ];
        let whole = pointers.map(|pointer| {
            chunks.iter().filter_map(|chunk| chunk.pointer(pointer)?.as_str()).collect::<String>()
        });
        prop_assert_eq!(whole, talk.original);
    }

    #[test]
    fn a_document_is_the_same_however_it_is_cut(
        texts in [spoken(), spoken(), spoken(), spoken()],
        cuts in prop::collection::vec(any::<Index>(), 0..8),
    ) {
        let talk = talk(&texts);
        let body = json!({ "output": talk.masked }).to_string();
        let expected = json!({ "output": talk.original }).to_string();
        let passed = whole(Restorer::document(talk.masks.known()), &pieces_of(&body, &cuts));
        prop_assert_eq!(passed, expected);
    }

    #[test]
    fn what_has_no_known_mask_passes_byte_for_byte(
        stream in "(data|:|: |\\[|secret|:value|:0123456789ab|\\]|\"|\\{|\\}|\\\\|\"type\":|\"response.output_text.delta\"|,|\"delta\":\"|\r|\n|\r\n|\n\n|event|\u{FEFF}){0,60}",
        cuts in prop::collection::vec(any::<Index>(), 0..8),
    ) {
        for value in [TOKEN, PASSWORD] {
            let (masks, _) = conversation(value);
            for dialect in [Dialect::Responses, Dialect::Chat] {
                let restorer = Restorer::events(masks.known(), dialect);
                prop_assert_eq!(&whole(restorer, &pieces_of(&stream, &cuts)), &stream);
            }
            let restorer = Restorer::document(masks.known());
            prop_assert_eq!(&whole(restorer, &pieces_of(&stream, &cuts)), &stream);
        }
    }
}
