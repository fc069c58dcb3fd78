//! The test bed, the sample registries and the truth about them: what the program and the tests share.

pub mod registries;
pub mod suite;
