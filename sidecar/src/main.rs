//! The program `dataembassy-sidecar`: reads the command line and calls the room it names.

use std::process::ExitCode;

fn main() -> ExitCode {
    dataembassy_sidecar::cli::main()
}
