//! Writing commands that make values again: what a rewrite of the append-only file writes with
//! `aof-use-rdb-preamble no`.

use crate::resp::{double_text, encode_request};
use crate::server::keyspace::{Element, Field, Image, Key, List, Scored, Value};

/// Items that one command adds. Redis's own bound, so that loading never stalls over one command.
const ITEMS_MAX: usize = 64;

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
            let items = set.iter().map(|member| [member.to_vec()]);
            batches("SADD", key, items, out);
        }
        Value::Hash(hash) => {
            let items = hash
                .iter()
                .map(|(name, value)| [name.to_vec(), value.to_vec()]);
            batches("HSET", key, items, out);
        }
        Value::SortedSet(set) => {
            let items = set
                .iter()
                .map(|(member, score)| [double_text(score).into_bytes(), member.to_vec()]);
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
}

impl RecreationWriter {
    /// Nothing is written yet.
    pub fn new(key: Key, image: Image) -> RecreationWriter {
        RecreationWriter {
            key,
            image,
            done: 0,
        }
    }

    /// Appends about `bytes_max` more bytes; true when that was the last of it.
    pub fn write(&mut self, bytes_max: usize, out: &mut Vec<u8>) -> bool {
        let enough = out.len() + bytes_max;
        let pieces = match &self.image {
            Image::Text(_) => 1,
            Image::List(list) => list.nodes().len(),
            Image::Set(table) => table.groups(),
            Image::Hash(table) => table.groups(),
            Image::SortedSet(table) => table.groups(),
        };
        while self.done < pieces && out.len() < enough {
            let (key, at) = (&*self.key, self.done);
            match &self.image {
                Image::Text(text) => encode_request(&[b"SET", key, text], out),
                Image::List(list) => nodes(key, list, at..at + 1, out),
                Image::Set(table) => {
                    let items = table.group(at).iter().map(|member| [member.to_vec()]);
                    batches("SADD", key, items, out);
                }
                Image::Hash(table) => {
                    batches("HSET", key, table.group(at).iter().map(field), out);
                }
                Image::SortedSet(table) => {
                    batches("ZADD", key, table.group(at).iter().map(scored), out);
                }
            }
            self.done += 1;
        }
        self.done >= pieces
    }
}

fn field(field: &Field) -> [Vec<u8>; 2] {
    [field.name().to_vec(), field.value().to_vec()]
}

fn scored(item: &Scored) -> [Vec<u8>; 2] {
    [double_text(item.score).into_bytes(), item.member.to_vec()]
}

fn nodes(key: &[u8], list: &List, which: std::ops::Range<usize>, out: &mut Vec<u8>) {
    let elements = which.flat_map(|node| list.nodes()[node].iter());
    batches(
        "RPUSH",
        key,
        elements.map(Element::to_vec).map(|item| [item]),
        out,
    );
}

/// One command for every [`ITEMS_MAX`] items.
fn batches<const WORDS: usize>(
    name: &str,
    key: &[u8],
    items: impl Iterator<Item = [Vec<u8>; WORDS]>,
    out: &mut Vec<u8>,
) {
    let mut items = items.peekable();
    while items.peek().is_some() {
        let mut words = vec![name.as_bytes().to_vec(), key.to_vec()];
        words.extend(items.by_ref().take(ITEMS_MAX).flatten());
        encode_request(&words, out);
    }
}
