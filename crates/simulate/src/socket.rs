//! The Responses API over a WebSocket: how one is opened.

mod deflate;
mod frame;
mod plan;
mod reader;
mod session;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header, request::Parts};
use hyper::{
    body::Incoming,
    upgrade::{self, OnUpgrade},
};
use tungstenite::handshake::derive_accept_key;

use crate::{
    answer::{self, Call, Dropped, Failure},
    body::Received,
    playback::Playback,
    problem::Problem,
    reply::Reply,
    route::Route,
    script::Script,
    seed::Ids,
    server::Tasks,
    socket::{deflate::Agreed, session::Session},
    state::{Seen, State},
};

/// Whether a request asks for a WebSocket where one may open.
pub(crate) fn is_asked(request: &Request<Incoming>) -> bool {
    let route = Route::of(request.method(), request.uri().path());
    let upgrade = request.headers().get(header::UPGRADE);
    route == Route::Socket && upgrade.is_some_and(|name| same(name, "websocket"))
}

/// Opens it, or refuses as the script says.
pub(crate) async fn open(
    state: Arc<State>,
    tasks: &Tasks,
    mut request: Request<Incoming>,
) -> Result<Response<Playback>, Dropped> {
    let upgraded = upgrade::on(&mut request);
    let (head, _) = request.into_parts();
    let body = Received { bytes: bytes::Bytes::new(), length: 0 };
    let ids = state.open(Seen::new(&head, &body), &[]);
    let call = Call { state: &state, head: &head, body: &body, ids };
    let script = match Script::of_socket(&state, &head.headers) {
        Ok(script) => script,
        Err(problem) => return Ok(refuse(&problem, &Script::default(), &ids)),
    };
    match admit(&call, &script).await {
        Ok(()) => {}
        Err(Failure::Dropped) => return Err(Dropped),
        Err(Failure::Refused(problem)) => return Ok(refuse(&problem, &script, &ids)),
    }
    if let Some(reply) = script.refusal.reply() {
        return Ok(reply.dress(&script, &ids).into_response());
    }
    Ok(accept(state, tasks, Opening { head, script, ids, upgraded }))
}

/// A WebSocket about to open.
struct Opening {
    head: Parts,
    script: Script,
    ids: Ids,
    upgraded: OnUpgrade,
}

fn refuse(problem: &Problem, script: &Script, ids: &Ids) -> Response<Playback> {
    Reply::problem(problem).dress(script, ids).into_response()
}

/// Checks what RFC 6455, section 4.2.1, asks of a client, and the key.
async fn admit(call: &Call<'_>, script: &Script) -> Result<(), Failure> {
    call.authorise()?;
    let headers = &call.head.headers;
    let connection = headers.get_all(header::CONNECTION).iter();
    let names = connection.filter_map(|value| value.to_str().ok());
    let upgrades = names.flat_map(|value| value.split(',')).any(|name| is(name, "upgrade"));
    let version = headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|v| same(v, "13"));
    if !upgrades || !version || !headers.contains_key(header::SEC_WEBSOCKET_KEY) {
        let message = "The WebSocket handshake is not that of RFC 6455, version 13.";
        return Err(Problem::new(StatusCode::BAD_REQUEST, message).into());
    }
    answer::hold(script).await
}

fn accept(state: Arc<State>, tasks: &Tasks, opening: Opening) -> Response<Playback> {
    let Opening { head, script, ids, upgraded } = opening;
    let agreed = Agreed::on(&head.headers, script.socket.deflate);
    let reply = Reply::switching(handshake(&head.headers, agreed)).dress(&script, &ids);
    tasks.start(async move {
        let Ok(stream) = upgraded.await else { return };
        Session::new(state, head, script, agreed).run(stream).await;
    });
    reply.into_response()
}

/// The headers of the server's half of the handshake.
fn handshake(asked: &HeaderMap, agreed: Option<Agreed>) -> HeaderMap {
    let key = asked.get(header::SEC_WEBSOCKET_KEY).map_or(&b""[..], HeaderValue::as_bytes);
    let accept = HeaderValue::try_from(derive_accept_key(key)).expect("base64 fits a header");
    let mut headers = HeaderMap::from_iter([
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
    ]);
    let extension = agreed.map(|agreed| (header::SEC_WEBSOCKET_EXTENSIONS, agreed.told()));
    headers.extend(extension);
    headers
}

fn same(value: &HeaderValue, word: &str) -> bool {
    value.to_str().is_ok_and(|text| is(text, word))
}

fn is(text: &str, word: &str) -> bool {
    text.trim().eq_ignore_ascii_case(word)
}
