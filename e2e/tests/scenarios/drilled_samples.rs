//! The sample registries, each drilled as it is: LATIN1, large objects, two thousand tables, partitions, policies for roles, and an older server.

use std::time::Duration;

use anyhow::{Result, ensure};
use dataembassy_crds::DrillOutcome;
use dataembassy_e2e::{
    product::drill::{self, Drilling},
    registries::{Amount, Registry},
};
use serde_json::{Value, json};

use crate::drills::nothing_left;
use crate::world::{World, together};

/// A registry of two thousand tables, drilled on a machine that is busy with other things.
const DRILLED: Duration = Duration::from_mins(15);

#[test]
fn the_population_passes_a_drill_with_its_policies_for_roles() {
    together(|world| passes(world, Registry::Population));
}

#[test]
fn the_health_registry_of_an_older_server_passes_a_drill() {
    together(|world| passes(world, Registry::Health));
}

#[test]
fn the_business_registry_in_latin1_with_two_thousand_tables_and_large_objects_passes_a_drill() {
    together(|world| passes(world, Registry::Business));
}

/// Everything that the sample can hold but for its single huge values.
fn amount() -> Amount {
    Amount {
        small_tables: 2_000,
        ..Amount::of_scale(0.1)
    }
}

/// What is asked of each: rows are there, and what is hard about it has come along.
fn questions(sample: Registry) -> Value {
    match sample {
        Registry::Population => json!([
            {"name": "persons", "sql": "SELECT count(*) FROM population.persons", "within": {"atLeast": "1000"}},
            {"name": "policies", "sql": "SELECT count(*) FROM pg_policies WHERE schemaname = 'population'", "within": {"atLeast": "3"}},
            {"name": "forced", "sql": "SELECT relforcerowsecurity FROM pg_class WHERE oid = 'population.persons'::regclass", "equals": "t"},
        ]),
        Registry::Health => json!([
            {"name": "patients", "sql": "SELECT count(*) FROM health.patients", "within": {"atLeast": "50"}},
            {"name": "partitions", "sql": "SELECT count(*) FROM pg_inherits WHERE inhparent = 'health.encounters'::regclass", "within": {"atLeast": "4"}},
        ]),
        Registry::Business => json!([
            {"name": "companies", "sql": "SELECT count(*) FROM business.companies", "within": {"atLeast": "50"}},
            {"name": "tables", "sql": "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
                "within": {"atLeast": "2000"}},
            {"name": "large-objects", "sql": "SELECT count(*) FROM pg_largeobject_metadata", "within": {"atLeast": "1"}},
            {"name": "encoding", "sql": "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()",
                "equals": "LATIN1"},
        ]),
    }
}

async fn passes(world: &'static World, sample: Registry) -> Result<()> {
    let ministry = world.ministry(&format!("drilled-{}", sample.id())).await?;
    let stem = format!("whole-{}", sample.id());
    let subject = ministry
        .registry(&stem, sample, sample.home_major(), &amount())
        .await?;
    subject.apply(|_| ()).await?;
    subject.mirror.copied(1, DRILLED).await?;
    let id = subject.id.as_str();
    let drilling = Drilling::begin(&world.product, id, |spec| {
        spec["assertions"] = questions(sample);
        spec["schedule"]["deadline"] = "40m".into();
        spec["rto"] = "30m".into();
        spec["server"]["volumeSize"] = "4Gi".into();
    })
    .await?;
    let ended = drilling.answered("first", DRILLED).await?;
    ensure!(ended.result == DrillOutcome::Passed, "{ended:?}");
    let signed = drill::signed(&world.product, id, &ended).await?;
    ensure!(
        signed.entry.passed,
        "what passed was signed as failed: {:?}",
        signed.entry
    );
    let answers = signed.json["result"]["assertions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let asked = questions(sample).as_array().map_or(0, Vec::len);
    ensure!(
        answers.len() > asked && answers.iter().all(|answer| answer["passed"] == true),
        "{answers:#?}"
    );
    nothing_left(world, id).await?;
    drilling.delete().await?;
    subject.delete().await
}
