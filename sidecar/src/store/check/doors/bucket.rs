//! Settings of the bucket. What is set is what is set already, or cannot be carried out: being told so, and not that one may not,
//! means having been let in.

use super::{Door, Effect, one};
use crate::store::check::ground::{Request, Scene};
use crate::store::check::probe::Harm::{Adds, Destroys, Governs};

/// Refused for its content, after the right to do it was found.
const MALFORMED: &[u16] = &[400, 404, 409, 501];

pub(super) static DOORS: &[Door] = &[
    one(
        "SetVersioning",
        "versioning of the bucket",
        Destroys,
        Effect::Taken(MALFORMED),
        |scene| {
            set(
                scene,
                "versioning=",
                "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
            )
        },
    ),
    one(
        "SetLock",
        "the lock that the bucket gives",
        Destroys,
        Effect::Taken(MALFORMED),
        |scene| set(scene, "object-lock=", &scene.ground.lock_configuration),
    ),
    one(
        "SetPolicy",
        "the bucket's policy",
        Governs,
        Effect::Taken(MALFORMED),
        |scene| set(scene, "policy=", "{"),
    ),
    one(
        "SetLifecycle",
        "what the bucket removes by itself",
        Destroys,
        Effect::Taken(MALFORMED),
        |scene| set(scene, "lifecycle=", "<Lifecycle"),
    ),
    one(
        "SetReplication",
        "whom the bucket sends its objects to",
        Governs,
        Effect::Taken(MALFORMED),
        |scene| set(scene, "replication=", "<Replication"),
    ),
    one(
        "SetEncryption",
        "how the bucket encrypts",
        Governs,
        Effect::Taken(MALFORMED),
        |scene| set(scene, "encryption=", "<Encryption"),
    ),
    one(
        "SetNotification",
        "whom the bucket tells of its objects",
        Governs,
        Effect::Taken(MALFORMED),
        |scene| set(scene, "notification=", "<Notification"),
    ),
    one(
        "SetBucketTags",
        "the bucket's tags",
        Governs,
        Effect::Taken(MALFORMED),
        |scene| set(scene, "tagging=", "<Tagging"),
    ),
    one(
        "SetBucketAcl",
        "whom the bucket lets in",
        Governs,
        Effect::Taken(MALFORMED),
        |scene| set(scene, "acl=", "<AccessControlPolicy"),
    ),
    one(
        "DeleteBucket",
        "a deletion of the bucket, which is not empty",
        Destroys,
        Effect::Taken(&[409]),
        |scene| Request::new("DELETE", scene.ground.bucket_path()),
    ),
    one(
        "MakeBucket",
        "making the bucket that there is",
        Adds,
        Effect::Taken(&[409]),
        |scene| Request::new("PUT", scene.ground.bucket_path()),
    ),
];

fn set(scene: &Scene<'_>, query: &str, body: &str) -> Request {
    Request::new("PUT", scene.ground.bucket_path())
        .query(query)
        .body(body)
        .checksummed()
}
