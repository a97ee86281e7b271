//! Which records are wanted.

use archive::record::{Outcome, Record};
use archive::segment::day_of;
use jiff::Timestamp;
use jiff::civil::Date;
use wildmatch::WildMatch;

/// Which records are wanted; what is absent does not matter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Whose.
    pub user: Option<String>,
    /// Of which team.
    pub team: Option<String>,
    /// Asked or answered by a model of this name; `*` and `?` stand for others.
    pub model: Option<WildMatch>,
    /// With this HTTP status.
    pub status: Option<u16>,
    /// That ended so.
    pub outcome: Option<Outcome>,
    /// With a finding of a rule of this name; `*` and `?` stand for others.
    pub finding: Option<WildMatch>,
    /// Of this Codex session or thread.
    pub session: Option<String>,
    /// In the repository of this name.
    pub repo: Option<String>,
    /// Refused with this text in the refusal's word or in what the client was told.
    pub refusal: Option<String>,
    /// That began then or later.
    pub from: Option<Timestamp>,
    /// That began before.
    pub to: Option<Timestamp>,
}

impl Filter {
    /// Whether the record passes, as far as it tells by itself: what a refusal said, the bodies
    /// tell.
    pub fn takes(&self, record: &Record) -> bool {
        let same = |wanted: &Option<String>, is: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| is == Some(wanted))
        };
        (self.refusal.is_none() || record.refusal.is_some())
            && same(&self.user, Some(&record.user))
            && same(&self.team, record.team.as_deref())
            && same(&self.repo, record.repo.as_deref())
            && self.status.is_none_or(|status| record.status == Some(status))
            && self.outcome.is_none_or(|outcome| record.outcome == outcome)
            && (same(&self.session, record.session_id.as_deref())
                || same(&self.session, record.thread_id.as_deref()))
            && self.takes_model(record)
            && self.takes_findings(record)
            && self.from.is_none_or(|from| record.time >= from)
            && self.to.is_none_or(|to| record.time < to)
    }

    /// Whether records that pass may have begun on this day (UTC).
    pub fn takes_day(&self, day: Date) -> bool {
        self.from.is_none_or(|from| day >= day_of(from))
            && self.to.is_none_or(|to| day <= day_of(to))
    }

    fn takes_model(&self, record: &Record) -> bool {
        let Some(wanted) = &self.model else { return true };
        let names = [&record.model, &record.upstream_model];
        names.into_iter().flatten().any(|name| wanted.matches(name))
    }

    fn takes_findings(&self, record: &Record) -> bool {
        let Some(wanted) = &self.finding else { return true };
        record.findings.iter().any(|finding| wanted.matches(&finding.rule))
    }
}
