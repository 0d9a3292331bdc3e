//! The constants of the RDB format that its reader and its writer share.

use crc::{CRC_64_REDIS, Crc, Table};

/// The version that we write: that of Redis 7.0, read by every later Redis and Valkey.
pub const VERSION: u32 = 10;

/// The newest version that we read. What newer ones add is refused by its type or opcode.
pub const VERSION_MAX: u32 = 12;

/// Files before this version have no checksum.
pub const VERSION_WITH_CHECKSUM: u32 = 5;

/// A string value.
pub const TYPE_STRING: u8 = 0;
/// A list: its elements.
pub const TYPE_LIST: u8 = 1;
/// A set: its members.
pub const TYPE_SET: u8 = 2;
/// A sorted set: members and scores as text.
pub const TYPE_ZSET: u8 = 3;
/// A hash: fields and values.
pub const TYPE_HASH: u8 = 4;
/// A sorted set: members and scores of 8 bytes LE.
pub const TYPE_ZSET_2: u8 = 5;
/// A hash in a zipmap.
pub const TYPE_HASH_ZIPMAP: u8 = 9;
/// A list in a ziplist.
pub const TYPE_LIST_ZIPLIST: u8 = 10;
/// A set in an intset.
pub const TYPE_SET_INTSET: u8 = 11;
/// A sorted set in a ziplist.
pub const TYPE_ZSET_ZIPLIST: u8 = 12;
/// A hash in a ziplist.
pub const TYPE_HASH_ZIPLIST: u8 = 13;
/// A list of ziplists.
pub const TYPE_LIST_QUICKLIST: u8 = 14;
/// A hash in a listpack.
pub const TYPE_HASH_LISTPACK: u8 = 16;
/// A sorted set in a listpack.
pub const TYPE_ZSET_LISTPACK: u8 = 17;
/// A list of nodes, each a listpack or one long element.
pub const TYPE_LIST_QUICKLIST_2: u8 = 18;
/// A set in a listpack (Redis 7.2).
pub const TYPE_SET_LISTPACK: u8 = 20;

/// A node of a list that is one element, without a listpack.
pub const QUICKLIST_PLAIN: usize = 1;
/// A node of a list that is a listpack.
pub const QUICKLIST_PACKED: usize = 2;

/// Slot sizes of cluster mode: three lengths, a hint.
pub const OP_SLOT_INFO: u8 = 0xf4;
/// The source of a function library.
pub const OP_FUNCTION: u8 = 0xf5;
/// Data of a module beside the keys.
pub const OP_MODULE_AUX: u8 = 0xf7;
/// Idle time of the next key: a length.
pub const OP_IDLE: u8 = 0xf8;
/// Access frequency of the next key: a byte.
pub const OP_FREQ: u8 = 0xf9;
/// A named text.
pub const OP_AUX: u8 = 0xfa;
/// Keys, and keys with an expiry, of the database: a hint.
pub const OP_RESIZE_DB: u8 = 0xfb;
/// Expiry of the next key in milliseconds, 8 bytes LE.
pub const OP_EXPIRE_MS: u8 = 0xfc;
/// Expiry of the next key in seconds, 4 bytes LE.
pub const OP_EXPIRE_S: u8 = 0xfd;
/// The database of what follows: a length.
pub const OP_SELECT_DB: u8 = 0xfe;
/// The end; eight bytes of checksum follow.
pub const OP_EOF: u8 = 0xff;

/// `11` in the top bits of a length byte: one of the encodings below.
pub const ENC_INT8: u8 = 0xc0;
/// A 16-bit number, LE.
pub const ENC_INT16: u8 = 0xc1;
/// A 32-bit number, LE.
pub const ENC_INT32: u8 = 0xc2;
/// Compressed: its length, the plain length, LZF data.
pub const ENC_LZF: u8 = 0xc3;
/// A length of 32 bits, BE.
pub const LEN_32: u8 = 0x80;
/// A length of 64 bits, BE.
pub const LEN_64: u8 = 0x81;

/// The checksum of the format, over every byte from the magic to the EOF opcode.
pub static CRC64: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// The name of a value type, for refusals.
pub fn type_name(code: u8) -> &'static str {
    match code {
        TYPE_STRING => "string",
        TYPE_LIST | TYPE_LIST_ZIPLIST | TYPE_LIST_QUICKLIST | TYPE_LIST_QUICKLIST_2 => "list",
        TYPE_SET | TYPE_SET_INTSET | TYPE_SET_LISTPACK => "set",
        TYPE_ZSET | TYPE_ZSET_2 | TYPE_ZSET_ZIPLIST | TYPE_ZSET_LISTPACK => "sorted set",
        TYPE_HASH | TYPE_HASH_ZIPMAP | TYPE_HASH_ZIPLIST | TYPE_HASH_LISTPACK => "hash",
        22..=25 => "hash with expiring fields",
        6 | 7 => "module value",
        15 | 19 | 21 => "stream",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_redis() {
        assert_eq!(CRC64.checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(CRC64.checksum(b""), 0);
    }
}
