//! Home is in the enemy's hands: a minute of everything that its credentials can be tried for.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use dataembassy_crds::ConditionStatus;
use dataembassy_e2e::product::red_team::RedTeam;

use super::proven;
use crate::world::{MINUTE, World, together};

/// How long it goes on.
const ASSAULT: Duration = Duration::from_mins(1);

#[test]
fn a_minute_of_everything_that_home_can_try_costs_no_byte_and_is_counted() {
    together(assault);
}

async fn assault(world: &'static World) -> Result<()> {
    let ministry = world.ministry("red-team").await?;
    let subject = ministry.small_registry("besieged").await?;
    let custody = proven(world, &subject).await?;
    let team = RedTeam::of(&world.product, &ministry.namespace, &subject.id).await?;
    let before = team.holdings().await?;
    let (began, mut rounds, mut tried) = (Instant::now(), 0, 0);
    while began.elapsed() < ASSAULT {
        let (attempts, slips) = team.attack().await?;
        let through: Vec<_> = slips.iter().map(ToString::to_string).collect();
        ensure!(through.is_empty(), "not refused: {}", through.join("; "));
        (rounds, tried) = (rounds + 1, tried + attempts);
    }
    team.still_holds(&before).await?;
    let alarm = custody
        .condition(
            "Suspicious",
            ConditionStatus::True,
            Some("RequestsRefused"),
            MINUTE,
        )
        .await?;
    let counted: u64 = alarm
        .split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|number| number.parse::<u64>().ok())
        .sum();
    ensure!(
        counted >= tried as u64 / 2,
        "{tried} attempts in {rounds} rounds, and the alarm counts {counted}: {alarm}"
    );
    custody
        .condition("Intact", ConditionStatus::True, None, MINUTE)
        .await?;
    subject.delete().await
}
