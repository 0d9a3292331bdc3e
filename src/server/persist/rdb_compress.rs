//! Compressing what was encoded between clients, on the thread that writes the file.
//!
//! The encoder leaves all strings as they are: the table that LZF needs costs the loop more than most of them are
//! worth. Whoever writes the file goes over its bytes once more, and finds the strings in them.

use super::rdb::{
    ENC_INT8, ENC_INT16, ENC_INT32, LEN_32, LEN_64, OP_AUX, OP_EOF, OP_EXPIRE_MS, OP_FREQ, OP_IDLE,
    OP_RESIZE_DB, OP_SELECT_DB, TYPE_HASH, TYPE_HASH_LISTPACK, TYPE_LIST_QUICKLIST_2, TYPE_SET,
    TYPE_SET_INTSET, TYPE_STRING, TYPE_ZSET_2, TYPE_ZSET_LISTPACK,
};
use super::rdb_encode::{COMPRESS_BYTES_MIN, compressed};

/// Bytes of the magic and the version.
const MAGIC_BYTES: usize = 9;

/// Writes encoded bytes piece by piece, with their strings compressed where redis-server does that.
///
/// They are whole keys as [`super::rdb_encode::Encoder`] writes them, or the head of a file before them; only the
/// value of the last key may be missing, because it comes as an image.
#[derive(Debug)]
pub(super) struct CompressingWriter<'a> {
    encoded: &'a [u8],
    /// What comes before it has been looked at.
    at: usize,
    /// What comes before it has been written.
    written: usize,
}

impl<'a> CompressingWriter<'a> {
    /// Nothing is written yet.
    pub(super) fn new(encoded: &'a [u8]) -> CompressingWriter<'a> {
        let has_magic = encoded.starts_with(b"REDIS");
        CompressingWriter {
            encoded,
            at: if has_magic { MAGIC_BYTES } else { 0 },
            written: 0,
        }
    }

    /// Appends what about `bytes_max` of the encoded bytes become. Returns how many they were.
    pub(super) fn write(&mut self, bytes_max: usize, out: &mut Vec<u8>) -> usize {
        let begin = self.at;
        let enough = begin.saturating_add(bytes_max).min(self.encoded.len());
        while self.at < enough {
            if self.record(out).is_none() {
                debug_assert!(false, "the encoder writes nothing else");
                // As it is, it can be read all the same.
                self.at = self.encoded.len();
            }
        }
        self.write_up_to(self.at, out);
        self.at - begin
    }

    /// Whether that was the last of it.
    pub(super) fn is_complete(&self) -> bool {
        self.written == self.encoded.len()
    }

    fn write_up_to(&mut self, at: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.encoded[self.written..at]);
        self.written = at;
    }

    /// An opcode with what belongs to it, or a key. `None` for anything else.
    fn record(&mut self, out: &mut Vec<u8>) -> Option<()> {
        match self.byte()? {
            OP_EOF => {}
            OP_FREQ => self.skip(1)?,
            OP_EXPIRE_MS => self.skip(8)?,
            OP_IDLE | OP_SELECT_DB => drop(self.length()?),
            OP_RESIZE_DB => {
                self.length()?;
                self.length()?;
            }
            OP_AUX => {
                self.string(out)?;
                self.string(out)?;
            }
            code => {
                self.string(out)?;
                if self.at < self.encoded.len() {
                    self.value(code, out)?;
                }
            }
        }
        Some(())
    }

    fn value(&mut self, code: u8, out: &mut Vec<u8>) -> Option<()> {
        match code {
            TYPE_STRING | TYPE_SET_INTSET | TYPE_HASH_LISTPACK | TYPE_ZSET_LISTPACK => {
                self.string(out)?;
            }
            TYPE_LIST_QUICKLIST_2 => {
                for _ in 0..self.length()? {
                    self.length()?;
                    self.string(out)?;
                }
            }
            TYPE_SET => {
                for _ in 0..self.length()? {
                    self.string(out)?;
                }
            }
            TYPE_HASH => {
                for _ in 0..self.length()? {
                    self.string(out)?;
                    self.string(out)?;
                }
            }
            TYPE_ZSET_2 => {
                for _ in 0..self.length()? {
                    self.string(out)?;
                    self.skip(size_of::<f64>())?;
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// A string. What stands before it is written, and it as well if it can be compressed.
    fn string(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let begin = self.at;
        match *self.encoded.get(begin)? {
            ENC_INT8 => return self.skip(2),
            ENC_INT16 => return self.skip(3),
            ENC_INT32 => return self.skip(5),
            _ => {}
        }
        let len = self.length()?;
        let text = self.encoded.get(self.at..)?.get(..len)?;
        self.at += len;
        if len >= COMPRESS_BYTES_MIN {
            self.write_up_to(begin, out);
            if compressed(text, out) {
                self.written = self.at;
            }
        }
        Some(())
    }

    fn length(&mut self) -> Option<usize> {
        let first = self.byte()?;
        let length = match (first >> 6, first) {
            (0, _) => u64::from(first),
            (1, _) => u64::from(first & 0x3f) << 8 | u64::from(self.byte()?),
            (_, LEN_32) => u64::from(u32::from_be_bytes(self.array()?)),
            (_, LEN_64) => u64::from_be_bytes(self.array()?),
            _ => return None,
        };
        usize::try_from(length).ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = *self.encoded.get(self.at..)?.first_chunk()?;
        self.at += N;
        Some(bytes)
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.encoded.get(self.at..)?.get(..bytes)?;
        self.at += bytes;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::keyspace::{
        End, Entry, FrequencyRules, Hash, Kind, List, Set, SortedSet, Thresholds, Usage, Value,
    };
    use crate::server::persist::rdb_encode::{self, Encoder, Head, ReplicationInfo};

    fn compress(encoded: &[u8], bytes_max: usize) -> Vec<u8> {
        let mut writer = CompressingWriter::new(encoded);
        let mut out = Vec::new();
        while !writer.is_complete() {
            writer.write(bytes_max, &mut out);
        }
        out
    }

    /// Values of every type that is written, with strings of every form.
    fn values() -> Vec<Value> {
        let small = Thresholds::DEFAULT;
        let large = Thresholds {
            hash_entries: 0,
            sorted_set_entries: 0,
            ..small
        };
        let mut values: Vec<Value> = ["", "1", "-200", "70000", "5000000000", "short"]
            .map(|text| Value::string(text.as_bytes()))
            .into();
        for len in [20, 21, 63, 64, 4096, 20_000] {
            values.push(Value::string(&"ab".repeat(len).as_bytes()[..len]));
        }
        values.push(Value::string(b"no three letters of this come twice"));
        for thresholds in [small, large] {
            let (mut list, mut set) = (List::default(), Set::default());
            let (mut hash, mut sorted, mut integers) =
                (Hash::default(), SortedSet::default(), Set::default());
            for n in 0..70 {
                let word = format!("https://example.org/a/path/{n}?query=a/path");
                list.push(End::Right, word.as_bytes(), thresholds.list_node);
                set.insert(word.as_bytes(), &thresholds);
                integers.insert(n.to_string().as_bytes(), &thresholds);
                hash.set(word.as_bytes(), n.to_string().as_bytes(), &thresholds);
                hash.set(n.to_string().as_bytes(), word.as_bytes(), &thresholds);
                sorted.insert(word.as_bytes(), f64::from(n) / 3.0, &thresholds);
            }
            values.extend([
                list.into_value(),
                set.into_value(),
                integers.into_value(),
                hash.into_value(),
                sorted.into_value(),
            ]);
        }
        values
    }

    /// All values under long keys, with everything that may stand before one.
    fn encode(usage: Usage, compress: bool, has_last: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let head = Head {
            created: 1_700_000_000,
            used_memory: 1 << 20,
            replication: Some(ReplicationInfo {
                repl_id: "0123456789".repeat(4),
                offset: 77,
                stream_db: 3,
                holds_less: false,
            }),
            usage: Some(usage),
            is_aof_base: false,
        };
        let mut bytes = Vec::new();
        Encoder::head(&head, &mut bytes);
        // Those of its fields are compressed like all others.
        out.extend(if compress {
            super::tests::compress(&bytes, 1 << 20)
        } else {
            bytes
        });
        let mut encoder = Encoder::new(Some(usage));
        let values = values();
        for (n, value) in values.iter().enumerate() {
            let key = format!("key:key:key:key:key:key:{n}");
            let entry = Entry::new(
                key.as_bytes(),
                value.clone(),
                (n % 2 == 0).then_some(1 << 40),
            );
            encoder.select(n / 8, (300, 20_000), &mut out);
            let mut head = Vec::new();
            encoder.head_of_entry(&entry, &mut head);
            if compress {
                let mut plain = Vec::new();
                rdb_encode::string(key.as_bytes(), false, &mut plain);
                head.truncate(head.len() - plain.len());
                rdb_encode::string(key.as_bytes(), true, &mut head);
            }
            out.extend(head);
            if has_last || n + 1 < values.len() {
                rdb_encode::value(value, compress, &mut out);
            }
        }
        if has_last {
            Encoder::end(&mut out);
        }
        out
    }

    #[test]
    fn it_makes_what_the_encoder_would_have_made() {
        let idle = Usage {
            now: 1_700_000_000,
            frequency: None,
        };
        let counted = Usage {
            frequency: Some(FrequencyRules {
                log_factor: 10,
                decay_minutes: 1,
            }),
            ..idle
        };
        for (usage, has_last) in [(idle, true), (counted, true), (idle, false)] {
            let plain = encode(usage, false, has_last);
            let want = encode(usage, true, has_last);
            assert!(want.len() < plain.len() / 2, "{} bytes", want.len());
            for bytes_max in [1, 1000, usize::MAX] {
                assert!(compress(&plain, bytes_max) == want, "{bytes_max} at a time");
            }
        }
    }
}
