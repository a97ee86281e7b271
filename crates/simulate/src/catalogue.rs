//! The models on offer. Others are answered too: the list is for looking at.

use crate::{
    json::{Json, Object},
    problem::Problem,
    seed::Ids,
};

const MODELS: [&str; 6] =
    ["gpt-6.1-sol", "gpt-5.5", "gpt-5.5-mini", "gpt-4.1", "gpt-4.1-mini", "text-embedding-3-small"];

/// All models: the API's list, or for the Codex CLI, which names its version, its own catalogue.
pub(crate) fn models(query: Option<&str>) -> Json {
    if query.unwrap_or_default().contains("client_version=") {
        return Json::literal(include_str!("catalogue.json"));
    }
    let data = MODELS.iter().map(|model| object(model));
    Object::new().with("object", "list").json("data", &Json::list(data)).done()
}

/// One model.
pub(crate) fn model(id: &str) -> Result<Json, Problem> {
    if id == "nope" { Err(Problem::no_model(id)) } else { Ok(object(id)) }
}

fn object(id: &str) -> Json {
    Object::new()
        .with("id", id)
        .with("object", "model")
        .with("created", Ids::EPOCH)
        .with("owned_by", "openai")
        .done()
}
