//! Starts the operator: parses, and runs until it is told to stop.

use std::process::ExitCode;

fn main() -> ExitCode {
    dataembassy_operator::cli::main()
}
