//! Writing RDB: one encoder for `SAVE`, `BGSAVE` and full resyncs.
//!
//! It appends to buffers and knows nothing of files or sockets. The checksum is added by whoever sends the
//! bytes on, because only there is their final order known.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::lzf;
use super::rdb::{
    ENC_INT8, ENC_INT16, ENC_INT32, ENC_LZF, LEN_32, LEN_64, OP_AUX, OP_EOF, OP_EXPIRE_MS, OP_FREQ,
    OP_IDLE, OP_RESIZE_DB, OP_SELECT_DB, QUICKLIST_PACKED, TYPE_HASH, TYPE_HASH_LISTPACK,
    TYPE_LIST_QUICKLIST_2, TYPE_SET, TYPE_SET_INTSET, TYPE_STRING, TYPE_ZSET_2, TYPE_ZSET_LISTPACK,
    VERSION,
};
use crate::resp::canonical_integer;
use crate::server::keyspace::{
    Element, Entry, Field, Hash, Image, Key, Keyed, Listpack, Rating, Scored, Set, SortedSet,
    Table, Usage, Value,
};

/// Shorter strings are never compressed. Redis's own bound.
pub(super) const COMPRESS_BYTES_MIN: usize = 21;

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
    /// It lacks keys that the history has: a replica has given them up, by `replica-ignore-maxmemory no`. In a field of
    /// our own, which redis-server passes over.
    pub holds_less: bool,
}

/// The auxiliary field of [`ReplicationInfo::holds_less`].
pub(super) const HOLDS_LESS: &str = "sentinel-holds-less";

/// The state of one file being written. It compresses nothing: it runs between clients. Strings are compressed by
/// who writes the file.
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
            if position.holds_less {
                aux(HOLDS_LESS, "1", out);
            }
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

/// A whole value, without its type. Of a large sorted set the highest comes first: redis-server, which writes it so
/// too, puts each one it reads in front of the others, without a search.
pub fn value(value: &Value, compress: bool, out: &mut Vec<u8>) {
    let to = &mut Whole { compress, out };
    match value {
        Value::String(text) => match text.element() {
            Element::Integer(n) => integer_or_text(n, out),
            Element::Bytes(bytes) => string(bytes, compress, out),
        },
        Value::List(list) => {
            to.plain(|out| length(list.nodes().len(), out));
            list.nodes().iter().for_each(|item| node(to, item));
        }
        Value::Set(set) => match &**set {
            Set::Integers(set) => string(set.as_bytes(), compress, out),
            Set::Table(table) => whole(table, to, member),
        },
        Value::Hash(hash) => match &**hash {
            Hash::Packed(pack) => string(pack.as_bytes(), compress, out),
            Hash::Table(table) => whole(table, to, field),
        },
        Value::SortedSet(set) => match &**set {
            SortedSet::Packed(pack) => string(pack.as_bytes(), compress, out),
            SortedSet::Ranked(ranking) => {
                let order = ranking.order();
                to.plain(|out| length(order.len(), out));
                let groups = (0..order.groups()).rev();
                groups
                    .flat_map(|number| order.group(number).iter().rev())
                    .for_each(|item| scored(to, item));
            }
        },
    }
}

/// Takes what a value consists of.
trait Sink {
    /// A few bytes.
    fn plain(&mut self, write: impl FnOnce(&mut Vec<u8>));

    /// A string, which `share` refers to, where it is long and that is of use.
    fn string(&mut self, bytes: &[u8], share: impl FnOnce() -> Bytes);
}

fn node(to: &mut impl Sink, node: &Arc<Listpack>) {
    to.plain(|out| length(QUICKLIST_PACKED, out));
    to.string(node.as_bytes(), || shared(node, |node| node.as_bytes()));
}

fn member(to: &mut impl Sink, member: &Key) {
    to.string(member, || Bytes::from_owner(member.clone()));
}

fn field(to: &mut impl Sink, field: &Field) {
    to.string(field.name(), || shared(field, Field::name));
    match field.value() {
        Element::Integer(n) => to.plain(|out| integer_or_text(n, out)),
        Element::Bytes(value) => to.string(value, || {
            shared(field, |field| match field.value() {
                Element::Bytes(value) => value,
                Element::Integer(_) => unreachable!("no number is long"),
            })
        }),
    }
}

fn scored(to: &mut impl Sink, item: &Scored) {
    member(to, &item.member);
    to.plain(|out| out.extend_from_slice(&item.score.to_le_bytes()));
}

/// A table: its length, then its entries.
fn whole<E: Keyed + Clone + Default, S: Sink>(
    table: &Table<E>,
    to: &mut S,
    each: impl Fn(&mut S, &E),
) {
    to.plain(|out| length(table.len(), out));
    table.iter().for_each(|entry| each(to, entry));
}

/// Writes a whole value at once.
struct Whole<'a> {
    compress: bool,
    out: &'a mut Vec<u8>,
}

impl Sink for Whole<'_> {
    fn plain(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(self.out);
    }

    fn string(&mut self, bytes: &[u8], _: impl FnOnce() -> Bytes) {
        string(bytes, self.compress, self.out);
    }
}

/// Longer strings of a large value are written in parts, without a copy of the whole. Bytes.
const LONG_BYTES_MIN: usize = 64 * 1024;

/// Writes a large value piece by piece.
#[derive(Debug)]
pub struct ImageWriter {
    image: Image,
    /// Pieces written: the length of a collection, then node by node or group by group.
    done: usize,
    /// Entries written of the group that is next.
    entries: usize,
    /// What is to be written before anything else.
    rest: VecDeque<Bytes>,
}

impl ImageWriter {
    /// Nothing is written yet.
    pub fn new(image: Image) -> ImageWriter {
        ImageWriter {
            image,
            done: 0,
            entries: 0,
            rest: VecDeque::new(),
        }
    }

    /// What it writes.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Appends about `bytes_max` more bytes, however long the strings are; true when that was the last of it.
    pub fn write(&mut self, compress: bool, bytes_max: usize, out: &mut Vec<u8>) -> bool {
        let enough = out.len() + bytes_max;
        let pieces = self.image.pieces();
        while out.len() < enough {
            if let Some(part) = self.rest.front_mut() {
                out.extend_from_slice(&part.split_to(part.len().min(enough - out.len())));
                if part.is_empty() {
                    self.rest.pop_front();
                }
            } else if self.done <= pieces {
                self.write_next(compress, enough, out);
            } else {
                break;
            }
        }
        self.done > pieces && self.rest.is_empty()
    }

    /// Writes the next piece, or of a group as much as is enough.
    fn write_next(&mut self, compress: bool, enough: usize, out: &mut Vec<u8>) {
        let mut to = Pieces {
            compress,
            out,
            rest: &mut self.rest,
        };
        let piece = self.done.checked_sub(1);
        let pieces = self.image.pieces();
        let is_whole = match (&self.image, piece) {
            (Image::Text(_), None) => true,
            (Image::Text(text), Some(_)) => {
                to.string(text, || shared(text, |text| text));
                true
            }
            (Image::List(list), None) => to.length(list.nodes().len()),
            (Image::Set(table), None) => to.length(table.len()),
            (Image::Hash(table), None) => to.length(table.len()),
            (Image::SortedSet(order), None) => to.length(order.len()),
            (Image::List(list), Some(piece)) => {
                node(&mut to, &list.nodes()[piece]);
                true
            }
            (Image::Set(table), Some(piece)) => {
                to.group(table.group(piece).iter(), &mut self.entries, enough, member)
            }
            (Image::Hash(table), Some(piece)) => {
                to.group(table.group(piece).iter(), &mut self.entries, enough, field)
            }
            (Image::SortedSet(order), Some(piece)) => {
                let group = order.group(pieces - 1 - piece).iter();
                to.group(group.rev(), &mut self.entries, enough, scored)
            }
        };
        if is_whole {
            self.done += 1;
            self.entries = 0;
        }
    }
}

/// Takes the pieces of a large value: long strings are not copied but wait, and so does what comes behind them.
struct Pieces<'a> {
    compress: bool,
    out: &'a mut Vec<u8>,
    rest: &'a mut VecDeque<Bytes>,
}

impl Sink for Pieces<'_> {
    fn plain(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.rest.is_empty() {
            write(self.out);
        } else {
            let mut bytes = Vec::new();
            write(&mut bytes);
            self.rest.push_back(Bytes::from(bytes));
        }
    }

    fn string(&mut self, bytes: &[u8], share: impl FnOnce() -> Bytes) {
        let compress = self.compress;
        if bytes.len() <= LONG_BYTES_MIN {
            return self.plain(|out| string(bytes, compress, out));
        }
        let packed = if compress { lzf::compress(bytes) } else { None };
        let long = if let Some(packed) = packed {
            self.plain(|out| head_of_compressed(packed.len(), bytes.len(), out));
            Bytes::from(packed)
        } else {
            self.plain(|out| length(bytes.len(), out));
            share()
        };
        self.rest.push_back(long);
    }
}

impl Pieces<'_> {
    /// A length is a piece of its own.
    fn length(&mut self, n: usize) -> bool {
        self.plain(|out| length(n, out));
        true
    }

    /// Entries of a group from `done` on, until that is enough; true when it was all.
    fn group<'e, E: 'e>(
        &mut self,
        group: impl Iterator<Item = &'e E>,
        done: &mut usize,
        enough: usize,
        each: impl Fn(&mut Self, &E),
    ) -> bool {
        for entry in group.skip(*done) {
            if self.out.len() >= enough || !self.rest.is_empty() {
                return false;
            }
            each(self, entry);
            *done += 1;
        }
        true
    }
}

/// Some bytes of what a clone of `owner` keeps: the clone shares what is long.
fn shared<T: Clone + Send + 'static>(owner: &T, bytes_of: fn(&T) -> &[u8]) -> Bytes {
    struct View<T>(T, fn(&T) -> &[u8]);

    impl<T> AsRef<[u8]> for View<T> {
        fn as_ref(&self) -> &[u8] {
            (self.1)(&self.0)
        }
    }

    Bytes::from_owner(View(owner.clone(), bytes_of))
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
pub(super) fn compressed(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(packed) = lzf::compress(bytes) else {
        return false;
    };
    head_of_compressed(packed.len(), bytes.len(), out);
    out.extend_from_slice(&packed);
    true
}

fn head_of_compressed(packed: usize, len: usize, out: &mut Vec<u8>) {
    out.push(ENC_LZF);
    length(packed, out);
    length(len, out);
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
    use crate::server::keyspace::{End, Kind, List, Thresholds};

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
    fn a_large_value_is_written_in_parts_however_long_its_elements_are() {
        const STEP_BYTES: usize = 1000;
        let thresholds = &Thresholds::DEFAULT;
        let (mut hash, mut set) = (Hash::default(), Set::default());
        let (mut sorted, mut list) = (SortedSet::default(), List::default());
        for n in 0_usize..40 {
            // Of all lengths; every other one is worth to be compressed.
            let repeated = n.to_string().into_bytes();
            let mut long = repeated.repeat(60 * n * n);
            if n % 2 == 0 {
                let mut seed = n as u64;
                long.fill_with(|| {
                    seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                    seed.to_be_bytes()[0]
                });
            }
            hash.set(&repeated, &long, thresholds);
            hash.set(&[&long, &repeated[..]].concat(), &repeated, thresholds);
            set.insert(&long, thresholds);
            sorted.insert(&long, 0.5, thresholds);
            list.push(End::Right, &long, thresholds.list_node);
        }
        let text = Value::string(&b"text".repeat(20_000));
        let collections = [
            hash.into_value(),
            set.into_value(),
            sorted.into_value(),
            list.into_value(),
        ];
        for large in collections.into_iter().chain([text]) {
            for compress in [true, false] {
                let mut whole = Vec::new();
                value(&large, compress, &mut whole);
                let mut writer = ImageWriter::new(large.image().unwrap());
                let mut out = Vec::new();
                let mut is_complete = false;
                while !is_complete {
                    let before = out.len();
                    is_complete = writer.write(compress, STEP_BYTES, &mut out);
                    let more = out.len() - before;
                    assert!(more <= STEP_BYTES + 2 * LONG_BYTES_MIN, "{more} bytes");
                }
                assert!(out == whole, "{} {compress}", large.type_name());
            }
        }
    }

    #[test]
    fn the_highest_member_of_a_large_sorted_set_comes_first() {
        const MEMBERS: usize = 2000;
        let mut set = SortedSet::default();
        for n in 0..MEMBERS {
            let n = n * 7919 % MEMBERS;
            // Three of a kind.
            let score = u32::try_from(n / 3).expect("few").into();
            set.insert(format!("m{n:04}").as_bytes(), score, &Thresholds::DEFAULT);
        }
        let mut want = vec![0x40 | 7, 0xd0];
        for n in (0..MEMBERS).rev() {
            let score = f64::from(u32::try_from(n / 3).expect("few"));
            want.extend_from_slice(format!("\x05m{n:04}").as_bytes());
            want.extend_from_slice(&score.to_le_bytes());
        }
        let set = set.into_value();
        let mut whole = Vec::new();
        value(&set, true, &mut whole);
        assert!(whole == want);
        let mut writer = ImageWriter::new(set.image().unwrap());
        let mut out = Vec::new();
        while !writer.write(true, 1000, &mut out) {}
        assert!(out == want);
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
