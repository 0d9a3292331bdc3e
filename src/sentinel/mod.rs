//! The sentinel daemon: a pure decision core and the shell around it.

pub mod commands;
pub mod core;
pub mod driver;
pub mod links;
pub mod saver;
pub mod scripts;
pub mod state;
