//! Threads that give way to the one that serves clients.

use std::io;
use std::thread;

/// Their niceness, a tenth of the main thread's weight.
const NICENESS: i32 = 10;

/// Runs `work` on a thread that gives way to the main thread: where processors are few, a kernel lets threads of equal
/// priority wait for each other for several milliseconds, and clients with them. Without privileges a thread cannot
/// have its priority back, so it is none of a pool.
///
/// # Errors
/// There can be no more threads.
pub(crate) fn beside_clients(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let named = thread::Builder::new().name(name.to_owned());
    named.spawn(move || {
        // Linux has a niceness for each thread. Where it may not be changed, the work is done all the same.
        let this = rustix::thread::gettid();
        let _ = rustix::process::setpriority_process(Some(this), NICENESS);
        work();
    })?;
    Ok(())
}
