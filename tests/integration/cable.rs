//! A line between two servers that a test can cut: after a number of bytes, or at a moment.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::support::{Port, secs};

/// How long the first connection after a cut may take to come: a redis-server tries once a second.
const CONNECT_MAX: Duration = secs(20);

/// A listener that passes every connection on to one port.
pub(crate) struct Cable {
    port: Port,
    shared: Arc<Shared>,
}

/// Which bytes count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Towards {
    /// Those to the side that has connected.
    Caller,
    /// Those to the side that listens.
    Target,
}

/// When to cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// Which bytes count.
    pub(crate) towards: Towards,
    /// So many pass.
    pub(crate) bytes: u64,
    /// And at the latest after this time.
    pub(crate) within: Duration,
}

struct Shared {
    target: u16,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Both ends of every connection that passes bytes, with its number.
    live: Vec<(u64, [TcpStream; 2])>,
    /// How many connections there have been.
    count: u64,
    /// The direction that is counted, and what may still pass.
    armed: Option<(Towards, u64)>,
    /// New connections wait.
    is_held: bool,
    has_ended: bool,
}

impl State {
    fn cut(&mut self) {
        self.armed = None;
        self.is_held = true;
        self.close();
    }

    fn close(&mut self) {
        for end in self.live.drain(..).flat_map(|(_, ends)| ends) {
            // It may have been closed by its own side already.
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

impl Cable {
    /// A line to `target` on loopback.
    pub(crate) fn to(target: u16) -> Cable {
        let port = Port::reserve();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.number()));
        let listener = listener.expect("a reserved port");
        let shared = Arc::new(Shared {
            target,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accepting.accept(&listener));
        Cable { port, shared }
    }

    /// Where to connect.
    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    /// Waits for a connection and cuts it as `cut` says. New connections wait for [`Cable::mend`].
    pub(crate) fn cut(&self, cut: Cut) {
        let changed = &self.shared.changed;
        let no_connection = |state: &mut State| state.live.is_empty();
        let (mut state, timeout) = changed
            .wait_timeout_while(self.shared.lock(), CONNECT_MAX, no_connection)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "nobody connects to {}", self.port());
        state.armed = Some((cut.towards, cut.bytes));
        let (mut state, _) = changed
            .wait_timeout_while(state, cut.within, |state| state.armed.is_some())
            .unwrap_or_else(PoisonError::into_inner);
        state.cut();
    }

    /// Cuts the next connection, or the present one, as soon as more than so many bytes have come towards one side.
    pub(crate) fn cut_behind(&self, towards: Towards, bytes: u64) {
        self.shared.lock().armed = Some((towards, bytes));
    }

    /// Lets new connections through.
    pub(crate) fn mend(&self) {
        self.shared.lock().is_held = false;
        self.shared.changed.notify_all();
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.has_ended = true;
        state.close();
        drop(state);
        self.shared.changed.notify_all();
        // The thread that accepts has to look up.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port()));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for caller in listener.incoming() {
            let held = |state: &mut State| state.is_held && !state.has_ended;
            let state = self.changed.wait_while(self.lock(), held);
            let state = state.unwrap_or_else(PoisonError::into_inner);
            if state.has_ended {
                return;
            }
            drop(state);
            // A caller that is refused, or has gone while it waited, comes again.
            let _ = caller.and_then(|caller| self.join(caller));
        }
    }

    fn join(self: &Arc<Self>, caller: TcpStream) -> std::io::Result<()> {
        let target = TcpStream::connect((Ipv4Addr::LOCALHOST, self.target))?;
        caller.set_nodelay(true)?;
        target.set_nodelay(true)?;
        let ends = [caller.try_clone()?, target.try_clone()?];
        let back = (target.try_clone()?, caller.try_clone()?);
        let mut state = self.lock();
        state.count += 1;
        let number = state.count;
        state.live.push((number, ends));
        drop(state);
        self.changed.notify_all();
        for (from, to, towards) in [
            (caller, target, Towards::Target),
            (back.0, back.1, Towards::Caller),
        ] {
            let shared = Arc::clone(self);
            std::thread::spawn(move || shared.pump(number, &from, &to, towards));
        }
        Ok(())
    }

    /// Passes bytes on until one side closes or the line is cut.
    fn pump(&self, number: u64, mut from: &TcpStream, mut to: &TcpStream, towards: Towards) {
        let mut chunk = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut chunk) {
            let passed = self.admit(towards, count);
            if to.write_all(&chunk[..passed]).is_err() {
                break;
            }
            if passed < count {
                self.lock().cut();
                self.changed.notify_all();
                break;
            }
        }
        let mut state = self.lock();
        state.live.retain(|(live, _)| *live != number);
        drop(state);
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    /// How many of `count` bytes may pass; fewer than all: then the line is to be cut.
    fn admit(&self, towards: Towards, count: usize) -> usize {
        let mut state = self.lock();
        match &mut state.armed {
            Some((counted, left)) if *counted == towards => {
                let passed = usize::try_from(*left).map_or(count, |left| left.min(count));
                *left -= passed as u64;
                passed
            }
            Some(_) | None => count,
        }
    }
}
