//! The sentinel daemon: a pure decision core and the shell around it.

pub mod commands;
pub mod core;
pub mod driver;
pub mod history;
mod host;
pub mod links;
pub mod run;
pub mod saver;
pub mod scripts;
pub mod state;
pub mod surface;
