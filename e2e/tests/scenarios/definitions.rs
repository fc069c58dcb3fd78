//! The rules of the kinds, kept by the API server against JSON as anybody may send it.

use anyhow::{Result, ensure};
use hyper::Request;
use kube::Client;
use serde_json::{Value, json};

use crate::world::{World, together};

pub(crate) const GROUP: &str = "/apis/dataembassy.io/v1alpha1";

/// What is wrong, how it is written, and the words of the refusal.
type Wrong = (fn(&mut Value), &'static str);

const WRONG_MIRRORS: [Wrong; 14] = [
    (
        |object| object["spec"]["source"] = json!({}),
        "exactly one engine must be set",
    ),
    (
        |object| object["spec"]["source"]["postgresql"] = Value::Null,
        "exactly one engine must be set",
    ),
    (|object| object["spec"]["source"] = Value::Null, "spec.source"),
    (
        |object| object["spec"]["registry"]["id"] = Value::Null,
        "spec.registry.id",
    ),
    (|object| object["spec"]["schedule"] = Value::Null, "spec.schedule"),
    (
        |object| object["metadata"]["name"] = "a".repeat(41).into(),
        "metadata.name must be a DNS label of at most 40 characters",
    ),
    (
        |object| object["metadata"]["name"] = "population.v2".into(),
        "metadata.name must be a DNS label of at most 40 characters",
    ),
    (
        |object| object["spec"]["registry"]["id"] = "Population".into(),
        "spec.registry.id",
    ),
    (
        |object| object["spec"]["registry"]["id"] = "po".into(),
        "spec.registry.id",
    ),
    (
        |object| object["spec"]["objectives"]["rpo"] = "1w".into(),
        "spec.objectives.rpo",
    ),
    (
        |object| object["spec"]["source"]["postgresql"]["maxConnections"] = 2.into(),
        "spec.source.postgresql.maxConnections",
    ),
    (
        |object| object["spec"]["source"]["postgresql"]["tls"] = json!({"mode": "Disable"}),
        "spec.source.postgresql.tls.mode",
    ),
    (
        |object| object["spec"]["trigger"] = "two\nlines".into(),
        "spec.trigger",
    ),
    (|object| object["spec"]["sourcee"] = json!({}), "unknown field"),
];

const PLAIN: &str = "http://store.embassy.example:9000";
const NEEDS_PERMISSION: &str = "plain http needs allowInsecure: true";

const WRONG_EMBASSIES: [Wrong; 8] = [
    (
        |object| object["spec"]["store"]["endpoint"] = PLAIN.into(),
        NEEDS_PERMISSION,
    ),
    (
        |object| {
            object["spec"]["store"]["endpoint"] = PLAIN.into();
            object["spec"]["store"]["allowInsecure"] = Value::Null;
        },
        NEEDS_PERMISSION,
    ),
    (
        |object| {
            object["spec"]["store"]["endpoint"] = PLAIN.into();
            object["spec"]["store"]["allowInsecure"] = false.into();
        },
        NEEDS_PERMISSION,
    ),
    (
        |object| object["spec"]["recipients"] = json!([]),
        "spec.recipients",
    ),
    (
        |object| object["spec"]["recipients"] = Value::Null,
        "spec.recipients",
    ),
    (
        |object| object["spec"]["recipients"][0]["publicKey"] = "AGE-SECRET-KEY-1".into(),
        "spec.recipients[0].publicKey",
    ),
    (
        |object| object["spec"]["store"]["bucket"] = Value::Null,
        "spec.store.bucket",
    ),
    (
        |object| object["metadata"]["name"] = "luxembourg.site".into(),
        "metadata.name must be a DNS label of at most 63 characters",
    ),
];

#[test]
fn wrong_resources_are_refused_in_our_words_however_they_are_written() {
    together(refused);
}

#[test]
fn what_names_a_ledger_cannot_be_changed() {
    together(immutable);
}

#[test]
fn no_resource_of_ours_carries_a_finalizer() {
    together(no_finalizer);
}

#[test]
fn nothing_that_we_make_carries_a_finalizer_but_those_of_kubernetes_itself() {
    together(no_finalizer_on_what_is_made);
}

/// Whoever deletes a resource, its namespace or the release waits for nobody of ours.
async fn no_finalizer(world: &'static World) -> Result<()> {
    let mut seen = 0;
    for cluster in [world.home(), world.product.bed.embassy()] {
        for definition in dataembassy_crds::all() {
            let plural = format!("{}.{}", definition.spec.names.plural, definition.spec.group);
            let columns = "custom-columns=NAME:.metadata.name,FINALIZERS:.metadata.finalizers";
            let found = cluster
                .kubectl([
                    "get",
                    &plural,
                    "--all-namespaces",
                    "--no-headers",
                    "--output",
                    columns,
                ])
                .await?;
            for line in found.lines() {
                ensure!(line.ends_with("<none>"), "{plural}: {line}");
                seen += 1;
            }
        }
    }
    ensure!(seen > 1, "only {seen} resources were looked at");
    Ok(())
}

/// What the operator makes, and what comes of it.
const MADE: &str = "deployments,replicasets,statefulsets,jobs,pods,persistentvolumeclaims,configmaps,secrets,serviceaccounts,services,networkpolicies";

/// Kubernetes keeps a volume that is in use, and a Job's pod until it is counted. Nobody else is waited for.
async fn no_finalizer_on_what_is_made(world: &'static World) -> Result<()> {
    for cluster in [world.home(), world.product.bed.embassy()] {
        let ours = "--selector=app.kubernetes.io/managed-by=dataembassy-operator";
        let made = ["get", MADE, "--all-namespaces", ours, "--output=json"];
        let made: Value = serde_json::from_str(&cluster.kubectl(made).await?)?;
        let items = made["items"].as_array().map_or(&[][..], Vec::as_slice);
        // The embassy's custodian and gate are always there; at home somebody may be the first.
        let is_home = cluster.name() == world.home().name();
        ensure!(is_home || !items.is_empty(), "nothing of ours was found");
        for item in items {
            let finalizers = item["metadata"]["finalizers"].as_array();
            for finalizer in finalizers.into_iter().flatten().filter_map(Value::as_str) {
                let (domain, _) = finalizer.split_once('/').unwrap_or_default();
                let is_theirs = domain.ends_with("kubernetes.io")
                    || ["foregroundDeletion", "orphan"].contains(&finalizer);
                ensure!(
                    is_theirs,
                    "{} {} carries {finalizer}",
                    item["kind"],
                    item["metadata"]["name"]
                );
            }
        }
    }
    Ok(())
}

async fn refused(world: &'static World) -> Result<()> {
    let ministry = world.ministry("definitions").await?;
    let client = world.home().client();
    let mirrors = format!("{GROUP}/namespaces/{}/registrymirrors", ministry.namespace);
    let embassies = format!("{GROUP}/dataembassies");
    for (path, right, wrongs) in [
        (mirrors, mirror(&ministry.namespace), WRONG_MIRRORS.as_slice()),
        (embassies, embassy(), WRONG_EMBASSIES.as_slice()),
    ] {
        ask(client, "POST", &path, &right)
            .await?
            .map_err(|refusal| anyhow::anyhow!("the right one is refused: {refusal}"))?;
        for (change, words) in wrongs {
            let mut object = right.clone();
            change(&mut object);
            match ask(client, "POST", &path, &object).await? {
                Ok(()) => anyhow::bail!("taken, and should be refused for {words}: {object}"),
                Err(refusal) => ensure!(refusal.contains(words), "not for {words}: {refusal}"),
            }
        }
    }
    Ok(())
}

async fn immutable(world: &'static World) -> Result<()> {
    let ministry = world.ministry("immutable").await?;
    let home = world.home();
    // Its embassy does not exist, so nothing is made for it.
    let mut object = mirror(&ministry.namespace);
    home.apply(&object.to_string()).await?;
    let path = format!(
        "{GROUP}/namespaces/{}/registrymirrors/population",
        ministry.namespace
    );
    let client = home.client();

    object["spec"]["registry"]["id"] = "health".into();
    let refusal = ask(client, "PATCH", &path, &object).await?;
    ensure!(
        refusal
            .as_ref()
            .is_err_and(|words| words.contains("registry.id is immutable")),
        "{refusal:?}"
    );

    // A mistyped embassy can be corrected, until the ledger has an entry.
    object = mirror(&ministry.namespace);
    object["spec"]["embassyRef"]["name"] = "estonia".into();
    let taken = ask(client, "PATCH", &path, &object).await?;
    ensure!(taken.is_ok(), "{taken:?}");
    let head = json!({"status": {"head": {"sequence": 1, "digest": "0".repeat(64)}}}).to_string();
    home.kubectl([
        "patch",
        "registrymirror",
        "population",
        "--namespace",
        &ministry.namespace,
        "--subresource=status",
        "--type=merge",
        "--patch",
        &head,
    ])
    .await?;
    for name in [json!("estonia"), Value::Null] {
        object["spec"]["embassyRef"]["name"] = name;
        let refusal = ask(client, "PATCH", &path, &object).await?;
        ensure!(
            refusal.as_ref().is_err_and(|words| words.contains("embassyRef")),
            "{refusal:?}"
        );
    }
    Ok(())
}

/// What the manual shows, with an embassy that does not exist.
fn mirror(namespace: &str) -> Value {
    json!({
        "apiVersion": "dataembassy.io/v1alpha1",
        "kind": "RegistryMirror",
        "metadata": {"name": "population", "namespace": namespace},
        "spec": {
            "registry": {"id": "population"},
            "embassyRef": {"name": "atlantis"},
            "depositCredentialsRef": {"name": "population-deposit"},
            "source": {"postgresql": {
                "host": "population-db",
                "database": "population",
                "tls": {"caRef": {"name": "population-ca"}},
                "credentialsRef": {"name": "population-dump"},
            }},
            "schedule": {"cron": "*/15 * * * *"},
            "objectives": {"rpo": "30m"},
        },
    })
}

fn embassy() -> Value {
    json!({
        "apiVersion": "dataembassy.io/v1alpha1",
        "kind": "DataEmbassy",
        "metadata": {"name": "atlantis"},
        "spec": {
            "store": {"endpoint": "https://gate.embassy.example", "bucket": "registries"},
            "immutability": {"mode": "Compliance", "lockOnArrival": "14d"},
            "recipients": [{
                "name": "ministry",
                "publicKey": "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
            }],
        },
    })
}

/// Sends an object as it is, nulls and all, to be judged and not kept. The inner error is the API server's refusal.
pub(crate) async fn ask(
    client: &Client,
    method: &str,
    path: &str,
    object: &Value,
) -> Result<Result<(), String>> {
    let (query, kind) = match method {
        "PATCH" => ("dryRun=All", "application/merge-patch+json"),
        _ => ("dryRun=All&fieldValidation=Strict", "application/json"),
    };
    let request = Request::builder()
        .method(method)
        .uri(format!("{path}?{query}"))
        .header("content-type", kind)
        .body(object.to_string().into_bytes())?;
    match client.request_text(request).await {
        Ok(_) => Ok(Ok(())),
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 422) => Ok(Err(status.message)),
        Err(error) => Err(error.into()),
    }
}
