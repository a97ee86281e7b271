//! From a message to the frames that answer it.

use http::StatusCode;
use tungstenite::protocol::frame::{CloseFrame, coding::CloseCode};

use crate::{
    answer::Call,
    ask::{Ask, Dialect},
    bill::Usage,
    converse,
    json::{Json, Object},
    playback::{self, Step},
    problem::Problem,
    responses::{self, events},
    script::{
        Script,
        delivery::{Quirk, Stop},
    },
    socket::{
        deflate::Deflater,
        frame::{self, Framing},
    },
    turn::{End, Item, Turn},
};

/// What is to be done about a message.
pub(crate) struct Plan {
    /// Frames and waits.
    pub(crate) steps: Vec<Step>,
    /// What comes after them.
    pub(crate) after: After,
}

/// What follows an answer.
pub(crate) enum After {
    /// The next request.
    Next,
    /// The server closes.
    Close(CloseFrame),
}

/// Answers a message: with events, or with one `error` frame.
pub(crate) fn plan(call: &Call<'_>, deflater: Option<&mut Deflater>) -> Plan {
    match understand(call) {
        Ok((ask, script)) => converse(call, &ask, &script, deflater),
        Err(problem) => refuse(&problem, deflater),
    }
}

/// Answers a message with a problem.
pub(crate) fn refuse(problem: &Problem, deflater: Option<&mut Deflater>) -> Plan {
    alone(&refused(problem, None), deflater)
}

/// Reads the request and joins it to what came before.
fn understand<'a>(call: &Call<'a>) -> Result<(Ask<'a>, Script), Problem> {
    let mut ask = Ask::read(&call.body.bytes, Dialect::Responses)?;
    if ask.fields.text("type").as_deref() != Some("response.create") {
        return Err(Problem::no_event());
    }
    if let Some(id) = ask.fields.text("previous_response_id") {
        let thread = call.state.thread(&id).ok_or_else(|| Problem::no_previous(&id))?;
        ask.join(thread);
    }
    let script = Script::read(call.state, &call.head.headers, &ask.prompt)?;
    Ok((ask, script))
}

fn converse(
    call: &Call<'_>,
    ask: &Ask<'_>,
    script: &Script,
    deflater: Option<&mut Deflater>,
) -> Plan {
    let turn = turn(call, ask, script);
    let delay = Step::Wait(script.delivery.delay);
    if script.delivery.has(Quirk::Drop) {
        return Plan { steps: vec![delay, Step::Break], after: After::Next };
    }
    let mut plan = match script.refusal.refused() {
        Some(problem) => alone(&refused(&problem, script.refusal.retry_after()), deflater),
        None => speak(call, ask, &turn, script, deflater),
    };
    plan.steps.insert(0, delay);
    plan
}

/// What the model does. A request that asks to generate nothing is answered, and not billed.
fn turn(call: &Call<'_>, ask: &Ask<'_>, script: &Script) -> Turn {
    if ask.fields.raw("generate").is_none_or(|raw| raw.get() != "false") {
        return converse::play(call, ask, script, Dialect::Responses);
    }
    Turn {
        ids: call.ids,
        dialect: Dialect::Responses,
        model: ask.model.clone(),
        tier: "default".to_owned(),
        items: Vec::new(),
        end: End::Completed,
        usage: Some(Usage::default()),
    }
}

fn speak(
    call: &Call<'_>,
    ask: &Ask<'_>,
    turn: &Turn,
    script: &Script,
    mut deflater: Option<&mut Deflater>,
) -> Plan {
    let answered = turn.items.iter().map(Item::text_bytes).sum();
    call.state.follow(turn.id(), ask.thread(answered));
    call.state.keep(turn.id(), responses::ended(ask, turn).into_text());
    let framing = Framing { socket: &script.socket, delivery: &script.delivery };
    let events = events::events(ask, turn);
    let frames = events.iter().map(|event| framing.message(event.data(), deflater.as_deref_mut()));
    let frames = frames.collect();
    let mut steps = playback::plan_frames(frames, frame::ping, &script.delivery, call.state.pace);
    if let Some(bytes) = script.delivery.cut_bytes {
        steps = playback::cut(steps, bytes);
    }
    Plan { steps, after: after(script) }
}

/// A stream that ends early ends with the connection: there is no other way to say so.
fn after(script: &Script) -> After {
    let close = script.socket.close();
    match script.delivery.stop {
        Some(Stop::Eof(_)) => After::Close(close.unwrap_or_else(normal)),
        Some(Stop::Cut(_) | Stop::Stall(_)) | None => close.map_or(After::Next, After::Close),
    }
}

/// The close of somebody who has nothing more to say.
pub(crate) fn normal() -> CloseFrame {
    CloseFrame { code: CloseCode::Normal, reason: "".into() }
}

fn alone(json: &Json, deflater: Option<&mut Deflater>) -> Plan {
    let script = Script::default();
    let framing = Framing { socket: &script.socket, delivery: &script.delivery };
    let frame = framing.message(&json.clone().into_text(), deflater);
    Plan { steps: vec![Step::Send(frame)], after: After::Next }
}

/// An `error` frame.
fn refused(problem: &Problem, retry_after: Option<&str>) -> Json {
    let status: StatusCode = problem.status;
    let object = Object::new()
        .with("type", "error")
        .with("status", status.as_u16())
        .json("error", &problem.error());
    match retry_after {
        Some(seconds) => {
            object.json("headers", &Object::new().with("retry-after", seconds).done()).done()
        }
        None => object.done(),
    }
}
