//! The script that a cell's container runs: which programs it finds, what it says where it cannot, and that it begins once.

use std::time::{Duration, Instant};

use dataembassy_contract::drill::{CELL_SCRIPT, CELL_USER};
use dataembassy_testkit::postgresql::{Cell, Container};

/// Where Debian has PostgreSQL's programs, in an image of version 17.
const DEBIANS: &str = "/usr/lib/postgresql/17/bin";

fn container(path: &str) -> Container {
    Container {
        root: "rootfs-postgresql-17".into(),
        user: u32::try_from(CELL_USER).unwrap(),
        group: 65_532,
        path: path.into(),
        volume: 1024,
        memory: None,
    }
}

fn start(container: &Container, programs: &[(&str, &str)]) -> Cell {
    Cell::start_in(container, CELL_SCRIPT, programs).unwrap()
}

/// Asks the server as soon as it is up.
async fn value(cell: &Cell, query: &str) -> String {
    let begun = Instant::now();
    loop {
        match cell.value(query).await {
            Ok(value) => return value,
            Err(error) if begun.elapsed() > Duration::from_mins(1) => {
                panic!("{error:#}\n{}", cell.log());
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Waits until the script has said something.
async fn until_said(cell: &Cell, words: &str) {
    let begun = Instant::now();
    while !cell.log().contains(words) {
        assert!(
            begun.elapsed() < Duration::from_mins(1),
            "{words} is not in:\n{}",
            cell.log()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_are_found_where_debian_puts_them() {
    let cell = start(&container("/usr/bin:/bin"), &[]);
    assert!(
        value(&cell, "SELECT current_setting('server_version')")
            .await
            .starts_with("17.")
    );
    assert_eq!(
        value(&cell, "SELECT current_setting('listen_addresses')").await,
        ""
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_on_the_path_come_first() {
    let wrapped =
        |name: &str| format!("#!/bin/sh\necho '{name} of the path' >&2\nexec {DEBIANS}/{name} \"$@\"\n");
    let (initdb, postgres) = (wrapped("initdb"), wrapped("postgres"));
    let programs = [("initdb", initdb.as_str()), ("postgres", postgres.as_str())];
    let cell = start(&container("/srv/programs:/usr/bin:/bin"), &programs);
    assert!(
        value(&cell, "SELECT current_setting('server_version')")
            .await
            .starts_with("17.")
    );
    until_said(&cell, "initdb of the path").await;
    until_said(&cell, "postgres of the path").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_with_client_programs_alone_is_told_what_it_lacks() {
    let mut container = container("/usr/bin:/bin");
    container.root = "rootfs-stock".into();
    let cell = start(&container, &[]);
    until_said(
        &cell,
        "cell: the image has no initdb and postgres, neither on PATH nor in /usr/lib/postgresql/<major>/bin",
    )
    .await;
    assert!(!cell.sockets().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_the_image_has_no_name_for_is_told() {
    let mut container = container("/usr/bin:/bin");
    container.user = 54_321;
    let cell = start(&container, &[]);
    until_said(&cell, "cell: the image knows no user 54321").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_started_a_second_time_begins_nothing() {
    let container = container("/usr/bin:/bin");
    let mut cell = start(&container, &[]);
    value(&cell, "SELECT 1").await;
    cell.kill_server().unwrap();
    cell.start_again(&container, CELL_SCRIPT).unwrap();
    until_said(
        &cell,
        "cell: the database of this drill has ended before its time; it is not begun again",
    )
    .await;
    assert!(
        cell.value("SELECT 1").await.is_err(),
        "nobody finds an empty database"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_write_ahead_log_follows_the_volumes_size() {
    for (volume, log) in [
        (100, "64MB"),
        (2_048, "256MB"),
        (10_240, "1280MB"),
        (1_000_000, "4GB"),
    ] {
        let mut container = container("/usr/bin:/bin");
        container.volume = volume;
        let cell = start(&container, &[]);
        assert_eq!(
            value(&cell, "SELECT current_setting('max_wal_size')").await,
            log,
            "{volume} MiB"
        );
    }
}
