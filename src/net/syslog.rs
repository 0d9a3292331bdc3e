//! The system's log, beside our own (`syslog-enabled`): datagrams to its local socket.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use tracing::Level;

/// Where the system's log listens.
const SOCKET: &str = "/dev/log";
/// The facility numbers of RFC 3164.
const FACILITY_USER: u8 = 1;
const FACILITY_LOCAL0: u8 = 16;

/// How to write to the system's log.
#[derive(Clone, Debug)]
pub struct SyslogOptions {
    /// `syslog-ident`
    pub ident: String,
    /// `syslog-facility`: `localN`, or `None` for `user`.
    pub local: Option<u8>,
}

/// A socket that never blocks: a line that the system's log does not take at once is lost there, not
/// in our own log.
#[derive(Debug)]
pub(super) struct Syslog {
    options: SyslogOptions,
    path: PathBuf,
    socket: Option<UnixDatagram>,
}

impl Syslog {
    pub(super) fn new(options: SyslogOptions) -> Syslog {
        Syslog {
            options,
            path: PathBuf::from(SOCKET),
            socket: None,
        }
    }

    /// Sends one line without its time: the system's log has its own clock.
    pub(super) fn send(&mut self, level: Level, text: &str) {
        let datagram = self.datagram(level, text);
        if self.socket.is_none() {
            self.socket = self.connect().ok();
        }
        // The daemon may have been restarted since the last line: one more try on a new socket.
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(&datagram)
            && error.kind() != io::ErrorKind::WouldBlock
        {
            self.socket = self.connect().ok();
            if let Some(socket) = &self.socket {
                let _ = socket.send(&datagram);
            }
        }
    }

    /// `<priority>ident[pid]: text`
    fn datagram(&self, level: Level, text: &str) -> Vec<u8> {
        let severity = match level {
            Level::ERROR | Level::WARN => 4,
            Level::INFO => 5,
            Level::DEBUG => 6,
            Level::TRACE => 7,
        };
        let facility = match self.options.local {
            Some(n) => FACILITY_LOCAL0 + n.min(7),
            None => FACILITY_USER,
        };
        let priority = facility * 8 + severity;
        let ident = &self.options.ident;
        format!("<{priority}>{ident}[{}]: {text}", std::process::id()).into_bytes()
    }

    fn connect(&self) -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(&self.path)?;
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_reach_a_daemon_that_was_restarted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut syslog = Syslog::new(SyslogOptions {
            ident: "redis".to_owned(),
            local: Some(3),
        });
        syslog.path.clone_from(&path);
        syslog.send(Level::WARN, "nobody hears this");
        let mut buf = [0; 200];
        for text in ["+sdown master", "again"] {
            let _ = std::fs::remove_file(&path);
            let daemon = UnixDatagram::bind(&path).unwrap();
            daemon.set_nonblocking(true).unwrap();
            syslog.send(Level::WARN, text);
            let n = daemon.recv(&mut buf).unwrap();
            // local3 is facility 19, a warning is severity 4.
            let want = format!("<156>redis[{}]: {text}", std::process::id());
            assert_eq!(String::from_utf8_lossy(&buf[..n]), want);
        }
    }
}
