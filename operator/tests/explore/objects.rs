//! Resources as people write them.

use std::path::Path;
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::cluster::Place;
use super::resources;
use super::tally::Fault;
use super::world::World;

/// A sample of the documentation.
pub(crate) fn sample(path: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/samples/{path}.yaml"));
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Where a resource is.
pub(crate) fn place_of(object: &Value) -> Place {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    Place::new(
        &text(&object["kind"]),
        &text(&metadata["namespace"]),
        &text(&metadata["name"]),
    )
}

/// Somebody makes a resource.
pub(crate) fn make(world: &mut World, object: &Value) -> Place {
    let place = place_of(object);
    world.cluster.create(&place, object.clone()).unwrap();
    place
}

/// Somebody deletes a resource and makes it again under the same name.
pub(crate) fn make_again(world: &mut World, object: &Value) {
    let place = place_of(object);
    world.tell_story(|| format!("fault: {} {} is made again", place.kind, place.name));
    world.tally.count(Fault::MadeAgain);
    world.cluster.delete(&place, None).unwrap();
    make(world, object);
}

/// The UID of what is at a place.
pub(crate) fn uid(world: &World, place: &Place) -> Option<String> {
    Some(world.cluster.get(place)?["metadata"]["uid"].as_str()?.to_owned())
}

/// A condition of a resource: its status, its reason and the generation that it is of.
pub(crate) fn condition(object: &Value, type_: &str) -> (String, String, i64) {
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions.and_then(|all| all.iter().find(|condition| condition["type"] == type_));
    let found = found.unwrap_or(&Value::Null);
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    (
        text("status"),
        text("reason"),
        found["observedGeneration"].as_i64().unwrap_or_default(),
    )
}

/// An embassy as home sees it.
pub(crate) fn embassy() -> Value {
    json!({
        "apiVersion": "dataembassy.io/v1alpha1", "kind": "DataEmbassy", "metadata": {"name": "luxembourg"},
        "spec": resources::embassy_spec()
    })
}

/// The registry, as the embassy has accepted it.
pub(crate) fn custody() -> Value {
    static CUSTODY: LazyLock<Value> = LazyLock::new(|| sample("embassy/population"));
    CUSTODY.clone()
}

/// A mirror at home.
pub(crate) fn mirror() -> Value {
    json!({
        "apiVersion": "dataembassy.io/v1alpha1", "kind": "RegistryMirror",
        "metadata": {"name": "population", "namespace": "interior"},
        "spec": resources::mirror_spec()
    })
}

/// A restore at the embassy.
pub(crate) fn restore() -> Value {
    let mut spec = resources::restore_spec();
    // Longer than any clock here is ever off.
    spec["deadline"] = "9999d".into();
    json!({
        "apiVersion": "dataembassy.io/v1alpha1", "kind": "RegistryRestore",
        "metadata": {"name": "back", "namespace": "interior"},
        "spec": spec
    })
}

/// A drill at the embassy.
pub(crate) fn drill() -> Value {
    let mut spec = resources::drill_spec();
    spec["trigger"] = "first".into();
    json!({
        "apiVersion": "dataembassy.io/v1alpha1", "kind": "RegistryDrill",
        "metadata": {"name": "nightly", "namespace": "drills"},
        "spec": spec
    })
}
