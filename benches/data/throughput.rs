//! Requests per second, by `redis-benchmark`, and what a request costs the server and the client.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use super::common::{Samples, cpu_seconds, option};
use super::goals::Goals;
use super::support::{Kind, ServerNode, redis_benchmark, start_server};
use super::{KINDS, VALUE_BYTES, error_of, name, order};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A request that costs a server nothing but to read and to answer it: no more than this leaves `redis-benchmark`.
const CHEAPEST: &str = "ping_mbulk";

/// What `redis-benchmark -t` calls a command, and a request that shows whether a server knows it.
const COMMANDS: [(&str, &[&str]); 10] = [
    (CHEAPEST, &["PING"]),
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
/// How the commands are asked. Over TCP `redis-benchmark` ends at so many requests that a server which needs little for each
/// cannot be told from one that needs less; over a Unix socket, which costs both sides less, it gets further.
const SETUPS: [Setup; 3] = [
    Setup {
        transport: Transport::Tcp,
        depth: 1,
        requests: 150_000,
        goal: 1.0,
    },
    Setup {
        transport: Transport::Tcp,
        depth: 16,
        requests: 2_000_000,
        goal: 1.3,
    },
    Setup {
        transport: Transport::Unix,
        depth: 16,
        requests: 2_000_000,
        goal: 1.3,
    },
];
const CLIENTS: usize = 50;
const RANDOM_KEYS: usize = 100_000;
/// The keys that one `MSET` of `redis-benchmark` sets.
const MSET_KEYS: usize = 10;

/// How the clients of `redis-benchmark` are connected.
#[derive(Clone, Copy, PartialEq)]
enum Transport {
    Tcp,
    Unix,
}

impl Transport {
    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Unix => "Unix",
        }
    }
}

/// One way to ask for commands.
#[derive(Clone, Copy)]
struct Setup {
    transport: Transport,
    /// Requests in flight per client.
    depth: usize,
    /// How many make a round of a second or two.
    requests: usize,
    /// The ratio wanted.
    goal: f64,
}

/// A server, and the Unix socket at which it listens too.
struct Target {
    server: ServerNode,
    socket: PathBuf,
}

impl Target {
    fn start(kind: Kind, sockets: &Path) -> Self {
        let socket = sockets.join(format!("{}.sock", name(kind).replace(' ', "-")));
        let server = start_server(kind, &format!("unixsocket {}\n", socket.display()));
        Self { server, socket }
    }

    /// The options of `redis-benchmark` that lead here.
    fn address(&self, transport: Transport) -> [String; 2] {
        match transport {
            Transport::Tcp => ["-p".to_owned(), self.server.port().to_string()],
            Transport::Unix => ["-s".to_owned(), self.socket.display().to_string()],
        }
    }
}

pub(crate) fn compare(rounds: usize, goals: &mut Goals) {
    let wanted: String = option("--commands", String::new());
    let sockets = TempDir::new().expect("a temporary folder");
    let targets = KINDS.map(|kind| Target::start(kind, sockets.path()));
    let mut ours = targets[1].server.client();
    assert_eq!(targets[1].server.kind, Kind::Ours);
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
    let cases: Vec<(Setup, &str)> = SETUPS
        .iter()
        .flat_map(|setup| commands.iter().map(|command| (*setup, *command)))
        .collect();
    let mut samples = vec![Case::default(); cases.len()];
    for round in 0..rounds {
        for ((setup, command), case) in cases.iter().zip(&mut samples) {
            let mut seen = [Run::default(); 2];
            // There and back: what gets slower or faster in the meantime does so for both.
            let there = order(round);
            for at in [there[0], there[1], there[1], there[0]] {
                let target = &targets[at];
                let process = target.server.process.pid();
                let before = (cpu_seconds(process), clients_cpu_seconds());
                let run = run(target.address(setup.transport), command, *setup);
                seen[at].requests += run.requests;
                seen[at].seconds += run.seconds;
                seen[at].busy += cpu_seconds(process) - before.0;
                seen[at].client_busy += clients_cpu_seconds() - before.1;
            }
            case.ratio.add(seen[0].seconds / seen[1].seconds);
            for (at, run) in seen.into_iter().enumerate() {
                case.rate[at].add(run.requests / run.seconds);
                case.micros[at].add(run.busy / run.requests * 1e6);
                case.client_share[at].add(run.client_busy / run.seconds * 100.0);
            }
        }
    }
    println!(
        "\n{CLIENTS} clients, {VALUE_BYTES}-byte values, {RANDOM_KEYS} random keys, median of {rounds} rounds; \
         requests/s, the server's processor time for each, us, and how much of a processor the client needs, %"
    );
    println!(
        "{:<10} {:>4} {:>9} {:>12} {:>12} {:>7} {:>7} {:>10} {:>10} {:>10} {:>10}",
        "",
        "over",
        "pipelined",
        "redis 7.0",
        "sentinel",
        "ratio",
        "wanted",
        "redis 7.0",
        "sentinel",
        "redis 7.0",
        "sentinel"
    );
    for ((setup, command), case) in cases.iter().zip(&samples) {
        let Setup { depth, goal, .. } = *setup;
        let transport = setup.transport.name();
        let is_command = *command != CHEAPEST;
        let ratio = case.ratio.p50();
        if is_command {
            let command = command.to_uppercase();
            let what = format!("{command}, {depth} pipelined over {transport}, times redis");
            goals.at_least(&what, ratio, goal);
        }
        let goal = if is_command {
            format!("{goal:.1}")
        } else {
            String::new()
        };
        let ([real, ours], [real_micros, our_micros]) = (&case.rate, &case.micros);
        let [real_client, our_client] = &case.client_share;
        println!(
            "{:<10} {transport:>4} {depth:>9} {:>12.0} {:>12.0} {:>7.2} {goal:>7} {:>10.2} {:>10.2} {:>10.0} {:>10.0}",
            command.to_uppercase(),
            real.p50(),
            ours.p50(),
            ratio,
            real_micros.p50(),
            our_micros.p50(),
            real_client.p50(),
            our_client.p50(),
        );
    }
}

/// User and system time of all clients that have ended.
#[expect(
    clippy::cast_precision_loss,
    reason = "microseconds of a few minutes, far below 2^53"
)]
fn clients_cpu_seconds() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("a process may ask for its own");
    (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6
}

/// What is measured of a command, a sample a round; both programs in the order of the columns.
#[derive(Clone, Default)]
struct Case {
    /// Requests per second.
    rate: [Samples; 2],
    /// Processor time of the server per request, microseconds.
    micros: [Samples; 2],
    /// Processor time of the client, of the time that it took; percent. At 100 no server makes it faster.
    client_share: [Samples; 2],
    ratio: Samples,
}

/// Requests, the time that they took, and the processor time of that, of the server and of the client; seconds.
#[derive(Clone, Copy, Default)]
struct Run {
    requests: f64,
    seconds: f64,
    busy: f64,
    client_busy: f64,
}

/// One run of `redis-benchmark`.
#[expect(clippy::cast_precision_loss, reason = "a few million requests")]
fn run(address: [String; 2], command: &str, setup: Setup) -> Run {
    // There and back make a round.
    let requests = if command == "mset" {
        setup.requests / MSET_KEYS
    } else {
        setup.requests / 2
    };
    let output = redis_benchmark()
        .args(address)
        .args(["-t", command, "--csv"])
        .args(["-n", &requests.to_string(), "-c", &CLIENTS.to_string()])
        .args([
            "-r",
            &RANDOM_KEYS.to_string(),
            "-P",
            &setup.depth.to_string(),
        ])
        .args(["-d", &VALUE_BYTES.to_string()])
        .output()
        .expect("redis-benchmark can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    // "name","requests per second",… with further quoted columns; a name may hold commas of its own.
    let columns: Vec<&str> = text.lines().last().unwrap_or("").split("\",\"").collect();
    let rate: Option<f64> = columns.get(1).and_then(|column| column.parse().ok());
    let rate = rate.unwrap_or_else(|| panic!("redis-benchmark -t {command}: {text}"));
    let requests = requests as f64;
    Run {
        requests,
        seconds: requests / rate,
        ..Run::default()
    }
}
