//! Writing RDB: one encoder for `SAVE`, `BGSAVE` and full resyncs.
//!
//! It appends to buffers and knows nothing of files or sockets. The checksum is added by whoever sends the
//! bytes on, because only there is their final order known.

use std::ops::RangeInclusive;

use super::lzf;
use super::rdb::{
    ENC_INT8, ENC_INT16, ENC_INT32, ENC_LZF, LEN_32, LEN_64, OP_AUX, OP_EOF, OP_EXPIRE_MS, OP_FREQ,
    OP_IDLE, OP_RESIZE_DB, OP_SELECT_DB, QUICKLIST_PACKED, TYPE_HASH, TYPE_HASH_LISTPACK,
    TYPE_LIST_QUICKLIST_2, TYPE_SET, TYPE_SET_INTSET, TYPE_STRING, TYPE_ZSET_2, TYPE_ZSET_LISTPACK,
    VERSION,
};
use crate::server::keyspace::{
    Element, Entry, Field, Hash, Image, Key, Keyed, List, Rating, Scored, Set, SortedSet, Table,
    Usage, Value, canonical_integer,
};

/// Shorter strings are never compressed. Redis's own bound.
const COMPRESS_BYTES_MIN: usize = 21;

/// What the head of a file says beside the version.
#[derive(Clone, Debug)]
pub struct Head {
    /// Unix time in seconds.
    pub created: u64,
    /// Bytes of memory in use.
    pub used_memory: u64,
    /// The replication position that this is the state of, if any.
    pub replication: Option<ReplicationInfo>,
    /// How the use of keys is counted, where the eviction policy makes that worth writing.
    pub usage: Option<Usage>,
    /// It is the base of an append-only file: commands follow.
    pub is_aof_base: bool,
}

/// A replication position as RDB files record it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicationInfo {
    /// The history.
    pub repl_id: String,
    /// Bytes of it that are in the data.
    pub offset: u64,
    /// The database that the stream is positioned in.
    pub stream_db: u32,
}

/// The state of one file being written. It compresses nothing: it runs between clients, and the table that
/// LZF needs costs more than a short string is worth. Long strings are compressed by who writes the file.
#[derive(Debug, Default)]
pub struct Encoder {
    db: Option<usize>,
    usage: Option<Usage>,
}

impl Encoder {
    /// Nothing is written yet; `usage`: see [`Head`].
    pub fn new(usage: Option<Usage>) -> Encoder {
        Encoder { db: None, usage }
    }

    /// The magic, the version and the auxiliary fields, in Redis's order.
    pub fn head(head: &Head, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("REDIS{VERSION:04}").as_bytes());
        aux("redis-ver", "7.0.15", out);
        aux("redis-bits", "64", out);
        aux("ctime", &head.created.to_string(), out);
        aux("used-mem", &head.used_memory.to_string(), out);
        if let Some(position) = &head.replication {
            aux("repl-stream-db", &position.stream_db.to_string(), out);
            aux("repl-id", &position.repl_id, out);
            aux("repl-offset", &position.offset.to_string(), out);
        }
        aux("aof-base", if head.is_aof_base { "1" } else { "0" }, out);
    }

    /// The EOF opcode. Eight bytes of checksum (LE) must follow.
    pub fn end(out: &mut Vec<u8>) {
        out.push(OP_EOF);
    }

    /// Makes `db` the database of what follows. `sizes`: its keys, and those with an expiry, when the
    /// image was begun. Snapshots may come back to a database; readers accept that.
    pub fn select(&mut self, db: usize, sizes: (usize, usize), out: &mut Vec<u8>) {
        if self.db == Some(db) {
            return;
        }
        self.db = Some(db);
        out.push(OP_SELECT_DB);
        length(db, out);
        out.push(OP_RESIZE_DB);
        length(sizes.0, out);
        length(sizes.1, out);
    }

    /// What stands before the value of a key: its expiry, its use, its type and its name.
    pub fn head_of_entry(&mut self, entry: &Entry, out: &mut Vec<u8>) {
        if let Some(at) = entry.expire_at() {
            out.push(OP_EXPIRE_MS);
            out.extend_from_slice(&at.to_le_bytes());
        }
        match self.usage.map(|usage| usage.rating(entry.access())) {
            Some(Rating::Idle(seconds)) => {
                out.push(OP_IDLE);
                length(usize::try_from(seconds).expect("64 bits"), out);
            }
            Some(Rating::Frequency(count)) => out.extend([OP_FREQ, count]),
            None => {}
        }
        out.push(value_type(&entry.value));
        string(&entry.key, false, out);
    }
}

/// The type that a value is written as.
pub fn value_type(value: &Value) -> u8 {
    match value {
        Value::String(_) => TYPE_STRING,
        Value::List(_) => TYPE_LIST_QUICKLIST_2,
        Value::Set(set) => match &**set {
            Set::Integers(_) => TYPE_SET_INTSET,
            Set::Table(_) => TYPE_SET,
        },
        Value::Hash(hash) => match &**hash {
            Hash::Packed(_) => TYPE_HASH_LISTPACK,
            Hash::Table(_) => TYPE_HASH,
        },
        Value::SortedSet(set) => match &**set {
            SortedSet::Packed(_) => TYPE_ZSET_LISTPACK,
            SortedSet::Ranked(_) => TYPE_ZSET_2,
        },
    }
}

/// A whole value, without its type.
pub fn value(value: &Value, compress: bool, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => element(text.element(), compress, out),
        Value::List(list) => list_part(list, 0..=list.nodes().len(), compress, out),
        Value::Set(set) => match &**set {
            Set::Integers(set) => string(set.as_bytes(), compress, out),
            Set::Table(table) => table_part(table, 0..=table.groups(), compress, out, member),
        },
        Value::Hash(hash) => match &**hash {
            Hash::Packed(pack) => string(pack.as_bytes(), compress, out),
            Hash::Table(table) => table_part(table, 0..=table.groups(), compress, out, field),
        },
        Value::SortedSet(set) => match &**set {
            SortedSet::Packed(pack) => string(pack.as_bytes(), compress, out),
            SortedSet::Ranked(ranking) => {
                let table = ranking.members();
                table_part(table, 0..=table.groups(), compress, out, scored);
            }
        },
    }
}

/// Writes a large value piece by piece.
#[derive(Debug)]
pub struct ImageWriter {
    image: Image,
    /// Pieces written: the length, then node by node or group by group.
    done: usize,
}

impl ImageWriter {
    /// Nothing is written yet.
    pub fn new(image: Image) -> ImageWriter {
        ImageWriter { image, done: 0 }
    }

    /// Appends about `bytes_max` more bytes; true when that was the last of it.
    pub fn write(&mut self, compress: bool, bytes_max: usize, out: &mut Vec<u8>) -> bool {
        let enough = out.len() + bytes_max;
        let pieces = match &self.image {
            Image::Text(_) => 0,
            Image::List(list) => list.nodes().len(),
            Image::Set(table) => table.groups(),
            Image::Hash(table) => table.groups(),
            Image::SortedSet(table) => table.groups(),
        };
        while self.done <= pieces && out.len() < enough {
            let piece = self.done..=self.done;
            match &self.image {
                Image::Text(text) => string(text, compress, out),
                Image::List(list) => list_part(list, piece, compress, out),
                Image::Set(table) => table_part(table, piece, compress, out, member),
                Image::Hash(table) => table_part(table, piece, compress, out, field),
                Image::SortedSet(table) => table_part(table, piece, compress, out, scored),
            }
            self.done += 1;
        }
        self.done > pieces
    }
}

/// Pieces of a list: 0 is its length, the others are its nodes.
fn list_part(list: &List, pieces: RangeInclusive<usize>, compress: bool, out: &mut Vec<u8>) {
    for piece in pieces {
        match piece.checked_sub(1) {
            None => length(list.nodes().len(), out),
            Some(node) => {
                length(QUICKLIST_PACKED, out);
                string(list.nodes()[node].as_bytes(), compress, out);
            }
        }
    }
}

/// Pieces of a table: 0 is its length, the others are its groups.
fn table_part<E: Keyed + Clone>(
    table: &Table<E>,
    pieces: RangeInclusive<usize>,
    compress: bool,
    out: &mut Vec<u8>,
    each: impl Fn(&E, bool, &mut Vec<u8>),
) {
    for piece in pieces {
        match piece.checked_sub(1) {
            None => length(table.len(), out),
            Some(group) => table
                .group(group)
                .iter()
                .for_each(|entry| each(entry, compress, out)),
        }
    }
}

fn member(member: &Key, compress: bool, out: &mut Vec<u8>) {
    string(member, compress, out);
}

fn field(field: &Field, compress: bool, out: &mut Vec<u8>) {
    string(field.name(), compress, out);
    element(field.value(), compress, out);
}

fn element(element: Element<'_>, compress: bool, out: &mut Vec<u8>) {
    match element {
        Element::Integer(n) => integer_or_text(n, out),
        Element::Bytes(bytes) => string(bytes, compress, out),
    }
}

fn scored(item: &Scored, compress: bool, out: &mut Vec<u8>) {
    string(&item.member, compress, out);
    out.extend_from_slice(&item.score.to_le_bytes());
}

fn aux(name: &str, value: &str, out: &mut Vec<u8>) {
    out.push(OP_AUX);
    string(name.as_bytes(), false, out);
    string(value.as_bytes(), false, out);
}

/// A length, in the shortest form.
pub fn length(n: usize, out: &mut Vec<u8>) {
    let n = n as u64;
    if n < 1 << 6 {
        out.push(low_byte(n));
    } else if n < 1 << 14 {
        out.push(0x40 | low_byte(n >> 8));
        out.push(low_byte(n));
    } else if let Ok(n) = u32::try_from(n) {
        out.push(LEN_32);
        out.extend_from_slice(&n.to_be_bytes());
    } else {
        out.push(LEN_64);
        out.extend_from_slice(&n.to_be_bytes());
    }
}

/// A string, as a number or compressed where Redis would do that.
pub fn string(bytes: &[u8], compress: bool, out: &mut Vec<u8>) {
    if bytes.len() <= 11
        && let Some(n) = canonical_integer(bytes)
        && let Ok(n) = i32::try_from(n)
    {
        integer(n, out);
    } else if !(compress && bytes.len() >= COMPRESS_BYTES_MIN && compressed(bytes, out)) {
        length(bytes.len(), out);
        out.extend_from_slice(bytes);
    }
}

/// Writes the string compressed where that saves four bytes, without the lengths in front of it: as redis-server does.
fn compressed(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(packed) = lzf::compress(bytes) else {
        return false;
    };
    out.push(ENC_LZF);
    length(packed.len(), out);
    length(bytes.len(), out);
    out.extend_from_slice(&packed);
    true
}

fn integer_or_text(n: i64, out: &mut Vec<u8>) {
    if let Ok(n) = i32::try_from(n) {
        integer(n, out);
    } else {
        string(itoa::Buffer::new().format(n).as_bytes(), false, out);
    }
}

fn integer(n: i32, out: &mut Vec<u8>) {
    if let Ok(n) = i8::try_from(n) {
        out.push(ENC_INT8);
        out.extend_from_slice(&n.to_le_bytes());
    } else if let Ok(n) = i16::try_from(n) {
        out.push(ENC_INT16);
        out.extend_from_slice(&n.to_le_bytes());
    } else {
        out.push(ENC_INT32);
        out.extend_from_slice(&n.to_le_bytes());
    }
}

fn low_byte(n: u64) -> u8 {
    n.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], compress: bool, want: &[u8]) {
        let mut out = Vec::new();
        string(bytes, compress, &mut out);
        assert_eq!(out, want, "{:?}", String::from_utf8_lossy(bytes));
    }

    #[test]
    fn strings_take_the_forms_that_redis_gives_them() {
        check(b"", true, &[0]);
        check(b"v", true, b"\x01v");
        check(b"64", true, &[0xc0, 64]);
        check(b"-1", true, &[0xc0, 0xff]);
        check(b"12345", true, &[0xc1, 0x39, 0x30]);
        check(b"2147483647", true, &[0xc2, 0xff, 0xff, 0xff, 0x7f]);
        check(b"2147483648", true, b"\x0a2147483648");
        check(b"007", true, b"\x03007");
        check(
            &[b'a'; 200],
            true,
            &[
                0xc3, 0x09, 0x40, 0xc8, 0x01, b'a', b'a', 0xe0, 0xbb, 0x00, 0x01, b'a', b'a',
            ],
        );
        check(
            &[b'a'; 21],
            false,
            &[&[21_u8][..], &[b'a'; 21][..]].concat(),
        );
    }

    #[test]
    fn lengths_are_shortest() {
        for (n, want) in [
            (63, vec![63]),
            (64, vec![0x40, 64]),
            (16383, vec![0x7f, 0xff]),
            (16384, vec![0x80, 0, 0, 0x40, 0]),
        ] {
            let mut out = Vec::new();
            length(n, &mut out);
            assert_eq!(out, want);
        }
    }
}
