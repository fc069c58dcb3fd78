//! `EmbassyActivation`: registries served from the embassy.

pub mod database;
