//! Judges how an embassy's custodian and gate are to run.

use dataembassy_contract::custodian::{CheckConfig, VerificationConfig};
use dataembassy_contract::{Duration, Reason};
use dataembassy_crds::{Custodian, DataEmbassySpec};

use crate::embassy::validate::{Refusal, duration, quantity};

/// What is made is named after the embassy, and a Service's name is a DNS label that begins with a letter.
const LONGEST_NAME: usize = 40;
/// Nothing is swept that a run in progress could still name: the default of a mirror's deadline.
const SHORTEST_SWEEP: u64 = 60 * 60;

/// The embassy's standing half, judged and found valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// How copies are read back.
    pub verification: VerificationConfig,
    /// What the store can hold.
    pub capacity_bytes: Option<u64>,
    /// How old an object must be that no entry names before it is swept.
    pub sweep_after: Duration,
    /// How the store is probed.
    pub check: Option<CheckConfig>,
    /// The namespace and the port of the store's own pods.
    pub store_pods: Option<(String, u16)>,
    /// The port of the gate's Service.
    pub service_port: u16,
    /// Settings of the pods, and names of Secrets.
    pub block: Custodian,
}

/// Judges the block of the embassy called `name`; `None` where there is none.
pub fn judge(name: &str, spec: &DataEmbassySpec) -> Result<Option<Standing>, Refusal> {
    let Some(block) = &spec.custodian else {
        return Ok(None);
    };
    if name.len() > LONGEST_NAME || !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        let message = "with spec.custodian, metadata.name must begin with a letter and have at most 40 characters: objects are \
                       named after it";
        return Err(Refusal::new(Reason::InvalidName, message));
    }
    let sweep_after = duration("spec.custodian.sweepAfter", &block.sweep_after)?;
    if sweep_after.as_secs() < SHORTEST_SWEEP {
        let message = "spec.custodian.sweepAfter must be at least 1h, and longer than schedule.deadline of every mirror at home: \
                       what a run in progress has put would be swept under it";
        return Err(Refusal::new(Reason::InvalidDuration, message));
    }
    let verification = &block.verification;
    Ok(Some(Standing {
        verification: VerificationConfig {
            period: duration("spec.custodian.verification.period", &verification.period)?,
            bytes_per_second: quantity("spec.custodian.verification.rate", &verification.rate)?,
        },
        capacity_bytes: block
            .capacity
            .as_deref()
            .map(|capacity| quantity("spec.custodian.capacity", capacity))
            .transpose()?,
        sweep_after,
        check: block
            .check
            .as_ref()
            .map(|check| duration("spec.custodian.check.interval", &check.interval))
            .transpose()?
            .map(|interval| CheckConfig { interval }),
        store_pods: block
            .store_pods
            .as_ref()
            .map(|pods| Ok((pods.namespace.clone(), port("storePods.port", pods.port)?)))
            .transpose()?,
        service_port: port("gate.service.port", block.gate.service.port)?,
        block: block.clone(),
    }))
}

fn port(field: &str, port: i32) -> Result<u16, Refusal> {
    u16::try_from(port).ok().filter(|port| *port > 0).ok_or_else(|| {
        Refusal::new(
            Reason::InvalidName,
            format!("spec.custodian.{field} must be 1 to 65535"),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;

    /// The reason for which the sample with this in its block is refused.
    fn refused(name: &str, field: &str, value: Value) -> Option<Reason> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/samples/embassy/luxembourg.yaml");
        let mut embassy: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let (parent, field) = field.rsplit_once('/').unwrap();
        let block = format!("/spec/custodian{parent}");
        embassy.pointer_mut(&block).unwrap()[field] = value;
        let spec = serde_json::from_value(embassy["spec"].clone()).unwrap();
        judge(name, &spec).err().map(|refusal| refusal.reason)
    }

    #[test]
    fn what_runs_is_named_after_the_embassy_and_sweeps_nothing_that_a_run_could_still_name() {
        let named = |name: &str| refused(name, "/sweepAfter", json!("1h"));
        assert_eq!(named(&"l".repeat(40)), None);
        for name in ["1uxembourg", "-luxembourg", &"l".repeat(41)] {
            assert_eq!(named(name), Some(Reason::InvalidName), "{name}");
        }
        let short = refused("luxembourg", "/sweepAfter", json!("59m"));
        assert_eq!(short, Some(Reason::InvalidDuration));
        for field in ["/storePods/port", "/gate/service/port"] {
            for (port, fits) in [(0, false), (1, true), (65_535, true), (65_536, false)] {
                let found = refused("luxembourg", field, json!(port));
                assert_eq!(found.is_none(), fits, "{field} {port}");
            }
        }
    }
}
