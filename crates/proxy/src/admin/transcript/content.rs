//! The texts of messages and of what tools gave back.

use serde_json::Value;

/// The text of a message's content: a text, or parts. What is no text is named.
pub(super) fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(part).collect::<Vec<_>>().join("\n"),
        Value::Null => String::new(),
        other => part(other),
    }
}

/// The value at a JSON pointer (RFC 6901); null where there is none.
pub(super) fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

/// What came back from a tool. Older versions of Codex wrap it in JSON.
pub(super) fn output(value: &Value) -> String {
    let Value::String(output) = value else { return text(value) };
    let wrapped: Option<Value> =
        serde_json::from_str(output).ok().filter(|value: &Value| value["output"].is_string());
    let Some(wrapped) = wrapped else { return output.clone() };
    let text = at(&wrapped, "/output").as_str().unwrap_or_default();
    match at(&wrapped, "/metadata/exit_code").as_i64() {
        None | Some(0) => text.to_owned(),
        Some(code) => format!("{}\n[exit code {code}]", text.trim_end_matches('\n')),
    }
}

fn part(part: &Value) -> String {
    if let Some(text) = part.as_str() {
        return text.to_owned();
    }
    for name in ["text", "refusal", "content", "output"] {
        if let Some(text) = part[name].as_str() {
            return text.to_owned();
        }
    }
    let url = part["image_url"].as_str().or_else(|| at(part, "/image_url/url").as_str());
    match (url, part["filename"].as_str()) {
        (Some(url), _) => image(url),
        (None, Some(name)) => format!("[file {name}]"),
        (None, None) => format!("[{}]", part["type"].as_str().unwrap_or("something unknown")),
    }
}

/// An image by its address; one that is in the text itself by its kind and size.
fn image(url: &str) -> String {
    match url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
        Some((kind, data)) => format!("[image, {kind}, {} bytes]", data.len() / 4 * 3),
        None => format!("[image {url}]"),
    }
}
