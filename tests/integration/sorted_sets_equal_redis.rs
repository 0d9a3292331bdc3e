//! Sorted sets: redis-server 7.0 and ours answer the same, hold the same in the end, tell
//! their replicas the same, and read each other's files.

use rand::RngExt;
use sentinel::resp::Value;

use crate::both::{Both, check_files, check_replicas, elements, in_each_protocol, lines_of};
use crate::data::{Dice, seeds, send, wait_until_equal};
use crate::support::{Client, Kind, start_server, text, texts};

/// Random commands about few keys.
struct SortedSets(Dice);

impl SortedSets {
    fn of(seed: u64) -> SortedSets {
        SortedSets(Dice::of(seed))
    }

    fn key(&mut self) -> String {
        match self.0.random_range(0..20) {
            0 => "plain".to_owned(),
            1 => "missing".to_owned(),
            _ => self.0.key("zset", 6),
        }
    }

    fn member(&mut self) -> String {
        match self.0.random_range(0..60) {
            0 => "a long member ".repeat(6),
            1 => String::new(),
            2..=9 => self.0.random_range(-99..20_000).to_string(),
            _ => format!("m{}", self.0.random_range(0..40)),
        }
    }

    fn score(&mut self) -> String {
        match self.0.random_range(0..16) {
            0 => "inf".to_owned(),
            1 => "-inf".to_owned(),
            2 => "-0".to_owned(),
            3 => "0x1.8p3".to_owned(),
            4 => "1e17".to_owned(),
            5 => self.0.random::<f64>().to_string(),
            6 => (self.0.random::<f64>() * 1e-9).to_string(),
            7 => self.0.random::<i64>().to_string(),
            8 => "nan".to_owned(),
            9 => "3.0e3".to_owned(),
            _ => self.0.random_range(-9..10).to_string(),
        }
    }

    fn end(&mut self) -> String {
        match self.0.random_range(0..10) {
            0 => "-inf".to_owned(),
            1 => "+inf".to_owned(),
            2 => "x".to_owned(),
            3..5 => format!("({}", self.0.random_range(-9..10)),
            _ => self.score(),
        }
    }

    fn name_end(&mut self) -> String {
        match self.0.random_range(0..8) {
            0 => "-".to_owned(),
            1 => "+".to_owned(),
            2 => "m".to_owned(),
            3..5 => format!("({}", self.member()),
            _ => format!("[{}", self.member()),
        }
    }

    fn rank(&mut self) -> String {
        self.0.random_range(-12..14).to_string()
    }

    fn next(&mut self) -> Vec<String> {
        let (key, other, to) = (self.key(), self.key(), self.key());
        let (member, second) = (self.member(), self.member());
        let (score, more) = (self.score(), self.score());
        let (from, until) = (self.end(), self.end());
        let (name_from, name_until) = (self.name_end(), self.name_end());
        let (first, last) = (self.rank(), self.rank());
        let [offset, count] = [self.rank(), self.rank()];
        let flag = self
            .0
            .pick(&["NX", "XX", "GT", "LT", "CH", "ch", "INCR", "bogus"]);
        let flag2 = self.0.pick(&["NX", "XX", "GT", "LT", "CH", "INCR"]);
        let rev = self.0.pick(&["REV", "WITHSCORES"]);
        let by = self
            .0
            .pick(&["BYSCORE", "BYSCORE", "byscore", "WITHSCORES"]);
        let agg = self.0.pick(&["SUM", "MIN", "max", "bogus"]);
        let what = self.0.pick(&["ZUNION", "ZINTER", "ZUNION", "ZDIFF"]);
        let what_store = self.0.pick(&["ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE"]);
        let side = self.0.pick(&["MIN", "max"]);
        let few = self.0.pick(&["1", "1", "2", "3", "0", "-1", "x"]);
        let line: Vec<&str> = match self.0.random_range(0..48) {
            0..=6 => vec!["ZADD", &key, &score, &member],
            7..=9 => vec!["ZADD", &key, &score, &member, &more, &second],
            10 => vec!["ZADD", &key, flag, &score, &member],
            11 => vec!["ZADD", &key, flag, flag2, &score, &member, &more, &second],
            12 => vec!["ZADD", &key, flag, flag2, &score, &member],
            13 => vec!["ZADD", &key, "INCR", flag, &score, &member],
            14 => vec!["ZINCRBY", &key, &score, &member],
            15 => vec!["ZREM", &key, &member, &second],
            16 => vec!["ZCARD", &key],
            17 => vec!["ZSCORE", &key, &member],
            18 => vec!["ZMSCORE", &key, &member, &second],
            19 => vec!["ZRANK", &key, &member],
            20 => vec!["ZREVRANK", &key, &member],
            21 => vec!["ZCOUNT", &key, &from, &until],
            22 => vec!["ZLEXCOUNT", "names", &name_from, &name_until],
            23 => vec!["ZADD", "names", "7", &member, "7", &second],
            24 => vec!["ZRANGE", &key, &first, &last, rev],
            25 => vec!["ZRANGE", &key, &from, &until, by],
            26 => vec![
                "ZRANGE", &key, &from, &until, "BYSCORE", rev, "LIMIT", &offset, &count,
            ],
            27 => vec!["ZRANGE", "names", &name_from, &name_until, "BYLEX", rev],
            28 => vec!["ZRANGESTORE", &to, &key, &from, &until, "BYSCORE"],
            29 => vec!["ZRANGESTORE", &to, &key, &first, &last],
            30 => vec!["ZREVRANGE", &key, &first, &last, "WITHSCORES"],
            31 => vec![
                "ZRANGEBYSCORE",
                &key,
                &from,
                &until,
                "WITHSCORES",
                "LIMIT",
                &offset,
                &count,
            ],
            32 => vec!["ZREVRANGEBYSCORE", &key, &from, &until, "WITHSCORES"],
            33 => vec![
                "ZRANGEBYLEX",
                "names",
                &name_from,
                &name_until,
                "LIMIT",
                &offset,
                &count,
            ],
            34 => vec!["ZREVRANGEBYLEX", "names", &name_from, &name_until],
            35 => vec!["ZREMRANGEBYRANK", &key, "4", &last],
            36 => vec!["ZREMRANGEBYSCORE", &key, "(7", &until],
            37 => vec!["ZREMRANGEBYLEX", "names", "(m8", &name_until],
            38 => vec!["ZPOPMIN", &key, few],
            39 => vec!["ZPOPMAX", &key],
            40 => vec!["ZMPOP", "2", &key, &other, side, "COUNT", few],
            41 => vec![what, "2", &key, &other, "WITHSCORES"],
            42 => vec![
                what,
                "2",
                &key,
                &other,
                "WEIGHTS",
                &score,
                "2",
                "AGGREGATE",
                agg,
            ],
            43 => vec![what_store, &to, "2", &key, &other],
            44 => vec![what_store, &to, "2", &key, &other, "WEIGHTS", "-1", &score],
            45 => vec!["ZINTERCARD", "2", &key, &other, "LIMIT", few],
            46 => vec!["ZRANDMEMBER", &key, "1000", "WITHSCORES"],
            _ => vec!["DEL", &key],
        };
        line.into_iter().map(str::to_owned).collect()
    }
}

/// Has the small form end so early that both forms occur.
fn mix_forms(client: &mut Client) {
    client.call(&["CONFIG", "SET", "zset-max-listpack-entries", "14"]);
}

fn write(client: &mut Client, commands: &mut SortedSets, count: usize) {
    for _ in 0..count {
        send(client, &commands.next());
    }
    without_negative_zeros(client);
}

/// Has each member of score zero take the score anew. A set of few members that is kept in the large form keeps
/// `-0`, in redis-server too, and a replica or a loader, which takes it into the small form, makes 0 of it.
fn without_negative_zeros(client: &mut Client) {
    for key in elements(&client.call(&["KEYS", "*"])) {
        let key = text(key);
        let zeros = client.call(&["ZRANGEBYSCORE", &key, "0", "0"]);
        let Value::Array(zeros) = zeros else {
            continue;
        };
        for member in zeros.iter().map(text) {
            client.call(&["ZADD", &key, "1", &member]);
            client.call(&["ZADD", &key, "0", &member]);
        }
    }
}

#[test]
fn chosen_lines() {
    crate::both::check_in_both_protocols(LINES);
}

#[test]
fn plain_sets_take_part() {
    let mut both = Both::start();
    let [real, ours] = &mut both.servers;
    for line in [
        "SADD s1 b c x",
        "SADD s2 1 2 3",
        "ZADD u1 1 a 2 b 3 c",
        "ZADD u5 5 2 6 3",
    ] {
        send(&mut real.client(), &lines_of(line).next().unwrap());
    }
    crate::data::follow(ours, real);
    wait_until_equal(real, ours);
    crate::data::promote(ours);
    both.check_lines(PLAIN_SETS);
    both.check_data();
}

#[test]
fn random_commands() {
    for (seed, protocol) in in_each_protocol(seeds([80])) {
        let mut both = Both::start();
        both.speak(protocol);
        for client in &mut both.clients {
            client.call(&["SET", "plain", "text"]);
            mix_forms(client);
        }
        let mut commands = SortedSets::of(seed);
        for _ in 0..2500 {
            both.check(&commands.next());
        }
        both.check_data();
    }
}

#[test]
fn a_walk_sees_every_member() {
    let mut both = Both::start();
    for client in &mut both.clients {
        mix_forms(client);
    }
    for n in 0..300 {
        both.check(&lines_of(&format!("ZADD large {n}e15 m{n}")).next().unwrap());
        both.check(
            &lines_of(&format!("ZADD small {n}e15 m{}", n % 7))
                .next()
                .unwrap(),
        );
    }
    both.check_lines(
        "ZSCAN small 0
         ZSCAN small 0 MATCH m[1-3]
         ZSCAN small 5 COUNT 1
         ZSCAN small x
         ZSCAN small 0 COUNT 0
         ZSCAN small 0 COUNT x
         ZSCAN small 0 TYPE zset
         ZSCAN small 0 MATCH
         ZSCAN missing 0 bogus
         ZSCAN missing x",
    );
    let walks = both.clients.each_mut().map(|client| {
        let mut found = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let reply = client.call(&["ZSCAN", "large", &cursor, "COUNT", "13"]);
            let sentinel::resp::Value::Array(parts) = reply else {
                panic!("{reply:?}");
            };
            let members = texts(&parts[1]);
            found.extend(members.chunks(2).map(<[String]>::to_vec));
            cursor = text(&parts[0]);
            if cursor == "0" {
                break;
            }
        }
        found.sort();
        found.dedup();
        found
    });
    assert_eq!(walks[0], walks[1]);
    assert_eq!(walks[0].len(), 300);
}

#[test]
fn members_at_random_are_members() {
    let ours = start_server(Kind::Ours, "");
    let mut client = ours.client();
    for n in 0..200 {
        client.call(&["ZADD", "z", &n.to_string(), &format!("m{n}")]);
        if n < 9 {
            client.call(&["ZADD", "few", &n.to_string(), &format!("m{n}")]);
        }
    }
    for key in ["z", "few"] {
        let mut some = texts(&client.call(&["ZRANDMEMBER", key, "8"]));
        some.sort();
        some.dedup();
        assert_eq!(some.len(), 8);
        for pair in texts(&client.call(&["ZRANDMEMBER", key, "-50", "WITHSCORES"])).chunks(2) {
            assert_eq!(pair[0], format!("m{}", pair[1]));
        }
        let one = text(&client.call(&["ZRANDMEMBER", key]));
        assert!(one.starts_with('m'), "{one}");
    }
    assert_eq!(texts(&client.call(&["ZRANDMEMBER", "z", "-50"])).len(), 50);
}

#[test]
fn ranges_of_names_where_scores_differ() {
    let mut both = Both::start();
    // In the large form, where redis-server begins depends on chance; but not when it is the first member.
    both.check_lines(
        "
        CONFIG SET zset-max-listpack-entries 0
        ZADD b 16 q 1000 A 1001 z
        ZREMRANGEBYLEX b - (a
        ZRANGEBYLEX b - [A
        ZLEXCOUNT b - (q
        ZREMRANGEBYLEX b - [q
        CONFIG SET zset-max-listpack-entries 128
    ",
    );
    for seed in seeds([88]) {
        check_ranges(&mut both, Dice::of(seed));
    }
}

/// Ranges of sets whose members have any scores.
fn check_ranges(both: &mut Both, mut dice: Dice) {
    for _ in 0..60 {
        let mut line = vec!["ZADD".to_owned(), "k".to_owned()];
        for _ in 0..dice.random_range(1..8) {
            line.push(dice.random_range(0..4).to_string());
            line.push(dice.random_range('A'..'M').to_string());
        }
        let mut end = || match dice.random_range(0..8) {
            0 => "-".to_owned(),
            1 => "+".to_owned(),
            n => {
                let kind = if n % 2 == 0 { '[' } else { '(' };
                format!("{kind}{}", dice.random_range('A'..'M'))
            }
        };
        let (min, max) = (end(), end());
        let limit = format!(
            "LIMIT {} {}",
            dice.random_range(-1..6),
            dice.random_range(-1..4)
        );
        both.check(&["DEL".to_owned(), "k".to_owned()]);
        both.check(&line);
        both.check_lines(&format!(
            "
            ZRANGEBYLEX k {min} {max}
            ZREVRANGEBYLEX k {max} {min}
            ZLEXCOUNT k {min} {max}
            ZRANGE k {min} {max} BYLEX {limit}
            ZRANGE k {max} {min} BYLEX REV {limit}
            ZRANGESTORE d k {min} {max} BYLEX {limit}
            ZRANGE d 0 -1
            ZRANGESTORE d k {max} {min} BYLEX REV {limit}
            ZRANGE d 0 -1
            ZRANGESTORE d k {min} {max} BYLEX
            ZRANGE d 0 -1
            ZRANGESTORE d k {max} {min} BYLEX REV
            ZRANGE d 0 -1
            ZREMRANGEBYLEX k {min} {max}
            ZRANGE k 0 -1
        "
        ));
    }
}

#[test]
fn the_stream_to_replicas_is_the_same() {
    crate::both::check_stream(STREAM);
}

#[test]
fn replicas_hold_the_same() {
    let begin = |client: &mut Client, seed| {
        mix_forms(client);
        SortedSets::of(seed)
    };
    check_replicas(3_944_106_986, begin, |client, commands| {
        write(client, commands, 600)
    });
}

#[test]
fn files_are_exchanged() {
    check_files(85, |client, seed| {
        mix_forms(client);
        write(client, &mut SortedSets::of(seed), 1500);
    });
}

#[test]
fn the_same_is_told_to_those_who_listen() {
    crate::both::check_events(STREAM);
}

const LINES: &str = r#"
    SET plain text
    ZADD
    ZADD z 1
    ZADD z 1 a 2
    ZADD z x a
    ZADD z nan a
    ZADD z "" a
    ZADD z _1 a
    ZADD z 1_ a
    ZADD z 1e400 a
    ZADD z 1e-400 a
    ZADD z 0x a
    ZADD z 0x1p-1074 hex
    ZADD z 0x1.fp-3 hex
    ZADD z 1e-320 tiny
    ZADD z +5 plus
    ZADD z .5 half
    ZADD z 5. five
    ZADD z -INFINITY low
    ZADD z infinity high
    ZADD z infinit x
    ZADD z 9223372036854775807 big
    ZADD z 4611686018427387904 big2
    ZADD z 1e17 e17
    ZADD z 123456789012345678 more
    ZADD z 3.141592653589793 pi
    ZADD z 0.1 tenth
    ZADD z 1e-5 small
    ZADD z -0 zero
    ZADD z 0 zero
    ZADD plain 1 a
    ZADD z NX XX 1 a
    ZADD z NX GT 1 a
    ZADD z GT LT 1 a
    ZADD z LT NX 1 a
    ZADD z INCR 1 a 2 b
    ZADD z NX
    ZADD z NX 1
    ZADD z CH 1 a 2 b
    ZADD z CH 1 a 3 b
    ZADD z NX CH 9 a 9 c
    ZADD z XX CH 9 a 9 nosuch
    ZADD z GT CH 8 a 10 b
    ZADD z LT CH 8 a 12 b
    ZADD z GT INCR -1 a
    ZADD z LT INCR -1 a
    ZADD z INCR 0 a
    ZADD z NX INCR 1 a
    ZADD z XX INCR 1 nosuch
    ZADD z INCR inf low
    ZINCRBY z inf low
    ZINCRBY z x low
    ZINCRBY z NX 1
    ZINCRBY z 1
    ZINCRBY z 1.5 new
    ZINCRBY z 1e300 new
    ZINCRBY plain 1 a
    ZADD nokey XX 1 a
    EXISTS nokey
    ZADD nokey XX INCR 1 a
    ZRANGE z 0 -1 WITHSCORES
    ZREVRANGE z 0 -1 WITHSCORES
    ZSCORE z pi
    ZSCORE z nosuch
    ZSCORE nokey a
    ZSCORE plain a
    ZMSCORE z pi nosuch e17 low
    ZMSCORE nokey a b
    ZMSCORE plain a
    ZCARD z
    ZCARD nokey
    ZCARD plain
    ZRANK z pi
    ZRANK z nosuch
    ZRANK nokey a
    ZREVRANK z pi
    ZRANK z pi WITHSCORE
    ZCOUNT z -inf +inf
    ZCOUNT z (-inf (+inf
    ZCOUNT z "" 5
    ZCOUNT z ( 5
    ZCOUNT z _1 5
    ZCOUNT z 1_ 5
    ZCOUNT z nan 5
    ZCOUNT z 1e400 5
    ZCOUNT z 5 1
    ZCOUNT z 5 (5
    ZCOUNT z x 1
    ZCOUNT plain 0 1
    ZCOUNT plain x 1
    ZCOUNT nokey x 1
    ZADD l 0 a 0 b 0 c 0 d 0 e 0 "" 0 12 0 -7
    ZLEXCOUNT l - +
    ZLEXCOUNT l + -
    ZLEXCOUNT l [b [d
    ZLEXCOUNT l (b (d
    ZLEXCOUNT l [b [b
    ZLEXCOUNT l (b (b
    ZLEXCOUNT l b [d
    ZLEXCOUNT l -x [d
    ZLEXCOUNT l [ (
    ZLEXCOUNT l "" +
    ZRANGEBYLEX l - +
    ZRANGEBYLEX l - + LIMIT 1 2
    ZRANGEBYLEX l - + LIMIT -1 2
    ZRANGEBYLEX l - + LIMIT 1 -5
    ZRANGEBYLEX l - + LIMIT 1
    ZRANGEBYLEX l - + WITHSCORES
    ZREVRANGEBYLEX l + -
    ZREVRANGEBYLEX l [d (a LIMIT 1 1
    ZREVRANGEBYLEX l - +
    ZRANGE l - + BYLEX
    ZRANGE l + - BYLEX REV
    ZRANGE l - + BYLEX WITHSCORES
    ZRANGE l - + BYLEX BYSCORE
    ZRANGE l - + BYLEX LIMIT 2 3
    ZRANGE l [b
    ZRANGE z 0 -1 REV
    ZRANGE z 1 3
    ZRANGE z -3 -2 WITHSCORES
    ZRANGE z -100 2
    ZRANGE z 5 1
    ZRANGE z 100 200
    ZRANGE z x 1
    ZRANGE z 0 9223372036854775807
    ZRANGE z 0 9223372036854775808
    ZRANGE z -9223372036854775808 -9223372036854775808
    ZRANGE z 0 1 LIMIT 0 1
    ZRANGE z 0 1 LIMIT 0 -1
    ZRANGE z 0 1 LIMIT x 1
    ZRANGE z 0 1 LIMIT 0
    ZRANGE z 0 1 BOGUS
    ZRANGE z 1 (5 BYSCORE
    ZRANGE z (5 1 BYSCORE REV WITHSCORES
    ZRANGE z 1 5 BYSCORE REV
    ZRANGE z -inf inf BYSCORE LIMIT 2 3 WITHSCORES
    ZRANGE z inf -inf BYSCORE REV LIMIT 2 3
    ZRANGE z -inf inf BYSCORE LIMIT 100 3
    ZRANGE z -inf inf BYSCORE LIMIT 0 0
    ZRANGE z x inf BYSCORE
    ZRANGE nokey 0 -1
    ZRANGE nokey x -1
    ZRANGE plain 0 -1
    ZREVRANGE z 0 1 REV
    ZREVRANGE z 0 1 BYSCORE
    ZREVRANGE z 0 1 LIMIT 0 1
    ZRANGEBYSCORE z 1 5 REV
    ZRANGEBYSCORE z 1 5 WITHSCORES LIMIT 1 2
    ZRANGEBYSCORE z 1 5 LIMIT -1 2
    ZRANGEBYSCORE z 1 5 LIMIT 1 x
    ZRANGEBYSCORE plain 1 5
    ZREVRANGEBYSCORE z 5 1 WITHSCORES LIMIT 1 2
    ZREVRANGEBYSCORE z 1 5
    ZRANGESTORE d z 0 2
    ZRANGE d 0 -1 WITHSCORES
    ZRANGESTORE d z 5 1 BYSCORE REV LIMIT 0 2
    ZRANGE d 0 -1 WITHSCORES
    ZRANGESTORE d l [b [d BYLEX
    ZRANGESTORE d z 0 2 WITHSCORES
    ZRANGESTORE d z 0 2 LIMIT 1 2
    ZRANGESTORE d plain 0 2
    ZRANGESTORE d nokey 0 2
    EXISTS d
    ZRANGESTORE plain2 z 0 0
    ZRANGESTORE z z 0 -1
    ZADD r 1 a 2 b 3 c 4 d 5 e 6 f 7 g
    ZREMRANGEBYRANK r 5 1
    ZREMRANGEBYRANK r x 1
    ZREMRANGEBYRANK r -1 -1
    ZREMRANGEBYRANK r 0 0
    ZREMRANGEBYSCORE r (2 3
    ZREMRANGEBYSCORE r x 3
    ZREMRANGEBYLEX r [d [d
    ZREMRANGEBYLEX r d d
    ZREMRANGEBYRANK plain 0 1
    ZREMRANGEBYSCORE nokey 0 1
    ZRANGE r 0 -1
    ZREM r e nosuch f
    ZREM plain a
    ZREM nokey a
    ZREM r b
    EXISTS r
    ZADD r 1 a 2 b 3 c 4 d 5 e 6 f 7 g
    ZPOPMIN r
    ZPOPMAX r
    ZPOPMIN r 0
    ZPOPMIN r 2
    ZPOPMAX r x
    ZPOPMAX r -1
    ZPOPMAX r 1 2
    ZPOPMIN nokey
    ZPOPMIN nokey 3
    ZPOPMIN plain
    ZPOPMIN plain 0
    ZPOPMAX r 100
    EXISTS r
    ZADD r 1 a 2 b 3 c 4 d 5 e 6 f 7 g
    ZMPOP 0 r MIN
    ZMPOP x r MIN
    ZMPOP 2 r MIN
    ZMPOP 1 r BOGUS
    ZMPOP 1 r MIN COUNT
    ZMPOP 1 r MIN COUNT 0
    ZMPOP 1 r MIN COUNT x
    ZMPOP 1 r MIN COUNT 1 COUNT 2
    ZMPOP 1 r MIN BOGUS
    ZMPOP 1 nokey MIN
    ZMPOP 2 nokey plain MIN
    ZMPOP 2 nokey r MIN
    ZMPOP 2 nokey r MAX COUNT 2
    ZMPOP 1 r max count 100
    ZMPOP 9223372036854775807 r MIN
    ZADD u1 1 a 2 b 3 c
    ZADD u2 10 b 20 c 30 d
    ZADD u3 inf b -inf c
    ZADD u4 -inf b inf c
    ZUNION 2 u1 u2
    ZUNION 2 u1 u2 WITHSCORES
    ZUNION 2 u3 u4 WITHSCORES
    ZUNION 2 u3 u4 WITHSCORES AGGREGATE MIN
    ZUNION 1 u3 WEIGHTS 0 WITHSCORES
    ZINTER 2 u3 u4 WEIGHTS 0 1 WITHSCORES
    ZINTER 2 u3 u4 WEIGHTS 1 0 WITHSCORES AGGREGATE MAX
    ZUNION 2 u1 u2 WEIGHTS 2 0.1 WITHSCORES
    ZUNION 2 u1 u2 WEIGHTS 2 WITHSCORES
    ZUNION 2 u1 u2 WEIGHTS 2 x
    ZUNION 2 u1 u2 AGGREGATE BOGUS
    ZUNION 2 u1 u2 AGGREGATE
    ZUNION 2 u1 u2 BOGUS
    ZUNION 0 u1
    ZUNION -1 u1
    ZUNION x u1
    ZUNION 3 u1 u2
    ZUNION 2 u1 plain
    ZUNION 2 u1 nokey WITHSCORES
    ZUNION 2 u1 u1 WITHSCORES
    ZINTER 2 u1 u2 WITHSCORES
    ZINTER 2 u1 u1 WITHSCORES
    ZINTER 2 u1 nokey
    ZINTER 2 nokey plain
    ZDIFF 2 u1 u2 WITHSCORES
    ZDIFF 2 u1 u1
    ZADD dm 1 a 2 b 3 c 4 d 5 e 6 f 7 g 8 h 9 i 10 j
    ZADD df 1 a 1 nosuch
    ZDIFF 5 dm df u1 u2 df WITHSCORES
    ZDIFF 6 dm df nokey nokey nokey nokey WITHSCORES
    ZDIFF 6 dm df df df df dm
    ZDIFFSTORE d 5 dm df df df df
    ZRANGE d 0 -1 WITHSCORES
    OBJECT ENCODING d
    ZDIFFSTORE dm 5 dm df df df df
    ZRANGE dm 0 -1 WITHSCORES
    DEL d dm df
    ZDIFF 1 u1 WEIGHTS 1
    ZDIFF 1 u1 AGGREGATE MIN
    ZDIFF 2 nokey u1
    ZDIFF 0 u1
    ZUNIONSTORE d 2 u1 u2
    ZUNIONSTORE d 2 u1 u2 WITHSCORES
    ZUNIONSTORE d 0 u1
    ZINTERSTORE d 0 u1
    ZDIFFSTORE d 0 u1
    ZINTERCARD 0 u1
    ZINTERSTORE d 2 u1 u2 WEIGHTS 1 2 AGGREGATE MIN
    ZRANGE d 0 -1 WITHSCORES
    ZDIFFSTORE d 2 u1 u2
    ZRANGE d 0 -1 WITHSCORES
    ZINTERSTORE d 2 u1 nokey
    EXISTS d
    ZUNIONSTORE u1 2 u1 u2
    ZRANGE u1 0 -1 WITHSCORES
    ZINTERCARD 2 u1 u2
    ZINTERCARD 2 u1 u2 LIMIT 1
    ZINTERCARD 2 u1 u2 LIMIT 0
    ZINTERCARD 2 u1 u2 LIMIT -1
    ZINTERCARD 2 u1 u2 LIMIT x
    ZINTERCARD 2 u1 u2 LIMIT
    ZINTERCARD 2 u1 u2 WITHSCORES
    ZINTERCARD 2 u1 plain
    ZRANDMEMBER nokey
    ZRANDMEMBER nokey 3
    ZRANDMEMBER plain
    ZRANDMEMBER u1 0
    ZRANDMEMBER u1 x
    ZRANDMEMBER u1 100
    ZRANDMEMBER u1 100 WITHSCORES
    ZRANDMEMBER u1 3 BOGUS
    ZRANDMEMBER u1 3 WITHSCORES x
    ZRANDMEMBER u1 -9223372036854775808
    ZRANDMEMBER u1 9223372036854775807 WITHSCORES
    ZADD one 5 m
    ZRANDMEMBER one
    ZRANDMEMBER one -3 WITHSCORES
    ZSCAN one 0
    ZSCAN plain 0
    COMMAND GETKEYS ZUNIONSTORE d 2 a b WEIGHTS 1 2
    COMMAND GETKEYS ZUNION 2 a b
    COMMAND GETKEYS ZMPOP 2 a b MIN
    COMMAND GETKEYSANDFLAGS ZRANGESTORE d z 0 1
    COMMAND GETKEYS ZINTERCARD 0 a
    COMMAND GETKEYS ZUNIONSTORE d +2 a b
    COMMAND GETKEYS ZINTERSTORE d _1x a b
    COMMAND GETKEYS ZDIFFSTORE d 1e308 a b
    COMMAND GETKEYS ZUNIONSTORE d 4294967297 a b
    COMMAND GETKEYS ZUNIONSTORE d -4294967294 a b
    COMMAND GETKEYS ZUNIONSTORE d 2147483648 a b
    COMMAND GETKEYS ZUNIONSTORE d 99999999999999999999 a b
    COMMAND GETKEYS ZUNIONSTORE d 3x a b
    COMMAND GETKEYSANDFLAGS ZUNIONSTORE d 01 a b
    COMMAND GETKEYS BZMPOP 0 +1 a MIN
"#;

const PLAIN_SETS: &str = "
    ZUNION 3 u1 u2 s1 WITHSCORES
    ZUNION 2 s2 u5 WITHSCORES
    ZINTER 2 s2 u5 WITHSCORES AGGREGATE MIN
    ZDIFF 2 s2 u5 WITHSCORES
    ZINTER 3 u1 u2 s1 WITHSCORES AGGREGATE MAX
    ZDIFF 2 u1 s1
    ZUNIONSTORE plain3 1 s1
    ZRANGE s1 0 -1
    ZINTERCARD 2 s1 u1
    ZINTERCARD 2 s2 u5 LIMIT 1
    ZDIFFSTORE d 2 u5 s2
    ZINTERSTORE d 2 s2 u5 WEIGHTS 3 0.5
    ZUNIONSTORE s2 2 s2 u5 WEIGHTS 3 0.5
    ZRANGE s2 0 -1 WITHSCORES
";

const STREAM: &str = "
    ZADD z 1 a 2 b 3 c 4 d 5 e 6 f
    ZADD z 1 a
    ZADD z XX 1 nosuch
    ZADD z NX CH 2 a 2 g
    ZADD z INCR 5 a
    ZINCRBY z 0 a
    ZINCRBY z 1.5 a
    ZREM z nosuch
    ZREM z g
    ZREMRANGEBYSCORE z 100 200
    ZREMRANGEBYRANK z 0 0
    ZPOPMIN z
    ZPOPMAX z 1
    ZPOPMAX nokey
    ZMPOP 2 nokey z MIN COUNT 1
    ZMPOP 1 nokey MAX
    ZADD y 1 a 2 b
    ZUNIONSTORE d 2 z y
    ZINTERSTORE d 2 z nokey
    ZINTERSTORE d 2 z nokey
    ZDIFFSTORE d 1 y
    ZRANGESTORE d y 0 0
    ZRANGESTORE d y 5 6
    ZRANGESTORE d y 5 6
    ZREMRANGEBYLEX y - +
    ZMPOP 1 z MAX COUNT 100
    ZADD z 1 a
    ZPOPMIN z
    ZADD z 1 a
    ZREM z a
";
