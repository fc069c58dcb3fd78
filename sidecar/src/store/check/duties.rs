//! What a store must do. Nothing here is more than a mirror or a custodian asks of it, so a gate lets it pass.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::value::Sha256Digest;
use jiff::Timestamp;

use super::CheckError;
use super::ground::{FORGED, Ground, ORIGINAL, Request, Victim, code, send};
use super::probe::{Finding, Kind, Outcome};
use super::signature::{Signing, escaped};
use super::wire::Answer;

/// Writers of one key at once: more than any two sidecars.
const WRITERS: usize = 16;
/// The most that our clock and the store's may differ, in seconds.
const MAX_CLOCK_DIFFERENCE: i64 = 300;
/// A lock on arrival may end this much sooner than asked, in seconds: clocks differ, and stores round.
const LOCK_TOLERANCE: i64 = 3600;

/// What the bucket must give to each new object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lock {
    pub governance_suffices: bool,
    pub least_days: u64,
}

/// What was found, and what the doors need to know.
pub(super) struct Duties {
    pub findings: Vec<Finding>,
    pub lock_configuration: String,
    pub clock_ahead_seconds: Option<i64>,
}

/// Asks for everything that a store must do.
pub(super) async fn check(ground: &Ground, lock: Lock) -> Result<Duties, CheckError> {
    let victim = ground.put(&ground.fresh()?).await?;
    let mut findings = vec![
        Finding::new(
            "NewObject",
            Kind::Duty,
            "takes a new object and gives it a version",
            done(!victim.version.is_empty()),
        )
        .answered(200, "")
        .seeing(if victim.version.is_empty() {
            "it has no version id"
        } else {
            ""
        }),
    ];
    let settings = |query| Request::new("GET", ground.bucket_path()).query(query);
    let versioning = answered(ground.send(settings("versioning=")).await?)?;
    findings.push(
        Finding::new(
            "Versioning",
            Kind::Duty,
            "keeps versions",
            done(versioning.element("Status") == Some("Enabled")),
        )
        .answered(versioning.status, code(&versioning)),
    );
    let configured = answered(ground.send(settings("object-lock=")).await?)?;
    findings.push(locks_by_default(&configured, lock));
    findings.push(refuses_a_second(ground, &victim).await?);
    findings.push(one_of_many_wins(ground).await?);
    findings.extend(refuses_damage(ground).await?);
    findings.extend(locks_on_arrival(ground, lock).await?);
    let ahead = clock_ahead(&versioning);
    findings.push(
        Finding::new(
            "Clock",
            Kind::Duty,
            "has about our time",
            ahead.map_or(Outcome::NotTried, |ahead| {
                done(ahead.abs() <= MAX_CLOCK_DIFFERENCE)
            }),
        )
        .seeing(&ahead.map_or_else(
            || "its answers have no date".to_owned(),
            |ahead| format!("{ahead} s ahead"),
        )),
    );
    Ok(Duties {
        findings,
        lock_configuration: configured.text().trim_start_matches('\u{feff}').to_owned(),
        clock_ahead_seconds: ahead,
    })
}

const fn done(is: bool) -> Outcome {
    if is { Outcome::Done } else { Outcome::Undone }
}

fn answered(answer: Option<Answer>) -> Result<Answer, CheckError> {
    answer.ok_or(CheckError::NoAnswer)
}

fn locks_by_default(answer: &Answer, lock: Lock) -> Finding {
    let mode = answer.element("Mode").unwrap_or("none");
    let number = |name| {
        answer
            .element(name)
            .and_then(|text| text.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let days = number("Days") + 365 * number("Years");
    let suffices = mode == "COMPLIANCE" || mode == "GOVERNANCE" && lock.governance_suffices;
    Finding::new(
        "LockByDefault",
        Kind::Duty,
        "locks each new object by itself",
        done(suffices && days >= lock.least_days),
    )
    .answered(answer.status, code(answer))
    .seeing(&format!("{mode} for {days} days"))
}

/// A second conditional put must be refused, and leave nothing behind.
async fn refuses_a_second(ground: &Ground, victim: &Victim) -> Result<Finding, CheckError> {
    let request = Request::new("PUT", ground.path(&victim.key))
        .if_new()
        .body(FORGED);
    let answer = answered(ground.send(request).await?)?;
    let versions = ground.eyes.versions(&victim.key.to_string()).await?.len();
    let refused = answer.status == 412 && versions == 1;
    Ok(Finding::new(
        "ConditionalPut",
        Kind::Duty,
        "refuses a second object under a key",
        done(refused),
    )
    .answered(answer.status, code(&answer))
    .seeing(&format!("{versions} versions")))
}

/// Of many writers of one key at once exactly one must win.
async fn one_of_many_wins(ground: &Ground) -> Result<Finding, CheckError> {
    let key = ground.fresh()?;
    let writers = (0..WRITERS).map(|writer| {
        let body = format!("writer {writer}\n");
        let request = Request::new("PUT", ground.path(&key)).if_new().body(body);
        ground.send(request)
    });
    let answers = futures::future::try_join_all(writers).await?;
    let won = answers
        .iter()
        .flatten()
        .filter(|answer| answer.is_success())
        .count();
    let versions = ground.eyes.versions(&key.to_string()).await?.len();
    Ok(Finding::new(
        "OneOfSixteen",
        Kind::Duty,
        "lets one of sixteen writers of a key win",
        done(won == 1 && versions == 1),
    )
    .seeing(&format!("{won} won, {versions} versions")))
}

/// A body that is not what its checksum, or its signature, says must not become an object.
async fn refuses_damage(ground: &Ground) -> Result<Vec<Finding>, CheckError> {
    let digest = Sha256Digest::of(ORIGINAL);
    let put = |key| Request::new("PUT", ground.path(key)).if_new().body(FORGED);
    let (first, second) = (ground.fresh()?, ground.fresh()?);
    let checksum = put(&first).header("x-amz-checksum-sha256", STANDARD.encode(digest.as_bytes()));
    let signed = put(&second).signed(Signing::Claimed(digest.to_string()));
    let finding = |word, kind, says| Finding::new(word, kind, says, Outcome::Undone);
    let by_checksum = finding(
        "Checksum",
        Kind::Duty,
        "refuses a body that is not its checksum's",
    );
    // The checksum protects what our own clients put.
    let by_signature = finding(
        "SignedBody",
        Kind::Wish,
        "refuses a body that is not the signed one",
    );
    Ok(vec![
        refused(ground, &first, checksum, by_checksum).await?,
        refused(ground, &second, signed, by_signature).await?,
    ])
}

async fn refused(
    ground: &Ground,
    key: &ObjectKey,
    request: Request,
    finding: Finding,
) -> Result<Finding, CheckError> {
    let answer = answered(ground.send(request).await?)?;
    let left = ground.eyes.versions(&key.to_string()).await?.len();
    let finding = finding
        .answered(answer.status, code(&answer))
        .seeing(if left == 0 { "" } else { "it is there" });
    Ok(Finding {
        outcome: done(!answer.is_success() && left == 0),
        ..finding
    })
}

/// What only a witness can see: the lock of a new object, and that not even a right to delete or to shorten helps against it.
async fn locks_on_arrival(ground: &Ground, lock: Lock) -> Result<Vec<Finding>, CheckError> {
    const SAYS: [(&str, &str); 3] = [
        ("LockOnArrival", "has locked a new object as the bucket demands"),
        ("LockedDelete", "lets nobody delete what is locked"),
        ("LockedShorten", "lets nobody shorten a lock"),
    ];
    if !ground.eyes.is_witness {
        return Ok(SAYS
            .map(|(word, says)| {
                Finding::new(word, Kind::Duty, says, Outcome::NotTried).seeing("only a witness can see it")
            })
            .into());
    }
    let eyes = &ground.eyes;
    let victim = ground.put(&ground.fresh_segment()?).await?;
    let path = ground.path(&victim.key);
    let by_version = format!("versionId={}", escaped(&victim.version));
    let found = eyes.lock(&path, &by_version).await?;
    let until = found.as_ref().and_then(|lock| lock.until);
    let days = i64::try_from(lock.least_days).unwrap_or(i64::MAX / 86_400);
    let least = Timestamp::now().as_second() + days * 86_400 - LOCK_TOLERANCE;
    let mode_suffices = found.as_ref().is_some_and(|found| {
        found.mode == "COMPLIANCE" || lock.governance_suffices && found.mode == "GOVERNANCE"
    });
    let locked = mode_suffices && until.is_some_and(|until| until.as_second() >= least);
    let shown = found.map_or_else(
        || "no lock".to_owned(),
        |found| {
            format!(
                "{} until {}",
                found.mode,
                until.map(|until| until.to_string()).unwrap_or_default()
            )
        },
    );
    let soon = super::doors::in_hours(1);
    let shorten = Request::new("PUT", path.clone())
        .query(format!("retention=&{by_version}"))
        .body(format!(
            "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>{soon}</RetainUntilDate></Retention>"
        ))
        .checksummed();
    let shortened = answered(send(&eyes.wire, &eyes.user, shorten).await?)?;
    let delete = Request::new("DELETE", path).query(by_version);
    let deleted = answered(send(&eyes.wire, &eyes.user, delete).await?)?;
    let still_there = eyes
        .look(&victim)
        .await?
        .versions
        .iter()
        .any(|version| version.id == victim.version);
    let [arrival, removal, shortening] = SAYS;
    Ok(vec![
        Finding::new(arrival.0, Kind::Duty, arrival.1, done(locked)).seeing(&shown),
        Finding::new(
            removal.0,
            Kind::Duty,
            removal.1,
            done(!deleted.is_success() && still_there),
        )
        .answered(deleted.status, code(&deleted)),
        Finding::new(
            shortening.0,
            Kind::Duty,
            shortening.1,
            done(!shortened.is_success()),
        )
        .answered(shortened.status, code(&shortened)),
    ])
}

/// Seconds that the answer's date is ahead of ours.
fn clock_ahead(answer: &Answer) -> Option<i64> {
    let date = jiff::fmt::rfc2822::parse(answer.header("date")?).ok()?;
    Some(date.timestamp().as_second() - Timestamp::now().as_second())
}
