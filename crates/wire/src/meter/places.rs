//! Where in the API's documents the meter looks.

use crate::pick::{Member, inside, text};

/// A thing that the meter takes note of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The `type` of a Responses event.
    Type,
    /// The `delta` of a Responses event: text of some kind, depending on the type.
    Delta,
    Id,
    Model,
    ServiceTier,
    Usage,
    Status,
    /// The status of an error in a WebSocket.
    ErrorStatus,
    ErrorCode,
    ErrorType,
    /// Text that the model wrote.
    Text,
    /// The type of an element of the output.
    OutputType,
}

/// Ids, names and codes are far shorter.
const NAME_LIMIT: usize = 512;
const USAGE_LIMIT: usize = 64 * 1024;
/// Of a longer text only the length is told.
pub(super) const TEXT_LIMIT: usize = 16 * 1024;

const ERROR: Member<Place> = inside(
    "error",
    &[text(Place::ErrorCode, "code", NAME_LIMIT), text(Place::ErrorType, "type", NAME_LIMIT)],
);
const ID: Member<Place> = text(Place::Id, "id", NAME_LIMIT);
const MODEL: Member<Place> = text(Place::Model, "model", NAME_LIMIT);
const SERVICE_TIER: Member<Place> = text(Place::ServiceTier, "service_tier", NAME_LIMIT);
const OUTPUT_TYPE: Member<Place> = text(Place::OutputType, "type", NAME_LIMIT);
const USAGE: Member<Place> = text(Place::Usage, "usage", USAGE_LIMIT);

/// An event of the Responses API; `code` is that of its `error` event, which has it at the top.
pub(super) const RESPONSES_EVENT: &[Member<Place>] = &[
    text(Place::Type, "type", NAME_LIMIT),
    text(Place::Delta, "delta", TEXT_LIMIT),
    inside("response", &[ID, MODEL, SERVICE_TIER, USAGE, ERROR, inside("output", &[OUTPUT_TYPE])]),
    text(Place::ErrorCode, "code", NAME_LIMIT),
    text(Place::ErrorStatus, "status", NAME_LIMIT),
    ERROR,
];

/// What the model wrote in a chat message, or in a piece of one.
const MESSAGE: &[Member<Place>] = &[
    text(Place::Text, "content", TEXT_LIMIT),
    text(Place::Text, "refusal", TEXT_LIMIT),
    text(Place::Text, "reasoning_content", TEXT_LIMIT),
    inside("tool_calls", &[inside("function", &[text(Place::Text, "arguments", TEXT_LIMIT)])]),
    inside("function_call", &[text(Place::Text, "arguments", TEXT_LIMIT)]),
];

/// A chunk of a chat completion.
pub(super) const CHAT_CHUNK: &[Member<Place>] =
    &[ID, MODEL, SERVICE_TIER, USAGE, ERROR, inside("choices", &[inside("delta", MESSAGE)])];

/// A response, a chat completion, embeddings, images or an error.
pub(super) const DOCUMENT: &[Member<Place>] = &[
    ID,
    MODEL,
    SERVICE_TIER,
    USAGE,
    ERROR,
    text(Place::Status, "status", NAME_LIMIT),
    inside("choices", &[inside("message", MESSAGE)]),
    inside(
        "output",
        &[
            OUTPUT_TYPE,
            inside("content", &[text(Place::Text, "text", TEXT_LIMIT)]),
            text(Place::Text, "arguments", TEXT_LIMIT),
            text(Place::Text, "input", TEXT_LIMIT),
        ],
    ),
];
