//! Words for what is counted.

use crate::{directive::Directive, problem::Problem};

/// `usage=none`, `input_tokens`, `cached`, `cache_write`, `output_tokens`.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Whether the answer keeps silent about usage; the bill does not.
    pub(crate) silent: bool,
    /// Instead of counting.
    pub(crate) input_tokens: Option<u64>,
    /// Instead of looking into the cache.
    pub(crate) cached: Option<u64>,
    /// Instead of 0.
    pub(crate) cache_write: Option<u64>,
    /// Instead of counting.
    pub(crate) output_tokens: Option<u64>,
}

impl Counts {
    /// Takes a word if it is one of these.
    pub(crate) fn take(&mut self, directive: &Directive) -> Result<bool, Problem> {
        match directive.word.as_str() {
            "usage" if directive.text() == "none" => self.silent = true,
            "usage" => return Err(directive.unfit("none")),
            "input_tokens" => self.input_tokens = Some(directive.number()?),
            "cached" => self.cached = Some(directive.number()?),
            "cache_write" => self.cache_write = Some(directive.number()?),
            "output_tokens" => self.output_tokens = Some(directive.number()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether the script names what a failed response has used: usually nothing.
    pub(crate) fn given(&self) -> bool {
        self.input_tokens.is_some() || self.output_tokens.is_some()
    }
}
