//! Fuzzing on stable Rust: the targets of `fuzz/`, driven by seeded mutations of `fuzz/seeds/` for a bounded
//! time (`FUZZ_SECONDS` per target, 3 unless set). Without coverage feedback it sees less than cargo-fuzz
//! does, but it runs wherever the tests run; inputs with a new kind of outcome join the corpus.
//!
//! A failure prints the seed, the number of the input, and where the input itself was written:
//! `FUZZ_SEED=n cargo test --test fuzz` repeats the run, and the file is a fine new seed.

#[path = "../../fuzz/targets.rs"]
mod targets;

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sentinel::clock::Clock;

/// The longest input that mutation makes. Bytes.
const INPUT_BYTES_MAX: usize = 4096;
/// Inputs kept beside the seeds.
const KEPT_MAX: usize = 4096;
/// An input that takes longer is a finding of its own.
const INPUT_TIME_MAX: Duration = Duration::from_secs(2);
/// What parsers look at.
const TOKENS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"$",
    b"*",
    b"-1",
    b"0",
    b"65535",
    b"65536",
    b"4294967296",
    b"9223372036854775807",
    b"18446744073709551615",
    b"-9223372036854775808",
    b" ",
    b"\"",
    b"'",
    b"\\x",
    b"\0",
    b",",
    b":",
    b"#",
    b"*1\r\n",
    b"$1\r\n",
    b"%1\r\n",
    b"\xff",
    b"\xc3\xa9",
    b"nan",
    b"inf",
    b"1e9",
];

fn fuzz(name: &str) {
    let (_, target) = targets::TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a target of this name");
    let seed = std::env::var("FUZZ_SEED").ok().map_or_else(
        || RandomState::new().hash_one(name),
        |text| text.parse().expect("FUZZ_SEED is a number"),
    );
    let within = std::env::var("FUZZ_SECONDS")
        .map_or(3, |text| text.parse().expect("FUZZ_SECONDS is a number"));
    eprintln!("{name}: FUZZ_SEED={seed}, {within} s");
    let mut corpus = seeds(name);
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut outcomes = HashSet::new();
    let clock = Clock::start();
    let end = clock.mono() + Duration::from_secs(within);
    let mut inputs = 0_u64;
    while clock.mono() < end {
        let input = match usize::try_from(inputs).ok().and_then(|i| corpus.get(i)) {
            // The seeds themselves come first.
            Some(as_it_is) if outcomes.len() < corpus.len() => as_it_is.clone(),
            _ => mutated(&corpus, &mut dice),
        };
        let begin = clock.mono();
        let Ok(outcome) = catch_unwind(|| target(&input)) else {
            panic!("{}", report(name, seed, inputs, &input));
        };
        let took = clock.mono().since(begin);
        assert!(
            took < INPUT_TIME_MAX,
            "{took:?} for one input; {}",
            report(name, seed, inputs, &input)
        );
        inputs += 1;
        if outcomes.insert(outcome) && corpus.len() < KEPT_MAX {
            corpus.push(input);
        }
    }
    eprintln!(
        "{name}: {inputs} inputs, {} kinds of outcome",
        outcomes.len()
    );
    assert!(inputs > 100, "only {inputs} inputs in {within} s");
    assert!(
        outcomes.len() > 3,
        "every input ended alike: the seeds are wrong"
    );
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(name);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    paths.sort();
    let read = |path| std::fs::read(path).expect("a readable seed");
    let mut all: Vec<Vec<u8>> = paths.iter().map(read).collect();
    all.push(Vec::new());
    all
}

fn mutated(corpus: &[Vec<u8>], dice: &mut ChaCha8Rng) -> Vec<u8> {
    let mut input = corpus[dice.random_range(0..corpus.len())].clone();
    for _ in 0..dice.random_range(1..6) {
        let at = dice.random_range(0..=input.len());
        let end = (at + dice.random_range(1..32)).min(input.len());
        match dice.random_range(0..7) {
            0 if at < input.len() => input[at] ^= 1 << dice.random_range(0..8),
            1 if at < input.len() => input[at] = dice.random(),
            2 => drop(input.drain(at..end)),
            3 => {
                let token = TOKENS[dice.random_range(0..TOKENS.len())];
                drop(input.splice(at..at, token.iter().copied()));
            }
            4 => {
                let part = input[at..end].to_vec();
                drop(input.splice(at..at, part));
            }
            5 => input.truncate(at),
            _ => {
                let other = &corpus[dice.random_range(0..corpus.len())];
                let from = dice.random_range(0..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

/// Writes the input where it can be found, and says how to repeat the run.
fn report(name: &str, seed: u64, number: u64, input: &[u8]) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}-{seed}-{number}"));
    let written = std::fs::write(&path, input);
    format!(
        "{name}, input {number} of FUZZ_SEED={seed}: {} ({written:?}): {}",
        path.display(),
        input.escape_ascii()
    )
}

#[test]
fn requests() {
    fuzz("request");
}

#[test]
fn replies() {
    fuzz("reply");
}

#[test]
fn hellos() {
    fuzz("hello");
}

#[test]
fn info_replies() {
    fuzz("info");
}

#[test]
fn configurations() {
    fuzz("config");
}

#[test]
fn yaml_configurations() {
    fuzz("yaml");
}

#[test]
fn restored_payloads() {
    fuzz("restore");
}

#[test]
fn every_target_has_a_fuzzer_for_nightly() {
    for (name, _) in targets::TARGETS {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz/fuzz_targets/{name}.rs"));
        assert!(path.exists(), "{} is missing", path.display());
    }
}
