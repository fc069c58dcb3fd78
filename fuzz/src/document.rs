//! Documents between operator and sidecar: configurations, as a sidecar finds them in a file, and reports, as an operator gets them from a
//! pod that may be anybody's. Whatever is read is written and read the same again.
#![no_main]

use std::fmt::Debug;

use dataembassy_contract::activation::ActivationResult;
use dataembassy_contract::config::MirrorConfig;
use dataembassy_contract::custodian::{CustodianConfig, CustodianReport, RegistryReport};
use dataembassy_contract::drill::{DrillConfig, DrillReport, DrillResult, LastWords};
use dataembassy_contract::gate::{GateConfig, GateReport};
use dataembassy_contract::report::Report;
use dataembassy_contract::restore::{RestoreConfig, RestoreReport, RestoreResult};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

fuzz_target!(|bytes: &[u8]| {
    again::<MirrorConfig>(bytes);
    again::<CustodianConfig>(bytes);
    again::<GateConfig>(bytes);
    again::<RestoreConfig>(bytes);
    again::<DrillConfig>(bytes);
    again::<Report>(bytes);
    again::<CustodianReport>(bytes);
    again::<RegistryReport>(bytes);
    again::<GateReport>(bytes);
    again::<RestoreReport>(bytes);
    again::<RestoreResult>(bytes);
    again::<DrillReport>(bytes);
    again::<DrillResult>(bytes);
    again::<LastWords>(bytes);
    again::<ActivationResult>(bytes);
});

fn again<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(bytes) else { return };
    let written = serde_json::to_string(&read).expect("what was read can be written");
    assert_eq!(serde_json::from_str::<T>(&written).expect("what was written can be read"), read);
}
