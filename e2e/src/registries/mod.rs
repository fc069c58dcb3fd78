//! The sample registries: three believable state registries which hold, between them, every hard thing a
//! PostgreSQL database can hand to a dump.
//!
//! The schemas are plain SQL in `e2e/registries/`. The rows come from here, by COPY: row `n` of a table is a
//! pure function of the seed and `n`, so that two machines make the same registry.

pub mod extension;

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
