//! The test bed, the sample registries and the truth about them: what the program and the tests share.

pub mod bed;
pub mod bench;
pub mod browser;
pub mod cache;
pub mod cluster;
pub mod command;
pub mod demo;
pub mod images;
pub mod patience;
pub mod privilege;
pub mod product;
pub mod progress;
pub mod provision;
pub mod registries;
pub mod suite;
pub mod truth;
