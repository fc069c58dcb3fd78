//! `cargo e2e demo`: the main job, from nothing, in plain words.

mod activation;
mod closed_door;
mod custody;
mod drills;
mod ending;
mod table;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dataembassy_crds::{ConditionStatus, RegistryMirror};
use futures::future::try_join_all;
use jiff::Timestamp;

use crate::{
    bed::{self, Bed, Database},
    cache::Cache,
    product::{
        self, Product,
        logs::{self, About},
        mirror::Mirror,
        registry,
        restore::{self, Wanted},
        sidecar::Sidecar,
    },
    progress::Progress,
    registries::{self, Amount, Registry},
    truth::{self, Kind, Scope, Truth},
};

/// How much data the demo makes: a quarter of the sample registries' full size.
const SCALE: f64 = 0.25;
/// Within this time of being applied, every mirror must be ready and show its first copy.
const FIRST_COPY: Duration = Duration::from_mins(2);
/// The longest that any other copy or restore may take.
const PATIENCE: Duration = Duration::from_mins(10);
/// Rows that are written into each registry between the two copies.
const NEW_ROWS: u32 = 500;

/// What the demo knows of one registry as it goes along.
struct Stage {
    registry: Registry,
    database: Database,
    mirror: Mirror,
}

/// Runs the demo. Whatever comes of it, the bed is taken down at the end unless it is to be kept.
pub async fn run(cache: &Cache, progress: &Progress, keep: bool) -> Result<()> {
    let played = tokio::select! {
        played = play(cache, progress) => played,
        interrupted = tokio::signal::ctrl_c() => Err(interrupted.map_or_else(Into::into, |()| anyhow::anyhow!("interrupted"))),
    };
    let taking_down = async {
        let step = progress.step("taking everything down that was started");
        // It fails where anything is left.
        bed::down(false).await?;
        step.done();
        anyhow::Ok(())
    };
    ending::end(played, keep, || progress.line(ending::LOOK_AROUND), taking_down).await
}

async fn play(cache: &Cache, progress: &Progress) -> Result<()> {
    let began = Instant::now();
    progress.line("\n1. Two Kubernetes clusters: home, and the embassy abroad with its object store.");
    let bed = Bed::up(cache, progress).await?;
    progress.line(
        "\n2. DataEmbassy is installed: the store gets its document, the embassy its operator, custodian and gate, home its operator.",
    );
    let installing = Timestamp::now();
    let product = Product::install(&bed, progress).await?;

    progress.line("\n3. Three registries at home: population and business on PostgreSQL 17, health on 15.");
    let stages = registries(&product, progress).await?;
    no_complaints(&product, installing, "DataEmbassy was installed", progress).await?;

    progress.line(
        "\n4. One RegistryMirror each is applied at home, and one RegistryCustody in the embassy that names the mirror's signer: \
         docs/samples/{,embassy/}{population,health,business}.yaml.",
    );
    first_copies(&product, &stages, progress).await?;
    let accepted = Timestamp::now();

    progress.line(&format!(
        "\n5. Life goes on: {NEW_ROWS} rows are written into each registry, and another copy is asked for."
    ));
    let second = another_copy_of_each(&stages, "after-writing", progress).await?;

    progress.line("\n6. In the embassy, each copy is restored into an empty PostgreSQL 17 and compared with its source.");
    let mut rows = Vec::new();
    let mut truths = Vec::new();
    for (stage, mirror) in stages.iter().zip(&second) {
        let (row, truth) = restored(&product, stage, mirror, progress).await?;
        rows.push(row);
        truths.push(truth);
    }
    let shown = bed
        .embassy()
        .kubectl(["get", "registryrestores", "--namespace", restore::NAMESPACE])
        .await?;
    progress.line(&format!(
        "  embassy $ kubectl get registryrestores -n {}\n{shown}",
        restore::NAMESPACE
    ));
    progress.line(&table::print(&rows));
    ensure!(
        rows.iter().all(|row| row.differences == 0),
        "a restored registry differs from its source"
    );

    progress.line(
        "\n7. The embassy has proven each copy, without any key: it read back every byte, and signed that.",
    );
    custody::proven(&product, progress).await?;
    no_complaints(&product, accepted, "the registries were accepted", progress).await?;

    progress.line("\n8. Home cannot read its own copy back.");
    closed_door::try_it(&product, Registry::Population, progress).await?;

    progress.line("\n9. One copy is opened with stock tools only, by the break-glass page.");
    open_with_stock_tools(&product, &stages[0], &truths[0], progress).await?;

    progress.line(
        "\n10. A RegistryDrill restores a copy into a throw-away database, asks it questions, and stops the time: \
         docs/samples/drills/population.yaml.",
    );
    let drilling = Timestamp::now();
    drills::passes(&product, Registry::Population, cache, progress).await?;
    no_complaints(&product, drilling, "the drill was asked for", progress).await?;

    progress.line(
        "\n11. A sidecar at home is frozen. While the embassy waits for it, home is in the enemy's hands.",
    );
    let frozen = custody::freeze(&product, Registry::Business).await?;
    custody::red_team(&product, Registry::Population, progress).await?;

    progress.line("\n12. The embassy notices by itself that home has fallen silent.");
    custody::silence(&product, Registry::Business, frozen, progress).await?;

    progress.line("\n13. Somebody with root on the store's machine spoils copies behind its back.");
    let mut spoiled = custody::damage(&product, progress).await?;
    drills::fails(&product, Registry::Health, &mut spoiled, progress).await?;
    custody::put_right(&product, spoiled, progress).await?;

    progress.line(&format!(
        "\n14. One more copy of each, after {NEW_ROWS} more rows: they are the last that home commits."
    ));
    let last = another_copy_of_each(&stages, "before-the-end", progress).await?;
    let last = activation::remember(&product, &stages, &last, progress).await?;

    progress.line("\n15. Home is destroyed: its processes, its network, its disks.");
    activation::destroy(&product, progress).await?;

    progress.line(
        "\n16. An EmbassyActivation names the three registries, in order. Two of three approvers must sign what it says, \
         on a machine of their own, with stock tools.",
    );
    let active = activation::activate(&product, progress).await?;
    activation::compare(&product, &active, &last, progress).await?;

    progress.line("\n17. Home comes back, from a disk that somebody carried away, and wants to go on.");
    activation::come_back(&product, &stages, progress).await?;
    progress.line(
        "\nDone: three registries were mirrored, changed, mirrored again, proven, restored abroad and found equal; \
         a copy passed a drill that was signed for; what was done to the copies was seen; and when home was lost, the registries \
         answered from the embassy, and home's ghost was fenced.",
    );
    let took = began.elapsed().as_secs();
    progress.line(&format!("All of it took {} min {} s.", took / 60, took % 60));
    Ok(())
}

/// Nothing has gone wrong since a moment, and nobody was refused anything, so nothing may have complained.
async fn no_complaints(product: &Product, since: Timestamp, moment: &str, progress: &Progress) -> Result<()> {
    let about = About {
        errors_only: true,
        ..About::default()
    };
    logs::assert_calm(product, since, &about).await?;
    progress.line(&format!(
        "  and since {moment}, no log at home or abroad holds an error"
    ));
    Ok(())
}

async fn registries(product: &Product, progress: &Progress) -> Result<Vec<Stage>> {
    let amount = Amount::of_scale(SCALE);
    try_join_all(Registry::ALL.map(|registry| {
        let amount = &amount;
        async move {
            let step = progress.step(format!(
                "{} on PostgreSQL {}",
                registry.id(),
                registry.home_major()
            ));
            let database = registry::establish(product, registry, amount).await?;
            step.done();
            let mirror = Mirror::of(product.bed.home(), registry::ministry(registry), registry.id());
            Ok(Stage {
                registry,
                database,
                mirror,
            })
        }
    }))
    .await
}

async fn first_copies(product: &Product, stages: &[Stage], progress: &Progress) -> Result<()> {
    for stage in stages {
        product
            .bed
            .home()
            .apply_path(&product::sample(stage.registry.id()))
            .await?;
    }
    let step = progress.step("the embassy accepts each registry with the signer that its mirror shows");
    try_join_all(stages.iter().map(|stage| async {
        let signer = stage.mirror.signer().await?;
        product::embassy::accept_sample(product, stage.registry.id(), &signer).await
    }))
    .await?;
    step.done();
    let step = progress.step("every mirror ready, within its objective, and with its first copy");
    try_join_all(stages.iter().map(|stage| async {
        stage.mirror.copied(1, FIRST_COPY).await?;
        stage
            .mirror
            .condition("Ready", ConditionStatus::True, None, FIRST_COPY)
            .await?;
        stage
            .mirror
            .condition("WithinRPO", ConditionStatus::True, None, FIRST_COPY)
            .await
    }))
    .await?;
    step.done();
    let shown = product
        .bed
        .home()
        .kubectl(["get", "registrymirrors", "--all-namespaces"])
        .await?;
    progress.line(&shown);
    Ok(())
}

async fn another_copy_of_each(
    stages: &[Stage],
    trigger: &str,
    progress: &Progress,
) -> Result<Vec<RegistryMirror>> {
    let step = progress.step("another copy of each");
    let mut copied = Vec::new();
    for stage in stages {
        let client = stage.database.connect(stage.registry.id()).await?;
        registries::write_more(&client, stage.registry, NEW_ROWS).await?;
        let before = stage
            .mirror
            .get()
            .await?
            .status
            .and_then(|status| status.last_copy)
            .context("there was no first copy")?;
        stage.mirror.trigger(trigger).await?;
        copied.push(stage.mirror.copied(before.sequence + 1, PATIENCE).await?);
    }
    step.done();
    Ok(copied)
}

/// Restores the latest copy and holds it against the source, which nobody has written to since; returns the source's truth with the line.
async fn restored(
    product: &Product,
    stage: &Stage,
    mirror: &RegistryMirror,
    progress: &Progress,
) -> Result<(table::Row, Truth)> {
    let id = stage.registry.id();
    let status = mirror.status.as_ref().context("the mirror has no status")?;
    let copy = status.last_copy.as_ref().context("the mirror shows no copy")?;
    let signer = status
        .signer
        .as_ref()
        .context("the mirror's status names no signer")?;
    let step = progress.step(format!("restoring copy {} of {id}", copy.sequence));
    let wanted = Wanted {
        registry: id,
        sample: stage.registry,
        signer,
        major: restore::MAJOR,
        database: id,
    };
    let restoring = restore::restore(product, &wanted, copy.sequence, PATIENCE).await?;
    step.done();

    let step = progress.step(format!(
        "comparing {id}: every table's rows and digests, large objects, constraints, comments, grants"
    ));
    let client = stage.database.connect(id).await?;
    let source = Truth::of(&client).await?;
    let target = Truth::of(&restore::server(product).await?.connect(id).await?).await?;
    let differences = truth::compare(&source, &target, Scope::WHOLE);
    step.done();
    for difference in differences.iter().take(10) {
        progress.line(&format!("  {difference}"));
    }
    ensure!(source.count(Kind::Rows) > 0, "nothing was compared");
    let bytes_at_home: i64 = client
        .query_one("SELECT pg_database_size(current_database())", &[])
        .await?
        .get(0);
    let row = table::Row {
        registry: id,
        rows: rows(&source),
        bytes_at_home: bytes_at_home.unsigned_abs(),
        bytes_in_store: copy.bytes.unsigned_abs(),
        copying: copying(product, stage.registry, copy.sequence).await?,
        restoring,
        differences: differences.len(),
    };
    Ok((row, source))
}

/// The rows of all tables.
fn rows(truth: &Truth) -> u64 {
    truth.tables().values().map(|rows| rows.count).sum()
}

/// How long the run took that made a copy, by the sidecar's own report: the resource tells whole seconds.
async fn copying(product: &Product, registry: Registry, sequence: i64) -> Result<Duration> {
    let sidecar = Sidecar::of(product.bed.home(), registry::ministry(registry), registry.id()).await?;
    let runs = sidecar.report().await?.recent_runs;
    let sequence = Some(sequence.unsigned_abs());
    let run = runs.iter().find(|run| run.sequence == sequence);
    let run = run.context("the run is not among the recent ones")?;
    Ok(run.ended_at.duration_since(run.started_at).unsigned_abs())
}

/// Follows the page, and compares with the source once more.
async fn open_with_stock_tools(
    product: &Product,
    stage: &Stage,
    source: &Truth,
    progress: &Progress,
) -> Result<()> {
    let signer = stage.mirror.signer().await?;
    let database = format!("{}-by-hand", stage.registry.id());
    let step = progress.step("docs/break-glass.md, block by block, where none of our programs is");
    let wanted = Wanted {
        registry: stage.registry.id(),
        sample: stage.registry,
        signer: &signer,
        major: restore::MAJOR,
        database: &database,
    };
    let ended = restore::break_glass(product, &wanted, PATIENCE).await?;
    step.done();
    let last = ended.log.lines().last().unwrap_or_default();
    progress.line(&format!("  {last}"));
    let (_, promised) = last
        .split_once("rows promised: ")
        .context("the page counted nothing")?;
    let promised: u64 = promised.split(',').next().unwrap_or_default().parse()?;
    let brought = rows(source).saturating_sub(promised);
    if brought > 0 {
        progress.line(&format!(
            "  (the table above counts {brought} more, which an extension brings by itself)"
        ));
    }
    let opened = Truth::of(&restore::server(product).await?.connect(&database).await?).await?;
    ensure!(!source.tables().is_empty(), "nothing was compared");
    let differences: Vec<_> = truth::compare(source, &opened, Scope::WHOLE)
        .into_iter()
        .filter(|difference| difference.kind == Kind::Rows)
        .collect();
    for difference in differences.iter().take(10) {
        progress.line(&format!("  {difference}"));
    }
    ensure!(
        differences.is_empty(),
        "what the break-glass page opened differs from its source"
    );
    progress.line("  every table's rows and digests equal the source's");
    Ok(())
}
