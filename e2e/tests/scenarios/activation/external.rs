//! A registry that is served from a database that somebody else keeps.

use anyhow::{Result, ensure};
use dataembassy_crds::{ActivationPhase, RegistryPhase};
use dataembassy_e2e::{
    bed::Options,
    cluster::Site,
    product::{
        activation::{Activating, NAMESPACE, Wanted},
        logs::{self, About},
    },
    registries,
};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::json;

use super::{ACTIVATED, left};
use crate::world::{World, persons, together};

/// A server that the people abroad keep themselves.
const SERVER: &str = "kept-abroad";

#[test]
fn a_registry_is_restored_into_and_served_from_a_database_that_somebody_else_keeps() {
    together(external);
}

async fn external(world: &'static World) -> Result<()> {
    let product = &world.product;
    let subject = world.mirrored("elsewhere").await?;
    let mirrored = Timestamp::now();
    let id = subject.id.as_str();
    let server = product
        .bed
        .postgresql(Site::Embassy, NAMESPACE, SERVER, 17, &Options::default())
        .await?;
    let admin = server.connect("postgres").await?;
    registries::create_database(&admin, subject.sample, id).await?;
    let mut wanted = Wanted::of(id);
    wanted.questions = vec![("three-persons", "SELECT count(*) FROM public.person", "3")];
    let name = world.unique("elsewhere");
    let activating = Activating::begin(product, &name, "Activate", &[wanted], |spec| {
        spec["registries"][0]["target"] = json!({"external": {
            "host": server.host(),
            "database": id,
            "tls": {"caRef": {"name": format!("{SERVER}-ca")}},
            "credentialsRef": {"name": format!("{SERVER}-superuser")},
        }});
    })
    .await?;
    let statement = activating.statement().await?;
    ensure!(
        statement.contains(server.host()),
        "whoever signs must read where the registry goes: {statement}"
    );
    activating.approve_by(product, 2).await?;
    let status = activating.phase(ActivationPhase::Serving, ACTIVATED).await?;
    let state = &status.registries[0];
    ensure!(
        state.phase == RegistryPhase::Serving && state.fence.is_some() && state.rto_seconds.is_some(),
        "{state:?}"
    );
    let rows = persons(&server.connect(id).await?).await?;
    ensure!(rows == 3, "{rows} rows are served");
    let made = left::<StatefulSet>(world, &name, id).await?;
    ensure!(made.is_empty(), "a database was made beside it: {made:?}");
    // An activation is never carried out in silence.
    let about = About {
        names: &[id, &name],
        expected: &["a term was opened by order"],
        ..About::default()
    };
    logs::assert_calm(product, mirrored, &about).await?;
    activating.delete().await?;
    subject.delete().await
}
