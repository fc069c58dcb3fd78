//! Keys, times and amounts: reports in the resource's words, bounded. Silence takes nothing back.

use dataembassy_contract::custodian::{DoorsReport, SpaceReport};
use dataembassy_crds::{DataEmbassyStatus, Space, StoreDoors};

use super::View;
use crate::condition::rfc3339;
use crate::size::{has_moved, size};

/// Clocks jitter by about this many seconds from one look to the next.
const CLOCK_JITTER: i64 = 2;
/// The schema's bound.
const MAX_CLOCK_DIFFERENCE: i64 = 4_000_000_000;

/// What is known whatever the resource says.
pub(super) fn facts(view: &View<'_>) -> DataEmbassyStatus {
    let before = view.before;
    let certificates = view
        .found
        .sight
        .reports()
        .filter_map(|report| report.certificate_ends_at)
        .min();
    let mut status = DataEmbassyStatus {
        observed_generation: None,
        conditions: Vec::new(),
        certificate_ends_at: certificates
            .map(rfc3339)
            .or_else(|| before.certificate_ends_at.clone()),
        ..before.clone()
    };
    let Some(report) = view.report else {
        return status;
    };
    status.custodian_key = report.signer.clone().or(status.custodian_key);
    status.clock_difference_seconds = report
        .clock_difference_seconds
        .map(|now| clock(before.clock_difference_seconds, now));
    status.space = Some(space(before.space.as_ref(), &report.space));
    status.store_doors = report.doors.as_ref().map(doors);
    status.unknown_registries.clone_from(&report.unknown_registries);
    status
}

fn clock(before: Option<i64>, now: i64) -> i64 {
    let now = now.clamp(-MAX_CLOCK_DIFFERENCE, MAX_CLOCK_DIFFERENCE);
    match before {
        Some(before) if before.abs_diff(now) <= CLOCK_JITTER.unsigned_abs() => before,
        _ => now,
    }
}

fn space(before: Option<&Space>, report: &SpaceReport) -> Space {
    let used = i64::try_from(report.used_bytes).unwrap_or(i64::MAX);
    let kept = before.map(|before| before.used_bytes).filter(|before| {
        u64::try_from(*before).is_ok_and(|before| !has_moved(before, report.used_bytes, before))
    });
    let used_bytes = kept.unwrap_or(used);
    Space {
        used_bytes,
        used: size(u64::try_from(used_bytes).unwrap_or_default()),
        capacity_bytes: report
            .capacity_bytes
            .map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        full_on: report
            .full_at
            .map(|at| at.to_zoned(jiff::tz::TimeZone::UTC).date().to_string()),
    }
}

fn doors(report: &DoorsReport) -> StoreDoors {
    StoreDoors {
        checked_at: rfc3339(report.checked_at),
        open: report.open.clone(),
        tried: i32::try_from(report.tried).unwrap_or(i32::MAX),
        fault: report.fault.as_ref().map(|fault| fault.message.clone()),
    }
}
