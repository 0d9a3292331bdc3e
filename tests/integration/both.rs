//! redis-server 7.0 and ours side by side: the same commands to both, and what comes back compared.

use std::collections::BTreeMap;

use sentinel::resp::Value;

use crate::data::{digest, replica_of, seeds, send, wait_until_equal};
use crate::support::{Client, Kind, ServerNode, start_server, text};

/// From ours to redis-server, and back.
pub(crate) const DIRECTIONS: [(Kind, Kind); 2] =
    [(Kind::Ours, Kind::Real), (Kind::Real, Kind::Ours)];

/// redis-server and ours, with these lines of configuration.
pub(crate) fn start_both(lines: &str) -> [ServerNode; 2] {
    [Kind::Real, Kind::Ours].map(|kind| start_server(kind, lines))
}

/// What redis-server does in a scenario and what ours does, both at the same time: they wait for much.
pub(crate) fn side_by_side<T: Send>(scenario: impl Fn(Kind) -> T + Sync) -> [T; 2] {
    std::thread::scope(|scope| {
        let theirs = scope.spawn(|| scenario(Kind::Real));
        let ours = scenario(Kind::Ours);
        [theirs.join().expect("redis-server does it"), ours]
    })
}

/// Both servers with a client each.
pub(crate) struct Both {
    pub(crate) servers: [ServerNode; 2],
    pub(crate) clients: [Client; 2],
}

impl Both {
    pub(crate) fn start() -> Both {
        let servers = start_both("");
        let clients = [servers[0].client(), servers[1].client()];
        Both { servers, clients }
    }

    /// Has both clients speak RESP2 or RESP3.
    pub(crate) fn speak(&mut self, protocol: &str) {
        for client in &mut self.clients {
            client.call(&["HELLO", protocol]);
        }
    }

    /// Sends a command to both and compares the replies.
    pub(crate) fn check(&mut self, words: &[String]) {
        self.check_by(words, |reply| reply);
    }

    /// The same of what `seen` makes of the replies, where they need not be the same.
    pub(crate) fn check_by(&mut self, words: &[String], seen: impl Fn(Value) -> Value) {
        let replies = (self.clients.each_mut()).map(|client| seen(send(client, words)));
        let [theirs, mine] = replies;
        assert_eq!(
            theirs,
            mine,
            "{words:?}: redis-server answers {:?}, ours {:?}",
            text(&theirs),
            text(&mine)
        );
    }

    /// The same for each line of a script.
    pub(crate) fn check_lines(&mut self, lines: &str) {
        lines_of(lines).for_each(|words| self.check(&words));
    }

    /// Compares all data.
    pub(crate) fn check_data(&self) {
        assert_eq!(digest(&self.servers[0]), digest(&self.servers[1]));
    }
}

/// Each of these in RESP2 and in RESP3.
pub(crate) fn in_each_protocol(seeds: Vec<u64>) -> impl Iterator<Item = (u64, &'static str)> {
    each_with(seeds, ["2", "3"])
}

/// Each of these in both directions.
pub(crate) fn in_each_direction(seeds: Vec<u64>) -> impl Iterator<Item = (u64, (Kind, Kind))> {
    each_with(seeds, DIRECTIONS)
}

/// Each of these seeds with each of the others.
pub(crate) fn each_with<T: Copy, const N: usize>(
    seeds: Vec<u64>,
    others: [T; N],
) -> impl Iterator<Item = (u64, T)> {
    let seeds = seeds.into_iter();
    seeds.flat_map(move |seed| others.map(|other| (seed, other)))
}

/// The words of each line, which single blanks separate. `""` is an empty word, `_` in one stands for a blank.
pub(crate) fn lines_of(lines: &str) -> impl Iterator<Item = Vec<String>> {
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| {
        let words = line.split(' ');
        words
            .map(|word| word.trim_matches('"').replace('_', " "))
            .collect()
    })
}

/// The words of a line, which single blanks separate.
pub(crate) fn words_of(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// The elements of an array.
pub(crate) fn elements(value: &Value) -> &[Value] {
    let Value::Array(items) = value else {
        panic!("not an array: {value:?}");
    };
    items
}

/// Names and values of a flat map.
pub(crate) fn pairs(value: &Value) -> BTreeMap<String, Value> {
    let Value::Array(items) = value else {
        panic!("{value:?}");
    };
    items
        .chunks_exact(2)
        .map(|pair| (text(&pair[0]), pair[1].clone()))
        .collect()
}

/// Sends a script to both, in RESP2 and in RESP3, and compares replies and data.
pub(crate) fn check_in_both_protocols(lines: &str) {
    for protocol in ["2", "3"] {
        let mut both = Both::start();
        both.speak(protocol);
        both.check_lines(lines);
        both.check_data();
    }
}

/// Sends a script to both, and compares what their replicas are told.
pub(crate) fn check_stream(lines: &str) {
    let streams = [Kind::Real, Kind::Ours].map(|kind| {
        let server = start_server(kind, "");
        let mut replica = server.client();
        let offset = crate::stream::begin(&mut replica);
        let mut client = server.client();
        for words in lines_of(lines) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            client.call(&words);
        }
        client.call(&["SET", "the-end", "1"]);
        crate::stream::until(&mut replica, offset, "the-end")
    });
    assert_eq!(streams[0], streams[1]);
}

/// Sends a script to both, and compares the keyspace events.
pub(crate) fn check_events(lines: &str) {
    let events = [Kind::Real, Kind::Ours].map(|kind| {
        let server = start_server(kind, "");
        let mut client = server.client();
        client.call(&["CONFIG", "SET", "notify-keyspace-events", "KEA"]);
        let mut listener = server.client();
        listener.call(&["PSUBSCRIBE", "__keyevent@0__:*"]);
        for words in lines_of(lines) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            client.call(&words);
        }
        client.call(&["SET", "the-end", "1"]);
        let mut heard = Vec::new();
        loop {
            let event = text(&listener.receive().unwrap());
            if event.ends_with("the-end") {
                break heard;
            }
            heard.push(event);
        }
    });
    assert_eq!(events[0], events[1]);
}

/// A replica of the other kind, which comes between two writes, holds the same in the end. `begin` fills a master
/// and makes what `write` goes on with, from a seed: this one, or one that is drawn.
pub(crate) fn check_replicas<C>(
    seed: u64,
    begin: impl Fn(&mut Client, u64) -> C,
    write: impl Fn(&mut Client, &mut C),
) {
    for (seed, (master, replica)) in in_each_direction(seeds([seed])) {
        let master = start_server(master, "");
        let mut client = master.client();
        let mut commands = begin(&mut client, seed);
        write(&mut client, &mut commands);
        let replica = start_server(replica, &replica_of(&master));
        write(&mut client, &mut commands);
        wait_until_equal(&master, &replica);
    }
}

/// Each loads the file that the other has saved after `write`, of this seed and of one that is drawn.
pub(crate) fn check_files(seed: u64, write: impl Fn(&mut Client, u64)) {
    for (seed, (from, to)) in in_each_direction(seeds([seed])) {
        let mut saver = start_server(from, "");
        let mut client = saver.client();
        write(&mut client, seed);
        let before = digest(&saver);
        assert_eq!(text(&client.call(&["SAVE"])), "OK");
        saver.kill();
        let mut loader = start_server(to, "save 900 1\n");
        loader.kill();
        std::fs::copy(saver.dir().join("dump.rdb"), loader.dir().join("dump.rdb")).unwrap();
        loader.start_again();
        assert_eq!(digest(&loader), before, "saved by {from:?}");
    }
}
