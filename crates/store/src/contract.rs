//! The suite that every engine passes: a promise of [`Store`] a function.

use crate::{Error, Key, KeyState, Refusals, Store};

/// Opens the same store again, as another process would.
pub type Open<'a> = &'a dyn Fn() -> Box<dyn Store>;

/// Runs the whole suite on one store, which must be empty at first.
///
/// # Panics
/// Where the engine breaks a promise.
#[expect(clippy::unwrap_used, reason = "a test suite: a failure is a panic")]
pub async fn all(open: Open<'_>) {
    let (here, there) = (open(), open());
    assert_eq!(here.keys().await.unwrap(), [], "the suite wants an empty store");

    keys_are_added_all_or_none(&*here).await;
    a_change_is_seen_by_others_at_once(&*here, &*there).await;
    states_change_but_revoked_is_for_good(&*here).await;
    a_rotated_key_has_only_its_new_hash(&*here).await;
    refusals_add_up(&*here).await;
    a_store_keeps_to_its_secret(&*here, &*there).await;

    let before = here.keys().await.unwrap();
    drop((here, there));
    assert_eq!(open().keys().await.unwrap(), before, "what was said stays said");
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
    let before = there.version().unwrap();
    assert_eq!(there.version().unwrap(), before, "no change, no new version");
    here.set_state(vec!["a".to_owned()], KeyState::Disabled).await.unwrap();
    assert!(there.version().unwrap() > before);
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
