//! After all the others: no password, key, identity or row has got to where somebody else might read it.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use dataembassy_crds::{ConditionStatus, DrillOutcome, RestorePhase};
use dataembassy_e2e::{
    bed::disk::Disk,
    product::{
        canaries::{self, Canaries},
        drill::Drilling,
        restore,
    },
};
use serde_json::json;

use crate::world::{MINUTE, PATIENCE, Subject, World, alone};

#[test]
fn nothing_secret_is_in_a_process_a_resource_an_event_a_metric_a_log_a_file_or_an_object() {
    alone(without_leaks);
}

async fn without_leaks(world: &'static World) -> Result<()> {
    let row = format!("canary-row-{}", hex::encode(rand::random::<[u8; 12]>()));
    let subject = told_everywhere(world, &row).await?;
    let product = &world.product;
    let canaries = Canaries::of(product, &[row]).await?;
    let disk = Disk::of(&product.bed).await?;
    let mut leaks: BTreeSet<_> = canaries::processes()?
        .iter()
        .flat_map(|(place, text)| canaries.in_text(place, text))
        .collect();
    let mut folders = vec![disk.folder().to_owned()];
    for cluster in [product.bed.home(), product.bed.embassy()] {
        let name = cluster.name();
        let resources = canaries::resources(cluster).await?;
        ensure!(
            resources.contains(&subject.id),
            "the resources of {name} were not read"
        );
        leaks.extend(canaries.in_text(&format!("resources of {name}"), resources.as_bytes()));
        let metrics = canaries::metrics(cluster).await?;
        ensure!(!metrics.is_empty(), "{name} has no metrics");
        for (place, text) in metrics {
            leaks.extend(canaries.in_text(&place, text.as_bytes()));
        }
        folders.extend(canaries::folders(cluster)?);
    }
    leaks.extend(canaries.in_files(&folders).await?);
    ensure!(
        leaks.is_empty(),
        "{} of {} secrets can be read: {leaks:#?}",
        leaks.len(),
        canaries.count()
    );
    subject.delete().await
}

/// A registry whose row comes by everything that may speak: a copy, a drill, and a restore in which the server quotes it in an error.
async fn told_everywhere(world: &'static World, row: &str) -> Result<Subject> {
    let ministry = world.ministry("canary").await?;
    let subject = ministry.small_registry("canary").await?;
    let again = format!("{}-again", subject.id);
    // Unique at the source, and not where it is restored: the server then names the two rows.
    let schema = format!(
        "CREATE FUNCTION public.key(id integer, name text) RETURNS text IMMUTABLE LANGUAGE sql AS
             $$ SELECT CASE WHEN current_database() = '{again}' THEN name ELSE id || name END $$;
         UPDATE public.person SET name = '{row}';
         CREATE UNIQUE INDEX person_key ON public.person (public.key(id, name));"
    );
    subject.connect().await?.batch_execute(&schema).await?;
    subject.mirrored().await?;

    let drilling = Drilling::begin(&world.product, &subject.id, |spec| {
        spec["assertions"] = json!([
            {"name": "named", "sql": "SELECT count(DISTINCT name) FROM public.person", "equals": "1"},
        ]);
    })
    .await?;
    let ended = drilling.answered("first", PATIENCE).await?;
    ensure!(ended.result == DrillOutcome::Passed, "{ended:?}");
    drilling.delete().await?;

    let signer = subject.mirror.signer().await?;
    let restoring = restore::begin(&world.product, &subject.wanted(&signer, &again), |_| ()).await?;
    let ended = restoring.ended(PATIENCE).await?;
    let phase = ended.status.as_ref().map(|status| status.phase);
    ensure!(phase == Some(RestorePhase::Failed), "{phase:?}");
    let said = restoring
        .condition("Stalled", ConditionStatus::True, "RestoreFailed", MINUTE)
        .await?;
    ensure!(
        said.contains("person_key"),
        "the message must name what failed: {said}"
    );
    Ok(subject)
}
