//! The side that follows a master: connect, shake hands, take all data if need be, apply the stream.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::apply::{Applier, ApplyError};
use super::handshake::{
    LINE_BYTES_MAX, MarkFinder, PsyncReply, TransferHeader, is_ping_accepted, parse_psync_reply,
    parse_transfer_header,
};
use super::history::History;
use super::link::{LinkState, Total};
use crate::front::{ClientId, Program};
use crate::ids::{ReplId, ReplOffset};
use crate::net::{Serving, Stream};
use crate::resp::{encode_request, take_line};
use crate::server::Server;
use crate::server::loading::{Counted, Progress};
use crate::server::persist::rdb_decode::{LoadError, LoadOptions, Loaded, load};

/// The longest single step of a handshake.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);
/// Between acknowledgements.
const ACK_PERIOD: Duration = Duration::from_secs(1);
/// Between the first acknowledgements of a link: a redis-server whose child has not quite ended does not hear
/// the one that follows a full resync, and keeps the stream back until the next.
const FIRST_ACK_PERIOD: Duration = Duration::from_millis(100);
/// How many of those there are.
const FIRST_ACKS: u32 = 10;
/// After a lost link or a failed attempt; doubled with each failure.
const RETRY_MIN: Duration = Duration::from_millis(20);
/// The longest time between attempts.
const RETRY_MAX: Duration = Duration::from_secs(1);
/// Between attempts when the master's data cannot be held here: each costs the master a full resync.
pub(super) const RETRY_REFUSED: Duration = Duration::from_secs(10);
/// How a master refuses `PSYNC … FAILOVER`.
const IS_MASTER_ALREADY: &str = "-ERR PSYNC FAILOVER can't be sent to a master";
/// How much is read at a time.
const READ_BYTES: usize = 64 * 1024;
/// Pieces of a transfer that wait to be loaded.
const LOAD_QUEUE: usize = 16;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the master did not answer in time")]
    Timeout,
    #[error("the master closed the connection")]
    Closed,
    #[error("the master answered {command} with {reply:?}")]
    Refused {
        command: &'static str,
        reply: String,
    },
    #[error("Unable to AUTH to MASTER: {0}")]
    Login(String),
    #[error("{0}")]
    Load(#[from] LoadError),
    #[error("{0}")]
    Apply(#[from] ApplyError),
    #[error("the link was closed by CLIENT KILL")]
    Killed,
    #[error("the append-only file cannot be written: {0}")]
    Disk(String),
    #[error("TLS is not configured")]
    NoTls,
}

impl LinkError {
    /// The master's data cannot be held here; trying again is of no use until the data changes.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self,
            LinkError::Load(
                LoadError::Type { .. }
                    | LoadError::Feature(_)
                    | LoadError::Version(_)
                    | LoadError::Database(_)
            ) | LinkError::Apply(_)
        )
    }

    /// Our data may differ from what our offset says.
    pub(crate) fn needs_all_data(&self) -> bool {
        matches!(self, LinkError::Apply(_))
    }
}

/// Keeps up the link to a master until it is aborted.
pub(crate) async fn follow(server: Rc<RefCell<Server>>, host: Arc<str>, port: u16) {
    let mut pause = RETRY_MIN;
    loop {
        let (was_up, error) = follow_once(&server, &host, port).await;
        server.borrow_mut().link_lost(&error);
        pause = if was_up {
            RETRY_MIN
        } else {
            (pause * 2).min(RETRY_MAX)
        };
        let refused = error.is_refusal().then_some(RETRY_REFUSED);
        tokio::time::sleep(refused.unwrap_or(pause)).await;
    }
}

/// One connection, from its beginning to its end; whether the stream was reached.
async fn follow_once(server: &Rc<RefCell<Server>>, host: &str, port: u16) -> (bool, LinkError) {
    if let Err(error) = check_disk(server) {
        return (false, error);
    }
    let mut wire = match connect(server, host, port).await {
        Ok(wire) => wire,
        Err(error) => return (false, error),
    };
    if let Err(error) = introduce(server, &mut wire).await {
        return (false, error);
    }
    match synchronize(server, &mut wire).await {
        Err(error) => (false, error),
        Ok(()) => match apply_stream(server, &mut wire).await {
            Ok(never) => match never {},
            Err(error) => (true, error),
        },
    }
}

/// A replica that cannot write its append-only file is in step in memory only; it says so by its link.
fn check_disk(server: &Rc<RefCell<Server>>) -> Result<(), LinkError> {
    match server.borrow().aof_error() {
        Some(error) => Err(LinkError::Disk(error.to_owned())),
        None => Ok(()),
    }
}

/// A connection and what has been read from it.
struct Wire {
    stream: Stream,
    addr: SocketAddr,
    local: SocketAddr,
    input: Vec<u8>,
    patience: Duration,
    /// The master knows positions. One that has given its data by `SYNC` may take an acknowledgement for a mistake,
    /// and would answer it in the middle of its stream.
    knows_positions: bool,
}

impl Wire {
    async fn send(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        let write = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        Ok(timeout(self.patience, write)
            .await
            .map_err(|_| LinkError::Timeout)??)
    }

    /// Tells the master how far we are, unasked.
    async fn acknowledge(&mut self, offset: ReplOffset) -> Result<(), LinkError> {
        match self.knows_positions {
            true => self.send(&ack(offset)).await,
            false => Ok(()),
        }
    }

    /// Reads once and appends to the input.
    async fn fill(&mut self, server: &Rc<RefCell<Server>>) -> Result<(), LinkError> {
        self.input.reserve(READ_BYTES);
        let read = self.stream.read_buf(&mut self.input);
        let count = timeout(self.patience, read)
            .await
            .map_err(|_| LinkError::Timeout)??;
        let server = &mut *server.borrow_mut();
        let now = server.clock.mono();
        server.front.stats.repl_input_bytes += count as u64;
        if let Some(link) = server.replication.link_mut() {
            link.last_io = now;
        }
        if count == 0 {
            Err(LinkError::Closed)
        } else {
            Ok(())
        }
    }

    /// The next line, without its line break.
    async fn line(&mut self, server: &Rc<RefCell<Server>>) -> Result<Vec<u8>, LinkError> {
        loop {
            if let Some(line) = take_line(&mut self.input) {
                return Ok(line);
            }
            if self.input.len() > LINE_BYTES_MAX {
                let reply = String::from_utf8_lossy(&self.input[..80]).into_owned();
                return Err(LinkError::Refused {
                    command: "the handshake",
                    reply,
                });
            }
            self.fill(server).await?;
        }
    }
}

fn set_state(server: &Rc<RefCell<Server>>, state: LinkState) {
    if let Some(link) = server.borrow_mut().replication.link_mut() {
        link.state = state;
    }
}

async fn connect(server: &Rc<RefCell<Server>>, host: &str, port: u16) -> Result<Wire, LinkError> {
    set_state(server, LinkState::Connecting);
    let (process, patience) = {
        let server = server.borrow();
        (server.config.process.clone(), server.config.repl_timeout)
    };
    let source = process.bind_source_addr.as_deref();
    let dial = async {
        let addrs = tokio::net::lookup_host((host, port)).await?;
        let tcp = dial_any(addrs, source).await?;
        tcp.set_nodelay(true)?;
        Ok::<TcpStream, io::Error>(tcp)
    };
    let tcp = timeout(patience, dial)
        .await
        .map_err(|_| LinkError::Timeout)??;
    let (addr, local) = (tcp.peer_addr()?, tcp.local_addr()?);
    let stream = if process.tls.replication {
        // As the listeners have it: loaded at the start and by CONFIG SET.
        let tls = {
            let server = server.borrow();
            let slot = server.serving.as_ref().map(Serving::tls);
            slot.and_then(|slot| slot.borrow().clone())
        };
        let tls = tls.ok_or(LinkError::NoTls)?;
        let handshake = tls.connect(tcp.into_std()?, host).await?;
        let secure = timeout(patience, handshake.finish())
            .await
            .map_err(|_| LinkError::Timeout)??;
        Stream::Tls(Box::new(secure))
    } else {
        Stream::Tcp(tcp)
    };
    set_state(server, LinkState::Handshake);
    Ok(Wire {
        stream,
        addr,
        local,
        input: Vec::new(),
        patience: patience.min(STEP_TIMEOUT),
        knows_positions: true,
    })
}

/// Connects to the first of a name's addresses that answers.
async fn dial_any(
    addrs: impl Iterator<Item = SocketAddr>,
    source: Option<&str>,
) -> io::Result<TcpStream> {
    let mut failed = io::Error::other("the name has no address");
    for addr in addrs {
        match dial(addr, source).await {
            Ok(tcp) => return Ok(tcp),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

async fn dial(addr: SocketAddr, source: Option<&str>) -> io::Result<TcpStream> {
    let Some(source) = source else {
        return TcpStream::connect(addr).await;
    };
    let source = source.parse().map_err(io::Error::other)?;
    let socket = if addr.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(addr).await
}

/// Says who we are. All in one write; the replies are read in order.
async fn introduce(server: &Rc<RefCell<Server>>, wire: &mut Wire) -> Result<(), LinkError> {
    let mut out = Vec::new();
    let mut expected: Vec<&'static str> = vec!["PING"];
    encode_request(&["PING"], &mut out);
    {
        let config = &server.borrow().config;
        if let Some(password) = &config.masterauth {
            let mut words = vec!["AUTH"];
            words.extend(config.masteruser.as_deref());
            words.push(password);
            encode_request(&words, &mut out);
            expected.push("AUTH");
        }
        let port = config.announced_port().to_string();
        encode_request(&["REPLCONF", "listening-port", &port], &mut out);
        expected.push("REPLCONF");
        if let Some(ip) = &config.announce_ip {
            encode_request(&["REPLCONF", "ip-address", ip], &mut out);
            expected.push("REPLCONF");
        }
        encode_request(&["REPLCONF", "capa", "eof", "capa", "psync2"], &mut out);
        expected.push("REPLCONF");
    }
    wire.send(&out).await?;
    for command in expected {
        let line = wire.line(server).await?;
        let is_accepted = match command {
            "PING" => is_ping_accepted(&line),
            "AUTH" => !line.starts_with(b"-"),
            // A master that does not know an option can still be followed.
            _ => true,
        };
        if !is_accepted {
            let reply = String::from_utf8_lossy(&line).into_owned();
            return Err(match command {
                "AUTH" => LinkError::Login(reply),
                _ => LinkError::Refused { command, reply },
            });
        }
    }
    Ok(())
}

/// What is asked of a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// All data.
    Everything,
    /// To go on from our history.
    GoOn,
    /// To become a master first: a failover of ours.
    TakeOver,
    /// To go on, of one that was to take over and says that it is a master already. It may have become one when it was
    /// first asked, and its answer was lost.
    GoOnBehind,
}

impl Ask {
    fn of(server: &Server) -> Ask {
        let replication = &server.replication;
        let offers = replication.link().is_some_and(|link| link.offers_history);
        if !offers || replication.needs_all_data {
            Ask::Everything
        } else if server.is_handing_over() {
            Ask::TakeOver
        } else {
            Ask::GoOn
        }
    }

    fn request(self, history: &History) -> Vec<u8> {
        let mut out = Vec::new();
        if self == Ask::Everything {
            encode_request(&["PSYNC", "?", "-1"], &mut out);
            return out;
        }
        let next = (history.offset().0 + 1).to_string();
        let mut words = vec!["PSYNC", history.repl_id().as_str(), &next];
        words.extend((self == Ask::TakeOver).then_some("FAILOVER"));
        encode_request(&words, &mut out);
        out
    }
}

/// Asks to go on from our history, or for all data. When it returns, the stream begins.
async fn synchronize(server: &Rc<RefCell<Server>>, wire: &mut Wire) -> Result<(), LinkError> {
    let mut ask = Ask::of(&server.borrow());
    let request = ask.request(&server.borrow().replication.history);
    wire.send(&request).await?;
    // The master may wait for its configured delay before it answers; it sends empty lines meanwhile.
    wire.patience = server.borrow().config.repl_timeout;
    loop {
        match parse_psync_reply(&wire.line(server).await?) {
            PsyncReply::KeepAlive => {}
            PsyncReply::Continue(_) if ask == Ask::Everything => {
                return Err(LinkError::Refused {
                    command: "PSYNC ? -1",
                    reply: "+CONTINUE".to_owned(),
                });
            }
            PsyncReply::Continue(id) => {
                let server = &mut *server.borrow_mut();
                server.finish_failover();
                if let Some(id) = id {
                    server.follow_branch(id);
                }
                tracing::info!(
                    "MASTER <-> REPLICA sync: Master accepted a Partial Resynchronization."
                );
                return Ok(());
            }
            PsyncReply::FullResync(..) if ask == Ask::GoOnBehind => {
                // A master of something else: it is not to replace our data.
                return Err(handing_over_failed(server, "+FULLRESYNC".to_owned()));
            }
            PsyncReply::FullResync(id, offset) => {
                server.borrow_mut().finish_failover();
                return full_resync(server, wire, id, offset).await;
            }
            PsyncReply::Error(reply)
                if ask == Ask::TakeOver && reply.starts_with(IS_MASTER_ALREADY) =>
            {
                ask = Ask::GoOnBehind;
                let request = ask.request(&server.borrow().replication.history);
                wire.send(&request).await?;
            }
            PsyncReply::Error(reply) if !server.borrow().is_handing_over() => {
                tracing::warn!("MASTER does not take PSYNC: {reply}. Asking it by SYNC");
                wire.knows_positions = false;
                let mut request = Vec::new();
                encode_request(&["SYNC"], &mut request);
                wire.send(&request).await?;
                // Nobody else has this history, so that nobody goes on from it.
                let id = server.borrow_mut().new_repl_id();
                return full_resync(server, wire, id, ReplOffset(0)).await;
            }
            PsyncReply::TryLater(reply) | PsyncReply::Error(reply) | PsyncReply::Unknown(reply) => {
                return Err(handing_over_failed(server, reply));
            }
        }
    }
}

/// The master refuses. If it was to take over, we stay the master.
fn handing_over_failed(server: &Rc<RefCell<Server>>, reply: String) -> LinkError {
    // This ends the task too: a master follows nobody.
    let reason = "Failover target rejected psync request";
    server.borrow_mut().abort_failover(reason);
    LinkError::Refused {
        command: "PSYNC",
        reply,
    }
}

async fn full_resync(
    server: &Rc<RefCell<Server>>,
    wire: &mut Wire,
    id: ReplId,
    offset: ReplOffset,
) -> Result<(), LinkError> {
    tracing::info!("Full resync from master: {id}:{offset}");
    set_state(
        server,
        LinkState::Syncing {
            total: None,
            received: 0,
        },
    );
    let header = loop {
        match parse_transfer_header(&wire.line(server).await?) {
            TransferHeader::KeepAlive => {}
            TransferHeader::Refused(reply) => {
                return Err(LinkError::Refused {
                    command: "PSYNC",
                    reply,
                });
            }
            header @ (TransferHeader::Length(_) | TransferHeader::Mark(_)) => break header,
        }
    };
    tracing::info!("MASTER <-> REPLICA sync: Loading DB in memory");
    let progress = server.borrow_mut().begin_loading_from_master(&id);
    let loaded = receive(server, wire, &header, progress).await;
    server.borrow_mut().end_loading();
    let loaded = loaded?;
    // Our own replicas, for which a shutdown waits, would go, and what is installed now could not be saved any more.
    while server.borrow().is_shutting_down() {
        let called_off = Rc::clone(&server.borrow().shutdown.called_off);
        let _ = timeout(ACK_PERIOD, called_off.notified()).await;
        wire.send(b"\n").await?;
    }
    let acknowledge_now = matches!(header, TransferHeader::Mark(_));
    server.borrow_mut().install(loaded, id, offset);
    if acknowledge_now {
        // Who sends data up to a mark knows positions, and may begin its stream with an acknowledgement that comes later.
        wire.knows_positions = true;
        wire.send(&ack(offset)).await?;
    }
    Ok(())
}

/// Receives all data and builds a keyspace of it on another thread, beside the one that is being served.
async fn receive(
    server: &Rc<RefCell<Server>>,
    wire: &mut Wire,
    header: &TransferHeader,
    progress: Arc<Progress>,
) -> Result<Loaded, LinkError> {
    if let TransferHeader::Length(length) = header {
        progress.set_total(*length);
    }
    let options = LoadOptions {
        progress: Some(Arc::clone(&progress)),
        ..server.borrow().load_options(true)
    };
    let (pieces, queue) = mpsc::channel::<Vec<u8>>(LOAD_QUEUE);
    let source = Counted::new(PieceReader::new(queue), progress);
    let mut loader = tokio::task::spawn_blocking(move || load(source, options));
    let mut finder = match header {
        TransferHeader::Mark(mark) => Some(MarkFinder::new(*mark)),
        TransferHeader::Length(_) | TransferHeader::KeepAlive | TransferHeader::Refused(_) => None,
    };
    let length = match header {
        TransferHeader::Length(length) => Some(*length),
        TransferHeader::Mark(_) | TransferHeader::KeepAlive | TransferHeader::Refused(_) => None,
    };
    let total = Some(length.map_or(Total::UpToMark, Total::Bytes));
    let mut received = 0_u64;
    let ends_early = loop {
        let mut piece = Vec::new();
        let is_end = match &mut finder {
            Some(finder) => {
                let input = std::mem::take(&mut wire.input);
                received += input.len() as u64;
                finder.feed(&input, &mut piece)
            }
            None => {
                let left = length.unwrap_or(0) - received;
                let take = usize::try_from(left)
                    .unwrap_or(usize::MAX)
                    .min(wire.input.len());
                piece = wire.input.drain(..take).collect();
                received += take as u64;
                Some(received) == length
            }
        };
        set_state(server, LinkState::Syncing { total, received });
        // A loader that has ended has something to say.
        let is_gone = !piece.is_empty() && pieces.send(piece).await.is_err();
        if is_end || is_gone {
            break !is_end;
        }
        wire.fill(server).await?;
    };
    drop(pieces);
    // The master must hear of us while a long load ends.
    let mut second = tokio::time::interval(ACK_PERIOD);
    second.tick().await;
    loop {
        tokio::select! {
            loaded = &mut loader => {
                let loaded = loaded.map_err(io::Error::other)??;
                if ends_early {
                    let what = "more data after the end of the RDB";
                    return Err(LoadError::Corrupt { at: received, what }.into());
                }
                return Ok(loaded);
            }
            _ = second.tick() => wire.send(b"\n").await?,
        }
    }
}

/// The pieces of a transfer as one stream of bytes. Blocks.
struct PieceReader {
    queue: mpsc::Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
}

impl PieceReader {
    fn new(queue: mpsc::Receiver<Vec<u8>>) -> PieceReader {
        PieceReader {
            queue,
            piece: Vec::new(),
            at: 0,
        }
    }
}

impl Read for PieceReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            match self.queue.blocking_recv() {
                Some(piece) => (self.piece, self.at) = (piece, 0),
                None => return Ok(0),
            }
        }
        let count = into.len().min(self.piece.len() - self.at);
        into[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

fn ack(offset: ReplOffset) -> Vec<u8> {
    let mut out = Vec::new();
    encode_request(&["REPLCONF", "ACK", &offset.to_string()], &mut out);
    out
}

impl Server {
    /// What must be over before more of the stream is applied: a shutdown, which waits for our own replicas to get
    /// where we are and for the files, or a disk that is slower than the master.
    fn obstacle(&self) -> Option<Rc<Notify>> {
        if self.is_shutting_down() {
            return Some(Rc::clone(&self.shutdown.called_off));
        }
        self.aof_congestion()
    }

    /// What we have applied, and for how long the master has said nothing.
    fn stream_position(&self) -> (ReplOffset, Duration) {
        let now = self.clock.mono();
        let silence = self
            .replication
            .link()
            .map_or(Duration::ZERO, |link| now.since(link.last_io));
        (self.replication.history.offset(), silence)
    }
}

/// When acknowledgements are due: often at first, then every second.
struct AckTimer {
    interval: tokio::time::Interval,
    first_left: u32,
}

impl AckTimer {
    async fn start() -> AckTimer {
        let mut interval = tokio::time::interval(FIRST_ACK_PERIOD);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        interval.tick().await;
        AckTimer {
            interval,
            first_left: FIRST_ACKS,
        }
    }

    /// Waits for the next one. Nothing is lost when this is dropped before it is over.
    async fn due(&mut self) {
        self.interval.tick().await;
        if self.first_left > 0 {
            self.first_left -= 1;
            if self.first_left == 0 {
                self.interval = tokio::time::interval(ACK_PERIOD);
                self.interval.reset();
            }
        }
    }
}

/// A type without values: the stream has no end but an error.
enum Never {}

async fn apply_stream(server: &Rc<RefCell<Server>>, wire: &mut Wire) -> Result<Never, LinkError> {
    let client = server.borrow_mut().link_up(wire.addr, wire.local);
    let mut applier = Applier::default();
    let mut acks = AckTimer::start().await;
    loop {
        check_disk(server)?;
        if server.borrow().is_link_killed(client) {
            return Err(LinkError::Killed);
        }
        wire.patience = server.borrow().config.repl_timeout;
        let obstacle = server.borrow().obstacle();
        if let Some(gone) = obstacle {
            // The rest stays in the socket.
            tokio::select! {
                () = killed(server, client) => continue,
                _ = timeout(ACK_PERIOD, gone.notified()) => {}
            }
            let (offset, _) = server.borrow().stream_position();
            wire.acknowledge(offset).await?;
            continue;
        }
        let has_input = !wire.input.is_empty();
        if has_input {
            let server = &mut *server.borrow_mut();
            let now = server.now();
            let applied = server.apply(client, &mut applier, &wire.input, now)?;
            wire.input.drain(..applied);
            // The room of a long command is not kept for the short ones that follow.
            if wire.input.len() <= READ_BYTES {
                wire.input.shrink_to(2 * READ_BYTES);
            }
            server.front.clients.current(client).query_bytes = wire.input.len();
            if let Some(link) = server.replication.link_mut() {
                link.unapplied = wire.input.len() as u64;
            }
        }
        if let Some(offset) = applier.ack_wanted.take() {
            wire.send(&ack(offset)).await?;
        }
        if has_input {
            // A stream without a pause keeps neither clients nor acknowledgements waiting.
            tokio::task::yield_now().await;
            tokio::select! {
                biased;
                () = acks.due() => {
                    let (offset, _) = server.borrow().stream_position();
                    wire.acknowledge(offset).await?;
                }
                () = std::future::ready(()) => {}
            }
        }
        tokio::select! {
            biased;
            () = killed(server, client) => return Err(LinkError::Killed),
            filled = wire.fill(server) => filled?,
            () = acks.due() => {
                let (offset, silence) = server.borrow().stream_position();
                if silence > wire.patience {
                    return Err(LinkError::Timeout);
                }
                wire.acknowledge(offset).await?;
            }
        }
    }
}

/// Ends when an operator closes the link.
async fn killed(server: &Rc<RefCell<Server>>, client: ClientId) {
    poll_fn(|cx| {
        let server = &mut *server.borrow_mut();
        if server.is_link_killed(client) {
            return Poll::Ready(());
        }
        server.front.clients.current(client).wakes(cx.waker());
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_name_is_reached_at_any_of_its_addresses() {
        let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addrs = [&closed, &open].map(|listener| listener.local_addr().unwrap());
        drop(closed);
        for source in [None, Some("127.0.0.1")] {
            let tcp = dial_any(addrs.into_iter(), source).await.unwrap();
            assert_eq!(tcp.peer_addr().unwrap(), addrs[1]);
        }
        let none = dial_any(addrs[..1].iter().copied(), None).await;
        assert_eq!(none.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
