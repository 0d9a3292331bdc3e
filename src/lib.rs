//! High availability for Redis-protocol data servers: a drop-in sentinel, and a data server beside it.
//!
//! See ARCHITECTURE.md for the map. The modules below are in reading order.

pub mod cli;
pub mod clock;
pub mod config;
pub mod front;
pub mod ids;
pub mod net;
pub mod resp;
pub mod sentinel;
pub mod server;
pub mod topology;

#[cfg(test)]
mod tidy;
