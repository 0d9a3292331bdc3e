//! Digests of data, for comparing servers with each other.

use sha1::{Digest, Sha1};

use crate::ids::hex;
use crate::resp::double_text;
use crate::server::keyspace::{Entry, Keyspace, Value};

/// A digest of all data, equal to what `DEBUG DIGEST` of redis-server gives for the same data: SHA-1 over
/// database numbers in their order and, in any order, over keys, types, values and whether they expire.
pub(super) fn digest(keyspace: &Keyspace) -> String {
    let mut total = [0_u8; 20];
    for number in 0..keyspace.databases() {
        let db = keyspace.db(number);
        if db.is_empty() {
            continue;
        }
        let number = u32::try_from(number).expect("at most 1024");
        mix(&mut total, &number.to_be_bytes());
        for entry in db.iter() {
            xor(&mut total, &Sha1::digest(digest_of(entry)).into());
        }
    }
    hex(&total)
}

/// The digest of one key with its value and whether it expires.
fn digest_of(entry: &Entry) -> [u8; 20] {
    let mut digest = [0; 20];
    mix(&mut digest, &entry.key);
    add_value(&mut digest, entry);
    digest
}

/// A digest of what a key holds, and of whether it expires.
pub(super) fn value_digest(entry: &Entry) -> [u8; 20] {
    let mut digest = [0; 20];
    add_value(&mut digest, entry);
    digest
}

fn add_value(digest: &mut [u8; 20], entry: &Entry) {
    mix_value(digest, &entry.value);
    if entry.expire_at().is_some() {
        let mark: [u8; 20] = Sha1::digest(b"!!expire!!").into();
        xor(digest, &mark);
    }
}

/// Mixes in a value: its type, and its elements with or without regard to their order.
fn mix_value(digest: &mut [u8; 20], value: &Value) {
    let mut digits = itoa::Buffer::new();
    // Redis's number of the type.
    let number: u32 = match value {
        Value::String(_) => 0,
        Value::List(_) => 1,
        Value::Set(_) => 2,
        Value::SortedSet(_) => 3,
        Value::Hash(_) => 4,
    };
    mix(digest, &number.to_be_bytes());
    let pair = |digest: &mut [u8; 20], first: &[u8], second: &[u8]| {
        let mut part = [0; 20];
        mix(&mut part, first);
        mix(&mut part, second);
        xor(digest, &Sha1::digest(part).into());
    };
    match value {
        Value::String(text) => mix(digest, text.bytes(&mut digits)),
        Value::List(list) => {
            for element in list.iter_from(0) {
                mix(digest, element.bytes(&mut digits));
            }
        }
        Value::Set(set) => {
            for member in set.iter() {
                xor(digest, &Sha1::digest(member.bytes(&mut digits)).into());
            }
        }
        Value::Hash(hash) => {
            for (name, value) in hash.iter() {
                pair(digest, name.bytes(&mut digits), &value.to_vec());
            }
        }
        Value::SortedSet(set) => {
            for (member, score) in set.iter() {
                let member = member.bytes(&mut digits);
                pair(digest, member, double_text(score).as_bytes());
            }
        }
    }
}

/// Mixes in a part whose place among others matters.
fn mix(digest: &mut [u8; 20], part: &[u8]) {
    let hash: [u8; 20] = Sha1::digest(part).into();
    xor(digest, &hash);
    *digest = Sha1::digest(&digest[..]).into();
}

/// Mixes in a part whose place among others does not matter.
fn xor(digest: &mut [u8; 20], part: &[u8; 20]) {
    for (byte, other) in digest.iter_mut().zip(part) {
        *byte ^= other;
    }
}
