//! Embeddings: vectors that are a function of the text.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

use crate::{
    answer::{self, Call, Failure},
    bill::{Asked, Billed, Usage, Written, text_bytes},
    fields::Fields,
    json::{Json, Object},
    problem::Problem,
    reply::Reply,
    script::Script,
    seed::Seed,
};

/// Answers `POST /v1/embeddings`.
pub(crate) async fn embed(call: &Call<'_>) -> Result<Reply, Failure> {
    let fields = Fields::parse(&call.body.bytes).ok_or_else(Problem::malformed)?;
    let model = fields.text("model").ok_or_else(|| Problem::missing("model"))?;
    fields.raw("input").ok_or_else(|| Problem::missing("input"))?;
    let input = fields.value("input");
    let script = Script::read(call.state, &call.head.headers, input.as_str().unwrap_or_default())?;
    let usage = count(&input, &script);
    call.charge(Billed {
        response_id: call.ids.id("emb-", 0),
        endpoint: "embeddings".to_owned(),
        model: model.clone(),
        service_tier: "default".to_owned(),
        status: script.status(),
        ..usage.billed()
    });
    answer::hold(&script).await?;
    let usual = || Reply::json(list(&fields, &input, &model, usage));
    Ok(script.refusal.reply().unwrap_or_else(usual).dress(&script, &call.ids))
}

fn count(input: &Value, script: &Script) -> Usage {
    if script.refuses() {
        return Usage::default();
    }
    let input_bytes = text_bytes(input);
    let asked = Asked { text_bytes: input_bytes, input_bytes, cache_key: 0 };
    Usage::count(&asked, 0, &Written { text_bytes: 0, reasoning_tokens: 0 }, &script.counts)
}

fn list(fields: &Fields<'_>, input: &Value, model: &str, usage: Usage) -> Json {
    let texts = match input {
        // A list of numbers is one text, already cut into tokens.
        Value::Array(texts) if !texts.iter().all(Value::is_number) => texts.clone(),
        text => vec![text.clone()],
    };
    let data = texts.iter().enumerate().map(|(index, text)| {
        let object = Object::new().with("object", "embedding").with("index", index);
        object.json("embedding", &vector(fields, text)).done()
    });
    let usage = Object::new()
        .with("prompt_tokens", usage.input_tokens)
        .with("total_tokens", usage.total_tokens);
    Object::new()
        .with("object", "list")
        .json("data", &Json::list(data))
        .with("model", model)
        .json("usage", &usage.done())
        .done()
}

/// Numbers between -1 and 1, in the encoding asked for.
fn vector(fields: &Fields<'_>, text: &Value) -> Json {
    let dimensions = fields.value("dimensions").as_u64().unwrap_or(1536).min(4096);
    let mut seed = Seed::of(text.to_string().as_bytes());
    let numbers: Vec<f32> = (0..dimensions).map(|_| number(&mut seed)).collect();
    if fields.text("encoding_format").as_deref() != Some("base64") {
        return Json::of(numbers);
    }
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    Json::of(BASE64_STANDARD.encode(bytes))
}

fn number(seed: &mut Seed) -> f32 {
    let small = i16::from_be_bytes([seed.byte(), seed.byte()]);
    f32::from(small) / 32768.0
}
