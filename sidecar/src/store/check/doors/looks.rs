//! Reading what home has no need to read.

use super::objects::version;
use super::{Door, Effect, one};
use crate::store::check::ground::{Request, Scene, prefix};
use crate::store::check::probe::Harm::{Learns, Reads};

pub(super) static DOORS: &[Door] = &[
    one("ReadSegment", "reading a segment", Reads, Effect::Taken(&[]), get),
    one(
        "ReadSegmentByVersion",
        "reading a segment by its version",
        Reads,
        Effect::Taken(&[]),
        |scene| get(scene).query(version(scene)),
    ),
    one(
        "HeadSegment",
        "asking for a segment's size and time",
        Reads,
        Effect::Taken(&[]),
        |scene| Request::new("HEAD", scene.ground.path(&scene.victim.key)),
    ),
    one(
        "SelectFromSegment",
        "a query over a segment",
        Reads,
        Effect::Taken(&[400]),
        |scene| {
            Request::new("POST", scene.ground.path(&scene.victim.key))
                .query("select=&select-type=2")
                .body("<SelectObjectContentRequest>")
        },
    ),
    one(
        "ReadSegmentAttributes",
        "a segment's attributes",
        Reads,
        Effect::Taken(&[]),
        |scene| {
            get(scene)
                .query("attributes=")
                .header("x-amz-object-attributes", "ETag,ObjectSize")
        },
    ),
    one(
        "ReadInsideEntry",
        "reading an entry as the archive it might be",
        Learns,
        Effect::Taken(&[]),
        |scene| get(scene).header("x-minio-extract", "true"),
    ),
    one(
        "ReadAcl",
        "an entry's permissions",
        Learns,
        Effect::Taken(&[]),
        |scene| get(scene).query("acl="),
    ),
    one(
        "ReadTags",
        "an entry's tags",
        Learns,
        Effect::Taken(&[]),
        |scene| get(scene).query("tagging="),
    ),
    one(
        "ReadLock",
        "an entry's lock",
        Learns,
        Effect::Taken(&[]),
        |scene| get(scene).query(format!("retention=&{}", version(scene))),
    ),
    one(
        "ReadHold",
        "an entry's legal hold",
        Learns,
        Effect::Taken(&[]),
        |scene| get(scene).query(format!("legal-hold=&{}", version(scene))),
    ),
    one(
        "ListEverything",
        "a listing of the whole bucket",
        Learns,
        Effect::Taken(&[]),
        |scene| bucket(scene, "list-type=2&max-keys=1"),
    ),
    one(
        "ListSegments",
        "a listing of the registry's copies",
        Learns,
        Effect::Taken(&[]),
        |scene| {
            let copies = prefix(&format!("registries/{}/copies/", scene.ground.registry));
            bucket(scene, &format!("list-type=2&max-keys=1&{copies}"))
        },
    ),
    one(
        "ListNeighbour",
        "a listing of another registry",
        Learns,
        Effect::Taken(&[]),
        |scene| {
            let theirs = prefix(&format!("registries/{}/source/", scene.ground.neighbour));
            bucket(scene, &format!("list-type=2&max-keys=1&{theirs}"))
        },
    ),
    one(
        "ListVersionsOfEverything",
        "a listing of all versions in the bucket",
        Learns,
        Effect::Taken(&[]),
        |scene| bucket(scene, "max-keys=1&versions="),
    ),
    one(
        "ListUploads",
        "a listing of uploads in parts",
        Learns,
        Effect::Taken(&[]),
        |scene| bucket(scene, "max-uploads=1&uploads="),
    ),
    one(
        "ListBuckets",
        "a listing of buckets",
        Learns,
        Effect::Taken(&[]),
        |_| Request::new("GET", "/"),
    ),
    one(
        "ReadPolicy",
        "the bucket's policy",
        Learns,
        Effect::Taken(&[404]),
        |scene| bucket(scene, "policy="),
    ),
    one(
        "ReadLifecycle",
        "what the bucket removes by itself",
        Learns,
        Effect::Taken(&[404]),
        |scene| bucket(scene, "lifecycle="),
    ),
];

fn get(scene: &Scene<'_>) -> Request {
    Request::new("GET", scene.ground.path(&scene.victim.key))
}

fn bucket(scene: &Scene<'_>, query: &str) -> Request {
    Request::new("GET", scene.ground.bucket_path()).query(query)
}
