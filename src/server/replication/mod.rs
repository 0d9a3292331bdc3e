//! Replication.

pub mod backlog;
