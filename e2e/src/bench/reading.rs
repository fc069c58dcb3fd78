//! How fast the custodian reads a copy back (level 2), next to `rclone cat | sha256sum` of the same bytes from the same store; and what a
//! custodian of three registries takes at rest.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use dataembassy_ledger::CopyId;
use dataembassy_testkit::{
    fabricated::{Depositor, MadeLedger, Shape},
    many::{self, Extent, Signers},
    minio::BUCKET,
};

use super::custodian::{Custodian, Kept, custodian_key, home};
use super::promise::Promise;
use super::row::Row;
use crate::{
    command::{command, output},
    progress::Progress,
};

const REGISTRY: &str = "bench";
/// Segments of the copy that is read, and the bytes of each: what segments have.
const SEGMENTS: u64 = 64;
const SEGMENT_BYTES: usize = 16 << 20;
/// No reading takes longer.
const DEADLINE: Duration = Duration::from_mins(3);
/// How many times as fast as the stock tools it is at least.
const RATE: f64 = 1.0;
/// What a custodian of three registries may take at rest, in MiB.
const AT_REST: f64 = 24.0;
/// How long nothing has happened before it counts as rest: two looks.
const REST: Duration = Duration::from_secs(32);

/// Measures and returns the rows.
pub(super) async fn measure(runs: u32, sidecar: &Path, progress: &Progress) -> Result<Vec<Row>> {
    Ok(vec![
        rate(runs, sidecar, progress).await?,
        rest(sidecar, progress).await?,
    ])
}

async fn rate(runs: u32, sidecar: &Path, progress: &Progress) -> Result<Row> {
    let step = progress.step("a copy of a gigabyte");
    let mut kept = Kept::set_up(sidecar).await?;
    let mut ledger = MadeLedger::new(kept.origin, REGISTRY.parse()?, home());
    let shape = Shape {
        segments: SEGMENTS,
        segment_bytes: SEGMENT_BYTES,
        ..Shape::default()
    };
    let made = {
        let mut depositor = Depositor::connect(kept.minio.root(), BUCKET).await?;
        ledger.copy(&mut depositor, &shape).await?
    };
    kept.accept(REGISTRY, None)?;
    // What was read half a second ago is due again: it is read without a pause.
    kept.config.verification.period = "1s".parse()?;
    step.done();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // The first of each warms up and does not count.
    for run in 0..=runs {
        let step = progress.step(format!("readings, run {run} of {runs}"));
        let (custodian, stock);
        if run % 2 == 1 {
            custodian = read_back(&kept).await?;
            stock = summed(&kept, made.body.copy_id).await?;
        } else {
            stock = summed(&kept, made.body.copy_id).await?;
            custodian = read_back(&kept).await?;
        }
        if run > 0 {
            ours.push(custodian);
            theirs.push(stock);
        }
        step.done();
    }
    let name = format!("reading {SEGMENTS} segments of 16 MiB back, or rclone cat | sha256sum of them");
    Ok(Row::seconds(name, &ours, &theirs).promised(Promise::times_as_fast(RATE)))
}

/// How long the custodian takes for the whole copy: between the beginnings of two readings that follow each other without a pause. The one
/// before them is not looked at, as it begins with the process.
async fn read_back(kept: &Kept) -> Result<Duration> {
    let custodian = kept.start(&[])?;
    let mut begun = Vec::new();
    while begun.len() < 3 {
        let report = custodian
            .until("a reading", REGISTRY, DEADLINE, |report| {
                let verified_at = report.copies.first().and_then(|copy| copy.verified_at);
                verified_at.is_some_and(|at| begun.last() != Some(&at))
            })
            .await?;
        begun.extend(report.copies.first().and_then(|copy| copy.verified_at));
    }
    custodian.end().await?;
    Ok(Duration::try_from(begun[2].duration_since(begun[1]))?)
}

/// The stock tools: every object of the copy, one after the other, through one sum.
async fn summed(kept: &Kept, copy: CopyId) -> Result<Duration> {
    let authority = kept.folder.path().join("store.crt");
    std::fs::write(&authority, kept.minio.authority().certificate())?;
    let root = kept.minio.root().credentials();
    let script = format!(
        "rclone --ca-cert \"$STORE_CA\" cat \"store:{BUCKET}/registries/{REGISTRY}/copies/{copy}\" | sha256sum"
    );
    let mut shell = command("bash");
    shell
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("RCLONE_CONFIG", "/nonexistent")
        .env("STORE_CA", &authority)
        .env("RCLONE_CONFIG_STORE_TYPE", "s3")
        .env("RCLONE_CONFIG_STORE_PROVIDER", "Minio")
        .env("RCLONE_CONFIG_STORE_ENDPOINT", kept.minio.endpoint())
        .env("RCLONE_CONFIG_STORE_ACCESS_KEY_ID", &root.access_key)
        .env("RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY", &root.secret_key)
        .args(["-euo", "pipefail", "-c", &script]);
    let began = Instant::now();
    let sum = output(&mut shell).await?;
    let took = began.elapsed();
    // Nothing at all has a sum as well.
    anyhow::ensure!(!sum.starts_with(EMPTY), "rclone found no object of the copy");
    Ok(took)
}

/// The SHA-256 of nothing.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Memory of a custodian that has nothing to do.
async fn rest(sidecar: &Path, progress: &Progress) -> Result<Row> {
    let step = progress.step("a custodian of three registries, at rest");
    let mut kept = Kept::set_up(sidecar).await?;
    let (home, custodian) = (home(), custodian_key());
    let signers = Signers {
        home: &home,
        custodian: &custodian,
    };
    let extent = Extent {
        registries: 3,
        entries: 20,
        unproven: 1,
    };
    let made = many::make(kept.minio.root(), BUCKET, kept.origin, signers, extent).await?;
    for one in &made {
        kept.accept(
            one.ledger.registry().as_str(),
            Some((one.proven, one.custody_head)),
        )?;
    }
    let custodian: Custodian = kept.start(&[])?;
    for one in &made {
        let is_done = |report: &dataembassy_contract::custodian::RegistryReport| {
            report.used_bytes > 0 && report.verification.verified as usize == extent.entries
        };
        custodian
            .until(
                "everything to be read",
                one.ledger.registry().as_str(),
                DEADLINE,
                is_done,
            )
            .await?;
    }
    tokio::time::sleep(REST).await;
    let resident = custodian.mebibytes("VmRSS").context("at rest")?;
    custodian.end().await?;
    step.done();
    let name = "resident at rest with three registries, and what is promised at most".to_owned();
    Ok(Row::within(name, resident, AT_REST, "MiB"))
}
