//! How much memory the process uses: what its allocator has handed out, and what the kernel has given.
//!
//! The program that has a counting allocator says so once ([`install`]); elsewhere, in tests and benchmarks,
//! what is resident stands for it.

use std::sync::OnceLock;

/// An allocator that counts.
#[derive(Clone, Copy, Debug)]
struct Counter {
    name: &'static str,
    used: fn() -> usize,
}

static COUNTER: OnceLock<Counter> = OnceLock::new();

/// Names the allocator and tells how to ask it for the bytes in use. The first call counts.
pub fn install(name: &'static str, used: fn() -> usize) {
    let _ = COUNTER.set(Counter { name, used });
}

/// Bytes that are allocated now.
pub fn used() -> u64 {
    COUNTER
        .get()
        .map_or_else(resident, |counter| (counter.used)() as u64)
}

/// Whether [`used`] is a count, which costs nothing to read; else it asks the kernel.
pub fn is_counted() -> bool {
    COUNTER.get().is_some()
}

/// The allocator's name, as `mem_allocator` shows it.
pub fn allocator() -> &'static str {
    COUNTER.get().map_or("libc", |counter| counter.name)
}

/// Bytes that the kernel keeps in memory for this process.
pub fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let resident = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    resident.unwrap_or(0) * rustix::param::page_size() as u64
}

/// Bytes of memory that this machine has.
pub fn of_machine() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
