//! Puts of new objects with a header more: each asks the store for something that home has no business to ask.

use super::objects::fresh;
use super::{Door, Effect, one};
use crate::store::check::probe::Harm::{Adds, Destroys};

pub(super) static DOORS: &[Door] = &[
    one(
        "Backdate",
        "a new entry with a time in the past (x-minio-source-mtime)",
        Destroys,
        Effect::Past,
        |scene| fresh(scene).header("x-minio-source-mtime", "2020-01-01T00:00:00Z"),
    ),
    one(
        "BackdatedReplica",
        "the same, as a replica",
        Destroys,
        Effect::Past,
        |scene| {
            fresh(scene)
                .header("x-amz-bucket-replication-status", "REPLICA")
                .header("x-minio-source-mtime", "2020-01-01T00:00:00Z")
                .header("x-minio-source-replication-request", "true")
        },
    ),
    one(
        "ForeignTag",
        "a new entry with an ETag of the sender's choice (x-minio-source-etag)",
        Adds,
        Effect::Fresh,
        |scene| {
            fresh(scene)
                .header("x-minio-source-etag", "00000000000000000000000000000000")
                .header("x-minio-source-replication-request", "true")
        },
    ),
    one(
        "ReplicaWithoutLock",
        "a new entry as a replica that brings its own lock",
        Destroys,
        Effect::Lock,
        |scene| {
            fresh(scene)
                .header("x-amz-bucket-replication-status", "REPLICA")
                .header("x-minio-source-replication-request", "true")
                .header(
                    "x-minio-source-replication-retention-timestamp",
                    "2020-01-01T00:00:00Z",
                )
        },
    ),
    one(
        "ShortLock",
        "a new entry with a shorter lock",
        Destroys,
        Effect::Lock,
        |scene| {
            fresh(scene)
                .header("x-amz-object-lock-mode", "GOVERNANCE")
                .header("x-amz-object-lock-retain-until-date", in_hours(1))
        },
    ),
    one(
        "LongLock",
        "a new entry with a longer lock, which fills the store",
        Adds,
        Effect::Lock,
        |scene| {
            fresh(scene)
                .header("x-amz-object-lock-mode", "COMPLIANCE")
                .header("x-amz-object-lock-retain-until-date", in_hours(24 * 40))
        },
    ),
    one(
        "LegalHold",
        "a new entry with a legal hold",
        Adds,
        Effect::Fresh,
        |scene| fresh(scene).header("x-amz-object-lock-legal-hold", "ON"),
    ),
    one(
        "PublicObject",
        "a new entry that everybody may read (x-amz-acl)",
        Adds,
        Effect::Fresh,
        |scene| fresh(scene).header("x-amz-acl", "public-read"),
    ),
    one(
        "Tags",
        "a new entry with tags, which lifecycle rules may go by",
        Adds,
        Effect::Fresh,
        |scene| fresh(scene).header("x-amz-tagging", "expire=1"),
    ),
    one(
        "Metadata",
        "a new entry with metadata",
        Adds,
        Effect::Fresh,
        |scene| fresh(scene).header("x-amz-meta-of-home", "1"),
    ),
    one(
        "CustomerKey",
        "a new entry that the store encrypts with a key of the sender's",
        Adds,
        Effect::Fresh,
        |scene| {
            use base64::Engine as _;
            use base64::engine::general_purpose::STANDARD;
            // The header's digest is MD5, of this key.
            fresh(scene)
                .header("x-amz-server-side-encryption-customer-algorithm", "AES256")
                .header(
                    "x-amz-server-side-encryption-customer-key",
                    STANDARD.encode([b'k'; 32]),
                )
                .header(
                    "x-amz-server-side-encryption-customer-key-md5",
                    "mT2HRsMGJ5IX5C+0rreZ8Q==",
                )
        },
    ),
    one(
        "StoreKey",
        "a new entry that the store encrypts with a key of its own",
        Adds,
        Effect::Fresh,
        |scene| fresh(scene).header("x-amz-server-side-encryption", "AES256"),
    ),
    one(
        "StorageClass",
        "a new entry in a weaker storage class",
        Adds,
        Effect::Fresh,
        |scene| fresh(scene).header("x-amz-storage-class", "REDUCED_REDUNDANCY"),
    ),
    one(
        "Redirect",
        "a new entry that leads readers elsewhere",
        Adds,
        Effect::Fresh,
        |scene| fresh(scene).header("x-amz-website-redirect-location", "/elsewhere"),
    ),
    one(
        "ContentEncoding",
        "a new entry that the store or a proxy may unpack",
        Adds,
        Effect::Fresh,
        |scene| fresh(scene).header("content-encoding", "gzip"),
    ),
];

/// A time from now, as headers and bodies of locks spell it.
pub(in crate::store::check) fn in_hours(hours: i64) -> String {
    let until = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + hours * 3600);
    until.unwrap_or_default().to_string()
}
