//! The suite that every engine passes: a promise of [`Store`] a function.

pub mod server;

use std::time::{Duration, Instant};

use crate::budget::{
    Budget, Grant, Holder, Level, Raise, Report, Scope, Settled, Slice, Unit, Want, Window,
};
use crate::{Error, Key, KeyState, Refusals, Store};

/// Opens the same store again, as another process would.
pub type Open<'a> = &'a (dyn AsyncOpen + Sync);

/// What opens a store.
#[async_trait::async_trait]
pub trait AsyncOpen {
    /// Opens it.
    async fn open(&self) -> Box<dyn Store>;
}

/// Waits until something is so: within the second in which every process hears of a change.
async fn within_a_second(what: &str, so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(1);
    while !so() {
        assert!(Instant::now() < deadline, "not within a second: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Runs the whole suite on one store, which must be empty at first.
///
/// # Panics
/// Where the engine breaks a promise.
#[expect(clippy::unwrap_used, reason = "a test suite: a failure is a panic")]
pub async fn all(open: Open<'_>) {
    let (here, there) = (open.open().await, open.open().await);
    assert_eq!(here.keys().await.unwrap(), [], "the suite wants an empty store");

    keys_are_added_all_or_none(&*here).await;
    a_change_is_seen_by_others_at_once(&*here, &*there).await;
    states_change_but_revoked_is_for_good(&*here).await;
    a_rotated_key_has_only_its_new_hash(&*here).await;
    refusals_add_up(&*here).await;
    a_store_keeps_to_its_secret(&*here, &*there).await;
    budgets_are_put_and_removed(&*here, &*there).await;
    leases_never_exceed_the_limit(&*here, &*there).await;
    what_is_spent_or_returned_is_leased_no_more(&*here).await;
    leases_of_who_is_gone_lapse(&*here, &*there).await;
    windows_that_are_over_are_forgotten(&*here).await;
    it_is_known_up_to_when_all_is_told(&*here).await;
    many_at_once_share_what_there_is(open).await;

    let before = here.keys().await.unwrap();
    drop((here, there));
    assert_eq!(open.open().await.keys().await.unwrap(), before, "what was said stays said");
}

fn key(id: &str, hash: u8) -> Key {
    Key {
        id: id.to_owned(),
        hash: [hash; 32],
        prefix: format!("cpk_{id}"),
        user: "ada@example.com".to_owned(),
        team: Some("blue".to_owned()),
        label: None,
        models: vec!["gpt-5*".to_owned(), "o3".to_owned()],
        created_ms: i64::from(hash),
        expires_ms: Some(9),
        state: KeyState::Active,
    }
}

#[expect(clippy::unwrap_used, reason = "a test suite: a failure is a panic")]
async fn keys_are_added_all_or_none(store: &dyn Store) {
    store.add_keys(vec![key("a", 1), key("b", 2)]).await.unwrap();
    let twice = store.add_keys(vec![key("c", 3), key("d", 1)]).await;
    assert!(matches!(twice, Err(Error::Exists(_))), "a hash is there once: {twice:?}");
    assert_eq!(store.keys().await.unwrap(), [key("a", 1), key("b", 2)]);
}

#[expect(clippy::unwrap_used, reason = "a test suite: a failure is a panic")]
async fn a_change_is_seen_by_others_at_once(here: &dyn Store, there: &dyn Store) {
    let before = here.version().unwrap();
    within_a_second("all is heard", || there.version().unwrap() == before).await;
    assert_eq!(there.version().unwrap(), before, "no change, no new version");
    here.set_state(vec!["a".to_owned()], KeyState::Disabled).await.unwrap();
    within_a_second("a key is switched off", || there.version().unwrap() > before).await;
    assert_eq!(here.version().unwrap(), there.version().unwrap());
    assert_eq!(there.keys().await.unwrap(), here.keys().await.unwrap());
}

#[expect(clippy::unwrap_used, reason = "a test suite: a failure is a panic")]
async fn states_change_but_revoked_is_for_good(store: &dyn Store) {
    let ids = || vec!["a".to_owned(), "nobody".to_owned()];
    assert_eq!(store.set_state(ids(), KeyState::Active).await.unwrap(), 1);
    assert_eq!(store.set_state(ids(), KeyState::Revoked).await.unwrap(), 1);
    assert_eq!(store.set_state(ids(), KeyState::Active).await.unwrap(), 0);
    let revoked = Key { state: KeyState::Revoked, ..key("a", 1) };
    assert_eq!(store.keys().await.unwrap(), [revoked, key("b", 2)]);
}

#[expect(clippy::unwrap_used, reason = "a test suite: a failure is a panic")]
async fn a_rotated_key_has_only_its_new_hash(store: &dyn Store) {
    store.rehash("b".to_owned(), [7; 32], "cpk_new".to_owned()).await.unwrap();
    let rotated = Key { hash: [7; 32], prefix: "cpk_new".to_owned(), ..key("b", 2) };
    assert_eq!(store.keys().await.unwrap().last(), Some(&rotated));
}

#[expect(clippy::unwrap_used, reason = "a test suite: a failure is a panic")]
async fn refusals_add_up(store: &dyn Store) {
    let refused = |word: &str, count, last_ms| Refusals {
        key_id: "a".to_owned(),
        word: word.to_owned(),
        count,
        last_ms,
    };
    let first = vec![refused("key_disabled", 2, 50), refused("key_expired", 1, 60)];
    store.count_refusals(first).await.unwrap();
    store.count_refusals(vec![refused("key_disabled", 3, 70)]).await.unwrap();
    let all = [refused("key_disabled", 5, 70), refused("key_expired", 1, 60)];
    assert_eq!(store.refusals("a".to_owned()).await.unwrap(), all);
    assert_eq!(store.refusals("b".to_owned()).await.unwrap(), []);
}

#[expect(clippy::unwrap_used, reason = "a test suite: a failure is a panic")]
async fn a_store_keeps_to_its_secret(here: &dyn Store, there: &dyn Store) {
    here.claim([1; 32]).await.unwrap();
    there.claim([1; 32]).await.unwrap();
    assert!(matches!(there.claim([2; 32]).await, Err(Error::OtherSecret)));
}

fn budget(id: &str, scope: Scope) -> Budget {
    Budget {
        id: id.to_owned(),
        scope,
        models: vec!["gpt-*".to_owned()],
        amount: 1 << 60,
        unit: Unit::Usd,
        window: Window::Month,
        zone: "Europe/Berlin".to_owned(),
        raise: Some(Raise { by: 7, until_ms: 99 }),
        created_ms: 5,
    }
}

fn holder(process: &str) -> Holder {
    Holder { node: "node".to_owned(), process: process.to_owned() }
}

fn slice(budget: &str) -> Slice {
    Slice { budget: budget.to_owned(), begins_ms: 1000 }
}

fn want(budget: &str, least: u64, most: u64) -> Want {
    Want { slice: slice(budget), limit: 100, least, most }
}

fn level(budget: &str, spent: u64, leased: u64) -> Level {
    Level { slice: slice(budget), spent, leased }
}

#[expect(clippy::unwrap_used, reason = "a test suite: a failure is a panic")]
async fn budgets_are_put_and_removed(here: &dyn Store, there: &dyn Store) {
    let before = here.version().unwrap();
    let team = budget("b1", Scope::Team("blue".to_owned()));
    let plain = Budget { models: vec![], raise: None, ..budget("b2", Scope::Organisation) };
    here.put_budgets(vec![team.clone(), plain.clone()]).await.unwrap();
    within_a_second("there is a budget", || there.version().unwrap() > before).await;
    let changed = Budget { amount: 3, unit: Unit::AtOnce, window: Window::Ever, ..team };
    here.put_budgets(vec![changed.clone()]).await.unwrap();
    assert_eq!(there.budgets().await.unwrap(), [changed, plain.clone()]);
    assert!(here.remove_budget("b1".to_owned()).await.unwrap());
    assert!(!here.remove_budget("b1".to_owned()).await.unwrap());
    assert_eq!(there.budgets().await.unwrap(), [plain]);
}

#[expect(clippy::unwrap_used, reason = "a test suite: a failure is a panic")]
async fn leases_never_exceed_the_limit(here: &dyn Store, there: &dyn Store) {
    let wants = vec![want("l", 10, 60), want("other", 1, 1000)];
    let granted = here.lease(holder("a"), wants).await.unwrap();
    let expected = [(60, level("l", 0, 60)), (100, level("other", 0, 100))];
    assert_eq!(granted, expected.map(|(amount, level)| Grant { amount, level }));
    let too_much = there.lease(holder("b"), vec![want("l", 41, 50)]).await.unwrap();
    assert_eq!(too_much, [Grant { amount: 0, level: level("l", 0, 60) }], "less is of no use");
    let rest = there.lease(holder("b"), vec![want("l", 10, 60)]).await.unwrap();
    assert_eq!(rest, [Grant { amount: 40, level: level("l", 0, 100) }]);
}

#[expect(clippy::unwrap_used, reason = "a test suite: a failure is a panic")]
async fn what_is_spent_or_returned_is_leased_no_more(store: &dyn Store) {
    let report = |number, spent, held| Report {
        number,
        through_ms: 7000 + i64::try_from(number).unwrap(),
        lines: vec![Settled { slice: slice("l"), spent, held }],
    };
    let levels = store.settle(holder("a"), report(1, 20, 10)).await.unwrap();
    assert_eq!(levels, [level("l", 20, 50)], "b holds 40 besides");
    let again = store.settle(holder("a"), report(1, 20, 10)).await.unwrap();
    assert_eq!(again, levels, "a report counts once");
    let more = store.settle(holder("a"), report(2, 25, 15)).await.unwrap();
    assert_eq!(more, [level("l", 45, 50)], "what was spent counts, what was given back is gone");
    assert!(store.levels().await.unwrap().contains(&level("l", 45, 50)));
}

#[expect(clippy::unwrap_used, reason = "a test suite: a failure is a panic")]
async fn leases_of_who_is_gone_lapse(here: &dyn Store, there: &dyn Store) {
    here.lapse("node".to_owned(), Some("b".to_owned())).await.unwrap();
    let rest = there.lease(holder("c"), vec![want("l", 1, 60)]).await.unwrap();
    assert_eq!(rest, [Grant { amount: 45, level: level("l", 45, 55) }]);
    here.lapse("node".to_owned(), None).await.unwrap();
    assert!(there.levels().await.unwrap().contains(&level("l", 45, 0)), "what is spent stays");
}

#[expect(clippy::unwrap_used, reason = "a test suite: a failure is a panic")]
async fn windows_that_are_over_are_forgotten(store: &dyn Store) {
    let ever = Slice { begins_ms: 0, ..slice("l") };
    let lines = vec![Settled { slice: ever.clone(), spent: 1, held: 0 }];
    store.settle(holder("a"), Report { number: 3, through_ms: 1, lines }).await.unwrap();
    store.forget(1000).await.unwrap();
    assert!(store.levels().await.unwrap().contains(&level("l", 45, 0)));
    store.forget(1001).await.unwrap();
    assert_eq!(store.levels().await.unwrap(), [Level { slice: ever, spent: 1, leased: 0 }]);
}

#[expect(clippy::unwrap_used, reason = "a test suite: a failure is a panic")]
async fn it_is_known_up_to_when_all_is_told(store: &dyn Store) {
    let of = |process: &str| Holder { node: "told".to_owned(), process: process.to_owned() };
    let report = |through_ms| Report { number: 1, through_ms, lines: Vec::new() };
    assert_eq!(store.told_through("told".to_owned()).await.unwrap(), None);
    store.settle(of("old"), report(7000)).await.unwrap();
    store.settle(of("new"), report(9000)).await.unwrap();
    assert_eq!(store.told_through("told".to_owned()).await.unwrap(), Some(9000));
    store.lapse("told".to_owned(), Some("new".to_owned())).await.unwrap();
    assert_eq!(store.told_through("told".to_owned()).await.unwrap(), Some(7000));
    store.lapse("told".to_owned(), None).await.unwrap();
    assert_eq!(store.told_through("told".to_owned()).await.unwrap(), None);
}

/// Several processes lease one by one what only some of them can have.
#[expect(clippy::unwrap_used, reason = "a test suite: a failure is a panic")]
async fn many_at_once_share_what_there_is(open: Open<'_>) {
    let mut stores = Vec::new();
    for _ in 0..4 {
        stores.push(open.open().await);
    }
    let leases = (0..60).map(|number| {
        let store = stores.get(number % stores.len()).unwrap();
        store.lease(holder(&format!("many-{}", number % 4)), vec![want("many", 3, 3)])
    });
    let granted = futures_util::future::join_all(leases).await;
    let granted = granted.into_iter().flat_map(Result::unwrap);
    let granted: u64 = granted.map(|grant| grant.amount).sum();
    assert_eq!(granted, 99, "as much as goes into a hundred by threes");
}
