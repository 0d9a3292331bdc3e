//! Writing commands that make values again: what a rewrite of the append-only file writes with
//! `aof-use-rdb-preamble no`.

use std::borrow::Cow;

use crate::resp::{double_text, encode_request};
use crate::server::keyspace::{Element, Field, Image, Key, List, Scored, Value};

/// Items that one command adds. Redis's own bound, so that loading never stalls over one command.
const ITEMS_MAX: usize = 64;

/// A command of so many bytes gets no more items.
const COMMAND_BYTES: usize = 64 * 1024;

/// The database that what was written so far has selected.
#[derive(Debug, Default)]
pub struct Selected(Option<usize>);

impl Selected {
    /// Makes `db` the database of what follows.
    pub fn select(&mut self, db: usize, out: &mut Vec<u8>) {
        if self.0 != Some(db) {
            self.0 = Some(db);
            encode_request(&["SELECT", itoa::Buffer::new().format(db)], out);
        }
    }
}

/// The note that what follows is of this second (Unix time).
pub fn time_note(second: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("#TS:{second}\r\n").as_bytes());
}

/// The commands that make a whole value.
pub fn value(key: &[u8], value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => {
            encode_request(&[b"SET", key, text.bytes(&mut itoa::Buffer::new())], out);
        }
        Value::List(list) => nodes(key, list, 0..list.nodes().len(), out),
        Value::Set(set) => {
            let items = set.iter().map(|member| [member.to_cow()]);
            batches("SADD", key, items, out);
        }
        Value::Hash(hash) => {
            let items = hash
                .iter()
                .map(|(name, value)| [name.to_cow(), value.to_cow()]);
            batches("HSET", key, items, out);
        }
        Value::SortedSet(set) => {
            let items = set
                .iter()
                .map(|(member, score)| [score_text(score), member.to_cow()]);
            batches("ZADD", key, items, out);
        }
    }
}

/// The command that lets a key expire (Unix ms).
pub fn expiry(key: &[u8], at: u64, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    encode_request(&[b"PEXPIREAT", key, digits.format(at).as_bytes()], out);
}

/// Writes the commands of a large value piece by piece.
#[derive(Debug)]
pub struct RecreationWriter {
    key: Key,
    image: Image,
    /// Nodes or groups written.
    done: usize,
    /// Entries written of the group that is next.
    entries: usize,
}

impl RecreationWriter {
    /// Nothing is written yet.
    pub fn new(key: Key, image: Image) -> RecreationWriter {
        RecreationWriter {
            key,
            image,
            done: 0,
            entries: 0,
        }
    }

    /// Appends about `bytes_max` more bytes; true when that was the last of it.
    pub fn write(&mut self, bytes_max: usize, out: &mut Vec<u8>) -> bool {
        let enough = out.len() + bytes_max;
        let pieces = self.image.pieces();
        while self.done < pieces && out.len() < enough {
            let (key, at) = (&*self.key, self.done);
            let entries = &mut self.entries;
            let is_whole = match &self.image {
                Image::Text(text) => {
                    encode_request(&[b"SET", key, text], out);
                    true
                }
                Image::List(list) => {
                    nodes(key, list, at..at + 1, out);
                    true
                }
                Image::Set(table) => group("SADD", key, table.group(at), entries, member, out),
                Image::Hash(table) => group("HSET", key, table.group(at), entries, field, out),
                Image::SortedSet(order) => {
                    group("ZADD", key, order.group(at), entries, scored, out)
                }
            };
            if is_whole {
                self.done += 1;
                self.entries = 0;
            }
        }
        self.done >= pieces
    }
}

fn member(member: &Key) -> [Cow<'_, [u8]>; 1] {
    [Cow::Borrowed(member)]
}

fn field(field: &Field) -> [Cow<'_, [u8]>; 2] {
    [Cow::Borrowed(field.name()), field.value().to_cow()]
}

fn scored(item: &Scored) -> [Cow<'_, [u8]>; 2] {
    [score_text(item.score), Cow::Borrowed(&item.member)]
}

fn score_text(score: f64) -> Cow<'static, [u8]> {
    Cow::Owned(double_text(score).into_bytes())
}

fn nodes(key: &[u8], list: &List, which: std::ops::Range<usize>, out: &mut Vec<u8>) {
    let elements = which.flat_map(|node| list.nodes()[node].iter());
    let items = elements.map(Element::to_cow).map(|item| [item]);
    batches("RPUSH", key, items, out);
}

/// One command for entries of a group from `done` on; true when it was all.
fn group<'a, E, const WORDS: usize>(
    name: &'a str,
    key: &'a [u8],
    group: &'a [E],
    done: &mut usize,
    item: impl Fn(&'a E) -> [Cow<'a, [u8]>; WORDS],
    out: &mut Vec<u8>,
) -> bool {
    let mut items = group[*done..].iter().map(item);
    *done += batch(name, key, &mut items, out);
    *done == group.len()
}

/// As many commands as all items need.
fn batches<'a, const WORDS: usize>(
    name: &'a str,
    key: &'a [u8],
    mut items: impl Iterator<Item = [Cow<'a, [u8]>; WORDS]>,
    out: &mut Vec<u8>,
) {
    while batch(name, key, &mut items, out) > 0 {}
}

/// One command for the next items, if there are any; returns how many it has: up to [`ITEMS_MAX`], and few long ones.
fn batch<'a, const WORDS: usize>(
    name: &'a str,
    key: &'a [u8],
    items: &mut impl Iterator<Item = [Cow<'a, [u8]>; WORDS]>,
    out: &mut Vec<u8>,
) -> usize {
    let mut words = vec![Cow::Borrowed(name.as_bytes()), Cow::Borrowed(key)];
    let (mut count, mut bytes) = (0, 0);
    while count < ITEMS_MAX && bytes < COMMAND_BYTES {
        let Some(item) = items.next() else { break };
        count += 1;
        bytes += item.iter().map(|word| word.len()).sum::<usize>();
        words.extend(item);
    }
    if count > 0 {
        encode_request(&words, out);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::keyspace::{Hash, Kind, Thresholds};

    #[test]
    fn a_large_value_is_written_in_parts_however_long_its_elements_are() {
        const LONG: usize = 100_000;
        const STEP_BYTES: usize = 1000;
        let mut hash = Hash::default();
        for n in 0..100 {
            hash.set(
                n.to_string().as_bytes(),
                &[b'x'; LONG],
                &Thresholds::DEFAULT,
            );
        }
        let hash = hash.into_value();
        let mut whole = Vec::new();
        value(b"key", &hash, &mut whole);
        let mut writer = RecreationWriter::new(Key::from(&b"key"[..]), hash.image().unwrap());
        let mut out = Vec::new();
        let mut is_complete = false;
        while !is_complete {
            let before = out.len();
            is_complete = writer.write(STEP_BYTES, &mut out);
            assert!(out.len() - before < STEP_BYTES + 2 * LONG);
        }
        assert!(out == whole);
    }
}
