//! What was denied: `ACL LOG`.

use std::collections::VecDeque;

use crate::clock::Mono;

/// Denials of the same kind within this time are one entry. Milliseconds.
const SAME_WITHIN_MS: u64 = 60_000;

/// Among how many of the newest entries one of the same kind is looked for.
const RECENT: usize = 10;

/// How much is kept of a denied key, channel or user name, and of what tells of the client. Bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// Why a request was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The command is not allowed.
    Command,
    /// A key is not.
    Key,
    /// A channel is not.
    Channel,
    /// Wrong credentials.
    Auth,
}

impl Reason {
    /// As the log shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Channel => "channel",
            Reason::Auth => "auth",
        }
    }
}

/// One entry.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// How many times.
    pub count: u64,
    /// Why.
    pub reason: Reason,
    /// `toplevel` or `multi`.
    pub context: &'static str,
    /// The command, key, channel.
    pub object: Vec<u8>,
    /// Whose rights did not suffice.
    pub username: Vec<u8>,
    /// When last.
    pub at: Mono,
    /// The client, as `CLIENT LIST` shows it.
    pub client: Vec<u8>,
}

/// The newest denials.
#[derive(Debug)]
pub struct AclLog {
    entries: VecDeque<LogEntry>,
    /// `acllog-max-len`
    pub entries_max: usize,
}

impl Default for AclLog {
    fn default() -> AclLog {
        AclLog {
            entries: VecDeque::new(),
            entries_max: 128,
        }
    }
}

impl AclLog {
    /// The entries, newest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &LogEntry> {
        self.entries.iter()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Adds a denial, to an entry of the same kind where there is a recent one.
    pub fn add(&mut self, mut entry: LogEntry) {
        for text in [&mut entry.object, &mut entry.username, &mut entry.client] {
            text.truncate(TEXT_BYTES_MAX);
            text.shrink_to_fit();
        }
        let known = self.entries.iter().take(RECENT).position(|known| {
            known.reason == entry.reason
                && known.context == entry.context
                && entry.at.0.saturating_sub(known.at.0) <= SAME_WITHIN_MS
                && known.object == entry.object
                && known.username == entry.username
        });
        if let Some(known) = known.and_then(|at| self.entries.remove(at)) {
            entry.count += known.count;
        }
        self.entries.push_front(entry);
        self.entries.truncate(self.entries_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(object: &str, at: u64) -> LogEntry {
        LogEntry {
            count: 1,
            reason: Reason::Key,
            context: "toplevel",
            object: object.into(),
            username: b"u".to_vec(),
            at: Mono(at),
            client: Vec::new(),
        }
    }

    #[test]
    fn equal_denials_are_counted_and_old_ones_go() {
        let mut log = AclLog {
            entries_max: 2,
            ..AclLog::default()
        };
        log.add(entry("a", 0));
        log.add(entry("b", 10));
        log.add(entry("a", 20));
        let seen: Vec<_> = log.entries().map(|e| (e.object.clone(), e.count)).collect();
        assert_eq!(seen, [(b"a".to_vec(), 2), (b"b".to_vec(), 1)]);
        log.add(entry("a", 20 + SAME_WITHIN_MS + 1));
        assert_eq!(log.entries().next().unwrap().count, 1);
        assert_eq!(log.entries().len(), 2);
    }

    #[test]
    fn little_is_kept_of_long_texts() {
        let mut log = AclLog::default();
        let long = "x".repeat(100_000);
        log.add(LogEntry {
            username: long.clone().into(),
            client: long.clone().into(),
            ..entry(&long, 0)
        });
        let kept = log.entries().next().unwrap();
        for text in [&kept.object, &kept.username, &kept.client] {
            assert_eq!(text.len(), TEXT_BYTES_MAX);
            assert!(text.capacity() < 2 * TEXT_BYTES_MAX);
        }
    }
}
