//! From a request to its answer.

use std::{error::Error, fmt, sync::Arc};

use http::{Request, Response, header, request::Parts};
use hyper::body::Incoming;

use crate::{
    ask::Dialect,
    bill::Billed,
    body::{self, Received},
    catalogue, converse, embed,
    json::{Json, Object},
    observe,
    playback::Playback,
    problem::Problem,
    reply::Reply,
    route::Route,
    script::{Script, delivery::Quirk},
    seed::Ids,
    server::Tasks,
    socket,
    state::{Seen, State},
};

/// A request, received.
pub(crate) struct Call<'a> {
    /// What requests share.
    pub(crate) state: &'a State,
    /// Method, path and headers.
    pub(crate) head: &'a Parts,
    /// The body.
    pub(crate) body: &'a Received,
    /// The ids of the answer.
    pub(crate) ids: Ids,
}

/// Why there is no ordinary answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection is to be closed.
    Dropped,
    /// An error is answered.
    Refused(Problem),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

/// Answers a request, or has its connection closed.
pub(crate) async fn answer(
    state: Arc<State>,
    tasks: &Tasks,
    request: Request<Incoming>,
) -> Result<Response<Playback>, Dropped> {
    if socket::is_asked(&request) {
        return socket::open(state, tasks, request).await;
    }
    let state = state.as_ref();
    let (head, body) = request.into_parts();
    let route = Route::of(&head.method, head.uri.path());
    let body = match body::receive(route, &head.headers, body).await {
        Ok(body) => body,
        Err(Failure::Dropped) => return Err(Dropped),
        Err(Failure::Refused(problem)) => return Ok(Reply::problem(&problem).into_response()),
    };
    if let Route::Own(own) = route {
        return Ok(observe::answer(state, own, &body.bytes).into_response());
    }
    let ids = state.open(Seen::new(&head, &body), &body.bytes);
    let call = Call { state, head: &head, body: &body, ids };
    match call.dispatch(route).await {
        Ok(reply) => Ok(reply.into_response()),
        Err(Failure::Dropped) => Err(Dropped),
        Err(Failure::Refused(problem)) => {
            Ok(Reply::problem(&problem).dress(&Script::default(), &ids).into_response())
        }
    }
}

impl Call<'_> {
    async fn dispatch(&self, route: Route<'_>) -> Result<Reply, Failure> {
        if let Route::Organization(organization) = route {
            let query = self.head.uri.query().unwrap_or_default();
            let page = organization.answer(self.bearer(), query, &self.state.timed())?;
            return Ok(Reply::json(page));
        }
        self.authorise()?;
        match route {
            Route::Responses => converse::converse(self, Dialect::Responses).await,
            Route::Chat => converse::converse(self, Dialect::Chat).await,
            Route::Embeddings => embed::embed(self).await,
            other => self.plain(other).await,
        }
    }

    /// Operations without a model; only the header may script them.
    async fn plain(&self, route: Route<'_>) -> Result<Reply, Failure> {
        let script = Script::read(self.state, &self.head.headers, "")?;
        hold(&script).await?;
        let reply = match script.refusal.reply() {
            Some(refused) => refused,
            None => Reply::json(self.look_up(route)?),
        };
        Ok(reply.dress(&script, &self.ids))
    }

    fn look_up(&self, route: Route<'_>) -> Result<Json, Problem> {
        let (method, path) = (&self.head.method, self.head.uri.path());
        match route {
            Route::Models => Ok(catalogue::models(self.head.uri.query())),
            Route::Model(id) => catalogue::model(id),
            Route::Files => Ok(self.file()),
            Route::Backend(backend) => Ok(backend.answer(&self.head.headers)),
            Route::Head => Ok(Object::new().done()),
            Route::Response(id) => {
                let made = self.state.made(id).ok_or_else(|| Problem::no_response(id))?;
                Ok(Json::made(made))
            }
            Route::Responses
            | Route::Chat
            | Route::Embeddings
            | Route::Socket
            | Route::Own(_)
            | Route::Organization(_)
            | Route::Unknown => Err(Problem::no_url(method, path)),
        }
    }

    /// A file object: nothing is kept but the count.
    fn file(&self) -> Json {
        Object::new()
            .with("id", self.ids.id("file-", 0))
            .with("object", "file")
            .with("bytes", self.body.length)
            .with("created_at", self.ids.created_at())
            .with("filename", "upload")
            .with("purpose", "user_data")
            .with("status", "processed")
            .done()
    }

    /// Refuses another bearer than the one expected.
    pub(crate) fn authorise(&self) -> Result<(), Problem> {
        let bearer = self.bearer();
        match &self.state.key {
            Some(key) if *key != bearer => Err(Problem::unauthorized(bearer)),
            Some(_) | None => Ok(()),
        }
    }

    /// Bills an exchange to the bearer.
    pub(crate) fn charge(&self, billed: Billed) {
        let bearer = self.bearer();
        let start = bearer.char_indices().rev().nth(3).map_or(0, |(start, _)| start);
        let suffix = bearer.get(start..).unwrap_or_default();
        self.state.charge(Billed { bearer_suffix: suffix.to_owned(), ..billed });
    }

    /// The bearer shown, empty if there is none.
    pub(crate) fn bearer(&self) -> &str {
        let value = self.head.headers.get(header::AUTHORIZATION);
        let value = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.strip_prefix("Bearer ").unwrap_or_default()
    }
}

/// Closes the connection or waits, as the script says.
pub(crate) async fn hold(script: &Script) -> Result<(), Failure> {
    // Even a sleep of nothing takes up to a millisecond.
    if !script.delivery.delay.is_zero() {
        tokio::time::sleep(script.delivery.delay).await;
    }
    if script.delivery.has(Quirk::Drop) { Err(Failure::Dropped) } else { Ok(()) }
}

/// The connection is closed without an answer.
#[derive(Debug)]
pub(crate) struct Dropped;

impl fmt::Display for Dropped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the script drops the connection")
    }
}

impl Error for Dropped {}
