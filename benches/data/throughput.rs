//! Requests per second, by `redis-benchmark`.

use super::common::{Samples, option};
use super::support::{Kind, redis_benchmark, start_server};
use super::{KINDS, VALUE_BYTES, error_of, order};

/// What `redis-benchmark -t` calls a command, and a request that shows whether a server knows it.
const COMMANDS: [(&str, &[&str]); 9] = [
    ("set", &["SET", "probe", "x"]),
    ("get", &["GET", "probe"]),
    ("incr", &["INCR", "probe:counter"]),
    ("lpush", &["LPUSH", "probe:list", "x"]),
    ("rpop", &["RPOP", "probe:list"]),
    ("sadd", &["SADD", "probe:set", "x"]),
    ("hset", &["HSET", "probe:hash", "x", "x"]),
    ("zadd", &["ZADD", "probe:zset", "1", "x"]),
    ("mset", &["MSET", "probe", "x"]),
];
/// Requests in flight per client; how many requests make a round of a second or two; the ratio wanted.
const PIPELINES: [(usize, usize, f64); 2] = [(1, 150_000, 1.0), (16, 1_000_000, 1.3)];
const CLIENTS: usize = 50;
const RANDOM_KEYS: usize = 100_000;
/// The keys that one `MSET` of `redis-benchmark` sets.
const MSET_KEYS: usize = 10;

pub(crate) fn compare(rounds: usize) {
    let wanted: String = option("--commands", String::new());
    let servers = KINDS.map(|kind| start_server(kind, ""));
    let mut ours = servers[1].client();
    assert_eq!(servers[1].kind, Kind::Ours);
    let commands: Vec<&str> = COMMANDS
        .iter()
        .filter(|(name, _)| wanted.is_empty() || wanted.split(',').any(|word| word == *name))
        .filter(|(name, probe)| {
            let error = error_of(&mut ours, probe);
            if let Some(error) = &error {
                println!("{} is left out: {error}", name.to_uppercase());
            }
            error.is_none()
        })
        .map(|(name, _)| *name)
        .collect();
    let cases: Vec<(usize, usize, f64, &str)> = PIPELINES
        .iter()
        .flat_map(|(depth, requests, goal)| {
            commands
                .iter()
                .map(|command| (*depth, *requests, *goal, *command))
        })
        .collect();
    let mut samples =
        vec![([Samples::default(), Samples::default()], Samples::default()); cases.len()];
    for round in 0..rounds {
        for ((depth, requests, _, command), (rates, ratios)) in cases.iter().zip(&mut samples) {
            let mut seen = [0.0; 2];
            for at in order(round) {
                seen[at] = run(servers[at].port(), command, *depth, *requests);
                rates[at].add(seen[at]);
            }
            ratios.add(seen[1] / seen[0]);
        }
    }
    println!(
        "\n{CLIENTS} clients, {VALUE_BYTES}-byte values, {RANDOM_KEYS} random keys, median of {rounds} rounds; requests/s"
    );
    println!(
        "{:<8} {:>9} {:>12} {:>12} {:>7} {:>7}",
        "", "pipelined", "redis 7.0", "sentinel", "ratio", "wanted"
    );
    for ((depth, _, goal, command), ([real, ours], ratios)) in cases.iter().zip(&samples) {
        println!(
            "{:<8} {depth:>9} {:>12.0} {:>12.0} {:>7.2} {goal:>7.1}",
            command.to_uppercase(),
            real.p50(),
            ours.p50(),
            ratios.p50()
        );
    }
}

/// One run of `redis-benchmark`; requests per second.
fn run(port: u16, command: &str, depth: usize, requests: usize) -> f64 {
    let requests = if command == "mset" {
        requests / MSET_KEYS * 2
    } else {
        requests
    };
    let output = redis_benchmark()
        .args(["-p", &port.to_string(), "-t", command, "--csv"])
        .args(["-n", &requests.to_string(), "-c", &CLIENTS.to_string()])
        .args(["-r", &RANDOM_KEYS.to_string(), "-P", &depth.to_string()])
        .args(["-d", &VALUE_BYTES.to_string()])
        .output()
        .expect("redis-benchmark can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    // "name","requests per second",… with further quoted columns; a name may hold commas of its own.
    let columns: Vec<&str> = text.lines().last().unwrap_or("").split("\",\"").collect();
    let rate = columns.get(1).and_then(|column| column.parse().ok());
    rate.unwrap_or_else(|| panic!("redis-benchmark -t {command}: {text}"))
}
