//! Listening sockets: TCP, TLS over TCP, and a unix socket.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::JoinHandle;

use super::stream::{Peer, Stream};
use super::tls::Tls;

/// After an accept failed for want of descriptors or memory, this long until the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where to listen.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// `bind`: IP addresses or host names, `*` for all of IPv4, `::*` for all of IPv6. One that starts
    /// with `-` may be missing on this machine.
    pub bind: Vec<String>,
    /// `port`; 0: none.
    pub port: u16,
    /// `tls-port`; 0: none.
    pub tls_port: u16,
    /// `tcp-backlog`: connections that the kernel completes ahead of us. The kernel caps it too.
    pub backlog: u32,
    /// `unixsocket`
    pub unix_socket: Option<PathBuf>,
    /// `unixsocketperm`, for example `0o700`.
    pub unix_socket_mode: Option<u32>,
    /// `tcp-keepalive`: idle time before the kernel probes a client; zero: never.
    pub keepalive: Duration,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions {
            bind: vec!["*".to_owned(), "-::*".to_owned()],
            port: 0,
            tls_port: 0,
            backlog: 511,
            unix_socket: None,
            unix_socket_mode: None,
            keepalive: Duration::from_secs(300),
        }
    }
}

/// Why we cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// An address.
    #[error("cannot listen on {addr} port {port}: {error}")]
    Tcp {
        /// As configured.
        addr: String,
        /// The port.
        port: u16,
        /// What the operating system says.
        error: io::Error,
    },
    /// The unix socket.
    #[error("cannot listen on the unix socket {path}: {error}")]
    Unix {
        /// Its path.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// Nothing to listen on.
    #[error(
        "nothing to listen on: port and tls-port are 0 and there is no unixsocket, or no bind address exists here"
    )]
    Nowhere,
}

/// A new connection. With TLS, its handshake is over.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: Stream,
    /// The other end.
    pub peer: Peer,
    /// Our end.
    pub local: Peer,
}

/// Whose connections they are.
pub trait Host {
    /// Whether a connection may begin its TLS handshake; `None`: it is closed. What is returned is kept until the
    /// handshake is over: each costs a descriptor, and they may be no more than there is room for.
    fn admit(&self) -> Option<Box<dyn Any>>;

    /// Takes a connection.
    fn accept(&self, accepted: Accepted);
}

/// Bound and listening sockets that nobody accepts from yet: clients that connect wait in the backlog.
#[derive(Debug)]
pub struct Listeners {
    tcp: Vec<(TcpListener, Carrier)>,
    unix: Option<(UnixListener, PathBuf)>,
    options: ListenOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carrier {
    Plain,
    Tls,
}

impl Listeners {
    /// Binds everything that `options` name. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// A socket cannot be made, bound or listened on, unless its address is optional or of a family
    /// that this machine lacks; or there is nothing to listen on.
    pub fn bind(options: &ListenOptions) -> Result<Listeners, ListenError> {
        let tcp = bind_tcp_ports(options)?;
        let unix = match &options.unix_socket {
            Some(path) => {
                let listener = listen_unix(path, options.unix_socket_mode, options.backlog);
                let listener = listener.map_err(|error| ListenError::Unix {
                    path: path.clone(),
                    error,
                })?;
                Some((listener, path.clone()))
            }
            None => None,
        };
        if tcp.is_empty() && unix.is_none() {
            return Err(ListenError::Nowhere);
        }
        Ok(Listeners {
            tcp,
            unix,
            options: options.clone(),
        })
    }

    /// The TCP sockets, for another thread's event loop.
    ///
    /// # Errors
    /// The operating system does not let go of one.
    pub fn into_std(self) -> io::Result<Vec<std::net::TcpListener>> {
        let sockets = self.tcp.into_iter();
        sockets.map(|(listener, _)| listener.into_std()).collect()
    }

    /// Starts to accept for `host`, on tasks of the current `LocalSet`. Without TLS in `tls`, what comes in on a TLS
    /// port is closed at once; what is put there later is for the connections that come later.
    pub fn serve(self, tls: TlsSlot, host: Rc<dyn Host>) -> Serving {
        let unix = self.unix.map(|(listener, path)| {
            let task = accept_unix(listener, path.clone(), Rc::clone(&host));
            (tokio::task::spawn_local(task), path)
        });
        let mut serving = Serving {
            tcp: Vec::new(),
            unix,
            keepalive: Rc::new(Cell::new(self.options.keepalive)),
            options: self.options,
            tls,
            host,
        };
        serving.accept_from(self.tcp);
        serving
    }
}

/// TLS as it is configured now.
pub type TlsSlot = Rc<RefCell<Option<Rc<Tls>>>>;

/// The accepting tasks. Dropping it stops them, closes the sockets and removes the unix socket's file.
pub struct Serving {
    tcp: Vec<(JoinHandle<()>, Rc<TcpListener>)>,
    unix: Option<(JoinHandle<()>, PathBuf)>,
    options: ListenOptions,
    /// That of connections that come from now on.
    keepalive: Rc<Cell<Duration>>,
    tls: TlsSlot,
    host: Rc<dyn Host>,
}

impl Serving {
    /// Where TLS is, to be replaced.
    pub fn tls(&self) -> &TlsSlot {
        &self.tls
    }

    /// `tcp-keepalive` for connections that come from now on.
    pub fn set_keepalive(&self, idle: Duration) {
        self.keepalive.set(idle);
    }

    /// Listens on other TCP addresses and ports; connections that there are stay. The unix socket stays as it
    /// is.
    ///
    /// # Errors
    /// One of them cannot be listened on; it is listened where it was before.
    pub fn listen_again(&mut self, options: &ListenOptions) -> Result<(), ListenError> {
        self.close_tcp();
        let opened = bind_tcp_ports(options);
        let (sockets, result) = match opened {
            Ok(sockets) => {
                self.options = options.clone();
                (sockets, Ok(()))
            }
            Err(error) => match bind_tcp_ports(&self.options) {
                Ok(sockets) => (sockets, Err(error)),
                Err(lost) => {
                    tracing::error!("Cannot listen again where it was possible before: {lost}");
                    (Vec::new(), Err(error))
                }
            },
        };
        self.accept_from(sockets);
        result
    }

    fn accept_from(&mut self, sockets: Vec<(TcpListener, Carrier)>) {
        for (listener, carrier) in sockets {
            let listener = Rc::new(listener);
            let task = accept_tcp(
                Rc::clone(&listener),
                carrier,
                Rc::clone(&self.keepalive),
                Rc::clone(&self.tls),
                Rc::clone(&self.host),
            );
            self.tcp.push((tokio::task::spawn_local(task), listener));
        }
    }

    /// Stops listening now: the sockets themselves are closed when their tasks have ended.
    fn close_tcp(&mut self) {
        for (task, listener) in self.tcp.drain(..) {
            if let Err(error) = rustix::net::shutdown(&*listener, rustix::net::Shutdown::Read) {
                tracing::debug!(%error, "a listening socket cannot be shut down");
            }
            task.abort();
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        for (task, _) in &self.tcp {
            task.abort();
        }
        if let Some((task, path)) = &self.unix {
            task.abort();
            // Nobody is left to hear about a failure, and the next start removes it as well.
            let _ = fs::remove_file(path);
        }
    }
}

async fn accept_tcp(
    listener: Rc<TcpListener>,
    carrier: Carrier,
    keepalive: Rc<Cell<Duration>>,
    tls: TlsSlot,
    host: Rc<dyn Host>,
) {
    loop {
        let (tcp, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                pause_after(&error).await;
                continue;
            }
        };
        prepare(&tcp, keepalive.get());
        let tls = tls.borrow().clone();
        match (carrier, tls) {
            (Carrier::Plain, _) => {
                let local = local_of(&tcp, peer);
                host.accept(Accepted {
                    stream: Stream::Tcp(tcp),
                    peer: Peer::Tcp(peer),
                    local,
                });
            }
            (Carrier::Tls, Some(tls)) => {
                if let Some(admission) = host.admit() {
                    accept_tls(tls, tcp, peer, admission, Rc::clone(&host)).await;
                }
            }
            (Carrier::Tls, None) => drop(tcp),
        }
    }
}

/// The sockets of both ports.
fn bind_tcp_ports(options: &ListenOptions) -> Result<Vec<(TcpListener, Carrier)>, ListenError> {
    let mut tcp = Vec::new();
    for (port, carrier) in [
        (options.port, Carrier::Plain),
        (options.tls_port, Carrier::Tls),
    ] {
        if port != 0 {
            for listener in bind_port(options, port)? {
                tcp.push((listener, carrier));
            }
        }
    }
    Ok(tcp)
}

/// Hands the handshake to the handshake threads; waits only while their queue is full, which leaves
/// further connections in the kernel's backlog.
async fn accept_tls(
    tls: Rc<Tls>,
    tcp: TcpStream,
    peer: SocketAddr,
    admission: Box<dyn Any>,
    host: Rc<dyn Host>,
) {
    let local = local_of(&tcp, peer);
    let handshake = match tls.accept(tcp).await {
        Ok(handshake) => handshake,
        Err(error) => {
            tracing::debug!("Error accepting a TLS connection from {peer}: {error}");
            return;
        }
    };
    tokio::task::spawn_local(async move {
        let finished = handshake.finish().await;
        // From here on it counts as what it is.
        drop(admission);
        match finished {
            Ok(stream) => host.accept(Accepted {
                stream: Stream::Tls(Box::new(stream)),
                peer: Peer::Tcp(peer),
                local,
            }),
            Err(error) => {
                tracing::debug!("Error accepting a TLS connection from {peer}: {error}");
            }
        }
    });
}

async fn accept_unix(listener: UnixListener, path: PathBuf, host: Rc<dyn Host>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => host.accept(Accepted {
                stream: Stream::Unix(stream),
                peer: Peer::Unix(path.clone()),
                local: Peer::Unix(path.clone()),
            }),
            Err(error) => pause_after(&error).await,
        }
    }
}

/// A connection that ended before we took it costs nothing; anything else (descriptors, memory) would
/// fail again at once, so it waits.
pub(crate) async fn pause_after(error: &io::Error) {
    if error.kind() == io::ErrorKind::ConnectionAborted {
        return;
    }
    tracing::warn!("Error accepting a client connection: {error}");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

fn local_of(tcp: &TcpStream, peer: SocketAddr) -> Peer {
    Peer::Tcp(tcp.local_addr().unwrap_or(peer))
}

/// Socket options of a client. Failures only mean that the connection is already gone.
pub(crate) fn prepare(tcp: &TcpStream, keepalive: Duration) {
    let _ = tcp.set_nodelay(true);
    let _ = set_keepalive(SockRef::from(tcp), keepalive);
}

/// Keepalive as Redis sets it: probes after `idle`, then three, a third of `idle` apart.
pub(crate) fn set_keepalive(socket: SockRef<'_>, idle: Duration) -> io::Result<()> {
    if idle.is_zero() {
        return Ok(());
    }
    let probes = TcpKeepalive::new()
        .with_time(idle)
        .with_interval((idle / 3).max(Duration::from_secs(1)))
        .with_retries(3);
    socket.set_tcp_keepalive(&probes)
}

fn bind_port(options: &ListenOptions, port: u16) -> Result<Vec<TcpListener>, ListenError> {
    let mut listeners = Vec::new();
    for configured in &options.bind {
        let optional = configured.starts_with('-');
        let name = configured.strip_prefix('-').unwrap_or(configured);
        let bound = resolve_bind(name, port).and_then(|addr| bind_tcp(addr, options.backlog));
        match bound {
            Ok(listener) => listeners.push(listener),
            Err(error) if is_missing_family(&error) => {}
            Err(error) if optional && error.kind() == io::ErrorKind::AddrNotAvailable => {}
            Err(error) => {
                return Err(ListenError::Tcp {
                    addr: name.to_owned(),
                    port,
                    error,
                });
            }
        }
    }
    Ok(listeners)
}

/// Errors that mean "this machine does not speak that protocol"; redis-server passes over them too.
fn is_missing_family(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let missing = [
        Errno::NOPROTOOPT,
        Errno::PROTONOSUPPORT,
        Errno::SOCKTNOSUPPORT,
        Errno::PFNOSUPPORT,
        Errno::AFNOSUPPORT,
    ];
    Errno::from_io_error(error).is_some_and(|errno| missing.contains(&errno))
}

fn resolve_bind(name: &str, port: u16) -> io::Result<SocketAddr> {
    let ip = match name {
        "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        "::*" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => {
            let mut addrs = (name, port).to_socket_addrs()?;
            let found = addrs.next();
            return found.ok_or_else(|| io::Error::other("the name has no address"));
        }
    };
    Ok(SocketAddr::new(ip, port))
}

fn bind_tcp(addr: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(addr),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&addr.into())?;
    listen(&socket, backlog)?;
    TcpListener::from_std(socket.into())
}

fn listen(socket: &Socket, backlog: u32) -> io::Result<()> {
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))
}

fn listen_unix(path: &Path, mode: Option<u32>, backlog: u32) -> io::Result<UnixListener> {
    let socket = bind_unix(path, mode)?;
    listen(&socket, backlog)?;
    UnixListener::from_std(socket.into())
}

/// A socket at a path with its mode, to which nobody can connect yet: who gets in before the mode is set stays in.
fn bind_unix(path: &Path, mode: Option<u32>) -> io::Result<Socket> {
    // What a killed predecessor left behind; anything but a socket is not ours to remove.
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    if let Some(mode) = mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn free_port() -> u16 {
        let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        probe.local_addr().unwrap().port()
    }

    fn on_loop(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, test);
    }

    /// Notes who comes and greets them.
    #[derive(Default)]
    struct Greeter {
        seen: RefCell<Vec<Peer>>,
    }

    impl Host for Greeter {
        fn admit(&self) -> Option<Box<dyn Any>> {
            None
        }

        fn accept(&self, mut accepted: Accepted) {
            self.seen.borrow_mut().push(accepted.peer.clone());
            tokio::task::spawn_local(async move {
                accepted.stream.write_all(b"hi").await.unwrap();
            });
        }
    }

    #[test]
    fn who_is_not_admitted_gets_no_handshake() {
        on_loop(async {
            let (_folder, tls) = super::super::test_certificates("a");
            let options = ListenOptions {
                bind: vec!["127.0.0.1".into()],
                tls_port: free_port(),
                ..ListenOptions::default()
            };
            let tls = Tls::load(&tls).unwrap();
            let slot = Rc::new(RefCell::new(Some(Rc::new(tls))));
            let listeners = Listeners::bind(&options).unwrap();
            let _serving = listeners.serve(slot, Rc::new(Greeter::default()));
            let mut client = TcpStream::connect(("127.0.0.1", options.tls_port))
                .await
                .unwrap();
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "closed at once");
        });
    }

    #[test]
    fn tcp_and_unix_clients_are_accepted() {
        on_loop(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("s.sock");
            let options = ListenOptions {
                bind: vec!["127.0.0.1".into(), "-192.0.2.77".into()],
                port: free_port(),
                unix_socket: Some(path.clone()),
                unix_socket_mode: Some(0o700),
                ..ListenOptions::default()
            };
            let listeners = Listeners::bind(&options).unwrap();
            assert_eq!(listeners.tcp.len(), 1);
            let host = Rc::new(Greeter::default());
            let serving = listeners.serve(TlsSlot::default(), Rc::clone(&host) as Rc<dyn Host>);
            let mut text = String::new();
            let mut tcp = TcpStream::connect(("127.0.0.1", options.port))
                .await
                .unwrap();
            tcp.read_to_string(&mut text).await.unwrap();
            let mut unix = tokio::net::UnixStream::connect(&path).await.unwrap();
            unix.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "hihi");
            assert_eq!(
                *host.seen.borrow(),
                [
                    Peer::Tcp(tcp.local_addr().unwrap()),
                    Peer::Unix(path.clone())
                ]
            );
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
            drop(serving);
            assert!(!path.exists());
        });
    }

    #[test]
    fn nobody_gets_in_before_the_mode_is_set() {
        on_loop(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("s.sock");
            let connect = || {
                let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
                socket.connect(&SockAddr::unix(&path)?).map(|()| socket)
            };
            let bound = bind_unix(&path, Some(0o600)).unwrap();
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let refused = connect().unwrap_err().kind();
            assert_eq!(refused, io::ErrorKind::ConnectionRefused);
            drop(bound);
            // As many wait as tcp-backlog says, and one more, as Linux counts.
            let _listener = listen_unix(&path, Some(0o600), 2).unwrap();
            let waiting: Vec<Socket> = (0..3).map(|_| connect().unwrap()).collect();
            let refused = connect().unwrap_err().kind();
            assert_eq!(
                refused,
                io::ErrorKind::WouldBlock,
                "beside {}",
                waiting.len()
            );
        });
    }

    #[test]
    fn a_busy_or_foreign_address_is_named() {
        on_loop(async {
            let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = taken.local_addr().unwrap().port();
            let check = |bind: &str, port| {
                let options = ListenOptions {
                    bind: vec![bind.to_owned()],
                    port,
                    ..ListenOptions::default()
                };
                Listeners::bind(&options).unwrap_err().to_string()
            };
            assert!(check("127.0.0.1", port).contains(&format!("127.0.0.1 port {port}")));
            assert!(check("192.0.2.77", port).contains("192.0.2.77"));
            assert!(check("-192.0.2.77", port).contains("nothing to listen on"));
            assert!(check("127.0.0.1", 0).contains("nothing to listen on"));
        });
    }
}
