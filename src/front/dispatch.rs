//! From a request's words to its reply: look-up, arity, rights, state, then the call.

use std::borrow::Cow;

use super::acl::{Denied, LogEntry, Reason};
use super::client::{Blocked, Client, ClientId, ClientKind, Closing};
use super::client_line::client_line;
use super::client_memory::words_bytes;
use super::error_text::{ECHO_BYTES_MAX, ErrorText};
use super::spec::flag;
use super::table::{Catalog, CommandId, Lookup};
use super::{Call, Front, PauseMode, Program, Reply};
use crate::clock::Now;
use crate::resp::{Protocol, Word};

/// What a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is done, or its reply will come.
    Done,
    /// It is to be tried again when the client is no longer paused.
    Paused,
}

/// Runs one request of a client and queues its reply.
pub(crate) fn dispatch<P: Program>(
    program: &mut P,
    id: ClientId,
    words: &[Word<'_>],
    now: Now,
) -> Outcome {
    // What is sent to the client until here comes before the reply: it made room for the command.
    let admission = admit(program, id, words, now);
    if let Admission::Paused = admission {
        let clients = &mut program.front().clients;
        clients.put_off(id);
        clients.current(id).argv_bytes = words_bytes(words);
        return Outcome::Paused;
    }
    let mut reply = program.front().clients.begin_reply(id);
    let start = reply.len();
    match admission {
        Admission::Granted(call) if program.enqueue(&call) => reply.simple("QUEUED"),
        Admission::Granted(call) => run(program, &call, &mut reply),
        Admission::Refused(text) => reply.error(text),
        Admission::Paused | Admission::Closed => {}
    }
    let front = program.front();
    front.stats.error_replies += u64::from(reply.error_at(start).is_some());
    let catalog = front.table.catalog();
    let client = front.clients.current(id);
    end_caching(client, catalog);
    // Of one that comes later, nothing is there yet.
    let is_late = matches!(client.blocked, Some(Blocked::Waiting { .. }));
    if is_late {
        client.argv_bytes = words_bytes(words);
    } else if client.leaves_out_reply() {
        reply.leave_out();
    }
    client.end_reply(reply);
    Outcome::Done
}

/// What `CLIENT CACHING` says is for the next command alone, or for the next transaction; one that is refused is
/// one too.
fn end_caching<S>(client: &mut Client<S>, catalog: &Catalog) {
    let Some(tracking) = &mut client.tracking else {
        return;
    };
    let last = client.last_command.map(|id| &catalog.entry(id).full_name);
    let is_of_client = last.is_some_and(|name| name.starts_with("client|"));
    if client.multi.is_none() && !is_of_client {
        tracking.caching = None;
    }
}

/// What the checks of a request came to.
enum Admission<'a> {
    /// It may run, or be queued.
    Granted(Call<'a>),
    /// It is to be tried again when the client is no longer paused.
    Paused,
    /// It gets this error.
    Refused(Vec<u8>),
    /// Its connection is closed without a word.
    Closed,
}

/// Looks a request up and checks whether it may run.
fn admit<'a, P: Program>(
    program: &mut P,
    id: ClientId,
    words: &'a [Word<'a>],
    now: Now,
) -> Admission<'a> {
    let front = program.front();
    let command = match front.table.lookup(words) {
        Lookup::Found(command) => command,
        missing @ (Lookup::UnknownCommand | Lookup::UnknownSubcommand(_)) => {
            front.clients.current(id).last_command = None;
            if missing == Lookup::UnknownCommand && is_http(&words[0]) {
                let client = front.clients.current(id);
                tracing::warn!(
                    addr = %client.addr,
                    "client closed: it speaks HTTP, perhaps a browser that was tricked into it"
                );
                client.close(Closing::Now);
                return Admission::Closed;
            }
            return refuse(program, id, None, unknown(missing, words).as_ref().to_vec());
        }
    };
    let call = Call {
        client: id,
        words,
        command,
        info: front.table.catalog().entry(command).info,
        now,
    };
    program.front().clients.current(id).last_command = Some(command);
    let refusal = check_front(program, &call).or_else(|| program.refuse(&call));
    if let Some(text) = refusal {
        return refuse(program, id, Some(&call), text.into_owned().into_bytes());
    }
    if is_paused(program, &call) {
        return Admission::Paused;
    }
    Admission::Granted(call)
}

/// Runs a call without any check: those were made when it arrived. `EXEC` uses it for what was queued.
pub fn run<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let handler = program.front().table.handler(call.command);
    program.execute(call, handler, reply);
    program.front().stats.commands += 1;
}

fn refuse<P: Program>(
    program: &mut P,
    id: ClientId,
    call: Option<&Call<'_>>,
    text: Vec<u8>,
) -> Admission<'static> {
    Admission::Refused(program.refused(id, call, &text).unwrap_or(text))
}

/// The first words of an HTTP request or its headers. A web page can make a browser send them here with
/// commands behind them, so nothing that follows is run.
fn is_http(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"POST") || word.eq_ignore_ascii_case(b"Host:")
}

/// The error of a command or subcommand that does not exist. Repeats the client's bytes as they are.
fn unknown(lookup: Lookup, words: &[Word<'_>]) -> ErrorText {
    let name = &words[0];
    if let (Lookup::UnknownSubcommand(_), Some(sub)) = (lookup, words.get(1)) {
        return ErrorText::from("ERR unknown subcommand '")
            .beginning(sub, ECHO_BYTES_MAX)
            .text("'. Try ")
            .word(&name.to_ascii_uppercase())
            .text(" HELP.");
    }
    let mut text = ErrorText::from("ERR unknown command '")
        .beginning(name, ECHO_BYTES_MAX)
        .text("', with args beginning with: ");
    let end = text.as_ref().len() + ECHO_BYTES_MAX;
    for word in &words[1..] {
        let room = end.saturating_sub(text.as_ref().len());
        if room == 0 {
            break;
        }
        text = text.text("'").beginning(word, room).text("' ");
    }
    text
}

/// The checks that both programs share.
fn check_front<P: Program>(program: &mut P, call: &Call<'_>) -> Option<Cow<'static, str>> {
    let front = program.front();
    if !has_arity(call.info.arity, call.words.len()) {
        return Some(arity_error(&front.table.catalog().entry(call.command).full_name).into());
    }
    if let Some(text) = program.forbid(call) {
        return Some(text);
    }
    let front = program.front();
    let client = front.clients.current(call.client);
    let needs_auth = !client.authenticated && !front.acl.default_is_open();
    if needs_auth && call.info.flags & flag::NO_AUTH == 0 {
        return Some("NOAUTH Authentication required.".into());
    }
    if let Err(denied) = front.acl.check(&client.user, call.command, call.words) {
        front.log_denied(call, &denied);
        let entry = front.table.catalog().entry(call.command);
        return Some(denied.message(&entry.full_name).into());
    }
    let client = front.clients.current(call.client);
    let subscribed = client.protocol == Protocol::Resp2 && client.subscription_count() > 0;
    // By the full name: a subcommand may be called like a command, as SENTINEL RESET is.
    let name = &front.table.catalog().entry(call.command).full_name;
    if subscribed && !is_allowed_while_subscribed(name) {
        return Some(
            format!(
                "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
                 RESET are allowed in this context"
            )
            .into(),
        );
    }
    None
}

impl<P: Program> Front<P> {
    /// Whether the client of a call may read every key. One that has gone, or is our master, may.
    pub fn has_all_keys(&self, call: &Call<'_>) -> bool {
        let client = self.clients.get(call.client);
        client.is_none_or(|client| {
            client.kind == ClientKind::Master
                || self
                    .acl
                    .has_all_keys(&client.user, call.command, call.words)
        })
    }

    /// The error of a queued call whose client has lost the right to it since; puts it into `ACL LOG`.
    pub fn lost_right(&mut self, call: &Call<'_>) -> Option<String> {
        let user = &self.clients.current(call.client).user;
        let denied = self.acl.check(user, call.command, call.words).err()?;
        self.log_denied(call, &denied);
        let reason = match denied {
            Denied::Command => "no permission to execute the command or subcommand",
            Denied::Key(_) => "no permission to touch the specified keys",
            Denied::Channel(_) => "no permission to access one of the channels used as arguments",
        };
        Some(format!(
            "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC \
             call. This command is no longer allowed for the following reason: {reason}"
        ))
    }

    /// Puts a denial into `ACL LOG`.
    fn log_denied(&mut self, call: &Call<'_>, denied: &Denied) {
        let catalog = self.table.catalog();
        let (reason, object) = match denied {
            Denied::Command => {
                let name = &catalog.entry(call.command).full_name;
                (Reason::Command, name.as_bytes().to_vec())
            }
            Denied::Key(at) => (Reason::Key, call.words[*at].to_vec()),
            Denied::Channel(at) => (Reason::Channel, call.words[*at].to_vec()),
        };
        let username = self
            .clients
            .current(call.client)
            .user
            .borrow()
            .name()
            .to_vec();
        self.log_refused(call, reason, object, username);
    }

    /// Puts a refusal into `ACL LOG`.
    pub(super) fn log_refused(
        &mut self,
        call: &Call<'_>,
        reason: Reason,
        object: Vec<u8>,
        username: Vec<u8>,
    ) {
        let client = self.clients.current(call.client);
        self.acl.log.add(LogEntry {
            count: 1,
            reason,
            context: if client.multi.is_some() {
                "multi"
            } else {
                "toplevel"
            },
            object,
            username,
            at: call.now.mono,
            client: client_line(client, self.table.catalog(), call.now.mono).into_bytes(),
        });
    }
}

/// The error of a command called with too few or too many words.
pub fn arity_error(full_name: &str) -> String {
    format!("ERR wrong number of arguments for '{full_name}' command")
}

pub(super) fn has_arity(arity: i32, words: usize) -> bool {
    let wanted = usize::try_from(arity.unsigned_abs()).unwrap_or(usize::MAX);
    if arity >= 0 {
        words == wanted
    } else {
        words >= wanted
    }
}

fn is_allowed_while_subscribed(name: &str) -> bool {
    matches!(
        name,
        "ping"
            | "subscribe"
            | "unsubscribe"
            | "psubscribe"
            | "punsubscribe"
            | "ssubscribe"
            | "sunsubscribe"
            | "quit"
            | "reset"
    )
}

fn is_paused<P: Program>(program: &mut P, call: &Call<'_>) -> bool {
    let front = program.front();
    let Some(mode) = front.paused(call.now.mono) else {
        return false;
    };
    if front.clients.current(call.client).kind != ClientKind::Normal {
        return false;
    }
    match mode {
        PauseMode::All => true,
        PauseMode::Write => program.is_write(call),
    }
}

impl Call<'_> {
    /// The same client and time with other words: for what a transaction has queued.
    pub fn queued<'b>(
        &self,
        words: &'b [Word<'b>],
        command: CommandId,
        info: &'static super::CommandInfo,
    ) -> Call<'b> {
        Call {
            client: self.client,
            words,
            command,
            info,
            now: self.now,
        }
    }
}
