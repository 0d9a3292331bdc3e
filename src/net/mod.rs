//! Everything between the operating system and the rest: sockets, TLS, look-ups, the log, supervision.

mod ciphers;
mod dns;
mod listen;
mod log;
mod sessions;
mod start;
mod stream;
mod supervise;
mod syslog;
mod tls;
mod tls_client;
mod watchdog;

pub use dns::{Lookup, Resolver, look_up_now};
pub use listen::{Accepted, Host, ListenError, ListenOptions, Listeners, Serving, TlsSlot};
pub(crate) use listen::{pause_after, prepare};
pub use log::{Log, LogFormat, LogLevel, LogOptions, Role, local_time};
pub use start::{Started, clients_with_room, ensure_files, load_http_tls, load_tls};
pub use stream::{Peer, Stream, TlsStream};
pub use supervise::{
    FileLimit, PidFile, Signal, Signals, Supervised, close_inherited_descriptors, daemonize,
    raise_file_limit,
};
pub use syslog::SyslogOptions;
pub use tls::{AuthClients, Established, Handshake, Tls, TlsError, TlsOptions};
pub use tls_client::{TlsClient, TlsClientOptions};
pub use watchdog::Watchdog;

#[cfg(test)]
pub(crate) use tls::tests::certificates as test_certificates;
