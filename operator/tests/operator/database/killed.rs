//! An operator that is killed at any of its requests: the next one goes on, and nothing is made twice.

use super::{Cluster, Death, Deed, PUBLIC, SECRET, STATEFUL_SET, Shared, activation};

/// Everything that is done to a database, in its order.
fn deeds(mode: &str) -> &'static [Deed] {
    if mode == "Rehearse" {
        &[Deed::Ensure, Deed::Remove]
    } else {
        &[Deed::Ensure, Deed::Expose, Deed::Keep]
    }
}

#[tokio::test]
async fn whoever_dies_at_any_request_leaves_what_the_next_one_can_go_on_with() {
    for mode in ["Activate", "Rehearse"] {
        let activation = activation(mode);
        let whole = Shared::default();
        for deed in deeds(mode) {
            whole.until_done(*deed, &activation).await;
        }
        let (requests, objects) = whole.look(|cluster| (cluster.asked.len(), cluster.objects.clone()));
        assert!(requests > 20, "{requests}");
        assert_eq!(objects.is_empty(), mode == "Rehearse", "{objects:?}");
        for at in 0..requests {
            for death in [Death::Before, Death::After] {
                let shared = Shared::of(Cluster::dying(at, death));
                for deed in deeds(mode) {
                    shared.until_done(*deed, &activation).await;
                }
                shared.look(|cluster| {
                    let place = format!("{mode}, {death:?} {}", cluster.asked[at]);
                    let names = |objects: &std::collections::BTreeMap<String, _>| -> Vec<String> {
                        objects.keys().cloned().collect()
                    };
                    assert_eq!(names(&cluster.objects), names(&objects), "{place}");
                    if mode == "Activate" {
                        for path in [STATEFUL_SET, PUBLIC] {
                            assert_eq!(
                                cluster.objects[path]["spec"], objects[path]["spec"],
                                "{place}: {path}"
                            );
                        }
                        assert!(cluster.objects[SECRET]["metadata"]["ownerReferences"].is_null());
                    }
                });
            }
        }
    }
}
