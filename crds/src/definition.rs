//! The definitions as they are installed: what the derive gives, tidied.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use crate::{
    DataEmbassy, EmbassyActivation, RecoveryPoint, RegistryCustody, RegistryDrill, RegistryMirror,
    RegistryRestore,
};

/// Every kind's definition, in alphabetical order.
///
/// The derived schemas are tidied in two ways. `nullable` goes: without it the API server drops an explicit null as if it had not been
/// written, with it a null counts as a value and slips through `has()`. Line breaks inside a paragraph of a description go too:
/// they are those of this source.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    [
        DataEmbassy::crd(),
        EmbassyActivation::crd(),
        RecoveryPoint::crd(),
        RegistryCustody::crd(),
        RegistryDrill::crd(),
        RegistryMirror::crd(),
        RegistryRestore::crd(),
    ]
    .into_iter()
    .map(tidied)
    .collect()
}

fn tidied(definition: CustomResourceDefinition) -> CustomResourceDefinition {
    let tidy = |definition: &CustomResourceDefinition| {
        let mut value = serde_json::to_value(definition)?;
        tidy_schema(&mut value);
        serde_json::from_value(value)
    };
    // Cannot fail: the value came from the same type. The lint test would see an untidied definition.
    tidy(&definition).unwrap_or(definition)
}

fn tidy_schema(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if fields.get("nullable").is_some_and(Value::is_boolean) {
                fields.remove("nullable");
            }
            if let Some(Value::String(text)) = fields.get_mut("description") {
                let paragraphs: Vec<String> = text
                    .split("\n\n")
                    .map(|paragraph| paragraph.replace('\n', " "))
                    .collect();
                *text = paragraphs.join("\n\n");
            }
            fields.values_mut().for_each(tidy_schema);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy_schema),
        _ => {}
    }
}
