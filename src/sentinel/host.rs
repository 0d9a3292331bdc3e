//! The daemon as the commands see it.

use std::sync::Arc;

use super::commands::{Host, OnResolved};
use super::core::{Input, Sentinel};
use super::driver::Daemon;
use super::scripts::PendingScript;
use crate::clock::Now;
use crate::front::{Front, ProcessInfo, Program};
use crate::net::{Log, LogLevel};

impl Program for Daemon {
    type Session = ();

    const MODE: &'static str = "sentinel";

    /// Names, addresses, passwords and hellos are short.
    const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;

    /// More than `SENTINEL MASTERS` of ten thousand masters.
    const OUTPUT_STALL_BYTES: usize = 16 * 1024 * 1024;

    fn front(&mut self) -> &mut Front<Daemon> {
        &mut self.front
    }

    fn now(&self) -> Now {
        self.clock.now()
    }
}

impl Host for Daemon {
    fn core(&self) -> &Sentinel {
        &self.core
    }

    fn feed(&mut self, input: Input) {
        self.give(input);
    }

    fn look_up(&mut self, host: Arc<str>, then: OnResolved<Daemon>) {
        Daemon::look_up(self, host, then);
    }

    fn pending_scripts(&self) -> Vec<PendingScript> {
        self.scripts.pending(self.clock.mono())
    }

    fn process_info(&self) -> ProcessInfo {
        self.info.clone()
    }

    fn log_level(&self) -> LogLevel {
        Log::get().map_or_else(LogLevel::default, Log::level)
    }

    fn set_log_level(&mut self, level: LogLevel) {
        if let Some(log) = Log::get() {
            log.set_level(level);
        }
    }

    fn shut_down(&mut self) {
        self.stop();
    }
}
