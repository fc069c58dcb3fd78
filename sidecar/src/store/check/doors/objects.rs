//! Puts that are not a new object of a copy in its place.

use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::value::Term;

use super::bodies::{chunked, form, unpack, unsigned_trailer};
use super::{Door, Effect, one};
use crate::store::check::ground::{FORGED, Request, Scene};
use crate::store::check::probe::Harm::{Adds, Destroys, Governs};
use crate::store::check::signature::{Signing, escaped};

pub(super) static DOORS: &[Door] = &[
    one(
        "PutWithoutCondition",
        "a put without If-None-Match over an entry",
        Destroys,
        Effect::Victim,
        over,
    ),
    one(
        "PutByVersionId",
        "a put with the version id of an entry",
        Destroys,
        Effect::Victim,
        |scene| over(scene).query(version(scene)),
    ),
    one(
        "NewPutByVersionId",
        "a put with the version id of an entry, If-None-Match and a free key",
        Adds,
        Effect::Fresh,
        |scene| fresh(scene).query(version(scene)),
    ),
    one(
        "PutIfMatch",
        "a put over an entry if it is still the same",
        Destroys,
        Effect::Victim,
        |scene| over(scene).header("if-match", scene.victim.etag.clone()),
    ),
    one(
        "Append",
        "a put that appends to an entry",
        Destroys,
        Effect::Victim,
        |scene| {
            let end = crate::store::check::ground::ORIGINAL.len();
            over(scene).header("x-amz-write-offset-bytes", end.to_string())
        },
    ),
    one(
        "Rename",
        "a rename of an entry to another key",
        Destroys,
        Effect::Victim,
        |scene| {
            Request::new("PUT", scene.ground.path(&scene.fresh))
                .query("renameObject=")
                .header("x-amz-rename-source", escaped_path(scene))
        },
    ),
    one(
        "FormPost",
        "a form post over an entry",
        Destroys,
        Effect::Victim,
        form,
    ),
    one(
        "FormPostByVersionId",
        "a form post with the version id of an entry",
        Destroys,
        Effect::Victim,
        |scene| form(scene).query(version(scene)),
    ),
    one(
        "UnpackOverVersion",
        "an archive that the store unpacks over a version of an entry",
        Destroys,
        Effect::Victim,
        unpack,
    ),
    one(
        "UnpackConditionally",
        "the same, put as a new object",
        Destroys,
        Effect::Victim,
        |scene| unpack(scene).if_new(),
    ),
    one(
        "OtherRegistry",
        "a new entry of another registry",
        Destroys,
        Effect::Taken(&[412]),
        |scene| {
            let path = scene.ground.path(&scene.fresh);
            let (mine, theirs) = (scene.ground.registry.as_str(), scene.ground.neighbour.as_str());
            Request::new("PUT", path.replace(mine, theirs))
                .if_new()
                .body(FORGED)
        },
    ),
    one(
        "CustodyEntry",
        "a new entry of the custody chain",
        Destroys,
        Effect::Taken(&[412]),
        |scene| {
            let sequence = match &scene.fresh {
                ObjectKey::Source { sequence, .. } => *sequence,
                _ => dataembassy_ledger::value::Sequence::FIRST,
            };
            let registry = scene.ground.registry.clone();
            let key = ObjectKey::Custody { registry, sequence };
            Request::new("PUT", scene.ground.path(&key)).if_new().body(FORGED)
        },
    ),
    one(
        "StoreDocument",
        "a second embassy.json",
        Governs,
        Effect::Taken(&[412]),
        |scene| {
            Request::new("PUT", scene.ground.path(&ObjectKey::Embassy))
                .if_new()
                .header("if-match", "\"0\"")
                .body(FORGED)
        },
    ),
    one(
        "OtherTerm",
        "a new entry of another term",
        Adds,
        Effect::Taken(&[412]),
        |scene| match &scene.fresh {
            ObjectKey::Source {
                registry, sequence, ..
            } => {
                let key = ObjectKey::Source {
                    registry: registry.clone(),
                    term: Term::LAST,
                    sequence: *sequence,
                };
                Request::new("PUT", scene.ground.path(&key)).if_new().body(FORGED)
            }
            _ => fresh(scene),
        },
    ),
    one(
        "OutsideGrammar",
        "a new object beside the entries whose key no format knows",
        Adds,
        Effect::Taken(&[412]),
        |scene| {
            let path = format!("{}.part", scene.ground.path(&scene.fresh));
            Request::new("PUT", path).if_new().body(FORGED)
        },
    ),
    one(
        "ClimbingKey",
        "a new object whose key climbs out of its registry",
        Destroys,
        Effect::Taken(&[412]),
        |scene| {
            let registry = format!(
                "/{}/registries/{}/source/",
                scene.ground.bucket, scene.ground.registry
            );
            let path = format!("{registry}%2e%2e/%2e%2e/{}/source/1", scene.ground.neighbour);
            Request::new("PUT", path).if_new().body(FORGED)
        },
    ),
    one(
        "TooLong",
        "a new entry that is longer than entries may be",
        Adds,
        Effect::Fresh,
        |scene| fresh(scene).body(vec![b'x'; 65 * 1024]),
    ),
    one(
        "Empty",
        "a new entry without a byte",
        Adds,
        Effect::Fresh,
        |scene| fresh(scene).body(Vec::new()),
    ),
    one(
        "UnknownLength",
        "a new entry whose length nobody declares",
        Adds,
        Effect::Fresh,
        |scene| chunked(scene).unmeasured(),
    ),
    one(
        "LengthAndChunks",
        "a new entry with two ends: a declared length and chunks",
        Adds,
        Effect::Fresh,
        chunked,
    ),
    one(
        "TwoLengths",
        "a new entry with two declared lengths",
        Adds,
        Effect::Fresh,
        |scene| fresh(scene).header("content-length", "1"),
    ),
    one(
        "TwoConditions",
        "a put over an entry with If-None-Match twice",
        Destroys,
        Effect::Victim,
        |scene| {
            over(scene)
                .header("if-none-match", "\"0\"")
                .header("if-none-match", "*")
        },
    ),
    one(
        "ConditionByTag",
        "a put over an entry that must not be one certain other object",
        Destroys,
        Effect::Victim,
        |scene| over(scene).header("if-none-match", "\"00000000000000000000000000000000\""),
    ),
    one(
        "UnsignedBody",
        "a new entry whose body the signature does not cover",
        Adds,
        Effect::Fresh,
        |scene| fresh(scene).signed(Signing::Claimed("UNSIGNED-PAYLOAD".into())),
    ),
    one(
        "SignedChunks",
        "a new entry in chunks that are signed one by one",
        Adds,
        Effect::Fresh,
        |scene| {
            fresh(scene)
                .header("content-encoding", "aws-chunked")
                .signed(Signing::SignedChunks)
        },
    ),
    one(
        "UnsignedTrailer",
        "a new entry in chunks that nobody signs, with a checksum behind them",
        Adds,
        Effect::Fresh,
        unsigned_trailer,
    ),
];

/// A put over the victim.
pub(super) fn over(scene: &Scene<'_>) -> Request {
    Request::new("PUT", scene.ground.path(&scene.victim.key)).body(FORGED)
}

/// A put of a new object.
pub(super) fn fresh(scene: &Scene<'_>) -> Request {
    Request::new("PUT", scene.ground.path(&scene.fresh))
        .if_new()
        .body(FORGED)
}

/// The query that names the victim's version.
pub(super) fn version(scene: &Scene<'_>) -> String {
    format!("versionId={}", escaped(&scene.victim.version))
}

/// The victim as the headers of copies name it.
pub(super) fn escaped_path(scene: &Scene<'_>) -> String {
    escaped(&scene.ground.path(&scene.victim.key)).replace("%2F", "/")
}
