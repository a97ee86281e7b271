//! Secrets in what is stored: found with today's rules, counted, told.

pub mod look;
