//! What the bytes of an answer are, and what of them waits for the record.

use archive::record::Transport;
use http::{HeaderMap, header};
use wire::coding::Decoder;
use wire::meter::Shape;

use crate::exchange::endpoint::Operation;
use crate::ledger::account::Expected;

/// What the client cannot do without, and so is held until the record is safe.
pub(super) enum Hold {
    /// The event that ends the stream.
    Event,
    /// The last piece of a body of known length: so many bytes are to come.
    Length(u64),
    /// The last byte of a body of unknown length.
    LastByte,
    /// The end itself.
    End,
}

/// What the bytes of an answer are, and what of it is held back.
pub(super) fn reading(
    operation: Operation,
    expected: Expected,
    head: &http::response::Parts,
) -> (Shape, Hold, Transport) {
    let text =
        |name| head.headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    let content_type = text(header::CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    let coding = text(header::CONTENT_ENCODING).filter(|coding| *coding != "identity");
    // A backend may stream without saying so: then what was asked decides.
    let unsaid = content_type.is_empty() && head.status.is_success();
    let sse =
        content_type.starts_with("text/event-stream") || (unsaid && expected == Expected::Events);
    let transport = if sse { Transport::Sse } else { Transport::Http };
    let unknown = coding.is_some_and(|coding| Decoder::new(coding).is_none());
    let (shape, hold) = match (operation, sse) {
        (_, true) if unknown => (Shape::Opaque, Hold::End),
        (_, false) if unknown => (Shape::Opaque, by_length(&head.headers)),
        (Operation::Responses, true) => (Shape::ResponsesEvents, Hold::Event),
        (Operation::ChatCompletions, true) => (Shape::ChatEvents, Hold::Event),
        (Operation::Work | Operation::Other, true) => (Shape::Opaque, Hold::End),
        // A look-up may show the usage of an answer that was counted when it was made.
        (Operation::Other, false) => (Shape::Opaque, by_length(&head.headers)),
        (_, false) if content_type.contains("json") => (Shape::Json, by_length(&head.headers)),
        (_, false) => (Shape::Opaque, by_length(&head.headers)),
    };
    (shape, hold, transport)
}

fn by_length(headers: &HeaderMap) -> Hold {
    let length =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    length.map_or(Hold::LastByte, Hold::Length)
}
