//! Applying the stream of our master: the same commands in the same order, counted to the byte.
//!
//! A transaction is applied as a whole, and only then do its bytes count. What cannot be applied ends the
//! link: a replica that skipped something would be one in name only. Only where it may give up keys of its own
//! (`replica-ignore-maxmemory no`), and has, may a command fail: all data would be followed by the same again.

use crate::clock::Now;
use crate::front::{Call, ClientId, CommandId, CommandInfo, Lookup, Reply, flag, run};
use crate::ids::ReplOffset;
use crate::resp::{Limits, ProtocolError, RequestDecoder, Word};
use crate::server::eviction::Room;
use crate::server::persist::rdb_decode::printable;
use crate::server::persist::refused::Refused;
use crate::server::{Current, Server};

/// Why the stream cannot be applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// It is not RESP.
    #[error("the master's stream is not RESP: {0}")]
    Protocol(#[from] ProtocolError),
    /// A command that this server does not have, or one for a value that it does not have.
    #[error("the master's stream has {0}")]
    Unsupported(Refused),
    /// A command that worked on the master and fails here.
    #[error(
        "{command:?} for key {key:?} in database {db} of the master's stream failed here: {reply}"
    )]
    Failed {
        /// The command.
        command: String,
        /// Its first argument.
        key: String,
        /// The database.
        db: usize,
        /// The error.
        reply: String,
    },
}

/// The state of a stream between two reads.
#[derive(Debug, Default)]
pub(crate) struct Applier {
    /// The words of a transaction that began in what was read earlier, as far as its commands were complete.
    words: Vec<Word<'static>>,
    /// Of a transaction: where the words of each command end. However many there are: the master, which has run
    /// them, is the limit, as it is of the data that it sends.
    ends: Option<Vec<usize>>,
    /// What has arrived of the next command.
    decoder: RequestDecoder,
    /// Bytes at the start of the input that are in `words` or `decoder` already.
    scanned: usize,
    /// The master wants to hear our offset: what it was just before it asked.
    pub(crate) ack_wanted: Option<ReplOffset>,
}

impl Applier {
    /// Goes on at `input[*at..]` to the end of the next unit; false when not all of it has arrived. Its words are then in
    /// `words`, which was empty, and its ends are there to be taken.
    fn next_unit<'a>(
        &mut self,
        input: &'a [u8],
        at: &mut usize,
        limits: &Limits,
        words: &mut Vec<Word<'a>>,
    ) -> Result<bool, ProtocolError> {
        loop {
            let begin = words.len();
            if !self.decoder.decode_onto(input, at, limits, words)? {
                self.words.extend(words.drain(..).map(Word::into_owned));
                return Ok(false);
            }
            let is = |name: &[u8]| match &words[begin..] {
                [word] => word.eq_ignore_ascii_case(name),
                _ => false,
            };
            let (is_multi, is_exec) = (is(b"multi"), is(b"exec"));
            match &mut self.ends {
                None if is_multi => {
                    words.clear();
                    self.ends = Some(Vec::new());
                }
                None => return Ok(true),
                Some(_) if is_exec => {
                    words.truncate(begin);
                    words.splice(..0, std::mem::take(&mut self.words));
                    return Ok(true);
                }
                Some(ends) => ends.push(self.words.len() + words.len()),
            }
        }
    }
}

impl Server {
    /// Applies the complete units at the start of `input`; returns how many bytes that were.
    pub(crate) fn apply(
        &mut self,
        client: ClientId,
        applier: &mut Applier,
        input: &[u8],
        now: Now,
    ) -> Result<usize, ApplyError> {
        let applied = self.apply_units(client, applier, input, now);
        // Whatever runs next begins then.
        self.read_at = None;
        let applied = applied?;
        self.current = Current::default();
        self.broadcast_invalidations();
        self.flush_stream();
        self.hold_prompted();
        Ok(applied)
    }

    fn apply_units(
        &mut self,
        client: ClientId,
        applier: &mut Applier,
        input: &[u8],
        now: Now,
    ) -> Result<usize, ApplyError> {
        let limits = Limits {
            bulk_bytes_max: usize::try_from(self.string_bytes_max()).unwrap_or(usize::MAX >> 1),
            ..Limits::CLIENT
        };
        let mut applied = 0;
        let mut at = applier.scanned;
        let mut room = Room::Enough;
        let mut words = Vec::new();
        while applier.next_unit(input, &mut at, &limits, &mut words)? {
            // Once that has taken its time, a task goes on with it between the turns of all.
            if room != Room::Freeing {
                room = self.make_room();
            }
            let ends = applier.ends.take();
            let mut begin = 0;
            for end in ends.unwrap_or_else(|| vec![words.len()]) {
                // An empty line asks for nothing.
                if begin < end {
                    self.apply_one(client, &words[begin..end], now, applier)?;
                }
                begin = end;
            }
            words.clear();
            self.end_unit();
            self.replication.append(&input[applied..at]);
            self.save_if_flushed();
            applied = at;
        }
        applier.scanned = at - applied;
        Ok(applied)
    }

    fn apply_one(
        &mut self,
        client: ClientId,
        words: &[Word<'_>],
        now: Now,
        applier: &mut Applier,
    ) -> Result<(), ApplyError> {
        let db = self.front.clients.current(client).db;
        let Some((command, info)) = self.find_for_stream(words) else {
            return Err(ApplyError::Unsupported(Refused::new(words, db)));
        };
        if let Some(refused) = Refused::of_payload(info.name, words, db) {
            return Err(ApplyError::Unsupported(refused));
        }
        if info.name == "replconf" {
            if words
                .get(1)
                .is_some_and(|word| word.eq_ignore_ascii_case(b"getack"))
            {
                applier.ack_wanted = Some(self.replication.history.offset());
            }
            return Ok(());
        }
        self.replication.gate.turn.has_written |= info.flags & flag::WRITE != 0;
        let reply = self.run_for_stream(client, words, (command, info), now);
        if info.name == "select" {
            self.replication.stream_db = Some(self.current.db);
        }
        if let Some(text) = reply.as_bytes().strip_prefix(b"-") {
            let word = |at: usize| {
                words
                    .get(at)
                    .map_or_else(String::new, |word| printable(word))
            };
            let (command, key) = (word(0), word(1));
            let reply = String::from_utf8_lossy(text).trim_end().to_owned();
            if self.replication.holds_less {
                // The first of them is enough for the log.
                if std::mem::replace(&mut self.replication.has_left_out, true) {
                    tracing::debug!(command, key, db, reply, "left out, too");
                } else {
                    tracing::warn!(
                        command,
                        key,
                        db,
                        reply,
                        "a command of the master's failed here, and is left out, as are others like it"
                    );
                }
                return Ok(());
            }
            return Err(ApplyError::Failed {
                command,
                key,
                db,
                reply,
            });
        }
        Ok(())
    }

    /// Runs a command as it was run elsewhere: without checks, and without regard to expiry.
    fn run_for_stream(
        &mut self,
        client: ClientId,
        words: &[Word<'_>],
        found: (CommandId, &'static CommandInfo),
        now: Now,
    ) -> Reply {
        self.repeat(client, words, found, now, run)
    }

    /// Runs a command as it was run earlier: as one of the stream, and nothing is measured or noted about it.
    pub(crate) fn replay(
        &mut self,
        client: ClientId,
        words: &[Word<'_>],
        found: (CommandId, &'static CommandInfo),
        now: Now,
    ) -> Reply {
        self.repeat(client, words, found, now, |server, call, reply| {
            server.front.table.handler(call.command)(server, call, reply);
        })
    }

    fn repeat(
        &mut self,
        client: ClientId,
        words: &[Word<'_>],
        (command, info): (CommandId, &'static CommandInfo),
        now: Now,
        run: impl FnOnce(&mut Server, &Call<'_>, &mut Reply),
    ) -> Reply {
        let master = self.front.clients.current(client);
        master.last_command = Some(command);
        self.current = Current {
            db: master.db,
            is_from_master: true,
            ..Current::default()
        };
        let call = Call {
            client,
            words,
            command,
            info,
            now,
        };
        let mut reply = Reply::default();
        run(self, &call, &mut reply);
        reply
    }

    /// The command that words of the stream name, if it is one that a stream may carry.
    pub(crate) fn find_for_stream(
        &self,
        words: &[Word<'_>],
    ) -> Option<(CommandId, &'static CommandInfo)> {
        const BESIDE_WRITES: [&str; 3] = ["select", "ping", "replconf"];
        let command = match self.front.table.lookup(words) {
            Lookup::Found(command) => command,
            // `rename-command` is for clients; what we propagate by ourselves has the original name.
            Lookup::UnknownCommand | Lookup::UnknownSubcommand(_) => {
                let name = std::str::from_utf8(words.first()?).ok()?;
                self.front.table.catalog().find(name)?
            }
        };
        let info = self.front.table.catalog().entry(command).info;
        let wanted = usize::try_from(info.arity.unsigned_abs()).ok()?;
        let has_arity = if info.arity < 0 {
            words.len() >= wanted
        } else {
            words.len() == wanted
        };
        let is_write = info.flags & (flag::WRITE | flag::MAY_REPLICATE) != 0;
        (has_arity && (is_write || BESIDE_WRITES.contains(&info.name))).then_some((command, info))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_end_with_a_command_or_with_a_whole_transaction() {
        let mut applier = Applier::default();
        let input = b"PING\r\n\r\nMULTI\r\nSET a b\r\nDEL c\r\nEXEC\r\nMULTI\r\nGET";
        let mut at = 0;
        let mut next = || {
            let mut words = Vec::new();
            let is_complete = applier.next_unit(input, &mut at, &Limits::CLIENT, &mut words);
            (is_complete.unwrap(), words, applier.ends.take())
        };
        assert_eq!(next(), (true, vec!["PING".into()], None));
        assert_eq!(next(), (true, Vec::new(), None));
        let words = ["SET", "a", "b", "DEL", "c"].map(Word::from).to_vec();
        assert_eq!(next(), (true, words, Some(vec![3, 5])));
        assert_eq!(next(), (false, Vec::new(), Some(Vec::new())));
    }

    #[test]
    fn a_transaction_may_come_in_pieces() {
        let input = b"*1\r\n$5\r\nMULTI\r\nSET a b\r\n*2\r\n$3\r\nDEL\r\n$1\r\nc\r\nEXEC\r\n";
        for cut in 0..input.len() {
            let mut applier = Applier::default();
            let (mut at, mut words) = (0, Vec::new());
            let first = applier.next_unit(&input[..cut], &mut at, &Limits::CLIENT, &mut words);
            assert_eq!((first, words.len()), (Ok(false), 0), "{cut}");
            let second = applier.next_unit(input, &mut at, &Limits::CLIENT, &mut words);
            assert_eq!(second, Ok(true), "{cut}");
            assert_eq!(words, ["SET", "a", "b", "DEL", "c"], "{cut}");
            assert_eq!(applier.ends, Some(vec![3, 5]), "{cut}");
            assert!(applier.words.is_empty());
        }
    }

    #[test]
    fn a_transaction_may_be_as_long_as_the_master_makes_it() {
        /// More than one was once refused for.
        const COMMANDS: usize = 4 * 1024 * 1024 + 4096;
        const AT_ONCE: usize = 4096;
        let mut applier = Applier::default();
        let mut feed = |input: &[u8]| {
            let mut at = 0;
            let is_complete = applier.next_unit(input, &mut at, &Limits::CLIENT, &mut Vec::new());
            assert_eq!(at, input.len());
            is_complete
        };
        assert_eq!(feed(b"MULTI\r\n"), Ok(false));
        // Words that take no memory of their own.
        let piece = b"*1\r\n$0\r\n\r\n".repeat(AT_ONCE);
        for _ in 0..COMMANDS / AT_ONCE {
            assert_eq!(feed(&piece), Ok(false));
        }
        assert_eq!(feed(b"EXEC\r\n"), Ok(true));
        assert_eq!(applier.ends.map(|ends| ends.len()), Some(COMMANDS));
    }
}
