//! Look-ups of host names on threads of their own: the C library's resolver may block for many seconds.

use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

/// Threads that look names up: so many names of a dead name server hold up all others.
const LOOKUP_THREADS: usize = 4;
/// Different names waiting for a thread. Beyond that a look-up fails at once.
const LOOKUPS_QUEUED_MAX: usize = 16 * 1024;

/// The end of a look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The name.
    pub host: Arc<str>,
    /// Its first address; `None`: it has none, or could not be looked up.
    pub ip: Option<IpAddr>,
}

/// Looks names up. A name that is already being looked up is not queued again.
#[derive(Debug)]
pub struct Resolver {
    shared: Arc<Shared>,
    started: bool,
    results: mpsc::Sender<Lookup>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Arc<str>>,
    /// Waiting or in work.
    pending: HashSet<Arc<str>>,
    closed: bool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolver {
    /// A resolver and where its results arrive. No thread runs before the first look-up.
    pub fn new() -> (Resolver, mpsc::Receiver<Lookup>) {
        let (results, received) = mpsc::channel(LOOKUPS_QUEUED_MAX);
        let resolver = Resolver {
            shared: Arc::default(),
            started: false,
            results,
        };
        (resolver, received)
    }

    /// Queues a look-up; its result arrives later. False when too many wait already.
    pub fn look_up(&mut self, host: Arc<str>) -> bool {
        if !self.started {
            self.started = true;
            for _ in 0..LOOKUP_THREADS {
                self.start_thread();
            }
        }
        let mut queue = self.shared.queue();
        if queue.pending.contains(&host) {
            return true;
        }
        if queue.pending.len() >= LOOKUPS_QUEUED_MAX {
            return false;
        }
        queue.pending.insert(Arc::clone(&host));
        queue.waiting.push_back(host);
        drop(queue);
        self.shared.filled.notify_one();
        true
    }

    fn start_thread(&self) {
        let shared = Arc::clone(&self.shared);
        let results = self.results.clone();
        let spawned = std::thread::Builder::new()
            .name("look-up".to_owned())
            .spawn(move || run_thread(&shared, &results));
        if let Err(error) = spawned {
            tracing::error!("cannot start a thread for host name look-ups: {error}");
        }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.filled.notify_all();
    }
}

fn run_thread(shared: &Shared, results: &mpsc::Sender<Lookup>) {
    loop {
        let mut queue = shared.queue();
        let host = loop {
            if queue.closed {
                return;
            }
            match queue.waiting.pop_front() {
                Some(host) => break host,
                None => {
                    queue = shared
                        .filled
                        .wait(queue)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        };
        drop(queue);
        let ip = look_up_now(&host);
        shared.queue().pending.remove(&host);
        if results.blocking_send(Lookup { host, ip }).is_err() {
            return;
        }
    }
}

/// Looks a name up on this thread, however long it takes: its first address, in the order in which
/// the C library gives them.
pub fn look_up_now(host: &str) -> Option<IpAddr> {
    let mut addrs = (host, 0).to_socket_addrs().ok()?;
    addrs.next().map(|addr| addr.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn known_and_unknown_names() {
        let (mut resolver, mut results) = Resolver::new();
        assert!(resolver.look_up(Arc::from("localhost")));
        let found = results.recv().await.unwrap();
        assert_eq!(&*found.host, "localhost");
        assert!(found.ip.unwrap().is_loopback());
        // Reserved never to exist.
        assert!(resolver.look_up(Arc::from("no.such.host.invalid")));
        let missing = results.recv().await.unwrap();
        assert_eq!(missing.ip, None);
    }

    #[test]
    fn a_name_waits_once_and_the_queue_is_bounded() {
        let (mut resolver, _results) = Resolver::new();
        resolver.started = true; // No thread takes anything out.
        for i in 0..LOOKUPS_QUEUED_MAX {
            assert!(resolver.look_up(Arc::from(format!("h{i}"))));
        }
        assert!(resolver.look_up(Arc::from("h7")), "already waiting");
        assert!(!resolver.look_up(Arc::from("one-more")));
        assert_eq!(resolver.shared.queue().waiting.len(), LOOKUPS_QUEUED_MAX);
    }
}
