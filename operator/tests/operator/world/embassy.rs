//! The embassy's half of the world: its resources as the samples have them, its pods, and what they say.

use std::net::Ipv4Addr;
use std::path::Path;

use dataembassy_operator::settings::{Settings, Side};
use serde_json::{Value, json};

use super::process::Processes;
use super::{World, settings};

/// Where the custodian's pod is.
pub(crate) const CUSTODIAN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Where the gates' pods are.
pub(crate) const GATES: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 3), Ipv4Addr::new(127, 0, 0, 4)];
/// The key that the custodian signs with, as the sample names it.
pub(crate) const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIna4eWsf2rkersfzSH1sKhbJAaJ4huY1KC/eCtbuc+A";

fn sample(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/samples/embassy/{name}.yaml"));
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The sample's embassy.
pub(crate) fn standing() -> Value {
    let mut object = sample("luxembourg");
    object["metadata"]["uid"] = "uid-luxembourg".into();
    object["metadata"]["generation"] = 5.into();
    object
}

/// The sample's registry in custody.
pub(crate) fn custody(registry: &str) -> Value {
    let mut object = sample(registry);
    object["metadata"]["uid"] = format!("uid-{registry}").into();
    object["metadata"]["generation"] = 2.into();
    object["metadata"]["creationTimestamp"] = "2026-11-23T09:00:00Z".into();
    object
}

/// What a recovery point is of.
pub(crate) fn point_spec(sequence: i64) -> Value {
    json!({
        "registry": "population", "sequence": sequence, "digest": "a".repeat(64), "copyId": "b".repeat(32),
        "takenAt": "2026-11-23T10:00:00Z", "arrivedAt": "2026-11-23T10:00:30Z", "bytes": 1024, "size": "1.0 KiB"
    })
}

pub(crate) fn embassy_settings() -> Settings {
    Settings {
        side: Side::Embassy,
        ..settings()
    }
}

/// A pod that descends from a Deployment of ours, and the set between them.
pub(crate) fn pod(part: &str, number: usize, address: Ipv4Addr) -> [Value; 2] {
    let (object, set) = (format!("luxembourg-{part}"), format!("luxembourg-{part}-1"));
    let labels = json!({"app.kubernetes.io/instance": "luxembourg"});
    let owned = |kind: &str, name: &str, uid: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true}]);
    let set_object = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": set, "namespace": "dataembassy", "uid": format!("uid-{set}"), "labels": labels,
            "ownerReferences": owned("Deployment", &object, &format!("uid-{object}"))}
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("{set}-{number}"), "namespace": "dataembassy", "uid": format!("uid-{set}-{number}"), "labels": labels,
            "ownerReferences": owned("ReplicaSet", &set, &format!("uid-{set}"))},
        "status": {"phase": "Running", "podIP": address.to_string()}
    });
    [set_object, pod]
}

/// A custodian that is as it should be.
pub(crate) fn custodian_report() -> Value {
    json!({
        "process": "c", "version": "0.1.0", "startedAt": "2026-11-23T09:00:00Z", "signer": KEY,
        "loaded": {"generation": 5, "digest": "d"},
        "store": {"state": "True", "reason": "Reachable", "message": ""},
        "clockDifferenceSeconds": 0,
        "space": {"sufficient": {"state": "True", "reason": "SpaceForecast", "message": "it will be enough"}, "usedBytes": 1_073_741_824, "capacityBytes": 10_995_116_277_760_u64},
        "registries": [{"registry": "population", "lastSequence": 2, "usedBytes": 2048, "alarms": 0}]
    })
}

/// A gate that is as it should be.
pub(crate) fn gate_report() -> Value {
    json!({
        "process": "g", "version": "0.1.0", "startedAt": "2026-11-23T09:00:00Z",
        "loaded": {"generation": 5, "digest": "d"},
        "store": {"state": "True", "reason": "Reachable", "message": ""},
        "certificateEndsAt": "2036-01-01T00:00:00Z"
    })
}

/// A registry with copies of these numbers, the newest first, with which nothing is wrong.
pub(crate) fn registry_report(sequences: &[u64]) -> Value {
    let now = jiff::Timestamp::now();
    let copies: Vec<Value> = sequences
        .iter()
        .map(|sequence| {
            json!({
                "sequence": sequence, "digest": "a".repeat(64), "copyId": "b".repeat(32), "takenAt": "2026-11-23T10:00:00Z",
                "arrivedAt": "2026-11-23T10:00:30Z", "bytes": 1024, "intact": "True", "verifiedAt": "2026-11-23T11:00:00Z",
                "lockedUntil": "2026-12-23T10:00:30Z"
            })
        })
        .collect();
    let head = |digit: &str| json!({"sequence": sequences.first(), "digest": digit.repeat(64)});
    let mut report = json!({
        "registry": "population", "generation": 2, "process": "c", "term": 1,
        "ledger": {"state": "True", "reason": "LedgerIntact", "message": ""},
        "intact": {"state": "True", "reason": "Proven", "message": ""},
        "copies": copies,
        "verification": {"copies": sequences.len(), "verified": sequences.len(), "oldestProofAt": "2026-11-23T11:00:00Z", "bytesRead": 4096},
        "retention": {"kept": sequences.len()},
        "usedBytes": 2048
    });
    if let Some(newest) = sequences.first() {
        report["sourceHead"] = head("a");
        report["custodyHead"] = head("c");
        report["lastArrival"] = json!({"sequence": newest, "takenAt": now, "arrivedAt": now});
    }
    report
}

/// Pods and what they say.
pub(crate) struct Running {
    pub(crate) processes: Processes,
    pub(crate) port: u16,
}

impl Running {
    /// A custodian and two gates that are as they should be, with these registries' reports.
    pub(crate) async fn well(registries: &[(&str, Value)]) -> Self {
        let processes = Processes::default();
        processes.say(CUSTODIAN, "/status", custodian_report());
        for (registry, report) in registries {
            processes.say(CUSTODIAN, &format!("/registries/{registry}"), report.clone());
        }
        for gate in GATES {
            processes.say(gate, "/status", gate_report());
        }
        let port = processes.listen(&[CUSTODIAN, GATES[0], GATES[1]]).await;
        Self { processes, port }
    }

    /// Adds the pods to a world, and asks them at this port.
    pub(crate) fn join(&self, world: &mut World) {
        world.objects.extend(pod("custodian", 1, CUSTODIAN));
        for (number, gate) in GATES.into_iter().enumerate() {
            let [set, pod] = pod("gate", number, gate);
            if number == 0 {
                world.objects.push(set);
            }
            world.objects.push(pod);
        }
        world.settings = Some(Settings {
            status_port: self.port,
            ..embassy_settings()
        });
    }
}
