//! Reading RDB, from a file or from a master.
//!
//! A plain blocking reader: it runs on a thread of its own and builds a keyspace that nobody else has yet,
//! so a load that fails leaves nothing behind. What we cannot hold ends the load with its name.

use std::io::{self, Read};
use std::sync::Arc;

use super::rdb::{
    OP_AUX, OP_EOF, OP_EXPIRE_MS, OP_EXPIRE_S, OP_FREQ, OP_FUNCTION, OP_IDLE, OP_MODULE_AUX,
    OP_RESIZE_DB, OP_SELECT_DB, OP_SLOT_INFO, VERSION_MAX, type_name,
};
use super::rdb_encode::{HOLDS_LESS, ReplicationInfo};
use super::rdb_reader::Reader;
use super::rdb_values::{is_readable, read_value};
use crate::ids::ReplOffset;
use crate::server::key_delay::LoadPace;
use crate::server::keyspace::{Entry, Keyspace, Rating, Thresholds, Usage, WARM_MAX};
use crate::server::loading::Progress;

/// The longest string that a file or a master's stream may hold, where `proto-max-bulk-len` is not even more.
/// Bytes. The server that wrote it may have let its clients write more than we do.
pub const STRING_BYTES_MAX: u64 = 4 << 30;

/// Why a load was given up.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The source failed or ended early.
    #[error("cannot read the RDB at byte {at}: {error}")]
    Read {
        /// Bytes read before.
        at: u64,
        /// What happened.
        error: io::Error,
    },
    /// No `REDIS0…` at the start.
    #[error("not an RDB: it does not begin with REDIS and four digits")]
    Magic,
    /// Written by a newer server.
    #[error("RDB version {0} cannot be read; versions 1 to {VERSION_MAX} can")]
    Version(u32),
    /// A value of a type that this server does not have.
    #[error(
        "key {key:?} in database {db} holds a {kind} (RDB type {code}), which this server cannot store; nothing was loaded"
    )]
    Type {
        /// The key, printable.
        key: String,
        /// The database.
        db: usize,
        /// The name of the type.
        kind: &'static str,
        /// Its number.
        code: u8,
    },
    /// Function libraries or module data.
    #[error("the RDB holds {0}, which this server cannot store; nothing was loaded")]
    Feature(&'static str),
    /// Bytes that have no meaning at this place.
    #[error("the RDB is corrupt at byte {at}: {what}")]
    Corrupt {
        /// Bytes read before.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The same key twice in one database.
    #[error("the RDB holds key {key:?} of database {db} twice")]
    Duplicate {
        /// The key, printable.
        key: String,
        /// The database.
        db: usize,
    },
    /// More databases than configured.
    #[error("the RDB uses database {0}, beyond the configured number of databases")]
    Database(u64),
    /// The stored checksum differs.
    #[error(
        "the RDB is damaged: its checksum is {stored:#018x} but its content has {computed:#018x}"
    )]
    Checksum {
        /// In the file.
        stored: u64,
        /// Of what was read.
        computed: u64,
    },
}

/// How to treat what is loaded.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Databases of the keyspace.
    pub databases: usize,
    /// Drop keys that had expired by this moment (Unix ms), unless the file has a replication position: with
    /// one, replicas may go on from there, and they keep such keys until they are told.
    pub drop_expired_at: Option<u64>,
    /// Verify the checksum, where there is one.
    pub verify_checksum: bool,
    /// The longest string that is taken. Bytes; see [`STRING_BYTES_MAX`].
    pub string_bytes_max: u64,
    /// Where the small forms of collections end.
    pub thresholds: Thresholds,
    /// How the use of keys is counted.
    pub usage: Usage,
    /// How it rests.
    pub pace: LoadPace,
    /// Who is told how many keys there are.
    pub(crate) progress: Option<Arc<Progress>>,
}

/// A complete load.
#[derive(Debug)]
pub struct Loaded {
    /// The data.
    pub keyspace: Keyspace,
    /// Its replication position, when it has a complete one.
    pub replication: Option<ReplicationInfo>,
    /// Keys loaded.
    pub keys_loaded: u64,
    /// Keys dropped because they had expired.
    pub keys_expired: u64,
    /// Of the keys loaded, those that had expired: kept, as the file has a replication position.
    pub keys_overdue: u64,
}

impl Loaded {
    /// Keys loaded that have not expired.
    pub(crate) fn keys_good(&self) -> u64 {
        self.keys_loaded - self.keys_overdue
    }

    /// Keys that had expired, whether they were dropped or not.
    pub(crate) fn keys_past(&self) -> u64 {
        self.keys_expired + self.keys_overdue
    }
}

/// Reads one RDB up to its checksum; bytes after that are left alone.
///
/// # Errors
/// See [`LoadError`]; nothing of a failed load is kept.
pub fn load(source: impl Read, options: LoadOptions) -> Result<Loaded, LoadError> {
    let mut reader = Reader::new(source, options.string_bytes_max);
    if options.verify_checksum {
        reader.begin_checksum();
    }
    let version = reader.magic()?;
    let databases = options.databases;
    let mut loading = Loading {
        options,
        db: 0,
        expire_at: None,
        rating: None,
        position: Position::default(),
        read: Vec::with_capacity(WARM_MAX),
        loaded: Loaded {
            keyspace: Keyspace::new(databases),
            replication: None,
            keys_loaded: 0,
            keys_expired: 0,
            keys_overdue: 0,
        },
    };
    while !loading.step(&mut reader)? {}
    loading.insert_read()?;
    reader.verify(version)?;
    let mut loaded = loading.loaded;
    loaded.replication = loading.position.complete();
    match &loaded.replication {
        // The stream goes on in this database.
        Some(position) if position.stream_db as usize >= databases => {
            Err(LoadError::Database(u64::from(position.stream_db)))
        }
        Some(_) | None => Ok(loaded),
    }
}

/// How much memory its writer used, by the head of an RDB; 0 where that does not say it.
pub fn used_memory_of(head: &[u8]) -> u64 {
    let mut reader = Reader::new(head, STRING_BYTES_MAX);
    let mut find = || -> Result<u64, LoadError> {
        reader.magic()?;
        while reader.byte()? == OP_AUX {
            let (name, value) = (reader.string()?, reader.string()?);
            if name == b"used-mem" {
                let text = String::from_utf8_lossy(&value).into_owned();
                return Ok(text.parse().unwrap_or(0));
            }
        }
        Ok(0)
    };
    find().unwrap_or(0)
}

/// The three auxiliary fields of a replication position.
#[derive(Default)]
struct Position {
    repl_id: Option<String>,
    offset: Option<ReplOffset>,
    stream_db: Option<u32>,
    holds_less: bool,
}

impl Position {
    /// The fields stand at the head of a file, before its keys.
    fn is_complete(&self) -> bool {
        self.repl_id.as_ref().is_some_and(|id| id.len() == 40) && self.offset.is_some()
    }

    fn complete(self) -> Option<ReplicationInfo> {
        if !self.is_complete() {
            return None;
        }
        Some(ReplicationInfo {
            repl_id: self.repl_id?,
            offset: self.offset?.0,
            stream_db: self.stream_db.unwrap_or(0),
            holds_less: self.holds_less,
        })
    }
}

struct Loading {
    options: LoadOptions,
    db: usize,
    expire_at: Option<u64>,
    rating: Option<Rating>,
    position: Position,
    /// Entries of the present database that are not in the keyspace yet.
    read: Vec<Entry>,
    loaded: Loaded,
}

impl Loading {
    /// Reads one opcode or one key. True at the end.
    fn step<R: Read>(&mut self, reader: &mut Reader<R>) -> Result<bool, LoadError> {
        match reader.byte()? {
            OP_EOF => return Ok(true),
            OP_AUX => {
                let name = reader.string()?;
                let value = reader.string()?;
                self.aux(&name, &value);
            }
            OP_SELECT_DB => {
                let db = reader.length()?;
                self.insert_read()?;
                self.db = usize::try_from(db)
                    .ok()
                    .filter(|db| *db < self.options.databases)
                    .ok_or(LoadError::Database(db))?;
            }
            OP_RESIZE_DB => {
                reader.length()?;
                reader.length()?;
            }
            OP_SLOT_INFO => {
                for _ in 0..3 {
                    reader.length()?;
                }
            }
            OP_EXPIRE_MS => {
                let at = i64::from_le_bytes(reader.array()?);
                self.expire_at = Some(u64::try_from(at).unwrap_or(0));
            }
            OP_EXPIRE_S => {
                let at = i32::from_le_bytes(reader.array()?);
                self.expire_at = Some(u64::try_from(at).unwrap_or(0) * 1000);
            }
            OP_IDLE => self.rating = Some(Rating::Idle(reader.length()?)),
            OP_FREQ => self.rating = Some(Rating::Frequency(reader.byte()?)),
            OP_FUNCTION => return Err(LoadError::Feature("a function library")),
            OP_MODULE_AUX => return Err(LoadError::Feature("module data")),
            code => self.key(code, reader)?,
        }
        Ok(false)
    }

    fn key<R: Read>(&mut self, code: u8, reader: &mut Reader<R>) -> Result<(), LoadError> {
        if type_name(code) == "unknown" {
            return Err(reader.corrupt("an unknown opcode or value type"));
        }
        let key = reader.string()?;
        if !is_readable(code) {
            return Err(LoadError::Type {
                key: printable(&key),
                db: self.db,
                kind: type_name(code),
                code,
            });
        }
        self.options.pace.rest();
        let (expire_at, rating) = (self.expire_at.take(), self.rating.take());
        let Some(value) = read_value(code, reader, &self.options.thresholds)? else {
            tracing::info!(key = %printable(&key), db = self.db, "an empty collection is left out");
            return Ok(());
        };
        let entry = Entry::new(&key, value, expire_at);
        entry.set_access(self.options.usage.rated(rating));
        let drop_expired_at = self.options.drop_expired_at;
        if drop_expired_at.is_some_and(|now| entry.is_expired(now)) {
            if !self.position.is_complete() {
                self.loaded.keys_expired += 1;
                return Ok(());
            }
            self.loaded.keys_overdue += 1;
        }
        self.read.push(entry);
        if self.read.len() == WARM_MAX {
            self.insert_read()?;
        }
        Ok(())
    }

    /// Moves what was read into the keyspace: several entries at once, so that the processor does not wait for
    /// memory once for each.
    fn insert_read(&mut self) -> Result<(), LoadError> {
        let (loaded, db) = (&mut self.loaded, self.db);
        loaded.keys_loaded += self.read.len() as u64;
        if let Some(progress) = &self.options.progress {
            let volatile = self.read.iter().filter(|entry| entry.expire_at().is_some());
            progress.add_keys(db, self.read.len() as u64, volatile.count() as u64);
            progress.set_keys(loaded.keys_good(), loaded.keys_past());
        }
        let keys = self.read.iter().map(|entry| &*entry.key);
        loaded.keyspace.warm_keys(db, keys);
        for entry in self.read.drain(..) {
            if let Some(twice) = loaded.keyspace.insert(db, entry) {
                return Err(LoadError::Duplicate {
                    key: printable(&twice.key),
                    db,
                });
            }
        }
        Ok(())
    }

    fn aux(&mut self, name: &[u8], value: &[u8]) {
        let Ok(value) = std::str::from_utf8(value) else {
            return;
        };
        match name {
            b"repl-id" => self.position.repl_id = Some(value.to_owned()),
            b"repl-offset" => self.position.offset = ReplOffset::from_text(value),
            b"repl-stream-db" => self.position.stream_db = value.parse().ok(),
            name if name == HOLDS_LESS.as_bytes() => self.position.holds_less = value == "1",
            _ => {}
        }
    }
}

/// A key as an error message shows it.
pub fn printable(key: &[u8]) -> String {
    /// More of a key is of no help.
    const SHOWN_BYTES_MAX: usize = 128;
    key[..key.len().min(SHOWN_BYTES_MAX)]
        .escape_ascii()
        .to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::server::keyspace::{Chunk, End, Hash, Key, Kind, List, Set, SortedSet, Value, Walk};
    use crate::server::persist::rdb::{
        CRC64, TYPE_HASH, TYPE_HASH_LISTPACK, TYPE_HASH_ZIPLIST, TYPE_HASH_ZIPMAP, TYPE_LIST,
        TYPE_LIST_QUICKLIST, TYPE_LIST_QUICKLIST_2, TYPE_LIST_ZIPLIST, TYPE_SET, TYPE_SET_INTSET,
        TYPE_SET_LISTPACK, TYPE_STRING, TYPE_ZSET, TYPE_ZSET_2, TYPE_ZSET_LISTPACK,
        TYPE_ZSET_ZIPLIST,
    };
    use crate::server::persist::rdb_compress::CompressingWriter;
    use crate::server::persist::rdb_encode::Encoder;
    use crate::server::persist::rdb_encode::{Head, ImageWriter};
    use proptest::prelude::*;

    const OPTIONS: LoadOptions = LoadOptions {
        databases: 16,
        drop_expired_at: None,
        verify_checksum: true,
        string_bytes_max: STRING_BYTES_MAX,
        thresholds: THRESHOLDS,
        usage: USAGE,
        pace: LoadPace::NONE,
        progress: None,
    };

    const USAGE: Usage = Usage {
        now: 1_700_000_000,
        frequency: None,
    };

    const THRESHOLDS: Thresholds = Thresholds::DEFAULT;

    fn head() -> Head {
        Head {
            created: 1_700_000_000,
            used_memory: 1 << 20,
            replication: Some(ReplicationInfo {
                repl_id: "0123456789012345678901234567890123456789".to_owned(),
                offset: 77,
                stream_db: 3,
                holds_less: true,
            }),
            usage: None,
            is_aof_base: false,
        }
    }

    fn save(keyspace: &mut Keyspace, compress: bool) -> Vec<u8> {
        save_with(keyspace, &head(), compress)
    }

    fn save_with(keyspace: &mut Keyspace, head: &Head, compress: bool) -> Vec<u8> {
        let id = keyspace.begin_snapshot(head);
        while keyspace.advance_snapshot(id, 1 << 16) == Walk::Going {}
        let mut bytes = Vec::new();
        let output = keyspace.snapshot_output(id).unwrap();
        while let Some(chunk) = output.pop() {
            match chunk {
                Chunk::Encoded(encoded) if compress => {
                    let mut writer = CompressingWriter::new(&encoded);
                    while !writer.is_complete() {
                        writer.write(1000, &mut bytes);
                    }
                }
                Chunk::Encoded(encoded) => bytes.extend(encoded),
                Chunk::Large(image) => {
                    let mut writer = ImageWriter::new(image);
                    while !writer.write(compress, 1000, &mut bytes) {}
                }
                Chunk::Recreated(key, _) => panic!("{key:?} as commands"),
            }
        }
        keyspace.end_snapshot(id);
        bytes.extend(CRC64.checksum(&bytes).to_le_bytes());
        bytes
    }

    fn contents(keyspace: &Keyspace) -> Vec<(usize, Key, Value, Option<u64>)> {
        let mut all: Vec<_> = (0..keyspace.databases())
            .flat_map(|db| {
                let entries = keyspace.db(db).iter();
                entries.map(move |e| (db, e.key.clone(), e.value.clone(), e.expire_at()))
            })
            .collect();
        all.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        all
    }

    fn example() -> Keyspace {
        example_of(&[("small", 3), ("large", 700)])
    }

    /// Strings, and a value of each other type for each name, of so many elements.
    fn example_of(collections: &[(&str, i32)]) -> Keyspace {
        let mut keyspace = Keyspace::new(16);
        for (db, key, value, expire_at) in [
            (0, "k", "v".to_owned(), None),
            (0, "12345", "-7".to_owned(), Some(1_800_000_000_123)),
            (3, "long", "ab".repeat(5000), Some(5)),
            (15, "", String::new(), None),
        ] {
            keyspace.insert(
                db,
                Entry::new(key.as_bytes(), Value::string(value.as_bytes()), expire_at),
            );
        }
        for &(name, size) in collections {
            let (mut list, mut set, mut integers) =
                (List::default(), Set::default(), Set::default());
            let (mut hash, mut sorted) = (Hash::default(), SortedSet::default());
            for n in 0..size {
                let word = format!("element {n}");
                list.push(End::Right, word.as_bytes(), THRESHOLDS.list_node);
                set.insert(word.as_bytes(), &THRESHOLDS);
                integers.insert(n.to_string().as_bytes(), &THRESHOLDS);
                hash.set(word.as_bytes(), n.to_string().as_bytes(), &THRESHOLDS);
                sorted.insert(word.as_bytes(), f64::from(n) / 3.0, &THRESHOLDS);
            }
            let values = [
                list.into_value(),
                set.into_value(),
                integers.into_value(),
                hash.into_value(),
                sorted.into_value(),
            ];
            for (n, value) in values.into_iter().enumerate() {
                let key = format!("{name} {n}");
                keyspace.insert(1, Entry::new(key.as_bytes(), value, None));
            }
        }
        keyspace
    }

    #[test]
    fn a_file_of_redis_is_read() {
        // `SET k v` saved by redis-server 7.0.15, checksum switched off.
        let mut file = b"REDIS0010\xfa\x09redis-ver\x067.0.15\xfa\x0aredis-bits\xc0\x40".to_vec();
        file.extend(b"\xfa\x08aof-base\xc0\x00\xfe\x00\xfb\x01\x00\x00\x01k\x01v\xff");
        file.extend([0; 8]);
        let loaded = load(&file[..], OPTIONS).unwrap();
        assert_eq!(loaded.keys_loaded, 1);
        assert_eq!(
            loaded.keyspace.get(0, b"k").unwrap().value,
            Value::string(b"v")
        );
        assert_eq!(loaded.replication, None);
    }

    #[test]
    fn what_we_save_we_load() {
        let mut keyspace = example();
        let before = contents(&keyspace);
        for compress in [false, true] {
            let loaded = load(&save(&mut keyspace, compress)[..], OPTIONS).unwrap();
            assert_eq!(contents(&loaded.keyspace), before);
            assert_eq!(loaded.replication, head().replication);
        }
    }

    #[test]
    fn a_master_drops_what_has_expired_unless_replicas_may_go_on() {
        let options = LoadOptions {
            drop_expired_at: Some(6),
            ..OPTIONS
        };
        let counts = |head: &Head| {
            let file = save_with(&mut example(), head, true);
            let loaded = load(&file[..], options.clone()).unwrap();
            (loaded.keys_loaded, loaded.keys_expired, loaded.keys_overdue)
        };
        assert_eq!(counts(&head()), (14, 0, 1));
        let alone = Head {
            replication: None,
            ..head()
        };
        assert_eq!(counts(&alone), (13, 1, 0));
        let mut odd = head();
        odd.replication.as_mut().unwrap().repl_id.pop();
        assert_eq!(counts(&odd), (13, 1, 0), "no position");
    }

    #[test]
    fn a_position_behind_what_has_expired_keeps_none_of_it() {
        let mut file = b"REDIS0010\xfe\x00\xfc\x05\0\0\0\0\0\0\0\x00\x01k\x01v".to_vec();
        aux_fields_of(&head(), &mut file);
        file.extend([OP_EOF, 0, 0, 0, 0, 0, 0, 0, 0]);
        let options = LoadOptions {
            drop_expired_at: Some(6),
            ..OPTIONS
        };
        let loaded = load(&file[..], options).unwrap();
        let counts = (loaded.keys_loaded, loaded.keys_expired, loaded.keys_overdue);
        assert_eq!(counts, (0, 1, 0));
        assert!(loaded.replication.is_some());
    }

    /// The auxiliary fields that a head writes, without what stands before them.
    fn aux_fields_of(head: &Head, out: &mut Vec<u8>) {
        let mut whole = Vec::new();
        Encoder::head(head, &mut whole);
        out.extend_from_slice(&whole["REDIS0010".len()..]);
    }

    #[test]
    fn the_use_of_keys_is_kept() {
        let counting = Usage {
            frequency: Some(crate::server::keyspace::FrequencyRules {
                log_factor: 10,
                decay_minutes: 1,
            }),
            ..USAGE
        };
        for usage in [USAGE, counting] {
            let mut keyspace = example();
            let rating = match usage.frequency {
                Some(_) => Rating::Frequency(99),
                None => Rating::Idle(20_000),
            };
            keyspace
                .get(0, b"k")
                .unwrap()
                .set_access(usage.rated(Some(rating)));
            let head = Head {
                usage: Some(usage),
                ..head()
            };
            let file = save_with(&mut keyspace, &head, true);
            let loaded = load(&file[..], LoadOptions { usage, ..OPTIONS }).unwrap();
            let access = loaded.keyspace.get(0, b"k").unwrap().access();
            assert_eq!(usage.rating(access), rating);
        }
    }

    #[test]
    fn a_stream_beyond_our_databases_is_refused() {
        let file = save(&mut Keyspace::new(4), false);
        let load_into = |databases| {
            let options = LoadOptions {
                databases,
                ..OPTIONS
            };
            load(&file[..], options)
        };
        assert!(load_into(4).is_ok());
        assert!(matches!(load_into(3), Err(LoadError::Database(3))));
    }

    #[test]
    fn no_cut_and_no_flipped_bit_loads() {
        let file = save(&mut example(), true);
        let places = file.len() / 997 + 1;
        for cut in (0..file.len()).step_by(places) {
            assert!(load(&file[..cut], OPTIONS).is_err(), "cut at {cut}");
        }
        for at in (9..file.len() - 8).step_by(places) {
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            assert!(load(&damaged[..], OPTIONS).is_err(), "bit of byte {at}");
        }
    }

    /// A file of every opcode and every form of value that we read and do not write.
    fn former_file() -> Vec<u8> {
        let mut file =
            b"REDIS0011\xfa\x03ctr\x03val\xfe\x02\xfb\x40\x10\x01\xf4\x01\x02\x03".to_vec();
        let short = |bytes: &[u8], file: &mut Vec<u8>| {
            assert!(bytes.len() < 64);
            file.push(u8::try_from(bytes.len()).unwrap());
            file.extend(bytes);
        };
        // "a", -1, 1024, 12, each with the length of the one before it.
        let body = b"\x00\x01a\x03\xfe\xff\x03\xc0\x00\x04\x04\xfd";
        let mut ziplist = vec![23, 0, 0, 0, 20, 0, 0, 0, 4, 0];
        ziplist.extend(body);
        ziplist.push(0xff);
        let zipmap = b"\x02\x03foo\x03\x00bar\x01x\x02\x01yy_\xff";
        let listpack = b"\x0c\0\0\0\x02\0\x81a\x02\x05\x01\xff";
        let intset = b"\x02\0\0\0\x02\0\0\0\x01\0\x07\0";
        for (code, head, packed) in [
            (TYPE_HASH_ZIPMAP, &b""[..], &zipmap[..]),
            (TYPE_LIST_ZIPLIST, b"", &ziplist),
            (TYPE_ZSET_ZIPLIST, b"", &ziplist),
            (TYPE_HASH_ZIPLIST, b"", &ziplist),
            (TYPE_LIST_QUICKLIST, b"\x01", &ziplist),
            (TYPE_LIST_QUICKLIST_2, b"\x02\x01\x05plain\x02", listpack),
            (TYPE_HASH_LISTPACK, b"", listpack),
            (TYPE_ZSET_LISTPACK, b"", listpack),
            (TYPE_SET_LISTPACK, b"", listpack),
            (TYPE_SET_INTSET, b"", intset),
        ] {
            file.push(code);
            short(format!("packed {code}").as_bytes(), &mut file);
            file.extend(head);
            short(packed, &mut file);
        }
        for (code, value) in [
            (TYPE_LIST, &b"\x02\x01a\xc0\x05"[..]),
            (TYPE_SET, b"\x02\x01a\xc1\x05\x01"),
            (TYPE_ZSET, b"\x04\x01a\x031.5\x01b\xfe\x01c\xff\x01d\x02-7"),
            (
                TYPE_ZSET_2,
                b"\x02\x01a\0\0\0\0\0\0\xf0\x3f\x01b\0\0\0\0\0\0\xf0\x7f",
            ),
            (TYPE_HASH, b"\x02\x01a\x01b\xc2\x05\x01\x01\x01\x01c"),
            // "aaaaaaaaaaaaaaaaaaaa", compressed.
            (TYPE_STRING, b"\xc3\x06\x14\x01aa\xe0\x09\0"),
            (TYPE_STRING, b"\x80\0\0\0\x02ab"),
        ] {
            // With expiries and uses of both forms.
            match file.len() % 3 {
                0 => file.extend(b"\xfd\0\0\0\x6f\xf8\x05"),
                1 => file.extend(b"\xfc\0\0\0\0\0\x01\0\0\xf9\x07"),
                _ => {}
            }
            file.push(code);
            short(format!("{code} at {}", file.len()).as_bytes(), &mut file);
            file.extend(value);
        }
        file.push(OP_EOF);
        file.extend(CRC64.checksum(&file).to_le_bytes());
        file
    }

    /// Valid files with all forms of values, as short as they can be.
    static ALL_FORMS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        let small = || example_of(&[("small", 3)]);
        let mut sorted = SortedSet::default();
        for n in 0..130 {
            sorted.insert(&[n], 0.5, &THRESHOLDS);
        }
        let mut large = Keyspace::new(16);
        large.insert(2, Entry::new(b"s", sorted.into_value(), Some(1 << 40)));
        let files = [
            former_file(),
            save(&mut small(), false),
            save(&mut small(), true),
            save(&mut large, false),
        ];
        files.to_vec()
    });

    /// Loads a damaged file whose checksum is right. What loads must be as good as anything else.
    fn load_damaged(mut file: Vec<u8>) -> Result<(), String> {
        let end = file.len() - 8;
        let checksum = CRC64.checksum(&file[..end]);
        file[end..].copy_from_slice(&checksum.to_le_bytes());
        let mut loaded = load(&file[..], OPTIONS).map_err(|error| error.to_string())?;
        let before = contents(&loaded.keyspace);
        let again = load(&save(&mut loaded.keyspace, true)[..], OPTIONS).unwrap();
        assert_eq!(contents(&again.keyspace), before);
        Ok(())
    }

    #[test]
    fn no_damaged_byte_is_a_danger_behind_a_right_checksum() {
        /// Ends, lengths and encodings of every form, and what makes one element another.
        const DAMAGES: [u8; 13] = [
            0, 1, 0x20, 0x31, 0x3f, 0x40, 0x7f, 0x80, 0x81, 0x90, 0xc3, 0xfe, 0xff,
        ];
        let mut refusals = std::collections::BTreeSet::new();
        for file in ALL_FORMS.iter() {
            assert_eq!(load_damaged(file.clone()), Ok(()));
            // The long one repeats itself.
            for at in (9..file.len() - 8).step_by(file.len() / 1000 * 6 + 1) {
                for byte in DAMAGES {
                    let mut damaged = file.clone();
                    damaged[at] = byte;
                    refusals.extend(load_damaged(damaged).err());
                }
            }
        }
        // The damage has reached everything that can be wrong.
        for what in [
            "a malformed ziplist",
            "a malformed zipmap",
            "a malformed listpack",
            "a malformed intset",
            "a compressed string of impossible length",
            "a compressed string that does not unpack",
            "an unknown kind of list node",
            "a set with the same member twice",
            "a hash with the same field twice",
            "a sorted set with the same member twice",
            "a sorted set with a score that is no number",
            "a sorted set out of order",
            "a score that is no number",
            "a string longer than this server takes",
            "an unknown form of length",
            "an encoded string where a length must be",
        ] {
            let is_seen = refusals.iter().any(|refusal| refusal.contains(what));
            assert!(is_seen, "{what} is not among {refusals:#?}");
        }
    }

    #[test]
    fn what_we_cannot_hold_is_named() {
        let check = |body: &[u8], want: &str| {
            let mut file = b"REDIS0011\xfe\x02".to_vec();
            file.extend(body);
            let error = load(&file[..], OPTIONS).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        };
        check(
            b"\x15\x08mystream\x01",
            "key \"mystream\" in database 2 holds a stream (RDB type 21)",
        );
        check(b"\x18\x01h", "holds a hash with expiring fields");
        check(b"\xf5\x01x", "a function library");
        check(b"\xf7", "module data");
        check(b"\x63", "unknown opcode or value type");
    }

    proptest! {
        #[test]
        fn any_strings_come_back(
            entries in proptest::collection::vec(
                (0_usize..16, any::<Vec<u8>>(), any::<Vec<u8>>(), proptest::option::of(1_u64..1 << 60)),
                0..600,
            ),
            compress: bool,
        ) {
            let mut keyspace = Keyspace::new(16);
            for (db, key, value, expire_at) in &entries {
                keyspace.insert(*db, Entry::new(key, Value::string(value), *expire_at));
            }
            let before = contents(&keyspace);
            let loaded = load(&save(&mut keyspace, compress)[..], OPTIONS).unwrap();
            prop_assert_eq!(contents(&loaded.keyspace), before);
        }

        #[test]
        fn no_damage_is_a_danger_behind_a_right_checksum(
            which in any::<proptest::sample::Index>(),
            changes in proptest::collection::vec(
                (any::<proptest::sample::Index>(), 0..3, any::<u8>()),
                1..6,
            ),
        ) {
            let mut file = which.get(&ALL_FORMS[..]).clone();
            for (place, how, byte) in changes {
                let at = 9 + place.index(file.len() - 17);
                match how {
                    0 => file[at] = byte,
                    1 => file.insert(at, byte),
                    _ => {
                        file.remove(at);
                    }
                }
            }
            drop(load_damaged(file));
        }
    }
}
