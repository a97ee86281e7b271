//! The journey: what happens to an exchange, in order.

pub mod arrived;
pub mod auth;
pub mod conversation;
pub mod endpoint;
pub mod headers;
pub mod limit;
pub mod manner;
pub mod refusal;
pub mod restored;
pub mod screen;
pub mod sent;
pub mod socket;
pub mod tap;
pub mod upstream;

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};

use crate::config::WebSocket;
use crate::ledger::Ledger;
use crate::ledger::account::{Arrival, End};
use crate::ledger::recorder::Recorder;
use arrived::ClientBody;
use auth::{Auth, Principal};
use endpoint::{Endpoint, Endpoints};
use limit::{Asked, Limits};
use manner::Manner;
use refusal::{Reach, Refusal, Word};
use screen::Screen;
use tap::{Body, Tap};
use upstream::{Answer, Upstream};

/// Tells of a budget that is nearly spent.
pub const BUDGET_HEADER: HeaderName = HeaderName::from_static("x-codex-proxy-budget");

/// All that a request needs, built once.
pub struct Proxy {
    /// Which endpoints are open.
    pub endpoints: Endpoints,
    /// Who may ask.
    pub auth: Arc<Auth>,
    /// How much, and which models.
    pub limits: Limits,
    /// What may leave.
    pub screen: Screen,
    /// Where it goes.
    pub upstream: Arc<Upstream>,
    /// What is written down.
    pub ledger: Ledger,
    /// How answers are tapped.
    pub manner: Arc<Manner>,
    /// Whether WebSocket is spoken.
    pub websocket: WebSocket,
}

/// Carries one exchange from its request to its answer. The order is the contract:
///
/// 1. *resolve*: what is closed is closed to everybody, so before anybody is asked who they are;
/// 2. *authenticate*: before this there is nobody to account to; a stranger is counted, not recorded;
/// 3. *open*: the record's place is taken now; no place, no exchange;
/// 4. *carry*: everything that may be refused on the way to the upstream;
/// 5. *tap*: the answer passes, seen by the recorder, which ends with it;
/// 6. *restore*: where something was masked, the client gets its own values back; and it does not
///    get what only we asked for.
///
/// A handshake of a WebSocket goes another way from 2 on: see [`socket`].
pub async fn exchange(
    proxy: &Arc<Proxy>,
    arrival: Arrival,
    request: Request<ClientBody>,
) -> Result<Response<Body>, Refusal> {
    let endpoint = proxy.endpoints.resolve(&request).inspect_err(|refusal| {
        proxy.ledger.refused(None, refusal.word());
    })?;
    let principal = authenticate(proxy, arrival, request.headers()).await?;
    if socket::is_asked(&request) {
        let note = proxy.limits.note(&principal);
        // Boxed, so that an ordinary exchange is not moved about with room for it.
        let answer = Box::pin(socket::open(proxy, principal, endpoint, arrival, request)).await;
        return answer.map(|answer| noted(answer, note.clone())).map_err(|no| no.with_note(note));
    }
    let mut recorder = proxy.ledger.open(&principal, &endpoint, &request, arrival)?;
    let operation = endpoint.operation;
    match carry(proxy, &principal, &endpoint, request, &mut recorder).await {
        Ok(answer) => {
            recorder.served(answer.served.name(), answer.served.doubt());
            let asked = (operation, recorder.expected());
            let (masks, extra) = (answer.masks.clone(), answer.extra);
            let note = recorder.budget_note().or_else(|| proxy.limits.note(&principal));
            let tapped = Tap::on(answer, recorder, operation, proxy.manner.clone()).await?;
            Ok(noted(restored::over(tapped, (masks, extra), asked), note))
        }
        Err(refusal) => {
            let refusal = refused(proxy, refusal, recorder).await;
            Err(refusal.with_note(proxy.limits.note(&principal)))
        }
    }
}

/// What is said of a budget is ours to say, so it is not among what the upstream said.
fn noted(mut answer: Response<Body>, note: Option<HeaderValue>) -> Response<Body> {
    answer.headers_mut().extend(note.map(|note| (BUDGET_HEADER, note)));
    answer
}

async fn carry(
    proxy: &Proxy,
    principal: &Principal,
    endpoint: &Endpoint,
    request: Request<ClientBody>,
    recorder: &mut Recorder,
) -> Result<Answer, Refusal> {
    // Concurrency before the body: a client that stalls still holds its place.
    let slot = proxy.limits.enter(principal)?;
    // Only what was inspected, and admitted on what it asks, goes upstream; its opening is in the
    // spool before the first byte leaves.
    let mut inspected = tokio::select! {
        biased;
        inspected = proxy.screen.inspect(principal, endpoint, request) => inspected?,
        // A body may come slowly.
        refusal = proxy.manner.interrupted(&principal.live.ended) => {
            return Err(refusal.before_upstream());
        }
    };
    recorder.asked(&mut inspected);
    let screened = inspected.let_through()?;
    let ask = screened.ask.as_ref();
    let asked = Asked { operation: endpoint.operation, ask, text: recorder.question() };
    let admitted = proxy.limits.admit(slot, &asked).await;
    let mut permit = admitted.map_err(|refusal| screened.explain(refusal))?;
    recorder.reserved(permit.take_reservation());
    recorder.request().await?;
    proxy.upstream.forward(permit, screened, &proxy.manner).await
}

async fn authenticate(
    proxy: &Proxy,
    arrival: Arrival,
    headers: &HeaderMap,
) -> Result<Principal, Refusal> {
    let principal = proxy.auth.authenticate(headers, arrival.time).await;
    principal.map_err(|unproven| {
        proxy.ledger.refused(unproven.key_id, unproven.refusal.word());
        unproven.refusal
    })
}

/// The record of a refused exchange is in the spool before the client hears of it. Who is answered
/// `busy` leaves none: there is no room, or nowhere to write it.
async fn refused(proxy: &Proxy, refusal: Refusal, mut recorder: Recorder) -> Refusal {
    if refusal.word() == Word::Busy && !recorder.is_opened() {
        recorder.forget();
        return refusal;
    }
    if refusal.reach() == Reach::Nobody {
        let _ = recorder.end(End::Left).await;
        return refusal;
    }
    if refusal.reach() == Reach::Here {
        recorder.not_forwarded();
    }
    recorder.tells(&refusal.clone().with_contact(proxy.manner.contact.as_deref()));
    match recorder.end(End::Refused(refusal.word())).await {
        Ok(()) => refusal,
        _ if recorder.proceeds_unwritten() => refusal,
        _ => Refusal::busy("No record can be written at the moment."),
    }
}
