//! One client's connection: bytes in, requests run, bytes out.

use std::cell::RefCell;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::client::{ClientId, ClientKind, Closing, Peer};
use super::dispatch::{Outcome, dispatch};
use super::requests::{AHEAD_MAX, Requests};
use super::unread::Unread;
use super::{Front, Program};
use crate::clock::Now;
use crate::resp::{Limits, OWN_BUFFER_MIN, RequestDecoder};

/// Bytes read at a time, into a buffer that all connections share.
///
/// What has been read is run where it lies: the words of requests are parts of that buffer. What a turn leaves
/// over is copied out; so must be what a command keeps, see [`Call::words`](super::Call::words). Long words are
/// read into buffers of their own instead, see [`OWN_BUFFER_MIN`].
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
    /// The shared read buffer. Taken for the length of one `poll_read`; what was read is split off, and its
    /// room is there again when nobody holds a part of it any more.
    static SCRATCH: RefCell<BytesMut> = RefCell::new(BytesMut::new());
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
        batch: Bytes::new(),
        rest: Unread::default(),
        decoder: RequestDecoder::default(),
        ahead: Requests::default(),
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
    batch: Bytes,
    /// What else has been read and not been decoded yet. Much, when the client has sent it while it had to wait.
    rest: Unread,
    decoder: RequestDecoder,
    /// Requests that have been decoded and not been run; none between two turns.
    ahead: Requests,
    /// A request that was put off by a pause.
    postponed: Option<Vec<Bytes>>,
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
            self.batch = scratch.split().freeze();
        } else {
            self.rest.push(&scratch[kept_len..]);
            scratch.clear();
        }
        SCRATCH.set(scratch);
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

    /// Drops what has been run from the input.
    fn forget_input(&mut self, batch: Bytes, used: usize) {
        if !batch.is_empty() {
            self.decoder.detach();
            self.rest = Unread::from(&batch[used..]);
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
        let mut ahead = std::mem::take(&mut self.ahead);
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
                self.look_ahead(program, &batch, &mut ahead);
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
                self.postponed = Some(words.iter().map(kept).collect());
            }
            now = program.now_after(now);
        }
        if ahead.is_empty() {
            used = ahead.end;
        } else {
            // The others are decoded again when their time comes.
            self.decoder = RequestDecoder::default();
        }
        ahead.clear();
        ahead.end = 0;
        self.ahead = ahead;
        self.forget_input(batch, used);
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
    fn look_ahead(&mut self, program: &mut P, batch: &Bytes, ahead: &mut Requests) {
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
            let decoded = if batch.is_empty() {
                self.decoder
                    .decode_onto(self.rest.front(), &mut at, &limits, words)
            } else {
                self.decoder.decode_onto(batch, &mut at, &limits, words)
            };
            match decoded {
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

/// A word to be kept beyond the command that it came with: a copy, so that it does not hold the whole buffer
/// that it was read into, unless that is its own.
pub fn kept(word: &Bytes) -> Bytes {
    if word.len() < OWN_BUFFER_MIN {
        Bytes::copy_from_slice(word)
    } else {
        word.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Mono;
    use crate::front::toy::Toy;
    use crate::front::{ClientAddr, LINGER_MAX};
    use crate::resp::Value;
    use std::cell::Cell;
    use tokio::io::{DuplexStream, ReadBuf};
    use tokio::task::LocalSet;

    fn connect(toy: &Rc<RefCell<Toy>>) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        tokio::task::spawn_local(serve(Rc::clone(toy), theirs, peer()));
        ours
    }

    fn peer() -> Peer {
        let addr = ClientAddr::Tcp("127.0.0.1:1".parse().unwrap());
        Peer {
            addr: addr.clone(),
            laddr: addr,
            fd: -1,
        }
    }

    /// A connection that notes how many turns were over when it was first written to.
    struct Noting {
        inner: DuplexStream,
        turns: Rc<Cell<usize>>,
        at_write: Rc<Cell<Option<usize>>>,
    }

    impl AsyncRead for Noting {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<std::io::Result<()>> {
            Pin::new(&mut self.inner).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Noting {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<std::io::Result<usize>> {
            let first = self.at_write.get().or(Some(self.turns.get()));
            self.at_write.set(first);
            Pin::new(&mut self.inner).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Pin::new(&mut self.inner).poll_flush(cx)
        }

        fn poll_shutdown(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<std::io::Result<()>> {
            Pin::new(&mut self.inner).poll_shutdown(cx)
        }
    }

    #[test]
    fn replies_leave_when_all_that_are_ready_have_run() {
        run(async {
            let toy = Toy::shared();
            let mut clients = Vec::new();
            for _ in 0..3 {
                let (inner, mut client) = tokio::io::duplex(1 << 10);
                let at_write = Rc::new(Cell::new(None));
                let noting = Noting {
                    inner,
                    turns: Rc::clone(&toy.borrow().turns),
                    at_write: Rc::clone(&at_write),
                };
                tokio::task::spawn_local(serve(Rc::clone(&toy), noting, peer()));
                client.write_all(b"PING\r\n").await.unwrap();
                clients.push((client, at_write));
            }
            for (client, at_write) in &mut clients {
                expect(client, "+PONG\r\n").await;
                assert_eq!(at_write.get(), Some(3), "turns before the first byte");
            }
        });
    }

    #[test]
    fn nobody_is_evicted_for_replies_that_could_not_leave_yet() {
        run(async {
            let toy = Toy::shared();
            toy.borrow_mut().front.limit_client_memory(50_000);
            let [mut reader, mut other, mut third] = [(); 3].map(|()| {
                let (ours, theirs) = tokio::io::duplex(1 << 20);
                tokio::task::spawn_local(serve(Rc::clone(&toy), theirs, peer()));
                ours
            });
            let subscribe = "HELLO 3\r\nSUBSCRIBE a\r\n";
            reader.write_all(subscribe.as_bytes()).await.unwrap();
            let mut greeting = Vec::new();
            while !greeting.ends_with(b"$1\r\na\r\n:1\r\n") {
                assert!(reader.read_buf(&mut greeting).await.unwrap() > 0);
            }
            // All are ready at once. What the second one does has the first counted anew, and the third has the sum
            // looked at.
            reader.write_all(b"REPEAT 1 60000\r\n").await.unwrap();
            other.write_all(b"PUBLISH a m\r\n").await.unwrap();
            third.write_all(b"PING\r\n").await.unwrap();
            let mut reply = vec![0; 60_000];
            reader.read_exact(&mut reply).await.unwrap();
            expect(&mut other, ":1\r\n").await;
            assert_eq!(toy.borrow().front.stats.evicted_clients, 0);
        });
    }

    async fn ask(stream: &mut DuplexStream, request: &str, want: &str) {
        stream.write_all(request.as_bytes()).await.unwrap();
        expect(stream, want).await;
    }

    async fn expect(stream: &mut DuplexStream, want: &str) {
        let mut got = vec![0; want.len()];
        stream.read_exact(&mut got).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&got), want);
    }

    /// What a test waits for and never happens fails it.
    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let test = async { tokio::time::timeout(Duration::from_secs(60), test).await };
        let ended = LocalSet::new().block_on(&runtime, test);
        assert!(ended.is_ok(), "what the test waits for does not happen");
    }

    #[test]
    fn a_batch_is_one_turn_and_errors_keep_the_connection() {
        run(async {
            let toy = Toy::shared();
            let mut client = connect(&toy);
            ask(
                &mut client,
                "PING\r\nfoo bar\r\n*2\r\n$4\r\nping\r\n$1\r\nx\r\n",
                "+PONG\r\n-ERR unknown command 'foo', with args beginning with: 'bar' \r\n$1\r\nx\r\n",
            )
            .await;
            assert_eq!(toy.borrow().turns.get(), 1);
            ask(
                &mut client,
                "*1\r\n:\r\n",
                "-ERR Protocol error: expected '$', got ':'\r\n",
            )
            .await;
            assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0, "closed");
            while !toy.borrow().front.clients.is_empty() {
                tokio::task::yield_now().await;
            }
        });
    }

    #[test]
    fn a_request_larger_than_the_query_buffer_ends_the_connection() {
        run(async {
            let toy = Toy::shared();
            toy.borrow_mut().front.settings.query_bytes_max = 1000;
            let mut client = connect(&toy);
            let mut request = b"PING\r\n*2\r\n$3\r\nGET\r\n$5000\r\n".to_vec();
            request.resize(2000, b'x');
            client.write_all(&request).await.unwrap();
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).await.unwrap();
            assert_eq!(heard, b"", "what was queued goes with the connection");
            assert!(toy.borrow().front.clients.is_empty());
        });
    }

    /// A stream that cannot be ended for as long as nobody reads what was written before, as with TLS.
    struct Unread(DuplexStream);

    impl AsyncRead for Unread {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut tokio::io::ReadBuf<'_>,
        ) -> Poll<std::io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Unread {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<std::io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Pending
        }
    }

    #[test]
    fn a_session_that_cannot_be_ended_is_dropped() {
        run(async {
            for how in [Closing::Now, Closing::AfterReplies] {
                let toy = Toy::shared();
                let (mut client, theirs) = tokio::io::duplex(1 << 16);
                let served = serve(Rc::clone(&toy), Unread(theirs), peer());
                let served = tokio::task::spawn_local(served);
                ask(&mut client, "PING\r\n", "+PONG\r\n").await;
                let close = |toy: &mut Toy| toy.front.clients.current(ClientId(1)).close(how);
                close(&mut toy.borrow_mut());
                served.await.unwrap();
                assert!(toy.borrow().front.clients.is_empty());
            }
        });
    }

    #[test]
    fn one_that_is_to_go_may_read_slowly_but_not_cease() {
        run(async {
            let toy = Toy::shared();
            let mut client = connect(&toy);
            client.write_all(b"PING\r\n").await.unwrap();
            client.read_exact(&mut [0; 7]).await.unwrap();
            let queued = 1 << 19;
            {
                let front = &mut toy.borrow_mut().front;
                let client = front.clients.current(ClientId(1));
                client.output.push(Bytes::from(vec![b'x'; queued]));
                client.close(Closing::AfterReplies);
            }
            let tick_later = |later| {
                let toy = &mut *toy.borrow_mut();
                toy.now.mono += later;
                toy.front.tick(toy.now.mono);
            };
            let mut chunk = vec![0; 1 << 16];
            for _ in 0..queued / chunk.len() / 2 {
                client.read_exact(&mut chunk).await.unwrap();
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                tick_later(LINGER_MAX * 2 / 3);
            }
            tick_later(LINGER_MAX * 2);
            let mut left = Vec::new();
            client.read_to_end(&mut left).await.unwrap();
            assert!(left.len() < queued / 2, "it was cut off");
        });
    }

    #[test]
    fn a_long_pipeline_takes_more_than_one_turn() {
        run(async {
            let toy = Toy::shared();
            let mut client = connect(&toy);
            let count = TURN_COMMANDS_MAX + 10;
            let request = "PING\r\n".repeat(count);
            ask(&mut client, &request, &"+PONG\r\n".repeat(count)).await;
            assert!(
                toy.borrow().turns.get() >= 2,
                "others get their turn in between"
            );
        });
    }

    #[test]
    fn who_sends_without_a_pause_takes_more_than_one_turn() {
        const LEN: usize = 8 * TURN_INPUT_BYTES_MAX;
        const WORDS: usize = LEN / 7;
        let long_word = format!("*2\r\n$4\r\nPING\r\n${LEN}\r\n{}", "x".repeat(LEN - 1));
        let many_words = format!("*{}\r\n{}", WORDS + 1, "$1\r\nx\r\n".repeat(WORDS));
        for request in [long_word, many_words] {
            run(async {
                let toy = Toy::shared();
                let (mut client, theirs) = tokio::io::duplex(2 * LEN);
                tokio::task::spawn_local(serve(Rc::clone(&toy), theirs, peer()));
                client.write_all(request.as_bytes()).await.unwrap();
                let mut read = 0;
                while read < request.len() as u64 {
                    tokio::task::yield_now().await;
                    let all = toy.borrow().front.stats.net_input_bytes;
                    let in_turn = usize::try_from(all - read).unwrap();
                    assert!(in_turn < 2 * TURN_INPUT_BYTES_MAX, "{in_turn}");
                    read = all;
                }
            });
        }
    }

    #[test]
    fn long_replies_take_more_than_one_turn() {
        run(async {
            let toy = Toy::shared();
            let mut client = connect(&toy);
            let mut left = 3 * TURN_REPLY_BYTES_MAX;
            // Few enough for one turn by their number.
            let requests = "COMMAND\r\n".repeat(TURN_COMMANDS_MAX / 2);
            client.write_all(requests.as_bytes()).await.unwrap();
            let mut chunk = vec![0; 64 * 1024];
            while left > 0 {
                left = left.saturating_sub(client.read(&mut chunk).await.unwrap());
            }
            assert!(
                toy.borrow().turns.get() >= 3,
                "others get their turn in between"
            );
        });
    }

    #[test]
    fn who_has_yet_to_authenticate_may_leave_little_unread() {
        const COUNT: usize = 50_000;
        run(async {
            let toy = Toy::shared();
            toy.borrow_mut().front.acl.set_requirepass(Some(b"secret"));
            let (mut reader, mut writer) = tokio::io::split(connect(&toy));
            tokio::task::spawn_local(async move {
                let requests = "a\r\n".repeat(COUNT) + "AUTH secret\r\nPING\r\n";
                writer.write_all(requests.as_bytes()).await.unwrap();
            });
            for _ in 0..2000 {
                tokio::task::yield_now().await;
            }
            {
                let front = &mut toy.borrow_mut().front;
                let client = front.clients.current(ClientId(1));
                let unread = client.output.len();
                let most = UNAUTHENTICATED_STALL_BYTES..=UNAUTHENTICATED_STALL_BYTES + 100;
                assert!(most.contains(&unread), "{unread} bytes");
                assert!(client.query_bytes <= READ_BYTES);
            }
            let mut heard = Vec::new();
            while !heard.ends_with(b"+OK\r\n+PONG\r\n") {
                assert_ne!(reader.read_buf(&mut heard).await.unwrap(), 0);
            }
            assert_eq!(memchr::memchr_iter(b'\n', &heard).count(), COUNT + 2);
        });
    }

    #[test]
    fn what_waits_for_a_replica_does_not_keep_its_acknowledgements_back() {
        run(async {
            let toy = Toy::shared();
            let (mut normal, mut replica) = (connect(&toy), connect(&toy));
            for client in [&mut normal, &mut replica] {
                ask(client, "PING\r\n", "+PONG\r\n").await;
            }
            for client in toy.borrow_mut().front.clients.iter_mut() {
                client
                    .output
                    .push(Bytes::from(vec![b'x'; 2 * Toy::OUTPUT_STALL_BYTES]));
                if client.id == ClientId(2) {
                    client.kind = ClientKind::Replica;
                }
            }
            let executed = || toy.borrow().front.stats.commands;
            normal.write_all(b"PING\r\nPING\r\n").await.unwrap();
            replica.write_all(b"PING\r\nPING\r\n").await.unwrap();
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            assert_eq!(executed(), 4, "the replica's alone");
        });
    }

    #[test]
    fn a_waiting_client_keeps_its_later_commands_back() {
        run(async {
            let toy = Toy::shared();
            let mut client = connect(&toy);
            ask(&mut client, "PING\r\nwait\r\nPING 2\r\n", "+PONG\r\n").await;
            let on = toy.borrow().wait.unwrap();
            assert!(toy.borrow_mut().front.clients.resolve(on, &Value::ok()));
            expect(&mut client, "+OK\r\n$1\r\n2\r\n").await;
            assert!(!toy.borrow_mut().front.clients.resolve(on, &Value::ok()));
        });
    }

    #[test]
    fn a_client_that_goes_while_it_waits_is_noticed_behind_all_that_it_sent() {
        run(async {
            let toy = Toy::shared();
            let mut client = connect(&toy);
            ask(&mut client, "PING\r\nwait\r\n", "+PONG\r\n").await;
            let on = toy.borrow().wait.unwrap();
            let requests = "PING\r\n".repeat(READ_AHEAD_BYTES);
            client.write_all(requests.as_bytes()).await.unwrap();
            drop(client);
            while !toy.borrow().front.clients.is_empty() {
                tokio::task::yield_now().await;
            }
            assert!(!toy.borrow_mut().front.clients.resolve(on, &Value::ok()));
            assert_eq!(toy.borrow().front.stats.commands, 2);
        });
    }

    #[test]
    fn what_was_sent_while_it_waited_runs_then() {
        const LEN: usize = 6 * READ_AHEAD_BYTES;
        let word = "x".repeat(LEN);
        // More than lies in one piece, which may end where a request does, or in a long word, or elsewhere.
        let cases = [
            ("PING 1\r\n", "$1\r\n1\r\n", LEN / 8),
            ("PING\r\n", "+PONG\r\n", 4 * READ_AHEAD_BYTES),
        ]
        .map(|(request, reply, count)| (request.repeat(count), reply.repeat(count)));
        let long = (
            format!("*2\r\n$4\r\nPING\r\n${LEN}\r\n{word}\r\n"),
            format!("${LEN}\r\n{word}\r\n"),
        );
        for (requests, replies) in cases.into_iter().chain([long]) {
            for is_last in [false, true] {
                run(async {
                    let toy = Toy::shared();
                    let mut client = connect(&toy);
                    ask(&mut client, "PING\r\nwait\r\n", "+PONG\r\n").await;
                    let on = toy.borrow().wait.unwrap();
                    let before = toy.borrow().front.stats.net_input_bytes;
                    client.write_all(requests.as_bytes()).await.unwrap();
                    let sent = before + requests.len() as u64;
                    while toy.borrow().front.stats.net_input_bytes < sent {
                        tokio::task::yield_now().await;
                    }
                    assert!(toy.borrow_mut().front.clients.resolve(on, &Value::ok()));
                    if is_last {
                        client.shutdown().await.unwrap();
                    }
                    expect(&mut client, &("+OK\r\n".to_owned() + &replies)).await;
                });
            }
        }
    }

    #[test]
    fn room_for_a_word_that_was_only_announced_is_the_clients() {
        run(async {
            let toy = Toy::shared();
            let mut client = connect(&toy);
            let announced = format!("*1\r\n${}\r\n", 2 * OWN_BUFFER_MIN);
            client.write_all(announced.as_bytes()).await.unwrap();
            let room = || {
                let toy = toy.borrow();
                let client = toy.front.clients.iter().next();
                client.map_or(0, |client| client.query_free_bytes)
            };
            while room() < OWN_BUFFER_MIN {
                tokio::task::yield_now().await;
            }
        });
    }

    #[test]
    fn a_client_that_waits_may_not_send_more_than_the_query_buffer_holds() {
        run(async {
            let toy = Toy::shared();
            toy.borrow_mut().front.settings.query_bytes_max = 2 * READ_AHEAD_BYTES;
            let mut client = connect(&toy);
            ask(&mut client, "PING\r\nwait\r\n", "+PONG\r\n").await;
            let requests = "PING\r\n".repeat(READ_AHEAD_BYTES);
            assert!(
                client.write_all(requests.as_bytes()).await.is_err(),
                "closed"
            );
        });
    }

    #[test]
    fn commands_behind_a_reply_still_to_come_run_and_are_answered_in_order() {
        run(async {
            let toy = Toy::shared();
            let mut client = connect(&toy);
            ask(&mut client, "PING\r\nlater\r\nPING 2\r\n", "+PONG\r\n").await;
            let first = toy.borrow().wait.unwrap();
            client
                .write_all(b"later\r\nPING 3\r\n*1\r\n:\r\n")
                .await
                .unwrap();
            while toy.borrow().front.stats.commands < 5 {
                tokio::task::yield_now().await;
            }
            let second = toy.borrow().wait.unwrap();
            let resolve = |on| toy.borrow_mut().front.clients.resolve(on, &Value::ok());
            assert!(resolve(second));
            let mut byte = [0; 1];
            let early = client.read(&mut byte);
            tokio::select! {
                biased;
                _ = early => panic!("a reply left before the one in front of it"),
                () = tokio::task::yield_now() => {}
            }
            assert!(resolve(first));
            expect(
                &mut client,
                "+OK\r\n$1\r\n2\r\n+OK\r\n$1\r\n3\r\n-ERR Protocol error: expected '$', got ':'\r\n",
            )
            .await;
            assert_eq!(client.read(&mut byte).await.unwrap(), 0, "closed");
        });
    }

    #[test]
    fn replies_still_to_come_are_counted_and_forgotten_with_the_client() {
        run(async {
            let toy = Toy::shared();
            let mut client = connect(&toy);
            let mut request = "later\r\n".repeat(2000);
            request.insert_str(0, "PING\r\n");
            ask(&mut client, &request, "+PONG\r\n").await;
            let executed = || toy.borrow().front.stats.commands;
            while executed() < 1026 {
                tokio::task::yield_now().await;
            }
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert_eq!(executed(), 1026, "the last one keeps the rest back");
            let last = toy.borrow().wait.unwrap();
            drop(client);
            while !toy.borrow().front.clients.is_empty() {
                tokio::task::yield_now().await;
            }
            assert_eq!(toy.borrow().front.clients.waiting_for(last), None);
        });
    }

    #[test]
    fn held_replies_leave_when_they_are_released() {
        run(async {
            let toy = Toy::shared();
            let mut client = connect(&toy);
            client.write_all(b"hold\r\nPING\r\n").await.unwrap();
            while toy.borrow().wait.is_none() {
                tokio::task::yield_now().await;
            }
            let mut byte = [0; 1];
            let early = client.read(&mut byte);
            tokio::select! {
                biased;
                _ = early => panic!("the reply left before its release"),
                () = tokio::task::yield_now() => {}
            }
            let on = toy.borrow().wait.unwrap();
            assert_eq!(toy.borrow_mut().front.clients.release(on), None);
            expect(&mut client, "+HELD\r\n+PONG\r\n").await;
        });
    }

    #[test]
    fn a_client_that_sends_no_more_gets_the_replies_that_are_held() {
        run(async {
            let toy = Toy::shared();
            let mut client = connect(&toy);
            // What is behind the one that holds runs when that is released.
            let count = 2 * TURN_COMMANDS_MAX;
            let requests = "hold\r\n".to_owned() + &"PING\r\n".repeat(count);
            client.write_all(requests.as_bytes()).await.unwrap();
            client.shutdown().await.unwrap();
            while toy.borrow().wait.is_none() {
                tokio::task::yield_now().await;
            }
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            let on = toy.borrow().wait.unwrap();
            assert_eq!(toy.borrow_mut().front.clients.release(on), None);
            let mut heard = String::new();
            client.read_to_string(&mut heard).await.unwrap();
            assert_eq!(heard, "+HELD\r\n".to_owned() + &"+PONG\r\n".repeat(count));
            assert!(toy.borrow().front.clients.is_empty());
        });
    }

    #[test]
    fn a_subscriber_that_sends_no_more_gets_what_is_queued_and_goes() {
        run(async {
            let toy = Toy::shared();
            let mut client = connect(&toy);
            client
                .write_all(b"HELLO 3\r\nSUBSCRIBE a\r\nhold\r\n")
                .await
                .unwrap();
            client.shutdown().await.unwrap();
            while toy.borrow().wait.is_none() {
                tokio::task::yield_now().await;
            }
            let on = toy.borrow().wait.unwrap();
            {
                let front = &mut toy.borrow_mut().front;
                let queued = Bytes::from(vec![b'x'; 1 << 18]);
                assert!(front.clients.send(ClientId(1), queued, Mono(1)));
                let rest = front.clients.release(on).expect("it came during the hold");
                assert_eq!(front.clients.release(rest), None);
            }
            while toy
                .borrow()
                .front
                .clients
                .get(ClientId(1))
                .unwrap()
                .is_ready()
            {
                tokio::task::yield_now().await;
            }
            let message = Bytes::from_static(b"late");
            let is_sent = toy
                .borrow_mut()
                .front
                .clients
                .send(ClientId(1), message, Mono(1));
            assert!(!is_sent, "it would never be at its end");
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).await.unwrap();
            assert!(heard.ends_with(b"xxxx"));
        });
    }

    #[test]
    fn what_was_held_leaves_though_more_comes_all_the_time() {
        run(async {
            let toy = Toy::shared();
            let mut client = connect(&toy);
            ask(&mut client, "PING\r\n", "+PONG\r\n").await;
            let tell = |text: &'static str| {
                let clients = &mut toy.borrow_mut().front.clients;
                assert!(clients.send(ClientId(1), Bytes::from_static(text.as_bytes()), Mono(0)));
                clients.hold(ClientId(1))
            };
            let first = tell("+1\r\n").unwrap();
            assert_eq!(tell("+2\r\n"), None, "held already");
            // Its commands run; what they answer stays behind what is held.
            client.write_all(b"PING\r\n").await.unwrap();
            while toy.borrow().front.stats.commands < 2 {
                tokio::task::yield_now().await;
            }
            let release = |on| toy.borrow_mut().front.clients.release(on);
            let second = release(first).unwrap();
            assert_eq!(tell("+3\r\n"), None, "held again");
            expect(&mut client, "+1\r\n").await;
            let mut byte = [0; 1];
            tokio::select! {
                biased;
                _ = client.read(&mut byte) => panic!("what came during the hold left with it"),
                () = tokio::task::yield_now() => {}
            }
            let third = release(second).unwrap();
            expect(&mut client, "+2\r\n+PONG\r\n").await;
            assert_eq!(release(third), None);
            expect(&mut client, "+3\r\n").await;
            assert_eq!(toy.borrow().front.clients.waiting_for(third), None);
        });
    }

    #[test]
    fn messages_reach_subscribers_of_both_protocols() {
        run(async {
            let toy = Toy::shared();
            let (mut old, mut new) = (connect(&toy), connect(&toy));
            ask(
                &mut old,
                "SUBSCRIBE a\r\n",
                "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
            )
            .await;
            new.write_all(b"HELLO 3\r\nPSUBSCRIBE ?\r\n").await.unwrap();
            let mut greeting = vec![0; 512];
            let mut text = String::new();
            while !text.contains("psubscribe") {
                let n = new.read(&mut greeting).await.unwrap();
                text.push_str(&String::from_utf8_lossy(&greeting[..n]));
            }
            ask(
                &mut new,
                "publish a m\r\n",
                ":2\r\n>4\r\n$8\r\npmessage\r\n$1\r\n?\r\n$1\r\na\r\n$1\r\nm\r\n",
            )
            .await;
            expect(&mut old, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nm\r\n").await;
        });
    }
}
