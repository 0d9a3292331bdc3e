//! What is noted around each command: how long it took, whom it must be shown to, what its client now knows.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use super::Server;
use super::slowlog::{Slow, shortened};
use crate::front::{
    Blocked, Call, Catalog, ClientId, CommandId, HELLO_OPTIONS, Handler, MIGRATE_OPTIONS,
    OptionForm, Reply, flag, options,
};
use crate::resp::Word;

/// What stands for a word that nobody may read.
const REDACTED: Word<'static> = Word::Part(b"(redacted)");

/// Settings whose value nobody may read.
const SECRETS: [&str; 6] = [
    "http-token",
    "requirepass",
    "masterauth",
    "masteruser",
    "tls-key-file-pass",
    "tls-client-key-file-pass",
];

/// A command that waits, with what is noted about it when it goes on.
pub(super) struct Suspended {
    command: CommandId,
    /// How long it ran before it had to wait.
    nanos: u64,
    /// Its words, shortened.
    words: Vec<Bytes>,
}

impl Server {
    /// Runs a command and notes what it did.
    pub(super) fn run_observed(
        &mut self,
        call: &Call<'_>,
        handler: Handler<Server>,
        reply: &mut Reply,
    ) {
        let begun = self.read_at.take().unwrap_or_else(|| self.clock.nanos());
        let start = reply.len();
        let errors_to_others = self.metrics.errors_to_others();
        handler(self, call, reply);
        let ended = self.clock.nanos();
        self.read_at = Some(ended);
        let nanos = ended.saturating_sub(begun);
        let error = reply.error_at(start);
        let is_error = error.is_some();
        let failed = is_error || self.metrics.errors_to_others() != errors_to_others;
        let waits = self.waits(call.client);
        let keep_latency = self.config.tuning.latency_tracking && !waits;
        self.metrics
            .called(call.command, nanos, failed, keep_latency);
        if let Some(text) = error {
            self.metrics.error(text);
            // The front counts what it sees, and it sees a transaction as one command.
            self.front.stats.error_replies += u64::from(self.in_exec);
            self.close_if_replica(call.client);
        }
        if waits {
            let suspended = Suspended {
                command: call.command,
                nanos,
                words: shortened(&shown_words(self.front.table.catalog(), call)),
            };
            let client = self.front.clients.current(call.client);
            client.session.suspended = Some(Box::new(suspended));
        } else if call.info.flags & flag::SKIP_SLOWLOG == 0 {
            let words = |catalog: &Catalog| shortened(&shown_words(catalog, call));
            self.note_slow(call.client, nanos / 1000, words);
        }
        let event = if call.info.flags & flag::FAST != 0 {
            "fast-command"
        } else {
            "command"
        };
        self.note_latency(event, Duration::from_nanos(nanos));
        if !self.monitors.is_empty() && call.info.flags & (flag::SKIP_MONITOR | flag::ADMIN) == 0 {
            self.show_to_monitors(call);
        }
        if self.tracking.is_in_use() {
            self.remember_read_keys(call);
        }
    }

    /// Whether the command that a client has just called has made it wait, as a client that blocks does.
    fn waits(&self, client: ClientId) -> bool {
        let client = self.front.clients.get(client);
        let blocked = client.and_then(|client| client.blocked);
        matches!(
            blocked,
            Some(Blocked::Waiting {
                can_unblock: true,
                ..
            })
        )
    }

    /// Notes a command that has waited as one that has run: for as long as it ran, without the wait.
    pub(super) fn note_unblocked(&mut self, client: ClientId, serving: u64, failed: bool) {
        let found = self.front.clients.get_mut(client);
        let Some(suspended) = found.and_then(|client| client.session.suspended.take()) else {
            return;
        };
        let nanos = suspended.nanos.saturating_add(serving);
        let kept = self.config.tuning.latency_tracking.then_some(nanos);
        let command = suspended.command;
        self.metrics.unblocked(command, serving, failed, kept);
        self.note_slow(client, nanos / 1000, |_| suspended.words);
        self.note_latency("command-unblocking", Duration::from_nanos(serving));
    }

    /// Counts an error that another client than the one that called the present command gets.
    pub(super) fn count_error_to_another(&mut self, text: &str) {
        self.metrics.error_to_another(text.as_bytes());
        self.front.stats.error_replies += 1;
    }

    /// Puts a command into the slow log if it took long enough.
    fn note_slow(
        &mut self,
        client: ClientId,
        micros: u64,
        words: impl FnOnce(&Catalog) -> Vec<Bytes>,
    ) {
        let threshold = u64::try_from(self.config.tuning.slowlog_log_slower_than);
        if !threshold.is_ok_and(|threshold| micros >= threshold) {
            return;
        }
        let at = self.clock.now().unix.0 / 1000;
        let words = words(self.front.table.catalog());
        let client = self.front.clients.current(client);
        let slow = Slow {
            id: 0,
            at,
            micros,
            words,
            addr: client.addr.to_string(),
            client_name: client.name.clone(),
        };
        let len_max = self.config.tuning.slowlog_max_len;
        self.slowlog.add(slow, len_max);
    }

    /// Does something, and keeps it for `LATENCY` if it took long enough.
    pub(crate) fn timed<R>(
        &mut self,
        event: &'static str,
        work: impl FnOnce(&mut Server) -> R,
    ) -> R {
        if self.config.tuning.latency_monitor_threshold.is_zero() {
            return work(self);
        }
        let begun = self.clock.nanos();
        let result = work(self);
        let took = Duration::from_nanos(self.clock.nanos().saturating_sub(begun));
        self.note_latency(event, took);
        result
    }

    /// Keeps an event for `LATENCY` if it took long enough.
    pub(crate) fn note_latency(&mut self, event: &'static str, took: Duration) {
        let threshold = self.config.tuning.latency_monitor_threshold;
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if !threshold.is_zero() && took >= threshold {
            let at = self.clock.now().unix.0 / 1000;
            self.latencies.add(event, at, millis);
        }
    }
}

/// The words of a call without its secrets. What the call is the catalog knows: a client may call it by another name.
pub(super) fn shown_words<'a>(catalog: &Catalog, call: &Call<'a>) -> Cow<'a, [Word<'a>]> {
    let words = call.words;
    let secret: Vec<usize> = match &*catalog.entry(call.command).full_name {
        "auth" => (1..words.len()).collect(),
        // From the first word on: whoever forgets the version has sent a password all the same.
        "hello" => login_words(words, 1, HELLO_OPTIONS),
        "migrate" => login_words(words, 6, MIGRATE_OPTIONS),
        "acl|setuser" => (2..words.len()).collect(),
        "config|set" => (2..words.len())
            .step_by(2)
            .filter(|at| {
                let is_it = |secret: &&str| words[*at].eq_ignore_ascii_case(secret.as_bytes());
                SECRETS.iter().any(is_it)
            })
            .map(|at| at + 1)
            .collect(),
        _ => Vec::new(),
    };
    if secret.is_empty() {
        return Cow::Borrowed(words);
    }
    let mut words = words.to_vec();
    for at in secret {
        if let Some(word) = words.get_mut(at) {
            *word = REDACTED;
        }
    }
    Cow::Owned(words)
}

/// Which words are a name or a password, of a request with options from word `from` on.
fn login_words(words: &[Word<'_>], from: usize, known: &'static [OptionForm]) -> Vec<usize> {
    let options = options(words, from, known);
    let logins = options.filter_map(|(at, form)| Some((at, form?)));
    logins
        .filter(|(_, (name, _))| name.starts_with("auth"))
        .flat_map(|(at, (_, values))| at + 1..=at + values)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::front::{Front, Lookup};
    use crate::server::command;

    /// What is shown of a request, where commands may have other names.
    fn check(request: &str, want: &str) {
        let mut front = Front::new(command::all());
        front.table.rename("config", "cfg").unwrap();
        front.table.rename("hello", "hi").unwrap();
        let words: Vec<Word<'_>> = request.split(' ').map(Word::from).collect();
        let Lookup::Found(command) = front.table.lookup(&words) else {
            panic!("no command {request}");
        };
        let catalog = front.table.catalog();
        let call = Call {
            client: ClientId(1),
            words: &words,
            command,
            info: catalog.entry(command).info,
            now: Clock::start().now(),
        };
        let shown = shown_words(catalog, &call);
        let shown: Vec<&[u8]> = shown.iter().map(|word| &**word).collect();
        let shown = shown.join(&b' ');
        assert_eq!(
            String::from_utf8_lossy(&shown),
            want.replace('*', "(redacted)")
        );
    }

    #[test]
    fn passwords_are_not_shown() {
        check("hi 2 SETNAME auth AUTH u p", "hi 2 SETNAME auth AUTH * *");
        check("hi 2 AUTH u p AUTH v q", "hi 2 AUTH * * AUTH * *");
        check("hi AUTH u p", "hi AUTH * *");
        check("hi 2 AUTH p", "hi 2 AUTH *");
        check(
            "cfg SET requirepass p timeout 1",
            "cfg SET requirepass * timeout 1",
        );
        check("acl SETUSER u on", "acl SETUSER * *");
        check(
            "migrate h 1 k 0 1 COPY AUTH p",
            "migrate h 1 k 0 1 COPY AUTH *",
        );
        check(
            "migrate h 1  0 1 AUTH2 auth p KEYS auth k",
            "migrate h 1  0 1 AUTH2 * * KEYS auth k",
        );
        check("set config requirepass", "set config requirepass");
    }
}
