//! What one sentinel costs over thousands of masters: redis-sentinel and ours, in turn, over the same fakes.
//!
//! `cargo bench --bench scale [-- --masters 4000,8000 --seconds 20 --sentinels real|ours|both]`
//!
//! The masters are one process (this program again) that listens on one port of every loopback address, so
//! that `127.1.0.1:P` and `127.1.0.2:P` are two masters. Each answers PING, SUBSCRIBE, PUBLISH and the 5 KB INFO
//! of a real redis-server with a `run_id` of its own.
//!
//! *all up*: from the start of the program until no master in `SENTINEL MASTERS` has the flag `disconnected` and
//! each has a `runid`. *CPU*: cores used while nothing happens but polling. *RSS*: at the end of that time.
//! *p50, p99*: of `SENTINEL GET-MASTER-ADDR-BY-NAME`, asked on one connection every 5 ms.
//!
//! redis-sentinel stops answering above about 5 000 masters, so beyond 4 000 it is left out unless asked for
//! with `--sentinels real`.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod common;
#[path = "../tests/integration/support/mod.rs"]
mod support;

#[path = "common/fake_masters.rs"]
mod fake_masters;

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use common::{Samples, cpu_seconds, instant, millis, option};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sentinel::resp::Value;
use support::{Client, Kind, Port, Process, fields, secs, start_server, text, texts, wait_for};
use tempfile::TempDir;

/// Where redis-sentinel still answers.
const REAL_MASTERS_MAX: usize = 4000;
/// After all are up, before anything is measured: the first saves and INFO bursts are over then.
const SETTLE: Duration = Duration::from_secs(5);
const LOOKUP_PAUSE: Duration = Duration::from_millis(5);
/// For a reply of `SENTINEL MASTERS` with thousands of masters.
const PATIENCE: Duration = Duration::from_secs(60);
const ALL_UP_WITHIN: Duration = Duration::from_secs(120);

fn main() {
    let port: u16 = option(fake_masters::OPTION, 0);
    if port != 0 {
        fake_masters::serve(port);
        return;
    }
    let counts: String = option("--masters", "4000,8000".to_owned());
    let window = secs(option("--seconds", 20));
    let wanted: String = option("--sentinels", "both".to_owned());
    println!(
        "{:<12} {:>8} {:>10} {:>10} {:>9} {:>10} {:>10} {:>10}",
        "", "masters", "all up s", "CPU cores", "RSS MiB", "p50 ms", "p99 ms", "max ms"
    );
    for count in counts.split(',') {
        let count: usize = count.parse().expect("--masters is a list of numbers");
        raise_file_limit(count);
        let real_too = wanted == "real" || (wanted == "both" && count <= REAL_MASTERS_MAX);
        if real_too {
            measure(Kind::Real, count, window);
        }
        if wanted != "real" {
            measure(Kind::Ours, count, window);
        }
    }
}

/// Two links a master, in the sentinel and in the process of the fakes.
fn raise_file_limit(masters: usize) {
    let needed = u64::try_from(masters * 2 + 200).expect("few masters");
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return;
    }
    assert!(
        limit.maximum.is_none_or(|maximum| maximum >= needed),
        "{masters} masters need {needed} open files, the hard limit is {:?}: raise it (ulimit -Hn, as root)",
        limit.maximum
    );
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(needed),
            maximum: limit.maximum,
        },
    )
    .expect("the soft limit can be raised up to the hard one");
}

/// The address of fake master `i`.
fn address(i: usize) -> Ipv4Addr {
    let byte = |n: usize| u8::try_from(n).expect("below 256");
    Ipv4Addr::new(
        127,
        1 + byte(i / 62_500),
        byte(i / 250 % 250),
        byte(i % 250 + 1),
    )
}

fn measure(kind: Kind, count: usize, window: Duration) {
    let dir = TempDir::new().expect("a temporary folder");
    let fakes_port = Port::reserve();
    let _fakes = start_fakes(&dir, &fakes_port);
    let port = Port::reserve();
    let config = dir.path().join("sentinel.conf");
    let mut lines = format!(
        "port {}\nbind 127.0.0.1\ndir {}\n",
        port.number(),
        dir.path().display()
    );
    for i in 0..count {
        writeln!(
            lines,
            "sentinel monitor m{i} {} {} 2",
            address(i),
            fakes_port.number()
        )
        .expect("a string takes everything");
    }
    std::fs::write(&config, lines).expect("a configuration can be written");
    let begin = instant();
    let mut process = Process::start("sentinel", dir.path(), kind.sentinel(&config));
    let mut client = wait_for("the sentinel listens", ALL_UP_WITHIN, || {
        assert!(
            process.is_running(),
            "the sentinel ended: {}",
            process.log()
        );
        Client::try_to_within(port.number(), PATIENCE).map_err(|error| error.to_string())
    });
    wait_for("every master is up", ALL_UP_WITHIN, || {
        let up = count_up(&client.call(&["SENTINEL", "MASTERS"]));
        std::thread::sleep(Duration::from_millis(50));
        if up == count {
            Ok(())
        } else {
            Err(format!("{up} of {count} are up"))
        }
    });
    let all_up = begin.elapsed();
    std::thread::sleep(SETTLE);
    let cpu_before = cpu_seconds(process.pid());
    let measured = instant();
    std::thread::sleep(window);
    let cores = (cpu_seconds(process.pid()) - cpu_before) / measured.elapsed().as_secs_f64();
    let rss = rss_mib(process.pid());
    let lookups = look_up(&mut client, count, window / 2);
    println!(
        "{:<12} {count:>8} {:>10.2} {cores:>10.3} {rss:>9.1} {:>10.2} {:>10.2} {:>10.2}",
        match kind {
            Kind::Real => "redis 7.0",
            Kind::Ours => "sentinel",
        },
        all_up.as_secs_f64(),
        lookups.p50(),
        lookups.quantile(0.99),
        lookups.max(),
    );
}

/// The fakes, with the INFO of a real redis-server.
fn start_fakes(dir: &TempDir, port: &Port) -> Process {
    let server = start_server(Kind::Real, "");
    let info = text(&server.client().call(&["INFO"]));
    std::fs::write(dir.path().join(fake_masters::INFO_FILE), info).expect("a file can be written");
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command
        .arg(fake_masters::OPTION)
        .arg(port.number().to_string());
    let mut process = Process::start("fakes", dir.path(), command);
    wait_for("the fake masters answer", secs(10), || {
        assert!(process.is_running(), "the fakes ended: {}", process.log());
        Client::try_to(port.number())
            .and_then(|mut client| client.try_call(&["PING"]))
            .map_err(|error| error.to_string())
    });
    process
}

/// How many masters of a `SENTINEL MASTERS` reply are connected and known by their run id.
fn count_up(reply: &Value) -> usize {
    let Value::Array(masters) = reply else {
        panic!("SENTINEL MASTERS: {}", text(reply));
    };
    masters
        .iter()
        .map(fields)
        .filter(|map| !map["flags"].contains("disconnected") && !map["runid"].is_empty())
        .count()
}

fn look_up(client: &mut Client, masters: usize, during: Duration) -> Samples {
    let begin = instant();
    let mut times = Vec::new();
    while begin.elapsed() < during {
        let name = format!("m{}", times.len() * 7919 % masters);
        let asked = instant();
        let reply = client.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", &name]);
        times.push(millis(asked.elapsed()));
        assert_eq!(texts(&reply).len(), 2, "{name}: {}", text(&reply));
        std::thread::sleep(LOOKUP_PAUSE);
    }
    let mut samples = Samples::default();
    samples.extend(times);
    samples
}

fn rss_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.expect("VmRSS has a number") / 1024.0
}
