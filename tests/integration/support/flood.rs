//! Clients of an HTTP port that are slow, hostile and busy, all at once, and whether the loop behind it minds.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use sentinel::clock::Clock;

use super::http::Web;
use super::{Client, secs, text};

/// One of two kinds of connections that are held open at a time: both together, and some to ask with, fit into what
/// one address may have.
const STREAMS_MAX: usize = 40;
/// How often it is measured until it is as it should be.
const ROUNDS_MAX: usize = 20;
/// So many rounds in a row have to be good.
const ROUNDS_GOOD: usize = 3;
/// Fewer answers than this are no flood. A debug build under it takes seconds for each.
const ANSWERS_MIN: u64 = 1;

/// Asserts that a flood of `paths` over `web` does not delay the loop behind it: that PINGs to it, at the port
/// `flooded`, take about as long as those to `calm`, another process of the same kind on the same busy machine that
/// nobody asks anything over HTTP.
///
/// What holds a loop up does so again and again; the noise of a busy machine spares a few rounds in a row.
///
/// # Panics
/// It does delay it, or the flood is none.
pub(crate) fn assert_undisturbed(
    web: Web,
    paths: &'static [&'static str],
    flooded: u16,
    calm: u16,
) {
    let flood = Flood::start(web, paths);
    let mut clients = [flooded, calm].map(Client::to);
    let mut rounds = Vec::new();
    let mut good = 0;
    let is_undisturbed = (0..ROUNDS_MAX).any(|_| {
        let pings = ping_both(&mut clients, secs(1));
        rounds.push((pings, flood.answers()));
        let is_good = is_alike(pings) && flood.answers() >= ANSWERS_MIN;
        good = if is_good { good + 1 } else { 0 };
        good == ROUNDS_GOOD
    });
    flood.end();
    assert!(
        is_undisturbed,
        "PINGs are delayed in each round, or nothing is answered over HTTP: {rounds:?}"
    );
}

/// How long PINGs took. Microseconds.
#[derive(Clone, Copy, Debug)]
struct Pings {
    p99: u64,
    max: u64,
}

fn is_alike([flooded, calm]: [Pings; 2]) -> bool {
    flooded.p99 <= 3 * calm.p99 + 2_000 && flooded.max <= 3 * calm.max + 20_000
}

/// PINGs to both in turn, for so long.
fn ping_both(clients: &mut [Client; 2], during: Duration) -> [Pings; 2] {
    let clock = Clock::start();
    let mut nanos = [Vec::new(), Vec::new()];
    let end = clock.mono() + during;
    while clock.mono() < end {
        for (client, nanos) in clients.iter_mut().zip(&mut nanos) {
            let before = clock.nanos();
            assert_eq!(text(&client.call(&["PING"])), "PONG");
            nanos.push(clock.nanos() - before);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    nanos.map(|mut nanos| {
        nanos.sort_unstable();
        let last = nanos.len() - 1;
        Pings {
            p99: nanos[last * 99 / 100] / 1000,
            max: nanos[last] / 1000,
        }
    })
}

/// The clients, which go on until they are told to end.
struct Flood {
    common: Arc<Common>,
    threads: Vec<JoinHandle<()>>,
}

struct Common {
    web: Web,
    paths: &'static [&'static str],
    is_over: AtomicBool,
    answers: AtomicU64,
}

impl Flood {
    fn start(web: Web, paths: &'static [&'static str]) -> Flood {
        let common = Arc::new(Common {
            web,
            paths,
            is_over: AtomicBool::new(false),
            answers: AtomicU64::new(0),
        });
        let start = |work: fn(&Common)| {
            let common = Arc::clone(&common);
            std::thread::spawn(move || work(&common))
        };
        let threads = vec![start(dribble), start(never_read), start(ask_much)];
        Flood { common, threads }
    }

    /// How many answers they have read.
    fn answers(&self) -> u64 {
        self.common.answers.load(Ordering::Relaxed)
    }

    /// Ends them.
    fn end(self) {
        self.common.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a client that does not fail");
        }
    }
}

impl Common {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }
}

/// Heads that come a byte at a time.
fn dribble(common: &Common) {
    let mut streams: Vec<TcpStream> = Vec::new();
    while common.goes_on() {
        if streams.len() < STREAMS_MAX
            && let Ok(stream) = common.web.connect()
        {
            streams.push(stream);
        }
        streams.retain_mut(|stream| stream.write_all(b"G").is_ok());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Many requests at a time whose answers are never read.
fn never_read(common: &Common) {
    let ask = |path: &&str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").repeat(25);
    let ask: String = common.paths.iter().map(ask).collect();
    let mut streams: Vec<TcpStream> = Vec::new();
    while common.goes_on() {
        if streams.len() < STREAMS_MAX
            && let Ok(mut stream) = common.web.connect()
            && stream.write_all(ask.as_bytes()).is_ok()
        {
            streams.push(stream);
        }
        // Those that the server has given up on make room for others; blank lines ask for nothing.
        streams.retain_mut(|stream| stream.write_all(b"\r\n").is_ok());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One request after the other.
fn ask_much(common: &Common) {
    for path in common.paths.iter().cycle().take_while(|_| common.goes_on()) {
        // All places may be taken for a while.
        let answer = common.web.try_send("GET", path, &[], "");
        if answer.is_ok_and(|answer| answer.status == 200) {
            common.answers.fetch_add(1, Ordering::Relaxed);
        }
    }
}
