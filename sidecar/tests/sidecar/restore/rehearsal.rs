//! What a rehearsal restores into somebody else's database is taken away again, and nothing else is.

use dataembassy_contract::Reason;
use dataembassy_contract::files;
use dataembassy_contract::restore::{Ending, RehearsalConfig, RestoreConfig, RestoreResult};
use dataembassy_testkit::postgresql::{Database, Server};

use super::embassy::{Embassy, assert_equal, find_again, lose};
use super::job::{Folder, published};
use crate::sealed::target;

const UID: &str = "5d11169e-0000-4000-8000-000000000001";

fn rehearsal(uid: &str, empties: bool) -> impl FnOnce(&mut RestoreConfig) {
    let rehearsal = RehearsalConfig {
        uid: uid.to_owned(),
        empties,
    };
    move |config| config.rehearsal = Some(rehearsal)
}

/// Whoever cleans up has neither the store's keys nor an identity.
async fn clean_up(embassy: &Embassy, target: &Database, uid: &str) -> RestoreResult {
    let folder = Folder::new(embassy, target, rehearsal(uid, true));
    for name in [
        files::IDENTITY,
        files::RETRIEVAL_ACCESS_KEY_ID,
        files::RETRIEVAL_SECRET_ACCESS_KEY,
    ] {
        folder.remove(name);
    }
    folder.run().await
}

/// The database's comment, and whether everybody may connect.
async fn marks(target: &Database) -> (String, String) {
    let comment = target
        .value(
            "SELECT coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE datname = current_database()",
        )
        .await
        .unwrap();
    let open = target
        .value("SELECT has_database_privilege('pg_monitor', current_database(), 'CONNECT')::text")
        .await
        .unwrap();
    (comment, open)
}

async fn tables(target: &Database) -> String {
    let count = "SELECT count(*)::text FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'p')";
    target.value(count).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rehearsal_restored_is_dropped_and_the_database_is_as_before() {
    let (embassy, database) = published().await;
    let target = target(Server::shared(17)).await;
    let comment = format!("COMMENT ON DATABASE \"{}\" IS 'for rehearsals'", target.name);
    target.execute(&comment).await.unwrap();
    let before = marks(&target).await;
    let result = Folder::new(&embassy, &target, rehearsal(UID, false)).run().await;
    assert_eq!(result.ending, Ending::Restored, "{}", result.message);
    assert_equal(&database, &target);
    let (comment, open) = marks(&target).await;
    assert!(
        comment.contains("REHEARSAL, do not use") && comment.contains(UID),
        "{comment}"
    );
    assert_eq!(open, "false", "nobody works with it");
    // Nobody else's restore goes into it, and is told why.
    let result = Folder::new(&embassy, &target, |_| ()).run().await;
    assert_eq!(result.reason, Reason::TargetLacks);
    assert!(result.message.contains(UID), "{}", result.message);

    let result = clean_up(&embassy, &target, UID).await;
    assert_eq!(
        (result.ending, result.reason),
        (Ending::Restored, Reason::CleanedUp),
        "{}",
        result.message
    );
    assert_eq!(tables(&target).await, "0");
    assert_eq!(marks(&target).await, before);
    // Whoever was killed before it could say so does it again.
    let result = clean_up(&embassy, &target, UID).await;
    assert_eq!(result.reason, Reason::CleanedUp, "{}", result.message);
    assert!(
        result.message.contains("nothing was touched"),
        "{}",
        result.message
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_bear_the_rehearsals_own_mark_is_never_touched() {
    let (embassy, database) = published().await;
    let target = target(Server::shared(17)).await;
    // Another one's rehearsal.
    let result = Folder::new(&embassy, &target, rehearsal(UID, false)).run().await;
    assert_eq!(result.ending, Ending::Restored, "{}", result.message);
    let before = marks(&target).await;
    let result = clean_up(&embassy, &target, "5d11169e-0000-4000-8000-000000000002").await;
    assert_eq!(result.reason, Reason::CleanedUp, "{}", result.message);
    assert!(result.message.contains("another restore"), "{}", result.message);
    assert_equal(&database, &target);
    assert_eq!(marks(&target).await, before);
    // A registry that is meant, and bears no mark.
    let result = clean_up(&embassy, &database, UID).await;
    assert!(result.message.contains("no mark"), "{}", result.message);
    assert_equal(&database, &target);
    // One that is not there.
    let mut gone = self::target(Server::shared(17)).await;
    gone.name.push_str("_dropped");
    let result = clean_up(&embassy, &gone, UID).await;
    assert_eq!(result.reason, Reason::CleanedUp, "{}", result.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broken_off_rehearsal_left_is_dropped_too() {
    let (embassy, _) = published().await;
    let target = target(Server::shared(17)).await;
    lose(&embassy, "00000002");
    let result = Folder::new(&embassy, &target, rehearsal(UID, false)).run().await;
    assert_eq!(result.ending, Ending::Unfinished, "{}", result.message);
    find_again(&embassy, "00000002");
    assert_ne!(tables(&target).await, "0");
    // As long as its restore is still at work nothing is dropped under its hands, and that is said.
    let busy = target.client().await.unwrap();
    busy.execute("SELECT pg_advisory_lock(4927347428445479521)", &[])
        .await
        .unwrap();
    let result = clean_up(&embassy, &target, UID).await;
    assert_eq!(
        (result.ending, result.reason),
        (Ending::Unfinished, Reason::TargetLacks),
        "{}",
        result.message
    );
    assert!(
        result.message.contains("may still be in the database"),
        "{}",
        result.message
    );
    assert_ne!(tables(&target).await, "0");
    drop(busy);
    let result = clean_up(&embassy, &target, UID).await;
    assert_eq!(result.reason, Reason::CleanedUp, "{}", result.message);
    assert_eq!(tables(&target).await, "0");
}
