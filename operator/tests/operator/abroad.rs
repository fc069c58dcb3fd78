//! Mirrors at the embassy: of what an activation serves, with the key that the fence named, to the store itself; and of nothing else.

use std::path::Path;
use std::sync::Arc;

use dataembassy_contract::config::MirrorConfig;
use dataembassy_contract::custodian::RegistryReport;
use dataembassy_contract::files::CONFIG_FILE;
use dataembassy_crds::RegistryMirror;
use dataembassy_operator::mirror::reconcile;
use dataembassy_operator::poll::Known;
use serde_json::{Value, json};

use crate::world::embassy::{custody, embassy_settings, registry_report, standing};
use crate::world::{Asked, World, client, lines, read, said, written};

/// The key that the activation made.
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFfnGTva3wvhnebyPhEW7tuz8SkNOETtLKBFVcKwsia9";
const SECRET: &str = "home-lost-population-term-0badcafe";

fn sample(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/samples/activation/{name}.yaml"));
    let mut sample: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let uid = format!("uid-{}", sample["metadata"]["name"].as_str().unwrap());
    sample["metadata"]["uid"] = uid.into();
    sample["metadata"]["generation"] = 1.into();
    sample["metadata"]["creationTimestamp"] = "2026-11-28T09:00:00Z".into();
    sample
}

/// The sample's activation, when it serves.
fn serving() -> Value {
    let mut activation = sample("home-lost");
    activation["status"] = json!({
        "phase": "Serving",
        "registries": [{
            "id": "population", "phase": "Serving", "reason": "Serving", "message": "", "attempts": 1, "fence": 9,
            "signer": {"publicKey": KEY, "secret": SECRET},
        }],
    });
    activation
}

fn accepted() -> Value {
    let mut custody = custody("population");
    custody["status"] = json!({"term": 2, "sourceHead": {"sequence": 3, "digest": "a".repeat(64)}});
    custody
}

/// What the custodian says of a registry whose term this opened.
fn opened(holder: &str) -> Value {
    let mut report = registry_report(&[3, 2, 1]);
    report["term"] = 2.into();
    report["opening"] = json!({"holder": holder, "sequence": 9, "digest": "f".repeat(64), "signer": KEY, "order": "home-lost-1"});
    report
}

/// One reconcile of a mirror, in a world with these objects and a custodian that says this.
async fn run(mirror: &Value, objects: &[Value], report: Option<Value>) -> Vec<Asked> {
    let mut all = vec![standing(), mirror.clone()];
    all.extend_from_slice(objects);
    let world = World {
        settings: Some(embassy_settings()),
        ..World::of(&all)
    };
    let (client, log) = client(|_| None);
    let context = world.context(client);
    if let Some(report) = report {
        let known = Known {
            pod_uid: "uid".to_owned(),
            etag: None,
            report: Arc::new(read::<RegistryReport>(&report)),
        };
        context
            .registry_reports
            .keep("luxembourg/population".to_owned(), known);
    }
    reconcile(Arc::new(read::<RegistryMirror>(mirror)), context)
        .await
        .unwrap();
    log.take()
}

fn config(asked: &[Asked]) -> MirrorConfig {
    let map = written(asked, "/configmaps/population-mirror");
    MirrorConfig::from_json(map["data"][CONFIG_FILE].as_str().unwrap().as_bytes()).unwrap()
}

fn template(asked: &[Asked]) -> Value {
    written(asked, "/deployments/population-mirror")["spec"]["template"].clone()
}

#[tokio::test]
async fn the_sample_mirrors_what_is_served_with_the_activations_key_to_the_store_itself() {
    let asked = run(
        &sample("mirror"),
        &[serving(), accepted()],
        Some(opened("Embassy")),
    )
    .await;
    let config = config(&asked);
    assert_eq!(
        config.embassy.store.endpoint,
        "https://store.embassy.example:9000"
    );
    assert!(!config.embassy.custodian_keys.is_empty() && config.embassy.approvers.is_some());
    // Who wrote before is said by the registry's custody, and where the ledger stands too.
    let of_custody = custody("population")["spec"]["signers"][0]["publicKey"].clone();
    assert_eq!(config.signers.len(), 1);
    assert_eq!(config.signers[0].public_key, of_custody.as_str().unwrap());
    assert_eq!(config.floor.unwrap().sequence, 3);
    // No key is made: no other one than the activation's writes this term.
    assert!(
        !lines(&asked).iter().any(|line| line.starts_with("POST")),
        "{:?}",
        lines(&asked)
    );
    let template = template(&asked);
    let sources = template["spec"]["volumes"][0]["projected"]["sources"].to_string();
    assert!(sources.contains(SECRET), "{sources}");
    // The store's policy, and the database's, know its pod by these.
    let labels = &template["metadata"]["labels"];
    assert_eq!(labels["dataembassy.io/store-access"], "true");
    assert_eq!(labels["dataembassy.io/database"], "home-lost-population");
    assert_eq!(said(written(&asked, "/status"), "Stalled").0, "");
}

#[tokio::test]
async fn a_mirror_in_another_namespace_takes_no_registry_away_that_is_served_from_here() {
    let mut squatter = sample("mirror");
    squatter["metadata"]["namespace"] = "tenant".into();
    squatter["metadata"]["uid"] = "uid-squatter".into();
    squatter["metadata"]["creationTimestamp"] = "2026-01-01T09:00:00Z".into();
    let objects = [serving(), accepted(), squatter];
    let asked = run(&sample("mirror"), &objects, Some(opened("Embassy"))).await;
    assert_eq!(config(&asked).registry, "population");
}

#[tokio::test]
async fn the_samples_names_are_those_of_what_the_activation_makes() {
    let activation = read(&serving());
    let managed = dataembassy_operator::activation::apply::managed(&activation)
        .next()
        .unwrap();
    let names = managed.names();
    let source = sample("mirror")["spec"]["source"]["postgresql"].clone();
    assert_eq!(source["host"], managed.target().host);
    assert_eq!(source["database"], managed.target().database);
    assert_eq!(source["credentialsRef"]["name"], names.superuser);
    assert_eq!(source["tls"]["caRef"]["name"], names.authority);
}

#[tokio::test]
async fn a_mirror_of_what_is_not_served_from_here_is_refused_and_makes_nothing() {
    let released = {
        let mut released = serving();
        released["status"]["registries"][0]["phase"] = "StoodDown".into();
        released
    };
    let cases: [(_, &[Value], _, _, _); 5] = [
        (
            "home holds it",
            &[accepted()],
            Some(registry_report(&[3, 2, 1])),
            "NotActivated",
            "no activation has fenced it",
        ),
        (
            "it was released",
            &[released.clone(), accepted()],
            Some(opened("Home")),
            "NotActivated",
            "was released to home",
        ),
        (
            "it was released, and the custodian is silent",
            &[released, accepted()],
            None,
            "NotYetKnown",
            "has not said yet",
        ),
        (
            "nobody has accepted it",
            &[serving()],
            None,
            "UnknownRegistry",
            "no RegistryCustody",
        ),
        (
            "nobody knows",
            &[accepted()],
            None,
            "NotYetKnown",
            "has not said yet",
        ),
    ];
    for (case, objects, report, reason, words) in cases {
        let asked = run(&sample("mirror"), objects, report).await;
        let (status, said_reason, message) = said(written(&asked, "/status"), "Stalled");
        assert_eq!(
            (status.as_str(), said_reason.as_str()),
            ("True", reason),
            "{case}: {message}"
        );
        assert!(message.contains(words), "{case}: {message}");
        assert_eq!(lines(&asked).len(), 1, "{case}: {:?}", lines(&asked));
    }
}

#[tokio::test]
async fn while_the_custodian_is_silent_the_activation_that_fenced_home_is_believed() {
    let asked = run(&sample("mirror"), &[serving(), accepted()], None).await;
    assert_eq!(said(written(&asked, "/status"), "Stalled").0, "");
    assert!(template(&asked).to_string().contains(SECRET));
}

#[tokio::test]
async fn beside_no_activation_a_mirror_needs_to_be_told_its_key() {
    let mut mirror = sample("mirror");
    mirror["metadata"]["namespace"] = "elsewhere".into();
    let objects = [serving(), accepted()];
    let asked = run(&mirror, &objects, Some(opened("Embassy"))).await;
    let (_, reason, message) = said(written(&asked, "/status"), "Stalled");
    assert_eq!(reason, "InvalidName");
    assert!(
        message.contains("signerRef") && message.contains(KEY),
        "{message}"
    );

    mirror["spec"]["signing"] = json!({"signerRef": {"name": "the-key"}});
    let asked = run(&mirror, &objects, Some(opened("Embassy"))).await;
    let template = template(&asked);
    assert!(template.to_string().contains("the-key"), "{template}");
    // What the activation made is not in this namespace.
    assert!(template["metadata"]["labels"]["dataembassy.io/database"].is_null());
    assert!(!lines(&asked).iter().any(|line| line.starts_with("POST")));
}

#[tokio::test]
async fn a_mirror_that_ran_goes_on_when_its_registry_is_gone_from_custody() {
    let asked = run(
        &sample("mirror"),
        &[serving(), accepted()],
        Some(opened("Embassy")),
    )
    .await;
    let mut deployment = written(&asked, "/deployments/population-mirror").clone();
    deployment["metadata"]["uid"] = "uid-deployment".into();
    let asked = run(&sample("mirror"), &[serving(), deployment], None).await;
    let (_, reason, message) = said(written(&asked, "/status"), "Stalled");
    assert_eq!(reason, "UnknownRegistry");
    assert!(
        message.contains("goes on with its last valid configuration"),
        "{message}"
    );
    assert_eq!(lines(&asked).len(), 1, "{:?}", lines(&asked));
}
