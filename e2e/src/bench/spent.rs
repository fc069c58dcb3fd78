//! What a copy takes besides time: the processor time of who copies, of the database and of the store, each by itself; the memory of who
//! copies; and what the store is asked for it.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::{
    door::Door,
    group::{Group, descendants},
};

/// What one run took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spent {
    /// From its beginning to its end, in seconds.
    pub seconds: f64,
    /// Processor time of whoever copied, with all that it started, in seconds.
    pub program: f64,
    /// Processor time of the database's server, in seconds.
    pub database: f64,
    /// Processor time of the store's server, in seconds.
    pub store: f64,
    /// The most memory that whoever copied had, its files in the kernel's cache included, in MiB.
    pub peak: f64,
    /// How many requests the store was sent.
    pub requests: f64,
    /// What was sent in their bodies, in MB.
    pub written: f64,
}

impl Spent {
    /// The run in the middle, by its time; of an even number, the quicker one of the two.
    pub(super) fn median(of: &[Self]) -> Option<Self> {
        let mut sorted = of.to_vec();
        sorted.sort_unstable_by(|one, other| one.seconds.total_cmp(&other.seconds));
        sorted.get(sorted.len().checked_sub(1)? / 2).copied()
    }
}

/// Counts for one rig after the other.
pub(super) struct Meter {
    database: Group,
    store: Group,
}

impl Meter {
    /// Takes in the servers that this process has started.
    pub(super) fn of_servers() -> Result<Self> {
        let started = descendants()?;
        let server = |name: &str| {
            let group = Group::make(name)?;
            let processes: Vec<_> = started.iter().filter(|(_, comm)| comm == name).collect();
            ensure!(!processes.is_empty(), "no {name} runs");
            for (process, _) in processes {
                group.take_in(*process)?;
            }
            anyhow::Ok(group)
        };
        Ok(Self {
            database: server("postgres")?,
            store: server("minio")?,
        })
    }

    /// Those that count as the database: whoever starts a server while something is counted starts it in there.
    pub(super) fn database(&self) -> &Group {
        &self.database
    }

    /// Runs something in a group of its own, from whose beginning on the time counts; it comes to the store by `door`.
    pub(super) async fn count<F>(&self, door: Door<'_>, run: impl FnOnce(Group) -> F) -> Result<Spent>
    where
        F: Future<Output = Result<Group>>,
    {
        let counted = self.count_and_keep(door, |group| async move { Ok((run(group).await?, ())) });
        let (spent, ()) = counted.await?;
        Ok(spent)
    }

    /// The same for something that leaves something behind, whose end does not count.
    pub(super) async fn count_and_keep<F, T>(
        &self,
        door: Door<'_>,
        run: impl FnOnce(Group) -> F,
    ) -> Result<(Spent, T)>
    where
        F: Future<Output = Result<(Group, T)>>,
    {
        let group = Group::make("program")?;
        let asked = door.traffic().await?;
        let before = [self.database.seconds()?, self.store.seconds()?];
        let began = Instant::now();
        let (group, left) = run(group).await?;
        let elapsed = began.elapsed();
        let after = [self.database.seconds()?, self.store.seconds()?];
        let asked = door.traffic().await?.since(asked);
        let spent = Spent {
            seconds: elapsed.as_secs_f64(),
            program: group.seconds()?,
            database: after[0] - before[0],
            store: after[1] - before[1],
            peak: group.peak()?,
            requests: asked.requests,
            written: asked.received / 1e6,
        };
        Ok((spent, left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(seconds: f64) -> Spent {
        Spent {
            seconds,
            program: 1.0,
            database: 2.0,
            store: 3.0,
            peak: 4.0,
            requests: 5.0,
            written: 6.0,
        }
    }

    #[test]
    fn the_median_run_is_the_one_in_the_middle() {
        let of = |all: &[f64]| {
            let runs: Vec<_> = all.iter().map(|seconds| took(*seconds)).collect();
            Spent::median(&runs).map(|run| run.seconds)
        };
        assert_eq!(of(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(of(&[9.0, 1.0]), Some(1.0));
        assert_eq!(of(&[]), None);
    }
}
