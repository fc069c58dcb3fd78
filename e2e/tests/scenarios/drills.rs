//! Drills: a copy that passes one, what is signed of it and who sees that; copies and answers that do not; and what is left when it is over.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use dataembassy_contract::files::METRICS_PORT;
use dataembassy_crds::{ConditionStatus, DrillOutcome, Known, RecoveryPoint};
use dataembassy_e2e::{
    bed::{disk::Disk, secrets},
    cluster::Site,
    command::wait_for,
    product::{
        custody::{self, Custody},
        drill::{self, Drilling, NAMESPACE, Signed},
        embassy, restore,
    },
};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{PersistentVolumeClaim, Pod, Service},
};
use kube::{Api, Resource, ResourceExt as _, api::ListParams};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::ledger;
use crate::world::{MINUTE, PATIENCE, World, together};

/// What belongs to a drill has its name.
const INSTANCE: &str = "app.kubernetes.io/instance";
/// Everything of a drill on a machine that is busy with other things.
const DRILLED: Duration = Duration::from_mins(8);

#[test]
fn a_copy_that_passes_a_drill_is_signed_for_and_everybody_may_know() {
    together(passes);
}

#[test]
fn a_wrong_answer_fails_a_drill_and_the_report_says_which() {
    together(wrong_answer);
}

#[test]
fn a_drill_on_a_spoiled_copy_fails_and_says_what_is_wrong() {
    together(spoiled_copy);
}

#[test]
fn the_throw_away_database_has_no_secret_no_token_and_nobody_to_talk_to() {
    together(cell);
}

#[test]
fn a_drill_whose_pod_is_lost_is_begun_anew_as_often_as_said_and_signed_once() {
    together(lost_pod);
}

#[test]
fn a_drill_whose_pod_is_killed_at_every_step_is_signed_once_and_one_whose_database_is_killed_not_at_all() {
    together(killed_at_each_step);
}

#[test]
fn a_drill_in_a_namespace_that_the_custody_does_not_name_does_not_begin() {
    together(not_allowed);
}

async fn passes(world: &'static World) -> Result<()> {
    let subject = world.mirrored("drilled").await?;
    let id = subject.id.as_str();
    let drilling = Drilling::begin(&world.product, id, |spec| {
        spec["assertions"] = json!([
            {"name": "three-persons", "sql": "SELECT count(*) FROM public.person", "equals": "3"},
            {"name": "not-too-many", "sql": "SELECT max(id) FROM public.person", "within": {"atLeast": "1", "atMost": "3"}},
        ]);
    })
    .await?;
    let ended = drilling.answered("first", DRILLED).await?;
    ensure!(ended.result == DrillOutcome::Passed, "{ended:?}");
    drilling
        .condition("Passed", ConditionStatus::True, "DrillPassed", MINUTE)
        .await?;
    let signed = drill::signed(&world.product, id, &ended).await?;
    ensure!(
        signed.entry.passed && signed.entry.source_entry.sequence.get() == 1,
        "{:?}",
        signed.entry
    );
    told(&signed, &["three-persons", "not-too-many"])?;

    let custody = Custody::of(&world.product, id);
    let said = custody
        .condition("Drilled", ConditionStatus::True, Some("Drilled"), MINUTE)
        .await?;
    ensure!(said.contains('1'), "which copy was drilled? {said}");
    let points: Api<RecoveryPoint> = Api::all(world.product.bed.embassy().client().clone());
    wait_for("the recovery point to be drilled", MINUTE, || async {
        let points = points.list(&ListParams::default()).await?;
        let ours = points.into_iter().find(|point| point.spec.registry == id);
        let drilled = ours.and_then(|point| Some(point.status?.drilled == Known::True));
        Ok(drilled.filter(|drilled| *drilled))
    })
    .await?;
    // Home knows by the ledger alone.
    subject
        .mirror
        .condition("Drilled", ConditionStatus::True, Some("Drilled"), PATIENCE)
        .await?;
    nothing_left(world, id).await?;

    // A newer copy that nobody drilled is not what is restored where a drilled one is asked for.
    subject
        .connect()
        .await?
        .batch_execute("DELETE FROM public.person")
        .await?;
    subject.mirror.trigger("another").await?;
    subject.mirror.copied(2, PATIENCE).await?;
    let key = subject.mirror.signer().await?;
    let restoring = restore::begin(&world.product, &subject.wanted(&key, id), |spec| {
        spec["copy"] = json!({"latestDrilled": true});
    })
    .await?;
    let restored = restoring.ended(PATIENCE).await?.status.context("no status")?;
    ensure!(
        restored.copy.as_ref().is_some_and(|copy| copy.sequence == 1),
        "another copy was restored: {restored:?}"
    );
    restoring.delete().await?;
    drilling.delete().await?;
    subject.delete().await
}

/// Both forms of a report say what people look for.
fn told(signed: &Signed, assertions: &[&str]) -> Result<()> {
    let text = signed.json.to_string();
    for name in assertions {
        ensure!(
            text.contains(name),
            "the report for programs does not name {name}: {text}"
        );
        ensure!(
            signed.html.contains(name),
            "the report for people does not name {name}"
        );
    }
    ensure!(!signed.html.contains("<script"), "the page has a script");
    Ok(())
}

async fn wrong_answer(world: &'static World) -> Result<()> {
    let subject = world.mirrored("mistaken").await?;
    let id = subject.id.as_str();
    let drilling = Drilling::begin(&world.product, id, |spec| {
        spec["assertions"] = json!([
            {"name": "four-persons", "sql": "SELECT count(*) FROM public.person", "equals": "4"},
            {"name": "still-asked", "sql": "SELECT 1", "equals": "1"},
        ]);
    })
    .await?;
    let ended = drilling.answered("first", DRILLED).await?;
    ensure!(ended.result == DrillOutcome::Failed, "{ended:?}");
    ensure!(
        ended.reason == "AnswerWrong" && ended.message.contains("four-persons"),
        "{ended:?}"
    );
    let signed = drill::signed(&world.product, id, &ended).await?;
    ensure!(!signed.entry.passed, "a wrong answer was signed as passed");
    told(&signed, &["four-persons", "still-asked"])?;
    let said = Custody::of(&world.product, id)
        .condition("Drilled", ConditionStatus::False, Some("DrillFailed"), MINUTE)
        .await?;
    ensure!(said.contains('1'), "{said}");
    nothing_left(world, id).await?;

    // The expectation was wrong, not the copy.
    drilling
        .patch(&json!({"spec": {"assertions": null, "trigger": "second"}}))
        .await?;
    let ended = drilling.answered("second", DRILLED).await?;
    ensure!(ended.result == DrillOutcome::Passed, "{ended:?}");
    Custody::of(&world.product, id)
        .condition("Drilled", ConditionStatus::True, None, MINUTE)
        .await?;
    drilling.delete().await?;
    subject.delete().await
}

async fn spoiled_copy(world: &'static World) -> Result<()> {
    let subject = world.mirrored("spoiled").await?;
    let id = subject.id.as_str();
    let points = Custody::of(&world.product, id).proven(PATIENCE).await?;
    let copy = points.first().context("there is no recovery point")?;
    let store = world.product.bed.store().await?;
    let segment = store.first_segment(id, &copy.copy_id).await?;
    Disk::of(&world.product.bed).await?.flip(&segment)?;
    let drilling = Drilling::begin(&world.product, id, |_| ()).await?;
    let ended = drilling.answered("first", DRILLED).await?;
    ensure!(
        ended.result == DrillOutcome::Failed && ended.copy.as_ref().is_some_and(|copy| copy.sequence == 1),
        "{ended:?}"
    );
    ensure!(
        ended.reason == "CopyDamaged" && ended.message.contains("00000001"),
        "{ended:?}"
    );
    let signed = drill::signed(&world.product, id, &ended).await?;
    ensure!(!signed.entry.passed, "a spoiled copy was signed as passed");
    nothing_left(world, id).await?;
    drilling.delete().await?;
    subject.delete().await
}

async fn cell(world: &'static World) -> Result<()> {
    let subject = world.mirrored("cell").await?;
    let id = subject.id.as_str();
    let abroad = world.product.bed.embassy();
    let identity = format!("{id}-identity");
    let drilling = Drilling::begin(&world.product, id, |spec| {
        spec["identityRef"] = json!({"name": identity});
    })
    .await?;
    let said = drilling
        .condition("Reconciling", ConditionStatus::True, "SecretMissing", PATIENCE)
        .await?;
    ensure!(said.contains(&identity), "{said}");
    let pod = pods(world, id).await?.pop().context("the drill has no pod")?;
    let spec = pod.spec.as_ref().context("a pod without a spec")?;
    ensure!(
        spec.automount_service_account_token == Some(false) && spec.host_network != Some(true),
        "{spec:?}"
    );
    let database = spec
        .init_containers
        .iter()
        .flatten()
        .find(|container| container.name == "database")
        .context("the cell has no database")?;
    let mounts: Vec<_> = database
        .volume_mounts
        .iter()
        .flatten()
        .map(|mount| mount.mount_path.as_str())
        .collect();
    ensure!(
        mounts
            .iter()
            .all(|path| ["/cell", "/cell-data", "/tmp"].contains(path)),
        "the database mounts {mounts:?}"
    );
    let name = pod.name_any();
    let ask_in = async |container: &str, script: &str| {
        let arguments = [
            "exec",
            "--namespace",
            NAMESPACE,
            &name,
            "--container",
            container,
            "--",
            "sh",
            "-c",
            script,
        ];
        abroad.kubectl(arguments).await
    };
    let found = ask_in(
        "drill",
        "ls /usr/bin/psql /usr/lib/postgresql/*/bin/psql 2>/dev/null || true",
    )
    .await?;
    ensure!(found.trim().is_empty(), "beside the identity lies {found}");
    let ask = async |script: &str| ask_in("database", script).await;
    let found = ask("ls /etc/dataembassy /var/run/secrets 2>/dev/null; env | grep -i -E 'key|secret|token|identity' || true").await?;
    ensure!(found.trim().is_empty(), "the database's container has {found}");
    let found = ask("grep -l AGE-SECRET-KEY -r /cell /cell-data /tmp 2>/dev/null || true").await?;
    ensure!(found.trim().is_empty(), "an identity lies in {found}");
    let id_of_process = ask("id -u").await?;
    ensure!(
        id_of_process.trim() != "0",
        "the database's container runs as root"
    );
    // Neither the cluster it runs in, nor its neighbours, nor home answer it.
    let services: Api<Service> = Api::namespaced(abroad.client().clone(), "default");
    let api_server = services
        .get("kubernetes")
        .await?
        .spec
        .context("a Service without a spec")?;
    let api_server = api_server.cluster_ip.context("the API server has no address")?;
    let custodian = embassy::pod_address(&world.product, "custodian").await?;
    for (host, port) in [
        (api_server, 443),
        (Site::Home.node().to_string(), 6443),
        (custodian, METRICS_PORT),
    ] {
        let knock = format!(
            "timeout 3 bash -c '</dev/tcp/{host}/{port}' 2>/dev/null && echo reached || echo refused"
        );
        let reached = ask(&knock).await?;
        ensure!(
            reached.trim() == "refused",
            "from the cell, {host}:{port} was {reached}"
        );
    }
    // The way that is left open is the one that it is for.
    let key = [("identity.txt", world.product.keys.identity.as_str())];
    secrets::write(abroad, NAMESPACE, &identity, &key).await?;
    let ended = drilling.answered("first", DRILLED).await?;
    ensure!(ended.result == DrillOutcome::Passed, "{ended:?}");
    nothing_left(world, id).await?;
    drilling.delete().await?;
    subject.delete().await
}

async fn lost_pod(world: &'static World) -> Result<()> {
    let subject = world.mirrored("lost").await?;
    let id = subject.id.as_str();
    let abroad = world.product.bed.embassy();
    let identity = format!("{id}-identity");
    let drilling = Drilling::begin(&world.product, id, |spec| {
        spec["identityRef"] = json!({"name": identity});
        spec["retries"] = json!(1);
    })
    .await?;
    drilling
        .condition("Reconciling", ConditionStatus::True, "SecretMissing", PATIENCE)
        .await?;
    let first = pods(world, id).await?.pop().context("the drill has no pod")?;
    let api: Api<Pod> = Api::namespaced(abroad.client().clone(), NAMESPACE);
    api.delete(&first.name_any(), &kube::api::DeleteParams::default())
        .await?;
    let second = wait_for("the second attempt", PATIENCE, || async {
        let status = drilling.get().await?.status.unwrap_or_default();
        let attempt = status.current.map(|current| current.attempt);
        ensure!(attempt.is_some(), "the drill has ended: {:?}", status.last);
        let pods = pods(world, id).await?;
        Ok(pods
            .into_iter()
            .find(|pod| attempt == Some(2) && pod.uid() != first.uid()))
    })
    .await?;
    let key = [("identity.txt", world.product.keys.identity.as_str())];
    secrets::write(abroad, NAMESPACE, &identity, &key).await?;
    let ended = drilling.answered("first", DRILLED).await?;
    ensure!(ended.result == DrillOutcome::Passed, "{ended:?}");
    let signed = drill::signed(&world.product, id, &ended).await?;
    ensure!(signed.entry.order.as_str() == ended.order, "{:?}", signed.entry);
    ensure!(
        ledger::custody_count(world, id, "drill").await? == 1,
        "a drill was signed twice"
    );
    nothing_left(world, id).await?;

    // One attempt more than that is not made.
    abroad
        .kubectl(["delete", "secret", &identity, "--namespace", NAMESPACE])
        .await?;
    drilling
        .patch(&json!({"spec": {"retries": 0, "trigger": "second"}}))
        .await?;
    let third = wait_for("another pod", PATIENCE, || async {
        let pods = pods(world, id).await?;
        Ok(pods.into_iter().find(|pod| pod.uid() != second.uid()))
    })
    .await?;
    api.delete(&third.name_any(), &kube::api::DeleteParams::default())
        .await?;
    let ended = drilling.answered("second", PATIENCE).await?;
    ensure!(
        ended.result == DrillOutcome::Inconclusive && ended.entry.is_none(),
        "{ended:?}"
    );
    ensure!(
        ledger::custody_count(world, id, "drill").await? == 1,
        "nothing was found, and it was signed"
    );
    nothing_left(world, id).await?;
    drilling.delete().await?;
    subject.delete().await
}

/// A step of a drill: what the drill says in it, and what makes the step last in a drill, and not at home.
struct Step {
    words: &'static str,
    content: &'static str,
}

/// The steps that a pod goes through after it has all that it needs.
const STEPS: [Step; 5] = [
    Step {
        words: "restoring definitions",
        // To attach the partition, the server looks what its constraints come to.
        content: "CREATE TABLE public.defined (n int) PARTITION BY RANGE (n);
                  CREATE TABLE public.part PARTITION OF public.defined (CHECK (public.waits(1))) FOR VALUES FROM (0) TO (9);",
    },
    Step {
        words: "loading rows",
        content: "CREATE TABLE public.loaded (n int CHECK (public.waits(n))); INSERT INTO public.loaded VALUES (1);",
    },
    Step {
        words: "restoring indexes and constraints",
        content: "CREATE TABLE public.indexed (n int); INSERT INTO public.indexed VALUES (1);
                  CREATE INDEX ON public.indexed ((public.waits(n)));",
    },
    Step {
        words: "gathering statistics",
        content: "CREATE TABLE public.analysed (n int); INSERT INTO public.analysed VALUES (1);
                  CREATE STATISTICS public.slow ON public.waits(n) FROM public.analysed;",
    },
    Step {
        words: "asking the restored database",
        content: "",
    },
];

/// Takes its time in the throw-away database of a drill.
const WAITS: &str = "CREATE FUNCTION public.waits(n int) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
        IF current_database() LIKE 'dataembassy%' THEN PERFORM pg_sleep(10); END IF;
        RETURN true;
    END $$;";

async fn killed_at_each_step(world: &'static World) -> Result<()> {
    let ministry = world.ministry("every-step").await?;
    let subject = ministry.small_registry("every-step").await?;
    let content: String = STEPS.iter().map(|step| step.content).collect();
    subject
        .connect()
        .await?
        .batch_execute(&format!("{WAITS} {content}"))
        .await?;
    subject.mirrored().await?;
    let id = subject.id.as_str();
    let abroad = world.product.bed.embassy();
    let api: Api<Pod> = Api::namespaced(abroad.client().clone(), NAMESPACE);
    let now = kube::api::DeleteParams::default().grace_period(0);
    let drilling = Drilling::begin(&world.product, id, |spec| {
        spec["retries"] = json!(3);
        spec["assertions"] = json!([{"name": "slow", "sql": "SELECT 1 FROM pg_sleep(7)", "equals": "1"}]);
    })
    .await?;

    // A pod that is lost is begun anew, three times at most.
    let mut signed = 0;
    for (trigger, steps) in [("first", &STEPS[..3]), ("second", &STEPS[3..])] {
        if signed > 0 {
            drilling.trigger(trigger).await?;
        }
        for (attempt, step) in (1..).zip(steps) {
            at_work(&drilling, attempt, step.words).await?;
            let pod = pods(world, id).await?.pop().context("the drill has no pod")?;
            api.delete(&pod.name_any(), &now).await?;
        }
        let ended = drilling.answered(trigger, DRILLED).await?;
        ensure!(ended.result == DrillOutcome::Passed, "{ended:?}");
        signed += 1;
        ensure!(
            ledger::custody_count(world, id, "drill").await? == signed,
            "a drill was signed twice"
        );
        nothing_left(world, id).await?;
    }

    // A database that is lost says nothing of the copy, at the last step as at the others.
    let [.., last] = &STEPS;
    drilling.trigger("without-its-database").await?;
    at_work(&drilling, 1, last.words).await?;
    kill_database(world, id).await?;
    let ended = drilling.answered("without-its-database", PATIENCE).await?;
    ensure!(
        ended.result == DrillOutcome::Inconclusive && ended.entry.is_none(),
        "{ended:?}"
    );
    nothing_left(world, id).await?;
    ensure!(
        ledger::custody_count(world, id, "drill").await? == signed,
        "what found nothing was signed"
    );
    drilling.delete().await?;
    subject.delete().await
}

/// Waits until an attempt does what these words say.
pub(crate) async fn at_work(drilling: &Drilling, attempt: i32, words: &str) -> Result<()> {
    let what = format!("attempt {attempt} to be {words}");
    wait_for(&what, PATIENCE, || async {
        let status = drilling.get().await?.status.unwrap_or_default();
        let current = status.current.filter(|current| current.attempt == attempt);
        let is = current.is_some_and(|current| current.words.starts_with(words));
        Ok(is.then_some(()))
    })
    .await
}

/// Kills a drill's throw-away database, as the kernel does where memory is short.
pub(crate) async fn kill_database(world: &World, drill: &str) -> Result<()> {
    let pod = pods(world, drill).await?.pop().context("the drill has no pod")?;
    let statuses = pod
        .status
        .iter()
        .flat_map(|status| &status.init_container_statuses);
    let mut statuses = statuses.flatten();
    let database = statuses.find(|status| status.name == "database");
    let id = database.and_then(|status| status.container_id.as_deref());
    let id = id.context("its database does not run")?;
    world.product.bed.embassy().container(id)?.kill()
}

async fn not_allowed(world: &'static World) -> Result<()> {
    let subject = world.mirrored("not-allowed").await?;
    let id = subject.id.as_str();
    custody::allow(
        &world.product,
        id,
        &json!({"drills": {"namespace": "somewhere-else"}}),
    )
    .await?;
    // A drill that the operator sees before this change is still allowed.
    Custody::of(&world.product, id).observed(MINUTE).await?;
    let drilling = Drilling::begin(&world.product, id, |_| ()).await?;
    let said = drilling
        .condition("Ready", ConditionStatus::False, "DrillNotAllowed", MINUTE)
        .await?;
    ensure!(said.contains("somewhere-else"), "{said}");
    ensure!(pods(world, id).await?.is_empty(), "it has a pod all the same");
    drilling.delete().await?;
    subject.delete().await
}

pub(crate) async fn pods(world: &World, drill: &str) -> Result<Vec<Pod>> {
    of(world, drill).await
}

/// Objects of a kind that were made for a drill.
async fn of<K>(world: &World, drill: &str) -> Result<Vec<K>>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(world.product.bed.embassy().client().clone(), NAMESPACE);
    let labels = ListParams::default().labels(&format!("{INSTANCE}={drill}"));
    Ok(api.list(&labels).await?.items)
}

/// Waits until neither pod, nor Job, nor volume of the drill's runs is left; its configuration, which holds no secret, stays.
pub(crate) async fn nothing_left(world: &World, drill: &str) -> Result<()> {
    wait_for(
        &format!("everything of drill {drill} to be gone"),
        MINUTE,
        || async {
            let pods = of::<Pod>(world, drill).await?.len();
            let jobs = of::<Job>(world, drill).await?.len();
            let volumes = of::<PersistentVolumeClaim>(world, drill).await?.len();
            Ok((pods + jobs + volumes == 0).then_some(()))
        },
    )
    .await
}
