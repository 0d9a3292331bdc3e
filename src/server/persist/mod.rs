//! Keeping the data: the RDB format, saving to files without stopping, and the append-only file.

pub mod aof;
pub mod command_encode;
mod disk;
pub mod dump;
mod lzf;
pub(crate) mod new_file;
pub mod rdb;
mod rdb_compress;
pub mod rdb_decode;
pub mod rdb_encode;
mod rdb_reader;
pub mod rdb_values;
pub(crate) mod refused;
pub(crate) mod save;
mod ziplist;
