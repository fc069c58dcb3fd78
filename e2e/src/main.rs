//! The test bed, the demo, and every test in one command.

fn main() {}
