//! Keeping the data: the RDB format, and saving to files without stopping.

pub mod rdb;
pub mod rdb_decode;
pub mod rdb_encode;
pub(crate) mod save;
