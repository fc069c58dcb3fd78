//! Home is lost, and the registries answer from the embassy; then home's ghost comes back, and may not commit.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use dataembassy_crds::{
    ActivatedState, ActivationPhase, ConditionStatus, EmbassyActivationStatus, RegistryCustodySpec,
    RegistryMirror,
};
use futures::future::try_join_all;

use super::{PATIENCE, Stage, rows};
use crate::{
    product::{
        Product,
        activation::{self, Activating, NAMESPACE, Wanted},
        custody::Custody,
        mirror::Mirror,
        registry::ministry,
    },
    progress::Progress,
    registries::{self, Registry},
    truth::{self, Scope, Truth},
};

/// The activation's name.
const NAME: &str = "evacuation";
/// The longest that home's ghost may take to be up and be told.
const GHOST: Duration = Duration::from_mins(5);
/// Rows that home writes after its last copy, and loses.
const LOST_ROWS: u32 = 7;

/// What each registry's last committed copy holds. Then home writes rows that no copy will ever see.
pub(super) async fn remember(
    product: &Product,
    stages: &[Stage],
    copied: &[RegistryMirror],
    progress: &Progress,
) -> Result<BTreeMap<&'static str, Truth>> {
    let step = progress.step("the embassy reads each of them back");
    let mut truths = BTreeMap::new();
    for (stage, mirror) in stages.iter().zip(copied) {
        let id = stage.registry.id();
        let copy = mirror
            .status
            .as_ref()
            .and_then(|status| status.last_copy.as_ref());
        let sequence = copy.context("the mirror shows no copy")?.sequence;
        let points = Custody::of(product, id);
        crate::command::wait_for(
            &format!("copy {sequence} of {id} to be intact"),
            PATIENCE,
            || async {
                let newest = points.newest().await?;
                Ok((newest.sequence >= sequence && newest.intact).then_some(()))
            },
        )
        .await?;
        let client = stage.database.connect(id).await?;
        truths.insert(id, Truth::of(&client).await?);
        registries::write_more(&client, stage.registry, LOST_ROWS).await?;
    }
    step.done();
    progress.line(&format!(
        "  {LOST_ROWS} more rows are written into each registry; no copy will ever see them"
    ));
    Ok(truths)
}

pub(super) async fn destroy(product: &Product, progress: &Progress) -> Result<()> {
    let step = progress.step("the end of home");
    product.bed.destroy_home().await?;
    step.done();
    progress
        .line("  nothing is left of it but the copies in the embassy's store, and the keys that people hold");
    Ok(())
}

/// Asks for the activation, has it signed, and waits until all registries are served.
pub(super) async fn activate(product: &Product, progress: &Progress) -> Result<EmbassyActivationStatus> {
    let registries = [
        Wanted::sample(Registry::Population),
        Wanted::sample(Registry::Health).after(&["population"]),
        Wanted::sample(Registry::Business).after(&["population"]),
    ];
    let activating = Activating::begin(product, NAME, "Activate", &registries, |_| ()).await?;
    let step = progress.step("the statement that approvers read");
    let statement = activating.statement().await?;
    step.done();
    for line in statement.lines() {
        progress.line(&format!("  | {line}"));
    }
    let step = progress.step("one of three signs: that is not enough");
    activating.approve_by(product, 1).await?;
    let said = activating
        .condition("Approved", ConditionStatus::False, "AwaitingApproval", PATIENCE)
        .await?;
    step.done();
    progress.line(&format!("  {said}"));
    let step = progress
        .step("a second one signs: home is fenced, and the registries are restored, questioned, and served");
    activating.approve_by(product, 2).await?;
    let status = activating.phase(ActivationPhase::Serving, PATIENCE).await?;
    step.done();
    let shown = product
        .bed
        .embassy()
        .kubectl([
            "get",
            "embassyactivations,registryrestores,services",
            "--namespace",
            NAMESPACE,
        ])
        .await?;
    progress.line(&format!(
        "  embassy $ kubectl get embassyactivations,registryrestores,services -n {NAMESPACE}\n{shown}"
    ));
    for state in &status.registries {
        let objectives = Custody::of(product, &state.id).get().await?.spec;
        progress.line(&told(state, &objectives)?);
        ensure!(
            state.objectives_met == Some(true),
            "{} did not meet the objectives of its RegistryCustody",
            state.id
        );
    }
    Ok(status)
}

/// What an activated registry achieved, and how long each step took.
fn told(state: &ActivatedState, objectives: &RegistryCustodySpec) -> Result<String> {
    let seconds = |value: Option<i64>| value.map_or_else(|| "?".to_owned(), |value| format!("{value} s"));
    let mut steps = Vec::new();
    // The custodian signs for it afterwards: nobody waits for that to be served.
    for step in state.steps.iter().filter(|step| step.name != "report") {
        let ended = step
            .ended_at
            .as_ref()
            .with_context(|| format!("{} has not ended", step.name))?;
        let (began, ended): (jiff::Timestamp, jiff::Timestamp) = (step.started_at.parse()?, ended.parse()?);
        steps.push(format!(
            "{} {} s",
            step.name,
            ended.duration_since(began).as_secs()
        ));
    }
    Ok(format!(
        "  {}: copy {}, {} lost (RPO, at most {}), {} from the last signature until it was served (RTO, at most {}), objectives {}; {}",
        state.id,
        state.copy.as_ref().map(|copy| copy.sequence).unwrap_or_default(),
        seconds(state.rpo_seconds),
        objectives.rpo,
        seconds(state.rto_seconds),
        objectives.rto.as_deref().unwrap_or("any"),
        match state.objectives_met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not judged",
        },
        steps.join(", ")
    ))
}

/// The registries that answer hold what their last committed copies hold.
pub(super) async fn compare(
    product: &Product,
    active: &EmbassyActivationStatus,
    last: &BTreeMap<&'static str, Truth>,
    progress: &Progress,
) -> Result<()> {
    for state in &active.registries {
        let step = progress.step(format!("asking {} through its Service, over TLS", state.id));
        let source = last.get(state.id.as_str()).context("it is none of ours")?;
        let client = activation::connect(product, state).await?;
        let served = Truth::of(&client).await?;
        let differences = truth::compare(source, &served, Scope::WHOLE);
        step.done();
        for difference in differences.iter().take(10) {
            progress.line(&format!("  {difference}"));
        }
        ensure!(
            differences.is_empty(),
            "{} is not what its last committed copy was",
            state.id
        );
        progress.line(&format!(
            "  {}: {} rows, equal to the last committed copy, roles and settings included",
            state.id,
            rows(&served)
        ));
    }
    Ok(())
}

/// Home's ghost: its sidecars wake on an old disk, and want to mirror.
pub(super) async fn come_back(product: &Product, stages: &[Stage], progress: &Progress) -> Result<()> {
    let home = product.bed.home_comes_back(progress).await?;
    let step = progress.step("its sidecars are told by the ledger");
    let said = try_join_all(stages.iter().map(|stage| {
        let mirror = Mirror::of(&home, ministry(stage.registry), stage.registry.id());
        async move {
            mirror.trigger("home-is-back").await?;
            let said = mirror
                .condition("Fenced", ConditionStatus::True, Some("Fenced"), GHOST)
                .await?;
            anyhow::Ok((stage.registry.id(), said))
        }
    }))
    .await?;
    step.done();
    for (id, said) in said {
        ensure!(said.contains(NAME), "{id} does not name the order: {said}");
        progress.line(&format!("  Fenced of {id} is True: {said}"));
    }
    Ok(())
}
