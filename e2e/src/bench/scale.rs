//! A store with many registries and long ledgers: how soon a custodian that was started anew knows every head, and what memory it takes for
//! that and for everything that it then looks at. Both stand beside what is promised.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use dataembassy_testkit::{
    many::{self, Extent, MadeRegistry, Signers},
    minio::BUCKET,
};

use super::custodian::{Custodian, Kept, custodian_key, home};
use super::row::Row;
use crate::progress::Progress;

/// A hundred registries of two hundred copies each.
const EXTENT: Extent = Extent {
    registries: 100,
    entries: 200,
    unproven: 5,
};
/// Within this time every head is known, in seconds.
const KNOWN: f64 = 60.0;
/// The container's limit, in MiB.
const LIMIT: f64 = 128.0;
/// Within this time everything is examined and read back.
const DEADLINE: Duration = Duration::from_mins(20);

/// Measures and returns the rows.
pub(super) async fn measure(sidecar: &Path, progress: &Progress) -> Result<Vec<Row>> {
    let step = progress.step(format!(
        "a store of {} registries with {} entries each",
        EXTENT.registries, EXTENT.entries
    ));
    let mut kept = Kept::set_up(sidecar).await?;
    let (home, custodian) = (home(), custodian_key());
    let signers = Signers {
        home: &home,
        custodian: &custodian,
    };
    let made = many::make(kept.minio.root(), BUCKET, kept.origin, signers, EXTENT).await?;
    for one in &made {
        kept.accept(
            one.ledger.registry().as_str(),
            Some((one.proven, one.custody_head)),
        )?;
    }
    step.done();
    let step = progress.step("a custodian that is started anew");
    let began = Instant::now();
    let custodian = kept.start(&[])?;
    while !knows_heads(&custodian, &made).await {
        ensure!(began.elapsed() < DEADLINE, "the heads are not known");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let known = began.elapsed();
    for one in &made {
        let registry = one.ledger.registry().as_str();
        custodian
            .until("everything to be read", registry, DEADLINE, |report| {
                report.used_bytes > 0 && report.verification.verified as usize == EXTENT.entries
            })
            .await?;
    }
    let peak = custodian.mebibytes("VmHWM")?;
    custodian.end().await?;
    step.done();
    let of = format!(
        "{} registries with {} entries",
        EXTENT.registries,
        EXTENT.registries * EXTENT.entries
    );
    Ok(vec![
        Row::within(
            format!("heads of {of}, and what is promised at most"),
            known.as_secs_f64(),
            KNOWN,
            "s",
        ),
        Row::within(format!("most memory for {of}, and the limit"), peak, LIMIT, "MiB"),
    ])
}

/// Whether the custodian says of each registry that its ledger ends where it does.
async fn knows_heads(custodian: &Custodian, made: &[MadeRegistry]) -> bool {
    for one in made {
        let report = custodian.registry(one.ledger.registry().as_str()).await;
        let head = report.and_then(|report| report.source_head);
        if head.map(|head| head.digest) != Some(one.head.digest.to_string()) {
            return false;
        }
    }
    true
}
