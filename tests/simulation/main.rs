//! The decision core under a deterministic simulator: one seed decides who there is, what goes wrong
//! and when, and the properties in `properties/` must hold all the same.
//!
//! * `SIM_SEEDS=2000 cargo test --test simulation fresh_seeds` takes so many fresh seeds.
//! * `SIM_SEED=N cargo test --test simulation replay -- --nocapture` tells the story of one; with
//!   `SIM_TRACE=full` every message of it.
//! * `UPDATE_TRACES=1 cargo test --test simulation script` rewrites the golden traces.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a property looks at the few facts that concern it, a trace at the few events"
)]

mod agenda;
mod dice;
mod driving;
mod faults;
mod net;
mod observing;
mod ours;
mod plan;
mod properties;
mod real;
mod real_info;
mod real_talk;
mod real_tick;
mod scenarios;
mod script;
mod scripts;
mod server;
mod serving;
mod trace;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use trace::Detail;

/// Seeds that are run when nobody says how many.
const SEEDS_DEFAULT: u64 = 200;

fn number_from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text}: not a number")),
    )
}

/// Runs a seed; a failed assertion in the core is a failure like any other.
fn failure_of(seed: u64) -> Result<plan::Outcome, String> {
    let outcome = std::panic::catch_unwind(|| plan::run(seed, Detail::Off)).map_err(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        format!(
            "seed {seed} FAILED: panic: {}",
            text.unwrap_or("without text")
        )
    })?;
    match &outcome.violation {
        None => Ok(outcome),
        Some(violation) => Err(format!(
            "seed {seed} FAILED at {}.{:03} s (virtual)  {}: {}",
            violation.at / 1000,
            violation.at % 1000,
            violation.property,
            violation.text,
        )),
    }
}

#[test]
fn fresh_seeds() {
    const FAILURES_SHOWN: usize = 10;
    let count = number_from_env("SIM_SEEDS").unwrap_or(SEEDS_DEFAULT);
    let base = number_from_env("SIM_BASE")
        .unwrap_or_else(|| sentinel::clock::unix_now().0.wrapping_mul(1_000));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    eprintln!("seeds {base}..{} on {threads} threads", base + count);
    let (next, steps, switches) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let virtual_ms = AtomicU64::new(0);
    let is_enough = AtomicBool::new(false);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count || is_enough.load(Ordering::Relaxed) {
                        return;
                    }
                    match failure_of(base + index) {
                        Ok(outcome) => {
                            steps.fetch_add(outcome.steps, Ordering::Relaxed);
                            switches.fetch_add(outcome.switches, Ordering::Relaxed);
                            virtual_ms.fetch_add(outcome.virtual_ms, Ordering::Relaxed);
                        }
                        Err(text) => {
                            eprintln!("{text}");
                            let mut failures = failures.lock().expect("no panic holds it");
                            failures.push((base + index, text));
                            is_enough.store(failures.len() >= FAILURES_SHOWN, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    eprintln!(
        "{count} seeds, {} steps, {} s of virtual time, {} failovers",
        steps.load(Ordering::Relaxed),
        virtual_ms.load(Ordering::Relaxed) / 1000,
        switches.load(Ordering::Relaxed),
    );
    let failures = failures.into_inner().expect("no panic holds it");
    if let Some((seed, text)) = failures.first() {
        panic!(
            "{} seeds failed\n{text}\nreplay: SIM_SEED={seed} cargo test --test simulation replay -- --nocapture",
            failures.len()
        );
    }
}

/// One fault in fair weather is dealt with at once: nothing waits for a period or a timeout.
#[test]
fn a_failover_takes_no_more_than_a_moment_beyond_down_after() {
    /// Ten round trips and as many writes, a millisecond each, and the stagger of the candidates.
    const LATE_MS_MAX: u64 = 60;
    for seed in 1..=60 {
        let (late, lines) = plan::prompt_run(seed, Detail::Story);
        if late.is_none_or(|late| late > LATE_MS_MAX) {
            panic!(
                "seed {seed}: {late:?} ms beyond down-after\n{}",
                lines.join("\n")
            );
        }
    }
}

/// Tells the story of one seed.
#[test]
fn replay() {
    let seed = number_from_env("SIM_SEED").unwrap_or(1);
    let detail = match std::env::var("SIM_TRACE").as_deref() {
        Ok("full") => Detail::Full,
        _ => Detail::Story,
    };
    let outcome = plan::run(seed, detail);
    for line in &outcome.lines {
        eprintln!("{line}");
    }
    if let Some(violation) = outcome.violation {
        panic!(
            "seed {seed} FAILED at {}.{:03} s (virtual)  {}: {}",
            violation.at / 1000,
            violation.at % 1000,
            violation.property,
            violation.text
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1..=8 {
        let first = plan::run(seed, Detail::Full);
        let second = plan::run(seed, Detail::Full);
        for (line, (a, b)) in first.lines.iter().zip(&second.lines).enumerate() {
            assert_eq!(a, b, "seed {seed}, line {line}");
        }
        assert_eq!(first.lines.len(), second.lines.len(), "seed {seed}");
        assert!(first.lines.len() > 100, "seed {seed} tells nothing");
    }
}
