//! What the embassy does without home: takes copies in through its gate, proves them, keeps them, and says what is wrong.

mod damage;
mod empty;
mod flood;
mod proof;
mod red_team;
mod silence;
mod ways;

use std::time::Duration;

use anyhow::Result;
use dataembassy_e2e::product::custody::Custody;

use crate::world::{Subject, World};

/// Within this time of its coming a copy is read back, whatever else the machine does. What is promised is the verification period.
const PROVEN: Duration = Duration::from_mins(3);

/// A registry with one copy, which the embassy has proven.
async fn proven(world: &World, subject: &Subject) -> Result<Custody> {
    subject.mirrored().await?;
    let custody = Custody::of(&world.product, &subject.id);
    custody.proven(PROVEN).await?;
    Ok(custody)
}
