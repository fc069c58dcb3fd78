//! A mirror whose pod is not let in: what Kubernetes says of its Deployment is what its resource says.

use serde_json::json;

use crate::mirror::{pod, run, settled};
use crate::world::{World, lines, mirror, refusals, said, written};

fn refuse(world: &mut World, words: &str) {
    for object in world
        .objects
        .iter_mut()
        .filter(|object| object["kind"] == "Deployment")
    {
        object["status"]["conditions"] = refusals::condition(words);
    }
}

#[tokio::test]
async fn a_mirror_whose_pod_is_refused_says_by_whom_and_nothing_is_asked_or_written_as_long_as_that_stays() {
    for words in refusals::ALL {
        let (mut world, mut resource) = settled(&mirror("population")).await;
        refuse(&mut world, words);
        let asked = run(&world, &resource).await;
        let status = written(&asked, "/status");
        let (ready, reason, message) = said(status, "Ready");
        assert_eq!((ready.as_str(), reason.as_str()), ("False", "PodRefused"));
        assert!(
            message.contains(words) && message.contains("admission policies of the namespace"),
            "{message}"
        );
        resource["status"] = status["status"].clone();
        assert_eq!(lines(&run(&world, &resource).await), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_pod_that_was_evicted_does_not_hide_who_refuses_the_next_one() {
    let (mut world, resource) = settled(&mirror("population")).await;
    let [set, mut evicted] = pod(&json!({}));
    evicted["status"] = json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: ephemeral-storage. "});
    world.objects.extend([set, evicted]);
    refuse(&mut world, refusals::POD_SECURITY);
    let asked = run(&world, &resource).await;
    let (_, reason, message) = said(written(&asked, "/status"), "Ready");
    assert_eq!(reason, "PodRefused");
    assert!(message.contains(refusals::POD_SECURITY), "{message}");
}
