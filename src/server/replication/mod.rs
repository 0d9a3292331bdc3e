//! Replication.

pub mod backlog;
pub mod handshake;
pub mod history;
