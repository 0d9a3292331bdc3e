//! What each client takes of the memory, and who goes when all of them together take too much.
//!
//! While there is a limit, the sum over all clients is kept up to date where a client's part changes: when its turn
//! is over and its replies are written, when it is sent something, but between the two. Without one nothing is summed up.

use std::cmp::Reverse;

use bytes::Bytes;

use super::client::{Client, ClientId, ClientKind, Closing};
use super::clients::Clients;
use super::{Front, Program};
use crate::resp::Word;

/// What a name in one of a client's sets costs beside its bytes.
pub(super) const NODE_BYTES: usize = 64;

/// The sum over all clients, and its limit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClientMemory {
    /// Bytes; 0: no limit.
    max: usize,
    /// Bytes of ordinary clients, pub/sub clients included.
    sum: usize,
}

/// What the words of a command take that are kept. Bytes.
pub fn words_bytes(words: &[Word<'_>]) -> usize {
    words
        .iter()
        .map(|word| size_of::<Bytes>() + word.len())
        .sum()
}

impl<S> Client<S> {
    /// What is kept of the command in which it waits. Bytes.
    pub(super) fn waiting_bytes(&self) -> usize {
        match self.blocked {
            Some(_) => self.argv_bytes,
            None => 0,
        }
    }

    /// About how many bytes it takes: its input, its output, and what is kept for it.
    pub fn memory_bytes(&self) -> usize {
        let tracking = self.tracking.as_ref();
        size_of::<Client<S>>()
            + self.query_bytes
            + self.query_free_bytes
            + self.output.len()
            + self.multi_bytes
            + self.waiting_bytes()
            + self.subscription_bytes
            + self.name.len()
            + self.lib_name.len()
            + self.lib_ver.len()
            + tracking.map_or(0, |tracking| tracking.prefix_bytes)
    }

    /// A subscription to `name` has begun, or ended.
    pub(super) fn note_subscription(&mut self, name: &[u8], has_begun: bool) {
        let bytes = NODE_BYTES + name.len();
        if has_begun {
            self.subscription_bytes += bytes;
        } else {
            self.subscription_bytes = self.subscription_bytes.saturating_sub(bytes);
        }
    }

    /// What it counts for the limit. Links of replication have limits of their own.
    fn limited_bytes(&self) -> usize {
        if self.is_open() && self.kind == ClientKind::Normal {
            self.memory_bytes()
        } else {
            0
        }
    }
}

impl ClientMemory {
    /// Counts a client anew; not before its replies have had a chance to leave.
    #[inline]
    pub(super) fn count<S>(&mut self, client: &mut Client<S>) {
        let is_early = client.is_to_write && client.is_open();
        if self.max > 0 && !is_early {
            let bytes = client.limited_bytes();
            self.sum = self.sum - client.counted_bytes + bytes;
            client.counted_bytes = bytes;
        }
    }

    /// No longer counts a client, which goes.
    pub(super) fn forget<S>(&mut self, client: &Client<S>) {
        self.sum -= client.counted_bytes;
    }
}

impl<P: Program> Front<P> {
    /// `maxmemory-clients`: how much memory ordinary clients may take together. Bytes; 0: no limit.
    pub fn limit_client_memory(&mut self, bytes_max: usize) {
        self.clients.limit_memory(bytes_max);
    }

    /// What one client takes may have changed.
    #[inline]
    pub(super) fn check_client_memory(&mut self, id: ClientId) {
        if self.clients.memory.max > 0 {
            self.clients.recount(id);
            self.evict_clients();
        }
    }

    /// Closes the clients that take most until all together take less than they may.
    pub(super) fn evict_clients(&mut self) {
        self.stats.evicted_clients += self.clients.evict();
    }
}

impl<S: Default> Clients<S> {
    fn limit_memory(&mut self, bytes_max: usize) {
        if self.memory.max == bytes_max {
            return;
        }
        self.memory = ClientMemory {
            max: bytes_max,
            sum: 0,
        };
        let (clients, memory) = self.all_with_memory();
        for client in clients {
            client.counted_bytes = 0;
            memory.count(client);
        }
    }

    /// How many had to go.
    fn evict(&mut self) -> u64 {
        let (clients, memory) = self.all_with_memory();
        if memory.max == 0 || memory.sum < memory.max {
            return 0;
        }
        let mut evictable: Vec<&mut Client<S>> = Vec::new();
        for client in clients.filter(|client| client.counted_bytes > 0) {
            if !client.is_open() {
                // Something else has closed it, and its connection has not ended yet.
                memory.count(client);
            } else if !client.no_evict {
                evictable.push(client);
            }
        }
        evictable.sort_unstable_by_key(|client| (Reverse(client.counted_bytes), client.id));
        let mut evicted = 0;
        for client in evictable {
            if memory.sum < memory.max {
                return evicted;
            }
            tracing::info!(
                client = %client.id, addr = %client.addr, bytes = client.counted_bytes,
                "Evicting client: all together take more than maxmemory-clients"
            );
            client.close(Closing::Now);
            memory.count(client);
            evicted += 1;
        }
        if evicted > 0 && memory.sum >= memory.max {
            tracing::warn!("Over client maxmemory after evicting all evictable clients");
        }
        evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Mono;
    use crate::front::toy::Toy;
    use crate::front::{ClientAddr, Peer};

    fn add(front: &mut Front<Toy>, output_bytes: usize) -> ClientId {
        let addr = ClientAddr::Tcp("127.0.0.1:1".parse().unwrap());
        let peer = Peer {
            addr: addr.clone(),
            laddr: addr,
            fd: -1,
        };
        let user = front.acl.default_user();
        let id = front.clients.add(peer, user, Mono(0));
        let bytes = Bytes::from(vec![b'x'; output_bytes]);
        front.clients.send(id, bytes, Mono(0));
        id
    }

    fn is_open(front: &Front<Toy>, id: ClientId) -> bool {
        front.clients.get(id).unwrap().is_open()
    }

    #[test]
    fn the_largest_go_first_and_only_as_many_as_must() {
        let toy = Toy::shared();
        let front = &mut toy.borrow_mut().front;
        let clients = [10_000, 70_000, 500, 40_000, 90_000].map(|bytes| add(front, bytes));
        let [small, spared, tiny, middle, largest] = clients;
        front.clients.current(spared).no_evict = true;
        front.evict_clients();
        assert_eq!(front.stats.evicted_clients, 0, "there is no limit");
        front.limit_client_memory(130_000);
        front.evict_clients();
        assert!(!is_open(front, largest));
        for id in [small, spared, tiny, middle] {
            assert!(is_open(front, id), "{id}");
        }
        // The limit is exceeded by what is sent to one, and by what it is when its output is written.
        front
            .clients
            .send(tiny, Bytes::from(vec![b'x'; 30_000]), Mono(0));
        front.evict_clients();
        assert!(!is_open(front, middle));
        assert!(is_open(front, tiny));
        front.limit_client_memory(1);
        front.evict_clients();
        for id in [small, tiny] {
            assert!(!is_open(front, id), "{id}");
        }
        assert!(is_open(front, spared), "CLIENT NO-EVICT");
        assert_eq!(front.stats.evicted_clients, 4);
        // Nobody has to go for those who go anyway.
        let (one, other) = (add(front, 40_000), add(front, 50_000));
        front.limit_client_memory(120_000 + front.clients.memory.sum - 90_000);
        assert!(is_open(front, one));
        front.clients.current(other).close(Closing::Now);
        front
            .clients
            .send(one, Bytes::from(vec![b'x'; 40_000]), Mono(0));
        front.evict_clients();
        assert!(is_open(front, one));
        front.clients.remove(one);
        front.clients.remove(other);
        // The sum is what is left.
        front.clients.remove(spared);
        front.clients.remove(largest);
        assert_eq!(front.clients.memory.sum, 0);
    }
}
