//! The `sentinel` binary: a thin shell around the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    sentinel::cli::main(std::env::args_os())
}
