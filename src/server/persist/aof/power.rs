//! A power cut, at random moments of a server under load.
//!
//! The disk remembers what each file and folder held when its last successful sync began. What a cut leaves is built
//! of that, now and then with some of what was written since, and loaded as at a start. Time passes by hand, and not
//! while an fsync is in progress: what may be lost is told to the millisecond, on however busy a machine.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Semaphore;

use super::*;
use crate::clock::Clock;
use crate::front::{ClientAddr, Peer, serve};
use crate::server::persist::disk::observed::{self, Found, Observer};
use crate::server::replication::wait::open_gate;
use crate::server::testing::{run, server_by};

/// Clients that write at the same time.
const WRITERS: usize = 4;
/// Between two rounds of the server.
const TICK_MILLIS: u64 = 100;
/// What `everysec` may lose: `SYNC_PERIOD`, and the tick until somebody looks at it. Milliseconds.
const LOST_MILLIS_MAX: u64 = 900 + TICK_MILLIS;

/// What a file or folder holds.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Bytes(Vec<u8>),
    /// Names, and the inodes behind them.
    Names(BTreeMap<String, u64>),
}

/// An acknowledged number of a writer.
struct Acknowledged {
    number: u64,
    at: u64,
    is_always: bool,
}

/// What the cut of one moment leaves, and what must be there and what cannot be.
struct Cut {
    image: PathBuf,
    at_least: Vec<u64>,
    at_most: Vec<u64>,
    what: String,
}

/// What is known at each moment.
struct State {
    dice: ChaCha8Rng,
    /// What is durable, by inode.
    durable: HashMap<u64, Content>,
    /// All that were ever synced or named: as long as they are open no other takes their number.
    open: HashMap<u64, File>,
    /// Files of which an fsync has failed: the kernel forgets what it could not write.
    spoilt: Vec<u64>,
    /// So many fsyncs of increments fail.
    failing: u32,
    syncs: u64,
    policy: Fsync,
    /// The last moment at which no fsync was asked for.
    last_no: u64,
    sent: Vec<u64>,
    acknowledged: Vec<Vec<Acknowledged>>,
    /// What must be there after a failed fsync, until its rewrite is complete.
    frozen: Option<Vec<u64>>,
    /// How often a sync is cut short, in a thousand.
    chance: u32,
    cuts: Vec<Cut>,
}

/// The disk.
struct Power {
    root: PathBuf,
    images: PathBuf,
    millis: &'static AtomicU64,
    state: Mutex<State>,
}

fn names_of(folder: &Path) -> BTreeMap<String, u64> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            Some((name, entry.metadata().ok()?.ino()))
        })
        .collect()
}

fn path_of(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn content_of(file: &File) -> Content {
    if file.metadata().unwrap().is_dir() {
        return Content::Names(names_of(&path_of(file)));
    }
    let mut bytes = Vec::new();
    let mut again = File::open(path_of(file)).unwrap();
    again.read_to_end(&mut bytes).unwrap();
    Content::Bytes(bytes)
}

impl Observer for Power {
    fn begin(&self, file: &File) -> io::Result<Found> {
        let inode = file.metadata()?.ino();
        let name = fs::read_link(path_of(file))?;
        let is_incr = name.to_string_lossy().ends_with(".incr.aof");
        let state = &mut *self.state.lock().unwrap();
        state.syncs += 1;
        let file_again = file.try_clone()?;
        state.open.entry(inode).or_insert(file_again);
        self.maybe_cut(state, "as a sync begins");
        if is_incr && state.failing > 0 {
            state.failing -= 1;
            state.spoilt.push(inode);
            return Err(io::ErrorKind::StorageFull.into());
        }
        let content = content_of(file);
        if let Content::Names(names) = &content {
            for (name, inode) in names {
                let path = path_of(file).join(name);
                if let Ok(file) = File::open(path) {
                    state.open.entry(*inode).or_insert(file);
                }
            }
        }
        Ok(Found { inode, content })
    }

    fn complete(&self, found: Found) {
        let state = &mut *self.state.lock().unwrap();
        self.maybe_cut(state, "as a sync ends");
        if !state.spoilt.contains(&found.inode) {
            state.durable.insert(found.inode, found.content);
        }
        self.maybe_cut(state, "after a sync");
    }
}

impl Power {
    fn now(&self) -> u64 {
        self.millis.load(Ordering::SeqCst)
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    fn maybe_cut(&self, state: &mut State, what: &str) {
        if state.dice.random_range(0..1000) < state.chance {
            self.cut(state, what);
        }
    }

    /// What the writers may rely on if the power goes now.
    fn floor(&self, state: &State) -> Vec<u64> {
        if let Some(frozen) = &state.frozen {
            return frozen.clone();
        }
        let now = self.now();
        let is_safe = |found: &&Acknowledged| {
            found.is_always || now - found.at.max(state.last_no) > LOST_MILLIS_MAX
        };
        let last = |all: &Vec<Acknowledged>| {
            let safe = all.iter().rev().find(is_safe);
            safe.map_or(0, |found| found.number)
        };
        state.acknowledged.iter().map(last).collect()
    }

    /// Builds what a cut leaves now.
    fn cut(&self, state: &mut State, what: &str) {
        let image = self.images.join(state.cuts.len().to_string());
        fs::create_dir(&image).unwrap();
        let is_torn = state.dice.random_bool(0.5);
        let is_named = state.dice.random_bool(0.5);
        let root = fs::metadata(&self.root).unwrap().ino();
        self.build(state, root, &self.root, &image, (is_torn, is_named));
        let cut = Cut {
            image,
            at_least: self.floor(state),
            at_most: state.sent.clone(),
            what: format!(
                "{what}, {:?}, at {}, torn {is_torn}, newest names {is_named}",
                state.policy,
                self.now()
            ),
        };
        state.cuts.push(cut);
    }

    fn build(
        &self,
        state: &mut State,
        folder: u64,
        live: &Path,
        to: &Path,
        (is_torn, is_named): (bool, bool),
    ) {
        let mut names = match state.durable.get(&folder) {
            Some(Content::Names(names)) => names.clone(),
            Some(Content::Bytes(_)) | None => BTreeMap::new(),
        };
        if is_named {
            // Names may become durable by themselves, and removals too.
            names = names_of(live);
        }
        for (name, inode) in names {
            let path = to.join(&name);
            let file = state.open.get(&inode);
            let is_folder = file.is_some_and(|file| file.metadata().unwrap().is_dir());
            if is_folder {
                fs::create_dir(&path).unwrap();
                let live = live.join(&name);
                self.build(state, inode, &live, &path, (is_torn, is_named));
                continue;
            }
            let mut bytes = match state.durable.get(&inode) {
                Some(Content::Bytes(bytes)) => bytes.clone(),
                Some(Content::Names(_)) | None => Vec::new(),
            };
            if is_torn
                && !state.spoilt.contains(&inode)
                && let Some(Content::Bytes(newer)) = file.map(content_of)
                && newer.starts_with(&bytes)
            {
                let len = state.dice.random_range(bytes.len()..=newer.len());
                bytes = newer[..len].to_vec();
            }
            fs::write(path, bytes).unwrap();
        }
    }

    /// What the end of the process leaves: everything written.
    fn kill(&self) {
        let state = &mut *self.state.lock().unwrap();
        let image = self.images.join(state.cuts.len().to_string());
        copy_folder(&self.root, &image);
        let newest = |all: &Vec<Acknowledged>| all.last().map_or(0, |last| last.number);
        let cut = Cut {
            image,
            at_least: state.acknowledged.iter().map(newest).collect(),
            at_most: state.sent.clone(),
            what: format!("killed, {:?}", state.policy),
        };
        state.cuts.push(cut);
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A server with its files below `dir`, loaded.
async fn start(dir: &Path, policy: &str, clock: Clock) -> Rc<RefCell<Server>> {
    observed::enter(dir.to_owned());
    let words = ["--appendonly", "yes", "--appendfsync", policy, "--save", ""];
    let server = server_by(&words, clock);
    server.borrow_mut().begin_loading(false);
    load(&server).await.unwrap();
    server.borrow_mut().loading = None;
    tokio::task::spawn_local(open_gate(Rc::clone(&server)));
    server
}

struct Client(DuplexStream);

impl Client {
    fn connect(server: &Rc<RefCell<Server>>) -> Client {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let addr = ClientAddr::Unix(Rc::from(""));
        let peer = Peer {
            addr: addr.clone(),
            laddr: addr,
            fd: -1,
        };
        tokio::task::spawn_local(serve(Rc::clone(server), theirs, peer));
        Client(ours)
    }

    /// The first line of the reply, or the second where the first is a length.
    async fn call(&mut self, request: &str) -> String {
        self.0.write_all(request.as_bytes()).await.unwrap();
        self.0.write_all(b"\r\n").await.unwrap();
        let first = self.line().await;
        if first.starts_with('$') && first != "$-1" {
            return self.line().await;
        }
        first
    }

    async fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.0.read_u8().await.unwrap());
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).unwrap()
    }
}

/// Counts up a key of its own, once for each permit.
async fn count_up(mut client: Client, at: usize, power: Arc<Power>, permits: Rc<Semaphore>) {
    loop {
        permits.acquire().await.unwrap().forget();
        let was_always = power.with(|state| {
            state.sent[at] += 1;
            state.policy == Fsync::Always
        });
        let reply = client.call(&format!("INCR {at}")).await;
        let Some(number) = reply.strip_prefix(':') else {
            assert!(reply.starts_with("-MISCONF"), "{reply}");
            continue;
        };
        let number = number.parse().unwrap();
        power.with(|state| {
            let acknowledged = Acknowledged {
                number,
                at: power.now(),
                is_always: was_always && state.policy == Fsync::Always,
            };
            state.acknowledged[at].push(acknowledged);
        });
    }
}

/// A server under load, whose time passes by hand.
struct Load {
    power: Arc<Power>,
    server: Rc<RefCell<Server>>,
    control: Client,
    permits: Rc<Semaphore>,
    dice: ChaCha8Rng,
    round: Cell<u64>,
    _folder: tempfile::TempDir,
}

impl Drop for Load {
    fn drop(&mut self) {
        observed::forget(&self.power.root);
    }
}

impl Load {
    async fn begin(seed: u64) -> Load {
        eprintln!("power cuts of seed {seed}");
        // Where there is memory for it: this disk keeps its own books.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            tempfile::tempdir_in(memory).unwrap()
        } else {
            tempfile::tempdir().unwrap()
        };
        let [root, images] = ["disk", "images"].map(|name| folder.path().join(name));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&images).unwrap();
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let millis: &'static AtomicU64 = Box::leak(Box::new(AtomicU64::new(10_000)));
        let state = State {
            dice: ChaCha8Rng::from_rng(&mut dice),
            durable: HashMap::new(),
            open: HashMap::new(),
            spoilt: Vec::new(),
            failing: 0,
            syncs: 0,
            policy: Fsync::EverySecond,
            last_no: 0,
            sent: vec![0; WRITERS],
            acknowledged: (0..WRITERS).map(|_| Vec::new()).collect(),
            frozen: None,
            chance: 0,
            cuts: Vec::new(),
        };
        let power = Arc::new(Power {
            root: root.clone(),
            images,
            millis,
            state: Mutex::new(state),
        });
        observed::observe(root.clone(), Arc::clone(&power) as Arc<dyn Observer>);
        let server = start(&root, "everysec", Clock::by_hand(millis)).await;
        let permits = Rc::new(Semaphore::new(0));
        for at in 0..WRITERS {
            let client = Client::connect(&server);
            let (power, permits) = (Arc::clone(&power), Rc::clone(&permits));
            tokio::task::spawn_local(count_up(client, at, power, permits));
        }
        Load {
            control: Client::connect(&server),
            power,
            server,
            permits,
            dice,
            round: Cell::new(0),
            _folder: folder,
        }
    }

    fn is_rewriting(&self) -> bool {
        let rewriting = &self.server.borrow().aof.rewriting;
        rewriting.is_running() || rewriting.is_scheduled
    }

    /// A few milliseconds with a few writes.
    async fn step(&mut self) {
        self.permits.add_permits(self.dice.random_range(0..4));
        for _ in 0..self.dice.random_range(1..20) {
            tokio::task::yield_now().await;
        }
        self.power
            .with(|state| self.power.maybe_cut(state, "between syncs"));
        // No time passes while the disk is at work.
        while {
            let writer = &self.server.borrow().aof.writer;
            writer.is_syncing() || writer.pending_bytes() > 0 && writer.error().is_none()
        } {
            tokio::time::sleep(Duration::from_micros(50)).await;
        }
        let to_tick = TICK_MILLIS - self.power.now() % TICK_MILLIS;
        let millis = self.dice.random_range(1..40).min(to_tick);
        self.power.with(|state| {
            let now = self.power.millis.fetch_add(millis, Ordering::SeqCst) + millis;
            if state.policy == Fsync::No {
                state.last_no = now;
            }
            self.power.maybe_cut(state, "before a tick");
        });
        if millis == to_tick {
            self.server.borrow_mut().round(self.round.get());
            self.round.set(self.round.get() + 1);
        }
    }

    async fn steps(&mut self, count: u64) {
        for _ in 0..count {
            self.step().await;
        }
    }

    async fn rewrite(&mut self) {
        let reply = self.control.call("BGREWRITEAOF").await;
        assert!(reply.starts_with("+Background"), "{reply}");
    }

    async fn set_policy(&mut self, policy: Fsync) {
        let word = match policy {
            Fsync::Always => "always",
            Fsync::EverySecond => "everysec",
            Fsync::No => "no",
        };
        // Nothing is promised of what is acknowledged meanwhile but what both policies promise.
        self.power.with(|state| {
            if policy != Fsync::Always {
                state.policy = policy;
            }
        });
        let request = format!("CONFIG SET appendfsync {word}");
        assert_eq!(self.control.call(&request).await, "+OK");
        self.power.with(|state| {
            if state.policy == Fsync::No {
                state.last_no = self.power.now();
            }
            state.policy = policy;
        });
    }

    /// Loads what each cut has left.
    async fn check(self) {
        let cuts = self.power.with(|state| {
            state.chance = 0;
            std::mem::take(&mut state.cuts)
        });
        eprintln!("{} cuts", cuts.len());
        for cut in cuts {
            let server = start(&cut.image, "no", Clock::start()).await;
            let mut client = Client::connect(&server);
            for at in 0..WRITERS {
                let found = client.call(&format!("GET {at}")).await;
                let found: u64 = found.parse().unwrap_or(0);
                let expected = cut.at_least[at]..=cut.at_most[at];
                let what = &cut.what;
                assert!(
                    expected.contains(&found),
                    "writer {at}: {found} instead of {expected:?}: {what}"
                );
            }
        }
    }
}

/// Rewrites come and go meanwhile, and cuts are more frequent while they do.
async fn load_and_rewrite(load: &mut Load, steps: u64) {
    for _ in 0..steps {
        let is_rewriting = load.is_rewriting();
        load.power
            .with(|state| state.chance = if is_rewriting { 100 } else { 10 });
        load.step().await;
        if !is_rewriting && load.dice.random_ratio(1, 25) {
            load.rewrite().await;
        }
    }
    load.power.with(|state| state.chance = 0);
}

#[test]
fn every_second_loses_the_last_second_at_most() {
    run(async {
        let mut load = Load::begin(101).await;
        load_and_rewrite(&mut load, 300).await;
        load.check().await;
    });
}

#[test]
fn always_loses_nothing_acknowledged() {
    run(async {
        let mut load = Load::begin(102).await;
        load.set_policy(Fsync::Always).await;
        load_and_rewrite(&mut load, 150).await;
        load.check().await;
    });
}

#[test]
fn a_policy_counts_from_its_change_on() {
    run(async {
        let mut load = Load::begin(103).await;
        let policies = [
            Fsync::Always,
            Fsync::EverySecond,
            Fsync::No,
            Fsync::Always,
            Fsync::No,
            Fsync::EverySecond,
        ];
        for _ in 0..2 {
            for policy in policies {
                load.set_policy(policy).await;
                load_and_rewrite(&mut load, 80).await;
            }
        }
        load.check().await;
    });
}

#[test]
fn without_fsync_a_kill_loses_nothing() {
    run(async {
        let mut load = Load::begin(104).await;
        load.set_policy(Fsync::No).await;
        load.step().await;
        let before = load.power.with(|state| state.syncs);
        for _ in 0..10 {
            load.steps(20).await;
            load.power.kill();
        }
        assert_eq!(load.power.with(|state| state.syncs), before);
        load.check().await;
    });
}

/// What it should have made durable may be gone for good, whatever a later one says: the data are written anew.
#[test]
fn a_failed_fsync_costs_nothing_more_once_its_rewrite_is_there() {
    run(async {
        let mut load = Load::begin(105).await;
        for _ in 0..4 {
            load_and_rewrite(&mut load, 60).await;
            load.power.with(|state| {
                state.frozen = Some(load.power.floor(state));
                state.failing = 1;
                state.chance = 20;
            });
            let mut steps = 0;
            while load.power.with(|state| state.failing > 0)
                || load.server.borrow().aof.writer.error().is_some()
                || load.is_rewriting()
            {
                steps += 1;
                assert!(steps < 3000, "it recovers");
                load.step().await;
            }
            load.power.with(|state| state.frozen = None);
        }
        load_and_rewrite(&mut load, 60).await;
        load.check().await;
    });
}
