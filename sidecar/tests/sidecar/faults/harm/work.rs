//! The registry's own work beside its mirror, as pgbench does it: accounts change, and each change is written down.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dataembassy_testkit::postgresql::Database;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const WRITERS: u32 = 2;
const ACCOUNTS: u32 = 1_000;
/// Between two transactions of a writer: nothing is measured here, and what holds a writer up for long is met all the same.
const PAUSE: Duration = Duration::from_millis(40);

pub(crate) struct Work {
    stop: CancellationToken,
    done: Arc<AtomicU64>,
    writers: Vec<JoinHandle<()>>,
}

impl Work {
    /// Begins. A writer that waits for a lock for twenty seconds fails, and the test with it: for the other writer it may wait as long as a busy
    /// machine does not let that one run, and whether it waits for one of ours is watched.
    pub(crate) async fn begin(database: &Database) -> Self {
        let make = format!(
            "CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL); \
             INSERT INTO account SELECT generate_series(1, {ACCOUNTS}), 0; \
             CREATE TABLE history (account int NOT NULL, at timestamptz NOT NULL)"
        );
        database.execute(&make).await.unwrap();
        let (stop, done) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            let client = database.client().await.unwrap();
            client.batch_execute("SET lock_timeout = '20s'").await.unwrap();
            let (stopped, done) = (stop.clone(), Arc::clone(&done));
            writers.push(tokio::spawn(async move {
                let accounts = (1..=ACCOUNTS).filter(move |account| account % WRITERS == writer);
                for account in accounts.cycle() {
                    if stopped.is_cancelled() {
                        return;
                    }
                    let transaction = format!(
                        "BEGIN; UPDATE account SET balance = balance + 1 WHERE id = {account}; \
                         INSERT INTO history VALUES ({account}, now()); COMMIT"
                    );
                    client.batch_execute(&transaction).await.unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(PAUSE).await;
                }
            }));
        }
        Self { stop, done, writers }
    }

    /// Transactions so far.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    pub(crate) async fn end(self) {
        self.stop.cancel();
        for writer in self.writers {
            writer.await.unwrap();
        }
    }
}
