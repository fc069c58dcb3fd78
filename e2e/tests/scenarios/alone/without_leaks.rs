//! After all the others: no password, key, identity or row has got to where somebody else might read it.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result, ensure};
use dataembassy_crds::{ConditionStatus, DrillOutcome, RestorePhase, RunOutcome};
use dataembassy_e2e::{
    bed::{Options, disk::Disk, secrets},
    cluster::{Cluster, Site, kept_logs},
    command::wait_for,
    product::{
        activation::{self, Activating, Wanted},
        canaries::{self, Canaries},
        drill::Drilling,
        restore,
    },
    registries,
};
use serde_json::json;

use crate::world::{MINUTE, Ministry, PATIENCE, Subject, World, alone};

/// How the names of databases end in which rows are said to be alike that are not.
const AGAIN: &str = "-again";

#[test]
fn nothing_secret_is_in_a_process_a_resource_an_event_a_metric_a_log_a_file_or_an_object() {
    alone(without_leaks);
}

async fn without_leaks(world: &'static World) -> Result<()> {
    let product = &world.product;
    let gone = Gone::after_saying(product.bed.embassy(), &world.unique("canary-gone")).await?;
    let row = drawn("row");
    let subject = told_everywhere(world, &row).await?;
    gone.is_heard().await?;
    let canaries = Canaries::of(product, &[row]).await?;
    for value in &gone.kept {
        let found = canaries.in_text("a Secret that is gone", value.as_bytes());
        ensure!(found.len() == 1, "nobody would look for it: {found:?}");
    }
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
    // One that is only beginning has not come to forbidding them.
    wait_for("an end of core files", MINUTE, || async {
        let allowed = canaries::core_files()?;
        ensure!(allowed.is_empty(), "core files may be left: {allowed:#?}");
        Ok(Some(()))
    })
    .await?;
    ensure!(
        leaks.is_empty(),
        "{} of {} secrets can be read: {leaks:#?}",
        leaks.len(),
        canaries.count()
    );
    subject.delete().await
}

/// Something that nothing else has.
fn drawn(what: &str) -> String {
    format!("canary-{what}-{}", hex::encode(rand::random::<[u8; 12]>()))
}

/// A pod that has logged something and was deleted. What is found of it must be found of every other that is gone.
struct Gone {
    cluster: &'static Cluster,
    pod: String,
    said: String,
    /// What a Secret held one after the other that went with the pod's namespace.
    kept: [String; 2],
}

impl Gone {
    /// Has a pod say something, and deletes it; beside it a Secret whose value is replaced before it goes as well.
    async fn after_saying(cluster: &'static Cluster, namespace: &str) -> Result<Self> {
        let said = drawn("planted");
        let kept = ["first", "second"].map(drawn);
        cluster.namespace(namespace).await?;
        for value in &kept {
            secrets::write(cluster, namespace, "gone", &[("password", value)]).await?;
        }
        // It stays for a moment: whoever keeps logs looks twice a second, but on a busy machine may not be let run for ten.
        let says = format!("echo {said} && sleep 12");
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "gone", "namespace": namespace},
            "spec": {
                "automountServiceAccountToken": false,
                "restartPolicy": "Never",
                "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "client", "image": "dataembassy.local/stock:dev", "imagePullPolicy": "Never",
                    "command": ["/bin/sh", "-c", says],
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                }],
            },
        });
        cluster.apply(&pod.to_string()).await?;
        let succeeded = "jsonpath={.status.phase}=Succeeded";
        cluster
            .wait_until("pod", "gone", Some(namespace), succeeded, PATIENCE)
            .await?;
        cluster
            .kubectl(["delete", "pod", "gone", "--namespace", namespace])
            .await?;
        cluster
            .kubectl(["delete", "namespace", namespace, "--wait=false"])
            .await?;
        Ok(Self {
            cluster,
            pod: format!("{namespace}_gone_"),
            said,
            kept,
        })
    }

    /// Finds what it said, once the node has nothing of it any more.
    async fn is_heard(&self) -> Result<()> {
        let logs = self.cluster.site().folder().join("pod-logs");
        wait_for("the node to remove what the pod has logged", PATIENCE, || async {
            let mut left = fs::read_dir(&logs)?.filter_map(Result::ok);
            let is_left = left.any(|pod| pod.file_name().to_string_lossy().starts_with(&self.pod));
            Ok((!is_left).then_some(()))
        })
        .await?;
        let canaries = Canaries::planted(&self.said);
        let found = canaries.in_files(&canaries::folders(self.cluster)?).await?;
        let kept = kept_logs::look(self.cluster.site())?;
        let kept = kept.to_str().context("the bed's folders are called in ASCII")?;
        ensure!(
            found
                .iter()
                .any(|leak| leak.place.starts_with(kept) && leak.place.contains(&self.pod)),
            "what a pod that is gone has logged is not found: {found:#?}"
        );
        Ok(())
    }
}

/// A registry whose row comes by everything that may speak: a copy, a drill, and a source, a restore and an activation in which the server
/// quotes it in an error.
async fn told_everywhere(world: &'static World, row: &str) -> Result<Subject> {
    let ministry = world.ministry("canary").await?;
    let subject = ministry.small_registry("canary").await?;
    fails_at_its_source(&ministry, row).await?;
    let again = format!("{}{AGAIN}", subject.id);
    // Unique at the source, and not where it is restored: the server then names the two rows.
    let schema = format!(
        "CREATE FUNCTION public.key(id integer, name text) RETURNS text IMMUTABLE LANGUAGE sql AS
             $$ SELECT CASE WHEN current_database() LIKE '%{AGAIN}' THEN name ELSE id || name END $$;
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
    fails_abroad(world, &subject).await?;
    Ok(subject)
}

/// Has a source quote the row to the sidecar that copies it: it is read by a condition that cannot be asked of it, as an extension may set one.
async fn fails_at_its_source(ministry: &Ministry, row: &str) -> Result<()> {
    let subject = ministry.small_registry("canary-source").await?;
    let condition = format!(
        "UPDATE public.person SET name = '{row}';
         CREATE EXTENSION registry_codes;
         ALTER EXTENSION registry_codes ADD TABLE public.person;
         UPDATE pg_extension SET extconfig = extconfig || 'public.person'::regclass::oid,
             extcondition = extcondition || 'WHERE name::integer > 0'::text
         WHERE extname = 'registry_codes';"
    );
    subject.connect().await?.batch_execute(&condition).await?;
    subject.apply(|_| ()).await?;
    let run = wait_for("the run that cannot read its source", PATIENCE, || async {
        let status = subject.mirror.get().await?.status.unwrap_or_default();
        let mut runs = status.recent_runs.into_iter();
        Ok(runs.find(|run| run.reason == "DumpInconsistent"))
    })
    .await?;
    ensure!(
        run.outcome == RunOutcome::Failed,
        "the server was to refuse the rows: {run:?}"
    );
    subject.delete().await
}

/// Has a server abroad quote the row to the restore of an activation, which tells why its attempt failed.
async fn fails_abroad(world: &'static World, subject: &Subject) -> Result<()> {
    const SERVER: &str = "kept-abroad";
    let (product, id) = (&world.product, subject.id.as_str());
    let options = Options::default();
    let server = product
        .bed
        .postgresql(Site::Embassy, activation::NAMESPACE, SERVER, 17, &options)
        .await?;
    let database = format!("{id}-abroad{AGAIN}");
    registries::create_database(&server.connect("postgres").await?, subject.sample, &database).await?;
    let name = world.unique("canary");
    let activating = Activating::begin(product, &name, "Activate", &[Wanted::of(id)], |spec| {
        spec["registries"][0]["target"] = json!({"external": {
            "host": server.host(),
            "database": database,
            "tls": {"caRef": {"name": format!("{SERVER}-ca")}},
            "credentialsRef": {"name": format!("{SERVER}-superuser")},
        }});
    })
    .await?;
    activating.approve_by(product, 2).await?;
    activating
        .registry(id, PATIENCE, |state| state.message.contains("person_key"))
        .await?;
    activating.delete().await
}
