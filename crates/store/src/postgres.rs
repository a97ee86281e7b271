//! PostgreSQL: the engine that several nodes share.
//!
//! A pool of few connections answers; one more listens for changes, and asks for them four times a
//! second in case nobody tells. So [`Store::version`] reads a number in memory.

mod address;
mod budgets;
mod migrate;
mod watch;

use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError,
    RecyclingMethod, Runtime, Timeouts,
};
use tokio_postgres::{GenericClient, Row};

use crate::budget::{Budget, Grant, Holder, Level, Report, Want};
use crate::{Error, Key, KeyState, Refusals, Store};
use address::Tls;
use watch::Watch;

/// Connections of one process: everything asked of the store on the way of exchanges comes one
/// after the other.
const CONNECTIONS: usize = 4;
/// For a connection to stand, or to come free.
const PATIENCE: Duration = Duration::from_secs(5);
/// For the server to give up a statement by itself: told once a connection.
const STATEMENT: &str = "SET statement_timeout = '10s'";

/// A store in a database.
pub struct Postgres {
    pool: Pool,
    watch: Watch,
}

impl Postgres {
    /// Connects, and brings the tables up to date. A password that is given here goes before one in
    /// the address.
    pub async fn open(url: &str, password: Option<&str>) -> Result<Self, Error> {
        let (config, tls) = address::read(url, password)?;
        // Whether a connection stands is not asked: each question more is one more wait of an exchange.
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(config.clone(), tls.clone(), recycling);
        let begin = Hook::async_fn(|client: &mut ClientWrapper, _| {
            Box::pin(
                async move { client.batch_execute(STATEMENT).await.map_err(HookError::Backend) },
            )
        });
        let wait = Some(PATIENCE);
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS)
            .post_create(begin)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts { wait, create: wait, recycle: wait })
            .build()
            .map_err(|error| Error::Engine(error.into()))?;
        let mut client = pool.get().await?;
        migrate::migrate(&mut client).await?;
        let seq = seq(&**client).await?;
        drop(client);
        Ok(Self { pool, watch: Watch::start(config, tls, seq) })
    }

    async fn client(&self) -> Result<Object, Error> {
        Ok(self.pool.get().await?)
    }

    /// Runs one statement that changes keys or budgets, and tells all processes of it.
    async fn change(
        &self,
        work: impl AsyncFnOnce(&deadpool_postgres::Transaction<'_>) -> Result<u64, Error>,
    ) -> Result<u64, Error> {
        let mut client = self.client().await?;
        let tx = client.transaction().await?;
        let count = work(&tx).await?;
        let seq: i64 = tx.query_one("SELECT codex_proxy.changed_1()", &[]).await?.get(0);
        tx.commit().await?;
        self.watch.heard(unsigned(seq));
        Ok(count)
    }
}

#[async_trait]
impl Store for Postgres {
    fn version(&self) -> Result<u64, Error> {
        Ok(self.watch.seq())
    }

    fn silent_for(&self) -> Duration {
        self.watch.silent_for()
    }

    async fn claim(&self, fingerprint: [u8; 32]) -> Result<(), Error> {
        let client = self.client().await?;
        let insert =
            "INSERT INTO codex_proxy.secret (fingerprint) VALUES ($1) ON CONFLICT DO NOTHING";
        client.execute(insert, &[&fingerprint.as_slice()]).await?;
        let owner = client.query_one("SELECT fingerprint FROM codex_proxy.secret", &[]).await?;
        if owner.get::<_, &[u8]>(0) == fingerprint { Ok(()) } else { Err(Error::OtherSecret) }
    }

    async fn keys(&self) -> Result<Vec<Key>, Error> {
        let client = self.client().await?;
        let statement = client
            .prepare_cached("SELECT * FROM codex_proxy.keys ORDER BY created_ms, id COLLATE \"C\"")
            .await?;
        client.query(&statement, &[]).await?.iter().map(read_key).collect()
    }

    async fn add_keys(&self, keys: Vec<Key>) -> Result<(), Error> {
        self.change(async |tx| {
            for key in &keys {
                add_key(tx, key).await?;
            }
            Ok(0)
        })
        .await?;
        Ok(())
    }

    async fn set_state(&self, ids: Vec<String>, state: KeyState) -> Result<usize, Error> {
        let count = self
            .change(async |tx| {
                let update = "UPDATE codex_proxy.keys SET state = $2
                     WHERE id = ANY($1) AND state <> 'revoked'";
                Ok(tx.execute(update, &[&ids, &state.as_str()]).await?)
            })
            .await?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    async fn rehash(&self, id: String, hash: [u8; 32], prefix: String) -> Result<(), Error> {
        self.change(async |tx| {
            let update = "UPDATE codex_proxy.keys SET hash = $2, prefix = $3 WHERE id = $1";
            Ok(tx.execute(update, &[&id, &hash.as_slice(), &prefix]).await?)
        })
        .await?;
        Ok(())
    }

    async fn count_refusals(&self, refusals: Vec<Refusals>) -> Result<(), Error> {
        let mut client = self.client().await?;
        let tx = client.transaction().await?;
        for refused in &refusals {
            let count = signed(refused.count);
            tx.execute(
                "INSERT INTO codex_proxy.refusals AS r (key_id, word, count, last_ms)
                 VALUES ($1, $2, $3, $4) ON CONFLICT (key_id, word) DO UPDATE SET
                   count = r.count + excluded.count, last_ms = greatest(r.last_ms, excluded.last_ms)",
                &[&refused.key_id, &refused.word, &count, &refused.last_ms],
            )
            .await?;
        }
        Ok(tx.commit().await?)
    }

    async fn refusals(&self, key_id: String) -> Result<Vec<Refusals>, Error> {
        let client = self.client().await?;
        let select = "SELECT key_id, word, count, last_ms FROM codex_proxy.refusals
             WHERE key_id = $1 ORDER BY last_ms DESC, word";
        let rows = client.query(select, &[&key_id]).await?;
        let read = |row: &Row| Refusals {
            key_id: row.get(0),
            word: row.get(1),
            count: unsigned(row.get(2)),
            last_ms: row.get(3),
        };
        Ok(rows.iter().map(read).collect())
    }

    async fn budgets(&self) -> Result<Vec<Budget>, Error> {
        budgets::all(&self.client().await?).await
    }

    async fn put_budgets(&self, budgets: Vec<Budget>) -> Result<(), Error> {
        self.change(async |tx| {
            for budget in &budgets {
                budgets::put(tx, budget).await?;
            }
            Ok(0)
        })
        .await?;
        Ok(())
    }

    async fn remove_budget(&self, id: String) -> Result<bool, Error> {
        Ok(self.change(async |tx| budgets::remove(tx, &id).await).await? > 0)
    }

    async fn lease(&self, holder: Holder, wants: Vec<Want>) -> Result<Vec<Grant>, Error> {
        budgets::lease(&self.client().await?, &holder, &wants).await
    }

    async fn settle(&self, holder: Holder, report: Report) -> Result<Vec<Level>, Error> {
        budgets::settle(&self.client().await?, &holder, &report).await
    }

    async fn told_through(&self, node: String) -> Result<Option<i64>, Error> {
        let client = self.client().await?;
        let latest = "SELECT max(through_ms) FROM codex_proxy.holders WHERE node = $1";
        Ok(client.query_one(latest, &[&node]).await?.get(0))
    }

    async fn lapse(&self, node: String, process: Option<String>) -> Result<(), Error> {
        let mut client = self.client().await?;
        let tx = client.transaction().await?;
        for table in ["leases", "holders"] {
            let delete = format!(
                "DELETE FROM codex_proxy.{table} WHERE node = $1 AND ($2::text IS NULL OR process = $2)"
            );
            tx.execute(&delete, &[&node, &process]).await?;
        }
        Ok(tx.commit().await?)
    }

    async fn levels(&self) -> Result<Vec<Level>, Error> {
        budgets::levels(&self.client().await?).await
    }

    async fn forget(&self, before_ms: i64) -> Result<(), Error> {
        budgets::forget(&self.client().await?, before_ms).await
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Engine(Box::new(error))
    }
}

impl From<PoolError> for Error {
    fn from(error: PoolError) -> Self {
        Self::Engine(Box::new(error))
    }
}

/// The number of the last change.
async fn seq(client: &impl GenericClient) -> Result<u64, Error> {
    let row = client.query_one("SELECT seq FROM codex_proxy.change", &[]).await?;
    Ok(unsigned(row.get(0)))
}

async fn add_key(tx: &deadpool_postgres::Transaction<'_>, key: &Key) -> Result<(), Error> {
    let owner = tx
        .query_opt("SELECT \"user\" FROM codex_proxy.keys WHERE hash = $1", &[&key.hash.as_slice()])
        .await?;
    if let Some(owner) = owner {
        return Err(Error::Exists(format!("{} of {}", key.prefix, owner.get::<_, &str>(0))));
    }
    if let Some(team) = &key.team {
        let insert = "INSERT INTO codex_proxy.teams (name, created_ms) VALUES ($1, $2)
             ON CONFLICT DO NOTHING";
        tx.execute(insert, &[team, &key.created_ms]).await?;
    }
    tx.execute(
        "INSERT INTO codex_proxy.keys
           (id, hash, prefix, \"user\", team, label, models, created_ms, expires_ms, state)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        &[
            &key.id,
            &key.hash.as_slice(),
            &key.prefix,
            &key.user,
            &key.team,
            &key.label,
            &key.models.join(","),
            &key.created_ms,
            &key.expires_ms,
            &key.state.as_str(),
        ],
    )
    .await?;
    Ok(())
}

fn read_key(row: &Row) -> Result<Key, Error> {
    let hash = row.get::<_, &[u8]>("hash");
    let hash = hash.try_into().map_err(|_| Error::Engine("a hash has another length".into()))?;
    Ok(Key {
        id: row.get("id"),
        hash,
        prefix: row.get("prefix"),
        user: row.get("user"),
        team: row.get("team"),
        label: row.get("label"),
        models: globs(row.get("models")),
        created_ms: row.get("created_ms"),
        expires_ms: row.get("expires_ms"),
        state: KeyState::of(row.get("state")),
    })
}

/// Globs that stand in one text.
fn globs(text: &str) -> Vec<String> {
    text.split(',').filter(|glob| !glob.is_empty()).map(str::to_owned).collect()
}

/// The database counts in signed numbers; what is beyond them is as much as there is.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::Postgres;
    use crate::contract::AsyncOpen;
    use crate::contract::server::Server;
    use crate::{Error, Store, contract};

    #[async_trait::async_trait]
    impl AsyncOpen for Server {
        async fn open(&self) -> Box<dyn Store> {
            Box::new(Postgres::open(&self.url(), None).await.unwrap())
        }
    }

    #[tokio::test]
    async fn postgres_keeps_the_contract() {
        contract::all(&Server::start()).await;
    }

    #[tokio::test]
    async fn many_begin_at_once_and_a_newer_program_is_not_disturbed() {
        let server = Server::start();
        let opened = futures_util::future::join_all((0..8).map(|_| server.open())).await;
        drop(opened);
        let (client, connection) =
            tokio_postgres::connect(&server.url(), tokio_postgres::NoTls).await.unwrap();
        let change = async {
            client
                .batch_execute("UPDATE codex_proxy.version SET found = 9, needs = 1")
                .await
                .unwrap();
            let open = Postgres::open(&server.url(), None).await;
            assert!(open.is_ok(), "what a newer program added can be lived with");
            client.batch_execute("UPDATE codex_proxy.version SET needs = 9").await.unwrap();
            Postgres::open(&server.url(), None).await
        };
        let opened = tokio::select! {
            opened = change => opened,
            _ = connection => panic!("the connection ended"),
        };
        assert!(matches!(opened, Err(Error::TooNew { found: 9, known: 1 })));
    }

    #[tokio::test]
    async fn a_certificate_is_checked_wherever_tls_is_spoken() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let server = Server::start_with(Some((&certificate, &key)));
        let open = async |mode: &str| {
            let url = server.url().replace("127.0.0.1", "localhost");
            let opened = Postgres::open(&url.replace("sslmode=disable", mode), None).await;
            opened.map(|_| ()).map_err(|error| format!("{error:?}"))
        };
        let roots = server.certificate().display().to_string();
        assert_eq!(open(&format!("sslmode=verify-full&sslrootcert={roots}")).await, Ok(()));
        let unknown = open("sslmode=require").await.unwrap_err();
        assert!(unknown.contains("UnknownIssuer"), "{unknown}");
        let nowhere = open("sslmode=verify-full&sslrootcert=/nowhere.pem").await.unwrap_err();
        assert!(nowhere.contains("/nowhere.pem"), "{nowhere}");
    }

    #[tokio::test]
    async fn a_password_is_nowhere_told() {
        let url = "postgres://codex:hunter2@127.0.0.1:1/db?sslmode=disable&nonsense=1";
        let told = format!("{:?}", Postgres::open(url, None).await.map(|_| ()).unwrap_err());
        assert!(told.contains("nonsense") && !told.contains("hunter2"), "{told}");
        let url = "postgres://codex:hunter2@127.0.0.1:1/db?sslmode=disable";
        let told = format!("{:?}", Postgres::open(url, None).await.map(|_| ()).unwrap_err());
        assert!(!told.contains("hunter2"), "{told}");
        let shown = crate::without_secrets(url);
        assert_eq!(shown, "postgres://codex:***@127.0.0.1:1/db?sslmode=disable");
    }

    #[tokio::test]
    async fn a_database_that_comes_back_is_heard_again() {
        let mut server = Server::start();
        let store = server.open().await;
        server.end();
        assert!(store.keys().await.is_err());
        assert!(!store.silent_for().is_zero());
        server.begin();
        let before = store.version().unwrap();
        server.open().await.set_state(vec![], crate::KeyState::Active).await.unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while store.version().unwrap() == before {
            assert!(std::time::Instant::now() < deadline, "it is not heard again");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(store.keys().await.unwrap(), []);
    }
}
