//! The keyspace against plain maps.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rand::SeedableRng;

use super::*;
use crate::server::persist::command_encode::RecreationWriter;
use crate::server::persist::rdb::CRC64;
use crate::server::persist::rdb_decode::{LoadOptions, load};
use crate::server::persist::rdb_encode::ImageWriter;

mod what_snapshots_hold;

type Model = BTreeMap<(usize, Vec<u8>), (Value, Option<u64>)>;

fn model_of(keyspace: &Keyspace) -> Model {
    (0..keyspace.databases())
        .flat_map(|db| {
            keyspace
                .db(db)
                .iter()
                .map(move |e| ((db, e.key.to_vec()), (e.value.clone(), e.expire_at())))
        })
        .collect()
}

fn head() -> Head {
    Head {
        created: 0,
        used_memory: 0,
        replication: None,
        usage: None,
        is_aof_base: false,
    }
}

/// Takes what a snapshot has so far.
fn drain(keyspace: &mut Keyspace, id: SnapshotEpoch, into: &mut Vec<u8>) {
    let output = keyspace.snapshot_output(id).unwrap();
    while let Some(chunk) = output.pop() {
        match chunk {
            Chunk::Encoded(bytes) => into.extend(bytes),
            Chunk::Large(image) => {
                let mut writer = ImageWriter::new(image);
                while !writer.write(false, 100, into) {}
            }
            Chunk::Recreated(key, image) => {
                let mut writer = RecreationWriter::new(key, image);
                while !writer.write(100, into) {}
            }
        }
    }
}

fn loaded(mut file: Vec<u8>, databases: usize) -> Model {
    file.extend(CRC64.checksum(&file).to_le_bytes());
    let options = LoadOptions {
        databases,
        drop_expired_at: None,
        verify_checksum: true,
        string_bytes_max: 1 << 20,
        thresholds: Thresholds::default(),
        usage: Usage {
            now: 1,
            frequency: None,
        },
        pace: crate::server::key_delay::LoadPace::NONE,
        progress: None,
    };
    model_of(&load(&file[..], options).unwrap().keyspace)
}

/// What the commands of a file make.
fn recreated(file: &[u8]) -> Model {
    let mut model = Model::new();
    let mut db = 0;
    let mut rest = file;
    while !rest.is_empty() {
        let words = take_request(&mut rest);
        let [name, key, items @ ..] = words.as_slice() else {
            panic!("{words:?}");
        };
        let number = |word: &[u8]| std::str::from_utf8(word).unwrap().parse::<u64>().unwrap();
        if name == b"SELECT" {
            db = usize::try_from(number(key)).unwrap();
            continue;
        }
        let held = model.entry((db, key.clone())).or_insert_with(|| {
            let value = match name.as_slice() {
                b"SET" => Value::string(&items[0]),
                b"RPUSH" => List::default().into_value(),
                b"SADD" => Set::default().into_value(),
                b"HSET" => Hash::default().into_value(),
                b"ZADD" => SortedSet::default().into_value(),
                _ => panic!("{words:?}"),
            };
            (value, None)
        });
        let thresholds = Thresholds::default();
        match &mut held.0 {
            _ if name == b"PEXPIREAT" => held.1 = Some(number(&items[0])),
            Value::String(_) => {}
            Value::List(list) => items
                .iter()
                .for_each(|item| list.push(End::Right, item, thresholds.list_node)),
            Value::Set(set) => items.iter().for_each(|member| {
                set.insert(member, &thresholds);
            }),
            Value::Hash(hash) => items.chunks(2).for_each(|pair| {
                hash.set(&pair[0], &pair[1], &thresholds);
            }),
            Value::SortedSet(set) => items.chunks(2).for_each(|pair| {
                let score = std::str::from_utf8(&pair[0]).unwrap().parse().unwrap();
                set.insert(&pair[1], score, &thresholds);
            }),
        }
    }
    model
}

/// Takes one request from the front of `rest`.
fn take_request(rest: &mut &[u8]) -> Vec<Vec<u8>> {
    fn number(rest: &mut &[u8]) -> usize {
        let end = rest.iter().position(|byte| *byte == b'\r').unwrap();
        let digits = std::str::from_utf8(&rest[1..end]).unwrap();
        let number = digits.parse().unwrap();
        *rest = &rest[end + 2..];
        number
    }
    (0..number(rest))
        .map(|_| {
            let len = number(rest);
            let (word, behind) = rest.split_at(len);
            *rest = &behind[2..];
            word.to_vec()
        })
        .collect()
}

#[derive(Clone, Debug)]
enum Op {
    Insert(usize, u16, u16, Option<u64>),
    Append(usize, u16, usize),
    /// Adds elements to a collection, whose kind goes by the key, or takes them away again.
    Collect(usize, u16, u16, bool),
    Remove(usize, u16),
    /// Many keys go, from one on.
    RemoveMany(usize, u16, u16),
    Expire(usize, u16, Option<u64>),
    Flush(usize),
    Swap(usize, usize),
    /// A snapshot begins, as RDB or as commands.
    Begin(bool),
    Walk(usize),
    /// One of the snapshots in progress is given up.
    GiveUp(usize),
    /// Other data come in, so many keys.
    Replace(u16),
}

fn op() -> impl Strategy<Value = Op> {
    let db = 0_usize..3;
    let expiry = proptest::option::of(1_u64..1000);
    prop_oneof![
        30 => (db.clone(), 0_u16..2000, any::<u16>(), expiry.clone())
            .prop_map(|(d, k, v, e)| Op::Insert(d, k, v, e)),
        10 => (db.clone(), 0_u16..2000, prop_oneof![Just(3_usize), Just(5000)])
            .prop_map(|(d, k, n)| Op::Append(d, k, n)),
        20 => (db.clone(), 0_u16..8, 0_u16..30, any::<bool>())
            .prop_map(|(d, k, n, add)| Op::Collect(d, k, n, add)),
        10 => (db.clone(), 0_u16..2000).prop_map(|(d, k)| Op::Remove(d, k)),
        3 => (db.clone(), 0_u16..2000, 0_u16..2000).prop_map(|(d, k, n)| Op::RemoveMany(d, k, n)),
        5 => (db.clone(), 0_u16..2000, expiry).prop_map(|(d, k, e)| Op::Expire(d, k, e)),
        1 => db.clone().prop_map(Op::Flush),
        1 => (db.clone(), db).prop_map(|(one, other)| Op::Swap(one, other)),
        2 => any::<bool>().prop_map(Op::Begin),
        10 => (0_usize..4000).prop_map(Op::Walk),
        1 => (0_usize..3).prop_map(Op::GiveUp),
        1 => (0_u16..2000).prop_map(Op::Replace),
    ]
}

/// A copy that shares nothing with the original.
fn deep(value: &Value) -> Value {
    let mut copy = value.clone();
    let thresholds = Thresholds::default();
    match (&mut copy, value) {
        (Value::List(to), Value::List(from)) => {
            **to = List::default();
            for element in from.iter_from(0) {
                to.push(End::Right, &element.to_vec(), thresholds.list_node);
            }
        }
        (Value::Set(to), Value::Set(from)) => {
            **to = Set::default();
            for member in from.iter() {
                to.insert(&member.to_vec(), &thresholds);
            }
        }
        (Value::Hash(to), Value::Hash(from)) => {
            **to = Hash::default();
            for (name, value) in from.iter() {
                to.set(&name.to_vec(), &value.to_vec(), &thresholds);
            }
        }
        (Value::SortedSet(to), Value::SortedSet(from)) => {
            **to = SortedSet::default();
            for (member, score) in from.iter() {
                to.insert(&member.to_vec(), score, &thresholds);
            }
        }
        _ => {}
    }
    copy
}

/// Adds or removes element `n`.
fn collect(value: &mut Value, n: u16, add: bool) {
    let thresholds = Thresholds::default();
    let word = format!("element {n}").into_bytes();
    match value {
        Value::String(_) => unreachable!("a collection"),
        Value::List(list) if add => list.push(End::Left, &word, thresholds.list_node),
        Value::List(list) => {
            list.pop(End::Right);
        }
        Value::Set(set) if add => {
            set.insert(&word, &thresholds);
        }
        Value::Set(set) => {
            set.remove(&word);
        }
        Value::Hash(hash) if add => {
            hash.set(&word, &word, &thresholds);
        }
        Value::Hash(hash) => {
            hash.remove(&word);
        }
        Value::SortedSet(set) if add => {
            set.insert(&word, f64::from(n % 7), &thresholds);
        }
        Value::SortedSet(set) => {
            set.remove(&word);
        }
    }
}

fn key(n: u16) -> Vec<u8> {
    format!("key:{n}").into_bytes()
}

fn apply(op: &Op, keyspace: &mut Keyspace, model: &mut Model) {
    match op {
        Op::Insert(db, k, v, expire_at) => {
            // Some are so long that one step of a walk ends between them.
            let len = if v % 4 == 0 { 3000 } else { 1 };
            let value = Value::string(v.to_string().repeat(len / 5 + 1).as_bytes());
            let before = keyspace.insert(*db, Entry::new(&key(*k), value.clone(), *expire_at));
            let want = model.insert((*db, key(*k)), (value, *expire_at));
            assert_eq!(before.map(|e| (e.value.clone(), e.expire_at())), want);
        }
        Op::Append(db, k, n) => {
            let append = |value: &mut Value| {
                let text = Text::of_mut(value)?;
                text.edit(|bytes| bytes.resize(bytes.len() + n, b'+'));
                Some(text.clone())
            };
            let got = keyspace.value_mut(*db, &key(*k)).and_then(append);
            let found = model.get_mut(&(*db, key(*k)));
            assert_eq!(got, found.and_then(|(value, _)| append(value)));
        }
        Op::Collect(db, k, n, add) => {
            let name = format!("collection:{k}").into_bytes();
            if keyspace.get(*db, &name).is_none() {
                let value = match k % 4 {
                    0 => List::default().into_value(),
                    1 => Set::default().into_value(),
                    2 => Hash::default().into_value(),
                    _ => SortedSet::default().into_value(),
                };
                keyspace.insert(*db, Entry::new(&name, value, None));
            }
            let value = keyspace.value_mut(*db, &name).unwrap();
            (0..25).for_each(|i| collect(value, n * 25 + i, *add));
            if value.elements() == 0 {
                keyspace.remove(*db, &name);
                model.remove(&(*db, name));
            } else {
                let value = deep(value);
                model.insert((*db, name), (value, None));
            }
        }
        Op::Remove(db, k) => {
            let got = keyspace.remove(*db, &key(*k));
            assert_eq!(got.is_some(), model.remove(&(*db, key(*k))).is_some());
        }
        Op::RemoveMany(db, k, n) => {
            (*k..(k + n).min(2000)).for_each(|k| apply(&Op::Remove(*db, k), keyspace, model));
        }
        Op::Expire(db, k, expire_at) => {
            let got = keyspace.set_expiry(*db, &key(*k), *expire_at);
            let want = model.get_mut(&(*db, key(*k))).map(|e| e.1 = *expire_at);
            assert_eq!(got, want.is_some());
        }
        Op::Flush(db) => {
            keyspace.flush(*db);
            model.retain(|(d, _), _| d != db);
        }
        Op::Swap(one, other) => {
            keyspace.swap(*one, *other);
            let swapped = |db: usize| match db {
                db if db == *one => *other,
                db if db == *other => *one,
                db => db,
            };
            let before = std::mem::take(model);
            let moved = before
                .into_iter()
                .map(|((db, key), held)| ((swapped(db), key), held));
            model.extend(moved);
        }
        Op::Replace(keys) => {
            let mut loaded = Keyspace::new(keyspace.databases());
            model.clear();
            for k in 0..*keys {
                apply(&Op::Insert(1, k, k, None), &mut loaded, model);
            }
            keyspace.replace_with(loaded);
        }
        Op::Begin(_) | Op::Walk(_) | Op::GiveUp(_) => {}
    }
}

/// A snapshot in progress.
struct Running {
    id: SnapshotEpoch,
    is_rdb: bool,
    file: Vec<u8>,
    /// What it must hold.
    want: Model,
}

impl Running {
    fn begin(keyspace: &mut Keyspace, is_rdb: bool, want: &Model) -> Running {
        Running {
            id: if is_rdb {
                keyspace.begin_snapshot(&head())
            } else {
                keyspace.begin_snapshot_of_commands(None)
            },
            is_rdb,
            file: Vec::new(),
            want: want.clone(),
        }
    }

    fn walk(&mut self, keyspace: &mut Keyspace, budget: usize) -> Walk {
        let walk = keyspace.advance_snapshot(self.id, budget);
        drain(keyspace, self.id, &mut self.file);
        walk
    }

    fn check(self, keyspace: &mut Keyspace) {
        keyspace.end_snapshot(self.id);
        let held = if self.is_rdb {
            loaded(self.file, keyspace.databases())
        } else {
            recreated(&self.file)
        };
        assert_eq!(held, self.want);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However writes, flushes, swaps of databases and several snapshots interleave, each snapshot holds exactly the state of
    /// the moment at which it began.
    #[test]
    fn a_snapshot_is_the_state_at_its_beginning(
        prefill in 0_u16..2000,
        ops in proptest::collection::vec(op(), 0..400),
    ) {
        /// Snapshots at once; more are not begun.
        const AT_ONCE: usize = 3;
        let mut keyspace = Keyspace::new(3);
        let mut model = Model::new();
        for k in 0..prefill {
            apply(&Op::Insert(0, k, k, (k % 3 == 0).then_some(9)), &mut keyspace, &mut model);
        }
        let mut running: Vec<Running> = Vec::new();
        for op in &ops {
            apply(op, &mut keyspace, &mut model);
            if let Op::Begin(is_rdb) = op && running.len() < AT_ONCE {
                running.push(Running::begin(&mut keyspace, *is_rdb, &model));
            }
            if let Op::GiveUp(number) = op && *number < running.len() {
                keyspace.end_snapshot(running.remove(*number).id);
            }
            if matches!(op, Op::Replace(_)) {
                // It has ended all of them.
                running.clear();
            }
            if let Op::Walk(budget) = op && !running.is_empty() {
                let at = budget % running.len();
                if running[at].walk(&mut keyspace, *budget) == Walk::Complete {
                    running.remove(at).check(&mut keyspace);
                }
            }
        }
        for mut last in running {
            while last.walk(&mut keyspace, 1000) == Walk::Going {}
            last.check(&mut keyspace);
        }
        prop_assert_eq!(model_of(&keyspace), model);
        (0..3).for_each(|db| keyspace.db(db).check());
    }

    /// What is there from the first call of a SCAN to its last is seen, whatever comes and goes.
    #[test]
    fn a_scan_misses_nothing_that_stays(
        stays in prop_oneof![1_u16..40, 1_u16..1500],
        count in 1_usize..300,
        churn in proptest::collection::vec((0_u16..3000, 0_u16..1500, any::<bool>()), 0..24),
    ) {
        let mut keyspace = Keyspace::new(1);
        for k in 0..stays {
            keyspace.insert(0, Entry::new(&key(k), Value::string(b""), None));
        }
        let mut seen: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        let mut cursor = 0;
        let mut churn = churn.iter();
        loop {
            // Many keys come or go at once, so that segments split and merge under the cursor.
            if let Some((first, len, there)) = churn.next() {
                for k in *first..first + len {
                    let k = key(10_000 + k);
                    if *there {
                        keyspace.insert(0, Entry::new(&k, Value::string(b""), None));
                    } else {
                        keyspace.remove(0, &k);
                    }
                }
            }
            cursor = keyspace.db(0).scan(cursor, count, |e| {
                *seen.entry(e.key.to_vec()).or_default() += 1;
            });
            if cursor == 0 {
                break;
            }
        }
        keyspace.db(0).check();
        for k in 0..stays {
            prop_assert_eq!(seen.get(&key(k)), Some(&1), "key:{}", k);
        }
    }
}

/// A save right after a flush does not write what was flushed for another snapshot.
#[test]
fn a_flushed_database_waits_for_who_needs_it() {
    let mut keyspace = Keyspace::new(1);
    for k in 0..2000 {
        keyspace.insert(0, Entry::new(&key(k), Value::string(b"old"), None));
    }
    let begin = |keyspace: &mut Keyspace| Running::begin(keyspace, true, &model_of(keyspace));
    let mut older = begin(&mut keyspace);
    assert!(keyspace.flush(0).is_none());
    keyspace.insert(0, Entry::new(b"new", Value::string(b"new"), None));
    let mut newer = begin(&mut keyspace);
    let before = keyspace.snapshot_output(older.id).unwrap().len();
    while newer.walk(&mut keyspace, 1000) == Walk::Going {}
    newer.check(&mut keyspace);
    let output = keyspace.snapshot_output(older.id).unwrap();
    assert_eq!(output.len(), before);
    while older.walk(&mut keyspace, 1000) == Walk::Going {}
    older.check(&mut keyspace);

    // Given up, it gives the database back although another goes on.
    let older = keyspace.begin_snapshot(&head());
    assert!(keyspace.flush(0).is_none());
    keyspace.begin_snapshot(&head());
    assert_eq!(keyspace.end_snapshot(older).len(), 1);
}

#[test]
fn a_scan_returns_about_as_many_as_asked() {
    let mut keyspace = Keyspace::new(1);
    for k in 0..5000 {
        keyspace.insert(0, Entry::new(&key(k), Value::string(b""), None));
    }
    let (mut cursor, mut calls, mut seen) = (0, 0, 0);
    loop {
        let mut got = 0;
        cursor = keyspace.db(0).scan(cursor, 10, |_| got += 1);
        assert!(got <= 11, "{got} keys for COUNT 10");
        (calls, seen) = (calls + 1, seen + got);
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(seen, 5000);
    assert!(calls <= 600);
}

#[test]
fn segments_split_and_give_memory_back() {
    let mut keyspace = Keyspace::new(1);
    for n in 0..20_000_u32 {
        let key = n.to_string();
        keyspace.insert(0, Entry::new(key.as_bytes(), Value::string(b"x"), Some(7)));
    }
    let db = keyspace.db(0);
    db.check();
    assert_eq!((db.len(), db.volatile()), (20_000, 20_000));
    assert!(db.segment_count() > 80, "{} segments", db.segment_count());
    for n in 0..20_000_u32 {
        assert!(keyspace.remove(0, n.to_string().as_bytes()).is_some());
    }
    let db = keyspace.db(0);
    db.check();
    assert_eq!((db.len(), db.volatile()), (0, 0));
    assert_eq!(db.segment_count(), 1);
    let left = db.heap_bytes();
    assert!(left < 20_000, "{left} bytes");
}

#[test]
fn one_key_left_of_many_is_found_at_once() {
    const KEYS: u32 = 100_000;
    let name = |n: u32| n.to_string().into_bytes();
    let mut keyspace = Keyspace::new(1);
    for n in 0..KEYS {
        keyspace.insert(0, Entry::new(&name(n), Value::string(b"x"), None));
    }
    let (mut most, mut all) = (0, 0);
    for n in 1..KEYS {
        let (steps, entry) = steps::of(|| keyspace.remove(0, &name(n)));
        assert!(entry.is_some());
        most = most.max(steps);
        all += steps;
    }
    assert!(most < 300, "{most} steps of one removal");
    assert!(all < 3 * KEYS as usize, "{all} steps");
    let db = keyspace.db(0);
    db.check();
    assert_eq!(db.segment_count(), 1);
    let mut seen = Vec::new();
    assert_eq!(db.scan(0, 10, |entry| seen.push(entry.key.to_vec())), 0);
    assert_eq!(seen, [name(0)]);
}

#[test]
fn segments_merge_while_a_snapshot_is_written() {
    const KEYS: u16 = 20_000;
    let mut keyspace = Keyspace::new(1);
    for n in 0..KEYS {
        keyspace.insert(0, Entry::new(&key(n), Value::string(b"x"), Some(9)));
    }
    assert!(keyspace.db(0).segment_count() > 100);
    // One that is given up has left its marks in a part of the segments.
    let id = keyspace.begin_snapshot(&head());
    for n in 0..100 {
        keyspace.set_expiry(0, &key(n), None);
    }
    keyspace.advance_snapshot(id, 100_000);
    keyspace.end_snapshot(id);
    let want = model_of(&keyspace);
    let mut running = Running::begin(&mut keyspace, true, &want);
    assert_eq!(running.walk(&mut keyspace, 100_000), Walk::Going);
    for n in 0..KEYS - 10 {
        assert!(keyspace.remove(0, &key(n)).is_some());
    }
    keyspace.db(0).check();
    assert_eq!(keyspace.db(0).segment_count(), 1);
    while running.walk(&mut keyspace, 1000) == Walk::Going {}
    running.check(&mut keyspace);
}

#[test]
fn a_rare_key_with_an_expiry_is_found_from_anywhere() {
    const KEYS: u32 = 100_000;
    const RARE: u32 = 20;
    let mut keyspace = Keyspace::new(1);
    for n in 0..KEYS {
        let expire_at = (n % (KEYS / RARE) == 7).then_some(9);
        let entry = Entry::new(n.to_string().as_bytes(), Value::string(b"x"), expire_at);
        keyspace.insert(0, entry);
    }
    keyspace.db(0).check();
    let mut found = BTreeSet::new();
    let segments = keyspace.db(0).segment_count() as u64;
    for step in 0..2 * segments {
        let position = u64::MAX / (2 * segments) * step;
        let (steps, entry) = steps::of(|| keyspace.db(0).random_volatile(|| position));
        assert!(steps < 20, "{steps} segments were looked at");
        let entry = entry.unwrap();
        assert_eq!(entry.expire_at(), Some(9));
        found.insert(entry.key.to_vec());
    }
    // Every part was begun from; two of the keys may share one.
    assert!(found.len() > 10, "{found:?}");
    for (n, key) in found.iter().enumerate() {
        if n % 2 == 0 {
            keyspace.remove(0, key);
        } else {
            keyspace.set_expiry(0, key, None);
        }
    }
    while let Some(entry) = keyspace.db(0).random_volatile(|| 5) {
        let key = entry.key.to_vec();
        keyspace.remove(0, &key);
    }
    keyspace.db(0).check();
    assert!(keyspace.db(0).random_volatile(|| 5).is_none());
}

#[test]
fn the_memory_of_many_tables_is_estimated() {
    let mut keyspace = Keyspace::new(1);
    for n in 0..400_000_u32 {
        let key = n.to_string();
        keyspace.insert(0, Entry::new(key.as_bytes(), Value::string(b"x"), None));
    }
    let db = keyspace.db(0);
    assert!(db.segment_count() > 2100, "{}", db.segment_count());
    let (estimate, exact) = (db.heap_bytes(), db.heap_bytes_of_all());
    let is_close = estimate.abs_diff(exact) < exact / 20;
    assert!(is_close, "{estimate} for {exact}");
}

#[test]
fn the_sweep_finds_every_expired_key() {
    let mut keyspace = Keyspace::new(4);
    for n in 0..3000_u64 {
        let key = n.to_string();
        keyspace.insert(
            2,
            Entry::new(key.as_bytes(), Value::string(b"x"), Some(1 + n)),
        );
    }
    let mut found = BTreeSet::new();
    loop {
        let step = keyspace.find_expired(1001, 50, 3);
        for (db, key) in step.keys {
            assert_eq!(db, 2);
            assert!(keyspace.remove(db, &key).is_some());
            found.insert(key);
        }
        if step.is_end {
            break;
        }
    }
    // Expired means strictly before now: 1 to 1000.
    assert_eq!(found.len(), 1000);
}

#[test]
fn the_sweep_passes_over_what_never_expires() {
    let mut keyspace = Keyspace::new(2);
    for n in 0..50_000_u32 {
        let entry = Entry::new(n.to_string().as_bytes(), Value::string(b"x"), None);
        keyspace.insert(0, entry);
    }
    assert!(keyspace.db(0).segment_count() > 200);
    for n in 0..3 {
        keyspace.set_expiry(0, n.to_string().as_bytes(), Some(9));
    }
    let step = keyspace.find_expired(10, 50, 8);
    assert!(step.is_end, "at the end in few steps");
    assert_eq!(step.keys.len(), 3);
}

/// Removes all that has expired by `now`, as steps of the search find it; returns how many keys and steps that were.
fn sweep(keyspace: &mut Keyspace, now: u64) -> (usize, usize) {
    let mut removed = 0;
    let (steps, ()) = steps::of(|| {
        loop {
            let step = keyspace.find_expired(now, 50, 8);
            for (db, key) in step.keys {
                let entry = keyspace.remove(db, &key).expect("it was found");
                assert!(entry.is_expired(now));
                removed += 1;
            }
            if step.is_end {
                return;
            }
        }
    });
    (removed, steps)
}

#[test]
fn the_sweep_passes_over_what_expires_later() {
    const KEYS: u32 = 200_000;
    let mut keyspace = Keyspace::new(2);
    for n in 0..KEYS {
        let at = Some(1000 + u64::from(n));
        let entry = Entry::new(n.to_string().as_bytes(), Value::string(b"x"), at);
        keyspace.insert(0, entry);
    }
    assert!(keyspace.db(0).segment_count() > 1000);
    assert_eq!(sweep(&mut keyspace, 999), (0, 0), "nothing is due");
    // Three keys are due: no more than their parts are walked.
    let (removed, steps) = sweep(&mut keyspace, 1003);
    assert_eq!(removed, 3);
    assert!(steps < 100, "{steps}");
    assert_eq!(sweep(&mut keyspace, 1003), (0, 0));
    // What goes, or expires later than it did, is in the way once.
    for n in 3..1000_u32 {
        let key = n.to_string();
        match n % 3 {
            0 => drop(keyspace.remove(0, key.as_bytes())),
            1 => assert!(keyspace.set_expiry(0, key.as_bytes(), None)),
            _ => assert!(keyspace.set_expiry(0, key.as_bytes(), Some(1 << 40))),
        }
    }
    let (removed, steps) = sweep(&mut keyspace, 2000);
    assert_eq!(removed, 0);
    assert!(steps > 0);
    assert_eq!(sweep(&mut keyspace, 2000), (0, 0), "the bounds are exact");
    assert_eq!(sweep(&mut keyspace, u64::MAX).0, KEYS as usize - 3 - 665);
    keyspace.db(0).check();
}

#[test]
fn whatever_happens_meanwhile_one_sweep_finds_all() {
    // Segments of many parts each, and parts of many segments.
    for keys in [40, 3000, 300_000_u32] {
        let mut dice = rand_chacha::ChaCha8Rng::seed_from_u64(u64::from(keys));
        let mut keyspace = Keyspace::new(2);
        for n in 0..keys {
            let at = Some(10_000_u64);
            let entry = Entry::new(n.to_string().as_bytes(), Value::string(b"x"), at);
            keyspace.insert(1, entry);
        }
        for now in 0..200_u64 {
            for _ in 0..20 {
                let key = (dice.next_u32() % keys).to_string();
                let at = Some(now + dice.next_u64() % 50);
                match dice.next_u32() % 6 {
                    0 => drop(keyspace.remove(1, key.as_bytes())),
                    1 => drop(keyspace.set_expiry(1, key.as_bytes(), None)),
                    2 => drop(keyspace.set_expiry(1, key.as_bytes(), at)),
                    3 => drop(keyspace.find_expired(now.saturating_sub(60), 3, 2)),
                    _ => {
                        let entry = Entry::new(key.as_bytes(), Value::string(b"x"), at);
                        keyspace.insert(1, entry);
                    }
                }
            }
            // It may have begun in the middle.
            sweep(&mut keyspace, now);
            sweep(&mut keyspace, now);
            if now % 100 == 99 {
                let mut all = keyspace.db(1).iter();
                assert!(!all.any(|entry| entry.is_expired(now)), "{keys} at {now}");
                keyspace.db(1).check();
            }
        }
    }
}

#[test]
fn the_average_ttl_lies_among_the_ttls() {
    let mut keyspace = Keyspace::new(1);
    assert_eq!(keyspace.db(0).average_ttl(0), 0);
    for n in 0..2000_u16 {
        let expire_at = (n % 2 == 0).then_some(1000 + 100 * u64::from(n % 3));
        keyspace.insert(0, Entry::new(&key(n), Value::string(b"x"), expire_at));
    }
    let ttl = keyspace.db(0).average_ttl(1000);
    assert!(ttl > 0 && ttl < 200, "{ttl}");
    // What has expired has nothing left, and nothing overflows.
    assert_eq!(keyspace.db(0).average_ttl(5000), 0);
    for n in 0..2000_u16 {
        keyspace.set_expiry(0, &key(n), Some(u64::MAX));
    }
    assert_eq!(keyspace.db(0).average_ttl(1), u64::MAX - 1);
}

#[test]
fn a_random_key_exists() {
    let mut keyspace = Keyspace::new(1);
    assert!(keyspace.db(0).random(|| 1).is_none());
    for n in 0..1000_u16 {
        keyspace.insert(0, Entry::new(&key(n), Value::string(b"x"), None));
    }
    let mut dice = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut seen = BTreeSet::new();
    for _ in 0..2000 {
        let entry = keyspace.db(0).random(|| rand::RngExt::random(&mut dice));
        seen.insert(entry.unwrap().key.clone());
    }
    assert!(seen.len() > 500, "{} different keys", seen.len());
}

/// The steps that a hash of a million fields costs whoever owns the keyspace, as counted in `steps`.
mod a_million_fields {
    use super::*;

    const FIELDS: usize = 1_000_000;
    /// What the owner may encode by itself: the head of the file, and heads of entries.
    const HEADS_BYTES_MAX: usize = 1000;

    fn keyspace() -> Keyspace {
        let mut hash = Hash::default();
        for n in 0..FIELDS {
            hash.set(format!("f{n}").as_bytes(), b"v", &Thresholds::DEFAULT);
        }
        let mut keyspace = Keyspace::new(1);
        let value = Value::Hash(Box::new(hash));
        keyspace.insert(0, Entry::new(b"large", value, None));
        keyspace
    }

    fn set_one_field(keyspace: &mut Keyspace) {
        let value = keyspace.value_mut(0, b"large").unwrap();
        let hash = Hash::of_mut(value).unwrap();
        assert!(!hash.set(b"f77", b"changed", &Thresholds::DEFAULT));
    }

    /// What a snapshot has so far: bytes that were encoded here, and large values that were not.
    fn output(keyspace: &mut Keyspace, id: SnapshotEpoch) -> (usize, Vec<Image>) {
        let output = keyspace.snapshot_output(id).unwrap();
        let (mut bytes, mut images) = (0, Vec::new());
        while let Some(chunk) = output.pop() {
            match chunk {
                Chunk::Encoded(part) => bytes += part.len(),
                Chunk::Large(image) | Chunk::Recreated(_, image) => images.push(image),
            }
        }
        (bytes, images)
    }

    fn fields(image: &Image) -> &Table<Field> {
        let Image::Hash(table) = image else {
            panic!("{image:?}")
        };
        table
    }

    /// Groups that the stored hash does not share with the image.
    fn groups_copied(keyspace: &Keyspace, image: &Image) -> usize {
        let stored = keyspace.get(0, b"large").unwrap().value.image().unwrap();
        let (stored, image) = (fields(&stored), fields(image));
        assert_eq!(stored.groups(), image.groups());
        (0..image.groups())
            .filter(|group| !std::ptr::eq(stored.group(*group), image.group(*group)))
            .count()
    }

    #[test]
    fn are_saved_changed_removed_and_flushed_without_a_stall() {
        let mut keyspace = keyspace();

        // Walked to: by reference.
        let id = keyspace.begin_snapshot(&head());
        while keyspace.advance_snapshot(id, 1) == Walk::Going {}
        let (bytes, images) = output(&mut keyspace, id);
        assert!(bytes < HEADS_BYTES_MAX, "{bytes}");
        assert_eq!(images.len(), 1);
        assert_eq!(fields(&images[0]).len(), FIELDS);
        assert_eq!(groups_copied(&keyspace, &images[0]), 0);
        // Changed while the image is being written out: one group is copied, whatever the number of changes in it.
        set_one_field(&mut keyspace);
        set_one_field(&mut keyspace);
        assert_eq!(groups_copied(&keyspace, &images[0]), 1);
        keyspace.end_snapshot(id);
        drop(images);

        // Changed before the walk comes to it: the image is taken first.
        let id = keyspace.begin_snapshot(&head());
        set_one_field(&mut keyspace);
        let (bytes, images) = output(&mut keyspace, id);
        assert!(bytes < HEADS_BYTES_MAX, "{bytes}");
        assert_eq!(groups_copied(&keyspace, &images[0]), 1);
        keyspace.end_snapshot(id);

        // Removed: it comes back whole and is known to be large, which is why it is dropped elsewhere.
        let id = keyspace.begin_snapshot(&head());
        let removed = keyspace.remove(0, b"large").unwrap();
        assert!(removed.value.is_large());
        assert_eq!(removed.value.elements(), FIELDS);
        let (bytes, images) = output(&mut keyspace, id);
        assert!(bytes < HEADS_BYTES_MAX, "{bytes}");
        assert_eq!(fields(&images[0]).len(), FIELDS, "removed after it began");
        keyspace.end_snapshot(id);
        keyspace.insert(0, removed);

        // Flushed during a snapshot: kept until the walk has come to it, then given back whole.
        let id = keyspace.begin_snapshot(&head());
        assert!(keyspace.flush(0).is_none());
        assert!(keyspace.is_empty());
        while keyspace.advance_snapshot(id, 1) == Walk::Going {}
        let (bytes, images) = output(&mut keyspace, id);
        assert!(bytes < HEADS_BYTES_MAX, "{bytes}");
        assert_eq!(fields(&images[0]).len(), FIELDS, "flushed after it began");
        assert!(keyspace.take_done().is_some(), "for another thread to drop");
        assert!(keyspace.take_done().is_none());
        keyspace.end_snapshot(id);
    }

    #[test]
    fn are_given_back_whole_by_a_flush() {
        let mut keyspace = keyspace();
        let flushed = keyspace.flush(0).unwrap();
        assert_eq!(
            flushed.iter().map(|e| e.value.elements()).sum::<usize>(),
            FIELDS
        );
    }
}

/// What one step of a walk encodes, however long the values are.
mod a_step {
    use super::*;
    use crate::server::keyspace::snapshot::SEGMENT_BYTES;

    const BUDGET: usize = 1000;
    /// The longest that a text may be which is not shared.
    const LONG: usize = 4000;

    fn put(keyspace: &mut Keyspace, db: usize, n: u16, value: &Value) {
        keyspace.insert(db, Entry::new(&key(n), value.clone(), None));
    }

    /// One step; returns what it encoded and how many values it passed on.
    fn step(keyspace: &mut Keyspace, running: &mut Running) -> (Walk, usize) {
        let before = running.file.len();
        let walk = running.walk(keyspace, BUDGET);
        (walk, running.file.len() - before)
    }

    #[test]
    fn ends_inside_a_segment_of_long_values() {
        const KEYS: u16 = 400;
        const STEP_MAX: usize = BUDGET + SEGMENT_BYTES + 2 * LONG;
        let value = Value::string(&[b'x'; LONG]);
        assert!(!value.is_large());
        for is_rdb in [true, false] {
            let mut keyspace = Keyspace::new(2);
            for db in 0..2 {
                (0..KEYS).for_each(|n| put(&mut keyspace, db, n, &value));
            }
            // One that was given up in the middle has left its marks.
            let id = keyspace.begin_snapshot(&head());
            for n in 0..20 {
                keyspace.set_expiry(0, &key(n), Some(7));
            }
            keyspace.advance_snapshot(id, BUDGET);
            keyspace.end_snapshot(id);

            let want = model_of(&keyspace);
            let mut running = Running::begin(&mut keyspace, is_rdb, &want);
            assert!(keyspace.flush(1).is_none());
            let mut dice = rand_chacha::ChaCha8Rng::seed_from_u64(1);
            let (mut steps, mut new) = (0, KEYS);
            loop {
                let (walk, bytes) = step(&mut keyspace, &mut running);
                assert!(bytes <= STEP_MAX, "{bytes} in one step");
                steps += 1;
                if walk == Walk::Complete {
                    break;
                }
                // Before, behind and in the middle of what the next one begins with.
                let n: u16 = rand::RngExt::random_range(&mut dice, 0..KEYS);
                match n % 3 {
                    0 => drop(keyspace.remove(0, &key(n))),
                    1 => drop(keyspace.set_expiry(0, &key(n), Some(9))),
                    _ => {
                        put(&mut keyspace, 0, new, &value);
                        new += 1;
                    }
                }
                drain(&mut keyspace, running.id, &mut running.file);
            }
            let all = usize::from(KEYS) * 2 * LONG;
            assert!(steps > all / STEP_MAX, "{steps}");
            running.check(&mut keyspace);
            (0..2).for_each(|db| keyspace.db(db).check());
        }
    }

    #[test]
    fn encodes_nothing_of_what_is_few_long_elements() {
        const HEADS_BYTES_MAX: usize = 2000;
        let long = vec![b'x'; 100_000];
        let thresholds = &Thresholds::DEFAULT;
        let (mut hash, mut set) = (Hash::default(), Set::default());
        let (mut scored, mut list) = (SortedSet::default(), List::default());
        for n in 0..20 {
            let name = [n.to_string().as_bytes(), &long].concat();
            hash.set(n.to_string().as_bytes(), &long, thresholds);
            set.insert(&name, thresholds);
            scored.insert(&name, f64::from(n), thresholds);
        }
        list.push(End::Left, &long, thresholds.list_node);
        let values = [
            hash.into_value(),
            set.into_value(),
            scored.into_value(),
            list.into_value(),
        ];
        for is_rdb in [true, false] {
            let mut keyspace = Keyspace::new(1);
            for (n, value) in (0..).zip(&values) {
                put(&mut keyspace, 0, n, value);
            }
            let want = model_of(&keyspace);
            let mut running = Running::begin(&mut keyspace, is_rdb, &want);
            while keyspace.advance_snapshot(running.id, BUDGET) == Walk::Going {}
            assert!(keyspace.snapshot_bytes() < HEADS_BYTES_MAX as u64);
            drain(&mut keyspace, running.id, &mut running.file);
            running.check(&mut keyspace);
        }
    }
}
