//! Keeping the data: the RDB format, and saving to files without stopping.

pub mod dump;
pub mod rdb;
pub mod rdb_decode;
pub mod rdb_encode;
pub mod rdb_values;
pub(crate) mod save;
mod ziplist;
