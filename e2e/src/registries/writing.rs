//! Life at home while a copy is taken: rows written, moved and deleted, large objects, and changes of schema.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, error::SqlState};

use super::{
    Registry,
    population::{birth, personal_code},
};

/// Writes `rows` new rows in one transaction, and changes and deletes a few old ones, so that a copy taken
/// before differs from one taken after. `client` is a superuser's session in the registry's database. Where
/// another writer was in the way, it begins again, as `PostgreSQL` asks of its clients.
pub async fn write_more(client: &Client, registry: Registry, rows: u32) -> anyhow::Result<()> {
    loop {
        let Err(error) = write_once(client, registry, rows).await else {
            return Ok(());
        };
        client.batch_execute("ROLLBACK").await?;
        if !is_rolled_back_for_another(&error) {
            return Err(error).with_context(|| format!("{} cannot be written to", registry.id()));
        }
    }
}

async fn write_once(client: &Client, registry: Registry, rows: u32) -> anyhow::Result<()> {
    client.batch_execute("BEGIN").await?;
    match registry {
        Registry::Population => write_population(client, rows).await,
        Registry::Health => write_health(client, rows).await,
        Registry::Business => write_business(client, rows).await,
    }?;
    Ok(client.batch_execute("COMMIT").await?)
}

/// A row that somebody else has moved to another partition, or a deadlock.
fn is_rolled_back_for_another(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<tokio_postgres::Error>();
    let code = error.and_then(tokio_postgres::Error::code);
    code.is_some_and(|code| {
        [
            &SqlState::T_R_SERIALIZATION_FAILURE,
            &SqlState::T_R_DEADLOCK_DETECTED,
        ]
        .contains(&code)
    })
}

async fn write_population(client: &Client, rows: u32) -> anyhow::Result<()> {
    let ids: Vec<i64> = client
        .query(
            "SELECT nextval('population.persons_id_seq') FROM generate_series(1, $1::bigint)",
            &[&i64::from(rows)],
        )
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    let (mut codes, mut days) = (Vec::new(), Vec::new());
    for id in &ids {
        let (born, serial) = birth(u64::try_from(*id)? - 1000);
        codes.push(personal_code(id % 2 == 0, born, serial));
        days.push(born.to_string());
    }
    client
        .execute(
            "INSERT INTO population.persons (id, personal_code, given_names, \"Surname\", born) OVERRIDING SYSTEM VALUE
             SELECT i, c, ARRAY['Uus', 'Ülo'], 'Tulija-' || i, b::date FROM unnest($1::bigint[], $2::text[], $3::text[]) AS u (i, c, b)",
            &[&ids, &codes, &days],
        )
        .await?;
    client
        .execute(
            "INSERT INTO population.\"Elukohad\" (county, person_id, address, period, registered_at)
             SELECT 'Tartu', i, ROW('Uus tn', '1', NULL, '50000')::population.address, daterange(current_date, NULL), clock_timestamp() FROM unnest($1::bigint[]) i",
            &[&ids],
        )
        .await?;
    // A row that moves to another partition is deleted there and inserted here.
    client
        .batch_execute(
            "UPDATE population.\"Elukohad\" SET county = CASE county WHEN 'Tartu' THEN 'Võru' ELSE 'Tartu' END::population.county
              WHERE (county, id) IN (SELECT county, id FROM population.\"Elukohad\" TABLESAMPLE SYSTEM (5) LIMIT 20);
             UPDATE population.persons SET \"Surname\" = \"Surname\" || '-Uus' WHERE id IN (SELECT id FROM population.persons TABLESAMPLE SYSTEM (5) LIMIT 20) AND length(\"Surname\") < 100;
             DELETE FROM population.document_losses WHERE ctid = ANY (ARRAY(SELECT ctid FROM population.document_losses LIMIT 1));",
        )
        .await?;
    Ok(())
}

async fn write_health(client: &Client, rows: u32) -> anyhow::Result<()> {
    let rows = i64::from(rows);
    client
        .execute(
            "INSERT INTO health.encounters (patient_id, began, lasted, urgency, ward, diagnoses, summary)
             SELECT p.id, clock_timestamp(), '1 hour', 'väga kiire', 'KI00', '{R51}', 'uus vastuvõtt ' || n
               FROM generate_series(1, $1::bigint) n CROSS JOIN (SELECT id FROM health.patients ORDER BY id LIMIT 1) p",
            &[&rows],
        )
        .await?;
    client
        .execute(
            "INSERT INTO health.observations (patient_id, taken, resource, value)
             SELECT p.id, clock_timestamp(), jsonb_build_object('code', '8867-4', 'n', n), n
               FROM generate_series(1, $1::bigint) n CROSS JOIN (SELECT id FROM health.patients ORDER BY id DESC LIMIT 1) p",
            &[&rows],
        )
        .await?;
    client
        .batch_execute(
            "UPDATE health.observations SET resource = resource || '{\"status\": \"amended\"}'
              WHERE id IN (SELECT id FROM health.observations TABLESAMPLE SYSTEM (5) LIMIT 20);
             DELETE FROM health.prescriptions WHERE number IN (SELECT number FROM health.prescriptions LIMIT 1);",
        )
        .await?;
    Ok(())
}

async fn write_business(client: &Client, rows: u32) -> anyhow::Result<()> {
    let rows = i64::from(rows);
    client
        .execute(
            "INSERT INTO business.filings (company, filed, year, content, stamp, turnover)
             SELECT c.code, clock_timestamp(), 2026, lo_from_bytea(0, convert_to('aruanne ' || n, 'UTF8')), NULL, 1::money
               FROM generate_series(1, $1::bigint) n CROSS JOIN (SELECT code FROM business.companies ORDER BY code LIMIT 1) c",
            &[&rows],
        )
        .await?;
    // The trigger takes the large object of a deleted filing with it.
    client
        .batch_execute(
            "UPDATE business.officers SET name = name || ' jr' WHERE id IN (SELECT id FROM business.officers TABLESAMPLE SYSTEM (5) LIMIT 20) AND length(name) < 100;
             DELETE FROM business.filings WHERE (year, number) IN (SELECT year, number FROM business.filings WHERE year = 2026 LIMIT 1);",
        )
        .await?;
    Ok(())
}

/// Somebody who keeps writing until told to stop.
#[derive(Debug)]
pub struct Churn {
    stop: Arc<AtomicBool>,
    writer: JoinHandle<anyhow::Result<u64>>,
}

impl Churn {
    /// Begins to write small transactions, one after another, over a session of its own.
    #[must_use]
    pub fn start(client: Client, registry: Registry) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let writer = tokio::spawn(async move {
            let mut transactions = 0;
            while !told.load(Ordering::Relaxed) {
                write_more(&client, registry, 5).await?;
                transactions += 1;
            }
            Ok(transactions)
        });
        Self { stop, writer }
    }

    /// Ends the writing and says how many transactions were committed; an error of any of them is returned.
    pub async fn stop(self) -> anyhow::Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.writer.await.context("the writer broke off")?
    }
}

/// How an attempt to change the schema ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ddl {
    /// The column was added, after waiting so long.
    Done(Duration),
    /// The lock was not to be had within the patience given.
    GaveUp,
}

/// Adds a column to the registry's main table, waiting for its lock at most `patience`. `n` makes the column's
/// name new. It only ever adds: what a reader of an older snapshot knows stays where it is.
pub async fn attempt_ddl(
    client: &Client,
    registry: Registry,
    n: u32,
    patience: Duration,
) -> anyhow::Result<Ddl> {
    let table = match registry {
        Registry::Population => "population.persons",
        Registry::Health => "health.patients",
        Registry::Business => "business.companies",
    };
    let began = Instant::now();
    let attempt = client
        .batch_execute(&format!(
            "BEGIN; SET LOCAL lock_timeout = {}; ALTER TABLE {table} ADD COLUMN \"lisatud {n}\" integer; COMMIT",
            patience.as_millis().max(1)
        ))
        .await;
    match attempt {
        Ok(()) => Ok(Ddl::Done(began.elapsed())),
        Err(error) => {
            client.batch_execute("ROLLBACK").await?;
            if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) {
                return Ok(Ddl::GaveUp);
            }
            Err(error).with_context(|| format!("a column cannot be added to {table}"))
        }
    }
}
