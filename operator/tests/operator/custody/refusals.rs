//! Every wrong input has its reason and says what to do.

use dataembassy_contract::Reason;
use dataembassy_operator::custody::validate::{Neighbours, validate};
use serde_json::Value;
use serde_json::json;

use super::{run, world};
use crate::world::embassy::{KEY, custody, registry_report, standing};
use crate::world::{lines, read, said, written};

#[tokio::test]
async fn of_two_with_one_registry_the_younger_gives_way() {
    let mut younger = custody("population");
    younger["metadata"]["name"] = json!("people");
    younger["metadata"]["uid"] = json!("uid-people");
    younger["metadata"]["creationTimestamp"] = json!("2026-11-23T09:30:00Z");
    let (mut world, _running) = world(&custody("population"), registry_report(&[1])).await;
    world.objects.push(younger.clone());
    let asked = run(&world, &younger).await;
    let status = written(&asked, "/status");
    let (_, reason, message) = said(status, "Ready");
    assert_eq!(reason, "RegistryTaken");
    assert!(message.contains("RegistryCustody population"), "{message}");
    assert!(!lines(&asked).iter().any(|line| line.contains("recoverypoints")));
    let asked = run(&world, &custody("population")).await;
    assert_eq!(
        said(written(&asked, "/registrycustodies/population/status"), "Ready").0,
        "True"
    );
}

#[track_caller]
fn assert_refused(expected: Reason, says: &[&str], change: impl Fn(&mut Value, &mut Value)) {
    let (mut resource, mut embassy) = (custody("population"), standing());
    change(&mut resource, &mut embassy);
    let refusal = validate(&read(&resource), Some(&read(&embassy)), &Neighbours::default()).unwrap_err();
    assert_eq!(refusal.reason, expected, "{}", refusal.message);
    for word in says {
        assert!(
            refusal.message.contains(word),
            "'{word}' is not in: {}",
            refusal.message
        );
    }
}

#[test]
fn what_the_samples_show_is_accepted() {
    for registry in ["population", "health", "business"] {
        validate(
            &read(&custody(registry)),
            Some(&read(&standing())),
            &Neighbours::default(),
        )
        .unwrap();
    }
}

#[test]
fn a_signer_may_have_signed_a_single_entry() {
    let mut resource = custody("population");
    resource["spec"]["signers"][0]["fromSequence"] = json!(5);
    resource["spec"]["signers"][0]["untilSequence"] = json!(5);
    let checked = validate(&read(&resource), Some(&read(&standing())), &Neighbours::default());
    let signer = &checked.unwrap().custody.signers[0];
    assert_eq!((signer.from_sequence, signer.until_sequence), (5, Some(5)));
}

#[test]
fn every_wrong_input_has_its_reason_and_says_what_to_do() {
    let refusal = validate(&read(&custody("population")), None, &Neighbours::default()).unwrap_err();
    assert_eq!(refusal.reason, Reason::UnknownEmbassy);
    assert_refused(
        Reason::NoCustodian,
        &["spec.custodian", "luxembourg"],
        |_, embassy| drop(embassy["spec"].as_object_mut().unwrap().remove("custodian")),
    );
    assert_refused(
        Reason::NotSovereign,
        &["DataEmbassy luxembourg", "commercial cloud"],
        |_, embassy| embassy["spec"]["store"]["endpoint"] = json!("https://s3.amazonaws.com"),
    );
    assert_refused(
        Reason::KeyHasTwoRoles,
        &["custodianKeys", "one role"],
        |resource, _| {
            resource["spec"]["signers"][0]["publicKey"] = json!(format!("{KEY} people@home"));
        },
    );
    assert_refused(
        Reason::InvalidPublicKey,
        &["spec.signers", "ssh-keygen"],
        |resource, _| {
            resource["spec"]["signers"][0]["publicKey"] = json!("ssh-ed25519 AAAAnothing");
        },
    );
    assert_refused(Reason::InvalidName, &["untilSequence"], |resource, _| {
        resource["spec"]["signers"][0]["fromSequence"] = json!(5);
        resource["spec"]["signers"][0]["untilSequence"] = json!(4);
    });
    assert_refused(Reason::InvalidDuration, &["spec.rpo", "30m"], |resource, _| {
        resource["spec"]["rpo"] = json!("0m");
    });
    assert_refused(Reason::InvalidDuration, &["spec.rto"], |resource, _| {
        resource["spec"]["rto"] = json!("soon");
    });
    assert_refused(Reason::InvalidDuration, &["keepWithin"], |resource, _| {
        resource["spec"]["retention"]["keepWithin"] = json!("1M");
    });
    assert_refused(
        Reason::InvalidQuantity,
        &["spec.quota", "200Gi"],
        |resource, _| {
            resource["spec"]["quota"] = json!("200GB");
        },
    );
    assert_refused(Reason::InvalidQuantity, &["spec.rate"], |resource, _| {
        resource["spec"]["rate"] = json!("fast");
    });
    assert_refused(Reason::InvalidName, &["minimum", "1 to 9999"], |resource, _| {
        resource["spec"]["retention"]["minimum"] = json!(0);
    });
    assert_refused(Reason::InvalidName, &["confirmedHead.digest"], |resource, _| {
        resource["spec"]["confirmedHead"] = json!({"sequence": 1, "digest": "0F".repeat(32)});
    });
}

#[test]
fn an_embassy_keeps_as_many_registries_as_it_can_and_no_more() {
    let crowded = Neighbours {
        rival: None,
        older: 512,
    };
    let refusal = validate(&read(&custody("population")), Some(&read(&standing())), &crowded).unwrap_err();
    assert_eq!(refusal.reason, Reason::TooManyRegistries);
}
