//! The bundled data server.

pub mod keyspace;
pub mod persist;
pub mod replication;
