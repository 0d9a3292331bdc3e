//! The `sentinel` binary: a thin shell around the library.

use std::process::ExitCode;

use cap::Cap;
use mimalloc::MiMalloc;

/// Counts what is in use, exactly and without a limit: `used_memory` is this number.
#[global_allocator]
static ALLOCATOR: Cap<MiMalloc> = Cap::new(MiMalloc, usize::MAX);

fn main() -> ExitCode {
    end_at_a_panic();
    sentinel::memory::install("mimalloc", || ALLOCATOR.allocated());
    sentinel::cli::main(std::env::args_os())
}

/// A task that panicked leaves state half changed, so the process ends. Releases are built with `panic = "abort"`; the
/// development profile is not, because tests always unwind and every dependency would be built twice.
fn end_at_a_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}
