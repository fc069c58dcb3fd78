//! The doors: what somebody with deposit credentials may try beside putting a new object.
//!
//! Each is one request, or a few; none leads out of the registry for checks, and none would do harm to the bucket if it were let
//! through: settings are set to what they are already, or spelled so that they cannot be carried out.

mod bodies;
mod bucket;
mod copies;
mod headers;
mod looks;
mod objects;
mod removal;
mod signatures;

pub(super) use headers::in_hours;

use super::CheckError;
use super::eyes::difference;
use super::ground::{Ground, Request, Scene, code, is_of_gate};
use super::probe::{Finding, Harm, Kind, Outcome};
use super::wire::Answer;

/// A door.
struct Door {
    word: &'static str,
    says: &'static str,
    harm: Harm,
    act: Act,
    effect: Effect,
}

/// What is sent.
enum Act {
    One(fn(&Scene<'_>) -> Request),
    Multipart,
    OverMarker,
}

/// How one sees that a request that was taken did something.
enum Effect {
    /// It was taken, or failed with one of these: whoever gets as far as that was let in.
    Taken(&'static [u16]),
    /// The object that it attacks is another.
    Victim,
    /// Something lies where nothing was.
    Fresh,
    /// So it does, with a time in the past.
    Past,
    /// So it does, with another lock than the bucket gives.
    Lock,
}

const fn one(
    word: &'static str,
    says: &'static str,
    harm: Harm,
    effect: Effect,
    request: fn(&Scene<'_>) -> Request,
) -> Door {
    Door {
        word,
        says,
        harm,
        act: Act::One(request),
        effect,
    }
}

fn all() -> impl Iterator<Item = &'static Door> {
    [
        objects::DOORS,
        headers::DOORS,
        copies::DOORS,
        removal::DOORS,
        signatures::DOORS,
        bucket::DOORS,
        looks::DOORS,
    ]
    .into_iter()
    .flatten()
}

/// Tries every door.
pub(super) async fn try_all(ground: &Ground, through_gate: bool) -> Result<Vec<Finding>, CheckError> {
    let mut findings = Vec::new();
    for door in all() {
        findings.push(try_one(ground, door, through_gate).await?);
    }
    Ok(findings)
}

async fn try_one(ground: &Ground, door: &Door, through_gate: bool) -> Result<Finding, CheckError> {
    let victim_key = match door.harm {
        Harm::Reads => ground.fresh_segment()?,
        _ => ground.fresh()?,
    };
    let scene = Scene {
        ground,
        victim: ground.put(&victim_key).await?,
        fresh: ground.fresh()?,
    };
    let watched = matches!(door.effect, Effect::Victim);
    let before = if watched {
        Some(ground.eyes.look(&scene.victim).await?)
    } else {
        None
    };
    let finding = |outcome| Finding::new(door.word, Kind::Door(door.harm), door.says, outcome);
    let answer = match door.act {
        Act::One(request) => ground.send(request(&scene)).await?,
        Act::Multipart => copies::multipart(&scene).await?,
        Act::OverMarker => match removal::over_marker(&scene).await? {
            removal::OverMarker::Tried(answer) => answer,
            removal::OverMarker::NoMarker => {
                return Ok(finding(Outcome::NotTried).seeing("nobody here may make a delete marker"));
            }
        },
    };
    let Some(answer) = answer else {
        return Ok(finding(Outcome::Closed));
    };
    let (outcome, seen) = if is_of_gate(&answer, through_gate) {
        (Outcome::RefusedByGate, String::new())
    } else if let Some(sight) = before
        && answer.is_success()
    {
        let after = ground.eyes.look(&scene.victim).await?;
        effect(difference(&sight, &after))
    } else {
        judge(&scene, &door.effect, &answer).await?
    };
    Ok(finding(outcome)
        .answered(answer.status, code(&answer))
        .seeing(&seen))
}

fn effect(seen: Option<String>) -> (Outcome, String) {
    match seen {
        Some(seen) => (Outcome::Succeeded, seen),
        None => (Outcome::WithoutEffect, String::new()),
    }
}

/// Looks whether a request that was answered has done something.
async fn judge(scene: &Scene<'_>, wanted: &Effect, answer: &Answer) -> Result<(Outcome, String), CheckError> {
    if let Effect::Taken(statuses) = wanted {
        let taken = answer.is_success() || statuses.contains(&answer.status);
        let outcome = if taken {
            Outcome::Succeeded
        } else {
            Outcome::RefusedByStore
        };
        let told = if taken && !answer.is_success() {
            "it was let in, and failed for another reason only"
        } else {
            ""
        };
        return Ok((outcome, told.to_owned()));
    }
    if !answer.is_success() {
        return Ok((Outcome::RefusedByStore, String::new()));
    }
    let eyes = &scene.ground.eyes;
    let versions = eyes.versions(&scene.fresh.to_string()).await?;
    let Some(version) = versions.first() else {
        return Ok((Outcome::WithoutEffect, String::new()));
    };
    Ok(match wanted {
        Effect::Past => {
            let an_hour_ago = jiff::Timestamp::now().as_second() - 3600;
            effect(
                version
                    .modified
                    .filter(|modified| modified.as_second() < an_hour_ago)
                    .map(|modified| format!("the store says that it was written at {modified}")),
            )
        }
        Effect::Lock if eyes.is_witness => {
            let path = scene.ground.path(&scene.fresh);
            let lock = eyes.lock(&path, &format!("versionId={}", version.id)).await?;
            let victim = format!("versionId={}", scene.victim.version);
            let usual = eyes.lock(&scene.ground.path(&scene.victim.key), &victim).await?;
            let told = match (&lock, &usual) {
                (None, Some(_)) => Some("it has no lock at all".to_owned()),
                (Some(lock), Some(usual)) if differs(lock, usual) => Some(format!(
                    "its lock is {} until {}",
                    lock.mode,
                    lock.until.map(|until| until.to_string()).unwrap_or_default()
                )),
                _ => None,
            };
            effect(told)
        }
        _ => (Outcome::Succeeded, "an object lies there".to_owned()),
    })
}

/// Two objects that were put one after the other have locks that end some seconds apart.
fn differs(lock: &super::eyes::Lock, usual: &super::eyes::Lock) -> bool {
    let end = |lock: &super::eyes::Lock| lock.until.map_or(0, jiff::Timestamp::as_second);
    lock.mode != usual.mode || (end(lock) - end(usual)).abs() > 600
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_door_has_a_word_of_its_own_that_fits_a_status() {
        let words: Vec<_> = all().map(|door| door.word).collect();
        let unique: std::collections::BTreeSet<_> = words.iter().collect();
        assert_eq!(unique.len(), words.len());
        assert!(
            words.len() <= 120,
            "the result is bounded by the number of probes"
        );
        for word in words {
            let camel = word.starts_with(|letter: char| letter.is_ascii_uppercase())
                && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
            assert!(camel && word.len() <= 40, "{word}");
        }
    }
}
