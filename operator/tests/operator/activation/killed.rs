//! A whole activation with an operator that is killed at any of its requests.

use std::collections::BTreeSet;

use dataembassy_crds::{ActivationPhase, RegistryPhase};

use super::rehearsal::on_scratch;
use super::{Death, HOME, Shared, alone, cluster, is_reported, mirror, phases, stand_down, until};

/// Lets operators, each of which knows nothing of the one before, follow an activation until it is served.
async fn follow(cluster: &Shared) {
    until(cluster, |status| status.statement.is_some()).await;
    cluster.lock().unwrap().sign(&[1, 2]);
    until(cluster, |status| status.phase == ActivationPhase::Serving).await;
    until(cluster, |status| status.registries.iter().all(is_reported)).await;
}

#[tokio::test]
async fn an_activation_whose_operator_is_killed_anywhere_is_served_once() {
    let whole = cluster(alone(false));
    follow(&whole).await;
    let requests = whole.lock().unwrap().requests;
    assert!(requests > 30, "{requests}");
    for at in 0..requests {
        for death in [Death::Before, Death::After] {
            let cluster = cluster(alone(false));
            cluster.lock().unwrap().dies = Some((at, death));
            follow(&cluster).await;
            let cluster = cluster.lock().unwrap();
            let status = cluster.status();
            let here = format!("{death:?} at {at}");
            assert_eq!(phases(&status), [RegistryPhase::Serving], "{here}");
            let state = &status.registries[0];
            assert_eq!(cluster.told.len(), 1, "{here}: what is told never changes");
            assert_eq!((state.fence, state.attempts), (Some(9), 1), "{here}");
            // One restore, whoever made it; and the key that was stated is one that was made.
            assert_eq!(cluster.of_kind("registryrestores").len(), 1, "{here}");
            let secrets = cluster.of_kind("secrets");
            let names: BTreeSet<&str> = secrets
                .iter()
                .filter_map(|secret| secret["metadata"]["name"].as_str())
                .collect();
            let signer = state.signer.as_ref().unwrap();
            assert!(names.contains(signer.secret.as_str()), "{here}: {names:?}");
            assert_eq!(
                cluster.reports["population"]["opening"]["signer"],
                signer.public_key.as_str(),
                "{here}"
            );
            assert!(
                names.iter().filter(|name| name.contains("-term-")).count() <= 2,
                "{here}: {names:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_rehearsal_whose_operator_is_killed_anywhere_leaves_nothing_behind() {
    let rehearsal = || {
        let mut activation = alone(false);
        activation["spec"]["mode"] = "Rehearse".into();
        activation
    };
    let follow = async |cluster: &Shared| {
        until(cluster, |status| status.statement.is_some()).await;
        cluster.lock().unwrap().sign(&[1, 2]);
        until(cluster, |status| status.phase == ActivationPhase::Rehearsed).await;
    };
    let whole = cluster(rehearsal());
    follow(&whole).await;
    let requests = whole.lock().unwrap().requests;
    assert!(requests > 20, "{requests}");
    for at in 0..requests {
        for death in [Death::Before, Death::After] {
            let cluster = cluster(rehearsal());
            cluster.lock().unwrap().dies = Some((at, death));
            follow(&cluster).await;
            let cluster = cluster.lock().unwrap();
            let here = format!("{death:?} at {at}");
            for kind in ["registryrestores", "statefulsets"] {
                assert!(cluster.of_kind(kind).is_empty(), "{here}: {kind}");
            }
            assert!(cluster.orders().is_empty(), "{here}");
            let state = &cluster.status().registries[0];
            assert_eq!(state.attempts, 1, "{here}");
            assert!(is_reported(state), "{here}");
            assert_eq!(cluster.told.len(), 1, "{here}: what is told never changes");
            assert_eq!(cluster.told[0].1["assertions"][0]["name"], "citizens", "{here}");
        }
    }
}

#[tokio::test]
async fn a_rehearsal_whose_operator_is_killed_anywhere_has_what_it_restored_elsewhere_dropped() {
    let follow = async |cluster: &Shared| {
        until(cluster, |status| status.statement.is_some()).await;
        cluster.lock().unwrap().sign(&[1, 2]);
        until(cluster, |status| status.phase == ActivationPhase::Rehearsed).await;
    };
    let whole = cluster(on_scratch());
    follow(&whole).await;
    let requests = whole.lock().unwrap().requests;
    for at in 0..requests {
        for death in [Death::Before, Death::After] {
            let cluster = cluster(on_scratch());
            cluster.lock().unwrap().dies = Some((at, death));
            follow(&cluster).await;
            let cluster = cluster.lock().unwrap();
            let here = format!("{death:?} at {at}");
            assert!(cluster.of_kind("registryrestores").is_empty(), "{here}");
            let state = &cluster.status().registries[0];
            assert_eq!(state.attempts, 1, "{here}");
            let step = state.steps.iter().find(|step| step.name == "clean").unwrap();
            assert!(step.ended_at.is_some(), "{here}");
            // The restore, and then at least one that drops what it has restored.
            assert!(cluster.made("registryrestores").len() >= 2, "{here}");
        }
    }
}

#[tokio::test]
async fn a_registry_whose_operator_is_killed_anywhere_on_the_way_home_is_released_once_after_its_last_copy() {
    let serving = async || {
        let cluster = cluster(alone(false));
        cluster.lock().unwrap().mirror = Some(mirror());
        follow(&cluster).await;
        stand_down::ask(&cluster, Some(HOME));
        cluster
    };
    let go_home = async |cluster: &Shared| {
        until(cluster, |status| {
            status.approved_at.is_none() && status.statement.is_some()
        })
        .await;
        cluster.lock().unwrap().sign(&[1, 2]);
        until(cluster, |status| status.phase == ActivationPhase::StoodDown).await;
    };
    let whole = serving().await;
    let before = whole.lock().unwrap().requests;
    go_home(&whole).await;
    let after = whole.lock().unwrap().requests;
    assert!(after - before > 10, "{before} to {after}");
    for at in before..after {
        for death in [Death::Before, Death::After] {
            let cluster = serving().await;
            let here = format!("{death:?} at {at}");
            assert_eq!(cluster.lock().unwrap().requests, before, "{here}");
            cluster.lock().unwrap().dies = Some((at, death));
            go_home(&cluster).await;
            let cluster = cluster.lock().unwrap();
            let state = &cluster.status().registries[0];
            // The first copy from here, and one more after the door was closed.
            assert_eq!(state.copy.as_ref().map(|copy| copy.sequence), Some(5), "{here}");
            assert_eq!(
                cluster.reports["population"]["copies"].as_array().unwrap().len(),
                5,
                "{here}"
            );
            assert!(state.release.is_some(), "{here}");
            let service = cluster
                .objects
                .iter()
                .find(|(path, _)| path.ends_with("/services/population-db"));
            assert!(service.unwrap().1["spec"]["selector"].is_null(), "{here}");
        }
    }
}
