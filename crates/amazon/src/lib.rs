//! What Amazon's services keep, asked for from here: keys of KMS, secrets of Secrets Manager.

#[cfg_attr(not(feature = "client"), path = "without_secret.rs")]
pub mod secret;
#[cfg(feature = "client")]
pub mod service;
