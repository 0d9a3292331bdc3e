#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test that gets anything else fails and shows it"
)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::time::Duration;

use super::*;
use crate::resp::Value;

/// Links and a server that answers by hand.
struct Bench {
    links: Links,
    ended: mpsc::Receiver<EndedHandshake>,
    listener: TcpListener,
    inputs: VecDeque<Input>,
}

fn bench(test: impl AsyncFnOnce(&mut Bench)) {
    bench_with(LinkOptions::default(), test);
}

fn bench_with(options: LinkOptions, test: impl AsyncFnOnce(&mut Bench)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let (links, ended) = Links::new(options).unwrap();
        let mut bench = Bench {
            links,
            ended,
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            inputs: VecDeque::new(),
        };
        let run = test(&mut bench);
        let limit = Duration::from_secs(20);
        tokio::time::timeout(limit, run).await.expect("in time");
    });
}

impl Bench {
    /// The next input, waiting for it.
    async fn next(&mut self) -> Input {
        loop {
            self.links.flush();
            self.links.take_happened(&mut self.inputs);
            if let Some(input) = self.inputs.pop_front() {
                return input;
            }
            if self.links.refill() {
                self.links.read_next(&mut self.inputs);
                continue;
            }
            let epoll = self.links.epoll();
            tokio::select! {
                ready = wait_readable(&epoll) => ready.unwrap(),
                ended = self.ended.recv() => {
                    self.links.handshake_ended(ended.unwrap(), &mut self.inputs);
                }
            }
        }
    }

    fn connect(&mut self, link: u64) {
        let to = self.listener.local_addr().unwrap();
        self.links.connect(LinkId(link), to, Arc::from("127.0.0.1"));
    }

    /// Opens a link; the server's end of it.
    async fn open(&mut self, link: u64) -> TcpStream {
        self.connect(link);
        let (server, _) = self.listener.accept().unwrap();
        match self.next().await {
            Input::LinkUp { link: up, local } => {
                assert_eq!(up, LinkId(link));
                assert!(local.is_loopback());
            }
            other => panic!("{other:?}"),
        }
        server
    }

    async fn reply(&mut self) -> Value {
        match self.next().await {
            Input::Reply { reply, .. } => reply,
            other => panic!("{other:?}"),
        }
    }

    async fn down(&mut self) -> DownReason {
        match self.next().await {
            Input::LinkDown { link, reason } => {
                assert!(!self.links.contains(link));
                reason
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn requests_due_together_leave_in_one_write() {
    bench(async |bench| {
        let mut server = bench.open(1).await;
        let plain = BTreeMap::new();
        bench.links.send(LinkId(1), &Request::Ping, &plain);
        bench.links.send(LinkId(1), &Request::Info, &plain);
        let mut nothing = [0; 1];
        server.set_nonblocking(true).unwrap();
        assert!(
            server.read(&mut nothing).is_err(),
            "nothing before the flush"
        );
        bench.links.flush();
        server.set_nonblocking(false).unwrap();
        let mut got = [0; 64];
        let count = server.read(&mut got).unwrap();
        assert_eq!(&got[..count], b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nINFO\r\n");
        server.write_all(b"+PONG\r\n$2\r\nhi\r\n").unwrap();
        assert_eq!(bench.reply().await, Value::simple("PONG"));
        assert_eq!(bench.reply().await, Value::bulk("hi"));
    });
}

#[test]
fn a_message_in_pieces_and_one_larger_than_the_buffer() {
    bench(async |bench| {
        let mut server = bench.open(1).await;
        let body = "x".repeat(3 * READ_BYTES);
        let whole = format!("${}\r\n{body}\r\n+OK\r\n", body.len());
        let writer = std::thread::spawn(move || {
            let (head, tail) = whole.as_bytes().split_at(7);
            server.write_all(head).unwrap();
            server.flush().unwrap();
            server.write_all(tail).unwrap();
            server
        });
        assert_eq!(bench.reply().await, Value::bulk(&body));
        assert_eq!(bench.reply().await, Value::ok());
        let link = &bench.links.links[&LinkId(1)];
        assert_eq!(link.partial.capacity(), 0, "an idle link holds no buffer");
        drop(writer.join().unwrap());
        assert_eq!(bench.down().await, DownReason::Closed);
    });
}

#[test]
fn refused_closed_and_garbage_are_told_apart() {
    bench(async |bench| {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = gone.local_addr().unwrap();
        drop(gone);
        bench.links.connect(LinkId(1), nobody, Arc::from("h"));
        assert_eq!(bench.down().await, DownReason::Refused);

        // The last words before the end are heard.
        let mut server = bench.open(2).await;
        server
            .write_all(b"-ERR max number of clients reached\r\n")
            .unwrap();
        server.shutdown(Shutdown::Both).unwrap();
        assert!(bench.reply().await.is_error());
        assert_eq!(bench.down().await, DownReason::Closed);

        let mut server = bench.open(3).await;
        server.write_all(b"HTTP/1.1 400\r\n").unwrap();
        match bench.down().await {
            DownReason::Failed(text) => assert!(text.contains("RESP"), "{text}"),
            other => panic!("{other:?}"),
        }
        assert!(bench.links.is_empty());
    });
}

#[test]
fn who_never_ends_a_message_or_never_reads_is_dropped() {
    bench(async |bench| {
        let mut server = bench.open(1).await;
        let writer = std::thread::spawn(move || {
            let mut line = b"*4096\r\n".to_vec();
            for _ in 0..200 {
                line.extend_from_slice(b"$65000\r\n");
                line.extend(std::iter::repeat_n(b'x', 65_000));
                line.extend_from_slice(b"\r\n");
            }
            // Cut off in the middle, by design.
            let _ = server.write_all(&line);
        });
        match bench.down().await {
            DownReason::Failed(text) => assert!(text.contains("too large"), "{text}"),
            other => panic!("{other:?}"),
        }
        writer.join().unwrap();

        let _server = bench.open(2).await;
        let hello = Request::Publish(Arc::from("x".repeat(100_000)));
        let plain = BTreeMap::new();
        let down = loop {
            bench.links.send(LinkId(2), &hello, &plain);
            bench.links.flush();
            bench.links.take_happened(&mut bench.inputs);
            if let Some(input) = bench.inputs.pop_front() {
                break input;
            }
        };
        match down {
            Input::LinkDown {
                reason: DownReason::Failed(text),
                ..
            } => {
                assert!(text.contains("does not read"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn what_the_socket_did_not_take_follows_in_order() {
    bench(async |bench| {
        let mut server = bench.open(1).await;
        let plain = BTreeMap::new();
        let mut sent = Vec::new();
        while bench.links.links[&LinkId(1)].backlog.is_empty() {
            let request = Request::Publish(Arc::from(format!("{:0>9}", sent.len()).repeat(999)));
            request.encode(&plain, &mut sent);
            bench.links.send(LinkId(1), &request, &plain);
            bench.links.flush();
        }
        bench.links.send(LinkId(1), &Request::Ping, &plain);
        Request::Ping.encode(&plain, &mut sent);
        let expected = sent.len();
        let reader = std::thread::spawn(move || {
            let mut got = vec![0; expected];
            server.read_exact(&mut got).unwrap();
            server.write_all(b"+PONG\r\n").unwrap();
            (got, server)
        });
        assert_eq!(bench.reply().await, Value::simple("PONG"));
        let (got, _server) = reader.join().unwrap();
        assert!(got == sent, "the same bytes in the same order");
        assert_eq!(bench.links.links[&LinkId(1)].backlog.capacity(), 0);
    });
}

#[test]
fn a_closed_link_is_heard_of_no_more() {
    bench(async |bench| {
        let gone = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let mut server = bench.open(1).await;
        bench.links.connect(LinkId(2), gone, Arc::from("h"));
        bench.links.close(LinkId(2));
        server.write_all(b"+PONG\r\n").unwrap();
        bench.links.close(LinkId(1));
        let _third = bench.open(3).await;
        assert!(bench.inputs.is_empty());
        assert_eq!(bench.links.len(), 1);
    });
}

#[test]
fn links_carry_tls() {
    let (_folder, options) = crate::net::test_certificates("somewhere.else");
    let tls = Tls::load(&options).unwrap();
    let server_tls = Tls::load(&options).unwrap();
    let options = LinkOptions {
        tls: Some(Rc::new(tls)),
        ..LinkOptions::default()
    };
    bench_with(options, async |bench| {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        bench.connect(1);
        let (tcp, _) = bench.listener.accept().unwrap();
        tcp.set_nonblocking(true).unwrap();
        let tcp = tokio::net::TcpStream::from_std(tcp).unwrap();
        let handshake = server_tls.accept(tcp).await.unwrap();
        let big = "y".repeat(200_000);
        let answer = format!("+PONG\r\n${}\r\n{big}\r\n", big.len());
        let server = tokio::task::spawn_local(async move {
            let mut stream = handshake.finish().await.unwrap();
            let mut got = [0; 14];
            stream.read_exact(&mut got).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            stream
        });
        assert!(matches!(bench.next().await, Input::LinkUp { .. }));
        bench
            .links
            .send(LinkId(1), &Request::Ping, &BTreeMap::new());
        assert_eq!(bench.reply().await, Value::simple("PONG"));
        assert_eq!(bench.reply().await, Value::bulk(&big));
        drop(server.await.unwrap());
        assert_eq!(bench.down().await, DownReason::Closed);

        // A server without TLS.
        bench.connect(2);
        let (mut tcp, _) = bench.listener.accept().unwrap();
        tcp.write_all(b"-ERR what?\r\n").unwrap();
        match bench.down().await {
            DownReason::Failed(text) => assert!(text.starts_with("TLS: "), "{text}"),
            other => panic!("{other:?}"),
        }
    });
}
