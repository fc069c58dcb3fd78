//! The operator: reconciles registries, has no data path.

fn main() {}
