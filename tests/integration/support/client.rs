//! A small blocking RESP client: no pools, no retries, nothing between the test and the bytes.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use sentinel::clock::Clock;
use sentinel::resp::{Limits, Value, decode_value, encode_request};

/// How long a connect and a reply may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Test programs are trusted more than instances.
const LIMITS: Limits = Limits {
    elements_max: 1 << 20,
    elements_total_max: 1 << 22,
    bulk_bytes_max: 1 << 28,
    depth_max: 16,
    ..Limits::INSTANCE
};

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects to a port on loopback.
    ///
    /// # Panics
    /// When nobody listens there.
    pub(crate) fn to(port: u16) -> Client {
        Client::try_to(port).unwrap_or_else(|error| panic!("connect to port {port}: {error}"))
    }

    /// Connects to a port on loopback.
    pub(crate) fn try_to(port: u16) -> io::Result<Client> {
        Client::try_to_within(port, PATIENCE)
    }

    /// Connects with a limit for the connect and for every later reply.
    pub(crate) fn try_to_within(port: u16, patience: Duration) -> io::Result<Client> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Client {
            stream,
            buffer: Vec::new(),
        })
    }

    /// Sends a request and returns its reply, an error reply too.
    ///
    /// # Panics
    /// When the connection fails or stays silent for 5 s.
    pub(crate) fn call(&mut self, words: &[&str]) -> Value {
        self.try_call(words)
            .unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Sends a request and returns its reply, an error reply too.
    pub(crate) fn try_call(&mut self, words: &[&str]) -> io::Result<Value> {
        self.send(words)?;
        self.receive()
    }

    /// The reply to a line, whose words single blanks separate, as text.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        text(&self.call(&line.split(' ').collect::<Vec<_>>()))
    }

    /// Sends a request without waiting for its reply.
    pub(crate) fn send(&mut self, words: &[&str]) -> io::Result<()> {
        let mut bytes = Vec::new();
        encode_request(words, &mut bytes);
        self.stream.write_all(&bytes)
    }

    /// Sends bytes as they are.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next reply or message; `UnexpectedEof` when the other side has closed.
    pub(crate) fn receive(&mut self) -> io::Result<Value> {
        let mut tried = 0;
        loop {
            // A reply of megabytes is not decoded again at every read.
            if self.buffer.len() >= 2 * tried || !self.has_more()? {
                let decoded = decode_value(&self.buffer, &LIMITS)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                if let Some((value, used)) = decoded {
                    self.buffer.drain(..used);
                    return Ok(value);
                }
                tried = self.buffer.len();
            }
            self.read_more()?;
        }
    }

    /// Whether more comes within a millisecond, be it the end.
    fn has_more(&self) -> io::Result<bool> {
        let patience = self.stream.read_timeout()?;
        self.stream
            .set_read_timeout(Some(Duration::from_millis(1)))?;
        let found = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(patience)?;
        Ok(found.is_ok())
    }

    fn read_more(&mut self) -> io::Result<()> {
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                self.buffer.extend_from_slice(&chunk[..n]);
                Ok(())
            }
            // A read with a timeout is not restarted after a signal (a child that ends sends one).
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads (and drops) what comes until the other side closes.
    ///
    /// # Errors
    /// The connection was still open after `within`.
    pub(crate) fn wait_for_close(&mut self, within: Duration) -> io::Result<()> {
        let clock = Clock::start();
        let deadline = clock.mono() + within;
        self.stream
            .set_read_timeout(Some(Duration::from_millis(50)))?;
        let mut chunk = [0; 16 * 1024];
        while clock.mono() < deadline {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock
                            | io::ErrorKind::TimedOut
                            | io::ErrorKind::Interrupted
                    ) => {}
                Err(_) => return Ok(()),
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// The stream underneath.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

/// A reply as text: strings, errors and numbers as they are, nil as `(nil)`, aggregates joined by blanks.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Simple(bytes)
        | Value::Error(bytes)
        | Value::Bulk(bytes)
        | Value::BigNumber(bytes)
        | Value::Verbatim(_, bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Integer(n) => n.to_string(),
        Value::Double(n) => n.to_string(),
        Value::Boolean(is) => is.to_string(),
        Value::Null | Value::NullArray => "(nil)".to_owned(),
        Value::Array(_) | Value::Set(_) | Value::Push(_) | Value::Map(_) => texts(value).join(" "),
    }
}

/// The elements of an aggregate as texts, a map's names and values in turn; empty for anything else.
pub(crate) fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) | Value::Set(items) | Value::Push(items) => {
            items.iter().map(text).collect()
        }
        Value::Map(pairs) => pairs
            .iter()
            .flat_map(|(name, value)| [text(name), text(value)])
            .collect(),
        Value::Simple(_)
        | Value::Error(_)
        | Value::Bulk(_)
        | Value::BigNumber(_)
        | Value::Verbatim(..)
        | Value::Integer(_)
        | Value::Double(_)
        | Value::Boolean(_)
        | Value::Null
        | Value::NullArray => Vec::new(),
    }
}

/// Names and values, as `SENTINEL MASTER` has them.
pub(crate) fn fields(value: &Value) -> BTreeMap<String, String> {
    texts(value)
        .chunks_exact(2)
        .map(|pair| (pair[0].clone(), pair[1].clone()))
        .collect()
}

/// A list of such maps, as `SENTINEL REPLICAS` has it.
pub(crate) fn maps(value: &Value) -> Vec<BTreeMap<String, String>> {
    if let Value::Array(items) = value {
        items.iter().map(fields).collect()
    } else {
        Vec::new()
    }
}
