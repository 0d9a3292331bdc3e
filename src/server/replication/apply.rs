//! Applying the stream of our master: the same commands in the same order, counted to the byte.
//!
//! A transaction is applied as a whole, and only then do its bytes count. What cannot be applied ends the
//! link: a replica that skipped something would be one in name only.

use bytes::Bytes;

use crate::clock::Now;
use crate::front::{Call, ClientId, CommandId, CommandInfo, Lookup, Reply, flag, run};
use crate::ids::ReplOffset;
use crate::resp::{Limits, ProtocolError, RequestDecoder};
use crate::server::persist::rdb_decode::printable;
use crate::server::{Current, Server};

/// The most commands in one transaction of the stream.
const TRANSACTION_COMMANDS_MAX: usize = 4 * 1024 * 1024;

/// Why the stream cannot be applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// It is not RESP.
    #[error("the master's stream is not RESP: {0}")]
    Protocol(#[from] ProtocolError),
    /// A command that this server does not have.
    #[error(
        "the master's stream has the command {command:?} for key {key:?} in database {db}, which this server does not have"
    )]
    Unsupported {
        /// The command.
        command: String,
        /// Its first argument.
        key: String,
        /// The database.
        db: usize,
    },
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
    /// A transaction with too many commands.
    #[error(
        "a transaction of the master's stream has more than {TRANSACTION_COMMANDS_MAX} commands"
    )]
    TransactionTooLong,
}

/// The state of a stream between two reads.
#[derive(Debug, Default)]
pub(crate) struct Applier {
    /// The commands of an open transaction.
    transaction: Option<Vec<Vec<Bytes>>>,
    /// What has arrived of the next command.
    decoder: RequestDecoder,
    /// Bytes at the start of the input that are in `transaction` or `decoder` already.
    scanned: usize,
    /// The master wants to hear our offset: what it was just before it asked.
    pub(crate) ack_wanted: Option<ReplOffset>,
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
        let limits = Limits {
            bulk_bytes_max: usize::try_from(self.string_bytes_max()).unwrap_or(usize::MAX >> 1),
            ..Limits::CLIENT
        };
        let mut applied = 0;
        let mut at = applier.scanned;
        while let Some(words) = applier.decoder.decode(input, &mut at, &limits)? {
            let name = words
                .first()
                .map(|word| word.to_ascii_lowercase())
                .unwrap_or_default();
            match (name.as_slice(), &mut applier.transaction) {
                (b"multi", None) => {
                    applier.transaction = Some(Vec::new());
                    continue;
                }
                (b"exec", transaction @ Some(_)) => {
                    for words in transaction.take().unwrap_or_default() {
                        self.apply_one(client, &words, now, applier)?;
                    }
                }
                (_, Some(queued)) => {
                    if queued.len() >= TRANSACTION_COMMANDS_MAX {
                        return Err(ApplyError::TransactionTooLong);
                    }
                    queued.push(words);
                    continue;
                }
                (b"", None) => {}
                (_, None) => self.apply_one(client, &words, now, applier)?,
            }
            self.end_unit();
            self.replication.append(&input[applied..at]);
            self.save_if_flushed();
            applied = at;
        }
        applier.scanned = at - applied;
        self.current = Current::default();
        self.flush_stream();
        self.hold_prompted();
        Ok(applied)
    }

    fn apply_one(
        &mut self,
        client: ClientId,
        words: &[Bytes],
        now: Now,
        applier: &mut Applier,
    ) -> Result<(), ApplyError> {
        let db = self.front.clients.current(client).db;
        let describe = |words: &[Bytes]| {
            let word = |at: usize| {
                words
                    .get(at)
                    .map_or_else(String::new, |word| printable(word))
            };
            (word(0), word(1))
        };
        let Some((command, info)) = self.find_for_stream(words) else {
            let (command, key) = describe(words);
            return Err(ApplyError::Unsupported { command, key, db });
        };
        if info.name == "replconf" {
            if words
                .get(1)
                .is_some_and(|word| word.eq_ignore_ascii_case(b"getack"))
            {
                applier.ack_wanted = Some(self.replication.history.offset());
            }
            return Ok(());
        }
        let reply = self.run_for_stream(client, words, (command, info), now);
        if info.name == "select" {
            self.replication.stream_db = Some(self.current.db);
        }
        if let Some(text) = reply.as_bytes().strip_prefix(b"-") {
            let (command, key) = describe(words);
            let reply = String::from_utf8_lossy(text).trim_end().to_owned();
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
        words: &[Bytes],
        found: (CommandId, &'static CommandInfo),
        now: Now,
    ) -> Reply {
        self.repeat(client, words, found, now, run)
    }

    /// Runs a command as it was run earlier: as one of the stream, and nothing is measured or noted about it.
    pub(crate) fn replay(
        &mut self,
        client: ClientId,
        words: &[Bytes],
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
        words: &[Bytes],
        (command, info): (CommandId, &'static CommandInfo),
        now: Now,
        run: impl FnOnce(&mut Server, &Call<'_>, &mut Reply),
    ) -> Reply {
        let master = self.front.clients.current(client);
        master.last_command = Some(command);
        self.current = Current {
            db: master.db,
            is_from_master: true,
            client: None,
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
        words: &[Bytes],
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
