//! Everything between the operating system and the rest: sockets, TLS, look-ups, the log, supervision.

mod stream;

pub use stream::{Peer, Stream, TlsStream};
