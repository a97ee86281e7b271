//! What an exchange used, and what it cost.

use archive::record::UsageKind;
use archive::segment::day_of;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;
use wire::attribution::RequestKind;
use wire::estimate::by_bytes;
use wire::meter::Reading;
use wire::price::{PriceTable, usd};
use wire::usage::{Other, Usage};

use super::{Account, has_failed};
use crate::budget::reservation::Spent;
use crate::budget::seen::Seen;
use crate::exchange::endpoint::Operation;

impl Account {
    pub(super) fn is_model_call(&self) -> bool {
        matches!(self.operation, Operation::Responses | Operation::ChatCompletions)
    }

    pub(super) fn count(&mut self, reading: &Reading) {
        let (usage, kind) = match reading.usage {
            Some(usage) => (usage, UsageKind::Exact),
            // The upstream that says it failed and names no usage bills nothing.
            None if self.is_free(reading) => (Usage::default(), UsageKind::None),
            None if self.may_have_cost() && self.is_model_call() => {
                (self.estimate(reading), UsageKind::Estimated)
            }
            None => (Usage::default(), UsageKind::None),
        };
        self.usage = usage;
        self.record.usage = kind;
        self.record.input_tokens = usage.input_tokens;
        self.record.cached_input_tokens = usage.cached_input_tokens;
        self.record.cache_write_tokens = usage.cache_write_tokens;
        self.record.output_tokens = usage.output_tokens;
        self.record.reasoning_tokens = usage.reasoning_tokens;
        self.record.total_tokens = usage.total_tokens();
    }

    /// What was used, as far as it can be told from what passed.
    fn estimate(&self, reading: &Reading) -> Usage {
        let asked = self.decoded_bytes.unwrap_or(self.record.request_bytes);
        let (input_tokens, output_tokens) = match &self.question {
            Some(question) => aside(|| (question.tokens(), self.meter.text_tokens())),
            None => (None, by_bytes(reading.text_bytes)),
        };
        let input_tokens = input_tokens.unwrap_or(by_bytes(asked));
        Usage { input_tokens, output_tokens, ..Usage::default() }
    }

    /// Whether the upstream said that it failed, and charges nothing for it. A chat stream has no last
    /// event that would say so: one that broke off with an error after it had begun may be charged.
    fn is_free(&self, reading: &Reading) -> bool {
        let has_begun = self.operation == Operation::ChatCompletions && self.ends_with_event;
        has_failed(reading) && !(has_begun && reading.response_id.is_some())
    }

    /// Whether the upstream may have worked for this: it got the request and did not refuse it.
    fn may_have_cost(&self) -> bool {
        let answered = self.response.as_ref().map(|response| response.status);
        // 101: in a WebSocket, which answers to all that is asked in it.
        self.forwarded && answered.is_none_or(|status| matches!(status, 101 | 200..300))
    }

    /// What it cost. Never a zero for what is not known.
    pub(super) fn price(&mut self, reading: &Reading, prices: &PriceTable) {
        let record = &self.record;
        let cost = if record.usage == UsageKind::None {
            let free = self.is_free(reading)
                || !self.may_have_cost()
                || self.operation == Operation::Other;
            free.then_some(0)
        } else {
            let usage = self.usage;
            let searches = reading.web_searches;
            let usage = Usage { other: Other { web_searches: searches, ..usage.other }, ..usage };
            let model = record.upstream_model.as_ref().or(record.model.as_ref());
            let (tier, day) = (record.service_tier.as_deref(), day_of(record.time));
            model.and_then(|model| prices.cost(model, tier, day, &usage)).map(|cost| cost.nanos)
        };
        self.cost_nanos = cost;
        self.record.priced = cost.is_some();
        self.record.cost_usd = cost.map(usd);
    }

    /// What counts in budgets, once it is closed.
    pub(crate) fn spent(&self) -> Spent {
        let is_free = self.record.usage == UsageKind::None && self.cost_nanos == Some(0);
        let is_counted = self.record.usage != UsageKind::None || is_free;
        let asks = self.forwarded && self.record.request_kind != RequestKind::Prewarm.as_str();
        Spent {
            nanos: self.cost_nanos,
            tokens: is_counted.then_some(self.record.total_tokens),
            requests: Some(u64::from(asks)),
        }
    }

    /// How many tokens it had, where the upstream said so.
    pub(crate) fn seen(&self) -> Option<Seen<'_>> {
        (self.record.usage == UsageKind::Exact).then_some(Seen {
            response_id: self.record.response_id.as_deref(),
            total_tokens: self.record.total_tokens,
            model: self.record.model.as_deref(),
            output_tokens: self.record.output_tokens,
        })
    }
}

/// Counts tokens while others have their turn on this thread's other self: it takes a millisecond, and
/// at the first time more.
fn aside<T>(count: impl FnOnce() -> T) -> T {
    let runtime = Handle::try_current().map(|handle| handle.runtime_flavor());
    if matches!(runtime, Ok(RuntimeFlavor::MultiThread)) { block_in_place(count) } else { count() }
}
