//! How near a copy comes to what the processor allows: one that neither server holds up, next to what zstd alone needs for the same rows.
//!
//! Who stands before the store acknowledges segments and drops them; who stands before the database answers each COPY with what the server has said
//! to it before. All else (snapshot, plan, locks, ledger) goes to the servers as ever, and the sidecar is the one that is shipped.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use dataembassy_testkit::{
    fault_proxy::{Fault, FaultProxy},
    postgresql::RememberingRelay,
};
use hyper::Method;

use super::{
    Options, clock,
    compression::{self, LEVEL},
    configuration::Servers,
    data::Data,
    door::Door,
    ours,
    rig::Rig,
    row::{Row, megabytes},
    spent::{Meter, Spent},
};
use crate::progress::Progress;

/// Processors of the machine that the promise is made for.
const PROCESSORS: f64 = 2.0;
/// The share of their time that zstd alone is promised to take at least: what is left is all that a copy has besides.
const PROMISED: f64 = 0.85;

/// The servers, and who stands before them.
struct Bench {
    // Before the rig: its groups let the servers go while they run.
    meter: Meter,
    rig: Rig,
    source: RememberingRelay,
    sink: FaultProxy,
    /// Copies so far.
    copies: u32,
}

/// What copies into nothing took.
#[derive(Default)]
struct Runs {
    from_database: Vec<Spent>,
    from_memory: Vec<Spent>,
    /// Processor time of who stood before the servers, while it was from memory.
    stand_ins: Duration,
}

/// Measures and returns the rows.
pub(super) async fn measure(options: &Options, sidecar: &Path, progress: &Progress) -> Result<Vec<Row>> {
    let data = Data::Tpch(options.gigabytes);
    let step = progress.step(format!("{} of data, told once to be remembered", data.name()));
    let mut bench = Bench::set_up(data, sidecar).await?;
    step.done();
    let runs = bench.run(options.runs, progress).await?;
    let step = progress.step("zstd alone".to_owned());
    let alone = compression::alone(bench.source.rows()).await?;
    step.done();

    let copy = format!("copy of {}", data.name());
    let middle = Spent::median(&runs.from_memory).context("nothing was measured")?;
    let needed = alone.processor.as_secs_f64();
    let stand_ins = runs.stand_ins.as_secs_f64() / f64::from(options.runs);
    Ok(vec![
        Row::spent_alone(format!("{copy} into nothing"), &runs.from_database)?,
        Row::spent_alone(format!("{copy} from memory into nothing"), &runs.from_memory)?,
        Row::alone(
            "processor time of who stood before the servers in it".into(),
            stand_ins,
            "s",
        ),
        Row::alone(
            format!("processor time of zstd alone, level {LEVEL}, for the same rows"),
            needed,
            "s",
        ),
        // As many bytes are of the same level.
        Row::new(
            "what was written of it, against zstd alone".into(),
            middle.written,
            megabytes(alone.bytes)?,
            "MB",
        ),
        Row::at_least(
            format!(
                "share of zstd alone in the time of {PROCESSORS} processors, and what is promised at least"
            ),
            needed / (PROCESSORS * middle.seconds),
            PROMISED,
        ),
    ])
}

impl Bench {
    async fn set_up(data: Data, sidecar: &Path) -> Result<Self> {
        let rig = Rig::set_up(data, sidecar).await?;
        let sink = FaultProxy::start(rig.minio.address(), rig.minio.authority()).await?;
        sink.inject(usize::MAX, Fault::Swallow, is_segment);
        let mut bench = Self {
            meter: Meter::of_servers()?,
            source: RememberingRelay::start(&rig.server).await?,
            rig,
            sink,
            copies: 0,
        };
        bench.copy(bench.source.port()).await?;
        Ok(bench)
    }

    async fn run(&mut self, times: u32, progress: &Progress) -> Result<Runs> {
        let told = self.source.passed_on();
        let mut runs = Runs::default();
        for run in 1..=times {
            let step = progress.step(format!("copies into nothing, run {run} of {times}"));
            runs.from_database.push(self.copy(self.rig.server.port()).await?);
            let before = clock::of_this_process();
            runs.from_memory.push(self.copy(self.source.port()).await?);
            runs.stand_ins += clock::of_this_process().saturating_sub(before);
            step.done();
        }
        ensure!(
            self.source.passed_on() == told,
            "the database was asked for what should have been remembered"
        );
        Ok(runs)
    }

    /// Copies into nothing from the database at this port.
    async fn copy(&mut self, database: u16) -> Result<Spent> {
        self.copies += 1;
        let (rig, number) = (&self.rig, self.copies);
        let servers = Servers {
            database,
            store: self.sink.endpoint(),
        };
        let door = Door::Proxy(&self.sink);
        let copying = self
            .meter
            .count(door, |group| ours::copy(rig, &servers, number, group));
        copying.await.context("a copy into nothing")
    }
}

/// Whether a request puts a segment: the only objects of a copy whose names are numbers.
fn is_segment(method: &Method, target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    let (folder, name) = path.rsplit_once('/').unwrap_or_default();
    let is_number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    method == Method::PUT && folder.contains("/copies/") && is_number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_segments_are_dropped() {
        let of = |method: &Method, name: &str| {
            is_segment(
                method,
                &format!("/registries/registries/bench/{name}?x-id=PutObject"),
            )
        };
        assert!(of(
            &Method::PUT,
            "copies/0123456789abcdef0123456789abcdef/00000001"
        ));
        assert!(!of(
            &Method::GET,
            "copies/0123456789abcdef0123456789abcdef/00000001"
        ));
        assert!(!of(
            &Method::PUT,
            "copies/0123456789abcdef0123456789abcdef/manifest-0001"
        ));
        assert!(!of(&Method::PUT, "source/0001-000000000001"));
    }
}
