//! The sentinel's outgoing links: thousands of connections that are idle most of the time.
//!
//! All sockets are in one epoll set of their own, which the event loop watches as a single descriptor.
//! One read buffer serves all; a link has a buffer of its own only while a message has arrived in
//! part, or while the other side does not take what we send. What is due together on one link leaves in
//! one write. An idle link costs one table entry.

mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use hashbrown::HashMap;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fs::Timespec;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustls::Connection;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::core::{DownReason, Input, LinkId, Request};
use crate::net::{Established, Tls};
use wire::{broken, decode, decrypt, encrypt, send_some};

/// The shared read buffer, in bytes: several INFO replies, or hundreds of hellos.
const READ_BYTES: usize = 64 * 1024;
/// What may wait for an instance that does not read. The core stops long before; this is for one that
/// has stopped in the middle. Bytes.
const BACKLOG_BYTES_MAX: usize = 1024 * 1024;
/// Events taken from the kernel at a time.
const EVENTS_MAX: usize = 256;
/// Ended TLS handshakes that may wait for the loop.
const HANDSHAKES_ENDED_MAX: usize = 1024;

/// How links are opened.
#[derive(Clone, Debug, Default)]
pub struct LinkOptions {
    /// `bind-source-addr`: the local address of our connections.
    pub bind_source: Option<IpAddr>,
    /// With `tls-replication`: TLS on every link.
    pub tls: Option<Rc<Tls>>,
}

/// The end of a TLS handshake, on its way back to the loop.
pub type EndedHandshake = (LinkId, io::Result<Established>);

/// All links.
pub struct Links {
    options: LinkOptions,
    epoll: Rc<AsyncFd<OwnedFd>>,
    links: HashMap<LinkId, Link>,
    /// Links that the kernel has reported and that have not been looked at yet.
    ready: VecDeque<(LinkId, EventFlags)>,
    events: Vec<epoll::Event>,
    read_buf: Vec<u8>,
    /// Requests for one link that have not been written yet.
    outgoing: Vec<u8>,
    outgoing_link: Option<LinkId>,
    /// What happened outside of a read: failed connects and writes.
    happened: Vec<Input>,
    handshakes: mpsc::Sender<EndedHandshake>,
}

#[derive(Debug)]
struct Link {
    state: State,
    /// An incomplete message.
    partial: Vec<u8>,
    /// What the socket did not take; with TLS, already encrypted.
    backlog: Vec<u8>,
}

/// Connecting ─▶ (Handshaking ─▶) Up. Every failure removes the link from the table.
#[derive(Debug)]
enum State {
    Connecting {
        tcp: TcpStream,
        host: Arc<str>,
    },
    /// The socket is with a handshake thread.
    Handshaking,
    Up(Carrier),
}

#[derive(Debug)]
enum Carrier {
    Plain(TcpStream),
    Tls(Box<(TcpStream, Connection)>),
}

impl Carrier {
    fn tcp(&self) -> &TcpStream {
        match self {
            Carrier::Plain(tcp) => tcp,
            Carrier::Tls(tls) => &tls.0,
        }
    }
}

impl Links {
    /// No links yet. Handshakes that end are received from the second value and given to
    /// [`Links::handshake_ended`]. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// The kernel refuses an epoll set.
    pub fn new(options: LinkOptions) -> io::Result<(Links, mpsc::Receiver<EndedHandshake>)> {
        let (handshakes, ended) = mpsc::channel(HANDSHAKES_ENDED_MAX);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let links = Links {
            options,
            epoll: Rc::new(watched(epoll)?),
            links: HashMap::new(),
            ready: VecDeque::new(),
            events: Vec::with_capacity(EVENTS_MAX),
            read_buf: vec![0; READ_BYTES],
            outgoing: Vec::new(),
            outgoing_link: None,
            happened: Vec::new(),
            handshakes,
        };
        Ok((links, ended))
    }

    /// What to wait on for the sockets to have something; see [`wait_readable`].
    pub fn epoll(&self) -> Rc<AsyncFd<OwnedFd>> {
        Rc::clone(&self.epoll)
    }

    /// The number of links, those on their way up included.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Starts to open a link. Ends in `LinkUp` or `LinkDown`.
    pub fn connect(&mut self, link: LinkId, to: SocketAddr, host: Arc<str>) {
        match self.start_connect(link, to) {
            Ok(tcp) => {
                let state = State::Connecting { tcp, host };
                self.insert(link, state);
            }
            Err(error) => self.happened.push(Input::LinkDown {
                link,
                reason: connect_failure(&error),
            }),
        }
    }

    /// Closes a link. Nothing more is heard of it.
    pub fn close(&mut self, link: LinkId) {
        self.flush();
        // Closing the descriptor takes it out of the epoll set.
        self.links.remove(&link);
        self.happened.retain(|input| link_of(input) != Some(link));
    }

    /// Whether the link exists.
    pub fn contains(&self, link: LinkId) -> bool {
        self.links.contains_key(&link)
    }

    /// Queues a request; it leaves at the latest with the next [`Links::flush`].
    pub fn send(&mut self, link: LinkId, request: &Request, renamed: &BTreeMap<String, String>) {
        if self.outgoing_link != Some(link) {
            self.flush();
            self.outgoing_link = Some(link);
        }
        request.encode(renamed, &mut self.outgoing);
    }

    /// Writes what has been queued.
    pub fn flush(&mut self) {
        let Some(id) = self.outgoing_link.take() else {
            return;
        };
        let mut bytes = std::mem::take(&mut self.outgoing);
        // A link that broke in this turn: the core hears of it in the next.
        if let Some(link) = self.links.get_mut(&id)
            && let Err(reason) = link.write(&bytes)
        {
            self.fail(id, reason);
        }
        bytes.clear();
        self.outgoing = bytes;
    }

    /// Asks the kernel which links have something; false when none has.
    pub fn refill(&mut self) -> bool {
        if !self.ready.is_empty() {
            return true;
        }
        self.events.clear();
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let spare = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(self.epoll.get_ref(), spare, Some(&at_once)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => tracing::error!("epoll_wait: {error}"),
        }
        for event in &self.events {
            self.ready
                .push_back((LinkId(event.data.u64()), event.flags));
        }
        !self.ready.is_empty()
    }

    /// True when links were reported that [`Links::read_next`] has not looked at yet.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Looks at the next link that has something and appends what it says. False when none is left of
    /// the last [`Links::refill`].
    pub fn read_next(&mut self, inputs: &mut VecDeque<Input>) -> bool {
        inputs.extend(self.happened.drain(..));
        let Some((id, flags)) = self.ready.pop_front() else {
            return false;
        };
        // Closed since it was reported.
        let Some(link) = self.links.get(&id) else {
            return true;
        };
        match &link.state {
            State::Connecting { .. } => self.connected(id, flags, inputs),
            State::Handshaking => {}
            State::Up(_) => self.attend(id, flags, inputs),
        }
        true
    }

    /// Takes what happened outside of reads: connects and writes that failed.
    pub fn take_happened(&mut self, inputs: &mut VecDeque<Input>) {
        inputs.extend(self.happened.drain(..));
    }

    /// Takes a connection back from the handshake threads.
    pub fn handshake_ended(&mut self, (id, result): EndedHandshake, inputs: &mut VecDeque<Input>) {
        if !self.links.contains_key(&id) {
            return;
        }
        match result {
            Ok(Established { tcp, mut session }) => {
                // Our own bound on what waits to be written is enough.
                session.set_buffer_limit(None);
                self.up(id, Carrier::Tls(Box::new((tcp, session))), inputs);
            }
            Err(error) => {
                self.links.remove(&id);
                let reason = DownReason::Failed(format!("TLS: {error}"));
                inputs.push_back(Input::LinkDown { link: id, reason });
            }
        }
    }

    fn start_connect(&self, link: LinkId, to: SocketAddr) -> io::Result<TcpStream> {
        let domain = Domain::for_address(to);
        let kind = Type::STREAM.nonblocking();
        let socket = Socket::new(domain, kind, Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = self.options.bind_source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&to.into()) {
            Ok(()) => {}
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let tcp = TcpStream::from(socket);
        self.watch(link, &tcp)?;
        Ok(tcp)
    }

    /// Edge-triggered and for both directions, so that the set is told once per connection.
    fn watch(&self, link: LinkId, tcp: &TcpStream) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(self.epoll.get_ref(), tcp, EventData::new_u64(link.0), flags)?;
        Ok(())
    }

    fn insert(&mut self, id: LinkId, state: State) {
        let link = Link {
            state,
            partial: Vec::new(),
            backlog: Vec::new(),
        };
        let previous = self.links.insert(id, link);
        assert!(previous.is_none(), "a LinkId is never used twice");
    }

    /// A connection attempt has ended, well or badly.
    fn connected(&mut self, id: LinkId, flags: EventFlags, inputs: &mut VecDeque<Input>) {
        let ended = EventFlags::OUT | EventFlags::ERR | EventFlags::HUP;
        if !flags.intersects(ended) {
            return;
        }
        let Some(Link {
            state: State::Connecting { tcp, host },
            ..
        }) = self.links.remove(&id)
        else {
            return;
        };
        if let Ok(Some(error)) | Err(error) = tcp.take_error() {
            let reason = connect_failure(&error);
            inputs.push_back(Input::LinkDown { link: id, reason });
            return;
        }
        match self.options.tls.clone() {
            None => {
                self.insert(id, State::Handshaking);
                self.up(id, Carrier::Plain(tcp), inputs);
                // The same event may already bring data, or the end.
                self.attend(id, flags, inputs);
            }
            Some(tls) => {
                if let Err(error) = epoll::delete(self.epoll.get_ref(), &tcp) {
                    tracing::error!("epoll_ctl: {error}");
                }
                self.insert(id, State::Handshaking);
                let handshakes = self.handshakes.clone();
                tokio::task::spawn_local(async move {
                    let result = match tls.connect(tcp, &host).await {
                        Ok(handshake) => handshake.established().await,
                        Err(error) => Err(error),
                    };
                    // Nobody is left to receive it only when the program ends.
                    let _ = handshakes.send((id, result)).await;
                });
            }
        }
    }

    /// The link is open.
    fn up(&mut self, id: LinkId, carrier: Carrier, inputs: &mut VecDeque<Input>) {
        let local = match carrier.tcp().local_addr() {
            Ok(addr) => addr.ip().to_canonical(),
            Err(error) => {
                self.links.remove(&id);
                let reason = DownReason::Failed(error.to_string());
                inputs.push_back(Input::LinkDown { link: id, reason });
                return;
            }
        };
        let is_tls = matches!(carrier, Carrier::Tls(_));
        // A plain link has been watched since it was connecting.
        let watched = if is_tls {
            self.watch(id, carrier.tcp())
        } else {
            Ok(())
        };
        if let Some(link) = self.links.get_mut(&id) {
            link.state = State::Up(carrier);
        }
        inputs.push_back(Input::LinkUp { link: id, local });
        if let Err(error) = watched {
            self.links.remove(&id);
            let reason = DownReason::Failed(error.to_string());
            inputs.push_back(Input::LinkDown { link: id, reason });
        } else if is_tls {
            // What the handshake has read ahead raises no event.
            self.ready.push_back((id, EventFlags::IN));
        }
    }

    /// Writes and reads what the flags allow.
    fn attend(&mut self, id: LinkId, flags: EventFlags, inputs: &mut VecDeque<Input>) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if flags.contains(EventFlags::OUT)
            && !link.backlog.is_empty()
            && let Err(reason) = link.write(&[])
        {
            self.links.remove(&id);
            inputs.push_back(Input::LinkDown { link: id, reason });
            return;
        }
        let ending = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        if !flags.intersects(EventFlags::IN | ending) {
            return;
        }
        let mut buf = std::mem::take(&mut self.read_buf);
        let result = link.read(id, &mut buf, inputs);
        self.read_buf = buf;
        match result {
            Ok(Rest::Nothing) => {}
            // The socket is empty, and the kernel reports what comes next. Only an end that was
            // reported together with data still has to be fetched.
            Ok(Rest::NothingYet) if !flags.intersects(ending) => {}
            Ok(Rest::NothingYet | Rest::Maybe) => self.ready.push_back((id, flags)),
            Err(reason) => {
                self.links.remove(&id);
                inputs.push_back(Input::LinkDown { link: id, reason });
            }
        }
    }

    /// A link broke while it was written to.
    fn fail(&mut self, link: LinkId, reason: DownReason) {
        self.links.remove(&link);
        self.happened.push(Input::LinkDown { link, reason });
    }
}

#[expect(
    deprecated,
    reason = "an OwnedFd keeps its descriptor open while it exists, which is all that the unsafe \
              successor asks for"
)]
fn watched(epoll: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(epoll)
}

/// Waits until [`Links::refill`] may find something. Call that only after this has returned: it then
/// reports again whatever comes from now on.
///
/// # Errors
/// The runtime is shutting down.
pub async fn wait_readable(epoll: &AsyncFd<OwnedFd>) -> io::Result<()> {
    let mut guard = epoll.readable().await?;
    guard.clear_ready();
    Ok(())
}

impl Link {
    /// Sends `bytes` behind what is still waiting.
    fn write(&mut self, bytes: &[u8]) -> Result<(), DownReason> {
        let State::Up(carrier) = &mut self.state else {
            return Ok(());
        };
        let encrypted;
        let (tcp, bytes) = match carrier {
            Carrier::Plain(tcp) => (&*tcp, bytes),
            Carrier::Tls(tls) => {
                encrypted = encrypt(&mut tls.1, bytes).map_err(|error| broken(&error))?;
                (&tls.0, &*encrypted)
            }
        };
        if !self.backlog.is_empty() {
            let sent = send_some(tcp, &self.backlog)?;
            self.backlog.drain(..sent);
        }
        let sent = if self.backlog.is_empty() {
            self.backlog = Vec::new();
            send_some(tcp, bytes)?
        } else {
            0
        };
        let rest = &bytes[sent..];
        if self.backlog.len() + rest.len() > BACKLOG_BYTES_MAX {
            let waiting = self.backlog.len() + rest.len();
            return Err(DownReason::Failed(format!(
                "it does not read: {waiting} bytes wait for it"
            )));
        }
        self.backlog.extend_from_slice(rest);
        Ok(())
    }

    /// Reads once and decodes.
    fn read(
        &mut self,
        id: LinkId,
        buf: &mut [u8],
        inputs: &mut VecDeque<Input>,
    ) -> Result<Rest, DownReason> {
        let State::Up(carrier) = &mut self.state else {
            return Ok(Rest::Nothing);
        };
        let (count, rest) = match rustix::net::recv(carrier.tcp(), &mut *buf, RecvFlags::empty()) {
            Ok((0, _)) => return Err(DownReason::Closed),
            Ok((count, _)) if count == buf.len() => (count, Rest::Maybe),
            Ok((count, _)) => (count, Rest::NothingYet),
            // With TLS there may be something that the handshake has read.
            Err(Errno::AGAIN | Errno::INTR) => (0, Rest::Nothing),
            Err(error) => return Err(broken(&error.into())),
        };
        match carrier {
            Carrier::Plain(_) => decode(id, &buf[..count], &mut self.partial, inputs)?,
            Carrier::Tls(tls) => {
                let plain = decrypt(&mut tls.1, &buf[..count]).map_err(|error| broken(&error))?;
                decode(id, &plain, &mut self.partial, inputs)?;
                if tls.1.wants_write() {
                    self.write(&[])?;
                }
            }
        }
        Ok(rest)
    }
}

/// What a read leaves in the socket.
enum Rest {
    /// It was empty.
    Nothing,
    /// The read took less than it could have.
    NothingYet,
    /// The buffer was too small to know.
    Maybe,
}

fn connect_failure(error: &io::Error) -> DownReason {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        DownReason::Refused
    } else {
        broken(error)
    }
}

/// The link that an input is about.
pub fn link_of(input: &Input) -> Option<LinkId> {
    if let Input::LinkUp { link, .. } | Input::LinkDown { link, .. } | Input::Reply { link, .. } =
        input
    {
        Some(*link)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
