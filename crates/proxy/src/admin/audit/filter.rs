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

    /// Whether the segments of this day may have such exchanges: they lie under the day on which
    /// they ended.
    pub fn takes_day_of_bodies(&self, day: Date) -> bool {
        self.from.is_none_or(|from| day >= day_of(from))
            && self.to.is_none_or(|to| day.yesterday().is_ok_and(|day| day <= day_of(to)))
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

#[cfg(test)]
mod tests {
    use wildmatch::WildMatch;

    use super::Filter;
    use crate::admin::transcript::tests::record;

    #[test]
    fn findings_are_told_apart_by_their_rule() {
        let finding = r#"{"rule":"aws-access-key","tier":"certain","action":"masked","count":1}"#;
        let changes = serde_json::from_str(&format!("{{\"findings\":[{finding}]}}")).unwrap();
        let found = record(&changes);
        let clean = record(&serde_json::json!({}));
        for (pattern, expected) in [("aws-access-key", true), ("aws-*", true), ("github", false)] {
            let finding = Some(WildMatch::new(pattern));
            let filter = Filter { finding, ..Filter::default() };
            assert_eq!(
                (filter.takes(&found), filter.takes(&clean)),
                (expected, false),
                "{pattern}"
            );
        }
    }

    #[test]
    fn days_outside_the_filter_are_not_read() {
        let time = |text: &str| Some(text.parse().unwrap());
        let (from, to) = (time("2026-11-02T10:00:00Z"), time("2026-11-04T00:00:00Z"));
        let filter = Filter { from, to, ..Filter::default() };
        let days = ["2026-11-01", "2026-11-02", "2026-11-03", "2026-11-05"];
        let taken = days.map(|day| filter.takes_day(day.parse().unwrap()));
        assert_eq!(taken, [false, true, true, false]);
    }
}
