//! Words for an error instead of an answer.

use http::{HeaderValue, StatusCode, header::RETRY_AFTER};

use crate::{directive::Directive, problem::Problem, reply::Reply};

/// `status`, `code`, `type`, `message`, `retry_after`, `plain`, `html`.
#[derive(Debug, Default)]
pub(crate) struct Refusal {
    status: Option<StatusCode>,
    code: Option<String>,
    kind: Option<String>,
    /// The message, also that of `fail`.
    pub(crate) message: Option<String>,
    retry_after: Option<HeaderValue>,
    form: Form,
}

#[derive(Debug, Default)]
enum Form {
    #[default]
    Json,
    Plain,
    Html,
}

impl Refusal {
    /// Takes a word if it is one of these.
    pub(crate) fn take(&mut self, directive: &Directive) -> Result<bool, Problem> {
        match directive.word.as_str() {
            "status" => self.status = Some(status(directive)?),
            "code" => self.code = Some(directive.text()),
            "type" => self.kind = Some(directive.text()),
            "message" => self.message = Some(directive.text()),
            "retry_after" => self.retry_after = Some(header_value(directive)?),
            "plain" => self.form = Form::Plain,
            "html" => self.form = Form::Html,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The status, if the script refuses.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// The answer, if the script refuses.
    pub(crate) fn reply(&self) -> Option<Reply> {
        let status = self.status?;
        let mut reply = match self.form {
            Form::Json => Reply::problem(&self.problem(status)),
            Form::Plain => Reply::text(status, "text/plain; charset=utf-8", self.words(status)),
            Form::Html => Reply::text(status, "text/html; charset=UTF-8", self.page(status)),
        };
        if let Some(seconds) = &self.retry_after {
            reply.headers.insert(RETRY_AFTER, seconds.clone());
        }
        Some(reply)
    }

    /// The error, if the script refuses.
    pub(crate) fn refused(&self) -> Option<Problem> {
        Some(self.problem(self.status?))
    }

    /// The seconds after which to try again, if the script says so.
    pub(crate) fn retry_after(&self) -> Option<&str> {
        self.retry_after.as_ref()?.to_str().ok()
    }

    fn problem(&self, status: StatusCode) -> Problem {
        let (kind, code) = usual(status);
        let problem = Problem::new(status, self.words(status));
        let kind = self.kind.clone().unwrap_or_else(|| kind.to_owned());
        let code = self.code.clone().or(code.map(str::to_owned));
        Problem { kind, code, ..problem }
    }

    fn words(&self, status: StatusCode) -> String {
        let usual = || format!("Simulated: {}.", status.canonical_reason().unwrap_or("error"));
        self.message.clone().unwrap_or_else(usual)
    }

    fn page(&self, status: StatusCode) -> String {
        let words = self.words(status);
        format!(
            "<!DOCTYPE html>\n<html><head><title>{}</title></head>\n\
             <body><center><h1>{words}</h1></center><hr></body></html>\n",
            status.as_str()
        )
    }
}

/// The type and code that the API sends with a status.
fn usual(status: StatusCode) -> (&'static str, Option<&'static str>) {
    match status.as_u16() {
        429 => ("requests", Some("rate_limit_exceeded")),
        401 => ("invalid_request_error", Some("invalid_api_key")),
        500.. => ("server_error", None),
        _ => ("invalid_request_error", None),
    }
}

/// Informational statuses are no answers.
fn status(directive: &Directive) -> Result<StatusCode, Problem> {
    let number: u16 = directive.number()?;
    let status = StatusCode::from_u16(number).ok().filter(|_| (200..600).contains(&number));
    status.ok_or_else(|| directive.unfit("a status from 200 to 599"))
}

fn header_value(directive: &Directive) -> Result<HeaderValue, Problem> {
    HeaderValue::try_from(directive.text()).map_err(|_| directive.unfit("a header value"))
}
