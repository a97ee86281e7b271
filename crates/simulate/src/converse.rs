//! One exchange with the model: Responses or Chat Completions.

use crate::{
    act::{self, Act},
    answer::{self, Call, Failure},
    ask::{Ask, Dialect},
    bill::{Billed, Usage},
    chat,
    json::Json,
    playback,
    problem::Problem,
    reply::Reply,
    responses,
    script::Script,
    turn::{End, Turn},
};

/// Plays the model. The exchange is billed before the first byte of its answer.
pub(crate) async fn converse(call: &Call<'_>, dialect: Dialect) -> Result<Reply, Failure> {
    let ask = Ask::read(&call.body.bytes, dialect)?;
    let script = Script::read(call.state, &call.head.headers, &ask.prompt)?;
    let turn = play(call, &ask, &script, dialect);
    answer::hold(&script).await?;
    let spoken = || speak(call, &ask, &turn, &script);
    let reply = script.refusal.reply().map_or_else(spoken, Ok);
    let reply = reply.unwrap_or_else(|problem| Reply::problem(&problem));
    Ok(reply.dress(&script, &call.ids))
}

/// Lets the model act, counts and bills.
pub(crate) fn play(call: &Call<'_>, ask: &Ask<'_>, script: &Script, dialect: Dialect) -> Turn {
    let Act { items, end, written } = act::act(ask, script, &call.ids);
    let free = script.refuses() || matches!(end, End::Failed { .. }) && !script.counts.given();
    let usage = (!free).then(|| {
        let cached = call.state.cached(&ask.asked);
        Usage::count(&ask.asked, cached, &written, &script.counts)
    });
    let model = script.content.model.clone().unwrap_or_else(|| ask.model.clone());
    let tier = tier(ask, script);
    let turn = Turn { ids: call.ids, dialect, model, tier, items, end, usage };
    charge(call, &turn, status(ask, &turn, script));
    Turn { usage: turn.usage.filter(|_| !script.counts.silent), ..turn }
}

/// The tier asked for, where the API would serve it.
fn tier(ask: &Ask<'_>, script: &Script) -> String {
    let asked = ask.fields.text("service_tier").filter(|tier| tier != "auto");
    script.content.tier.clone().or(asked).unwrap_or_else(|| "default".to_owned())
}

/// The status answered: a completion that fails before it is streamed is an error.
fn status(ask: &Ask<'_>, turn: &Turn, script: &Script) -> u16 {
    let failed = matches!(turn.end, End::Failed { .. });
    let refused = failed && turn.dialect == Dialect::Chat && !ask.stream() && !script.refuses();
    if refused { 500 } else { script.status() }
}

fn charge(call: &Call<'_>, turn: &Turn, status: u16) {
    let endpoint = match turn.dialect {
        Dialect::Responses => "responses",
        Dialect::Chat => "chat/completions",
    };
    call.charge(Billed {
        response_id: turn.id(),
        endpoint: endpoint.to_owned(),
        model: turn.model.clone(),
        service_tier: turn.tier.clone(),
        status,
        ..turn.usage.unwrap_or_default().billed()
    });
}

fn speak(call: &Call<'_>, ask: &Ask<'_>, turn: &Turn, script: &Script) -> Result<Reply, Problem> {
    if turn.dialect == Dialect::Responses {
        call.state.keep(turn.id(), responses::ended(ask, turn).into_text());
    }
    if !ask.stream() {
        return Ok(Reply::json(whole(ask, turn)?));
    }
    let events = match turn.dialect {
        Dialect::Responses => responses::events::events(ask, turn),
        Dialect::Chat => chat::events(ask, turn),
    };
    Ok(Reply::stream(playback::plan(&events, &script.delivery, call.state.pace)))
}

fn whole(ask: &Ask<'_>, turn: &Turn) -> Result<Json, Problem> {
    match turn.dialect {
        Dialect::Responses => Ok(responses::ended(ask, turn)),
        Dialect::Chat => chat::completion(turn),
    }
}
