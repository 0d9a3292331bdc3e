//! `SORT`: the same replies, data and stream to replicas as redis-server 7.0.

use std::fs;

use rand::RngExt;

use crate::both::{Both, check_in_both_protocols, check_stream, lines_of};
use crate::data::{Dice, seeds};
use crate::support::{Kind, start_server, text};

/// Data of every type, made by redis-server and loaded by both from its file.
const DATA: &str = "
    RPUSH l 10 9 -1 1.5 2e2 100 10 0x10
    RPUSH words b a c B ab 10 9 é
    RPUSH mixed 1 two 3
    RPUSH empty_words 1 2
    RPUSH ids 1 2 3 4 5
    SADD numbers 5 3 1 4 2 100
    SADD names x y zz a
    ZADD z 3 c 1 a 2 b 10 7
    MSET w:1 3 w:2 1 w:3 2 w:5 9
    MSET o:1 one o:2 two o:3 three o:4 four
    SET w:x text
    HSET h:1 f 30 g first
    HSET h:2 f 10
    HSET h:3 f 20 -> odd
    HSET h 1 x
    RPUSH w:list a
";

/// Both servers on that data.
fn start() -> Both {
    let mut maker = start_server(Kind::Real, "");
    let mut client = maker.client();
    for words in lines_of(DATA) {
        client.call(&words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    client.call(&["SAVE"]);
    maker.kill();
    let file = maker.dir().join("dump.rdb");
    let mut both = Both::start();
    for (server, client) in both.servers.iter_mut().zip(&mut both.clients) {
        server.kill();
        fs::copy(&file, server.dir().join("dump.rdb")).unwrap();
        server.start_again();
        *client = server.client();
        assert_eq!(text(&client.call(&["DBSIZE"])), "22");
    }
    both
}

const LINES: &str = r#"
    SORT
    SORT l
    SORT l DESC
    SORT l ASC
    SORT l desc asc
    SORT l ALPHA
    SORT words
    SORT words ALPHA
    SORT words ALPHA DESC
    SORT mixed
    SORT mixed ALPHA
    SORT missing
    SORT missing STORE d
    SORT missing BY nosort GET #
    SORT w:1
    SORT h
    SORT_RO h
    SORT numbers
    SORT numbers DESC LIMIT 1 3
    SORT numbers BY nosort
    SORT numbers BY nosort LIMIT 1 2
    SORT names ALPHA
    SORT names
    SORT names BY nosort STORE d
    LRANGE d 0 -1
    SORT numbers BY nothing:* ALPHA STORE d
    LRANGE d 0 -1
    SORT names BY nosort DESC STORE d
    LRANGE d 0 -1
    OBJECT ENCODING z
    SORT z
    OBJECT ENCODING z
    ZADD fresh 1 a 2 b
    SORT fresh
    OBJECT ENCODING fresh
    ZADD fresh2 1 a 2 b
    SORT_RO fresh2 BY nosort LIMIT 9 1
    OBJECT ENCODING fresh2
    SORT z ALPHA
    SORT z BY nosort
    SORT z BY nosort DESC
    SORT z BY nosort LIMIT 1 2
    SORT z BY nosort DESC LIMIT 1 2
    SORT z BY nosort DESC LIMIT 1 200
    SORT z BY nosort DESC LIMIT 3 -1
    SORT z BY nosort DESC LIMIT 4 1
    SORT z BY nosort DESC LIMIT -2 2
    SORT z BY nosort LIMIT 2 0 DESC
    SORT z BY nosort LIMIT 1 2 DESC GET # GET o:*
    SORT z BY nosort LIMIT 1 2 DESC STORE d
    LRANGE d 0 -1
    SORT l BY nosort DESC LIMIT 7 9
    SORT l BY nosort DESC LIMIT 8 1
    SORT l BY nosort LIMIT 2 -7
    SORT l BY nosort LIMIT 2 2 DESC STORE d
    LRANGE d 0 -1
    SORT numbers BY nosort LIMIT 2 -1
    SORT numbers BY nosort LIMIT 3 100
    SORT numbers BY nosort DESC LIMIT 1 2
    SORT l BY nosort
    SORT l BY nosort DESC
    SORT l BY nosort LIMIT 2 3
    SORT l BY nosort DESC LIMIT 2 3
    SORT l LIMIT 0 3
    SORT l LIMIT 2 -1
    SORT l LIMIT -5 2
    SORT l LIMIT 100 2
    SORT l LIMIT 2 0
    SORT l LIMIT 0 9223372036854775807
    SORT l LIMIT 5 9223372036854775807
    SORT l LIMIT -9223372036854775808 -9223372036854775808
    SORT l LIMIT 1
    SORT l LIMIT x 1
    SORT l LIMIT 1 x
    SORT l LIMIT
    SORT l BY
    SORT l GET
    SORT l STORE
    SORT l FOO
    SORT_RO l STORE d
    SORT_RO l DESC
    SORT ids BY w:*
    SORT ids BY w:* DESC
    SORT ids BY w:* GET o:*
    SORT ids BY w:* GET # GET o:* GET w:*
    SORT ids BY w:* GET nothing
    SORT ids BY o:*
    SORT ids BY o:* ALPHA DESC LIMIT 0 4
    SORT ids BY h:*->f
    SORT ids BY h:*->f GET h:*->f GET h:*->g
    SORT ids BY h:*->missing
    SORT ids BY h:*-> GET h:*
    SORT ids GET h:*->->
    SORT ids GET *->x
    SORT ids GET h->*
    SORT ids GET w:*->f
    SORT ids BY w:list*
    SORT ids BY w:* ALPHA
    SORT names BY w:*
    SORT ids BY w:* BY nosort
    SORT ids BY nosort BY w:*
    SORT ids BY # DESC
    SORT ids BY w:* STORE d
    LRANGE d 0 -1
    SORT ids GET o:* GET w:* STORE d
    LRANGE d 0 -1
    EXPIRE d 1000
    SORT ids STORE d
    TTL d
    SORT ids STORE w:1
    LRANGE w:1 0 -1
    SORT ids STORE ids
    SORT missing STORE d
    EXISTS d
    SORT missing STORE d
    SORT ids STORE d STORE e
    EXISTS d e
    SORT ids LIMIT 100 1 STORE e
    EXISTS e
    COMMAND GETKEYS SORT k STORE d
    COMMAND GETKEYS SORT k LIMIT store store STORE x
    COMMAND GETKEYS SORT k BY STORE x
    COMMAND GETKEYSANDFLAGS SORT k BY w:* GET g:* STORE d STORE e
    COMMAND GETKEYS SORT_RO k BY w:* STORE d
    COMMAND INFO SORT SORT_RO
    COMMAND DOCS SORT
    COMMAND DOCS SORT_RO
    ACL SETUSER few on nopass +@all ~l ~d
    ACL DRYRUN few SORT l STORE d
    ACL DRYRUN few SORT l STORE e
    ACL DRYRUN few SORT ids
    AUTH few x
    SORT l STORE d
    SORT l BY nosort
    SORT l BY w:*
    SORT l GET w:*
    SORT l GET #
    SORT_RO l BY w:*
"#;

#[test]
fn chosen_lines_of_sort() {
    for protocol in ["2", "3"] {
        let mut both = start();
        for client in &mut both.clients {
            client.call(&["HELLO", protocol]);
        }
        for line in LINES.lines().map(str::trim).filter(|line| !line.is_empty()) {
            both.check(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        }
        both.check_data();
    }
}

#[test]
fn random_sorts() {
    for seed in seeds([90]) {
        let mut dice = Dice::of(seed);
        let mut both = start();
        for n in 0..800 {
            let mut pick = |among: &[&'static str]| dice.pick(among);
            let key = pick(&["l", "words", "ids", "numbers", "z", "new"]);
            let mut line = vec!["SORT", key];
            line.extend(pick(&["", "DESC", "ALPHA", "ALPHA DESC"]).split(' '));
            line.extend(pick(&["", "", "BY w:*", "BY h:*->f", "BY n"]).split(' '));
            line.extend(pick(&["", "LIMIT 1 3", "LIMIT 0 100", "LIMIT 3 -1"]).split(' '));
            line.extend(pick(&["", "", "GET #", "GET o:*", "GET h:*->f GET #"]).split(' '));
            line.extend(pick(&["", "STORE new", "STORE other"]).split(' '));
            line.retain(|word| !word.is_empty());
            if n % 10 == 0 {
                line = vec!["RPUSH", "new", pick(&["5", "-1", "2.5", "7"]), "3"];
            }
            // Members of a set or a sorted set that compare as equal may come in any order.
            let has_ties =
                matches!(key, "numbers" | "z") && line.contains(&"ALPHA") && line.contains(&"BY");
            let has_no_order = key == "numbers" && line.contains(&"n");
            if !has_ties && !has_no_order {
                both.check(&line.into_iter().map(str::to_owned).collect::<Vec<_>>());
            }
        }
        both.check_data();
    }
}

/// Of elements that compare as equal a `LIMIT` leaves the same ones: `SORT … STORE` reaches replicas as it is.
#[test]
fn random_limits_among_equal_weights() {
    for seed in seeds([91]) {
        let mut dice = Dice::of(seed);
        let mut both = Both::start();
        for round in 0..60 {
            let len = dice.random_range(1..if round % 4 == 0 { 400 } else { 50 });
            let weights = dice.random_range(1..6);
            let mut push = vec!["RPUSH".to_owned(), "l".to_owned()];
            let mut set = vec!["MSET".to_owned(), "other".to_owned(), "x".to_owned()];
            for _ in 0..len {
                let element = dice.random_range(0..len);
                push.push(element.to_string());
                if dice.random_range(0..8) > 0 {
                    let weight = dice.random_range(0..weights);
                    set.extend([format!("w{element}"), weight.to_string()]);
                }
            }
            both.check_lines("FLUSHALL");
            both.check(&push);
            both.check(&set);
            for _ in 0..12 {
                let direction = dice.pick(&["ALPHA", "ALPHA DESC", "DESC", "ASC"]);
                let start = dice.random_range(-1..=len);
                let count = dice.random_range(-1..=len + 1);
                let store = dice.pick(&["", "", " STORE d"]);
                both.check_lines(&format!(
                    "SORT l BY w* {direction} LIMIT {start} {count}{store}"
                ));
                both.check_lines("LRANGE d 0 -1");
            }
        }
    }
}

#[test]
fn equal_weights_in_a_long_list() {
    let mut both = Both::start();
    let mut push = vec!["RPUSH".to_owned(), "l".to_owned()];
    push.extend((0..100_000).map(|n| format!("e{n}")));
    both.check(&push);
    both.check_lines(
        "
        LTRIM l 100 -100
        SORT l BY w* ALPHA LIMIT 0 3
        SORT l BY w* ALPHA LIMIT 50000 3
        SORT l BY w* ALPHA DESC LIMIT 99700 -1
        ",
    );
}

/// A replica's set has an order of its own, and must store what its master has stored.
#[test]
fn equal_members_of_a_set_are_stored_in_one_order() {
    let ours = start_server(Kind::Ours, "");
    let mut client = ours.client();
    let names: Vec<String> = (10..40).map(|n| format!("name{n}")).collect();
    let mut words = vec!["SADD", "s"];
    words.extend(names.iter().rev().map(String::as_str));
    client.call(&words);
    for direction in ["ASC", "DESC"] {
        let sort = format!("SORT s BY nothing:* ALPHA {direction} STORE d");
        client.call(&sort.split(' ').collect::<Vec<_>>());
        let stored = text(&client.call(&["LRANGE", "d", "0", "-1"]));
        assert_eq!(stored, names.join(" "), "{direction}");
    }
}

#[test]
fn blanks_in_front_of_numbers() {
    // What is out of range comes last: redis-server takes nothing for a number any more afterwards.
    check_in_both_protocols(
        "
        RPUSH l _1 0.5 __-3 2
        SORT l
        SORT l DESC
        SADD s _2 1
        SORT s STORE d
        LRANGE d 0 -1
        RPUSH ids a b c
        MSET w:a _7 w:b 3
        SORT ids BY w:*
        HSET h:a f _+7e1 g 1_
        HSET h:b f 3
        SORT ids BY h:*->f GET # GET h:*->f
        SORT ids BY h:*->g
        SET w:b _
        SORT ids BY w:*
        RPUSH hex _0x10 15 _inf _.5
        SORT hex
        RPUSH not 1 _nan
        SORT not
        RPUSH behind 1 2_
        SORT behind
        RPUSH large 1 _1e400
        SORT large
        ",
    );
}

#[test]
fn the_stream_of_sort_is_the_same() {
    check_stream(
        "
        RPUSH l 3 1 2
        SORT l
        SORT l STORE d
        sort l by w:* get # store d
        SORT missing STORE d
        SORT missing STORE d
    ",
    );
}
