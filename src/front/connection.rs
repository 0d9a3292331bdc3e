//! One client's connection: bytes in, requests run, bytes out.

use std::cell::RefCell;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::client::{ClientId, ClientKind, Closing, Peer};
use super::dispatch::{Outcome, dispatch};
use super::requests::{AHEAD_MAX, Requests};
use super::unread::Unread;
use super::{Front, Program};
use crate::clock::Now;
use crate::resp::{Limits, RequestDecoder, Word};

/// Bytes for which there is room at least when a connection reads, into a buffer that all of them share.
///
/// What has been read is run where it lies: the words of requests are parts of that buffer. What a turn leaves
/// over is copied out; so is what a command keeps, see [`Word`]. Long words are read into buffers of their own instead,
/// see [`OWN_BUFFER_MIN`](crate::resp::OWN_BUFFER_MIN).
const READ_BYTES: usize = 64 * 1024;

/// The most requests of one client that run before others get their turn.
const TURN_COMMANDS_MAX: usize = 1024;

/// The most bytes of replies to one client before others get their turn; the last reply may exceed it. Requests
/// with long replies, such as COMMAND, take long each.
const TURN_REPLY_BYTES_MAX: usize = 256 * 1024;

/// Bytes that are read from one client before the system is asked who else is ready; the last read may exceed it. Who
/// sends as fast as we read could go on for long otherwise, with a word of 512 MB as with a million short ones.
const TURN_INPUT_BYTES_MAX: usize = 256 * 1024;

/// Bytes that are read ahead of a client whose replies wait: for a write to become durable, or for the client
/// itself to read those that it has.
const READ_AHEAD_BYTES: usize = 64 * 1024;

/// The most bytes of one request with all its words, unless `client-query-buffer-limit` is more. That counts only what has
/// not been taken apart into words, as with redis-server, which has no limit for all of them.
const REQUEST_BYTES_MAX: usize = 1 << 30;

/// The most bytes of unread replies to a client that must still authenticate before it is read no more, not even ahead: it
/// has nothing to ask for that is longer.
const UNAUTHENTICATED_STALL_BYTES: usize = 4 * 1024;

/// How long the last bytes to a client whose replies have been written may take: the end of its TLS session, or
/// why it is refused.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

thread_local! {
    /// The shared read buffer, empty. Taken for a `poll_read`, and kept for the turn that follows at once.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };

    /// The room for the requests of one turn, empty.
    static AHEAD: RefCell<Requests<'static>> = RefCell::default();
}

/// Serves one accepted connection until it ends.
///
/// Runs on the thread that owns `program`. `stream` is TCP, TLS after its handshake, or a Unix socket.
pub async fn serve<P, S>(program: Rc<RefCell<P>>, mut stream: S, peer: Peer)
where
    P: Program,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let accepted = {
        let mut program = program.borrow_mut();
        let now = program.now();
        program.front().accept(peer, now)
    };
    let id = match accepted {
        Ok(id) => id,
        Err(refusal) => {
            let tell = async {
                // The client may have gone already; there is nobody else to tell.
                let _ = stream.write_all(refusal.as_bytes()).await;
                let _ = stream.shutdown().await;
            };
            let _ = tokio::time::timeout(GOODBYE_MAX, tell).await;
            return;
        }
    };
    let mut connection = Connection {
        program,
        id,
        batch: Vec::new(),
        rest: Unread::default(),
        decoder: RequestDecoder::default(),
        postponed: None,
        has_more: false,
        must_flush: false,
        has_run: false,
        read_in_a_row: 0,
    };
    let is_orderly = loop {
        let now = match poll_fn(|cx| connection.poll_event(&mut stream, cx)).await {
            Event::Closed => break connection.end(),
            Event::Input(now) => now,
        };
        let is_used_up = connection.run_turn(now);
        if is_used_up || connection.read_in_a_row >= TURN_INPUT_BYTES_MAX {
            // Others first, those too of which only the system knows that they are ready; then the rest. The replies so
            // far are written by the next poll.
            connection.read_in_a_row = 0;
            tokio::task::yield_now().await;
        } else if connection.has_replies() {
            // A write wakes whoever waits for it. When all those that are ready have run, what they have for one process
            // at the other end leaves close together, and that is woken once. As with redis-server they wait for a SAVE
            // of one of those, too.
            behind_others().await;
        }
    };
    // TLS says goodbye, which waits behind what the client has not read. It is in no table any more: nothing else
    // would end that.
    if is_orderly {
        let _ = tokio::time::timeout(GOODBYE_MAX, stream.shutdown()).await;
    } else {
        poll_fn(|cx| {
            let _ = Pin::new(&mut stream).poll_shutdown(cx);
            Poll::Ready(())
        })
        .await;
    }
}

/// Goes on when all tasks that are ready have run; unlike `yield_now` without asking the system for more of them.
async fn behind_others() {
    let mut has_waited = false;
    poll_fn(|cx| {
        if has_waited {
            return Poll::Ready(());
        }
        has_waited = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Why the connection's task goes on.
enum Event {
    /// There may be a complete request; a turn begins now.
    Input(Now),
    /// The connection is over.
    Closed,
}

struct Connection<P: Program> {
    program: Rc<RefCell<P>>,
    id: ClientId,
    /// What has just been read, for the turn that follows at once. `rest` is empty then.
    batch: Vec<u8>,
    /// What else has been read and not been decoded yet. Much, when the client has sent it while it had to wait.
    rest: Unread,
    decoder: RequestDecoder,
    /// A request that was put off by a pause.
    postponed: Option<Vec<Word<'static>>>,
    /// `rest` may hold a complete request that has not been run. So it does while a part of it is not in its front.
    has_more: bool,
    must_flush: bool,
    /// A turn has just ended.
    has_run: bool,
    /// Bytes that have been read since the system was asked for others, or since there was nothing to read.
    read_in_a_row: usize,
}

impl<P: Program> Connection<P> {
    /// Writes what can be written, then reads what can be read.
    fn poll_event<S>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<Event>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let program = Rc::clone(&self.program);
        let program = &mut *program.borrow_mut();
        if self.write_output(program, stream, cx).is_break() {
            return Poll::Ready(Event::Closed);
        }
        // Not before: whoever goes has had its chance to hear what it was told.
        let front = program.front();
        front.check_client_memory(self.id);
        let stall_bytes = stall_bytes(front, self.id);
        let client = front.clients.current(self.id);
        let may_run = client.is_ready() && client.output.len() < stall_bytes;
        if may_run && (self.has_more || self.postponed.is_some()) {
            return Poll::Ready(Event::Input(program.now()));
        }
        if client.closing != Closing::No {
            return Poll::Pending;
        }
        if client.sends_no_more {
            return self.poll_end(program);
        }
        if may_run {
            return self.poll_input(program, stream, cx, true);
        }
        self.poll_ahead(program, stream, cx)
    }

    /// Writes as much as the socket takes of what may leave; what comes later wakes `cx`. Breaks when the connection is
    /// over.
    fn write_output<S>(
        &mut self,
        program: &mut P,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> ControlFlow<()>
    where
        S: AsyncWrite + Unpin,
    {
        let client = program.front().clients.current(self.id);
        client.is_to_write = false;
        client.wakes(cx.waker());
        if client.closing == Closing::Now {
            return ControlFlow::Break(());
        }
        let may_leave = !client.output.front_to_leave().is_empty();
        if client.held.is_some() && !may_leave && !self.must_flush {
            return ControlFlow::Continue(());
        }
        let mut written = 0;
        while !client.output.front_to_leave().is_empty() {
            match Pin::new(&mut *stream).poll_write(cx, client.output.front_to_leave()) {
                Poll::Ready(Ok(n)) if n > 0 => {
                    client.output.advance(n);
                    written += n;
                }
                Poll::Ready(Ok(_) | Err(_)) => return ControlFlow::Break(()),
                Poll::Pending => break,
            }
        }
        self.must_flush |= written > 0;
        if self.must_flush {
            match Pin::new(&mut *stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.must_flush = false,
                Poll::Ready(Err(_)) => return ControlFlow::Break(()),
                Poll::Pending => {}
            }
        }
        let is_drained = client.held.is_none() && client.output.is_empty() && !self.must_flush;
        if is_drained && client.closing == Closing::AfterReplies {
            return ControlFlow::Break(());
        }
        let tell = is_drained && std::mem::take(&mut client.notify_drained);
        let is_replica = client.kind == ClientKind::Replica;
        let stats = &mut program.front().stats;
        if is_replica {
            stats.repl_output_bytes += written as u64;
        } else {
            stats.net_output_bytes += written as u64;
        }
        stats.writes += u64::from(written > 0);
        // Whoever takes what it is sent is there, however long that takes. After a turn that is known.
        if written > 0 && !std::mem::take(&mut self.has_run) {
            let now = program.now().mono;
            program.front().clients.current(self.id).last_interaction = now;
        }
        if tell {
            program.drained(self.id);
        }
        ControlFlow::Continue(())
    }

    /// Reads once, and counts what has come.
    fn poll_input<S>(
        &mut self,
        program: &mut P,
        stream: &mut S,
        cx: &mut Context<'_>,
        turn_follows: bool,
    ) -> Poll<Event>
    where
        S: AsyncRead + Unpin,
    {
        match self.poll_read(stream, cx, turn_follows) {
            Poll::Pending => {
                self.read_in_a_row = 0;
                self.count_room(program)
            }
            Poll::Ready(Ok(n)) if n > 0 => {
                self.read_in_a_row += n;
                let now = program.now();
                let front = program.front();
                front.stats.net_input_bytes += n as u64;
                front.stats.reads += 1;
                let client = front.clients.current(self.id);
                client.last_interaction = now.mono;
                client.query_bytes = self.query_bytes();
                client.query_free_bytes = self.decoder.spare_bytes();
                self.has_more = true;
                Poll::Ready(Event::Input(now))
            }
            Poll::Ready(Ok(_)) => {
                let now = program.now();
                let client = program.front().clients.current(self.id);
                client.last_interaction = now.mono;
                client.sends_no_more = true;
                self.poll_end(program)
            }
            Poll::Ready(Err(_)) => Poll::Ready(Event::Closed),
        }
    }

    /// Reads what a client sends that has to wait.
    fn poll_ahead<S>(
        &mut self,
        program: &mut P,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Event>
    where
        S: AsyncRead + Unpin,
    {
        // Whoever waits may do so for long, and must not be given anything when it has gone. Its end comes behind
        // all that it has sent; so that is read, as much as a client may have waiting.
        let front = program.front();
        let needs_auth = front.needs_auth(self.id);
        let waits = front.clients.current(self.id).blocked.is_some();
        let ahead_max = match (needs_auth, waits) {
            // It has to read what it was sent first.
            (true, false) => 0,
            (false, true) => usize::MAX,
            (true, true) | (false, false) => READ_AHEAD_BYTES,
        };
        while self.rest.len() < ahead_max {
            let now = match self.poll_input(program, stream, cx, false) {
                Poll::Ready(Event::Input(now)) => now,
                over @ (Poll::Ready(Event::Closed) | Poll::Pending) => return over,
            };
            self.check_limits(program, now);
            let front = program.front();
            front.check_client_memory(self.id);
            if !front.clients.current(self.id).is_open() {
                return Poll::Ready(Event::Closed);
            }
            if self.read_in_a_row >= TURN_INPUT_BYTES_MAX {
                self.read_in_a_row = 0;
                // Others first: this task is woken when they have had their turn.
                let _ = pin!(tokio::task::yield_now()).poll(cx);
                return Poll::Pending;
            }
        }
        Poll::Pending
    }

    /// The client will send nothing more; what can run now has run. It may still be there to read its replies.
    fn poll_end(&self, program: &mut P) -> Poll<Event> {
        let client = program.front().clients.current(self.id);
        let waits = client.blocked.is_some();
        // Replies that are not there yet are none that it could hear before it goes.
        let hears_more =
            client.held.is_some() || self.must_flush || !client.output.front_to_leave().is_empty();
        if client.kind != ClientKind::Normal || (waits && !hears_more) {
            return Poll::Ready(Event::Closed);
        }
        if waits {
            // What it waits for is not for it any more, nor does what is behind that run; but the replies in front of
            // it are still to come.
            program.gives_up(self.id);
            program.front().clients.stop_waiting(self.id);
        } else if self.has_more {
            // What it has sent before its end may have to run after a release, or when it has read some replies.
            return Poll::Pending;
        } else if !hears_more && client.output.is_empty() {
            return Poll::Ready(Event::Closed);
        }
        let client = program.front().clients.current(self.id);
        client.close(Closing::AfterReplies);
        Poll::Pending
    }

    /// Reads once; 0 at the end of the stream. What belongs to a long word goes to its own buffer, all else into the
    /// shared one. When a turn follows at once that is its batch, with what little was left over in front of it;
    /// else it is added to the rest.
    fn poll_read<S>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        turn_follows: bool,
    ) -> Poll<std::io::Result<usize>>
    where
        S: AsyncRead + Unpin,
    {
        if turn_follows
            && self.rest.is_empty()
            && let Some(mut room) = self.decoder.room()
        {
            room.set_limit(room.limit().min(TURN_INPUT_BYTES_MAX));
            return pin!(stream.read_buf(&mut room)).poll(cx);
        }
        let mut scratch = SCRATCH.take();
        let is_batch = turn_follows && self.rest.len() < READ_BYTES;
        let kept = if is_batch { self.rest.front() } else { &[] };
        let kept_len = kept.len();
        debug_assert!(
            !is_batch || kept_len == self.rest.len(),
            "what is behind is run first"
        );
        scratch.reserve(kept_len + READ_BYTES);
        scratch.extend_from_slice(kept);
        let read = pin!(stream.read_buf(&mut scratch)).poll(cx);
        if is_batch && matches!(read, Poll::Ready(Ok(1..))) {
            self.rest = Unread::default();
            self.batch = scratch;
        } else {
            self.rest.push(&scratch[kept_len..]);
            give_back(scratch);
        }
        read
    }

    /// Counts the room that was made for a long word, of which nothing more is there.
    fn count_room(&self, program: &mut P) -> Poll<Event> {
        let room = self.decoder.spare_bytes();
        if room > 0 {
            let front = program.front();
            front.clients.current(self.id).query_free_bytes = room;
            front.check_client_memory(self.id);
            if !front.clients.current(self.id).is_open() {
                return Poll::Ready(Event::Closed);
            }
        }
        Poll::Pending
    }

    /// What has been read and not been run. Bytes.
    fn query_bytes(&self) -> usize {
        self.batch.len() + self.rest.len() + self.decoder.held_bytes()
    }

    /// Takes the input back after a turn, without what has been run.
    fn forget_input(&mut self, batch: Vec<u8>, rest: Unread, used: usize) {
        self.rest = rest;
        if !batch.is_empty() {
            self.rest = Unread::from(&batch[used..]);
            give_back(batch);
            return;
        }
        let has_come = self.rest.advance(used);
        // No request is complete in what was in front.
        if !self.has_more {
            self.has_more = has_come || self.rest.join();
        }
    }

    /// Runs the requests that have arrived, up to the budget of a turn. True when that is used up. Whoever has to wait is
    /// not among those: it would get its turn before others who have waited for longer.
    fn run_turn(&mut self, mut now: Now) -> bool {
        let program = Rc::clone(&self.program);
        let program = &mut *program.borrow_mut();
        let batch = std::mem::take(&mut self.batch);
        let rest = std::mem::take(&mut self.rest);
        let input = if batch.is_empty() {
            rest.front()
        } else {
            &batch
        };
        let mut ahead: Requests<'_> = AHEAD.take();
        // Where the requests that have run end.
        let mut used = 0;
        self.has_more = true;
        self.has_run = true;
        let front = program.front();
        let queued = front.clients.current(self.id).output.len();
        let output_bytes_max =
            stall_bytes(front, self.id).min(queued.saturating_add(TURN_REPLY_BYTES_MAX));
        for _ in 0..TURN_COMMANDS_MAX {
            let client = program.front().clients.current(self.id);
            if !client.is_ready() || client.output.len() >= output_bytes_max {
                break;
            }
            let postponed = self.postponed.take();
            if postponed.is_none() && ahead.is_empty() {
                self.look_ahead(program, input, &mut ahead);
            }
            let words = match (&postponed, ahead.next()) {
                (Some(words), _) => &words[..],
                (None, Some((words, end))) => {
                    used = end;
                    words
                }
                (None, None) => {
                    self.has_more = false;
                    break;
                }
            };
            if dispatch(program, self.id, words, now) == Outcome::Paused {
                self.postponed = Some(words.iter().map(Word::keep).collect());
            }
            now = program.now_after(now);
        }
        if ahead.is_empty() {
            used = ahead.end;
        } else {
            // The others are decoded again when their time comes.
            self.decoder = RequestDecoder::default();
        }
        AHEAD.set(ahead.recycled());
        self.forget_input(batch, rest, used);
        program.end_turn(self.id);
        self.check_limits(program, now);
        let client = program.front().clients.current(self.id);
        client.is_to_write = !client.output.front_to_leave().is_empty();
        self.has_more && client.is_ready()
    }

    /// The turn has left replies that may leave.
    fn has_replies(&self) -> bool {
        let program = &mut *self.program.borrow_mut();
        program.front().clients.current(self.id).is_to_write
    }

    /// Decodes the next requests. An error in front of all of them is answered and ends the
    /// connection; one behind them waits until they have run.
    fn look_ahead<'a>(&mut self, program: &mut P, input: &'a [u8], ahead: &mut Requests<'a>) {
        let limits = self.request_limits(program);
        // A client that has yet to authenticate may do more after its next request.
        let count = if limits.is_unauthenticated() {
            1
        } else {
            AHEAD_MAX
        };
        ahead.clear();
        while ahead.len() < count {
            let mut at = ahead.end;
            let words = &mut ahead.words;
            match self.decoder.decode_onto(input, &mut at, &limits, words) {
                Ok(true) => {
                    if !ahead.note(at) {
                        program.heard(self.id);
                    }
                }
                Ok(false) => {
                    ahead.end = at;
                    break;
                }
                Err(_) if !ahead.is_empty() => {
                    self.decoder = RequestDecoder::default();
                    break;
                }
                Err(error) => {
                    let text = format!("ERR Protocol error: {error}");
                    program.refused(self.id, None, text.as_bytes());
                    let front = program.front();
                    front.stats.error_replies += 1;
                    let client = front.clients.current(self.id);
                    client.output.extend(format!("-{text}\r\n").as_bytes());
                    client.close(Closing::AfterReplies);
                    tracing::debug!(client = %self.id, addr = %client.addr, %error, "protocol error");
                    break;
                }
            }
        }
        if ahead.len() > 1 {
            program.foresee(self.id, ahead);
        }
    }

    /// What a request of this client may cost us.
    fn request_limits(&self, program: &mut P) -> Limits {
        let front = program.front();
        if front.needs_auth(self.id) {
            return Limits::UNAUTHENTICATED;
        }
        Limits {
            bulk_bytes_max: front.settings.bulk_bytes_max.min(P::REQUEST_BYTES_MAX),
            ..Limits::CLIENT
        }
    }

    fn check_limits(&self, program: &mut P, now: Now) {
        let front = program.front();
        let query_bytes = self.query_bytes();
        let unread_bytes_max = front.settings.query_bytes_max;
        let unread_bytes = self.batch.len() + self.rest.len() + self.decoder.open_bytes();
        let request_bytes_max = P::REQUEST_BYTES_MAX.min(unread_bytes_max.max(REQUEST_BYTES_MAX));
        let is_too_much = unread_bytes > unread_bytes_max
            || query_bytes > request_bytes_max.saturating_add(READ_AHEAD_BYTES);
        let limits = front.clients.limits;
        let client = front.clients.current(self.id);
        client.query_bytes = query_bytes;
        client.query_free_bytes = self.decoder.spare_bytes();
        if is_too_much || client.is_over_output_limit(&limits, now.mono) {
            tracing::warn!(
                client = %self.id, addr = %client.addr, query_bytes,
                output_bytes = client.output.len(),
                "client closed: over client-query-buffer-limit or client-output-buffer-limit"
            );
            client.close(Closing::Now);
        }
    }

    /// The client goes. False when it was cut off, with what was queued for it.
    fn end(&self) -> bool {
        let program = &mut *self.program.borrow_mut();
        program.closed(self.id);
        let front = program.front();
        front.pubsub.forget(&mut front.clients, self.id);
        let client = front.clients.remove(self.id);
        client.is_some_and(|client| client.is_open())
    }
}

/// What may wait to be written to a client before its requests no longer run. A replica's always do: what waits for it
/// is no reply, and nobody hears its acknowledgements otherwise.
fn stall_bytes<P: Program>(front: &mut Front<P>, id: ClientId) -> usize {
    if front.needs_auth(id) {
        return UNAUTHENTICATED_STALL_BYTES;
    }
    match front.clients.current(id).kind {
        ClientKind::Replica => usize::MAX,
        ClientKind::Normal | ClientKind::Master => P::OUTPUT_STALL_BYTES,
    }
}

/// Empties the shared read buffer for whoever reads next.
fn give_back(mut scratch: Vec<u8>) {
    scratch.clear();
    SCRATCH.set(scratch);
}

#[cfg(test)]
mod tests;
