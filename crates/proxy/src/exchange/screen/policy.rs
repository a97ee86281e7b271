//! What is done about which secret, and for whom.

use std::sync::Arc;

use redact::rule::{Rules, Tier};
use redact::scan::Finding;

use crate::config::screen::{Action, Exception, Said, Screen, TIERS};
use crate::exchange::auth::Principal;

/// What is said for everybody, and for some.
pub struct Policy {
    /// The last counts where nothing more special is said.
    everybody: Orders,
    some: Vec<(Exception, Orders)>,
}

/// What holds for one principal.
#[derive(Debug, Clone)]
pub struct Orders {
    /// What was said, the more special first.
    said: Vec<Said>,
    rules: Arc<Rules>,
    /// Whether nothing is looked for.
    pub are_off: bool,
    /// Whether something may be changed on its way.
    pub may_mask: bool,
    /// Tells orders apart in what is remembered of items.
    pub number: usize,
}

impl Policy {
    /// From what was configured.
    pub fn new(screen: &Screen) -> Self {
        let orders = |said, number| Orders::new(screen.rules.clone(), said, number);
        let some = screen.exceptions.iter().enumerate().map(|(at, exception)| {
            let said = vec![exception.said.clone(), screen.said.clone()];
            (exception.clone(), orders(said, at + 1))
        });
        Self { some: some.collect(), everybody: orders(vec![screen.said.clone()], 0) }
    }

    /// What holds for this one.
    pub fn orders(&self, principal: &Principal) -> &Orders {
        let key = &principal.key;
        let fits = |exception: &Exception| {
            exception.keys.contains(&key.id)
                || exception.users.contains(&key.user)
                || key.team.as_ref().is_some_and(|team| exception.teams.contains(team))
        };
        let some = self.some.iter().find(|(exception, _)| fits(exception));
        some.map_or(&self.everybody, |(_, orders)| orders)
    }
}

impl Orders {
    fn new(rules: Arc<Rules>, said: Vec<Said>, number: usize) -> Self {
        let mut orders = Self { said, rules, are_off: true, may_mask: false, number };
        let by_rule = orders.said.iter().flat_map(|said| said.rules.keys().cloned());
        // A rule that nobody names stands for all others.
        let names: Vec<String> = by_rule.chain([String::new()]).collect();
        let cases = names.iter().flat_map(|name| TIERS.map(|tier| (name, tier)));
        let actions: Vec<Action> =
            cases.map(|(name, tier)| action(&orders.said, name, tier)).collect();
        orders.are_off = actions.iter().all(|action| *action == Action::Off);
        orders.may_mask = actions.contains(&Action::Mask);
        orders
    }

    /// What is done about a finding.
    pub fn action(&self, finding: &Finding) -> Action {
        action(&self.said, self.rules.name(finding.rule), finding.tier)
    }
}

/// What is said of a rule comes before what is said of its tier, and that before what is said in
/// general; and the more special before what holds for everybody.
fn action(said: &[Said], rule: &str, tier: Tier) -> Action {
    let of = |said: &Said| {
        let special = said.rules.get(rule).or_else(|| said.tiers.get(&tier)).copied();
        special.or_else(|| said.action.map(|action| in_general(action, tier)))
    };
    said.iter().find_map(of).unwrap_or(Action::Off)
}

/// What only may be a secret is told, and stops nobody.
fn in_general(action: Action, tier: Tier) -> Action {
    match tier {
        Tier::Possible => action.min(Action::Alert),
        Tier::Likely | Tier::Certain => action,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use redact::rule::Tier::{self, Certain, Likely, Possible};

    use super::action;
    use crate::config::screen::Action::{self, Alert, Block, Mask, Off};
    use crate::config::screen::Said;

    fn said(action: Option<Action>, tiers: &[(Tier, Action)], rules: &[(&str, Action)]) -> Said {
        let rules = rules.iter().map(|(name, action)| ((*name).to_owned(), *action));
        let tiers: BTreeMap<_, _> = tiers.iter().copied().collect();
        Said { action, tiers, rules: rules.collect() }
    }

    fn check(said: &[Said], rule: &str, expected: [Action; 3]) {
        assert_eq!([Certain, Likely, Possible].map(|tier| action(said, rule, tier)), expected);
    }

    #[test]
    fn what_is_possible_stops_nobody_unless_that_is_said() {
        check(&[said(Some(Mask), &[], &[])], "a", [Mask, Mask, Alert]);
        check(&[said(Some(Block), &[], &[])], "a", [Block, Block, Alert]);
        check(&[said(Some(Off), &[], &[])], "a", [Off, Off, Off]);
        check(&[said(Some(Alert), &[(Possible, Mask)], &[])], "a", [Alert, Alert, Mask]);
    }

    #[test]
    fn the_more_special_counts() {
        let everybody = said(Some(Mask), &[(Certain, Block)], &[("a", Alert)]);
        check(std::slice::from_ref(&everybody), "a", [Alert, Alert, Alert]);
        check(std::slice::from_ref(&everybody), "b", [Block, Mask, Alert]);
        let some = said(None, &[(Likely, Off)], &[("b", Block)]);
        check(&[some.clone(), everybody.clone()], "a", [Alert, Off, Alert]);
        check(&[some, everybody.clone()], "b", [Block, Block, Block]);
        check(&[said(Some(Off), &[], &[]), everybody], "a", [Off, Off, Off]);
    }
}
