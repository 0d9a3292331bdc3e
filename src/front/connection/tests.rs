use super::*;
use crate::clock::Mono;
use crate::front::toy::Toy;
use crate::front::{ClientAddr, LINGER_MAX};
use crate::resp::{OWN_BUFFER_MIN, Value};
use bytes::Bytes;
use std::cell::Cell;
use tokio::io::{DuplexStream, ReadBuf};
use tokio::task::LocalSet;

fn connect(toy: &Rc<RefCell<Toy>>) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    tokio::task::spawn_local(serve(Rc::clone(toy), theirs, peer()));
    ours
}

fn peer() -> Peer {
    let addr = ClientAddr::Tcp("127.0.0.1:1".parse().unwrap());
    Peer {
        addr: addr.clone(),
        laddr: addr,
        fd: -1,
    }
}

/// A connection that notes how many turns were over when it was first written to.
struct Noting {
    inner: DuplexStream,
    turns: Rc<Cell<usize>>,
    at_write: Rc<Cell<Option<usize>>>,
}

impl AsyncRead for Noting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Noting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let first = self.at_write.get().or(Some(self.turns.get()));
        self.at_write.set(first);
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[test]
fn replies_leave_when_all_that_are_ready_have_run() {
    run(async {
        let toy = Toy::shared();
        let mut clients = Vec::new();
        for _ in 0..3 {
            let (inner, mut client) = tokio::io::duplex(1 << 10);
            let at_write = Rc::new(Cell::new(None));
            let noting = Noting {
                inner,
                turns: Rc::clone(&toy.borrow().turns),
                at_write: Rc::clone(&at_write),
            };
            tokio::task::spawn_local(serve(Rc::clone(&toy), noting, peer()));
            client.write_all(b"PING\r\n").await.unwrap();
            clients.push((client, at_write));
        }
        for (client, at_write) in &mut clients {
            expect(client, "+PONG\r\n").await;
            assert_eq!(at_write.get(), Some(3), "turns before the first byte");
        }
    });
}

#[test]
fn nobody_is_evicted_for_replies_that_could_not_leave_yet() {
    run(async {
        let toy = Toy::shared();
        toy.borrow_mut().front.limit_client_memory(50_000);
        let [mut reader, mut other, mut third] = [(); 3].map(|()| {
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            tokio::task::spawn_local(serve(Rc::clone(&toy), theirs, peer()));
            ours
        });
        let subscribe = "HELLO 3\r\nSUBSCRIBE a\r\n";
        reader.write_all(subscribe.as_bytes()).await.unwrap();
        let mut greeting = Vec::new();
        while !greeting.ends_with(b"$1\r\na\r\n:1\r\n") {
            assert!(reader.read_buf(&mut greeting).await.unwrap() > 0);
        }
        // All are ready at once. What the second one does has the first counted anew, and the third has the sum
        // looked at.
        reader.write_all(b"REPEAT 1 60000\r\n").await.unwrap();
        other.write_all(b"PUBLISH a m\r\n").await.unwrap();
        third.write_all(b"PING\r\n").await.unwrap();
        let mut reply = vec![0; 60_000];
        reader.read_exact(&mut reply).await.unwrap();
        expect(&mut other, ":1\r\n").await;
        assert_eq!(toy.borrow().front.stats.evicted_clients, 0);
    });
}

async fn ask(stream: &mut DuplexStream, request: &str, want: &str) {
    stream.write_all(request.as_bytes()).await.unwrap();
    expect(stream, want).await;
}

async fn expect(stream: &mut DuplexStream, want: &str) {
    let mut got = vec![0; want.len()];
    stream.read_exact(&mut got).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&got), want);
}

/// What a test waits for and never happens fails it.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let test = async { tokio::time::timeout(Duration::from_secs(60), test).await };
    let ended = LocalSet::new().block_on(&runtime, test);
    assert!(ended.is_ok(), "what the test waits for does not happen");
}

#[test]
fn a_batch_is_one_turn_and_errors_keep_the_connection() {
    run(async {
        let toy = Toy::shared();
        let mut client = connect(&toy);
        ask(
            &mut client,
            "PING\r\nfoo bar\r\n*2\r\n$4\r\nping\r\n$1\r\nx\r\n",
            "+PONG\r\n-ERR unknown command 'foo', with args beginning with: 'bar' \r\n$1\r\nx\r\n",
        )
        .await;
        assert_eq!(toy.borrow().turns.get(), 1);
        ask(
            &mut client,
            "*1\r\n:\r\n",
            "-ERR Protocol error: expected '$', got ':'\r\n",
        )
        .await;
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0, "closed");
        while !toy.borrow().front.clients.is_empty() {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_request_larger_than_the_query_buffer_ends_the_connection() {
    run(async {
        let toy = Toy::shared();
        toy.borrow_mut().front.settings.query_bytes_max = 1000;
        let mut client = connect(&toy);
        let mut request = b"PING\r\n*2\r\n$3\r\nGET\r\n$5000\r\n".to_vec();
        request.resize(2000, b'x');
        client.write_all(&request).await.unwrap();
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"", "what was queued goes with the connection");
        assert!(toy.borrow().front.clients.is_empty());
    });
}

/// A stream that cannot be ended for as long as nobody reads what was written before, as with TLS.
struct Unread(DuplexStream);

impl AsyncRead for Unread {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Unread {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
}

#[test]
fn a_session_that_cannot_be_ended_is_dropped() {
    run(async {
        for how in [Closing::Now, Closing::AfterReplies] {
            let toy = Toy::shared();
            let (mut client, theirs) = tokio::io::duplex(1 << 16);
            let served = serve(Rc::clone(&toy), Unread(theirs), peer());
            let served = tokio::task::spawn_local(served);
            ask(&mut client, "PING\r\n", "+PONG\r\n").await;
            let close = |toy: &mut Toy| toy.front.clients.current(ClientId(1)).close(how);
            close(&mut toy.borrow_mut());
            served.await.unwrap();
            assert!(toy.borrow().front.clients.is_empty());
        }
    });
}

#[test]
fn one_that_is_to_go_may_read_slowly_but_not_cease() {
    run(async {
        let toy = Toy::shared();
        let mut client = connect(&toy);
        client.write_all(b"PING\r\n").await.unwrap();
        client.read_exact(&mut [0; 7]).await.unwrap();
        let queued = 1 << 19;
        {
            let front = &mut toy.borrow_mut().front;
            let client = front.clients.current(ClientId(1));
            client.output.push(Bytes::from(vec![b'x'; queued]));
            client.close(Closing::AfterReplies);
        }
        let tick_later = |later| {
            let toy = &mut *toy.borrow_mut();
            toy.now.mono += later;
            toy.front.tick(toy.now.mono);
        };
        let mut chunk = vec![0; 1 << 16];
        for _ in 0..queued / chunk.len() / 2 {
            client.read_exact(&mut chunk).await.unwrap();
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            tick_later(LINGER_MAX * 2 / 3);
        }
        tick_later(LINGER_MAX * 2);
        let mut left = Vec::new();
        client.read_to_end(&mut left).await.unwrap();
        assert!(left.len() < queued / 2, "it was cut off");
    });
}

#[test]
fn a_long_pipeline_takes_more_than_one_turn() {
    run(async {
        let toy = Toy::shared();
        let mut client = connect(&toy);
        let count = TURN_COMMANDS_MAX + 10;
        let request = "PING\r\n".repeat(count);
        ask(&mut client, &request, &"+PONG\r\n".repeat(count)).await;
        assert!(
            toy.borrow().turns.get() >= 2,
            "others get their turn in between"
        );
    });
}

#[test]
fn who_sends_without_a_pause_takes_more_than_one_turn() {
    const LEN: usize = 8 * TURN_INPUT_BYTES_MAX;
    const WORDS: usize = LEN / 7;
    let long_word = format!("*2\r\n$4\r\nPING\r\n${LEN}\r\n{}", "x".repeat(LEN - 1));
    let many_words = format!("*{}\r\n{}", WORDS + 1, "$1\r\nx\r\n".repeat(WORDS));
    for request in [long_word, many_words] {
        run(async {
            let toy = Toy::shared();
            let (mut client, theirs) = tokio::io::duplex(2 * LEN);
            tokio::task::spawn_local(serve(Rc::clone(&toy), theirs, peer()));
            client.write_all(request.as_bytes()).await.unwrap();
            let mut read = 0;
            while read < request.len() as u64 {
                tokio::task::yield_now().await;
                let all = toy.borrow().front.stats.net_input_bytes;
                let in_turn = usize::try_from(all - read).unwrap();
                assert!(in_turn < 2 * TURN_INPUT_BYTES_MAX, "{in_turn}");
                read = all;
            }
        });
    }
}

#[test]
fn long_replies_take_more_than_one_turn() {
    run(async {
        let toy = Toy::shared();
        let mut client = connect(&toy);
        let mut left = 3 * TURN_REPLY_BYTES_MAX;
        // Few enough for one turn by their number.
        let requests = "COMMAND\r\n".repeat(TURN_COMMANDS_MAX / 2);
        client.write_all(requests.as_bytes()).await.unwrap();
        let mut chunk = vec![0; 64 * 1024];
        while left > 0 {
            left = left.saturating_sub(client.read(&mut chunk).await.unwrap());
        }
        assert!(
            toy.borrow().turns.get() >= 3,
            "others get their turn in between"
        );
    });
}

#[test]
fn who_has_yet_to_authenticate_may_leave_little_unread() {
    const COUNT: usize = 50_000;
    run(async {
        let toy = Toy::shared();
        toy.borrow_mut().front.acl.set_requirepass(Some(b"secret"));
        let (mut reader, mut writer) = tokio::io::split(connect(&toy));
        tokio::task::spawn_local(async move {
            let requests = "a\r\n".repeat(COUNT) + "AUTH secret\r\nPING\r\n";
            writer.write_all(requests.as_bytes()).await.unwrap();
        });
        for _ in 0..2000 {
            tokio::task::yield_now().await;
        }
        {
            let front = &mut toy.borrow_mut().front;
            let client = front.clients.current(ClientId(1));
            let unread = client.output.len();
            let most = UNAUTHENTICATED_STALL_BYTES..=UNAUTHENTICATED_STALL_BYTES + 100;
            assert!(most.contains(&unread), "{unread} bytes");
            assert!(client.query_bytes <= READ_BYTES);
        }
        let mut heard = Vec::new();
        while !heard.ends_with(b"+OK\r\n+PONG\r\n") {
            assert_ne!(reader.read_buf(&mut heard).await.unwrap(), 0);
        }
        assert_eq!(memchr::memchr_iter(b'\n', &heard).count(), COUNT + 2);
    });
}

#[test]
fn what_waits_for_a_replica_does_not_keep_its_acknowledgements_back() {
    run(async {
        let toy = Toy::shared();
        let (mut normal, mut replica) = (connect(&toy), connect(&toy));
        for client in [&mut normal, &mut replica] {
            ask(client, "PING\r\n", "+PONG\r\n").await;
        }
        for client in toy.borrow_mut().front.clients.iter_mut() {
            client
                .output
                .push(Bytes::from(vec![b'x'; 2 * Toy::OUTPUT_STALL_BYTES]));
            if client.id == ClientId(2) {
                client.kind = ClientKind::Replica;
            }
        }
        let executed = || toy.borrow().front.stats.commands;
        normal.write_all(b"PING\r\nPING\r\n").await.unwrap();
        replica.write_all(b"PING\r\nPING\r\n").await.unwrap();
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert_eq!(executed(), 4, "the replica's alone");
    });
}

#[test]
fn a_waiting_client_keeps_its_later_commands_back() {
    run(async {
        let toy = Toy::shared();
        let mut client = connect(&toy);
        ask(&mut client, "PING\r\nwait\r\nPING 2\r\n", "+PONG\r\n").await;
        let on = toy.borrow().wait.unwrap();
        assert!(toy.borrow_mut().front.clients.resolve(on, &Value::ok()));
        expect(&mut client, "+OK\r\n$1\r\n2\r\n").await;
        assert!(!toy.borrow_mut().front.clients.resolve(on, &Value::ok()));
    });
}

#[test]
fn a_client_that_goes_while_it_waits_is_noticed_behind_all_that_it_sent() {
    run(async {
        let toy = Toy::shared();
        let mut client = connect(&toy);
        ask(&mut client, "PING\r\nwait\r\n", "+PONG\r\n").await;
        let on = toy.borrow().wait.unwrap();
        let requests = "PING\r\n".repeat(READ_AHEAD_BYTES);
        client.write_all(requests.as_bytes()).await.unwrap();
        drop(client);
        while !toy.borrow().front.clients.is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(!toy.borrow_mut().front.clients.resolve(on, &Value::ok()));
        assert_eq!(toy.borrow().front.stats.commands, 2);
    });
}

#[test]
fn what_was_sent_while_it_waited_runs_then() {
    const LEN: usize = 6 * READ_AHEAD_BYTES;
    let word = "x".repeat(LEN);
    // More than lies in one piece, which may end where a request does, or in a long word, or elsewhere.
    let cases = [
        ("PING 1\r\n", "$1\r\n1\r\n", LEN / 8),
        ("PING\r\n", "+PONG\r\n", 4 * READ_AHEAD_BYTES),
    ]
    .map(|(request, reply, count)| (request.repeat(count), reply.repeat(count)));
    let long = (
        format!("*2\r\n$4\r\nPING\r\n${LEN}\r\n{word}\r\n"),
        format!("${LEN}\r\n{word}\r\n"),
    );
    for (requests, replies) in cases.into_iter().chain([long]) {
        for is_last in [false, true] {
            run(async {
                let toy = Toy::shared();
                let mut client = connect(&toy);
                ask(&mut client, "PING\r\nwait\r\n", "+PONG\r\n").await;
                let on = toy.borrow().wait.unwrap();
                let before = toy.borrow().front.stats.net_input_bytes;
                client.write_all(requests.as_bytes()).await.unwrap();
                let sent = before + requests.len() as u64;
                while toy.borrow().front.stats.net_input_bytes < sent {
                    tokio::task::yield_now().await;
                }
                assert!(toy.borrow_mut().front.clients.resolve(on, &Value::ok()));
                if is_last {
                    client.shutdown().await.unwrap();
                }
                expect(&mut client, &("+OK\r\n".to_owned() + &replies)).await;
            });
        }
    }
}

#[test]
fn room_for_a_word_that_was_only_announced_is_the_clients() {
    run(async {
        let toy = Toy::shared();
        let mut client = connect(&toy);
        let announced = format!("*1\r\n${}\r\n", 2 * OWN_BUFFER_MIN);
        client.write_all(announced.as_bytes()).await.unwrap();
        let room = || {
            let toy = toy.borrow();
            let client = toy.front.clients.iter().next();
            client.map_or(0, |client| client.query_free_bytes)
        };
        while room() < OWN_BUFFER_MIN {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_client_that_waits_may_not_send_more_than_the_query_buffer_holds() {
    run(async {
        let toy = Toy::shared();
        toy.borrow_mut().front.settings.query_bytes_max = 2 * READ_AHEAD_BYTES;
        let mut client = connect(&toy);
        ask(&mut client, "PING\r\nwait\r\n", "+PONG\r\n").await;
        let requests = "PING\r\n".repeat(READ_AHEAD_BYTES);
        assert!(
            client.write_all(requests.as_bytes()).await.is_err(),
            "closed"
        );
    });
}

#[test]
fn commands_behind_a_reply_still_to_come_run_and_are_answered_in_order() {
    run(async {
        let toy = Toy::shared();
        let mut client = connect(&toy);
        ask(&mut client, "PING\r\nlater\r\nPING 2\r\n", "+PONG\r\n").await;
        let first = toy.borrow().wait.unwrap();
        client
            .write_all(b"later\r\nPING 3\r\n*1\r\n:\r\n")
            .await
            .unwrap();
        while toy.borrow().front.stats.commands < 5 {
            tokio::task::yield_now().await;
        }
        let second = toy.borrow().wait.unwrap();
        let resolve = |on| toy.borrow_mut().front.clients.resolve(on, &Value::ok());
        assert!(resolve(second));
        let mut byte = [0; 1];
        let early = client.read(&mut byte);
        tokio::select! {
            biased;
            _ = early => panic!("a reply left before the one in front of it"),
            () = tokio::task::yield_now() => {}
        }
        assert!(resolve(first));
        expect(
            &mut client,
            "+OK\r\n$1\r\n2\r\n+OK\r\n$1\r\n3\r\n-ERR Protocol error: expected '$', got ':'\r\n",
        )
        .await;
        assert_eq!(client.read(&mut byte).await.unwrap(), 0, "closed");
    });
}

#[test]
fn replies_still_to_come_are_counted_and_forgotten_with_the_client() {
    run(async {
        let toy = Toy::shared();
        let mut client = connect(&toy);
        let mut request = "later\r\n".repeat(2000);
        request.insert_str(0, "PING\r\n");
        ask(&mut client, &request, "+PONG\r\n").await;
        let executed = || toy.borrow().front.stats.commands;
        while executed() < 1026 {
            tokio::task::yield_now().await;
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(executed(), 1026, "the last one keeps the rest back");
        let last = toy.borrow().wait.unwrap();
        drop(client);
        while !toy.borrow().front.clients.is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(toy.borrow().front.clients.waiting_for(last), None);
    });
}

#[test]
fn held_replies_leave_when_they_are_released() {
    run(async {
        let toy = Toy::shared();
        let mut client = connect(&toy);
        client.write_all(b"hold\r\nPING\r\n").await.unwrap();
        while toy.borrow().wait.is_none() {
            tokio::task::yield_now().await;
        }
        let mut byte = [0; 1];
        let early = client.read(&mut byte);
        tokio::select! {
            biased;
            _ = early => panic!("the reply left before its release"),
            () = tokio::task::yield_now() => {}
        }
        let on = toy.borrow().wait.unwrap();
        assert_eq!(toy.borrow_mut().front.clients.release(on), None);
        expect(&mut client, "+HELD\r\n+PONG\r\n").await;
    });
}

#[test]
fn a_client_that_sends_no_more_gets_the_replies_that_are_held() {
    run(async {
        let toy = Toy::shared();
        let mut client = connect(&toy);
        // What is behind the one that holds runs when that is released.
        let count = 2 * TURN_COMMANDS_MAX;
        let requests = "hold\r\n".to_owned() + &"PING\r\n".repeat(count);
        client.write_all(requests.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        while toy.borrow().wait.is_none() {
            tokio::task::yield_now().await;
        }
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let on = toy.borrow().wait.unwrap();
        assert_eq!(toy.borrow_mut().front.clients.release(on), None);
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "+HELD\r\n".to_owned() + &"+PONG\r\n".repeat(count));
        assert!(toy.borrow().front.clients.is_empty());
    });
}

#[test]
fn a_subscriber_that_sends_no_more_gets_what_is_queued_and_goes() {
    run(async {
        let toy = Toy::shared();
        let mut client = connect(&toy);
        client
            .write_all(b"HELLO 3\r\nSUBSCRIBE a\r\nhold\r\n")
            .await
            .unwrap();
        client.shutdown().await.unwrap();
        while toy.borrow().wait.is_none() {
            tokio::task::yield_now().await;
        }
        let on = toy.borrow().wait.unwrap();
        {
            let front = &mut toy.borrow_mut().front;
            let queued = Bytes::from(vec![b'x'; 1 << 18]);
            assert!(front.clients.send(ClientId(1), queued, Mono(1)));
            let rest = front.clients.release(on).expect("it came during the hold");
            assert_eq!(front.clients.release(rest), None);
        }
        while toy
            .borrow()
            .front
            .clients
            .get(ClientId(1))
            .unwrap()
            .is_ready()
        {
            tokio::task::yield_now().await;
        }
        let message = Bytes::from_static(b"late");
        let is_sent = toy
            .borrow_mut()
            .front
            .clients
            .send(ClientId(1), message, Mono(1));
        assert!(!is_sent, "it would never be at its end");
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert!(heard.ends_with(b"xxxx"));
    });
}

#[test]
fn what_was_held_leaves_though_more_comes_all_the_time() {
    run(async {
        let toy = Toy::shared();
        let mut client = connect(&toy);
        ask(&mut client, "PING\r\n", "+PONG\r\n").await;
        let tell = |text: &'static str| {
            let clients = &mut toy.borrow_mut().front.clients;
            assert!(clients.send(ClientId(1), Bytes::from_static(text.as_bytes()), Mono(0)));
            clients.hold(ClientId(1))
        };
        let first = tell("+1\r\n").unwrap();
        assert_eq!(tell("+2\r\n"), None, "held already");
        // Its commands run; what they answer stays behind what is held.
        client.write_all(b"PING\r\n").await.unwrap();
        while toy.borrow().front.stats.commands < 2 {
            tokio::task::yield_now().await;
        }
        let release = |on| toy.borrow_mut().front.clients.release(on);
        let second = release(first).unwrap();
        assert_eq!(tell("+3\r\n"), None, "held again");
        expect(&mut client, "+1\r\n").await;
        let mut byte = [0; 1];
        tokio::select! {
            biased;
            _ = client.read(&mut byte) => panic!("what came during the hold left with it"),
            () = tokio::task::yield_now() => {}
        }
        let third = release(second).unwrap();
        expect(&mut client, "+2\r\n+PONG\r\n").await;
        assert_eq!(release(third), None);
        expect(&mut client, "+3\r\n").await;
        assert_eq!(toy.borrow().front.clients.waiting_for(third), None);
    });
}

#[test]
fn messages_reach_subscribers_of_both_protocols() {
    run(async {
        let toy = Toy::shared();
        let (mut old, mut new) = (connect(&toy), connect(&toy));
        ask(
            &mut old,
            "SUBSCRIBE a\r\n",
            "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
        )
        .await;
        new.write_all(b"HELLO 3\r\nPSUBSCRIBE ?\r\n").await.unwrap();
        let mut greeting = vec![0; 512];
        let mut text = String::new();
        while !text.contains("psubscribe") {
            let n = new.read(&mut greeting).await.unwrap();
            text.push_str(&String::from_utf8_lossy(&greeting[..n]));
        }
        ask(
            &mut new,
            "publish a m\r\n",
            ":2\r\n>4\r\n$8\r\npmessage\r\n$1\r\n?\r\n$1\r\na\r\n$1\r\nm\r\n",
        )
        .await;
        expect(&mut old, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nm\r\n").await;
    });
}
