//! What is kept for snapshots alone, which is no part of the data.

use super::*;

const THRESHOLDS: &Thresholds = &Thresholds::DEFAULT;

fn holding(value: Value) -> Keyspace {
    let mut keyspace = Keyspace::new(2);
    keyspace.insert(0, Entry::new(b"key", value, None));
    keyspace
}

fn hash_of(fields: usize, value: &[u8]) -> Hash {
    let mut hash = Hash::default();
    for n in 0..fields {
        hash.set(format!("field {n}").as_bytes(), value, THRESHOLDS);
    }
    hash
}

#[track_caller]
fn expect(keyspace: &Keyspace, want: usize) {
    let held = keyspace.snapshot_bytes();
    let want = want as u64;
    assert!(held.abs_diff(want) <= want / 10 + 500, "{held}, not {want}");
}

/// Changes what `keyspace` holds under the only key.
fn change<K: Kind>(keyspace: &mut Keyspace, change: impl FnOnce(&mut K)) {
    let value = keyspace.value_mut(0, b"key").unwrap();
    change(K::of_mut(value).unwrap());
}

fn remove(keyspace: &mut Keyspace) {
    let entry = keyspace.remove(0, b"key").unwrap();
    keyspace.note_dropped(&entry);
}

#[test]
fn no_more_than_there_was_is_held() {
    let mut keyspace = holding(hash_of(10_000, b"v").into_value());
    let id = keyspace.begin_snapshot(&head());
    // As with a copy that is made and removed over and over.
    let copy = keyspace.get(0, b"key").unwrap().value.clone();
    let entry = Entry::new(b"copy", copy, None);
    (0..5000).for_each(|_| keyspace.note_dropped(&entry));
    let held = keyspace.snapshot_bytes();
    assert!(held <= crate::memory::used() * 2, "{held}");
    assert!(entry.value.shared_bytes() > 100_000, "far more was told");
    keyspace.end_snapshot(id);
}

#[test]
fn copies_of_parts_count_until_the_last_one_ends() {
    let mut keyspace = holding(hash_of(10_000, b"v").into_value());
    let all = keyspace.get(0, b"key").unwrap().value.heap_bytes(0);
    let set_all = |hash: &mut Hash| {
        for n in 0..10_000 {
            hash.set(format!("field {n}").as_bytes(), b"w", THRESHOLDS);
        }
    };
    change(&mut keyspace, set_all);
    assert_eq!(keyspace.snapshot_bytes(), 0, "without a snapshot");
    let id = keyspace.begin_snapshot(&head());
    expect(&keyspace, 0);
    change(&mut keyspace, set_all);
    expect(&keyspace, all);
    // They are its own now.
    change(&mut keyspace, set_all);
    expect(&keyspace, all);
    remove(&mut keyspace);
    expect(&keyspace, all);
    let second = keyspace.begin_snapshot(&head());
    keyspace.end_snapshot(id);
    expect(&keyspace, all);
    keyspace.end_snapshot(second);
    assert_eq!(keyspace.snapshot_bytes(), 0);
    keyspace.begin_snapshot(&head());
    expect(&keyspace, 0);
}

#[test]
fn what_is_long_in_a_part_counts_when_it_goes() {
    const LONG: usize = 100_000;
    let mut keyspace = holding(hash_of(100, &[b'x'; LONG]).into_value());
    keyspace.begin_snapshot(&head());
    change(&mut keyspace, |hash: &mut Hash| {
        hash.set(b"field 1", b"short", THRESHOLDS);
    });
    expect(&keyspace, LONG + 100 * 64);
    change(&mut keyspace, |hash: &mut Hash| {
        hash.set(b"field 2", &[b'y'; LONG], THRESHOLDS);
        hash.set(b"field 2", &[b'z'; LONG], THRESHOLDS);
        hash.remove(b"field 3");
    });
    expect(&keyspace, 3 * LONG + 100 * 64);
    remove(&mut keyspace);
    expect(&keyspace, 100 * LONG);
}

#[test]
fn what_is_removed_counts_as_far_as_an_image_has_it() {
    let list = |nodes: usize| {
        let mut list = List::default();
        for _ in 0..nodes {
            list.push(End::Right, &[b'x'; 8000], THRESHOLDS.list_node);
        }
        list.into_value()
    };
    let set = |members: usize| {
        let mut set = Set::default();
        for n in 0..members {
            set.insert(format!("{n:0200}").as_bytes(), THRESHOLDS);
        }
        set.into_value()
    };
    let scored = |members: usize| {
        let mut set = SortedSet::default();
        for n in 0..members {
            set.insert(format!("{n:0200}").as_bytes(), 1.0, THRESHOLDS);
        }
        set
    };
    let text = Value::string(&[b'x'; 1_000_000]);
    for value in [text, list(100), set(1000), hash_of(1000, b"v").into_value()] {
        let all = value.heap_bytes(0);
        let mut keyspace = holding(value);
        let id = keyspace.begin_snapshot(&head());
        remove(&mut keyspace);
        expect(&keyspace, all);
        // The next one is nobody else's.
        keyspace.insert(0, Entry::new(b"key", list(100), None));
        remove(&mut keyspace);
        expect(&keyspace, all);
        keyspace.end_snapshot(id);
        assert_eq!(keyspace.snapshot_bytes(), 0);
    }
    // The table of a sorted set is in no image.
    let mut keyspace = holding(scored(1000).into_value());
    keyspace.begin_snapshot(&head());
    remove(&mut keyspace);
    expect(&keyspace, 1000 * 260);

    // Member by member or as ranges of which few or most stay; with what has changed before and what has not.
    const MEMBER: usize = 216;
    const CHUNK: usize = 256 * 32;
    for (range, chunks) in [(0..1000, 4), (0..800, 4), (10..400, 2)] {
        for (by_name, is_changed) in [(true, false), (true, true), (false, false), (false, true)] {
            let mut keyspace = holding(scored(1000).into_value());
            keyspace.begin_snapshot(&head());
            change(&mut keyspace, |set: &mut SortedSet| {
                for n in (0..1000).step_by(250).filter(|_| is_changed) {
                    set.insert(format!("{n:0200}").as_bytes(), 1.5, THRESHOLDS);
                    set.insert(format!("{n:0200}").as_bytes(), 1.0, THRESHOLDS);
                }
                if by_name {
                    for n in range.clone() {
                        set.remove(format!("{n:0200}").as_bytes());
                    }
                } else {
                    set.remove_range(range.clone());
                }
            });
            let chunks = if is_changed { 4 } else { chunks };
            expect(&keyspace, range.len() * MEMBER + chunks * CHUNK);
        }
    }

    // Element by element, by one side or the other.
    for end in [End::Left, End::Right] {
        let mut keyspace = holding(list(100));
        keyspace.begin_snapshot(&head());
        change(&mut keyspace, |list: &mut List| {
            (0..50).for_each(|_| drop(list.pop(end)));
            list.remove(10, 20);
        });
        expect(&keyspace, 70 * 8100);
    }
}

#[test]
fn a_long_text_counts_when_it_is_changed() {
    let mut keyspace = holding(Value::string(&[b'x'; 1_000_000]));
    keyspace.begin_snapshot(&head());
    change(&mut keyspace, |text: &mut Text| {
        text.edit(|bytes| bytes.push(b'y'));
        text.edit(|bytes| bytes.push(b'y'));
    });
    expect(&keyspace, 1_000_000);
}

#[test]
fn a_flushed_database_counts() {
    let mut keyspace = Keyspace::new(1);
    for n in 0..10_000 {
        keyspace.insert(0, Entry::new(&key(n), Value::string(&[b'x'; 500]), None));
    }
    let all = keyspace.db(0).heap_bytes() + 10_000 * 500;
    let id = keyspace.begin_snapshot(&head());
    assert!(keyspace.flush(0).is_none());
    expect(&keyspace, all);
    keyspace.end_snapshot(id);
    assert_eq!(keyspace.snapshot_bytes(), 0);
}

/// What is encoded counts until it is taken, what waits as an image is still a part of the data.
#[test]
fn an_image_alone_costs_nothing() {
    let mut keyspace = holding(Value::string(&[b'x'; 1_000_000]));
    keyspace.insert(1, Entry::new(b"key", Value::string(&[b'x'; 4000]), None));
    let id = keyspace.begin_snapshot(&head());
    while keyspace.advance_snapshot(id, 1) == Walk::Going {}
    assert!(keyspace.snapshot_output(id).unwrap().len() > 1_000_000);
    expect(&keyspace, 4000);
    while keyspace.snapshot_output(id).unwrap().pop().is_some() {}
    assert_eq!(keyspace.snapshot_bytes(), 0);
}
