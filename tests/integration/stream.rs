//! A client that poses as a replica: it takes the data without a look at it, and then notes every command of
//! the stream.

use std::io::Read;
use std::time::Duration;

use sentinel::resp::{Limits, decode_request};

use crate::support::{Client, expect_that, secs, wait_for};

/// Asks for everything, and takes the data up to its mark. Returns what has been received of the stream.
pub(crate) fn begin(replica: &mut Client) -> Vec<u8> {
    replica.call(&["REPLCONF", "capa", "eof", "capa", "psync2"]);
    replica.send(&["PSYNC", "?", "-1"]).unwrap();
    let mut received = Vec::new();
    let data = wait_for("the data and its mark", secs(20), || {
        read_some(replica, &mut received);
        let text = String::from_utf8_lossy(&received);
        let start = text.find("$EOF:").ok_or_else(|| format!("{text:?}"))?;
        let mark = text
            .get(start + 5..start + 45)
            .ok_or("the mark is cut")?
            .to_owned();
        expect_that(received.len() > start + 47 + 40, || {
            "no data yet".to_owned()
        })?;
        expect_that(received.ends_with(mark.as_bytes()), || {
            "no mark yet".to_owned()
        })?;
        Ok(received.len())
    });
    assert!(data > 0);
    Vec::new()
}

/// The commands of the stream up to the one that writes `last`, without PINGs and GETACKs.
pub(crate) fn until(replica: &mut Client, mut received: Vec<u8>, last: &str) -> Vec<Vec<String>> {
    let mut commands: Vec<Vec<String>> = Vec::new();
    wait_for("the end of the stream", secs(20), || {
        // redis-server does not hear an acknowledgement that comes before its child has ended.
        replica.send(&["REPLCONF", "ACK", "0"]).unwrap();
        read_some(replica, &mut received);
        let mut at = 0;
        while let Some((words, used)) =
            decode_request(&received[at..], &Limits::CLIENT).map_err(|error| error.to_string())?
        {
            at += used;
            let words: Vec<String> = words
                .iter()
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .collect();
            if words[0] != "ping" && words[0] != "REPLCONF" {
                commands.push(words);
            }
        }
        received.drain(..at);
        let is_end = commands
            .last()
            .is_some_and(|words| words.iter().any(|word| word == last));
        expect_that(is_end, || format!("{commands:?}"))
    });
    commands
}

fn read_some(replica: &mut Client, into: &mut Vec<u8>) {
    let mut stream = replica.stream();
    stream
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let mut buffer = [0; 65536];
    if let Ok(count) = stream.read(&mut buffer) {
        into.extend_from_slice(&buffer[..count]);
    }
}

/// What has reached a replica and was not read yet.
pub(crate) fn already_there(replica: &mut Client) -> Vec<u8> {
    let mut stream = replica.stream();
    stream.set_nonblocking(true).unwrap();
    let mut found = Vec::new();
    let mut buffer = [0; 65536];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        found.extend_from_slice(&buffer[..count]);
    }
    stream.set_nonblocking(false).unwrap();
    found
}

/// Waits until a replica has something of the stream, and takes a little of it.
pub(crate) fn wait_for_some(replica: &mut Client) {
    let mut received = Vec::new();
    wait_for("the stream", secs(20), || {
        read_some(replica, &mut received);
        expect_that(!received.is_empty(), || "nothing".to_owned())
    });
}
