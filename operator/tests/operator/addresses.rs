//! Fields of resources that say where something is, and where none of them may lead. A new field of text is looked at here before it is
//! anything else.

use dataembassy_crds::all;
use serde_json::Value;

/// Where no address may lead, and what is told about it.
pub(crate) const NOWHERE: [(&str, &str); 20] = [
    ("169.254.169.254", "link-local"),
    ("169.254.7.7", "link-local"),
    ("fe80::1", "link-local"),
    ("127.0.0.1", "loopback"),
    ("127.9.9.9", "loopback"),
    ("::1", "loopback"),
    ("localhost", "loopback"),
    ("LocalHost.", "loopback"),
    ("db.localhost", "loopback"),
    ("100.100.100.200", "metadata"),
    ("168.63.129.16", "metadata"),
    ("fd00:ec2::254", "metadata"),
    ("::ffff:169.254.169.254", "link-local"),
    ("::ffff:127.0.0.1", "loopback"),
    ("::ffff:100.100.100.200", "metadata"),
    ("64:ff9b::a9fe:a9fe", "link-local"),
    ("::a9fe:a9fe", "obsolete"),
    ("2002:a9fe:a9fe::1", "6to4"),
    ("0.0.0.0", "no address"),
    ("ff02::1", "not the address of one machine"),
];

/// Fields that say where something is. Each is tried with all of [`NOWHERE`]: the store's and the mirror's in `refusals`, the restore's in
/// `restore`, the activation's in `activation::approval`. The two lists narrow the store's, and let nothing of it through.
const ADDRESSES: [&str; 6] = [
    "DataEmbassy.store.endpoint",
    "DataEmbassy.sovereignty.allowedHosts",
    "DataEmbassy.sovereignty.allowedNetworks",
    "EmbassyActivation.registries.target.external.host",
    "RegistryMirror.source.postgresql.host",
    "RegistryRestore.target.host",
];

/// Names of fields of text by which nobody of ours finds anybody: words, amounts, times, keys, names of objects of this cluster. An image is
/// fetched by the node, from where its own rules let it.
const NO_ADDRESSES: [&str; 67] = [
    "adoptRelease",
    "allowedExtensions",
    "annotations",
    "arrivedAt",
    "atLeast",
    "atMost",
    "atOrBefore",
    "bucket",
    "caBundle",
    "capacity",
    "close",
    "copy",
    "copyId",
    "cpu",
    "cron",
    "database",
    "deadline",
    "dependsOn",
    "digest",
    "equals",
    "every",
    "fence",
    "homeSigner",
    "id",
    "image",
    "interval",
    "keepWithin",
    "key",
    "lockOnArrival",
    "maxSnapshotAge",
    "memory",
    "name",
    "namespace",
    "nodeSelector",
    "notOlderThan",
    "owner",
    "period",
    "priorityClassName",
    "publicKey",
    "quota",
    "rate",
    "reason",
    "region",
    "registry",
    "release",
    "restore",
    "rpo",
    "rto",
    "schemaDigest",
    "scratchSize",
    "serve",
    "service",
    "signature",
    "size",
    "sql",
    "storage",
    "storageClass",
    "sweepAfter",
    "systemIdentifier",
    "takenAt",
    "timeZone",
    "trigger",
    "uid",
    "validUntil",
    "value",
    "volumeSize",
    "yieldToDDLAfter",
];

/// Every field of text below a spec, as the names that lead to it; what is in a list or a map has the list's or the map's.
fn texts(at: &str, schema: &Value, found: &mut Vec<String>) {
    if schema["type"] == "string" && schema["enum"].is_null() {
        found.push(at.to_owned());
    }
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        texts(&format!("{at}.{name}"), child, found);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            texts(at, &schema[inner], found);
        }
    }
}

#[test]
fn every_field_of_text_is_known_for_an_address_or_for_none() {
    let mut found = Vec::new();
    for definition in all() {
        let definition = serde_json::to_value(&definition).unwrap();
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        texts(kind, &schema["properties"]["spec"], &mut found);
    }
    let name = |field: &str| field.rsplit('.').next().unwrap_or_default().to_owned();
    let unknown: Vec<&String> = found
        .iter()
        .filter(|field| !ADDRESSES.contains(&field.as_str()) && !NO_ADDRESSES.contains(&name(field).as_str()))
        .collect();
    assert!(
        unknown.is_empty(),
        "may these lead somewhere? Try NOWHERE on them if so, or say that they do not: {unknown:?}"
    );
    for field in ADDRESSES {
        assert!(found.iter().any(|other| other == field), "{field} is gone");
        assert!(!NO_ADDRESSES.contains(&name(field).as_str()), "{field} is both");
    }
    for other in NO_ADDRESSES {
        assert!(found.iter().any(|field| name(field) == other), "{other} is gone");
    }
}
