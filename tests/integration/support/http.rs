//! A small blocking HTTP client: one request per connection, nothing between the test and the bytes. And curl.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use super::Port;

/// How long a connect and an answer may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The header fields, names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// The body.
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The `error` of the body.
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }

    /// A header field; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// An HTTP port on loopback.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Web {
    /// The port.
    pub(crate) port: u16,
}

impl Web {
    /// At a port of ours.
    pub(crate) fn at(port: &Port) -> Web {
        Web {
            port: port.number(),
        }
    }

    /// A connection to it.
    pub(crate) fn connect(self) -> io::Result<TcpStream> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// `GET`.
    ///
    /// # Panics
    /// When there is no answer.
    pub(crate) fn get(self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }

    /// Any request with header fields and a body.
    ///
    /// # Panics
    /// When there is no answer.
    pub(crate) fn send(self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        self.try_send(method, path, headers, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Any request with header fields and a body.
    pub(crate) fn try_send(
        self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &str,
    ) -> io::Result<Answer> {
        let mut stream = self.connect()?;
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
        for header in headers {
            text += &format!("{header}\r\n");
        }
        if !body.is_empty() {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        stream.write_all(format!("{text}\r\n{body}").as_bytes())?;
        let mut reader = BufReader::new(stream);
        let (mut answer, rest) = read_head(&mut reader)?;
        rest.read_to_string(&mut answer.body)?;
        Ok(answer)
    }

    /// Any request, asked by curl.
    ///
    /// # Panics
    /// When there is no answer.
    pub(crate) fn curl(self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        let mut command = Command::new("curl");
        // Neither this machine's settings nor its proxy.
        command.args(["--disable", "--noproxy", "*", "--globoff"]);
        command.args(["--silent", "--show-error", "--include", "--max-time", "15"]);
        match method {
            "HEAD" => command.arg("--head"),
            method => command.args(["--request", method]),
        };
        command.args(headers.iter().flat_map(|header| ["--header", header]));
        if !body.is_empty() {
            command.args(["--data", body]);
        }
        command.arg(format!("http://127.0.0.1:{}{path}", self.port));
        let output = command.output().expect("curl, of the package curl");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {said}");
        let (mut answer, rest) = read_head(&mut &output.stdout[..])
            .map(|(answer, rest)| (answer, rest.to_vec()))
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        answer.body = String::from_utf8(rest).expect("text");
        answer
    }

    /// Opens a stream of events.
    ///
    /// # Panics
    /// When it is refused.
    pub(crate) fn events(self, path: &str, headers: &[&str]) -> Events {
        let mut stream = self.connect().expect("an HTTP port");
        let mut text = format!("GET {path} HTTP/1.1\r\nHost: test\r\n");
        for header in headers {
            text += &format!("{header}\r\n");
        }
        let sent = stream.write_all(format!("{text}\r\n").as_bytes());
        sent.expect("the request is written");
        let mut reader = BufReader::new(stream);
        let (answer, _) = read_head(&mut reader).expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), "text/event-stream");
        Events { reader }
    }
}

/// Reads up to the empty line; what follows is the body.
fn read_head<R: BufRead>(reader: &mut R) -> io::Result<(Answer, &mut R)> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, line.clone()))?;
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let answer = Answer {
        status,
        headers,
        body: String::new(),
    };
    Ok((answer, reader))
}

/// A stream of server-sent events.
pub(crate) struct Events {
    reader: BufReader<TcpStream>,
}

/// One of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    /// Its id.
    pub(crate) id: String,
    /// Its type; empty for the usual one.
    pub(crate) kind: String,
    /// Its data.
    pub(crate) data: serde_json::Value,
}

impl Events {
    /// The next one; `UnexpectedEof` when the stream has ended.
    pub(crate) fn next(&mut self) -> io::Result<Sent> {
        let mut sent = Sent::default();
        let mut line = String::new();
        loop {
            line.clear();
            if self.reader.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            // The sizes of the chunks stand between; no line of an event looks like one.
            if let Some(id) = line.strip_prefix("id: ") {
                id.trim_end().clone_into(&mut sent.id);
            } else if let Some(kind) = line.strip_prefix("event: ") {
                kind.trim_end().clone_into(&mut sent.kind);
            } else if let Some(data) = line.strip_prefix("data: ") {
                sent.data = serde_json::from_str(data).expect("JSON");
                return Ok(sent);
            }
        }
    }

    /// The next one of this name.
    ///
    /// # Panics
    /// When the stream ends before.
    pub(crate) fn wait_for(&mut self, event: &str) -> Sent {
        loop {
            let sent = (self.next()).unwrap_or_else(|error| panic!("no {event}: {error}"));
            if sent.data["event"] == event {
                return sent;
            }
        }
    }
}
