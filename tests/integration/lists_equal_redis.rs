//! Lists: the same replies, data and stream to replicas as redis-server 7.0, for chosen lines and for random
//! commands.

use rand::RngExt;

use crate::both::{Both, check_files, check_in_both_protocols, check_replicas, check_stream};
use crate::data::{Dice, seeds, send};
use crate::support::Client;

const LINES: &str = r#"
    RPUSH
    RPUSH l
    RPUSH l a
    LPUSH l b 1 -7 ""
    RPUSH l a_b 123456789012 99999999999999999999 a
    LRANGE l 0 -1
    TYPE l
    LLEN l
    LLEN missing
    LLEN l l
    LPUSHX missing a
    RPUSHX missing a
    LPUSHX l x y
    RPUSHX l z
    LINDEX l 0
    LINDEX l -1
    LINDEX l 100
    LINDEX l -100
    LINDEX l x
    LINDEX missing x
    LINDEX l -9223372036854775808
    LSET l 0 new
    LSET l -1 12
    LSET l 100 a
    LSET l x a
    LSET missing x a
    LSET missing 0 a
    LRANGE l 0 -1
    LRANGE l 1 2
    LRANGE l -3 -2
    LRANGE l 2 1
    LRANGE l 100 200
    LRANGE l -100 0
    LRANGE l -9223372036854775808 9223372036854775807
    LRANGE l x 1
    LRANGE l 0 x
    LRANGE missing 0 -1
    LRANGE missing x -1
    LINSERT l BEFORE new first
    LINSERT l after 1 second
    LINSERT l AFTER 12 last
    LINSERT l AFTER nope x
    LINSERT l FOO a x
    LINSERT missing BEFORE a x
    LINSERT missing FOO a x
    LRANGE l 0 -1
    RPUSH p a b c 1 2 3 c c
    LPOS p c
    LPOS p 1
    LPOS p nope
    LPOS p nope COUNT 0
    LPOS p c RANK 2
    LPOS p c RANK -1
    LPOS p c RANK -2 COUNT 2
    LPOS p c COUNT 0
    LPOS p c COUNT 2
    LPOS p c RANK 5 COUNT 0
    LPOS p c MAXLEN 2
    LPOS p c MAXLEN 3 COUNT 0
    LPOS p c RANK -1 MAXLEN 1 COUNT 0
    LPOS p c RANK 0
    LPOS p c RANK x
    LPOS p c RANK -9223372036854775808
    LPOS p c RANK -9223372036854775807
    LPOS p c COUNT -1
    LPOS p c COUNT x
    LPOS p c MAXLEN -1
    LPOS p c RANK
    LPOS p c FOO 1
    LPOS missing a
    LPOS missing a COUNT 1
    LPOS missing a RANK 0
    LREM p 1 c
    LREM p -1 c
    LREM p 0 c
    LREM p x c
    LREM p 0 nope
    LREM missing 0 a
    LREM missing x a
    LREM p -9223372036854775808 a
    LRANGE p 0 -1
    LTRIM p 1 -2
    LRANGE p 0 -1
    LTRIM p x 1
    LTRIM missing 0 1
    LTRIM p 5 1
    EXISTS p
    RPUSH p 1 2 3 4 5 6
    LPOP p
    RPOP p
    LPOP p 0
    LPOP p 2
    RPOP p -1
    RPOP p x
    RPOP p 1 2
    RPOP p 9223372036854775807
    LPOP p
    LPOP p 0
    LPOP p 3
    LPOP p x
    RPUSH p 1 2 3 4 5 6
    LMPOP 0 p LEFT
    LMPOP x p LEFT
    LMPOP -1 p LEFT
    LMPOP 1 p LEFT
    LMPOP 3 p LEFT
    LMPOP 2 p LEFT
    LMPOP 2 missing p LEFT
    LMPOP 2 missing p RIGHT COUNT 2
    LMPOP 1 p RIGHT COUNT 0
    LMPOP 1 p RIGHT COUNT x
    LMPOP 1 p RIGHT COUNT
    LMPOP 1 p RIGHT COUNT 1 COUNT 1
    LMPOP 1 p RIGHT FOO 1
    LMPOP 1 p MIDDLE
    LMPOP 1 p left count 100
    LMPOP 1 p LEFT
    LMPOP 9223372036854775807 p LEFT
    RPUSH p 1 2 3
    LMOVE p q LEFT RIGHT
    LMOVE p q RIGHT LEFT
    LMOVE p p LEFT LEFT
    LMOVE q q LEFT RIGHT
    LMOVE p q FOO LEFT
    LMOVE p q LEFT FOO
    LMOVE missing q LEFT LEFT
    RPOPLPUSH p q
    RPOPLPUSH p q
    RPOPLPUSH q q
    EXISTS p
    LRANGE q 0 -1
    BLPOP q 1
    BRPOP missing q 0
    BRPOPLPUSH q r 0
    BLMOVE r q LEFT RIGHT 0
    BLMPOP 0 2 missing q LEFT COUNT 5
    RPUSH q 1 2 3
    BLPOP q x
    BLPOP q -1
    BLPOP q nan
    BLPOP q ""
    BLPOP q inf
    BLPOP q 1e400
    BLPOP q 9223372036854775807
    BLPOP q 0x
    BLPOP q -0x1
    BLPOP q 1e-5000
    BLPOP q 1e5000
    BLPOP q 0x1p20000
    BLPOP missing 0x0.1
    BLPOP missing 1e-4900
    BLMPOP 0x1p-5 1 missing LEFT
    BLMPOP x 1 q LEFT
    BLMPOP -1 1 q LEFT
    BLMPOP x 0 q LEFT
    BLMPOP x 1 q FOO
    BLMPOP x 1 q LEFT COUNT 0
    BLMPOP -1 1 q LEFT COUNT
    BLMPOP 0 0 q LEFT
    BLMPOP 0 x q LEFT
    BLMPOP 0 2 q LEFT
    BLMPOP 0 1 q FOO
    BLMPOP 0 1 q LEFT COUNT 0
    BLMOVE q r FOO LEFT 0
    BLMOVE q r LEFT LEFT x
    BRPOPLPUSH q r x
    BLPOP missing 0.001
    BRPOP missing 0.0001
    BRPOPLPUSH missing q 0.001
    BLMOVE missing q LEFT LEFT 0.001
    BLMPOP 0.001 1 missing LEFT
    SET s 1
    RPUSH s a
    LPUSHX s a
    LLEN s
    LINDEX s 0
    LSET s 0 a
    LRANGE s 0 -1
    LTRIM s 0 -1
    LREM s 0 a
    LINSERT s BEFORE a b
    LPOS s a
    LPOP s
    LPOP s 2
    LMPOP 2 missing s LEFT
    LMPOP 2 q s LEFT
    LMOVE s q LEFT LEFT
    LMOVE q s LEFT LEFT
    LMOVE missing s LEFT LEFT
    BLPOP missing s 0
    BRPOPLPUSH q s 0
    BLMOVE s q LEFT LEFT 0
    BLMPOP 0 2 missing s LEFT
    GET q
    APPEND q x
    ZADD z 1 a 2 b 3 c
    BLPOP z 0
    BZPOPMIN z 0
    BZPOPMAX missing z 0
    BZPOPMIN missing 0.001
    BZPOPMIN q 0
    BZPOPMIN z x
    BZMPOP 0 1 z MIN COUNT 10
    BZMPOP 0 1 z FOO
    BZMPOP x 0 z MIN
    BZMPOP x 1 z FOO
    BZMPOP x 1 z MIN COUNT 0
    BZMPOP x 1 z MIN
    BZMPOP 0.001 1 z MAX
    BZMPOP 0 0 z MAX
    ZADD z 1 a 1.5 b
    BZMPOP 0 2 missing z MAX
    BZPOPMAX z 0
    COMMAND GETKEYS LMPOP 2 a b LEFT
    COMMAND GETKEYS BLMPOP 0 2 a b LEFT
    COMMAND GETKEYS BLPOP a b 0
    COMMAND GETKEYS BLMOVE a b LEFT LEFT 0
    COMMAND GETKEYS BZPOPMIN a b 0
"#;

#[test]
fn chosen_lines_of_lists() {
    check_in_both_protocols(LINES);
}

#[test]
fn the_table_of_lists() {
    let mut both = Both::start();
    for name in
        "lpush rpush lpushx rpushx lpop rpop llen lindex lset lrange ltrim lrem linsert lpos lmove \
                 rpoplpush lmpop blpop brpop blmove brpoplpush blmpop bzpopmin bzpopmax bzmpop"
            .split(' ')
    {
        both.check(&["COMMAND", "INFO", name].map(str::to_owned));
        both.check(&["COMMAND", "DOCS", name].map(str::to_owned));
    }
}

/// Random commands about few lists, so that they grow over several nodes and shrink to nothing.
struct Lists(Dice);

impl Lists {
    fn of(seed: u64) -> Lists {
        Lists(Dice::of(seed))
    }

    fn element(&mut self) -> String {
        match self.0.random_range(0..8) {
            0 => self.0.random::<i64>().to_string(),
            1 => self.0.random::<i16>().to_string(),
            2 => "long ".repeat(self.0.random_range(1..800)),
            3 => "y".repeat(9000),
            4 => String::new(),
            _ => self.0.random_range(0..6).to_string(),
        }
    }

    fn next(&mut self) -> Vec<String> {
        let (key, other) = (self.0.key("l", 6), self.0.key("l", 6));
        let (one, two) = (self.element(), self.element());
        let index = self.0.random_range(-12..12).to_string();
        let last = self.0.random_range(-12..40).to_string();
        let (from, to) = (
            self.0.pick(&["LEFT", "RIGHT"]),
            self.0.pick(&["LEFT", "RIGHT"]),
        );
        let count = self.0.pick(&["1", "2", "10"]);
        let line: Vec<&str> = match self.0.random_range(0..30) {
            0..=3 => vec!["RPUSH", &key, &one, &two, "7", "tail"],
            4..=6 => vec!["LPUSH", &key, &one, &two, "head"],
            7 => vec!["RPUSHX", &key, &one],
            8 => vec!["LPUSHX", &key, &one, &two],
            9 => vec!["LPOP", &key],
            10 => vec!["RPOP", &key],
            11 => vec!["LPOP", &key, count],
            12 => vec!["RPOP", &key, count],
            13 => vec!["LSET", &key, &index, &one],
            14 => vec!["LRANGE", &key, &index, &last],
            15 if self.0.random_range(0..3) == 0 => vec!["LTRIM", &key, &index, &last],
            16 => vec!["LREM", &key, &index, &one],
            17 | 18 => vec!["LINSERT", &key, "BEFORE", &one, &two],
            19 | 20 => vec!["LINSERT", &key, "AFTER", &one, &two],
            21 => vec!["LPOS", &key, &one, "RANK", &index, "COUNT", "0"],
            22 => vec!["LMOVE", &key, &other, from, to],
            23 => vec!["RPOPLPUSH", &key, &other],
            24 => vec!["LMPOP", "2", &key, &other, from, "COUNT", count],
            25 => vec!["BLMPOP", "0.001", "2", &key, &other, from, "COUNT", count],
            26 => vec!["BLPOP", &key, &other, "0.001"],
            27 => vec!["BLMOVE", &key, &other, from, to, "0.001"],
            28 => vec!["RENAME", &key, &other],
            _ => vec!["LINDEX", &key, &index],
        };
        line.into_iter().map(str::to_owned).collect()
    }
}

#[test]
fn random_commands_of_lists() {
    for seed in seeds([70]) {
        let mut both = Both::start();
        let mut lists = Lists::of(seed);
        for _ in 0..2500 {
            both.check(&lists.next());
        }
        both.check_data();
    }
}

#[test]
fn the_stream_of_lists_is_the_same() {
    check_stream(
        "
        RPUSH a 1 2 3 4 5 6 7 8
        LPUSHX missing 1
        RPUSHX a 9
        LSET a 0 x
        LINSERT a BEFORE x y
        LINSERT a BEFORE nope y
        LREM a 0 nope
        LREM a 0 x
        LTRIM a 0 -1
        LTRIM a 0 -2
        LPOP missing
        lpop a
        RPOP a 0
        RPOP a 1
        LMPOP 2 missing a LEFT COUNT 2
        BLPOP missing a 0
        BRPOP a 0
        BLMOVE a b left right 0
        BRPOPLPUSH a b 0
        LMOVE b c LEFT RIGHT
        RPOPLPUSH b c
        BLMPOP 0 1 c RIGHT COUNT 10
        RPUSH a 1 2
        LREM a 1 1
        LTRIM a 5 6
        BLPOP missing 0.001
        ZADD z 1 a 2 b 3 c 4 d
        BZPOPMIN missing z 0
        BZPOPMAX z 0
        BZMPOP 0 1 z MIN COUNT 10
    ",
    );
}

fn write(client: &mut Client, lists: &mut Lists, count: usize) {
    for _ in 0..count {
        send(client, &lists.next());
    }
}

#[test]
fn replicas_hold_the_same() {
    check_replicas(
        80,
        |_, seed| Lists::of(seed),
        |client, lists| write(client, lists, 500),
    );
}

#[test]
fn files_are_exchanged() {
    check_files(82, |client, seed| write(client, &mut Lists::of(seed), 600));
}
