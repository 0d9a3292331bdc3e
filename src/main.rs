//! The `sentinel` binary: a thin shell around the library.

use std::process::ExitCode;

use cap::Cap;
use mimalloc::MiMalloc;

/// Counts what is in use, exactly and without a limit: `used_memory` is this number.
#[global_allocator]
static ALLOCATOR: Cap<MiMalloc> = Cap::new(MiMalloc, usize::MAX);

fn main() -> ExitCode {
    sentinel::memory::install("mimalloc", || ALLOCATOR.allocated());
    sentinel::cli::main(std::env::args_os())
}
