//! What is counted about commands: how often, how long, how many failed, and with which error.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::histogram::Histogram;
use super::tuning::Percentiles;
use crate::front::{Catalog, CommandId};

/// The most different codes of errors that are counted apart.
const ERROR_CODES_MAX: usize = 128;
/// The longest code that is kept. Bytes.
const ERROR_CODE_BYTES_MAX: usize = 64;

/// Counters of one command.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommandStats {
    calls: u64,
    nanos: u64,
    rejected: u64,
    failed: u64,
    latency: Option<Box<Histogram>>,
}

/// Counters of all commands, and of errors by their code.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    commands: Vec<CommandStats>,
    errors: BTreeMap<String, u64>,
    /// Errors that commands have brought upon others than who called them.
    errors_to_others: u64,
}

impl Metrics {
    fn of(&mut self, command: CommandId) -> &mut CommandStats {
        if self.commands.len() <= command.index() {
            self.commands
                .resize_with(command.index() + 1, CommandStats::default);
        }
        &mut self.commands[command.index()]
    }

    /// Counts a call. `keep_latency`: in its histogram too.
    pub(crate) fn called(
        &mut self,
        command: CommandId,
        nanos: u64,
        failed: bool,
        keep_latency: bool,
    ) {
        let stats = self.of(command);
        stats.calls += 1;
        stats.nanos += nanos;
        stats.failed += u64::from(failed);
        if keep_latency {
            stats.latency.get_or_insert_default().record(nanos);
        }
    }

    /// Counts the rest of a call that had to wait: the time that serving it took, and for its histogram, if that
    /// is kept, all the time that it ran.
    pub(crate) fn unblocked(
        &mut self,
        command: CommandId,
        serving: u64,
        failed: bool,
        nanos: Option<u64>,
    ) {
        let stats = self.of(command);
        stats.nanos += serving;
        stats.failed += u64::from(failed);
        if let Some(nanos) = nanos {
            stats.latency.get_or_insert_default().record(nanos);
        }
    }

    /// Counts a call that did not come to run.
    pub(crate) fn rejected(&mut self, command: CommandId) {
        self.of(command).rejected += 1;
    }

    /// Counts an error by the first word of its text.
    pub(crate) fn error(&mut self, text: &[u8]) {
        let code = text.split(|b| b.is_ascii_whitespace()).next();
        let code = code.unwrap_or_default();
        let code = String::from_utf8_lossy(&code[..code.len().min(ERROR_CODE_BYTES_MAX)]);
        if let Some(count) = self.errors.get_mut(&*code) {
            *count += 1;
        } else if self.errors.len() < ERROR_CODES_MAX {
            self.errors.insert(code.into_owned(), 1);
        }
    }

    /// Counts an error that a command has brought upon another client than the one that called it.
    pub(crate) fn error_to_another(&mut self, text: &[u8]) {
        self.error(text);
        self.errors_to_others += 1;
    }

    /// How often that was.
    pub(crate) fn errors_to_others(&self) -> u64 {
        self.errors_to_others
    }

    /// `CONFIG RESETSTAT`
    pub(crate) fn reset(&mut self) {
        *self = Metrics {
            errors_to_others: self.errors_to_others,
            ..Metrics::default()
        };
    }

    /// The histogram of a command, if it was called.
    pub(crate) fn latency(&self, command: CommandId) -> Option<&Histogram> {
        self.commands.get(command.index())?.latency.as_deref()
    }

    /// `# Commandstats`
    pub(crate) fn commands_section(&self, catalog: &Catalog) -> String {
        let mut text = String::from("# Commandstats\r\n");
        for (stats, name) in self.by_command(catalog) {
            if stats.calls == 0 && stats.rejected == 0 && stats.failed == 0 {
                continue;
            }
            let micros = stats.nanos / 1000;
            let _ = write!(
                text,
                "cmdstat_{name}:calls={},usec={micros},usec_per_call={:.2},rejected_calls={},\
                 failed_calls={}\r\n",
                stats.calls,
                ratio(micros, stats.calls),
                stats.rejected,
                stats.failed,
            );
        }
        text
    }

    /// `# Errorstats`
    pub(crate) fn errors_section(&self) -> String {
        let mut text = String::from("# Errorstats\r\n");
        for (code, count) in &self.errors {
            let _ = write!(text, "errorstat_{code}:count={count}\r\n");
        }
        text
    }

    /// `# Latencystats`; without percentiles it is empty.
    pub(crate) fn latencies_section(
        &self,
        catalog: &Catalog,
        wanted: Option<&Percentiles>,
    ) -> String {
        let mut text = String::from("# Latencystats\r\n");
        let Some(wanted) = wanted else {
            return text;
        };
        for (stats, name) in self.by_command(catalog) {
            let Some(latency) = &stats.latency else {
                continue;
            };
            let shown: Vec<String> = wanted
                .iter()
                .map(|(percent, name)| {
                    let nanos = latency.at_percentile(percent);
                    format!("p{name}={}.{:03}", nanos / 1000, nanos % 1000)
                })
                .collect();
            let _ = write!(
                text,
                "latency_percentiles_usec_{name}:{}\r\n",
                shown.join(",")
            );
        }
        text
    }

    fn by_command<'a>(
        &'a self,
        catalog: &'a Catalog,
    ) -> impl Iterator<Item = (&'a CommandStats, &'a str)> {
        self.commands
            .iter()
            .zip(catalog.iter())
            .map(|(stats, (_, entry))| (stats, &*entry.full_name))
    }
}

#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}
