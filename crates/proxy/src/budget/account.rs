//! What one process has of a budget in a window. Pure: the store is asked elsewhere.

/// What is leased, reserved and spent here of one slice.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Account {
    /// Leased, and not spent.
    held: u64,
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

    /// The store has leased something.
    pub(super) fn granted(&mut self, amount: u64, spent: u64, leased: u64) {
        self.held = self.held.saturating_add(amount);
        self.heard(spent, leased);
    }

    /// What is to be told: spent since the last report, and what is held from now on. What nobody
    /// uses for a while is given back. Nothing, where there is nothing to tell.
    pub(super) fn report(&mut self) -> Option<(u64, u64)> {
        self.idle = self.idle.saturating_add(1);
        let returns = self.idle > IDLE_REPORTS && self.held > self.reserved;
        if returns {
            self.held = self.reserved;
        }
        if self.unreported == 0 && !returns {
            return None;
        }
        self.reporting = std::mem::take(&mut self.unreported);
        Some((self.reporting, self.held))
    }

    /// The store has answered a report.
    pub(super) fn reported(&mut self, spent: u64, leased: u64) {
        self.reporting = 0;
        self.heard(spent, leased);
    }

    /// Leases have lapsed, or the budget has changed: nothing is held but what is reserved.
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
        self.reserved == 0 && self.unreported == 0 && self.reporting == 0 && self.held == 0
    }

    fn heard(&mut self, spent: u64, leased: u64) {
        self.spent = spent;
        self.leased = Some(leased);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Account;

    #[test]
    fn what_is_leased_is_reserved_and_spent_without_asking() {
        let mut account = Account::default();
        assert_eq!(account.lacks(30, 100), 30);
        account.granted(50, 0, 50);
        assert_eq!(account.lacks(30, 100), 0);
        account.reserve(30);
        assert_eq!(account.lacks(30, 100), 10);
        account.settle(30, 5);
        assert_eq!((account.spent(), account.lacks(45, 100), account.lacks(46, 100)), (5, 0, 1));
        assert_eq!(account.report(), Some((5, 45)));
        let reports = [(); 5].map(|()| account.report());
        assert_eq!(reports, [None, None, None, None, Some((0, 0))], "what nobody uses goes back");
        assert_eq!(account.report(), None);
    }

    #[test]
    fn a_limit_that_is_lower_now_holds_for_what_was_leased() {
        let mut account = Account::default();
        account.granted(50, 40, 50);
        assert_eq!(account.lacks(20, 50), 10);
    }

    /// What several processes do on one budget.
    #[derive(Debug, Clone)]
    enum Act {
        Ask(usize, u64),
        End(usize, u64),
        Report(usize),
        Die(usize),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => (0usize..3, 1u64..40).prop_map(|(node, bound)| Act::Ask(node, bound)),
            4 => (0usize..3, 0u64..100).prop_map(|(node, percent)| Act::End(node, percent)),
            2 => (0usize..3).prop_map(Act::Report),
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
                        if lacks > 0 && left >= lacks {
                            node.lease += lacks;
                            node.account.granted(lacks, told, leased + lacks);
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
                        node.account.reported(told, leased);
                    }
                    // It told all it had spent, and its exchanges cost nothing any more.
                    Act::Die(node) => {
                        let node = &mut nodes[node];
                        told += node.account.unreported;
                        *node = Node::default();
                    }
                }
                let open: u64 = nodes.iter().flat_map(|node| &node.open).sum();
                prop_assert!(billed + open <= LIMIT, "{billed} billed, {open} may follow");
            }
        }
    }
}
