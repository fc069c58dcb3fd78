//! Requests that nobody signed, or that are signed in a way that says less than it must.

use super::objects::fresh;
use super::{Door, Effect, one};
use crate::store::check::ground::Request;
use crate::store::check::probe::Harm::{Adds, Governs, Learns, Reads};
use crate::store::check::signature::Signing;

pub(super) static DOORS: &[Door] = &[
    one(
        "AnonymousPut",
        "a new entry that nobody signed",
        Adds,
        Effect::Fresh,
        |scene| fresh(scene).signed(Signing::Nobody),
    ),
    one(
        "AnonymousRead",
        "reading a segment without a signature",
        Reads,
        Effect::Taken(&[]),
        |scene| Request::new("GET", scene.ground.path(&scene.victim.key)).signed(Signing::Nobody),
    ),
    one(
        "PresignedPut",
        "a new entry that is signed by its query",
        Adds,
        Effect::Fresh,
        |scene| fresh(scene).signed(Signing::Presigned),
    ),
    one(
        "PresignedRead",
        "reading an entry with a signature that can be handed on",
        Learns,
        Effect::Taken(&[]),
        |scene| Request::new("GET", scene.ground.path(&scene.victim.key)).signed(Signing::Presigned),
    ),
    one(
        "OldSignature",
        "a new entry that is signed as before version 4",
        Adds,
        Effect::Fresh,
        |scene| fresh(scene).signed(Signing::Version2),
    ),
    one(
        "TemporaryCredentials",
        "credentials under another name, made by the store",
        Governs,
        Effect::Taken(&[]),
        |_| {
            Request::new("POST", "/")
                .header("content-type", "application/x-www-form-urlencoded")
                .body("Action=AssumeRole&Version=2011-06-15&DurationSeconds=900")
                .signed(Signing::Service("sts"))
        },
    ),
    one(
        "OwnUsers",
        "the store's own users, by its IAM interface",
        Governs,
        Effect::Taken(&[]),
        |_| {
            Request::new("POST", "/")
                .header("content-type", "application/x-www-form-urlencoded")
                .body("Action=ListUsers&Version=2010-05-08")
                .signed(Signing::Service("iam"))
        },
    ),
    one(
        "Administration",
        "the store's administration, which may make service accounts",
        Governs,
        Effect::Taken(&[]),
        |_| Request::new("GET", "/minio/admin/v3/accountinfo"),
    ),
];
