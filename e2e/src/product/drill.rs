//! Drills: `RegistryDrill`s in the namespace that the registries' custodies name, with an identity that is left there for them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dataembassy_crds::{ConditionStatus, EndedDrill, RegistryDrill};
use dataembassy_ledger::{
    ObjectKey, Sha256Digest,
    entry::{CustodyBody, CustodyEntry, DrillBody},
    value::Sequence,
};
use dataembassy_testkit::minio::BUCKET;
use hyper::Method;
use kube::Api;
use serde_json::{Value, json};

use super::{EMBASSY, Product, conditions, restore, sample};
use crate::{bed::secrets, cluster::Cluster, command::wait_for};

/// Where drills run: the namespace that every `RegistryCustody` of the bed names.
pub const NAMESPACE: &str = "drills";
/// The throw-away database of a drill: the bed's own image, which the node has.
pub const IMAGE: &str = "dataembassy.local/postgresql:17";

/// A `RegistryDrill`, as whoever keeps it sees it.
#[derive(Clone)]
pub struct Drilling {
    cluster: Cluster,
    api: Api<RegistryDrill>,
    name: String,
}

impl Drilling {
    /// A handle on a drill, whether it is there yet or not.
    #[must_use]
    pub fn of(product: &Product, name: &str) -> Self {
        let cluster = product.bed.embassy();
        Self {
            api: Api::namespaced(cluster.client().clone(), NAMESPACE),
            cluster: cluster.clone(),
            name: name.to_owned(),
        }
    }

    /// Asks for drills of a registry, once a year and now, of which `change` may change its mind. The keys that they need are brought first.
    pub async fn begin(product: &Product, registry: &str, change: impl FnOnce(&mut Value)) -> Result<Self> {
        let retrieval = bring_keys(product, registry).await?;
        let mut manifest = json!({
            "apiVersion": "dataembassy.io/v1alpha1",
            "kind": "RegistryDrill",
            "metadata": {"name": registry, "namespace": NAMESPACE},
            "spec": {
                "embassyRef": {"name": EMBASSY},
                "registry": {"id": registry},
                "schedule": {"cron": "0 0 1 1 *", "deadline": "20m"},
                "trigger": "first",
                "retrievalCredentialsRef": {"name": retrieval},
                "identityRef": {"name": "identity"},
                "server": {"image": IMAGE, "imagePullPolicy": "Never", "volumeSize": "2Gi"},
                "allowedExtensions": ["registry_codes"],
                "rto": "10m",
            },
        });
        change(&mut manifest["spec"]);
        let drilling = Self::of(product, registry);
        drilling.cluster.apply(&manifest.to_string()).await?;
        Ok(drilling)
    }

    /// Asks for the drills that the docs show, in the bed's own image, and for one of them now.
    pub async fn begin_sample(product: &Product, registry: &str, trigger: &str) -> Result<Self> {
        let retrieval = bring_keys(product, registry).await?;
        let text = std::fs::read_to_string(sample(&format!("drills/{registry}")))?;
        let mut manifest: Value = serde_saphyr::from_str(&text)?;
        let spec = &mut manifest["spec"];
        ensure!(
            spec["retrievalCredentialsRef"]["name"] == *retrieval,
            "the sample names other Secrets than the bed has: {spec}"
        );
        let identity = spec["identityRef"]["name"]
            .as_str()
            .context("the sample names no identity")?;
        let key = [("identity.txt", product.keys.identity.as_str())];
        secrets::write(product.bed.embassy(), NAMESPACE, identity, &key).await?;
        spec["server"]["image"] = IMAGE.into();
        spec["server"]["imagePullPolicy"] = "Never".into();
        spec["trigger"] = trigger.into();
        let drilling = Self::of(product, registry);
        drilling.cluster.apply(&manifest.to_string()).await?;
        Ok(drilling)
    }

    /// The resource as it is now.
    pub async fn get(&self) -> Result<RegistryDrill> {
        Ok(self.api.get(&self.name).await?)
    }

    /// Asks for another drill now.
    pub async fn trigger(&self, trigger: &str) -> Result<()> {
        self.patch(&json!({"spec": {"trigger": trigger}})).await
    }

    /// Changes the resource.
    pub async fn patch(&self, patch: &Value) -> Result<()> {
        let arguments = [
            "patch",
            "registrydrill",
            &self.name,
            "--namespace",
            NAMESPACE,
            "--type=merge",
            &format!("--patch={patch}"),
        ];
        self.cluster.kubectl(arguments).await.map(drop)
    }

    /// Deletes it.
    pub async fn delete(&self) -> Result<()> {
        let arguments = ["delete", "registrydrill", &self.name, "--namespace", NAMESPACE];
        self.cluster.kubectl(arguments).await.map(drop)
    }

    /// The drill that answered a trigger, once it has ended and nothing is at work any more.
    pub async fn answered(&self, trigger: &str, deadline: Duration) -> Result<EndedDrill> {
        let what = format!("the end of the drill {trigger} of {}", self.name);
        let ended = wait_for(&what, deadline, || async {
            let status = self.get().await?.status.unwrap_or_default();
            let is_answered = status.last_trigger.as_deref() == Some(trigger) && status.current.is_none();
            Ok(status.last.filter(|_| is_answered))
        })
        .await;
        match ended {
            Ok(ended) => Ok(ended),
            Err(error) => Err(error.context(conditions::told(&self.api, &self.name).await)),
        }
    }

    /// Waits until a condition has a status and a reason; returns its message.
    pub async fn condition(
        &self,
        kind: &str,
        status: ConditionStatus,
        reason: &str,
        deadline: Duration,
    ) -> Result<String> {
        conditions::wait(&self.api, &self.name, kind, status, Some(reason), deadline).await
    }
}

/// What is left in the namespace for drills, as Secrets: the identity, and the registry's retrieval user, whose Secret's name is returned.
async fn bring_keys(product: &Product, registry: &str) -> Result<String> {
    let embassy = product.bed.embassy();
    super::embassy::open_namespace(embassy, NAMESPACE).await?;
    let store = product.bed.store().await?;
    restore::bring_identity(product, embassy, NAMESPACE).await?;
    restore::bring_retrieval(&store, embassy, NAMESPACE, registry).await
}

/// What was signed of a drill, as it lies in the store.
#[derive(Debug)]
pub struct Signed {
    /// The entry.
    pub entry: DrillBody,
    /// The report for programs.
    pub json: Value,
    /// The report for people.
    pub html: String,
}

/// Reads what an ended drill's entry and reports say, and compares the reports with the digests of the entry.
pub async fn signed(product: &Product, registry: &str, ended: &EndedDrill) -> Result<Signed> {
    let number = ended.entry.context("nothing was signed")?;
    let key = ObjectKey::Custody {
        registry: registry.parse()?,
        sequence: Sequence::new(number.unsigned_abs())?,
    };
    let entry = CustodyEntry::verify(&read(product, &key.to_string()).await?)?;
    ensure!(
        entry.signer.to_string() == key_of(&product.keys.custodian_public),
        "entry {number} is signed by {}",
        entry.signer
    );
    let CustodyBody::Drill(body) = entry.entry.body else {
        anyhow::bail!("custody entry {number} of {registry} is no drill");
    };
    let report = ended.report.as_ref().context("the drill names no report")?;
    let json = read(product, &format!("{report}.json")).await?;
    let html = read(product, &format!("{report}.html")).await?;
    ensure!(
        Sha256Digest::of(&json) == body.reports.json.sha256
            && Sha256Digest::of(&html) == body.reports.html.sha256,
        "the reports are not those that the entry names"
    );
    Ok(Signed {
        entry: body,
        json: serde_json::from_slice(&json)?,
        html: String::from_utf8(html)?,
    })
}

/// A public key without its comment.
fn key_of(line: &str) -> String {
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

async fn read(product: &Product, key: &str) -> Result<Vec<u8>> {
    let store = product.bed.store().await?;
    let answer = store
        .root()
        .expect(Method::GET, &format!("/{BUCKET}/{key}"), &[], &[], Vec::new())
        .await?;
    Ok(answer.into_body().to_vec())
}
