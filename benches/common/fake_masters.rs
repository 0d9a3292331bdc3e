//! Thousands of masters in one process: every loopback address on one port is one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use sentinel::resp::{Limits, Protocol, Value, decode_request, encode_value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::LocalSet;

/// The option that turns the benchmark into the fakes; its value is the port.
pub(crate) const OPTION: &str = "--fake-masters";
/// The INFO that every fake gives, in the current folder, but for its run id.
pub(crate) const INFO_FILE: &str = "info.txt";

/// A sentinel connects twice per master within a second or so.
const BACKLOG: u32 = 4096;
const LISTENERS: usize = 4;

/// The subscribed connections of one master, each with what it has yet to be told.
type Subscribers = Vec<Rc<Mailbox>>;

#[derive(Default)]
struct Mailbox {
    bytes: RefCell<Vec<u8>>,
    filled: Notify,
}

#[derive(Default)]
struct Fakes {
    info: String,
    subscribers: RefCell<HashMap<IpAddr, Subscribers>>,
}

/// Serves until the process is ended.
pub(crate) fn serve(port: u16) {
    let info = std::fs::read_to_string(INFO_FILE).expect("the INFO to give");
    let fakes = Rc::new(Fakes {
        info,
        ..Fakes::default()
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(LocalSet::new().run_until(async move {
        let mut accepting = Vec::new();
        for _ in 0..LISTENERS {
            let listener = listen(port);
            accepting.push(tokio::task::spawn_local(accept(
                listener,
                Rc::clone(&fakes),
            )));
        }
        for task in accepting {
            task.await.expect("accepting does not end");
        }
    }));
}

fn listen(port: u16) -> TcpListener {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseport(true).expect("several listeners");
    socket
        .bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
        .expect("the port is free");
    socket.listen(BACKLOG).expect("a listener")
}

async fn accept(listener: TcpListener, fakes: Rc<Fakes>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::task::spawn_local(connection(stream, Rc::clone(&fakes)));
            }
            Err(error) => panic!("accept: {error}"),
        }
    }
}

async fn connection(mut stream: TcpStream, fakes: Rc<Fakes>) {
    let Ok(address) = stream.local_addr() else {
        return;
    };
    let mailbox = Rc::new(Mailbox::default());
    let mut unread = Vec::new();
    loop {
        let mut chunk = [0; 2048];
        tokio::select! {
            read = stream.read(&mut chunk) => match read {
                Ok(0) | Err(_) => break,
                Ok(n) => unread.extend_from_slice(&chunk[..n]),
            },
            () = mailbox.filled.notified() => {}
        }
        let mut out = Vec::new();
        while let Ok(Some((words, used))) = decode_request(&unread, &Limits::CLIENT) {
            unread.drain(..used);
            fakes.answer(address.ip(), &words, &mailbox, &mut out);
        }
        if unread.is_empty() {
            unread = Vec::new();
        }
        out.append(&mut mailbox.bytes.borrow_mut());
        if stream.write_all(&out).await.is_err() {
            break;
        }
    }
    if let Some(list) = fakes.subscribers.borrow_mut().get_mut(&address.ip()) {
        list.retain(|other| !Rc::ptr_eq(other, &mailbox));
    }
}

impl Fakes {
    fn answer(
        &self,
        address: IpAddr,
        words: &[bytes::Bytes],
        mailbox: &Rc<Mailbox>,
        out: &mut Vec<u8>,
    ) {
        let Some(command) = words.first() else {
            return;
        };
        let reply = match command.to_ascii_uppercase().as_slice() {
            b"PING" => Value::simple("PONG"),
            b"INFO" => Value::bulk(self.info_of(address)),
            b"SUBSCRIBE" => {
                let mut all = self.subscribers.borrow_mut();
                all.entry(address).or_default().push(Rc::clone(mailbox));
                Value::Array(vec![
                    Value::bulk("subscribe"),
                    Value::Bulk(words[1].clone()),
                    Value::Integer(1),
                ])
            }
            b"PUBLISH" => self.publish(address, words),
            _ => Value::ok(),
        };
        encode_value(&reply, Protocol::Resp2, out);
    }

    fn publish(&self, address: IpAddr, words: &[bytes::Bytes]) -> Value {
        let message = Value::Array(vec![
            Value::bulk("message"),
            Value::Bulk(words[1].clone()),
            Value::Bulk(words[2].clone()),
        ]);
        let all = self.subscribers.borrow();
        let list = all.get(&address).map_or(&[][..], Vec::as_slice);
        for mailbox in list {
            encode_value(&message, Protocol::Resp2, &mut mailbox.bytes.borrow_mut());
            mailbox.filled.notify_one();
        }
        Value::Integer(i64::try_from(list.len()).expect("few subscribers"))
    }

    /// The INFO with 40 hexadecimal digits made of the address as its run id.
    fn info_of(&self, address: IpAddr) -> String {
        let mut lines = String::with_capacity(self.info.len() + 64);
        for line in self.info.lines() {
            if line.starts_with("run_id:") {
                let IpAddr::V4(ip) = address else {
                    unreachable!("the listeners are IPv4")
                };
                lines.push_str(&format!("run_id:{:040x}", ip.to_bits()));
            } else {
                lines.push_str(line);
            }
            lines.push_str("\r\n");
        }
        lines
    }
}
