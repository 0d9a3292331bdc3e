//! An instance that says what a test wants it to say.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sentinel::resp::{Limits, decode_request};

use super::Port;

/// How often an idle thread looks whether the fake has ended.
const LOOK: Duration = Duration::from_millis(5);

/// What a fake does about one request.
pub(crate) enum Answer {
    /// Writes bytes, whatever they are.
    Say(Vec<u8>),
    /// Waits, then writes bytes.
    SayLate(Duration, Vec<u8>),
    /// Writes the bytes over and over, until the other side closes.
    SayForever(Vec<u8>),
    /// Says nothing.
    Silence,
    /// Closes the connection.
    Close,
}

/// A listener on a free port whose every request is answered by one function.
pub(crate) struct Fake {
    port: Port,
    shared: Arc<Shared>,
}

type AnswerFn = dyn Fn(&[String]) -> Answer + Send + Sync;

struct Shared {
    answer: Box<AnswerFn>,
    ended: AtomicBool,
    connections: AtomicUsize,
    requests: Mutex<Vec<Vec<String>>>,
}

impl Fake {
    /// Starts to listen.
    pub(crate) fn start(answer: impl Fn(&[String]) -> Answer + Send + Sync + 'static) -> Fake {
        let port = Port::reserve();
        let listener = TcpListener::bind(("127.0.0.1", port.number())).expect("a reserved port");
        listener.set_nonblocking(true).expect("a socket option");
        let shared = Arc::new(Shared {
            answer: Box::new(answer),
            ended: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            requests: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accepting.accept(&listener));
        Fake { port, shared }
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    /// How many connections it has taken since it started.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Vec<String>> {
        let requests = self.shared.requests.lock();
        requests.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        while !self.ended.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((stream, _)) => {
                    self.connections.fetch_add(1, Ordering::Relaxed);
                    let shared = Arc::clone(self);
                    std::thread::spawn(move || shared.serve(stream));
                }
                Err(_) => std::thread::sleep(LOOK),
            }
        }
    }

    /// Until the other side closes, an answer says so, or the fake ends.
    fn serve(&self, mut stream: TcpStream) {
        stream.set_nonblocking(false).expect("a socket option");
        stream
            .set_read_timeout(Some(LOOK))
            .expect("a socket option");
        let mut unread = Vec::new();
        let mut chunk = [0; 4096];
        while !self.ended.load(Ordering::Relaxed) {
            match stream.read(&mut chunk) {
                Ok(0) => return,
                Ok(n) => unread.extend_from_slice(&chunk[..n]),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                Err(_) => return,
            }
            while let Ok(Some((words, used))) = decode_request(&unread, &Limits::CLIENT) {
                unread.drain(..used);
                let words: Vec<String> = (words.iter())
                    .map(|word| String::from_utf8_lossy(word).into_owned())
                    .collect();
                let answer = (self.answer)(&words);
                let requests = self.requests.lock();
                requests.unwrap_or_else(PoisonError::into_inner).push(words);
                if !self.give(answer, &mut stream) {
                    return;
                }
            }
        }
    }

    /// False when the connection is over.
    fn give(&self, answer: Answer, stream: &mut TcpStream) -> bool {
        match answer {
            Answer::Say(bytes) => stream.write_all(&bytes).is_ok(),
            Answer::SayLate(delay, bytes) => {
                std::thread::sleep(delay);
                stream.write_all(&bytes).is_ok()
            }
            Answer::SayForever(bytes) => {
                while !self.ended.load(Ordering::Relaxed) {
                    if stream.write_all(&bytes).is_err() {
                        break;
                    }
                }
                false
            }
            Answer::Silence => true,
            Answer::Close => false,
        }
    }
}

/// What an honest master with the run id `run_id` answers. Subscriptions are confirmed and never served.
pub(crate) fn honest_master(run_id: &str, words: &[String]) -> Vec<u8> {
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len()).into_bytes();
    match words[0].to_ascii_uppercase().as_str() {
        "PING" => b"+PONG\r\n".to_vec(),
        "INFO" => bulk(&format!(
            "# Server\r\nredis_version:7.0.15\r\nrun_id:{run_id}\r\n# Replication\r\nrole:master\r\n\
             connected_slaves:0\r\nmaster_repl_offset:0\r\n"
        )),
        "SUBSCRIBE" => [
            b"*3\r\n$9\r\nsubscribe\r\n",
            &bulk(&words[1])[..],
            b":1\r\n",
        ]
        .concat(),
        "PUBLISH" => b":1\r\n".to_vec(),
        _ => b"+OK\r\n".to_vec(),
    }
}
