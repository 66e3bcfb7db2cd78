//! The program: parses, runs, exits.

use std::process::ExitCode;

fn main() -> ExitCode {
    memtide::cli::main()
}
