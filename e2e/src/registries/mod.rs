//! The sample registries: three believable state registries which hold, between them, every hard thing a
//! PostgreSQL database can hand to a dump.
//!
//! The schemas are plain SQL in `e2e/registries/`. The rows come from here, by COPY: row `n` of a table is a
//! pure function of the seed and `n`, so that two machines make the same registry.

#[expect(clippy::expect_used, reason = "a write into memory does not fail")]
mod business;
#[expect(clippy::expect_used, reason = "a write into memory does not fail")]
mod copy;
mod dice;
pub mod extension;
#[expect(clippy::expect_used, reason = "a write into memory does not fail")]
mod health;
mod load;
mod population;
pub mod tpch;
mod words;
mod writing;

pub use business::small_tables;
pub use load::{create_database, load};
pub use writing::{Churn, Ddl, attempt_ddl, write_more};

/// One of the sample registries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Registry {
    /// Persons, residences, documents and life events.
    Population,
    /// Patients, encounters, prescriptions and observations.
    Health,
    /// Companies, officers and filings (large objects), in a LATIN1 database.
    Business,
}

impl Registry {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Population, Self::Health, Self::Business];

    /// The registry's id, which is also the usual name of its database.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Population => "population",
            Self::Health => "health",
            Self::Business => "business",
        }
    }

    /// The PostgreSQL major version it runs on at home; every schema loads on 15 and 17 alike.
    #[must_use]
    pub const fn home_major(self) -> u32 {
        match self {
            Self::Health => 15,
            Self::Population | Self::Business => 17,
        }
    }
}

/// How much of a registry to make.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Amount {
    /// 1 makes about 200 MB in the three together; more than 0.
    pub scale: f64,
    /// The same seed and scale make the same rows on every machine and server version.
    pub seed: u64,
    /// Whether health holds its one value of 100 MiB, and business a large object with a hole of 64 MiB
    /// (4 MiB otherwise). Not counted in the 200 MB.
    pub large_values: bool,
    /// How many small tables business has.
    pub small_tables: u32,
}

impl Amount {
    /// Everything the registries can hold at this scale; below 1, without the large values and with fewer
    /// small tables.
    #[must_use]
    pub fn of_scale(scale: f64) -> Self {
        let whole = scale >= 1.0;
        Self {
            scale,
            seed: 1918,
            large_values: whole,
            small_tables: if whole { 2000 } else { 40 },
        }
    }

    /// How many rows a table has that has so many at scale 1: at least 50.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "row counts are far below 2^52"
    )]
    fn rows(&self, at_one: u64) -> u64 {
        ((at_one as f64 * self.scale).ceil() as u64).max(50)
    }
}
