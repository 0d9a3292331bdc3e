//! A small program for the tests of this module: all shared commands, and some that wait.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;

use super::dispatch::dispatch;
use super::{
    Call, ClientAddr, ClientId, CommandSpec, Front, KeySpec, Peer, Program, Reply, WaitId,
    acl_commands, category, client_commands, command_commands, connection_commands, flag, key,
    subscription_commands, tracking_subcommands,
};
use crate::clock::{Mono, Now, UnixMillis};
use crate::resp::{Word, split_words};

pub(super) struct Toy {
    pub(super) front: Front<Toy>,
    pub(super) now: Now,
    /// What the last `WAIT`, `LATER` or `HOLD` waits for.
    pub(super) wait: Option<WaitId>,
    pub(super) turns: Rc<Cell<usize>>,
    /// How much `REPEAT` has written.
    pub(super) repeated: usize,
}

impl Program for Toy {
    type Session = ();
    const MODE: &'static str = "toy";
    const OUTPUT_STALL_BYTES: usize = 1 << 20;

    fn front(&mut self) -> &mut Front<Toy> {
        &mut self.front
    }

    fn now(&self) -> Now {
        self.now
    }

    fn end_turn(&mut self, _: ClientId) {
        self.turns.set(self.turns.get() + 1);
    }
}

impl Toy {
    pub(super) fn new() -> Toy {
        let own = [
            CommandSpec::new("wait", 1, wait),
            CommandSpec::new("later", 1, later),
            CommandSpec::new("hold", 1, hold),
            CommandSpec::new("repeat", 3, repeat),
            CommandSpec::new("publish", 3, publish).flags(flag::PUBSUB),
            CommandSpec::new("get", 2, |_, _, reply| reply.null())
                .flags(flag::READONLY | flag::FAST)
                .acl(category::STRING)
                .keys([KeySpec::one(1, key::RO | key::ACCESS)]),
            CommandSpec::new("set", -3, |_, _, reply| reply.ok())
                .flags(flag::WRITE)
                .acl(category::STRING)
                .keys([KeySpec::one(1, key::OW | key::UPDATE)]),
        ];
        let commands = connection_commands()
            .into_iter()
            .chain(subscription_commands())
            .chain(client_commands(tracking_subcommands()))
            .chain(acl_commands())
            .chain(command_commands())
            .chain(own);
        Toy {
            front: Front::new(commands),
            now: Now {
                mono: Mono(1000),
                unix: UnixMillis(1000),
            },
            wait: None,
            turns: Rc::default(),
            repeated: 0,
        }
    }

    pub(super) fn shared() -> Rc<RefCell<Toy>> {
        Rc::new(RefCell::new(Toy::new()))
    }

    /// A client from `127.0.0.1:<port>`, without a connection.
    pub(super) fn connect(&mut self, port: u16) -> ClientId {
        let addr = |port| ClientAddr::Tcp(([127, 0, 0, 1], port).into());
        let peer = Peer {
            addr: addr(port),
            laddr: addr(1),
            fd: -1,
        };
        self.front.accept(peer, self.now).expect("there is room")
    }

    /// Runs a request and returns all that is queued for the client then, line ends shown as `|`.
    pub(super) fn ask(&mut self, id: ClientId, request: &str) -> String {
        let words: Vec<Word<'_>> = split_words(request.as_bytes())
            .expect("the quotes match")
            .into_iter()
            .map(|word| Word::Own(word.into()))
            .collect();
        let now = self.now;
        dispatch(self, id, &words, now);
        self.queued(id)
    }

    /// What is queued for a client, which is then taken as written.
    pub(super) fn queued(&mut self, id: ClientId) -> String {
        let output = &mut self.front.clients.current(id).output;
        let mut all = Vec::new();
        while !output.front().is_empty() {
            let n = output.front().len();
            all.extend_from_slice(output.front());
            output.advance(n);
        }
        String::from_utf8_lossy(&all).replace("\r\n", "|")
    }
}

fn wait(toy: &mut Toy, call: &Call<'_>, _: &mut Reply) {
    toy.wait = Some(toy.front.clients.wait(call.client, Mono::NEVER, true));
}

fn later(toy: &mut Toy, call: &Call<'_>, _: &mut Reply) {
    toy.wait = Some(toy.front.clients.wait_in_order(call.client));
}

fn hold(toy: &mut Toy, call: &Call<'_>, reply: &mut Reply) {
    reply.simple("HELD");
    toy.wait = toy.front.clients.hold_turn(call.client);
}

/// So many times so many bytes.
fn repeat(toy: &mut Toy, call: &Call<'_>, reply: &mut Reply) {
    let number = |word: &[u8]| String::from_utf8_lossy(word).parse().unwrap_or(0);
    let (count, len) = (number(&call.args()[0]), number(&call.args()[1]));
    let bytes = Bytes::from(vec![b'r'; len]);
    reply.array(count);
    for _ in 0..count {
        reply.shared_bulk(&bytes);
        toy.repeated += 1;
    }
}

fn publish(toy: &mut Toy, call: &Call<'_>, reply: &mut Reply) {
    let [channel, message] = call.args() else {
        return;
    };
    let sent = toy.front.publish(channel, message, call.now.mono);
    reply.count(sent);
}
