//! One connection from its start to its end, and how many there may be.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use super::Stop;
use crate::config::process;
use crate::net::{Stream, Tls, pause_after, prepare};

/// Connections at a time; further ones wait in the kernel's backlog.
pub const CONNECTIONS_MAX: u16 = process::Http::CONNECTIONS_MAX;
/// Connections at a time from one address; further ones are closed. One host does not shut out the others.
const CONNECTIONS_PER_ADDRESS_MAX: u16 = CONNECTIONS_MAX / 2;
/// How long the head of a request may take, and how long a connection may stay without one.
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes of the head of a request.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Header fields of a request.
const HEADERS_MAX: usize = 64;
/// How long a client may take to read what is ready for it.
pub const WRITE_TIME_MAX: Duration = Duration::from_secs(10);

/// Takes connections and serves them.
#[derive(Clone)]
pub(super) struct Acceptor {
    app: Router,
    tls: Option<Arc<Tls>>,
    keepalive: Duration,
    places: Arc<Semaphore>,
    guests: Arc<Guests>,
    stop: Stop,
}

impl Acceptor {
    pub(super) fn new(app: Router, tls: Option<Tls>, keepalive: Duration, stop: Stop) -> Acceptor {
        Acceptor {
            app,
            tls: tls.map(Arc::new),
            keepalive,
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX.into())),
            guests: Arc::default(),
            stop,
        }
    }

    /// Accepts for ever.
    pub(super) async fn accept(self, listener: TcpListener) {
        loop {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                return;
            };
            let (tcp, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    pause_after(&error).await;
                    continue;
                }
            };
            if let Some(guest) = Guest::admit(&self.guests, peer.ip().to_canonical(), place) {
                prepare(&tcp, self.keepalive);
                tokio::spawn(self.clone().serve(tcp, peer, guest));
            }
        }
    }

    /// Waits until no connection is left. Nothing may be accepted any more.
    pub(super) async fn all_ended(&self) {
        // Closed semaphores give no permit; this one is never closed.
        let _ = self.places.acquire_many(CONNECTIONS_MAX.into()).await;
    }

    async fn serve(self, tcp: TcpStream, peer: SocketAddr, guest: Guest) {
        let served = match self.establish(tcp).await {
            Ok(stream) => self.answer(stream).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = served {
            tracing::debug!("HTTP connection from {peer}: {error}");
        }
        drop(guest);
    }

    async fn establish(&self, tcp: TcpStream) -> io::Result<Stream> {
        match &self.tls {
            None => Ok(Stream::Tcp(tcp)),
            Some(tls) => {
                let stream = tls.accept(tcp).await?.finish().await?;
                Ok(Stream::Tls(Box::new(stream)))
            }
        }
    }

    async fn answer(
        mut self,
        stream: Stream,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME_MAX)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX);
        let io = TokioIo::new(Patient::new(stream, WRITE_TIME_MAX));
        let service = TowerToHyperService::new(self.app);
        let mut connection = pin!(builder.serve_connection(io, service));
        tokio::select! {
            result = connection.as_mut() => return Ok(result?),
            () = self.stop.wait() => {}
        }
        connection.as_mut().graceful_shutdown();
        Ok(connection.await?)
    }
}

/// How many connections there are from where.
#[derive(Debug, Default)]
struct Guests(Mutex<HashMap<IpAddr, u16>>);

impl Guests {
    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, u16>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of them, counted for as long as it lives.
struct Guest {
    guests: Arc<Guests>,
    from: IpAddr,
    _place: OwnedSemaphorePermit,
}

impl Guest {
    fn admit(guests: &Arc<Guests>, from: IpAddr, place: OwnedSemaphorePermit) -> Option<Guest> {
        let mut counts = guests.counts();
        let count = counts.entry(from).or_insert(0);
        if *count >= CONNECTIONS_PER_ADDRESS_MAX {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Guest {
            guests: Arc::clone(guests),
            from,
            _place: place,
        })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counts = self.guests.counts();
        if let Some(count) = counts.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.from);
            }
        }
    }
}

/// A stream that gives up on a client who does not read: what hyper has to write must be gone so long
/// after the socket was first full.
struct Patient<S> {
    inner: S,
    patience: Duration,
    give_up: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncWrite + Unpin> Patient<S> {
    fn new(inner: S, patience: Duration) -> Patient<S> {
        Patient {
            inner,
            patience,
            give_up: None,
        }
    }

    /// What the stream said, or the end of our patience.
    fn bounded<T>(
        &mut self,
        cx: &mut Context<'_>,
        said: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if said.is_ready() {
            return said;
        }
        let give_up =
            (self.give_up).get_or_insert_with(|| Box::pin(tokio::time::sleep(self.patience)));
        ready!(give_up.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client does not read",
        )))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let said = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.bounded(cx, said)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let said = Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
        this.bounded(cx, said)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    /// hyper flushes when it has written everything that it had.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let said = Pin::new(&mut this.inner).poll_flush(cx);
        if said.is_ready() {
            this.give_up = None;
        }
        this.bounded(cx, said)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let said = Pin::new(&mut this.inner).poll_shutdown(cx);
        this.bounded(cx, said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::AsyncWriteExt;

    #[test]
    fn one_address_does_not_take_all_places() {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX.into()));
        let guests = Arc::default();
        let admit = |from: &str| {
            let place = Arc::clone(&places).try_acquire_owned().unwrap();
            Guest::admit(&guests, from.parse().unwrap(), place)
        };
        let mut held: Vec<_> = (0..CONNECTIONS_PER_ADDRESS_MAX)
            .map(|_| admit("192.0.2.1").unwrap())
            .collect();
        assert!(admit("192.0.2.1").is_none());
        assert!(admit("192.0.2.2").is_some());
        held.pop();
        assert!(admit("192.0.2.1").is_some());
        drop(held);
        assert!(guests.counts().is_empty());
    }

    #[test]
    fn a_client_that_does_not_read_is_given_up() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (ours, _theirs) = tokio::io::duplex(16);
            let mut patient = Patient::new(ours, Duration::from_millis(20));
            patient.write_all(b"fits").await.unwrap();
            poll_fn(|cx| Pin::new(&mut patient).poll_flush(cx))
                .await
                .unwrap();
            let error = patient.write_all(&[0; 64]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        });
    }
}
