//! The samples that the docs show are what the kinds take: no field that is not there, no rule broken, nothing that cannot be read.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should end"
)]

use std::path::{Path, PathBuf};

use dataembassy_crds::{
    DataEmbassy, EmbassyActivation, RegistryCustody, RegistryDrill, RegistryMirror, RegistryRestore, all,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::core::cel::Validator;
use serde_json::Value;

fn samples(folder: &str) -> Vec<(PathBuf, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs/samples")
        .join(folder);
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path, serde_saphyr::from_str(&text).unwrap())
        })
        .collect()
}

fn schema(kind: &str) -> JSONSchemaProps {
    let definition = all()
        .into_iter()
        .find(|definition| definition.spec.names.kind == kind)
        .unwrap_or_else(|| panic!("no kind {kind}"));
    let version = definition.spec.versions.into_iter().next().unwrap();
    version.schema.unwrap().open_api_v3_schema.unwrap()
}

/// The fields of `object` that `schema` does not have.
fn unknown(path: &str, object: &Value, schema: &JSONSchemaProps) -> Vec<String> {
    match (object, &schema.properties, &schema.items) {
        (Value::Object(fields), Some(known), _) => fields
            .iter()
            .flat_map(|(name, value)| {
                let path = format!("{path}.{name}");
                known
                    .get(name)
                    .map_or_else(|| vec![path.clone()], |schema| unknown(&path, value, schema))
            })
            .collect(),
        (Value::Array(items), _, Some(JSONSchemaPropsOrArray::Schema(schema))) => items
            .iter()
            .flat_map(|item| unknown(path, item, schema))
            .collect(),
        _ => Vec::new(),
    }
}

#[test]
fn every_sample_is_let_in_and_has_no_field_that_its_kind_lacks() {
    let mut kinds = Vec::new();
    for (path, sample) in ["", "embassy", "empty-embassy", "restores", "drills", "activation"]
        .into_iter()
        .flat_map(samples)
    {
        if sample["apiVersion"] != "dataembassy.io/v1alpha1" {
            continue;
        }
        let kind = sample["kind"].as_str().unwrap();
        let schema = schema(kind);
        let spec = &schema.properties.as_ref().unwrap()["spec"];
        assert_eq!(
            unknown("spec", &sample["spec"], spec),
            Vec::<String>::new(),
            "{}",
            path.display()
        );
        Validator::new()
            .validate(&serde_json::to_value(&schema).unwrap(), &sample, None)
            .unwrap_or_else(|errors| panic!("{}: {errors:?}", path.display()));
        match kind {
            "DataEmbassy" => drop(serde_json::from_value::<DataEmbassy>(sample.clone()).unwrap()),
            "RegistryCustody" => drop(serde_json::from_value::<RegistryCustody>(sample.clone()).unwrap()),
            "RegistryRestore" => drop(serde_json::from_value::<RegistryRestore>(sample.clone()).unwrap()),
            "RegistryDrill" => drop(serde_json::from_value::<RegistryDrill>(sample.clone()).unwrap()),
            "EmbassyActivation" => drop(serde_json::from_value::<EmbassyActivation>(sample.clone()).unwrap()),
            "RegistryMirror" => drop(serde_json::from_value::<RegistryMirror>(sample.clone()).unwrap()),
            other => panic!("{}: a sample of kind {other}", path.display()),
        }
        kinds.push(kind.to_owned());
    }
    for (kind, count) in [
        ("DataEmbassy", 2),
        ("RegistryMirror", 4),
        ("RegistryCustody", 4),
        ("RegistryRestore", 1),
        ("RegistryDrill", 1),
        ("EmbassyActivation", 2),
    ] {
        assert_eq!(
            kinds.iter().filter(|found| *found == kind).count(),
            count,
            "{kind}"
        );
    }
}

#[test]
fn a_field_that_the_kind_lacks_is_found_wherever_it_is() {
    let (_, mut sample) = samples("embassy")
        .into_iter()
        .find(|(_, sample)| sample["kind"] == "RegistryCustody")
        .unwrap();
    sample["spec"]["signers"][0]["sign"] = true.into();
    sample["spec"]["retension"] = Value::Null;
    let schema = schema("RegistryCustody");
    let found = unknown(
        "spec",
        &sample["spec"],
        &schema.properties.as_ref().unwrap()["spec"],
    );
    assert_eq!(found, ["spec.retension", "spec.signers.sign"]);
}
