//! Rule 5: what a session is set to decides how values are written and what a run may cost, whatever the role or its database says. And how long a
//! server keeps what nobody speaks to any more, of rule 6.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::{MAJORS, Standing, network, source, take, take_with};
use dataembassy_sidecar::postgresql::dump::DumpError;
use dataembassy_sidecar::postgresql::session::SessionError;
use dataembassy_sidecar::postgresql::source::Source;
use dataembassy_testkit::postgresql::{DUMP_ROLE, Database, Relay, Server};

/// Gives the dump role these settings in a database.
async fn set_on_the_role(database: &Database, settings: &[&str]) {
    let name = &database.name;
    for setting in settings {
        let statement = format!("ALTER ROLE {DUMP_ROLE} IN DATABASE {name} SET {setting}");
        database.execute(&statement).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_role_do_not_reach_the_text() {
    for major in MAJORS {
        let server = Server::shared(major);
        let database = server.database().await.unwrap();
        let name = &database.name;
        database
            .execute(
                "CREATE TABLE t AS SELECT n, timestamptz '2026-11-23 12:00:00+00' + n * interval '1 hour' AS at,
                 decode(md5(n::text), 'hex') AS bytes, interval '1 day 02:03' AS span, n / 3.0::float8 AS third,
                 12.34::money AS price, xmlelement(name x, decode(md5(n::text), 'hex')) AS tree FROM generate_series(1, 2000) n",
            )
            .await
            .unwrap();
        let before = take(&source(server, name)).await.unwrap();
        let settings = [
            "timezone = 'Asia/Tokyo'",
            "bytea_output = 'escape'",
            "datestyle = 'German'",
            "intervalstyle = 'iso_8601'",
            "extra_float_digits = -10",
            "xmlbinary = 'hex'",
            "client_encoding = 'LATIN1'",
            "quote_all_identifiers = on",
            "default_transaction_isolation = 'read committed'",
            "search_path = 'nowhere'",
            "row_security = on",
            "lc_monetary = 'POSIX'",
            "synchronize_seqscans = on",
            "max_parallel_workers_per_gather = 8",
            "jit = on",
            "enable_tidscan = off",
            "standard_conforming_strings = off",
        ];
        set_on_the_role(&database, &settings).await;
        let after = take(&source(server, name)).await.unwrap();
        assert!(before.rows("public.t") == after.rows("public.t"));
        assert_eq!(
            before.tables()["public.t"].copy_statement,
            after.tables()["public.t"].copy_statement
        );
        let text = String::from_utf8(after.rows("public.t")).unwrap();
        assert!(
            text.starts_with("1\t2026-11-23 13:00:00+00\t\\\\x"),
            "{}",
            text.lines().next().unwrap()
        );
        // `money` is written with it, so the copy says which it was.
        assert_eq!(after.dumped.server.settings["lc_monetary"], "POSIX");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn timeouts_of_the_role_end_no_run() {
    for major in MAJORS {
        let server = Server::shared(major);
        let database = server.database().await.unwrap();
        // More than the ways between us and the server hold, so that the COPY stands while nobody takes anything.
        database
            .execute(
                "CREATE TABLE t AS SELECT n AS a, repeat('x', 1000) AS b FROM generate_series(1, 40000) n",
            )
            .await
            .unwrap();
        let mut settings = vec![
            "statement_timeout = '5s'",
            "lock_timeout = '5s'",
            "idle_in_transaction_session_timeout = '5s'",
            "idle_session_timeout = '5s'",
            "tcp_user_timeout = '5s'",
            "client_connection_check_interval = '0'",
        ];
        if major >= 17 {
            settings.push("transaction_timeout = '5s'");
        }
        set_on_the_role(&database, &settings).await;
        let standing = Standing::begin(&source(server, &database.name), |_| {}).await;
        let longer_than_five_seconds = |application: &str, state: &str, since: &str| {
            format!(
                "EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND usename = '{DUMP_ROLE}' \
                 AND application_name = '{application}' AND state = '{state}' AND {since} < clock_timestamp() - interval '7 seconds')"
            )
        };
        until_rarely(
            &database,
            &longer_than_five_seconds("dataembassy copy", "active", "query_start"),
        )
        .await;
        // Its heartbeat comes every ten seconds.
        until_rarely(
            &database,
            &longer_than_five_seconds(
                "dataembassy plan and locks",
                "idle in transaction",
                "state_change",
            ),
        )
        .await;
        let taken = standing.go_on().await.unwrap();
        assert_eq!(taken.tables()["public.t"].rows, 40_000);
    }
}

/// Waits until a query of the superuser gives true, for what takes seconds by its nature.
async fn until_rarely(database: &Database, condition: &str) {
    let begun = Instant::now();
    while database.value(condition).await.unwrap() != "true" {
        assert!(
            begun.elapsed() < Duration::from_mins(3),
            "never became true: {condition}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What every session of a run must have, and read back.
fn required(major: u32, lc_monetary: &str) -> BTreeMap<&'static str, String> {
    let mut settings = BTreeMap::from([
        ("row_security", "off"),
        ("search_path", ""),
        ("datestyle", "ISO, MDY"),
        ("intervalstyle", "postgres"),
        ("extra_float_digits", "3"),
        ("synchronize_seqscans", "off"),
        ("timezone", "UTC"),
        ("bytea_output", "hex"),
        ("xmlbinary", "base64"),
        ("quote_all_identifiers", "off"),
        ("standard_conforming_strings", "on"),
        ("max_parallel_workers_per_gather", "0"),
        ("jit", "off"),
        ("enable_tidscan", "on"),
        ("client_encoding", "UTF8"),
        ("lc_monetary", lc_monetary),
        ("statement_timeout", "0"),
        ("lock_timeout", "2min"),
        ("idle_session_timeout", "0"),
        ("idle_in_transaction_session_timeout", "1min"),
        ("client_connection_check_interval", "10s"),
        ("tcp_user_timeout", "120000"),
        ("tcp_keepalives_idle", "30"),
        ("tcp_keepalives_interval", "10"),
    ]);
    if major >= 17 {
        settings.insert("transaction_timeout", "0");
    }
    settings
        .into_iter()
        .map(|(name, value)| (name, value.to_owned()))
        .collect()
}

/// Whether a message is the row in which a session reads its settings back, or is told what they were set to.
fn is_of_settings(tag: u8, body: &[u8]) -> bool {
    let holds = |text: &[u8]| body.windows(text.len()).any(|window| window == text);
    tag == b'D' && holds(b"ISO, MDY") && holds(b"base64")
}

/// A row with another value in one column; as it was where it has no such column.
fn altered(row: &[u8], column: usize) -> Vec<u8> {
    let (count, mut rest) = row.split_at(2);
    let mut altered = count.to_vec();
    for place in 0..u16::from_be_bytes([count[0], count[1]]) {
        let (length, after) = rest.split_at(4);
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        let (value, after) = after.split_at(length);
        let value = if usize::from(place) == column {
            &b"altered"[..]
        } else {
            value
        };
        altered.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
        altered.extend_from_slice(value);
        rest = after;
    }
    altered
}

/// A source behind a relay.
fn behind(relay: &Relay, server: &Server, database: &Database) -> Source {
    let mut source = source(server, &database.name);
    network(&mut source).port = relay.port();
    source
}

#[tokio::test(flavor = "multi_thread")]
async fn each_setting_is_read_back_and_a_session_without_one_is_not_used() {
    for major in MAJORS {
        let server = Server::shared(major);
        let database = server.database().await.unwrap();
        database.execute("CREATE TABLE t (a int)").await.unwrap();
        let lc_monetary = database
            .value("SELECT current_setting('lc_monetary')")
            .await
            .unwrap();
        let column = Arc::new(AtomicUsize::new(0));
        let place = Arc::clone(&column);
        let relay = Relay::start(server, server.certificate(), move |tag, body| {
            Some(if is_of_settings(tag, &body) {
                altered(&body, place.load(Ordering::Relaxed))
            } else {
                body
            })
        })
        .await
        .unwrap();
        let source = behind(&relay, server, &database);
        let mut refused = BTreeMap::new();
        // Until there is no such column any more: then nothing is wrong.
        while let Err(error) = take(&source).await {
            match error {
                DumpError::Session(SessionError::SettingRefused { name, wanted, found }) => {
                    assert_eq!(found, "altered");
                    refused.insert(name, wanted);
                }
                other => panic!("{other}"),
            }
            column.fetch_add(1, Ordering::Relaxed);
        }
        assert_eq!(refused, required(major, &lc_monetary));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_session_of_a_run_reads_its_settings_back() {
    const UNALTERED: usize = usize::MAX;
    let server = Server::shared(17);
    let database = server.database().await.unwrap();
    database.execute("CREATE TABLE t (a int)").await.unwrap();
    let (met, alter) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(UNALTERED)),
    );
    let (counted, wanted) = (Arc::clone(&met), Arc::clone(&alter));
    let relay = Relay::start(server, server.certificate(), move |tag, body| {
        let alters = is_of_settings(tag, &body)
            && counted.fetch_add(1, Ordering::Relaxed) == wanted.load(Ordering::Relaxed);
        Some(if alters { altered(&body, 0) } else { body })
    })
    .await
    .unwrap();
    let source = behind(&relay, server, &database);
    // With one worker, sessions come one after the other.
    let run = async || take_with(&source, |options| options.max_connections = 3).await;
    run().await.unwrap();
    let rows = met.load(Ordering::Relaxed);
    let mut refused = 0;
    for row in 0..rows {
        met.store(0, Ordering::Relaxed);
        alter.store(row, Ordering::Relaxed);
        match run().await.map(drop) {
            // What was set is told too, and only what is read back counts.
            Ok(()) => {}
            Err(error) => {
                assert!(error.to_string().contains("row_security"), "{error}");
                refused += 1;
            }
        }
    }
    // The leader, the plan's session before and after pg_dump, and the worker.
    assert_eq!((rows, refused), (8, 4));
}

/// The timers of the server's own ends of connections on loopback: the client's port, what is waited for, and for how many hundredths of a second.
fn timers(server_port: u16) -> BTreeMap<u16, (u8, u64)> {
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next().unwrap(), 16).unwrap();
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let lines = table.lines().skip(1);
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| port(fields[1]) == server_port)
        .map(|fields| {
            let (timer, when) = fields[5].split_once(':').unwrap();
            let timer = u8::from_str_radix(timer, 16).unwrap();
            (port(fields[2]), (timer, u64::from_str_radix(when, 16).unwrap()))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_asks_within_half_a_minute_whether_whoever_holds_locks_is_still_there() {
    const KEEPALIVE: u8 = 2;
    for major in MAJORS {
        let server = Server::shared(major);
        let database = server.database().await.unwrap();
        database
            .execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS a")
            .await
            .unwrap();
        let standing = Standing::begin(&source(server, &database.name), |_| {}).await;
        for holder in ["dataembassy snapshot", "dataembassy plan and locks"] {
            let one = format!(
                "SELECT client_port FROM pg_stat_activity WHERE datname = current_database() AND application_name = '{holder}'"
            );
            let client: u16 = database.value(&one).await.unwrap().parse().unwrap();
            // While an answer is on its way another timer runs.
            let begun = Instant::now();
            let wait = loop {
                match timers(server.port()).get(&client) {
                    Some((KEEPALIVE, wait)) => break *wait,
                    other => assert!(begun.elapsed() < Duration::from_secs(30), "{holder}: {other:?}"),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            };
            assert!(wait <= 3000, "{holder}: {wait} hundredths of a second");
        }
        standing.go_on().await.unwrap();
    }
}
