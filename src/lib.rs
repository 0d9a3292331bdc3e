//! High availability for Redis-protocol data servers: a drop-in sentinel, and a data server beside it.
//!
//! See ARCHITECTURE.md for the map. The modules below are in reading order.

// What everything speaks of.
pub mod clock;
pub mod ids;
pub mod memory;
pub mod resp;
pub mod room;

// What both programs stand on.
pub mod config;
pub mod net;

pub mod front;

// The programs.
pub mod sentinel;
pub mod server;

// The operator.
pub mod http;
pub mod topology;

pub mod cli;

#[cfg(test)]
mod readme;
#[cfg(test)]
mod tidy;
