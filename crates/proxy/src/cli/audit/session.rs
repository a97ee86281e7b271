//! `audit session`: a conversation as people read it.

use std::io::Write;

use anyhow::Result;
use archive::read::Reader;

use super::filter::FilterArgs;
use crate::admin::audit::session;
use crate::admin::transcript::write::{Form, write};
use crate::cli::output::Progress;

/// Show a conversation: what was said, answered, run and paid, each thing once
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy audit session 01a200ee-dcd4-7852-b3de-ec9eee25e80e
  codex-proxy audit session 01a200ee-dcd4 --format html > conversation.html")]
pub(super) struct Session {
    /// Its session or thread, or an exchange of it; at least 8 letters of the first two
    id: String,
    #[command(flatten)]
    filter: FilterArgs,
    /// Form of the transcript
    #[arg(long, value_enum, default_value = "text")]
    format: Form,
}

/// Prints the transcript.
pub(super) async fn run(reader: &Reader, session: Session) -> Result<()> {
    let progress = Progress::default();
    let tell = |done: &dyn std::fmt::Display| progress.tell(done);
    let filter = session.filter.into();
    let transcript = session::session(reader, &session.id, &filter, &tell).await?;
    drop(progress);
    let text = write(&transcript, session.format)?;
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
