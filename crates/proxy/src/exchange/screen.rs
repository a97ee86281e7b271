//! Reads what is asked, and sees to it that no secret leaves with it.
//!
//! What passes is what was sent, unless something in it is masked: then only those bytes change, and
//! a body that came coded is coded again as it came. Whoever is refused here leaves a record that has
//! masks in the place of what it was refused for.

mod asks;
pub mod guard;
pub mod intake;
pub mod known;
pub mod message;
pub mod place;
pub mod policy;
pub mod recent;
mod screening;
pub mod search;
mod texts;
mod usage;

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, header};
use hyper::body::Body;
use redact::mask::{Known, Masks};
use wire::ask::Ask;
use wire::coding::encode;

use super::arrived::ClientBody;
use super::auth::Principal;
use super::conversation;
use super::endpoint::{Endpoint, Surface};
use super::headers::{DIGESTS, without};
use super::refusal::{Refusal, Word};
use crate::config::ChatUsage;
use crate::ledger::recorder::copier::Copier;
use asks::{Asks, asks};
use guard::Guard;
use intake::{Buffered, Intake, Reading, codings};
use screening::Screening;
pub use screening::{Fresh, Looked, Verdict};
use search::Scope;
use texts::{is_text, texts};
pub use usage::Extra;

/// Fields, each with a head of its own (RFC 7578).
const FORM: &str = "multipart/form-data";

/// Longer uploads stream by, and are not looked through.
const UPLOAD: u64 = 8 << 20;
/// To look through more than this takes as long as others should not wait.
const LONG: usize = 512 << 10;

/// Inspects requests before they leave.
#[derive(Clone)]
pub struct Screen {
    intake: Intake,
    guard: Arc<Guard>,
    chat_usage: ChatUsage,
}

/// A request that was inspected and may leave. Made only here.
#[derive(Debug)]
pub struct Screened {
    /// Which upstream interface is asked.
    pub surface: Surface,
    /// Path below its base.
    pub path: String,
    /// Method, address, headers: as the client sent them, but for masks.
    pub head: Parts,
    /// The body as it leaves.
    pub body: ScreenedBody,
    /// What is asked, where it can be told.
    pub ask: Option<Ask>,
    /// How the body was read.
    pub reading: Reading,
    /// Which masks stand for which values in it; none: nothing was masked.
    pub masks: Option<Arc<Known>>,
    /// What was asked for that the client did not ask.
    pub extra: Extra,
    _made_here: Proof,
}

#[derive(Debug)]
struct Proof;

/// A request that was inspected; it leaves only through [`Inspected::let_through`].
#[derive(Debug)]
pub struct Inspected {
    /// Boxed, as it goes from hand to hand: each of these futures would have room for it.
    screened: Box<Screened>,
    verdict: Verdict,
}

/// The body of an inspected request.
#[derive(Debug)]
pub enum ScreenedBody {
    /// Read whole.
    Whole(Buffered),
    /// Passed on as it comes.
    Streamed {
        /// The client's bytes.
        body: ClientBody,
        /// How many there may be.
        limit: u64,
        /// Who keeps a copy of them.
        copier: Option<Copier>,
    },
}

impl Inspected {
    /// What was found, and the request as it would leave: for who keeps it.
    pub fn looked_at(&mut self) -> (&Verdict, &mut Screened) {
        (&self.verdict, &mut self.screened)
    }

    /// The proof that it may leave, or why not.
    pub fn let_through(self) -> Result<Box<Screened>, Refusal> {
        self.verdict.refusal.map_or(Ok(self.screened), Err)
    }
}

impl Screened {
    /// Says why the body could not be read, to whom it matters.
    pub fn explain(&self, refusal: Refusal) -> Refusal {
        match &self.reading {
            Reading::Unread(why) if refusal.word() == Word::UnreadableBody => {
                refusal.and(&format!("The body cannot be decoded: {why}."))
            }
            _ => refusal,
        }
    }
}

impl ScreenedBody {
    /// What is to be sent; of a body that streams by nothing is left for another time.
    #[must_use]
    pub fn take(&mut self) -> Self {
        match self {
            Self::Whole(body) => Self::Whole(body.clone()),
            Self::Streamed { .. } => std::mem::replace(self, Self::Whole(Buffered::default())),
        }
    }

    /// Whether it may be sent again.
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Whole(_))
    }
}

impl Screen {
    /// Reads bodies into this memory, and looks for secrets as it is ordered.
    pub fn new(intake: Intake, guard: Guard, chat_usage: ChatUsage) -> Self {
        Self { intake, guard: Arc::new(guard), chat_usage }
    }

    /// Bytes that request bodies hold now, in whole grains.
    pub fn buffered(&self) -> usize {
        self.intake.held()
    }

    /// The same memory and what is known of items, under other settings.
    #[must_use]
    pub fn with(
        &self,
        intake: impl FnOnce(&Intake) -> Intake,
        guard: Guard,
        chat_usage: ChatUsage,
    ) -> Self {
        Self::new(intake(&self.intake), guard, chat_usage)
    }

    /// What looks for secrets.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Reads a body that says what is asked, and looks through it; leaves others to stream.
    pub async fn inspect(
        &self,
        principal: &Principal,
        endpoint: &Endpoint,
        request: Request<ClientBody>,
    ) -> Result<Inspected, Refusal> {
        let (head, body) = request.into_parts();
        only_chunked(&head.headers)?;
        if body.size_hint().lower() > self.intake.max_body {
            return Err(self.intake.too_large());
        }
        let asks = asks(endpoint, &head.headers);
        let is_off = self.guard.is_off(principal);
        if asks == Asks::Nothing && (is_off || !is_looked_through(endpoint, &head, &body)) {
            return Ok(self.streamed(principal, endpoint, head, body));
        }
        let body = self.intake.read(body).await?;
        let codings = codings(&head.headers);
        let reading = if codings.is_empty() {
            Reading::Plain
        } else {
            // Boxed, so that an ordinary exchange is not moved about with room for it.
            Box::pin(self.intake.decode(&codings, &body)).await?
        };
        let (surface, path) = (endpoint.surface, endpoint.path.clone());
        let kind = content_type(&head.headers).to_owned();
        let ask = match &reading {
            Reading::Plain => asks.read(&kind, &body.bytes),
            Reading::Decoded(copy) => asks.read(&kind, &copy.bytes),
            // A body that is no JSON, or cannot be read, is the upstream's to judge.
            Reading::Unread(_) => None,
        };
        let whole = ScreenedBody::Whole(body.clone());
        let mut screened = Box::new(Screened {
            surface,
            path,
            head,
            body: whole,
            ask,
            reading,
            masks: None,
            extra: Extra::Nothing,
            _made_here: Proof,
        });
        let body = self.ask_usage(endpoint, &mut screened, body)?;
        if is_off {
            return Ok(Inspected { screened, verdict: Verdict::default() });
        }
        // Others have their turn on this thread's other self, where there is much to look through.
        let look = || self.look_through(principal, screened, &body, asks);
        if body.bytes.len() > LONG { tokio::task::block_in_place(look) } else { look() }
    }

    /// A body that streams by: its head is looked through all the same.
    fn streamed(
        &self,
        principal: &Principal,
        endpoint: &Endpoint,
        mut head: Parts,
        body: ClientBody,
    ) -> Inspected {
        let (surface, path) = (endpoint.surface, endpoint.path.clone());
        let is_empty = body.is_end_stream();
        let mut verdict = self.guard.head(principal, &mut head);
        if !is_empty && !self.guard.is_off(principal) {
            verdict.body = Looked::Partly;
        }
        let body = if is_empty {
            ScreenedBody::Whole(Buffered::default())
        } else {
            ScreenedBody::Streamed { body, limit: self.intake.max_body, copier: None }
        };
        let (ask, reading, masks) = (None, Reading::Plain, verdict.masks.clone());
        let extra = Extra::Nothing;
        let screened =
            Screened { surface, path, head, body, ask, reading, masks, extra, _made_here: Proof };
        Inspected { screened: Box::new(screened), verdict }
    }

    /// Looks through a request whose body came so, and masks what is to be masked.
    fn look_through(
        &self,
        principal: &Principal,
        mut screened: Box<Screened>,
        came: &Buffered,
        asks: Asks,
    ) -> Result<Inspected, Refusal> {
        let kind = content_type(&screened.head.headers).to_owned();
        let read = match &screened.reading {
            Reading::Plain => Ok(came.clone()),
            Reading::Decoded(copy) => Ok(copy.clone()),
            Reading::Unread(why) => Err(Some(why)),
        };
        let read = read.and_then(|read| {
            let is_text = asks == Asks::Nothing || is_text(&kind, &read.bytes);
            if is_text { Ok(read) } else { Err(None) }
        });
        let text = match read {
            Ok(text) => text,
            Err(why) => {
                self.guard.unreadable(why)?;
                let mut verdict = self.guard.head(principal, &mut screened.head);
                verdict.body = Looked::Partly;
                return Ok(Inspected { screened, verdict });
            }
        };
        let orders = self.guard.policy.orders(principal);
        let conversation =
            conversation::of(principal, &screened.head.headers, screened.ask.as_ref()).to_owned();
        let (key, memory) = self.guard.conversation(principal, &conversation);
        let mut screening = Screening::new(&self.guard, orders, Masks::new(key), Some(memory));
        let Parts { headers, uri, .. } = &mut screened.head;
        screening.head(headers, uri);
        let (texts, looked) = texts(&kind, &text.bytes, screened.ask.as_ref());
        let scope =
            Scope { key_id: &principal.key.id, orders: orders.number, conversation: &conversation };
        let masked = screening.body(&text.bytes, &texts, scope);
        screening.again(headers, uri);
        let (mut verdict, _) = screening.verdict();
        verdict.body = verdict.body.max(looked);
        screened.masks.clone_from(&verdict.masks);
        if let Some(masked) = masked {
            self.replace(&mut screened, came, &text, masked)?;
            screened.ask = asks.read(&kind, text_of(&screened));
        }
        Ok(Inspected { screened, verdict })
    }

    /// Puts a body with masks in the place of what came: coded as it came, and as long as it is now.
    fn replace(
        &self,
        screened: &mut Screened,
        came: &Buffered,
        read: &Buffered,
        masked: Vec<u8>,
    ) -> Result<(), Refusal> {
        screened.head.headers = without(&screened.head.headers, &DIGESTS);
        let headers = &mut screened.head.headers;
        let body = match &screened.reading {
            Reading::Plain | Reading::Unread(_) => self.intake.replaced(came, masked)?,
            Reading::Decoded(_) => {
                let coded = encode::whole(&codings(headers), masked.clone());
                let coded = coded.ok_or_else(|| {
                    let message = "The request's body cannot be coded again.";
                    Refusal::new(Word::UnreadableBody, message)
                })?;
                screened.reading = Reading::Decoded(self.intake.replaced(read, masked)?);
                self.intake.replaced(came, coded)?
            }
        };
        if let Some(length) = headers.get_mut(header::CONTENT_LENGTH) {
            *length = HeaderValue::from(body.bytes.len());
        }
        screened.body = ScreenedBody::Whole(body);
        Ok(())
    }
}

/// Whether a body is read whole only to be looked through: what may be text, but for uploads of
/// files, which are only where they are short.
fn is_looked_through(endpoint: &Endpoint, head: &Parts, body: &ClientBody) -> bool {
    let kind = content_type(&head.headers).to_ascii_lowercase();
    let may_be_text = kind.is_empty()
        || kind.starts_with("text/")
        || kind.starts_with(FORM)
        || ["json", "xml", "urlencoded", "yaml"].iter().any(|word| kind.contains(word));
    let is_short = body.size_hint().exact().is_some_and(|length| length <= UPLOAD);
    let uploads = ["/files", "/uploads", "/containers", "/audio", "/videos", "/images"];
    let is_upload = uploads.iter().any(|below| endpoint.path.starts_with(below));
    !body.is_end_stream() && may_be_text && (is_short || !is_upload)
}

/// The body of a request as it can be read.
fn text_of(screened: &Screened) -> &[u8] {
    match (&screened.reading, &screened.body) {
        (Reading::Decoded(copy), _) => &copy.bytes,
        (_, ScreenedBody::Whole(body)) => &body.bytes,
        (_, ScreenedBody::Streamed { .. }) => &[],
    }
}

/// A transfer coding ends here (RFC 9112 §7): one beside `chunked` would be lost with what it says
/// about the body.
fn only_chunked(headers: &HeaderMap) -> Result<(), Refusal> {
    let values = headers.get_all(header::TRANSFER_ENCODING).iter();
    let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    let codings = values.join(", ");
    if codings.is_empty() || codings.trim().eq_ignore_ascii_case("chunked") {
        return Ok(());
    }
    let message = format!(
        "The request's body has the transfer coding `{codings}`: send it `chunked` alone, with what is compressed told in content-encoding."
    );
    Err(Refusal::new(Word::UnreadableBody, message))
}

fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE);
    value.and_then(|value| value.to_str().ok()).unwrap_or_default()
}
