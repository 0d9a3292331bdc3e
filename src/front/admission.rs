//! Who is served, and what a client that is not is told.

use std::cell::Cell;
use std::rc::Rc;

use super::client::{ClientId, Peer};
use super::{Front, Program};
use crate::clock::Now;

/// A connection in its TLS handshake, which has the place of a client until this is dropped.
#[derive(Debug)]
pub struct Admission(Rc<Cell<usize>>);

impl Drop for Admission {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl<P: Program> Front<P> {
    /// Clients and those that are in their TLS handshake: each has a descriptor.
    pub(super) fn connected(&self) -> usize {
        self.clients.len() + self.handshakes.get()
    }

    fn is_full(&self) -> bool {
        self.connected() >= self.settings.maxclients
    }

    /// Lets a connection begin its TLS handshake. `None`: there are too many clients, and before the handshake
    /// there is no telling it so.
    pub fn admit(&mut self) -> Option<Admission> {
        if self.is_full() {
            self.stats.rejected_connections += 1;
            return None;
        }
        self.handshakes.set(self.handshakes.get() + 1);
        Some(Admission(Rc::clone(&self.handshakes)))
    }

    /// Registers an accepted connection.
    ///
    /// # Errors
    /// The text to send before closing: too many clients, or protected mode.
    pub fn accept(&mut self, peer: Peer, now: Now) -> Result<ClientId, String> {
        if self.is_full() {
            self.stats.rejected_connections += 1;
            return Err("-ERR max number of clients reached\r\n".to_owned());
        }
        let is_protected = self.settings.protected_mode && self.acl.default_has_no_password();
        if is_protected && !peer.addr.is_local() {
            self.stats.rejected_connections += 1;
            return Err(PROTECTED_MODE.to_owned());
        }
        self.stats.connections += 1;
        let user = self.acl.default_user();
        let id = self.clients.add(peer, user, now.mono);
        self.clients.current(id).authenticated = self.acl.default_is_open();
        Ok(id)
    }

    /// Whether a client must still authenticate.
    pub fn needs_auth(&mut self, id: ClientId) -> bool {
        let open = self.acl.default_is_open();
        !open && !self.clients.current(id).authenticated
    }
}

/// redis-server 7.0's words for a client from elsewhere while there is no password.
const PROTECTED_MODE: &str = "-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user. In this mode connections are only accepted from the loopback interface. If you want to connect from external computers to Redis you may adopt one of the following solutions: 1) Just disable protected mode sending the command 'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from the same host the server is running, however MAKE SURE Redis is not publicly accessible from internet if you do so. Use CONFIG REWRITE to make this change permanent. 2) Alternatively you can just disable the protected mode by editing the Redis configuration file, and setting the protected mode option to 'no', and then restarting the server. 3) If you started the server manually just for testing, restart it with the '--protected-mode no' option. 4) Setup a an authentication password for the default user. NOTE: You only need to do one of the above things in order for the server to start accepting connections from the outside.\r\n";
