//! The TLS sessions that clients may resume: so many, for so long.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::server::StoresServerSessions;

use crate::clock::{Clock, Mono};

/// The most sessions that are kept where the configuration has no limit.
const SESSIONS_MAX: usize = 1 << 20;

/// `tls-session-caching`: sessions by their ids.
#[derive(Debug)]
pub(super) struct SessionCache {
    clock: Clock,
    lifetime: Duration,
    most: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    sessions: HashMap<Vec<u8>, Session>,
    /// Their ids, the oldest first.
    by_age: BTreeMap<u64, Vec<u8>>,
    stored: u64,
}

#[derive(Debug)]
struct Session {
    number: u64,
    since: Mono,
    value: Vec<u8>,
}

impl SessionCache {
    /// A cache of `tls-session-cache-size` sessions, 0 for no limit, that may be resumed for
    /// `tls-session-cache-timeout`.
    pub(super) fn new(size: u32, lifetime: Duration) -> SessionCache {
        let most = match size {
            0 => SESSIONS_MAX,
            size => usize::try_from(size)
                .unwrap_or(SESSIONS_MAX)
                .min(SESSIONS_MAX),
        };
        SessionCache {
            clock: Clock::start(),
            lifetime,
            most,
            kept: Mutex::default(),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Whoever panicked ended the process.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_at(&self, now: Mono, id: Vec<u8>, value: Vec<u8>) {
        let mut kept = self.kept();
        kept.remove(&id);
        while let Some((_, oldest)) = kept.by_age.first_key_value() {
            let is_over = !self.is_alive(&kept.sessions[oldest], now);
            if !is_over && kept.sessions.len() < self.most {
                break;
            }
            let oldest = oldest.clone();
            kept.remove(&oldest);
        }
        kept.stored += 1;
        let number = kept.stored;
        kept.by_age.insert(number, id.clone());
        let session = Session {
            number,
            since: now,
            value,
        };
        kept.sessions.insert(id, session);
    }

    fn get_at(&self, now: Mono, id: &[u8]) -> Option<Vec<u8>> {
        let kept = self.kept();
        let session = kept.sessions.get(id)?;
        self.is_alive(session, now).then(|| session.value.clone())
    }

    fn is_alive(&self, session: &Session, now: Mono) -> bool {
        now.since(session.since) < self.lifetime
    }
}

impl Kept {
    fn remove(&mut self, id: &[u8]) -> Option<Session> {
        let session = self.sessions.remove(id)?;
        self.by_age.remove(&session.number);
        Some(session)
    }
}

impl StoresServerSessions for SessionCache {
    fn put(&self, id: Vec<u8>, value: Vec<u8>) -> bool {
        self.put_at(self.clock.mono(), id, value);
        true
    }

    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.get_at(self.clock.mono(), id)
    }

    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        let now = self.clock.mono();
        let session = self.kept().remove(id)?;
        self.is_alive(&session, now).then_some(session.value)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_end_by_age_and_number() {
        let cache = SessionCache::new(2, Duration::from_secs(3));
        let at = |seconds: u64| Mono(seconds * 1000);
        let put = |seconds, id: &[u8]| cache.put_at(at(seconds), id.to_vec(), b"v".to_vec());
        put(1, b"a");
        put(2, b"b");
        assert!(cache.get_at(at(3), b"a").is_some());
        assert!(cache.get_at(at(4), b"a").is_none(), "it is over");
        put(3, b"c");
        assert!(cache.get_at(at(3), b"a").is_none(), "the oldest made room");
        assert!(cache.get_at(at(3), b"b").is_some());
        // One that is stored again is young again.
        put(3, b"b");
        put(3, b"d");
        assert!(cache.get_at(at(3), b"c").is_none());
        assert!(cache.get_at(at(5), b"b").is_some());
        put(9, b"e");
        assert_eq!(cache.kept().sessions.len(), 1, "what is over goes");
        assert_eq!(cache.kept().by_age.len(), 1);
        let forever = SessionCache::new(0, Duration::from_secs(300));
        assert!(forever.put(b"x".to_vec(), b"v".to_vec()));
        assert_eq!(forever.take(b"x"), Some(b"v".to_vec()));
        assert_eq!(forever.take(b"x"), None);
    }
}
