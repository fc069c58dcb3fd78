//! What is refused before anybody may sign, what is signed, and what signatures are worth.

use dataembassy_crds::ActivationPhase;
use dataembassy_ledger::activation::Statement;
use dataembassy_ledger::{PublicKey, Role, Sha256Digest, SigningKey};
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use super::{Shared, alone, approver, cluster, look, luxembourg, said, sample, stated, step, until};
use crate::addresses::NOWHERE;
use crate::world::{World, read, settings};

/// What a first look at an activation says in a world.
async fn refused(change: impl Fn(&mut Value), world: impl FnOnce(&mut World)) -> (String, String) {
    let mut activation = sample(true);
    change(&mut activation);
    let cluster = cluster(activation);
    look(&cluster, world).await.unwrap();
    let cluster = cluster.lock().unwrap();
    let status = cluster.status();
    assert!(status.statement.is_none());
    assert_eq!(status.phase, ActivationPhase::Pending);
    assert!(cluster.made("secrets").is_empty(), "a key for nothing");
    assert_eq!(
        said(&status, "Stalled").0,
        said(&status, "Ready").0.replace("False", "True")
    );
    said(&status, "Ready")
}

#[tokio::test]
async fn each_wrong_input_is_refused_with_a_reason_and_says_what_to_do() {
    let swap = |at: usize, object: Value| move |world: &mut World| world.objects[at] = object;
    let mut without = luxembourg();
    without["spec"].as_object_mut().unwrap().remove("activation");
    let (reason, message) = refused(|_| {}, swap(0, without)).await;
    assert_eq!(reason, "False NoApprovers");
    assert!(message.contains("spec.activation"), "{message}");

    let mut custodian = luxembourg();
    custodian["spec"]["activation"]["approvers"][0]["publicKey"] = crate::world::embassy::KEY.into();
    let (reason, message) = refused(|_| {}, swap(0, custodian)).await;
    assert_eq!(reason, "False KeyHasTwoRoles");
    assert!(message.contains("approver-1"), "{message}");

    let mut signer = luxembourg();
    signer["spec"]["activation"]["approvers"][1]["publicKey"] =
        crate::world::embassy::custody("population")["spec"]["signers"][0]["publicKey"].clone();
    let (reason, message) = refused(|_| {}, swap(0, signer)).await;
    assert_eq!(reason, "False KeyHasTwoRoles");
    assert!(
        message.contains("signer of the registry 'population'"),
        "{message}"
    );

    for (change, reason, words) in [
        (
            json!([{"op": "replace", "path": "/spec/embassyRef/name", "value": "nowhere"}]),
            "UnknownEmbassy",
            "'nowhere'",
        ),
        (
            json!([{"op": "replace", "path": "/spec/registries/0/id", "value": "land"}]),
            "UnknownRegistry",
            "'land'",
        ),
        (
            json!([{"op": "replace", "path": "/spec/registries/0/dependsOn", "value": ["health"]}]),
            "InvalidName",
            "does not stand before",
        ),
        (
            json!([{"op": "replace", "path": "/spec/validUntil", "value": "soon"}]),
            "InvalidName",
            "spec.validUntil",
        ),
        (
            json!([{"op": "replace", "path": "/spec/registries/0/copy", "value": {"atOrBefore": "yesterday"}}]),
            "InvalidName",
            "atOrBefore",
        ),
        (
            json!([{"op": "replace", "path": "/spec/registries/0/target/external/database", "value": "r\u{e9}gister"}]),
            "InvalidName",
            "printable ASCII",
        ),
        (
            json!([{"op": "replace", "path": "/spec/registries/0/target/external/host", "value": "::ffff:169.254.169.254"}]),
            "NotSovereign",
            "target.external.host",
        ),
    ] {
        let patched = |activation: &mut Value| {
            for operation in change.as_array().unwrap() {
                let path = operation["path"].as_str().unwrap();
                let (parent, field) = path.rsplit_once('/').unwrap();
                activation.pointer_mut(parent).unwrap()[field] = operation["value"].clone();
            }
        };
        let (found, message) = refused(patched, |_| {}).await;
        assert_eq!(found, format!("False {reason}"), "{message}");
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn no_registry_is_opened_where_none_can_be_nor_in_a_commercial_cloud() {
    let cloud = ("registry.eu-central-1.rds.amazonaws.com", "commercial cloud");
    for (host, words) in NOWHERE.into_iter().chain([cloud]) {
        let astray = |activation: &mut Value| {
            activation["spec"]["registries"][0]["target"]["external"]["host"] = host.into();
        };
        let (reason, message) = refused(astray, |_| {}).await;
        assert_eq!(reason, "False NotSovereign", "{host}: {message}");
        assert!(
            message.contains("target.external.host") && message.contains(words),
            "{host}: {message}"
        );
    }
}

#[tokio::test]
async fn of_two_activations_of_one_registry_the_later_one_gives_way_until_the_other_has_stood_down() {
    let other = |phase: &str, made: &str| {
        let mut other = alone(true);
        other["metadata"]["name"] = "earlier".into();
        other["metadata"]["uid"] = "uid-earlier".into();
        other["metadata"]["creationTimestamp"] = made.into();
        other["status"] = json!({"phase": phase});
        other
    };
    let with = |object: Value| move |world: &mut World| world.objects.push(object);
    let (reason, message) = refused(|_| {}, with(other("Serving", "2026-11-27T09:00:00Z"))).await;
    assert_eq!(reason, "False AlreadyActivated");
    assert!(
        message.contains("interior/earlier") && message.contains("'population'"),
        "{message}"
    );

    let mut rehearsal = other("Recovering", "2026-11-27T09:00:00Z");
    rehearsal["spec"]["mode"] = "Rehearse".into();
    for harmless in [
        other("StoodDown", "2026-11-27T09:00:00Z"),
        other("Serving", "2026-11-29T09:00:00Z"),
        rehearsal,
    ] {
        let cluster = cluster(sample(true));
        look(&cluster, with(harmless)).await.unwrap();
        let status = cluster.lock().unwrap().status();
        assert_ne!(said(&status, "Ready").0, "False AlreadyActivated");
    }
}

#[tokio::test]
async fn a_registry_that_another_order_holds_in_the_ledger_is_not_activated_again() {
    let cluster = cluster(sample(true));
    cluster.lock().unwrap().reports.get_mut("health").unwrap()["opening"] = json!({
        "holder": "Embassy", "sequence": 4, "digest": "f".repeat(64), "signer": "ssh-ed25519 another", "order": "lost-0123abcd",
    });
    step(&cluster).await.unwrap();
    let status = cluster.lock().unwrap().status();
    let (reason, message) = said(&status, "Ready");
    assert_eq!(reason, "False AlreadyActivated");
    assert!(
        message.contains("lost-0123abcd") && message.contains("'health'"),
        "{message}"
    );
}

#[tokio::test]
async fn the_statement_says_everything_that_is_ordered_and_names_keys_that_were_made_for_it() {
    let cluster = stated(sample(false)).await;
    let cluster = cluster.lock().unwrap();
    let status = cluster.status();
    assert_eq!(status.phase, ActivationPhase::AwaitingApproval);
    let frozen = status.statement.clone().unwrap();
    let statement = Statement::read(&frozen.text).unwrap();
    assert_eq!(
        frozen.sha256,
        Sha256Digest::of(frozen.text.as_bytes()).to_string()
    );
    assert_eq!(statement.order.as_str(), frozen.order);
    assert_eq!(statement.resource.as_str(), "interior/home-lost");
    assert_eq!(statement.uid.as_str(), "uid-home-lost");
    assert_eq!(statement.required, 2);
    let population = &statement.registries[0];
    let floor = population.floor.unwrap();
    assert_eq!((floor.term.get(), floor.entry.sequence.get()), (1, 3));
    assert_eq!(floor.taken_at.to_string(), "2026-11-23T10:00:00.000Z");
    assert!(
        population.target.as_str().contains("postgres:17"),
        "{}",
        population.target
    );
    assert!(
        population.exposed.as_str().contains("population-db"),
        "{}",
        population.exposed
    );
    assert_eq!(population.questions, 1);
    assert_eq!(statement.registries[1].after[0].as_str(), "population");
    // Each key is another one, and its Secret was made with the private half.
    let secrets: Vec<Secret> = cluster.of_kind("secrets").iter().map(read).collect();
    assert_eq!(secrets.len(), 3);
    for (stated, state) in statement.registries.iter().zip(&status.registries) {
        let signer = state.signer.as_ref().unwrap();
        assert_eq!(stated.signer.unwrap().to_string(), signer.public_key);
        let secret = secrets
            .iter()
            .find(|secret| secret.metadata.name.as_ref() == Some(&signer.secret))
            .unwrap();
        assert!(
            secret.metadata.owner_references.is_none(),
            "the key must outlive the activation"
        );
        let private = &secret.string_data.as_ref().unwrap()["ssh-privatekey"];
        let key = SigningKey::from_openssh(private).unwrap();
        assert_eq!(key.public_key(), signer.public_key.parse::<PublicKey>().unwrap());
    }
}

#[tokio::test]
async fn a_look_that_finds_nothing_new_writes_nothing() {
    let cluster = stated(sample(true)).await;
    step(&cluster).await.unwrap();
    cluster.lock().unwrap().writes.clear();
    step(&cluster).await.unwrap();
    assert_eq!(cluster.lock().unwrap().writes, Vec::<String>::new());
}

#[tokio::test]
async fn what_the_statement_names_and_nobody_has_said_yet_is_waited_for() {
    let cluster = cluster(sample(true));
    cluster.lock().unwrap().store = false;
    for _ in 0..3 {
        step(&cluster).await.unwrap();
    }
    let status = cluster.lock().unwrap().status();
    assert!(status.statement.is_none());
    assert_eq!(said(&status, "Ready").0, "False NotYetKnown");
    assert_eq!(said(&status, "Stalled").0, "");
    cluster.lock().unwrap().store = true;
    until(&cluster, |status| status.statement.is_some()).await;
}

/// Puts signatures into the spec, and says what becomes of them.
async fn judged(cluster: &Shared, signatures: &[String]) -> (String, Vec<String>, Vec<String>) {
    let signatures: Vec<Value> = signatures.iter().map(|text| json!({"signature": text})).collect();
    cluster
        .lock()
        .unwrap()
        .edit(|activation| activation["spec"]["approvals"] = signatures.into());
    step(cluster).await.unwrap();
    let status = cluster.lock().unwrap().status();
    assert_eq!(status.approved_at, None);
    let approvals = status.approvals.unwrap();
    let refused = approvals
        .refused
        .iter()
        .map(|one| format!("{} {}", one.place, one.message));
    (approvals.words, approvals.approved, refused.collect())
}

#[tokio::test]
async fn too_few_the_same_twice_a_stranger_and_another_text_do_not_count() {
    let cluster = stated(sample(true)).await;
    let text = cluster.lock().unwrap().status().statement.unwrap().text;
    let signed = |number: u8, text: &str| approver(number).sign(Role::Activation, text.as_bytes()).unwrap();

    assert_eq!(
        judged(&cluster, &[signed(1, &text)]).await,
        ("1/2".to_owned(), vec!["approver-1".to_owned()], vec![])
    );
    let (words, _, refused) = judged(&cluster, &[signed(1, &text), signed(1, &text)]).await;
    assert_eq!(words, "1/2");
    assert!(
        refused[0].starts_with("1 ") && refused[0].contains("each counts once"),
        "{refused:?}"
    );
    let (words, _, refused) = judged(&cluster, &[signed(9, &text), signed(2, &text)]).await;
    assert_eq!(words, "1/2");
    assert!(refused[0].contains("none of the approvers"), "{refused:?}");
    let (words, approved, refused) = judged(
        &cluster,
        &[
            signed(1, &format!("{text} ")),
            signed(2, &text.replace("Active", "StoodDown")),
        ],
    )
    .await;
    assert_eq!((words.as_str(), approved.len(), refused.len()), ("0/2", 0, 2));
    let custody = approver(1).sign(Role::Custody, text.as_bytes()).unwrap();
    let (words, _, _) = judged(&cluster, &[custody, "nothing".to_owned()]).await;
    assert_eq!(words, "0/2");
    let status = cluster.lock().unwrap().status();
    let (reason, message) = said(&status, "Approved");
    assert_eq!(reason, "False AwaitingApproval");
    assert!(message.contains("spec.approvals[0]"), "{message}");
    // Nothing was done for it.
    assert!(cluster.lock().unwrap().orders().is_empty());
    assert!(status.registries.iter().all(|state| state.steps.is_empty()));
}

#[tokio::test]
async fn a_signature_counts_however_it_was_pasted() {
    let cluster = stated(sample(true)).await;
    let text = cluster.lock().unwrap().status().statement.unwrap().text;
    let signed = |number: u8| approver(number).sign(Role::Activation, text.as_bytes()).unwrap();
    let pasted = [
        signed(1).replace('\n', "\r\n"),
        format!("\n{}\n\n", signed(3).trim_end()),
    ];
    let pasted: Vec<Value> = pasted.iter().map(|text| json!({"signature": text})).collect();
    cluster
        .lock()
        .unwrap()
        .edit(|activation| activation["spec"]["approvals"] = pasted.into());
    let status = until(&cluster, |status| status.approved_at.is_some()).await;
    assert_eq!(status.approvals.unwrap().approved, ["approver-1", "approver-3"]);
}

#[tokio::test]
async fn a_changed_spec_is_another_statement_that_needs_approvals_of_its_own() {
    let cluster = stated(alone(true)).await;
    let before = cluster.lock().unwrap().status().statement.unwrap();
    cluster.lock().unwrap().sign(&[1, 2]);
    // Somebody changes where it is served before the operator looks.
    cluster.lock().unwrap().edit(|activation| {
        activation["spec"]["registries"][0]["target"]["external"]["host"] = "elsewhere".into();
    });
    let status = until(&cluster, |status| status.statement.as_ref() != Some(&before)).await;
    let after = status.statement.unwrap();
    assert_ne!(before.order, after.order);
    assert_eq!(
        (status.approved_at, status.phase),
        (None, ActivationPhase::AwaitingApproval)
    );
    assert_eq!(status.approvals.unwrap().refused.len(), 2);
    assert!(cluster.lock().unwrap().orders().is_empty());
    // It goes on with new ones, with the keys that it has.
    cluster.lock().unwrap().sign(&[2, 3]);
    until(&cluster, |status| status.approved_at.is_some()).await;
    assert_eq!(cluster.lock().unwrap().of_kind("secrets").len(), 1);
}

#[tokio::test]
async fn other_approvers_and_a_statement_that_somebody_wrote_into_the_status_are_another_statement() {
    let cluster = stated(alone(true)).await;
    let frozen = cluster.lock().unwrap().status().statement.unwrap();
    cluster.lock().unwrap().edit(|activation| {
        let text = frozen.text.replace("unfenced: refused", "unfenced: accepted");
        activation["status"]["statement"]["sha256"] = Sha256Digest::of(text.as_bytes()).to_string().into();
        activation["status"]["statement"]["text"] = text.into();
        activation["status"]["statement"]["specSha256"] = "0".repeat(64).into();
    });
    until(&cluster, |status| {
        status
            .statement
            .as_ref()
            .is_some_and(|statement| statement.text == frozen.text)
    })
    .await;
    let mut other = luxembourg();
    other["spec"]["activation"]["required"] = 1.into();
    look(&cluster, |world| world.objects[0] = other).await.unwrap();
    let status = cluster.lock().unwrap().status();
    assert_eq!(status.approvals.unwrap().words, "0/1");
    assert_ne!(status.statement.unwrap().text, frozen.text);
}

#[tokio::test]
async fn an_order_that_was_not_approved_in_its_time_is_not_carried_out() {
    let mut activation = alone(true);
    activation["spec"]["validUntil"] = "2026-11-01T00:00:00Z".into();
    let cluster = stated(activation).await;
    cluster.lock().unwrap().sign(&[1, 2]);
    for _ in 0..3 {
        step(&cluster).await.unwrap();
    }
    let status = cluster.lock().unwrap().status();
    assert_eq!(status.approved_at, None);
    assert_eq!(said(&status, "Ready").0, "False OrderExpired");
    assert_eq!(said(&status, "Stalled").0, "True OrderExpired");
    assert_eq!(said(&status, "Approved").0, "False OrderExpired");
    assert!(cluster.lock().unwrap().orders().is_empty());
}

#[tokio::test]
async fn at_home_an_activation_is_refused_and_nothing_is_made_for_it() {
    let cluster = cluster(sample(true));
    for _ in 0..2 {
        look(&cluster, |world| world.settings = Some(settings()))
            .await
            .unwrap();
    }
    let cluster = cluster.lock().unwrap();
    let status = cluster.status();
    let (reason, message) = said(&status, "Stalled");
    assert_eq!(reason, "True WrongSide");
    assert!(message.contains("in the embassy's cluster"), "{message}");
    assert_eq!(cluster.writes.len(), 1, "{:?}", cluster.writes);
}

#[tokio::test]
async fn a_head_from_before_a_fence_and_a_release_is_stated_in_its_own_term() {
    let cluster = cluster(alone(true));
    {
        let mut cluster = cluster.lock().unwrap();
        let report = cluster.reports.get_mut("population").unwrap();
        report["term"] = 3.into();
        report["sourceTerm"] = 1.into();
        report["opening"] = json!({
            "holder": "Home", "sequence": 12, "digest": "e".repeat(64), "signer": "s", "sourceHead": report["sourceHead"],
        });
    }
    let status = until(&cluster, |status| status.statement.is_some()).await;
    let statement = Statement::read(&status.statement.unwrap().text).unwrap();
    assert_eq!(statement.registries[0].floor.unwrap().term.get(), 1);
}
