//! A server for unit tests, which run its turns themselves.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::task::LocalSet;

use super::{Server, command, load_server};
use crate::clock::Clock;
use crate::front::{ClientAddr, ClientId, Front, Peer, Program, dispatch};
use crate::resp::Word;

/// A server with these settings that nothing drives but the test.
pub(super) fn server(settings: &[&str]) -> Rc<RefCell<Server>> {
    server_by(settings, Clock::start())
}

/// The same with this clock.
pub(super) fn server_by(settings: &[&str], clock: Clock) -> Rc<RefCell<Server>> {
    let arguments: Vec<String> = settings.iter().map(|&word| word.to_owned()).collect();
    let setup = load_server(&[], &arguments).unwrap();
    let server = Server::new(setup, Front::new(command::all()), clock, None, "no");
    server.borrow_mut().apply_settings();
    server
}

pub(super) fn connect(server: &mut Server) -> ClientId {
    let addr = ClientAddr::Tcp("127.0.0.1:1".parse().unwrap());
    let peer = Peer {
        addr: addr.clone(),
        laddr: addr,
        fd: -1,
    };
    let now = server.now();
    server.front.accept(peer, now).unwrap()
}

/// Runs requests of a client in one turn.
pub(super) fn turn(server: &mut Server, client: ClientId, requests: &[&str]) {
    for request in requests {
        let words = request.split(' ');
        let words: Vec<Word<'_>> = words.map(Word::from).collect();
        let now = server.now();
        dispatch(server, client, &words, now);
    }
    server.end_turn(client);
}

/// Runs a test in a runtime of its own.
pub(super) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, test);
}
