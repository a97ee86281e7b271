//! The matrix: the real Codex CLI with and without the gateway, case by case.

mod case;
mod cell;
mod provider;
mod steady;
mod table;

pub(crate) use case::{Case, cases};
pub(crate) use cell::{Cell, Outcome, Patience, run_all};
pub(crate) use provider::{Provider, Transport, Version};
pub(crate) use table::table;
