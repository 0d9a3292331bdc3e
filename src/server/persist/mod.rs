//! The RDB format.

pub mod rdb;
pub mod rdb_decode;
pub mod rdb_encode;
