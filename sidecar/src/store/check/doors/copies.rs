//! Copies within the store, and uploads in parts.

use super::objects::{escaped_path, fresh, over, version};
use super::{Act, Door, Effect, one};
use crate::store::check::CheckError;
use crate::store::check::ground::{FORGED, Request, Scene};
use crate::store::check::probe::Harm::{Adds, Destroys, Reads};
use crate::store::check::signature::escaped;
use crate::store::check::wire::Answer;

const SOURCE: &str = "x-amz-copy-source";

pub(super) static DOORS: &[Door] = &[
    one(
        "Copy",
        "a copy of an entry, made by the store, at a free key",
        Adds,
        Effect::Fresh,
        |scene| {
            // But for the one header it is what a gate lets through, the body included.
            fresh(scene).header(SOURCE, escaped_path(scene))
        },
    ),
    one(
        "CopyOntoItself",
        "a copy of an entry onto itself",
        Destroys,
        Effect::Victim,
        |scene| {
            Request::new("PUT", scene.ground.path(&scene.victim.key))
                .header(SOURCE, escaped_path(scene))
                .header("x-amz-metadata-directive", "REPLACE")
        },
    ),
    one(
        "CopyOntoVersion",
        "a copy of an entry onto one of its versions",
        Destroys,
        Effect::Victim,
        |scene| {
            Request::new("PUT", scene.ground.path(&scene.victim.key))
                .query(version(scene))
                .header(SOURCE, format!("{}?{}", escaped_path(scene), version(scene)))
                .header("x-amz-metadata-directive", "REPLACE")
        },
    ),
    one(
        "CopySegmentToChain",
        "a copy of a segment to where home may read",
        Reads,
        Effect::Fresh,
        |scene| fresh(scene).header(SOURCE, escaped_path(scene)),
    ),
    Door {
        word: "Multipart",
        says: "an upload in parts over an entry",
        harm: Destroys,
        act: Act::Multipart,
        effect: Effect::Victim,
    },
    one(
        "MultipartStart",
        "the beginning of an upload in parts",
        Adds,
        Effect::Taken(&[]),
        |scene| Request::new("POST", scene.ground.path(&scene.fresh)).query("uploads="),
    ),
    one(
        "UploadPart",
        "a part of an upload that nobody began",
        Adds,
        Effect::Taken(&[404]),
        |scene| fresh(scene).query("partNumber=1&uploadId=none"),
    ),
    one(
        "UploadPartCopy",
        "a copy of a segment as a part of an upload",
        Reads,
        Effect::Taken(&[404]),
        |scene| {
            Request::new("PUT", scene.ground.path(&scene.fresh))
                .query("partNumber=1&uploadId=none")
                .header(SOURCE, escaped_path(scene))
        },
    ),
];

/// Begins an upload over the victim, sends a part and completes it. The answer is the first that is no success, or the last.
pub(super) async fn multipart(scene: &Scene<'_>) -> Result<Option<Answer>, CheckError> {
    let ground = scene.ground;
    let path = ground.path(&scene.victim.key);
    let begun = ground
        .send(Request::new("POST", path.clone()).query("uploads="))
        .await?;
    let Some(begun) = begun else { return Ok(None) };
    let Some(upload) = begun
        .element("UploadId")
        .map(escaped)
        .filter(|_| begun.is_success())
    else {
        return Ok(Some(begun));
    };
    let part = over(scene)
        .query(format!("partNumber=1&uploadId={upload}"))
        .body(FORGED);
    let Some(part) = ground.send(part).await? else {
        return Ok(None);
    };
    if !part.is_success() {
        return Ok(Some(part));
    }
    let tag = part.header("etag").unwrap_or_default().replace('"', "&quot;");
    let body = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{tag}</ETag></Part></CompleteMultipartUpload>"
    );
    ground
        .send(
            Request::new("POST", path)
                .query(format!("uploadId={upload}"))
                .body(body),
        )
        .await
}
