//! What one process has of a budget in a window. Pure: the store is asked elsewhere.

/// What is leased, reserved and spent here of one slice.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Account {
    /// Leased, and not spent.
    held: u64,
    /// What the store may hold for this process: never less than it does. More than what is held and
    /// not reported is given back with the next report.
    lease: u64,
    /// By exchanges under way. More than is held only where one cost more than its bound, or where
    /// the store was lost.
    reserved: u64,
    /// Spent, and not told to the store.
    unreported: u64,
    /// Told to the store, and not answered.
    reporting: u64,
    /// Spent by all together, as the store said last.
    spent: u64,
    /// Leased by all together, as the store said last; nothing before it was asked.
    leased: Option<u64>,
    /// How many reports ago something was reserved or spent.
    idle: u8,
}

/// After so many reports what nobody uses is given back: soon enough for whoever waits for it, and
/// not between two exchanges of one agent.
const IDLE_REPORTS: u8 = 5;

impl Account {
    /// What is spent by all together, as far as this process knows.
    pub(super) fn spent(&self) -> u64 {
        self.spent.saturating_add(self.reporting).saturating_add(self.unreported)
    }

    /// What is spent by all together for certain: of a report that is not answered nobody knows whether
    /// the store has it in its sum already.
    pub(super) fn surely_spent(&self) -> u64 {
        self.spent.saturating_add(self.unreported)
    }

    /// What may be reserved without asking the store.
    fn free(&self, limit: u64) -> u64 {
        let within = limit.saturating_sub(self.spent()).saturating_sub(self.reserved);
        self.held.saturating_sub(self.reserved).min(within)
    }

    /// What must be leased before so much can be reserved.
    pub(super) fn lacks(&self, amount: u64, limit: u64) -> u64 {
        amount.saturating_sub(self.free(limit))
    }

    /// Whether so much is beyond what is left, as far as this process knows.
    pub(super) fn would_exceed(&self, amount: u64, limit: u64) -> bool {
        self.spent().saturating_add(self.reserved).saturating_add(amount) > limit
    }

    /// Whether nobody else has anything, as far as the store said: room to lease in blocks.
    pub(super) fn left(&self, limit: u64) -> u64 {
        limit.saturating_sub(self.spent()).saturating_sub(self.leased.unwrap_or(0))
    }

    /// Reserves; what is lacking was leased before, or the store is lost.
    pub(super) fn reserve(&mut self, amount: u64) {
        self.reserved = self.reserved.saturating_add(amount);
        self.idle = 0;
    }

    /// An exchange that had reserved something has ended, and spent so much.
    pub(super) fn settle(&mut self, reserved: u64, spent: u64) {
        self.reserved = self.reserved.saturating_sub(reserved);
        self.held = self.held.saturating_sub(spent);
        self.unreported = self.unreported.saturating_add(spent);
        self.idle = 0;
    }

    /// The store is asked for so much at most. It may have leased it also where its answer is lost, or
    /// nobody waits for it any more.
    pub(super) fn asks(&mut self, most: u64) {
        self.lease = self.lease.saturating_add(most);
    }

    /// The store has leased something of what it was asked for.
    pub(super) fn granted(&mut self, (amount, most): (u64, u64), spent: u64, leased: u64) {
        self.lease = self.lease.saturating_sub(most.saturating_sub(amount));
        self.held = self.held.saturating_add(amount);
        self.heard(spent, leased);
    }

    /// What is to be told: spent since the last report, and what is held from now on. What nobody
    /// uses for a while is given back. Nothing, where there is nothing to tell.
    pub(super) fn report(&mut self) -> Option<(u64, u64)> {
        self.idle = self.idle.saturating_add(1);
        if self.idle > IDLE_REPORTS {
            self.give_back();
        }
        if self.unreported == 0 && self.lease <= self.held {
            return None;
        }
        self.reporting = std::mem::take(&mut self.unreported);
        Some((self.reporting, self.held))
    }

    /// The store has answered a report, in which so much was held.
    pub(super) fn reported(&mut self, held: u64, spent: u64, leased: u64) {
        self.reporting = 0;
        self.lease = self.lease.min(held);
        self.heard(spent, leased);
    }

    /// From now on nothing is held but what is reserved.
    pub(super) fn give_back(&mut self) {
        self.held = self.held.min(self.reserved);
    }

    /// The leases have lapsed: nothing is held.
    pub(super) fn lapse(&mut self) {
        self.held = 0;
    }

    /// Whether the store does not know all that was spent.
    pub(super) fn has_untold(&self) -> bool {
        self.unreported > 0 || self.reporting > 0
    }

    /// Whether nothing depends on it any more.
    pub(super) fn is_done(&self) -> bool {
        self.reserved == 0 && !self.has_untold() && self.lease == 0
    }

    fn heard(&mut self, spent: u64, leased: u64) {
        self.spent = spent;
        self.leased = Some(leased);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Account, IDLE_REPORTS};

    #[test]
    fn what_is_leased_is_reserved_and_spent_without_asking() {
        let mut account = Account::default();
        assert_eq!(account.lacks(30, 100), 30);
        account.asks(60);
        account.granted((50, 60), 0, 50);
        assert_eq!(account.lacks(30, 100), 0);
        account.reserve(30);
        assert_eq!(account.lacks(30, 100), 10);
        account.settle(30, 5);
        assert_eq!((account.spent(), account.lacks(45, 100), account.lacks(46, 100)), (5, 0, 1));
        assert_eq!(account.report(), Some((5, 45)));
        account.reported(45, 5, 45);
        let reports = [(); 5].map(|()| account.report());
        assert_eq!(reports, [None, None, None, None, Some((0, 0))], "what nobody uses goes back");
        account.reported(0, 5, 0);
        assert_eq!(account.report(), None);
        assert!(account.is_done());
    }

    #[test]
    fn what_the_store_may_have_leased_unheard_is_given_back() {
        let mut account = Account::default();
        account.asks(60);
        assert!(!account.is_done(), "nobody forgets it");
        assert_eq!(account.report(), Some((0, 0)));
        account.reported(0, 0, 0);
        assert_eq!((account.report(), account.is_done()), (None, true));
    }

    #[test]
    fn a_report_that_is_not_answered_is_not_surely_spent_twice() {
        let mut account = Account::default();
        account.asks(50);
        account.granted((50, 50), 0, 50);
        account.settle(0, 40);
        assert_eq!(account.report(), Some((40, 10)));
        // Its answer is lost, and the next lease tells the sum with it.
        account.asks(10);
        account.granted((10, 10), 40, 20);
        assert_eq!((account.surely_spent(), account.spent()), (40, 80));
        account.reported(10, 40, 20);
        assert_eq!(account.spent(), 40);
    }

    #[test]
    fn what_a_change_of_budgets_takes_away_is_told() {
        let mut account = Account::default();
        account.asks(50);
        account.granted((50, 50), 0, 50);
        account.reserve(20);
        account.give_back();
        assert_eq!(account.report(), Some((0, 20)));
        account.reported(20, 0, 20);
        assert_eq!(account.report(), None);
    }

    #[test]
    fn a_limit_that_is_lower_now_holds_for_what_was_leased() {
        let mut account = Account::default();
        account.granted((50, 50), 40, 50);
        assert_eq!(account.lacks(20, 50), 10);
    }

    /// What several processes do on one budget.
    #[derive(Debug, Clone)]
    enum Act {
        Ask(usize, u64),
        End(usize, u64),
        Report(usize),
        /// It asks, and does not hear the answer.
        Lose(usize, u64),
        /// Budgets have changed.
        Change(usize),
        Die(usize),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => (0usize..3, 1u64..40).prop_map(|(node, bound)| Act::Ask(node, bound)),
            4 => (0usize..3, 0u64..100).prop_map(|(node, percent)| Act::End(node, percent)),
            2 => (0usize..3).prop_map(Act::Report),
            1 => (0usize..3, 1u64..40).prop_map(|(node, most)| Act::Lose(node, most)),
            1 => (0usize..3).prop_map(Act::Change),
            1 => (0usize..3).prop_map(Act::Die),
        ]
    }

    #[derive(Default)]
    struct Node {
        account: Account,
        lease: u64,
        open: Vec<u64>,
    }

    proptest! {
        #[test]
        fn nobody_overshoots_whoever_asks(acts in proptest::collection::vec(act(), 1..300)) {
            const LIMIT: u64 = 100;
            let mut nodes: [Node; 3] = Default::default();
            let (mut told, mut billed) = (0, 0);
            for act in acts {
                match act {
                    Act::Ask(node, bound) => {
                        let leased: u64 = nodes.iter().map(|node| node.lease).sum();
                        let node = &mut nodes[node];
                        let lacks = node.account.lacks(bound, LIMIT);
                        let left = LIMIT.saturating_sub(told + leased);
                        if lacks > 0 {
                            let amount = if left >= lacks { lacks } else { 0 };
                            node.lease += amount;
                            node.account.asks(lacks);
                            node.account.granted((amount, lacks), told, leased + amount);
                        }
                        if node.account.lacks(bound, LIMIT) == 0 {
                            node.account.reserve(bound);
                            node.open.push(bound);
                        }
                    }
                    Act::End(node, percent) => {
                        let node = &mut nodes[node];
                        let Some(bound) = node.open.pop() else { continue };
                        let cost = bound * percent / 100;
                        node.account.settle(bound, cost);
                        billed += cost;
                    }
                    Act::Report(node) => {
                        let others: u64 = nodes.iter().map(|node| node.lease).sum();
                        let node = &mut nodes[node];
                        let Some((spent, held)) = node.account.report() else { continue };
                        told += spent;
                        let leased = others - node.lease + held.min(node.lease);
                        node.lease = held.min(node.lease);
                        node.account.reported(held, told, leased);
                    }
                    Act::Lose(node, most) => {
                        let leased: u64 = nodes.iter().map(|node| node.lease).sum();
                        let left = LIMIT.saturating_sub(told + leased);
                        nodes[node].lease += left.min(most);
                        nodes[node].account.asks(most);
                    }
                    Act::Change(node) => nodes[node].account.give_back(),
                    // It told all it had spent, and its exchanges cost nothing any more.
                    Act::Die(node) => {
                        let node = &mut nodes[node];
                        told += node.account.unreported;
                        *node = Node::default();
                    }
                }
                let open: u64 = nodes.iter().flat_map(|node| &node.open).sum();
                prop_assert!(billed + open <= LIMIT, "{billed} billed, {open} may follow");
                for node in &nodes {
                    prop_assert!(node.lease <= node.account.lease, "it knows of what it may have");
                }
            }
            // When all has ended and is told, nothing is kept from others.
            for node in &mut nodes {
                for bound in node.open.drain(..) {
                    node.account.settle(bound, 0);
                }
                for _ in 0..=IDLE_REPORTS {
                    if let Some((spent, held)) = node.account.report() {
                        told += spent;
                        node.lease = node.lease.min(held);
                        node.account.reported(held, told, 0);
                    }
                }
                prop_assert_eq!((node.lease, node.account.is_done()), (0, true));
            }
        }
    }
}
