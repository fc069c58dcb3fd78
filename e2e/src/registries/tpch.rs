//! Data of the TPC-H benchmark, for measuring: known to everybody, of any size, and the same everywhere.

use std::{fmt::Write as _, pin::pin};

use anyhow::Context as _;
use bytes::Bytes;
use futures::SinkExt as _;
use tokio_postgres::Client;
use tpchgen::{csv, generators};

/// What is sent at once.
const SLICE: usize = 256 << 10;

const TABLES: &str = "
    CREATE TABLE region (r_regionkey integer, r_name char(25) NOT NULL, r_comment varchar(152));
    CREATE TABLE nation (n_nationkey integer, n_name char(25) NOT NULL, n_regionkey integer NOT NULL, n_comment varchar(152));
    CREATE TABLE part (p_partkey bigint, p_name varchar(55) NOT NULL, p_mfgr char(25) NOT NULL, p_brand char(10) NOT NULL,
        p_type varchar(25) NOT NULL, p_size integer NOT NULL, p_container char(10) NOT NULL, p_retailprice numeric(15, 2) NOT NULL,
        p_comment varchar(23) NOT NULL);
    CREATE TABLE supplier (s_suppkey bigint, s_name char(25) NOT NULL, s_address varchar(40) NOT NULL, s_nationkey integer NOT NULL,
        s_phone char(15) NOT NULL, s_acctbal numeric(15, 2) NOT NULL, s_comment varchar(101) NOT NULL);
    CREATE TABLE partsupp (ps_partkey bigint, ps_suppkey bigint, ps_availqty integer NOT NULL, ps_supplycost numeric(15, 2) NOT NULL,
        ps_comment varchar(199) NOT NULL);
    CREATE TABLE customer (c_custkey bigint, c_name varchar(25) NOT NULL, c_address varchar(40) NOT NULL, c_nationkey integer NOT NULL,
        c_phone char(15) NOT NULL, c_acctbal numeric(15, 2) NOT NULL, c_mktsegment char(10) NOT NULL, c_comment varchar(117) NOT NULL);
    CREATE TABLE orders (o_orderkey bigint, o_custkey bigint NOT NULL, o_orderstatus char(1) NOT NULL, o_totalprice numeric(15, 2) NOT NULL,
        o_orderdate date NOT NULL, o_orderpriority char(15) NOT NULL, o_clerk char(15) NOT NULL, o_shippriority integer NOT NULL,
        o_comment varchar(79) NOT NULL);
    CREATE TABLE lineitem (l_orderkey bigint, l_partkey bigint NOT NULL, l_suppkey bigint NOT NULL, l_linenumber integer,
        l_quantity numeric(15, 2) NOT NULL, l_extendedprice numeric(15, 2) NOT NULL, l_discount numeric(15, 2) NOT NULL,
        l_tax numeric(15, 2) NOT NULL, l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL, l_shipdate date NOT NULL,
        l_commitdate date NOT NULL, l_receiptdate date NOT NULL, l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL,
        l_comment varchar(44) NOT NULL);";

const KEYS: &str = "
    ALTER TABLE region ADD PRIMARY KEY (r_regionkey);
    ALTER TABLE nation ADD PRIMARY KEY (n_nationkey), ADD FOREIGN KEY (n_regionkey) REFERENCES region;
    ALTER TABLE part ADD PRIMARY KEY (p_partkey);
    ALTER TABLE supplier ADD PRIMARY KEY (s_suppkey), ADD FOREIGN KEY (s_nationkey) REFERENCES nation;
    ALTER TABLE partsupp ADD PRIMARY KEY (ps_partkey, ps_suppkey), ADD FOREIGN KEY (ps_partkey) REFERENCES part, ADD FOREIGN KEY (ps_suppkey) REFERENCES supplier;
    ALTER TABLE customer ADD PRIMARY KEY (c_custkey), ADD FOREIGN KEY (c_nationkey) REFERENCES nation;
    ALTER TABLE orders ADD PRIMARY KEY (o_orderkey), ADD FOREIGN KEY (o_custkey) REFERENCES customer;
    ALTER TABLE lineitem ADD PRIMARY KEY (l_orderkey, l_linenumber), ADD FOREIGN KEY (l_orderkey) REFERENCES orders;
    CHECKPOINT; VACUUM ANALYZE;";

/// Gigabytes that the largest table of scale 1 takes on the server's disk.
pub const LARGEST: f64 = 0.88;

/// Fills an empty database with TPC-H's eight tables and their keys. `scale` 1 is 1 GB of text.
pub async fn load(client: &Client, scale: f64) -> anyhow::Result<()> {
    client
        .batch_execute(TABLES)
        .await
        .context("the tables of TPC-H cannot be made")?;
    copy(
        client,
        "region",
        generators::RegionGenerator::new(scale, 1, 1)
            .iter()
            .map(csv::RegionCsv::new),
    )
    .await?;
    copy(
        client,
        "nation",
        generators::NationGenerator::new(scale, 1, 1)
            .iter()
            .map(csv::NationCsv::new),
    )
    .await?;
    copy(
        client,
        "part",
        generators::PartGenerator::new(scale, 1, 1)
            .iter()
            .map(csv::PartCsv::new),
    )
    .await?;
    copy(
        client,
        "supplier",
        generators::SupplierGenerator::new(scale, 1, 1)
            .iter()
            .map(csv::SupplierCsv::new),
    )
    .await?;
    copy(
        client,
        "partsupp",
        generators::PartSuppGenerator::new(scale, 1, 1)
            .iter()
            .map(csv::PartSuppCsv::new),
    )
    .await?;
    copy(
        client,
        "customer",
        generators::CustomerGenerator::new(scale, 1, 1)
            .iter()
            .map(csv::CustomerCsv::new),
    )
    .await?;
    copy(
        client,
        "orders",
        generators::OrderGenerator::new(scale, 1, 1)
            .iter()
            .map(csv::OrderCsv::new),
    )
    .await?;
    copy_largest(client, scale).await?;
    for statement in KEYS
        .split(';')
        .map(str::trim)
        .filter(|statement| !statement.is_empty())
    {
        client
            .batch_execute(statement)
            .await
            .with_context(|| format!("{statement} fails"))?;
    }
    Ok(())
}

/// Makes all tables, fills the largest alone, and has no keys.
pub async fn load_largest(client: &Client, scale: f64) -> anyhow::Result<()> {
    client
        .batch_execute(TABLES)
        .await
        .context("the tables of TPC-H cannot be made")?;
    copy_largest(client, scale).await?;
    rest(client).await
}

/// Leaves nothing for later of what was loaded.
pub(crate) async fn rest(client: &Client) -> anyhow::Result<()> {
    client.batch_execute("VACUUM ANALYZE").await?;
    Ok(client.batch_execute("CHECKPOINT").await?)
}

async fn copy_largest(client: &Client, scale: f64) -> anyhow::Result<()> {
    let rows = generators::LineItemGenerator::new(scale, 1, 1);
    copy(client, "lineitem", rows.iter().map(csv::LineItemCsv::new)).await
}

async fn copy(
    client: &Client,
    table: &str,
    rows: impl Iterator<Item: std::fmt::Display>,
) -> anyhow::Result<()> {
    let failed = || format!("rows cannot be copied into {table}");
    let statement = format!("COPY {table} FROM STDIN (FORMAT csv)");
    let mut sink = pin!(
        client
            .copy_in::<_, Bytes>(&statement)
            .await
            .with_context(failed)?
    );
    let mut slice = String::with_capacity(SLICE * 2);
    for row in rows {
        writeln!(slice, "{row}").with_context(failed)?;
        if slice.len() >= SLICE {
            sink.send(Bytes::copy_from_slice(slice.as_bytes()))
                .await
                .with_context(failed)?;
            slice.clear();
        }
    }
    sink.send(Bytes::from(slice)).await.with_context(failed)?;
    sink.finish().await.with_context(failed)?;
    Ok(())
}
