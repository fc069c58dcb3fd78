//! A neighbour who may make our resources, and wants them to lead where they must not: to another namespace's Secrets, or to addresses that
//! are nobody's registry.

use anyhow::{Context as _, Result, ensure};
use dataembassy_crds::{ConditionStatus, all};
use dataembassy_e2e::product::{
    self,
    activation::{Activating, Wanted},
    restore,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use serde_json::{Value, json};

use crate::{
    definitions::{GROUP, ask},
    world::{MINUTE, World, together},
};

/// What a reference may not be.
const NAMES: [&str; 6] = [
    "kube-system/the-secret",
    "../kube-system/the-secret",
    "..",
    "LONG",
    "põhisaladus",
    "the secret\n---",
];
/// What a field is called that says where something is. The operator's tests fail where there is another one.
const ADDRESSES: [&str; 4] = ["host", "endpoint", "allowedHosts", "allowedNetworks"];
/// What an address may not be, whatever it leads to.
const HOSTS: [&str; 5] = [
    "https://user:password@203.0.113.7",
    "203.0.113.7/../..",
    "LONG",
    "põhiandmed",
    "a host\nX: y",
];
/// Where an address may not lead.
const NOWHERE: [(&str, &str); 6] = [
    ("169.254.169.254", "link-local"),
    ("127.0.0.1", "loopback"),
    ("localhost", "loopback"),
    ("::ffff:169.254.169.254", "link-local"),
    ("fd00:ec2::254", "metadata"),
    ("::1", "loopback"),
];

#[test]
fn no_reference_leaves_its_namespace_and_no_address_is_more_than_a_host() {
    together(fields);
}

#[test]
fn no_source_and_no_target_is_an_address_that_is_nobodys_registry() {
    together(targets);
}

/// A field of a kind, as the steps that lead to it: names, and `[]` for every item.
type Field = Vec<String>;

async fn fields(world: &'static World) -> Result<()> {
    let client = world.product.bed.embassy().client();
    let (mut references, mut addresses) = (0, 0);
    for definition in all() {
        let names = &definition.spec.names;
        let Some(right) = sample(&names.kind)? else {
            ensure!(names.kind == "RecoveryPoint", "{} has no sample", names.kind);
            continue;
        };
        let path = match definition.spec.scope.as_str() {
            "Cluster" => format!("{GROUP}/{}", names.plural),
            _ => format!("{GROUP}/namespaces/default/{}", names.plural),
        };
        let refused = async |field: &Field, value: Value, words: &str| -> Result<()> {
            let mut object = right.clone();
            put(&mut object, field, value.clone());
            let answer = ask(client, "POST", &path, &object).await?;
            let is_refused = answer.as_ref().is_err_and(|refusal| refusal.contains(words));
            ensure!(
                is_refused,
                "{} with {field:?} {value} is not refused for {words}: {answer:?}",
                names.kind
            );
            Ok(())
        };
        for field in find(&definition, is_reference) {
            let place = spoken(&field);
            for name in NAMES {
                refused(&field, json!({"name": long(name)}), &format!("{place}.name")).await?;
            }
            for beyond in ["namespace", "kind"] {
                let reference = json!({"name": "the-secret", beyond: "ClusterRole"});
                refused(&field, reference, &format!("unknown field \"{place}.{beyond}\"")).await?;
            }
            references += 1;
        }
        for field in find(&definition, is_address) {
            let is_list = field.last().is_some_and(|name| name.starts_with("allowed"));
            for host in HOSTS {
                let host = long(host);
                let value = if is_list { json!([host]) } else { json!(host) };
                refused(&field, value, &spoken(&field)).await?;
            }
            addresses += 1;
        }
    }
    ensure!(
        references >= 20 && addresses == 6,
        "{references} references and {addresses} addresses were found"
    );
    Ok(())
}

fn long(value: &str) -> String {
    match value {
        "LONG" => "a".repeat(300),
        value => value.to_owned(),
    }
}

fn is_reference(name: &str, schema: &JSONSchemaProps) -> bool {
    name.ends_with("Ref")
        && schema
            .properties
            .as_ref()
            .is_some_and(|inner| inner.contains_key("name"))
}

fn is_address(name: &str, _: &JSONSchemaProps) -> bool {
    ADDRESSES.contains(&name)
}

/// Every field that refers to something else by its name, as `Kind.spec.field`.
pub(crate) fn references() -> Vec<String> {
    let mut found = Vec::new();
    for definition in all() {
        let kind = &definition.spec.names.kind;
        let fields = find(&definition, is_reference);
        found.extend(fields.iter().map(|field| format!("{kind}.{}", field.join("."))));
    }
    found
}

/// The fields below the spec that are like this.
fn find(definition: &CustomResourceDefinition, is: fn(&str, &JSONSchemaProps) -> bool) -> Vec<Field> {
    fn walk(
        at: &Field,
        schema: &JSONSchemaProps,
        is: fn(&str, &JSONSchemaProps) -> bool,
        found: &mut Vec<Field>,
    ) {
        for (name, child) in schema.properties.iter().flatten() {
            let field = [at.as_slice(), std::slice::from_ref(name)].concat();
            if is(name, child) {
                found.push(field.clone());
            }
            walk(&field, child, is, found);
        }
        if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
            walk(&[at.as_slice(), &["[]".to_owned()]].concat(), item, is, found);
        }
    }
    let mut found = Vec::new();
    let version = definition.spec.versions.first();
    let schema = version.and_then(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
    if let Some(spec) = schema.and_then(|schema| schema.properties.as_ref()?.get("spec")) {
        walk(&vec!["spec".to_owned()], spec, is, &mut found);
    }
    found
}

/// Puts a value into a field, with everything that leads there. Of a list it is the first item.
fn put(object: &mut Value, field: &[String], value: Value) {
    match field.split_first() {
        None => *object = value,
        Some((step, rest)) if step == "[]" => {
            if object.get(0).is_none() {
                *object = json!([{}]);
            }
            put(&mut object[0], rest, value);
        }
        Some((step, rest)) => {
            if !object.is_object() {
                *object = json!({});
            }
            put(&mut object[step.as_str()], rest, value);
        }
    }
}

/// A field as the API server tells it.
fn spoken(field: &Field) -> String {
    field.join(".").replace(".[]", "[0]")
}

/// What the docs show of a kind, in a namespace that is there.
pub(crate) fn sample(kind: &str) -> Result<Option<Value>> {
    let name = match kind {
        "DataEmbassy" => "embassy/luxembourg",
        "RegistryMirror" => "population",
        "RegistryCustody" => "embassy/population",
        "RegistryRestore" => "restores/population",
        "RegistryDrill" => "drills/population",
        "EmbassyActivation" => "activation/home-lost",
        _ => return Ok(None),
    };
    let path = product::sample(name);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut object: Value = serde_saphyr::from_str(&text)?;
    if object["metadata"]["namespace"].is_string() {
        object["metadata"]["namespace"] = json!("default");
    }
    Ok(Some(object))
}

async fn targets(world: &'static World) -> Result<()> {
    let subject = world.mirrored("neighbour").await?;
    let signer = subject.mirror.signer().await?;
    let id = subject.id.as_str();
    for (number, (host, words)) in NOWHERE.into_iter().enumerate() {
        subject
            .apply(|spec| spec["source"]["postgresql"]["host"] = host.into())
            .await?;
        let said = subject
            .mirror
            .condition("Stalled", ConditionStatus::True, Some("NotSovereign"), MINUTE)
            .await
            .with_context(|| format!("a mirror of {host}"))?;
        ensure!(said.contains(words), "a mirror of {host}: {said}");

        let database = format!("{id}-{number}");
        let restoring = restore::begin(&world.product, &subject.wanted(&signer, &database), |spec| {
            spec["target"]["host"] = host.into();
        })
        .await?;
        let said = restoring
            .condition("Stalled", ConditionStatus::True, "NotSovereign", MINUTE)
            .await
            .with_context(|| format!("a restore into {host}"))?;
        ensure!(said.contains(words), "a restore into {host}: {said}");
        restoring.delete().await?;

        let name = world.unique(&format!("neighbour-{number}"));
        let activating = Activating::begin(&world.product, &name, "Activate", &[Wanted::of(id)], |spec| {
            spec["registries"][0]["target"] = json!({"external": {
                "host": host,
                "database": id,
                "tls": {"caRef": {"name": "nobody"}},
                "credentialsRef": {"name": "nobody"},
            }});
        })
        .await?;
        let said = activating
            .condition("Stalled", ConditionStatus::True, "NotSovereign", MINUTE)
            .await
            .with_context(|| format!("an activation into {host}"))?;
        ensure!(said.contains(words), "an activation into {host}: {said}");
        activating.delete().await?;
    }
    subject.delete().await
}
