//! Activations: `EmbassyActivation`s that approvers sign on a machine of their own, and the databases that come up.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use dataembassy_crds::{
    ActivatedState, ActivationPhase, ConditionStatus, EmbassyActivation, EmbassyActivationStatus,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::{EMBASSY, Product, conditions, drill::IMAGE, embassy, restore, tls::Tls};
use crate::{bed::secrets, cluster::Cluster, command::wait_for, registries::Registry};

/// Where registries come up: the namespace of those who keep them abroad.
pub const NAMESPACE: &str = "abroad";
/// Within this time a statement is there to be signed.
const STATED: Duration = Duration::from_mins(1);
/// Within this time of being served a registry answers on every node.
const LET_IN: Duration = Duration::from_secs(30);

/// An `EmbassyActivation`, as whoever asked for it sees it.
#[derive(Clone)]
pub struct Activating {
    cluster: Cluster,
    api: Api<EmbassyActivation>,
    name: String,
}

/// One registry of an activation.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// Its id.
    pub registry: &'a str,
    /// The registries that must be served before it.
    pub after: Vec<&'a str>,
    /// What the restored database is asked: name, statement, answer.
    pub questions: Vec<(&'a str, &'a str, &'a str)>,
    /// The size of its volume.
    pub storage: &'a str,
}

impl<'a> Wanted<'a> {
    /// A registry that waits for no other and is asked nothing.
    #[must_use]
    pub const fn of(registry: &'a str) -> Self {
        Self {
            registry,
            after: Vec::new(),
            questions: Vec::new(),
            storage: "2Gi",
        }
    }

    /// A sample registry, asked whether its rows are there.
    #[must_use]
    pub fn sample(registry: Registry) -> Wanted<'static> {
        let question = match registry {
            Registry::Population => "SELECT count(*) > 0 FROM population.persons",
            Registry::Health => "SELECT count(*) > 0 FROM health.patients",
            Registry::Business => "SELECT count(*) > 0 FROM business.companies",
        };
        Wanted {
            questions: vec![("rows-are-there", question, "t")],
            ..Wanted::of(registry.id())
        }
    }

    /// The same, after others.
    #[must_use]
    pub fn after(mut self, after: &[&'a str]) -> Self {
        self.after = after.to_vec();
        self
    }

    async fn manifest(&self, product: &Product) -> Result<Value> {
        let store = product.bed.store().await?;
        let retrieval =
            restore::bring_retrieval(&store, product.bed.embassy(), NAMESPACE, self.registry).await?;
        let questions: Vec<_> = self
            .questions
            .iter()
            .map(|(name, sql, answer)| json!({"name": name, "sql": sql, "equals": answer}))
            .collect();
        Ok(json!({
            "id": self.registry,
            "dependsOn": self.after,
            "retrievalCredentialsRef": {"name": retrieval},
            "identityRef": {"name": "identity"},
            "target": {"managed": {"image": IMAGE, "imagePullPolicy": "Never", "storage": self.storage}},
            "allowedExtensions": ["registry_codes"],
            "assertions": questions,
        }))
    }
}

impl Activating {
    /// A handle on an activation, whether it is there yet or not.
    #[must_use]
    pub fn of(product: &Product, name: &str) -> Self {
        let cluster = product.bed.embassy();
        Self {
            api: Api::namespaced(cluster.client().clone(), NAMESPACE),
            cluster: cluster.clone(),
            name: name.to_owned(),
        }
    }

    /// Asks for an activation, `Activate` or `Rehearse`, of which `change` may change its mind. The keys that it needs are brought first.
    pub async fn begin(
        product: &Product,
        name: &str,
        mode: &str,
        registries: &[Wanted<'_>],
        change: impl FnOnce(&mut Value),
    ) -> Result<Self> {
        let embassy = product.bed.embassy();
        embassy::open_namespace(embassy, NAMESPACE).await?;
        restore::bring_identity(product, embassy, NAMESPACE).await?;
        let mut wanted = Vec::new();
        for one in registries {
            wanted.push(one.manifest(product).await?);
        }
        let tomorrow = Timestamp::now() + SignedDuration::from_hours(24);
        let mut manifest = json!({
            "apiVersion": "dataembassy.io/v1alpha1",
            "kind": "EmbassyActivation",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "embassyRef": {"name": EMBASSY},
                "mode": mode,
                "validUntil": tomorrow.to_string(),
                "registries": wanted,
            },
        });
        change(&mut manifest["spec"]);
        let activating = Self::of(product, name);
        activating.cluster.apply(&manifest.to_string()).await?;
        Ok(activating)
    }

    /// The resource as it is now.
    pub async fn get(&self) -> Result<EmbassyActivation> {
        Ok(self.api.get(&self.name).await?)
    }

    /// Its status as it is now.
    pub async fn status(&self) -> Result<EmbassyActivationStatus> {
        Ok(self.get().await?.status.unwrap_or_default())
    }

    /// The statement that approvers read, once it is there.
    pub async fn statement(&self) -> Result<String> {
        let stated = wait_for("the statement", STATED, || async {
            Ok(self.status().await?.statement.map(|statement| statement.text))
        })
        .await;
        match stated {
            Ok(text) => Ok(text),
            Err(error) => Err(error.context(self.told().await)),
        }
    }

    /// Puts signatures into the resource.
    pub async fn approve(&self, signatures: &[String]) -> Result<()> {
        let approvals: Vec<_> = signatures
            .iter()
            .map(|signature| json!({"signature": signature}))
            .collect();
        self.patch(&json!({"spec": {"approvals": approvals}})).await
    }

    /// Has the first `count` of the approvers sign the statement, and puts their signatures into the resource.
    pub async fn approve_by(&self, product: &Product, count: usize) -> Result<()> {
        let statement = self.statement().await?;
        let mut signatures = Vec::new();
        for approver in product.keys.approvers.iter().take(count) {
            signatures.push(approver.sign(&statement).await?);
        }
        ensure!(signatures.len() == count, "there are not so many approvers");
        self.approve(&signatures).await
    }

    /// Changes the resource.
    pub async fn patch(&self, patch: &Value) -> Result<()> {
        let arguments = [
            "patch",
            "embassyactivation",
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
        let arguments = [
            "delete",
            "embassyactivation",
            &self.name,
            "--namespace",
            NAMESPACE,
        ];
        self.cluster.kubectl(arguments).await.map(drop)
    }

    /// Waits until the whole is at a phase; returns its status.
    pub async fn phase(&self, phase: ActivationPhase, deadline: Duration) -> Result<EmbassyActivationStatus> {
        let what = format!("activation {} to be {phase:?}", self.name);
        let found = wait_for(&what, deadline, || async {
            let status = self.status().await?;
            Ok((status.phase == phase).then_some(status))
        })
        .await;
        match found {
            Ok(status) => Ok(status),
            Err(error) => Err(error.context(self.told().await)),
        }
    }

    /// Waits until a registry is as `is` wants it; returns its state.
    pub async fn registry(
        &self,
        registry: &str,
        deadline: Duration,
        is: impl Fn(&ActivatedState) -> bool,
    ) -> Result<ActivatedState> {
        let what = format!("registry {registry} of activation {}", self.name);
        let found = wait_for(&what, deadline, || async {
            let registries = self.status().await?.registries;
            Ok(registries
                .into_iter()
                .find(|state| state.id == registry && is(state)))
        })
        .await;
        match found {
            Ok(state) => Ok(state),
            Err(error) => Err(error.context(self.told().await)),
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

    async fn told(&self) -> String {
        conditions::told(&self.api, &self.name).await
    }
}

/// A superuser's session in a database that an activation serves, as an application has it that tries again: each node learns of the Service's
/// endpoint in its own time.
pub async fn connect(product: &Product, state: &ActivatedState) -> Result<Client> {
    let what = format!("registry {} to let applications in", state.id);
    wait_for(&what, LET_IN, || async {
        connect_once(product, state).await.map(Some)
    })
    .await
}

/// The same without trying again, through the registry's Service and over TLS: the certificate must be the Service's.
pub async fn connect_once(product: &Product, state: &ActivatedState) -> Result<Client> {
    let embassy = product.bed.embassy();
    let secret = state.credentials.as_ref().context("it names no credentials")?;
    let secret = secrets::read(embassy, NAMESPACE, secret)
        .await?
        .with_context(|| format!("there is no Secret {secret}"))?;
    let value = |key: &str| {
        let value = secret.get(key);
        value.with_context(|| format!("its Secret has no {key}"))
    };
    let services: Api<Service> = Api::namespaced(embassy.client().clone(), NAMESPACE);
    let service = services.get(&state.id).await?;
    let address = service.spec.and_then(|spec| spec.cluster_ip);
    let name = format!("{}.{NAMESPACE}.svc", state.id);
    let mut config = tokio_postgres::Config::new();
    config
        .host(&name)
        .hostaddr(address.context("its Service has no address")?.parse()?)
        .user(value("username")?)
        .password(value("password")?)
        .dbname(&state.id)
        .connect_timeout(Duration::from_secs(10))
        .ssl_mode(tokio_postgres::config::SslMode::Require);
    let tls = Tls::trusting(value("ca.crt")?)?;
    let (client, connection) = config
        .connect(tls)
        .await
        .with_context(|| format!("cannot connect to {name}"))?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}
