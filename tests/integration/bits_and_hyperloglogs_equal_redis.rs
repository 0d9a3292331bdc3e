//! Bitmaps, bitfields, LCS and HyperLogLogs: redis-server 7.0 and ours answer the same, keep the same bytes, and
//! tell their replicas the same.

use rand::RngExt;

use crate::both::{Both, check_events, check_in_both_protocols, check_replicas, check_stream};
use crate::data::{Dice, seeds, send};

/// Random commands about few keys.
struct Bits(Dice);

impl Bits {
    fn of(seed: u64) -> Bits {
        Bits(Dice::of(seed))
    }

    fn key(&mut self) -> String {
        self.0.key("bits", 6)
    }

    fn place(&mut self) -> String {
        match self.0.random_range(0..20) {
            0 => "x".to_owned(),
            1 => "-1".to_owned(),
            2 => "3000".to_owned(),
            _ => self.0.random_range(0..300).to_string(),
        }
    }

    fn width(&mut self) -> String {
        let sign = self.0.pick(&["i", "u"]);
        let bits: u32 = self.0.random_range(1..65);
        format!("{sign}{bits}")
    }

    fn number(&mut self) -> String {
        match self.0.random_range(0..8) {
            0 => self.0.random::<i64>().to_string(),
            1 => self
                .0
                .pick(&["9223372036854775807", "-9223372036854775808"])
                .to_owned(),
            2 => self.0.random::<i32>().to_string(),
            _ => self.0.random_range(-300..300).to_string(),
        }
    }

    fn step(&mut self) -> Vec<String> {
        let (width, number) = (self.width(), self.number());
        let place = match self.0.random_range(0..2) {
            0 => self.place(),
            _ => format!("#{}", self.0.random_range(0..6)),
        };
        let how = self.0.pick(&["wrap", "SAT", "fail"]);
        let words: Vec<&str> = match self.0.random_range(0..6) {
            0 => vec!["GET", &width, &place],
            1 | 2 => vec!["SET", &width, &place, &number],
            3 | 4 => vec!["INCRBY", &width, &place, &number],
            _ => vec!["OVERFLOW", how],
        };
        words.into_iter().map(str::to_owned).collect()
    }

    fn elements(&mut self) -> Vec<String> {
        let count = self.0.pick(&["0", "1", "3", "30", "100"]).parse().unwrap();
        let below = self.0.pick(&["30", "1000", "1000000"]).parse().unwrap();
        (0..count)
            .map(|_| format!("element {}", self.0.random_range(0..below)))
            .collect()
    }

    fn next(&mut self) -> Vec<String> {
        let (key, other, to) = (self.key(), self.key(), self.key());
        let [from, until] = [(); 2].map(|()| self.0.random_range(-400..400).to_string());
        let (place, bit) = (self.place(), self.0.pick(&["0", "1", "1", "2"]));
        let unit = self.0.pick(&["BIT", "byte", "bit"]);
        let operation = self.0.pick(&["AND", "or", "XOR", "NOT"]);
        let minimum = self.0.pick(&["0", "2", "3"]);
        let [log, second, third] = [(); 3].map(|()| self.0.key("log", 5));
        let line: Vec<&str> = match self.0.random_range(0..20) {
            0..=3 => vec!["SETBIT", &key, &place, bit],
            4 => vec!["GETBIT", &key, &place],
            5 => vec!["BITCOUNT", &key, &from, &until],
            6 => vec!["BITCOUNT", &key, &from, &until, unit],
            7 => vec!["BITPOS", &key, bit, &from],
            8 => vec!["BITPOS", &key, bit, &from, &until, unit],
            9 => vec!["BITOP", operation, &to, &key, &other],
            10 => vec!["BITOP", "NOT", &to, &key],
            11 | 12 => {
                let steps = (0..self.0.random_range(1..5)).flat_map(|_| self.step());
                let words = ["BITFIELD".to_owned(), key].into_iter();
                return words.chain(steps.collect::<Vec<_>>()).collect();
            }
            13 => vec![
                "LCS",
                &key,
                &other,
                "IDX",
                "WITHMATCHLEN",
                "MINMATCHLEN",
                minimum,
            ],
            14 => vec!["DEL", &key, &log],
            15 | 16 => {
                let words = ["PFADD".to_owned(), log].into_iter();
                return words.chain(self.elements()).collect();
            }
            17 => vec!["PFCOUNT", &log],
            18 => vec!["PFCOUNT", &log, &second, &third],
            _ => vec!["PFMERGE", &log, &second, &third],
        };
        line.into_iter().map(str::to_owned).collect()
    }
}

#[test]
fn chosen_lines() {
    check_in_both_protocols(LINES);
}

#[test]
fn random_commands() {
    for seed in seeds([100, 101]) {
        let mut both = Both::start();
        let mut commands = Bits::of(seed);
        for at in 0..1000 {
            both.check(&commands.next());
            if at % 100 == 0 {
                both.check_data();
            }
        }
        for n in 0..5 {
            both.check_lines(&format!("PFDEBUG ENCODING log:{n}\nGET log:{n}"));
        }
        both.check_data();
    }
}

#[test]
fn hyperloglogs_have_the_same_bytes_on_their_way_to_the_dense_form() {
    let mut both = Both::start();
    for sparse_bytes in ["3000", "300", "0"] {
        both.check_lines(&format!(
            "DEL log\nCONFIG SET hll-sparse-max-bytes {sparse_bytes}"
        ));
        for n in 0..1600 {
            both.check(&["PFADD".to_owned(), "log".to_owned(), format!("element {n}")]);
            if n % 97 == 0 || (1100..1400).contains(&n) && n % 10 == 0 {
                both.check_lines("PFCOUNT log\nPFDEBUG DECODE log\nGET log");
            }
        }
        both.check_lines("PFCOUNT log\nPFDEBUG ENCODING log\nGET log\nPFDEBUG GETREG log");
    }
}

/// What fails is not propagated, so that it must not have changed anything. redis-server keeps what came before.
#[test]
fn what_fails_on_a_corrupted_hyperloglog_has_changed_nothing() {
    let mut both = Both::start();
    // The head says that it is sparse, and what follows are zeros for half of the registers.
    both.check_lines("PFADD log\nSETRANGE log 16 xx\nBITFIELD log SET u8 128 95 SET u8 136 255");
    let ours = both.servers[1].client().call(&["GET", "log"]);
    let mut words = vec!["PFADD".to_owned(), "log".to_owned()];
    words.extend((0..10).map(|n| format!("element {n}")));
    both.check(&words);
    both.check_lines("PFMERGE log other\nPFCOUNT log\nPFDEBUG TODENSE log\nPFDEBUG GETREG log");
    assert_eq!(both.servers[1].client().call(&["GET", "log"]), ours);
}

#[test]
fn the_stream_to_replicas_is_the_same() {
    check_stream(STREAM);
}

#[test]
fn the_same_is_told_to_those_who_listen() {
    check_events(STREAM);
}

#[test]
fn replicas_hold_the_same() {
    check_replicas(
        103,
        |_, seed| Bits::of(seed),
        |client, commands| {
            for _ in 0..150 {
                send(client, &commands.next());
            }
        },
    );
}

/// What replicas are told.
const STREAM: &str = r#"
    SETBIT b 7 1
    SETBIT b 7 1
    SETBIT b 7 0
    SETBIT b 100 0
    SETBIT b 100 0
    BITOP OR c b
    BITOP NOT c b
    BITOP AND c missing
    BITOP AND c missing
    BITFIELD f SET u8 0 255
    BITFIELD f SET u8 0 255
    BITFIELD f GET u8 0
    BITFIELD f INCRBY u8 0 1
    BITFIELD f OVERFLOW FAIL INCRBY u8 0 300
    BITFIELD f OVERFLOW SAT INCRBY u8 0 300
    BITFIELD f OVERFLOW SAT INCRBY u8 0 300
    BITFIELD f SET u8 64 0
    BITFIELD f INCRBY u8 0 0
    PFADD p a b c
    PFADD p a
    PFADD p
    PFADD q
    PFCOUNT p
    PFCOUNT p
    PFCOUNT p q
    PFMERGE q p
    PFMERGE r
    PFDEBUG TODENSE p
    PFDEBUG TODENSE p
    PFDEBUG GETREG q
    PFDEBUG GETREG q
"#;

/// One command a line; words are separated by single blanks, `""` is an empty word.
const LINES: &str = r#"
    SET text foobar
    BITCOUNT text -2 -5 foo
    BITCOUNT text -5 -2 foo
    BITCOUNT text 5 2 foo
    BITCOUNT text -2 -5 foo bar
    SET number 12345
    SET ones ÿÿÿ
    SADD aset a
    SETBIT
    SETBIT b 7
    SETBIT b x 1
    SETBIT b -1 1
    SETBIT b 4294967296 1
    SETBIT b 7 2
    SETBIT b 7 x
    SETBIT b 7 01
    SETBIT b 7 1
    SETBIT b 7 1
    SETBIT b 7 0
    SETBIT b 65 0
    STRLEN b
    SETBIT number 0 1
    GET number
    SETBIT aset 0 1
    SETBIT aset x 1
    GETBIT b 7
    GETBIT b 70000
    GETBIT b x
    GETBIT b 4294967296
    GETBIT missing 7
    GETBIT aset 7
    GETBIT aset x
    GETBIT number 3
    BITCOUNT
    BITCOUNT text
    BITCOUNT text 0
    BITCOUNT text 0 0
    BITCOUNT text 1 1
    BITCOUNT text 1 -2
    BITCOUNT text -2 -1
    BITCOUNT text -1 -2
    BITCOUNT text 4 2
    BITCOUNT text -100 100
    BITCOUNT text 5 30 BIT
    BITCOUNT text 5 5 bit
    BITCOUNT text -5 -3 BIT
    BITCOUNT text 1 1 BYTE
    BITCOUNT text 1 1 bogus
    BITCOUNT text 1 1 BIT more
    BITCOUNT text x 1
    BITCOUNT text 1 x
    BITCOUNT text x 1 bogus
    BITCOUNT missing
    BITCOUNT missing x 1
    BITCOUNT missing 0 1 bogus
    BITCOUNT missing 0
    BITCOUNT aset
    BITCOUNT text 9223372036854775807 -9223372036854775808
    BITCOUNT text -9223372036854775808 9223372036854775807
    SET void ""
    BITCOUNT void
    BITCOUNT void 0 -1
    BITCOUNT void 0 -1 BIT
    BITPOS void 0
    BITPOS void 1
    BITPOS void 0 0 -1
    BITPOS
    BITPOS text 2
    BITPOS text x
    BITPOS text 0
    BITPOS text 1
    BITPOS text 1 2
    BITPOS text 0 2
    BITPOS text 0 -1
    BITPOS text 1 2 3 BIT
    BITPOS text 1 20 30 bit
    BITPOS text 0 20 30 bit
    BITPOS text 1 2 3 BYTE
    BITPOS text 1 2 3 bogus
    BITPOS text 1 2 3 BIT more
    BITPOS text 1 x
    BITPOS text 1 1 x
    BITPOS text 1 x 1 bogus
    BITPOS text 1 9 12
    BITPOS text 0 9 12
    BITPOS text 0 9
    BITPOS ones 0
    BITPOS ones 1
    BITPOS missing 0
    BITPOS missing 1
    BITPOS missing 0 x
    BITPOS missing 2
    BITPOS aset 1
    BITOP
    BITOP AND d
    BITOP bogus d text
    BITOP AND d text number missing
    GET d
    BITOP OR d text number missing
    GET d
    BITOP xor d text ones number
    GET d
    BITOP NOT d text
    GET d
    BITOP NOT d text number
    BITOP NOT d missing
    EXISTS d
    BITOP OR d text aset
    BITOP OR aset text
    TYPE aset
    SADD bset a
    BITOP AND bset missing
    EXISTS bset
    SADD aset2 a
    BITOP AND d missing aset2
    SET target x EX 1000
    BITOP OR target text
    TTL target
    BITFIELD
    BITFIELD f
    EXISTS f
    BITFIELD f GET u8 0
    EXISTS f
    BITFIELD f GET u8
    BITFIELD f GET u64 0
    BITFIELD f GET i64 0
    BITFIELD f GET i65 0
    BITFIELD f GET u0 0
    BITFIELD f GET x8 0
    BITFIELD f GET u 0
    BITFIELD f GET "" 0
    BITFIELD f GET u8 x
    BITFIELD f GET u8 -1
    BITFIELD f GET u8 #x
    BITFIELD f GET u8 #-1
    BITFIELD f GET u8 4294967296
    BITFIELD f GET u8 #536870912
    BITFIELD f GET u8 #4611686018427387903
    BITFIELD f GET u8 #9223372036854775807
    BITFIELD f SET u8 #4611686018427387904 1
    BITFIELD f SET u16 #1152921504606846977 1
    BITFIELD_RO f GET u3 #6148914691236517206
    GET f
    DEL f
    BITFIELD f SET u8 0 x
    BITFIELD f SET u8 0
    BITFIELD f BOGUS u8 0 1
    BITFIELD f OVERFLOW bogus
    BITFIELD f OVERFLOW
    BITFIELD f OVERFLOW SAT
    BITFIELD f SET i5 3 -7 GET i5 3 GET u5 3
    BITFIELD f SET u8 #2 200 INCRBY u8 #2 100
    BITFIELD f OVERFLOW SAT INCRBY u8 #2 300 INCRBY i8 #3 -300 INCRBY i8 #4 300
    BITFIELD f OVERFLOW FAIL INCRBY u8 #2 300 SET u8 #2 1 INCRBY u8 #2 1
    BITFIELD f OVERFLOW WRAP INCRBY i8 #2 300 OVERFLOW FAIL SET i8 0 200 OVERFLOW SAT SET i8 0 200
    BITFIELD f SET u8 0 -1 GET u8 0
    BITFIELD f OVERFLOW SAT SET u8 0 -1 GET u8 0
    BITFIELD f OVERFLOW SAT SET i8 0 -9223372036854775808 GET i8 0
    BITFIELD f OVERFLOW SAT SET i8 0 -200 GET i8 0
    BITFIELD f OVERFLOW SAT SET i63 0 -9223372036854775808 GET i63 0
    BITFIELD f OVERFLOW SAT SET i64 0 -9223372036854775808 INCRBY i64 0 -1 GET i64 0
    BITFIELD f OVERFLOW SAT SET i64 0 9223372036854775807 INCRBY i64 0 1 GET i64 0
    BITFIELD f OVERFLOW WRAP INCRBY i64 0 1 GET i64 0
    BITFIELD f OVERFLOW FAIL INCRBY i64 0 -1 GET i64 0
    BITFIELD f OVERFLOW SAT SET u63 0 9223372036854775807 INCRBY u63 0 1 GET u63 0
    BITFIELD f OVERFLOW WRAP INCRBY u63 0 1 GET u63 0
    BITFIELD f OVERFLOW SAT INCRBY u63 0 -9223372036854775808 GET u63 0
    BITFIELD f GET u1 100000 GET i64 60
    BITFIELD fresh OVERFLOW FAIL SET u8 0 300
    EXISTS fresh
    BITFIELD aset2 GET u8 0
    BITFIELD aset2 SET u8 0 1
    BITFIELD_RO f GET u8 0 get i8 8
    BITFIELD_RO f SET u8 0 1
    BITFIELD_RO missing GET u8 0
    BITFIELD_RO f OVERFLOW SAT GET u8 0
    BITFIELD_RO f OVERFLOW SAT
    BITFIELD_RO f
    COMMAND GETKEYSANDFLAGS BITFIELD f GET u8 0
    COMMAND GETKEYSANDFLAGS BITFIELD f GET u8 0 SET u8 0 1
    COMMAND GETKEYSANDFLAGS BITFIELD f OVERFLOW SAT GET u8 0
    COMMAND GETKEYSANDFLAGS BITFIELD f OVERFLOW SAT INCRBY u8 0 1
    COMMAND GETKEYSANDFLAGS BITFIELD f GET u8
    COMMAND GETKEYSANDFLAGS BITFIELD f
    COMMAND GETKEYS BITOP AND d a b
    MSET one ohmytext two mynewtext
    LCS one two
    LCS one two LEN
    LCS one two IDX
    LCS one two IDX WITHMATCHLEN
    LCS one two IDX MINMATCHLEN 4
    LCS one two IDX MINMATCHLEN 4 WITHMATCHLEN
    LCS one two IDX MINMATCHLEN -4
    LCS one two IDX MINMATCHLEN x
    LCS one two IDX MINMATCHLEN
    LCS one two MINMATCHLEN 4
    LCS one two LEN IDX
    LCS one two bogus
    LCS one missing
    LCS one missing LEN
    LCS one missing IDX
    LCS missing missing2 IDX
    LCS one one IDX WITHMATCHLEN
    LCS one aset2
    LCS aset2 one bogus
    LCS number two
    LCS one
    LCS
    COMMAND GETKEYS LCS a b LEN
    PFADD
    PFADD log
    PFADD log
    PFADD log a b c d e f g
    PFADD log a b
    GET log
    PFCOUNT log
    GET log
    PFADD log2 ""
    PFADD log2 1 2 3
    PFCOUNT log log2 missing
    PFCOUNT missing
    PFCOUNT missing missing2
    PFCOUNT text
    PFCOUNT number
    PFCOUNT aset2
    PFCOUNT log aset2
    PFCOUNT log text
    PFADD text a
    PFADD number a
    PFADD aset2 a
    PFADD void a
    PFMERGE
    PFMERGE log3
    GET log3
    PFMERGE log3 log log2
    GET log3
    PFCOUNT log3
    PFMERGE log3 text
    PFMERGE text log
    PFMERGE aset2 log
    PFMERGE log aset2
    PFDEBUG ENCODING log
    PFDEBUG DECODE log
    PFDEBUG TODENSE log
    PFDEBUG TODENSE log
    PFDEBUG DECODE log
    PFDEBUG ENCODING log
    GET log
    PFCOUNT log
    PFMERGE log4 log log2
    PFDEBUG ENCODING log4
    GET log4
    PFDEBUG GETREG log4
    PFDEBUG bogus log4
    PFDEBUG ENCODING missing
    PFDEBUG ENCODING text
    PFDEBUG ENCODING aset2
    PFDEBUG ENCODING
    PFDEBUG ENCODING log more
    PFADD bad a b
    SETRANGE bad 16 ZZ
    PFCOUNT bad
    PFCOUNT bad log
    PFMERGE log5 bad
    PFADD bad c
    PFADD bad2 a b
    SETRANGE bad2 4 x
    PFCOUNT bad2
    PFADD bad3 a b
    SETRANGE bad3 0 X
    PFADD bad3 a
    SETRANGE log 12303 xx
    PFCOUNT log
    PFSELFTEST
"#;
