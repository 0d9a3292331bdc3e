//! Streams, scripts and functions, which this server has not, are refused wherever a real master or its files bring
//! them: by name, with the key and the database, and nothing behind them is taken.

use std::fs;

use sentinel::resp::{Value, encode_request};

use crate::aof::{folder, start};
use crate::data::{replica_of, wait_until_equal};
use crate::support::{Client, Kind, ServerNode, expect_that, secs, start_server, text, wait_for};

struct Case {
    words: Vec<Vec<u8>>,
    /// What is said of it as a command.
    command: &'static str,
    /// What is said of what it has made, as data.
    data: &'static str,
    /// What takes that away again.
    undo: &'static [&'static str],
}

fn cases() -> Vec<Case> {
    let other = start_server(Kind::Real, "");
    let mut other = other.client();
    other.call(&["XADD", "s", "*", "f", "v"]);
    let Value::Bulk(payload) = other.call(&["DUMP", "s"]) else {
        panic!("no payload");
    };
    let words = |line: &str| -> Vec<Vec<u8>> {
        let words = line.split(' ');
        words.map(|word| word.as_bytes().to_vec()).collect()
    };
    let mut function = words("FUNCTION LOAD");
    function.push(b"#!lua name=l\nredis.register_function('f', function() return 1 end)".to_vec());
    let mut restore = words("RESTORE copy 0");
    restore.push(payload.to_vec());
    vec![
        Case {
            words: words("XADD log * f v"),
            command: r#"the command "XADD" for key "log" in database 3, which needs streams"#,
            data: r#"key "log" in database 3 holds a stream"#,
            undo: &["DEL", "log"],
        },
        Case {
            words: words("XGROUP CREATE mystream g $ MKSTREAM"),
            command: r#"the command "XGROUP CREATE" for key "mystream" in database 3, which needs streams"#,
            data: r#"key "mystream" in database 3 holds a stream"#,
            undo: &["DEL", "mystream"],
        },
        Case {
            words: restore,
            command: r#"the command "RESTORE" for key "copy" in database 3, which needs the type stream"#,
            data: r#"key "copy" in database 3 holds a stream"#,
            undo: &["DEL", "copy"],
        },
        Case {
            words: function,
            command: r#"the command "FUNCTION LOAD" in database 3, which needs functions"#,
            data: "function",
            undo: &["FUNCTION", "FLUSH"],
        },
    ]
}

fn run(client: &mut Client, words: &[Vec<u8>]) {
    let mut request = Vec::new();
    encode_request(words, &mut request);
    client.send_raw(&request).unwrap();
    let reply = client.receive().unwrap();
    assert!(!matches!(reply, Value::Error(_)), "{}", text(&reply));
}

fn wait_for_refusal(replica: &ServerNode, what: &str) {
    wait_for("the replica says why it does not follow", secs(20), || {
        let found = (
            replica.info("master_link_status"),
            replica.info("slave_priority"),
        );
        let wanted = (Some("down".to_owned()), Some("0".to_owned()));
        expect_that(found == wanted, || format!("{found:?}"))?;
        let log = replica.process.log();
        expect_that(log.contains(what), || log)
    });
}

/// All at the same time: a replica waits for ten seconds before it asks again for data that it could not hold.
#[test]
fn in_a_masters_stream_and_in_its_data() {
    std::thread::scope(|scope| {
        for case in cases() {
            scope.spawn(move || a_replica_refuses(&case));
        }
    });
}

fn a_replica_refuses(case: &Case) {
    let master = start_server(Kind::Real, "");
    let mut to_master = master.client();
    to_master.call(&["SELECT", "3"]);
    to_master.call(&["SET", "a", "1"]);
    let replica = start_server(Kind::Ours, &replica_of(&master));
    wait_until_equal(&master, &replica);
    run(&mut to_master, &case.words);
    wait_for_refusal(&replica, case.command);
    wait_for_refusal(&replica, case.data);
    // What it had is still there, and when the trouble is gone it follows again.
    let mut reader = replica.client();
    reader.call(&["SELECT", "3"]);
    assert_eq!(reader.ask("GET a"), "1");
    to_master.call(case.undo);
    wait_until_equal(&master, &replica);
    assert_eq!(replica.info("slave_priority").as_deref(), Some("100"));
}

#[test]
fn in_files() {
    for case in cases() {
        let mut real = start(Kind::Real, "");
        let mut client = real.client();
        client.call(&["SELECT", "3"]);
        run(&mut client, &case.words);
        client.call(&["SAVE"]);
        real.kill();
        for (lines, file, what) in [
            ("appendonly yes\n", "appendonlydir", case.command),
            ("", "dump.rdb", case.data),
        ] {
            let mut ours = start_server(Kind::Ours, lines);
            ours.kill();
            if file == "dump.rdb" {
                fs::copy(real.dir().join(file), ours.dir().join(file)).unwrap();
            } else {
                fs::remove_dir_all(folder(&ours)).unwrap();
                fs::rename(folder(&real), folder(&ours)).unwrap();
            }
            ours.process.start_again();
            let status = ours.process.wait(secs(10));
            let log = ours.process.log();
            assert!(!status.success(), "{log}");
            assert!(log.contains(what), "{what}: {log}");
        }
    }
}
