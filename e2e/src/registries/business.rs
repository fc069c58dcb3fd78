//! The rows, large objects and small tables of the business registry.

use std::fmt::Write as _;

use anyhow::Context as _;
use jiff::civil::date;
use tokio_postgres::{Client, types::Oid};

use super::{
    Amount,
    copy::rows,
    dice::{Dice, day_after},
    words::{FINDINGS, GIVEN, SURNAMES, TOWNS, TRADES},
};

/// The number of the first large object.
pub(super) const FIRST_OBJECT: Oid = 500_000;
/// How many small tables are made in one transaction: each holds a lock and an index's.
const TABLES_AT_ONCE: u32 = 250;
const FIRST_COMPANY: u64 = 10_000_000;

pub(super) async fn load(client: &Client, amount: &Amount) -> anyhow::Result<()> {
    let seed = amount.seed;
    let companies = amount.rows(25_000);
    let columns =
        "business.companies (code, \"Ärinimi\", form, founded, capital, holdings, parent, phone, homepage)";
    rows(client, columns, seed, companies, |n, dice, row| {
        row.plain(FIRST_COMPANY + n)
            .text(&format!("{} {} {n}", dice.pick(SURNAMES), dice.pick(TRADES)));
        row.plain(dice.pick(&[
            "osaühing",
            "osaühing",
            "aktsiaselts",
            "usaldusühing",
            "füüsilisest isikust ettevõtja",
        ]));
        row.plain(dice.day(date(1992, 1, 1), 12_000)).plain(format_args!(
            "{}.{:02}",
            2500 + dice.below(3_000_000),
            dice.below(100)
        ));
        let nominal = 100 + dice.below(9000);
        row.plain(format_args!(
            "{{\"(\\\\\"{} {}\\\\\",{nominal}.00,{}.50)\"}}",
            dice.pick(GIVEN),
            dice.pick(SURNAMES),
            dice.below(100)
        ));
        row.maybe((n > 0 && dice.chance(10)).then(|| FIRST_COMPANY + dice.below(n.max(1))));
        row.plain(format_args!("{{+372 6{:06}}}", dice.below(1_000_000)))
            .maybe(dice.chance(30).then(|| format!("https://{n}.näide.ee/")));
    })
    .await?;
    rows(
        client,
        "business.officers (id, company, name, role, since, until, addresses)",
        seed,
        amount.rows(50_000),
        |n, dice, row| {
            let since = dice.day(date(2000, 1, 1), 9000);
            let id = i64::try_from(n).unwrap_or(0) - 1000;
            row.plain(id).plain(FIRST_COMPANY + dice.below(companies));
            row.text(&format!("{} {}", dice.pick(GIVEN), dice.pick(SURNAMES)))
                .text(dice.pick(&["juhatuse liige", "nõukogu liige", "prokurist"]));
            row.plain(since)
                .maybe(dice.chance(40).then(|| day_after(since, 1 + dice.below(3000))));
            row.maybe(dice.chance(20).then(|| {
                format!(
                    "{{2001:db8::{:x},192.0.2.{}/32}}",
                    dice.below(65_536),
                    dice.below(256)
                )
            }));
        },
    )
    .await?;
    let objects = amount.rows(400);
    rows(
        client,
        "business.filings (number, company, filed, year, content, stamp, figures, turnover)",
        seed,
        amount.rows(35_000),
        |n, dice, row| {
            row.plain(4_999_999_999 - n)
                .plain(FIRST_COMPANY + dice.below(companies))
                .plain(dice.moment(date(2021, 1, 1), 2100));
            row.plain(2021 + dice.below(5))
                .maybe((n < objects).then_some(u64::from(FIRST_OBJECT) + n));
            row.bytes(&dice.bytes(32));
            row.text(&format!(
                "{{\"vara\": {}, \"omakapital\": {}, \"koht\": \"{}\"}}",
                dice.below(1_000_000),
                dice.below(1_000_000),
                dice.pick(TOWNS)
            ));
            row.plain(format_args!("{}.{:02}", dice.below(10_000_000), dice.below(100)));
        },
    )
    .await?;
    load_objects(client, seed, objects, amount.large_values).await?;
    small_tables(client, "\"Väikesed tabelid\"", amount.small_tables).await
}

/// A filed report: text with a scan that does not compress.
fn report(dice: &mut Dice) -> Vec<u8> {
    let mut report = String::from("%PDF-1.7 majandusaasta aruanne\n");
    for line in 0..dice.below(600) {
        writeln!(
            report,
            "{line}. {} {} {}",
            dice.pick(FINDINGS),
            dice.pick(TRADES),
            dice.below(1_000_000)
        )
        .expect("a string takes every write");
    }
    let scan = 8000 + usize::try_from(dice.below(40_000)).unwrap_or(0);
    let mut report = report.into_bytes();
    report.extend_from_slice(&dice.bytes(scan));
    report
}

async fn load_objects(client: &Client, seed: u64, objects: u64, large: bool) -> anyhow::Result<()> {
    let failed = "large objects cannot be written";
    client.batch_execute("BEGIN").await.context(failed)?;
    let write = client
        .prepare("SELECT pg_catalog.lo_from_bytea($1, $2)")
        .await
        .context(failed)?;
    for n in 0..objects {
        let oid = FIRST_OBJECT + Oid::try_from(n)?;
        client
            .query_one(&write, &[&oid, &report(&mut Dice::new(seed, "object", n))])
            .await
            .context(failed)?;
    }
    client.batch_execute("COMMIT").await.context(failed)?;
    // Sparse ones: pages that were never written read as zeros. One has no page at all, one begins with a hole.
    let hole = if large { 64 << 20 } else { 4 << 20 };
    client
        .batch_execute(&format!(
            "BEGIN;
             SELECT lo_create(400001), lo_create(400002), lo_create(400003), lo_create(4294967295);
             SELECT lo_put(400001, 0, 'algus'), lo_put(400001, {hole}, 'lõpp'::bytea), lo_put(400002, 8191, '\\x00ff00');
             ALTER LARGE OBJECT 400001 OWNER TO business_notary;
             ALTER LARGE OBJECT 400003 OWNER TO business_owner;
             GRANT SELECT ON LARGE OBJECT 400001 TO business_public;
             GRANT SELECT, UPDATE ON LARGE OBJECT 400002 TO business_owner WITH GRANT OPTION;
             GRANT SELECT ON LARGE OBJECT 400003 TO PUBLIC;
             COMMENT ON LARGE OBJECT 400001 IS 'suure auguga';
             COMMENT ON LARGE OBJECT 400003 IS 'it''s empty';
             COMMIT;"
        ))
        .await
        .context(failed)
}

/// Makes `count` tables of one row to three in a schema that exists, named `t00000` and on.
pub async fn small_tables(client: &Client, schema: &str, count: u32) -> anyhow::Result<()> {
    let mut from = 0;
    while from < count {
        let until = count.min(from + TABLES_AT_ONCE);
        let mut batch = String::from("BEGIN;");
        for n in from..until {
            write!(
                batch,
                "CREATE TABLE {schema}.t{n:05} (id integer PRIMARY KEY, value text);
                 INSERT INTO {schema}.t{n:05} SELECT i, 'tabel {n} ' || i FROM generate_series(1, {}) i;",
                1 + n % 3
            )?;
        }
        batch.push_str("COMMIT;");
        client
            .batch_execute(&batch)
            .await
            .with_context(|| format!("small tables cannot be made in {schema}"))?;
        from = until;
    }
    Ok(())
}
