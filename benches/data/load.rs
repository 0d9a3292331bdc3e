//! Filling a server, and driving it with many clients at once.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use sentinel::resp::encode_request;

use super::VALUE_BYTES;
use super::common::instant;

/// Requests sent before their replies are read.
const BATCH: usize = 1000;
/// A server that is silent for so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const WAIT: Timespec = Timespec {
    tv_sec: 60,
    tv_nsec: 0,
};

/// Sends `count` requests, each answered by one line, and reads their replies.
///
/// # Panics
/// When one of them is an error.
pub(crate) fn pipeline(port: u16, count: usize, mut request: impl FnMut(usize, &mut Vec<u8>)) {
    let mut stream = connect(port);
    let mut requests = Vec::new();
    let mut replies = vec![0; 64 * 1024];
    for first in (0..count).step_by(BATCH) {
        let batch = BATCH.min(count - first);
        requests.clear();
        for i in first..first + batch {
            request(i, &mut requests);
        }
        stream.write_all(&requests).expect("the server reads");
        let mut lines = 0;
        while lines < batch {
            let n = stream.read(&mut replies).expect("the server answers");
            let got = &replies[..n];
            assert!(n > 0 && !got.contains(&b'-'), "{}", got.escape_ascii());
            lines += got.iter().filter(|byte| **byte == b'\n').count();
        }
    }
}

/// Sets `keys` string keys of 16 bytes.
pub(crate) fn fill(port: u16, keys: usize) {
    let value = [b'x'; VALUE_BYTES];
    pipeline(port, keys, |i, out| {
        encode_request(&[&b"SET"[..], key(i).as_bytes(), &value], out);
    });
}

/// The name of key `i`, as `redis-benchmark` spells it.
pub(crate) fn key(i: usize) -> String {
    format!("key:{i:012}")
}

/// Clients that each send the next `SET` when the last is answered.
pub(crate) struct Writers {
    epoll: std::os::fd::OwnedFd,
    clients: Vec<(TcpStream, Instant)>,
    keys: usize,
    seed: usize,
}

impl Writers {
    /// Connects `count` clients that write among `keys` keys.
    pub(crate) fn new(port: u16, count: usize, keys: usize) -> Writers {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll set");
        let clients: Vec<_> = (0..count).map(|_| (connect(port), instant())).collect();
        for (token, (stream, _)) in clients.iter().enumerate() {
            let data = epoll::EventData::new_u64(token as u64);
            epoll::add(&epoll, stream, data, epoll::EventFlags::IN).expect("room in the set");
        }
        let seed = 1;
        Writers {
            epoll,
            clients,
            keys,
            seed,
        }
    }

    /// Writes until `is_over`, which is asked after every round of answers; the time that each answer took, in
    /// milliseconds. What is still to be answered then is awaited.
    pub(crate) fn run(&mut self, mut is_over: impl FnMut() -> bool) -> Vec<f64> {
        let mut times = Vec::new();
        for at in 0..self.clients.len() {
            self.send(at);
        }
        let mut open = self.clients.len();
        let mut events: Vec<epoll::Event> = Vec::with_capacity(open);
        let mut reply = [0; 64];
        while open > 0 {
            events.clear();
            let buffer = rustix::buffer::spare_capacity(&mut events);
            epoll::wait(&self.epoll, buffer, Some(&WAIT)).expect("an epoll set can be waited on");
            assert!(!events.is_empty(), "the server is silent");
            let over = is_over();
            for event in &events {
                let at = usize::try_from(event.data.u64()).expect("few clients");
                let (stream, sent) = &mut self.clients[at];
                let n = stream.read(&mut reply).expect("the server answers");
                assert_eq!(&reply[..n], b"+OK\r\n", "{}", reply[..n].escape_ascii());
                times.push(sent.elapsed().as_secs_f64() * 1000.0);
                if over {
                    open -= 1;
                } else {
                    self.send(at);
                }
            }
        }
        times
    }

    fn send(&mut self, at: usize) {
        // A full cycle through the keys in scattered order: the step is a prime above any count in use.
        self.seed = (self.seed + 2_147_483_647) % self.keys;
        let mut request = Vec::with_capacity(128);
        let value = [b'y'; VALUE_BYTES];
        encode_request(
            &[&b"SET"[..], key(self.seed).as_bytes(), &value],
            &mut request,
        );
        let (stream, sent) = &mut self.clients[at];
        *sent = instant();
        stream.write_all(&request).expect("the server reads");
    }
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server listens");
    stream.set_nodelay(true).expect("a TCP socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}
