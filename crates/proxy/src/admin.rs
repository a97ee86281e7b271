//! What an operator can do. Commands call it now; the API and pages will call the same.

pub mod audit;
pub mod budgets;
pub mod copy;
pub mod doctor;
mod https;
pub mod import;
pub mod keys;
pub mod lifecycle;
pub mod prices;
pub mod reconcile;
pub mod report;
pub mod transcript;
