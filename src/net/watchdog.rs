//! systemd's watchdog (`WatchdogSec=`): whoever owes it a sign of life and gives none is killed and started
//! again.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::clock::Mono;

/// What the loop that serves calls at every turn. Only that loop: a sign of life from anywhere else would vouch
/// for a process that hangs.
#[derive(Debug, Default)]
pub struct Watchdog(Option<Owed>);

#[derive(Debug)]
struct Owed {
    socket: UnixDatagram,
    to: SocketAddr,
    every: Duration,
    next: Mono,
}

impl Watchdog {
    /// The watchdog that systemd has set on this process; none where it has not.
    pub(super) fn of_systemd() -> Watchdog {
        let (Some(within), Some(path)) = (
            sd_notify::watchdog_enabled(),
            std::env::var_os("NOTIFY_SOCKET"),
        ) else {
            return Watchdog::default();
        };
        Watchdog::within(within, path).unwrap_or_else(|error| {
            tracing::warn!("cannot tell systemd's watchdog that we are alive: {error}");
            Watchdog::default()
        })
    }

    /// One that wants a sign of life `within` this time at `path`; a leading `@` stands for the abstract name
    /// space.
    fn within(within: Duration, path: OsString) -> io::Result<Watchdog> {
        let to = match path.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(path)?,
        };
        let socket = UnixDatagram::unbound()?;
        // A systemd that hangs itself, with its queue full, must not hold our loop.
        socket.set_nonblocking(true)?;
        Ok(Watchdog(Some(Owed {
            socket,
            to,
            every: within / 2,
            next: Mono(0),
        })))
    }

    /// Gives a sign of life if one is due. What cannot be sent is tried again at the next call.
    pub fn feed(&mut self, now: Mono) {
        if let Some(owed) = &mut self.0
            && owed.next <= now
            && owed.socket.send_to_addr(b"WATCHDOG=1", &owed.to).is_ok()
        {
            owed.next = now + owed.every;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(systemd: &UnixDatagram) -> usize {
        let mut buffer = [0; 64];
        std::iter::from_fn(|| systemd.recv(&mut buffer).ok()).count()
    }

    #[test]
    fn a_sign_of_life_is_given_twice_in_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let systemd = UnixDatagram::bind(&path).unwrap();
        systemd.set_nonblocking(true).unwrap();
        let within = Duration::from_secs(10);
        let mut watchdog = Watchdog::within(within, path.into()).unwrap();
        for (at, count) in [(1000, 1), (5999, 0), (6000, 1), (20_000, 1)] {
            watchdog.feed(Mono(at));
            assert_eq!(received(&systemd), count, "at {at}");
        }
    }

    #[test]
    fn a_full_queue_holds_nobody_and_nothing_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let systemd = UnixDatagram::bind(&path).unwrap();
        systemd.set_nonblocking(true).unwrap();
        let other = UnixDatagram::unbound().unwrap();
        other.set_nonblocking(true).unwrap();
        while other.send_to(b"x", &path).is_ok() {}
        let mut watchdog = Watchdog::within(Duration::from_secs(10), path.into()).unwrap();
        watchdog.feed(Mono(1000));
        received(&systemd);
        watchdog.feed(Mono(1001));
        assert_eq!(received(&systemd), 1);
    }

    #[test]
    fn no_watchdog_is_none() {
        Watchdog::default().feed(Mono(1));
    }
}
