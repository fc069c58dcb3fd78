//! References to what is not there: whoever made one reads within a minute which of its names leads nowhere.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use dataembassy_e2e::{
    cluster::Cluster,
    command::wait_for,
    product::{
        activation::{Activating, NAMESPACE, Wanted},
        drill::Drilling,
        restore,
    },
};
use hyper::Request;
use serde_json::{Value, json};

use crate::{
    definitions::GROUP,
    neighbours::{references, sample},
    world::{MINUTE, PATIENCE, World, together},
};

/// References that are not tried here, because a second custodian and its gates would be much for the bed's one node: the operator's and the
/// sidecar's tests have each of them, with a custodian and gates that say what they miss.
const ELSEWHERE: [&str; 4] = [
    "DataEmbassy.spec.custodian.check.credentialsRef",
    "DataEmbassy.spec.custodian.credentialsRef",
    "DataEmbassy.spec.custodian.gate.tlsRef",
    "DataEmbassy.spec.custodian.signerRef",
];

#[test]
fn what_a_reference_names_and_is_not_there_is_said_by_its_name_within_a_minute() {
    together(scenario);
}

async fn scenario(world: &'static World) -> Result<()> {
    let mut tried: BTreeSet<String> = ELSEWHERE.map(str::to_owned).into();
    embassies(world, &mut tried).await?;
    of_a_mirror(world, &mut tried).await?;
    let subject = world.mirrored("missing").await?;
    let id = subject.id.as_str();
    of_a_restore(world, id, &mut tried).await?;
    of_a_drill(world, id, &mut tried).await?;
    of_a_managed_database(world, id, &mut tried).await?;
    of_an_activation(world, id, &mut tried).await?;
    let all: BTreeSet<String> = references().into_iter().collect();
    ensure!(
        tried == all,
        "tried and not there: {:?}; there and not tried: {:?}",
        tried.difference(&all).collect::<Vec<_>>(),
        all.difference(&tried).collect::<Vec<_>>()
    );
    subject.delete().await
}

/// Fields of one spec that are made to lead nowhere.
struct Astray<'a> {
    kind: &'a str,
    /// The field of the kind's spec that this spec is the content of, with a dot behind it.
    below: &'a str,
    names: Vec<String>,
}

impl<'a> Astray<'a> {
    fn of(kind: &'a str, below: &'a str) -> Self {
        Self {
            kind,
            below,
            names: Vec::new(),
        }
    }

    /// Has a field name what is not there.
    fn lead(&mut self, spec: &mut Value, field: &str, tried: &mut BTreeSet<String>) {
        let name = format!("no-{}", field.replace('.', "-").to_ascii_lowercase());
        let mut place = spec;
        for step in field.split('.') {
            place = &mut place[step];
        }
        *place = json!({"name": name});
        self.names.push(name);
        tried.insert(format!("{}.spec.{}{field}", self.kind, self.below));
    }

    /// Waits until what stands at a place of the resource gives this reason and has every name in its message.
    async fn is_told(&self, told: &Told<'_>, reason: &str, deadline: Duration) -> Result<()> {
        let what = format!("{reason} of {}: {:?}", told.path, self.names);
        wait_for(&what, deadline, || async {
            let said = told.now().await?;
            let message = said["message"].as_str().unwrap_or_default();
            let is_told = said["reason"] == reason && self.names.iter().all(|name| message.contains(name));
            ensure!(is_told, "it says {said}");
            Ok(Some(()))
        })
        .await
    }
}

/// Where something is told.
struct Told<'a> {
    cluster: &'a Cluster,
    /// The resource, as its API server calls it.
    path: String,
    /// The condition; that of the only registry of an activation where there is none.
    condition: Option<&'a str>,
}

impl Told<'_> {
    async fn now(&self) -> Result<Value> {
        let request = Request::get(&self.path).body(Vec::new())?;
        let object: Value = self.cluster.client().request(request).await?;
        let status = &object["status"];
        let Some(condition) = self.condition else {
            return Ok(status["registries"][0].clone());
        };
        let mut conditions = status["conditions"].as_array().into_iter().flatten();
        let found = conditions.find(|one| one["type"] == condition);
        Ok(found.cloned().unwrap_or_default())
    }
}

/// Every kind that names an embassy, with one that is not there.
async fn embassies(world: &World, tried: &mut BTreeSet<String>) -> Result<()> {
    let (home, abroad) = (world.home(), world.product.bed.embassy());
    for (cluster, kind, plural) in [
        (home, "RegistryMirror", "registrymirrors"),
        (abroad, "RegistryCustody", "registrycustodies"),
        (abroad, "RegistryRestore", "registryrestores"),
        (abroad, "RegistryDrill", "registrydrills"),
        (abroad, "EmbassyActivation", "embassyactivations"),
    ] {
        let name = world.unique("no-embassy");
        let mut object = sample(kind)?.with_context(|| format!("{kind} has no sample"))?;
        object["metadata"]["name"] = name.as_str().into();
        if object["spec"]["registry"].is_object() {
            object["spec"]["registry"]["id"] = name.as_str().into();
        }
        let mut astray = Astray::of(kind, "");
        astray.lead(&mut object["spec"], "embassyRef", tried);
        cluster.apply(&object.to_string()).await?;
        let namespace = object["metadata"]["namespace"].as_str();
        let path = match namespace {
            Some(namespace) => format!("{GROUP}/namespaces/{namespace}/{plural}/{name}"),
            None => format!("{GROUP}/{plural}/{name}"),
        };
        let told = Told {
            cluster,
            path,
            condition: Some("Ready"),
        };
        astray.is_told(&told, "UnknownEmbassy", MINUTE).await?;
        let mut delete = vec!["delete", plural, &name];
        delete.extend(
            namespace
                .into_iter()
                .flat_map(|namespace| ["--namespace", namespace]),
        );
        cluster.kubectl(delete).await?;
    }
    Ok(())
}

async fn of_a_mirror(world: &'static World, tried: &mut BTreeSet<String>) -> Result<()> {
    let ministry = world.ministry("missing-source").await?;
    let subject = ministry.small_registry("missing-source").await?;
    let mut astray = Astray::of("RegistryMirror", "");
    subject
        .apply(|spec| {
            for field in [
                "depositCredentialsRef",
                "signing.signerRef",
                "source.postgresql.credentialsRef",
                "source.postgresql.tls.caRef",
            ] {
                astray.lead(spec, field, tried);
            }
        })
        .await?;
    let (namespace, id) = (&subject.namespace, &subject.id);
    let told = Told {
        cluster: world.home(),
        path: format!("{GROUP}/namespaces/{namespace}/registrymirrors/{id}"),
        condition: Some("Ready"),
    };
    astray.is_told(&told, "SecretMissing", MINUTE).await?;
    subject.delete().await
}

async fn of_a_restore(world: &World, id: &str, tried: &mut BTreeSet<String>) -> Result<()> {
    let product = &world.product;
    let wanted = restore::Wanted {
        registry: id,
        sample: dataembassy_e2e::registries::Registry::Population,
        signer: "",
        major: restore::MAJOR,
        database: id,
    };
    let mut astray = Astray::of("RegistryRestore", "");
    let restoring = restore::begin(product, &wanted, |spec| {
        for field in [
            "identityRef",
            "retrievalCredentialsRef",
            "target.credentialsRef",
            "target.tls.caRef",
        ] {
            astray.lead(spec, field, tried);
        }
    })
    .await?;
    let told = Told {
        cluster: product.bed.embassy(),
        path: format!("{GROUP}/namespaces/{}/registryrestores/{id}", restore::NAMESPACE),
        condition: Some("Ready"),
    };
    astray.is_told(&told, "SecretMissing", MINUTE).await?;
    restoring.delete().await
}

async fn of_a_drill(world: &World, id: &str, tried: &mut BTreeSet<String>) -> Result<()> {
    let mut astray = Astray::of("RegistryDrill", "");
    let drilling = Drilling::begin(&world.product, id, |spec| {
        for field in ["identityRef", "retrievalCredentialsRef"] {
            astray.lead(spec, field, tried);
        }
    })
    .await?;
    let namespace = dataembassy_e2e::product::drill::NAMESPACE;
    let told = Told {
        cluster: world.product.bed.embassy(),
        path: format!("{GROUP}/namespaces/{namespace}/registrydrills/{id}"),
        condition: Some("Ready"),
    };
    // Its throw-away database comes up first.
    astray.is_told(&told, "SecretMissing", PATIENCE).await?;
    drilling.delete().await
}

/// Where an activation tells of its only registry.
fn of_the_registry<'a>(world: &'a World, name: &str) -> Told<'a> {
    Told {
        cluster: world.product.bed.embassy(),
        path: format!("{GROUP}/namespaces/{NAMESPACE}/embassyactivations/{name}"),
        condition: None,
    }
}

async fn of_a_managed_database(world: &World, id: &str, tried: &mut BTreeSet<String>) -> Result<()> {
    let product = &world.product;
    let name = world.unique("missing-tls");
    let mut astray = Astray::of("EmbassyActivation", "registries.[].");
    let activating = Activating::begin(product, &name, "Rehearse", &[Wanted::of(id)], |spec| {
        astray.lead(&mut spec["registries"][0], "target.managed.tlsRef", tried);
    })
    .await?;
    activating.approve_by(product, 2).await?;
    // Signatures are judged, a copy is chosen, and a volume is made first.
    astray
        .is_told(&of_the_registry(world, &name), "SecretMissing", PATIENCE)
        .await?;
    activating.delete().await
}

async fn of_an_activation(world: &World, id: &str, tried: &mut BTreeSet<String>) -> Result<()> {
    let product = &world.product;
    let server = restore::server(product).await?;
    let name = world.unique("missing-keys");
    let mut astray = Astray::of("EmbassyActivation", "registries.[].");
    let activating = Activating::begin(product, &name, "Activate", &[Wanted::of(id)], |spec| {
        let registry = &mut spec["registries"][0];
        // Nobody gets so far as to call it.
        registry["target"] = json!({"external": {"host": server.full_host(), "database": id}});
        for field in [
            "identityRef",
            "retrievalCredentialsRef",
            "target.external.credentialsRef",
            "target.external.tls.caRef",
        ] {
            astray.lead(registry, field, tried);
        }
    })
    .await?;
    activating.approve_by(product, 2).await?;
    // Signatures are judged, home is fenced, and a copy is chosen first.
    astray
        .is_told(&of_the_registry(world, &name), "SecretMissing", PATIENCE)
        .await?;
    activating.delete().await
}
