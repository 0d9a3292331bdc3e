//! The clients that people use do their ordinary work against our data server: pipelines, transactions, messages,
//! scans, blocking pops, RESP3 with caching, binary keys, values of megabytes, reconnects.
//!
//! Each is run against redis-server too, so what it expects is what redis does.

use std::process::Command;

use redis::{Commands as _, PushInfo, PushKind, RedisResult};
use tempfile::TempDir;

use crate::support::{
    Kind, Process, expect_that, ioredis_script, node_redis_script, redis_py, secs, start_server,
    wait_for,
};

#[test]
fn redis_py_with_resp2() {
    works(|port| {
        let mut command = redis_py();
        command.args(["-c", include_str!("clients/redis_py.py"), port, "2"]);
        command
    });
}

#[test]
fn redis_py_with_resp3() {
    works(|port| {
        let mut command = redis_py();
        command.args(["-c", include_str!("clients/redis_py.py"), port, "3"]);
        command
    });
}

#[test]
fn ioredis() {
    works(|port| {
        let mut command = ioredis_script(include_str!("clients/ioredis.js"));
        command.arg(port);
        command
    });
}

#[test]
fn node_redis_with_resp2() {
    works(|port| {
        let mut command = node_redis_script(include_str!("clients/node_redis.js"));
        command.args([port, "2"]);
        command
    });
}

#[test]
fn node_redis_with_resp3() {
    works(|port| {
        let mut command = node_redis_script(include_str!("clients/node_redis.js"));
        command.args([port, "3"]);
        command
    });
}

/// Runs a client's script against either server.
fn works(command: impl Fn(&str) -> Command) {
    for kind in [Kind::Real, Kind::Ours] {
        let server = start_server(kind, "");
        let dir = TempDir::new().expect("a temporary folder");
        let command = command(&server.port().to_string());
        let mut client = Process::start("client", dir.path(), command);
        let status = client.wait(secs(60));
        let log = client.log();
        assert!(status.success(), "against {kind:?}: {log}");
        assert!(log.contains("all went well"), "against {kind:?}: {log}");
    }
}

/// What the commands of `redis` crate users say when something is wrong.
fn code<T>(result: RedisResult<T>) -> String {
    match result {
        Ok(_) => "OK".to_owned(),
        Err(error) => error.code().unwrap_or("-").to_owned(),
    }
}

#[test]
fn the_redis_crate_blocking() {
    for kind in [Kind::Real, Kind::Ours] {
        for protocol in ["resp2", "resp3"] {
            let server = start_server(kind, "");
            let url = format!("redis://127.0.0.1:{}/?protocol={protocol}", server.port());
            let client = redis::Client::open(url).expect("the URL is right");
            blocking_work(&client);
        }
    }
}

fn blocking_work(client: &redis::Client) {
    let mut to = client.get_connection().unwrap();
    // Binary keys, and values of megabytes.
    let key: Vec<u8> = (0..=255).collect();
    let value = key.repeat(40_000);
    to.set::<_, _, ()>(&key, &value).unwrap();
    assert_eq!(to.get::<_, Vec<u8>>(&key).unwrap(), value);
    assert_eq!(code(to.incr::<_, _, i64>(&key, 1)), "ERR");
    // A pipeline.
    let mut pipe = redis::pipe();
    for n in 0..2000 {
        pipe.set(format!("p{n}"), n).ignore();
    }
    let found: (i64, Option<i64>) = pipe.get("p1999").get("none").query(&mut to).unwrap();
    assert_eq!(found, (1999, None));
    // A transaction, tried again when others were faster.
    let mut other = client.get_connection().unwrap();
    to.set::<_, _, ()>("stock", 3).unwrap();
    let mut tries = 0;
    let (left,): (i64,) = redis::transaction(&mut to, &["stock"], |to, pipe| {
        let stock: i64 = to.get("stock")?;
        if tries == 0 {
            let _: i64 = other.incr("stock", 10)?;
        }
        tries += 1;
        pipe.set("stock", stock - 1).ignore().get("stock").query(to)
    })
    .unwrap();
    assert_eq!((left, tries), (12, 2));
    // Scans.
    let mut keys: Vec<String> = to
        .scan_match::<_, String>("p*")
        .unwrap()
        .collect::<RedisResult<_>>()
        .unwrap();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 2000);
    // Messages.
    let mut listener = client.get_connection().unwrap();
    let mut listener = listener.as_pubsub();
    listener.subscribe("news").unwrap();
    listener.psubscribe("log.*").unwrap();
    assert_eq!(to.publish::<_, _, i64>("news", "one").unwrap(), 1);
    assert_eq!(to.publish::<_, _, i64>("log.x", "two").unwrap(), 1);
    let (one, two) = (
        listener.get_message().unwrap(),
        listener.get_message().unwrap(),
    );
    assert_eq!(
        (one.get_channel_name(), one.get_payload::<String>().unwrap()),
        ("news", "one".to_owned())
    );
    assert_eq!(two.get_pattern::<String>().unwrap(), "log.*");
    assert_eq!(two.get_payload::<String>().unwrap(), "two");
    // One that is cut off says so, and another connection goes on.
    let id: i64 = redis::cmd("CLIENT").arg("ID").query(&mut other).unwrap();
    let killed: i64 = redis::cmd("CLIENT")
        .arg(&["KILL", "ID", &id.to_string()])
        .query(&mut to)
        .unwrap();
    assert_eq!(killed, 1);
    let error = other.get::<_, i64>("stock").unwrap_err();
    assert!(
        error.is_connection_dropped() || error.is_io_error(),
        "{error}"
    );
    let mut other = client.get_connection().unwrap();
    assert_eq!(other.get::<_, i64>("stock").unwrap(), 12);
}

#[test]
fn the_redis_crate_multiplexed() {
    for kind in [Kind::Real, Kind::Ours] {
        let server = start_server(kind, "");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(multiplexed_work(server.port()));
    }
}

/// Many requests over one connection, which also hears which of the keys that it has read are changed.
async fn multiplexed_work(port: u16) {
    use redis::AsyncCommands as _;
    let url = format!("redis://127.0.0.1:{port}/?protocol=resp3");
    let client = redis::Client::open(url).unwrap();
    let (sender, mut pushes) = tokio::sync::broadcast::channel(64);
    let config = redis::AsyncConnectionConfig::new().set_push_sender(sender);
    let to = client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .unwrap();
    let all = (0..500).map(|_| {
        let mut to = to.clone();
        async move { to.incr::<_, _, i64>("n", 1).await.unwrap() }
    });
    let mut counts = futures_util::future::join_all(all).await;
    counts.sort_unstable();
    assert_eq!(counts, (1..=500).collect::<Vec<i64>>());

    let mut to = to;
    redis::cmd("CLIENT")
        .arg(&["TRACKING", "ON"])
        .exec_async(&mut to)
        .await
        .unwrap();
    assert_eq!(to.get::<_, i64>("n").await.unwrap(), 500);
    let mut other = client.get_multiplexed_async_connection().await.unwrap();
    other.set::<_, _, ()>("n", 1).await.unwrap();
    let PushInfo { kind, data } = next(&mut pushes, PushKind::Invalidate).await;
    assert_eq!(kind, PushKind::Invalidate);
    assert_eq!(
        data,
        [redis::Value::Array(vec![redis::Value::BulkString(
            b"n".to_vec()
        )])]
    );
    to.subscribe("news").await.unwrap();
    other.publish::<_, _, ()>("news", "one").await.unwrap();
    let message = next(&mut pushes, PushKind::Message).await;
    assert_eq!(
        message.data[1],
        redis::Value::BulkString(b"one".to_vec()),
        "commands and messages share a connection"
    );
    assert_eq!(to.get::<_, i64>("n").await.unwrap(), 1);
}

/// The next push of this kind.
async fn next(pushes: &mut tokio::sync::broadcast::Receiver<PushInfo>, kind: PushKind) -> PushInfo {
    tokio::time::timeout(secs(10), async {
        loop {
            let push = pushes.recv().await.expect("the connection is open");
            if push.kind == kind {
                return push;
            }
        }
    })
    .await
    .unwrap_or_else(|_| panic!("no {kind:?} came"))
}

#[test]
fn a_blocking_pop_of_the_redis_crate() {
    for kind in [Kind::Real, Kind::Ours] {
        let server = start_server(kind, "");
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", server.port())).unwrap();
        let mut worker = client.get_connection().unwrap();
        let waits = std::thread::spawn(move || {
            worker.blpop::<_, Option<(String, String)>>(&["none", "queue"], 20.0)
        });
        wait_for("a client waits", secs(10), || {
            let count = server.info("blocked_clients");
            expect_that(count.as_deref() == Some("1"), || format!("{count:?}"))
        });
        let mut to = client.get_connection().unwrap();
        to.rpush::<_, _, ()>("queue", "job").unwrap();
        let job = waits.join().unwrap().unwrap();
        assert_eq!(job, Some(("queue".to_owned(), "job".to_owned())));
    }
}
