//! The daemon in this process, over masters made up here.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::front::Program;
use crate::ids::{Epoch, MasterName};
use crate::resp::{Limits, decode_request};
use crate::sentinel::commands::commands;
use crate::sentinel::core::{DurableMaster, MasterSettings, Operator, ReplyTo};

/// A master that answers what a sentinel asks; `pings` counts.
async fn fake_master(listener: TcpListener, pings: Rc<Cell<u32>>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let pings = Rc::clone(&pings);
        tokio::task::spawn_local(async move {
            let mut input = Vec::new();
            while stream.read_buf(&mut input).await.is_ok_and(|n| n > 0) {
                while let Ok(Some((words, used))) = decode_request(&input, &Limits::CLIENT) {
                    input.drain(..used);
                    let reply: &[u8] = match &*words[0].to_ascii_uppercase() {
                        b"PING" => {
                            pings.set(pings.get() + 1);
                            b"+PONG\r\n"
                        }
                        b"INFO" => b"$13\r\nrole:master\r\n\r\n",
                        _ => b"+OK\r\n",
                    };
                    if stream.write_all(reply).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

fn watching(master: SocketAddr, down_after: Duration) -> Durable {
    let settings = MasterSettings {
        down_after,
        ..MasterSettings::new(1)
    };
    let master = DurableMaster {
        name: MasterName::from("m"),
        host: Arc::from(master.ip().to_string()),
        port: master.port(),
        settings,
        config_epoch: Epoch(0),
        leader_epoch: Epoch(0),
        replicas: Vec::new(),
        peers: Vec::new(),
        paused: None,
    };
    Durable {
        masters: vec![Arc::new(master)],
        ..Durable::default()
    }
}

fn parts(durable: Durable, save: Save) -> Parts {
    let clock = Clock::start();
    Parts {
        clock,
        seed: 1,
        durable,
        save,
        records: Vec::new(),
        history: None,
        links: LinkOptions::default(),
        links_reckoned: 1,
        front: Front::new(commands()),
        process: Process::of_sentinel(),
        info: ProcessInfo {
            run_id: crate::ids::RunId::from("r"),
            tcp_port: 26379,
            config_file: String::new(),
            executable: String::new(),
            started: clock.mono(),
            supervised: "no",
            shutdown_at: None,
        },
    }
}

/// A disk that does not answer until something is sent.
fn stuck_disk() -> (Save, SyncSender<()>, Receiver<()>) {
    let (release, wait) = sync_channel(8);
    let (begun, begins) = sync_channel(8);
    let save = move |_: &Snapshot| {
        begun.send(()).map_err(|error| error.to_string())?;
        wait.recv().map_err(|error| error.to_string())
    };
    (Box::new(save), release, begins)
}

fn on_loop(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let limit = Duration::from_secs(20);
    let test = async { tokio::time::timeout(limit, test).await.expect("in time") };
    tokio::task::LocalSet::new().block_on(&runtime, test);
    runtime.shutdown_background();
}

/// Waits on the loop until `check` holds.
async fn until(mut check: impl FnMut() -> bool) {
    while !check() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// W15: the disk, however slow, holds up nothing but what must be durable first.
#[test]
fn a_disk_that_does_not_answer_stops_no_ping() {
    on_loop(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let durable = watching(listener.local_addr().unwrap(), Duration::from_millis(100));
        let pings = Rc::new(Cell::new(0));
        tokio::task::spawn_local(fake_master(listener, Rc::clone(&pings)));
        let (save, release, begins) = stuck_disk();
        let (daemon, sources) = Daemon::new(parts(durable, save)).unwrap();
        let daemon = Rc::new(RefCell::new(daemon));
        let signals = Signals::new().unwrap();
        let running = tokio::task::spawn_local(run(Rc::clone(&daemon), sources, signals));

        // The new id is being written, and that does not end.
        begins.recv().unwrap();
        until(|| pings.get() >= 10).await;
        let flags = |daemon: &mut Daemon| {
            let now = daemon.now();
            let fields = daemon.core.master_fields(now, "m").unwrap();
            let flags = fields.into_iter().find(|(name, _)| *name == "flags");
            flags.unwrap().1
        };
        assert_eq!(flags(&mut daemon.borrow_mut()), "master");

        // A change that an operator must be able to rely on is not confirmed before it is written.
        let waiting = {
            let mut daemon = daemon.borrow_mut();
            let peer = crate::front::Peer {
                addr: crate::front::ClientAddr::Tcp(SocketAddr::from(([127, 0, 0, 1], 1))),
                laddr: crate::front::ClientAddr::Tcp(SocketAddr::from(([127, 0, 0, 1], 2))),
                fd: -1,
            };
            let now = daemon.now();
            let client = daemon.front.accept(peer, now).unwrap();
            let on = daemon.front.clients.wait(client, Mono::NEVER, false);
            daemon.give(Input::Operator {
                to: ReplyTo(on.0),
                request: Operator::Flush,
            });
            on
        };
        let is_waiting = || daemon.borrow().front.clients.waiting_for(waiting).is_some();
        let before = pings.get();
        until(|| pings.get() >= before + 5).await;
        assert!(is_waiting());
        // This write, and the one behind it.
        for _ in 0..2 {
            release.send(()).unwrap();
        }
        until(|| !is_waiting()).await;

        // What is still being written at the end is waited for.
        daemon.borrow_mut().stop();
        drop(release);
        running.await.unwrap();
    });
}

/// While one vote is being written, the next are cast and pings run: one write does for all of them.
#[test]
fn a_vote_that_is_being_written_holds_up_only_replies() {
    on_loop(async {
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        let durable = watching(nobody, Duration::from_secs(60));
        let (save, release, begins) = stuck_disk();
        let (daemon, sources) = Daemon::new(parts(durable, save)).unwrap();
        begins.recv().unwrap();
        release.send(()).unwrap();
        let daemon = Rc::new(RefCell::new(daemon));
        let signals = Signals::new().unwrap();
        let running = tokio::task::spawn_local(run(Rc::clone(&daemon), sources, signals));
        until(|| !daemon.borrow().saver.is_behind()).await;

        let (mut peer, ours) = tokio::io::duplex(4096);
        let addr = crate::front::ClientAddr::Tcp(nobody);
        let laddr = addr.clone();
        let accepted = crate::front::Peer {
            addr,
            laddr,
            fd: -1,
        };
        tokio::task::spawn_local(crate::front::serve(Rc::clone(&daemon), ours, accepted));
        let candidate = "c".repeat(40);
        let ask = format!("SENTINEL is-master-down-by-addr 127.0.0.1 1 7 {candidate}\r\n");
        let request = format!("{ask}PING\r\n{ask}");
        peer.write_all(request.as_bytes()).await.unwrap();
        until(|| begins.try_recv().is_ok()).await;
        until(|| daemon.borrow().front.stats.commands == 3).await;
        assert!(daemon.borrow().saver.is_behind());
        for _ in 0..4 {
            release.send(()).unwrap();
        }
        let vote = format!("*3\r\n:0\r\n$40\r\n{candidate}\r\n:7\r\n");
        let wanted = format!("{vote}+PONG\r\n{vote}");
        let mut heard = vec![0; wanted.len()];
        peer.read_exact(&mut heard).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&heard), wanted);

        daemon.borrow_mut().stop();
        drop(release);
        running.await.unwrap();
    });
}

/// What hangs is reported, and the sentinel recovers when the write ends.
#[test]
fn a_write_that_hangs_is_reported_and_recovers() {
    on_loop(async {
        let (save, release, begins) = stuck_disk();
        let (mut daemon, sources) = Daemon::new(parts(Durable::default(), save)).unwrap();
        daemon.saver.patience = Duration::from_millis(50);
        // The new id.
        begins.recv().unwrap();
        release.send(()).unwrap();
        let daemon = Rc::new(RefCell::new(daemon));
        let signals = Signals::new().unwrap();
        let running = tokio::task::spawn_local(run(Rc::clone(&daemon), sources, signals));
        until(|| !daemon.borrow().saver.is_behind()).await;

        daemon.borrow_mut().give(Input::Operator {
            to: ReplyTo(1),
            request: Operator::Flush,
        });
        begins.recv().unwrap();
        let failure = || daemon.borrow().core.save_failure().map(str::to_owned);
        until(|| failure().is_some()).await;
        assert_eq!(failure().as_deref(), Some("the disk does not answer"));
        // This write, and those behind it.
        for _ in 0..4 {
            release.send(()).unwrap();
        }
        until(|| failure().is_none()).await;

        daemon.borrow_mut().stop();
        drop(release);
        running.await.unwrap();
    });
}

/// A PONG that is in the socket is heard before the timer that would have missed it.
#[test]
fn a_stall_longer_than_down_after_blames_nobody() {
    on_loop(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let durable = watching(listener.local_addr().unwrap(), Duration::from_millis(100));
        let pings = Rc::new(Cell::new(0));
        tokio::task::spawn_local(fake_master(listener, Rc::clone(&pings)));
        let (mut daemon, sources) = Daemon::new(parts(durable, Box::new(|_| Ok(())))).unwrap();
        let epoll = Rc::clone(&sources.epoll);
        while pings.get() < 5 {
            daemon.turn();
            let _ = tokio::time::timeout(Duration::from_millis(5), wait_readable(&epoll)).await;
        }
        assert_eq!(
            (daemon.links.len(), daemon.links_reckoned),
            (2, 4),
            "the file limit follows the links"
        );
        // A busy machine may have held us up before.
        let before = daemon.stalls;
        // Nobody runs: neither the daemon nor, on this thread, the master.
        std::thread::sleep(Duration::from_millis(400));
        daemon.turn();
        assert_eq!(daemon.stalls, before + 1);
        let now = daemon.now();
        let fields = daemon.core.master_fields(now, "m").unwrap();
        assert!(
            fields.contains(&("flags", "master".to_owned())),
            "{fields:?}"
        );
    });
}
