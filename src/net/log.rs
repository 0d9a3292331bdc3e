//! The log: Redis's line format or JSON, on standard output or in a file that may be moved away.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::syslog::{Syslog, SyslogOptions};
use crate::clock::{UnixMillis, unix_now};

/// `loglevel`: the least important line that is still written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// A little less.
    Verbose,
    /// What one wants in production. The default.
    #[default]
    Notice,
    /// Only what matters.
    Warning,
    /// Nothing at all.
    Nothing,
}

impl LogLevel {
    const ALL: [LogLevel; 5] = [
        LogLevel::Debug,
        LogLevel::Verbose,
        LogLevel::Notice,
        LogLevel::Warning,
        LogLevel::Nothing,
    ];

    /// The word that the directive uses.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Debug => "debug",
            LogLevel::Verbose => "verbose",
            LogLevel::Notice => "notice",
            LogLevel::Warning => "warning",
            LogLevel::Nothing => "nothing",
        }
    }

    /// The level of that word, in any case.
    pub fn parse(word: &str) -> Option<LogLevel> {
        let mut all = LogLevel::ALL.into_iter();
        all.find(|level| level.as_str().eq_ignore_ascii_case(word))
    }

    fn filter(self) -> LevelFilter {
        match self {
            LogLevel::Debug => LevelFilter::TRACE,
            LogLevel::Verbose => LevelFilter::DEBUG,
            LogLevel::Notice => LevelFilter::INFO,
            LogLevel::Warning => LevelFilter::WARN,
            LogLevel::Nothing => LevelFilter::OFF,
        }
    }
}

/// `log-format`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `<pid>:X 20 Nov 2026 22:59:01.123 # text`, in local time. The default.
    #[default]
    Text,
    /// One JSON object per line, in UTC.
    Json,
}

/// Who writes: the letter after the process id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `X`
    Sentinel,
    /// `M`: a data server that is a master.
    Master,
    /// `S`: a data server that is a replica.
    Replica,
}

impl Role {
    fn letter(self) -> u8 {
        match self {
            Role::Sentinel => b'X',
            Role::Master => b'M',
            Role::Replica => b'S',
        }
    }
}

/// How to log.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// `logfile`; `None`: standard output.
    pub file: Option<PathBuf>,
    /// `loglevel`
    pub level: LogLevel,
    /// `log-format`
    pub format: LogFormat,
    /// The writer's role.
    pub role: Role,
    /// `syslog-enabled`: the system's log too.
    pub syslog: Option<SyslogOptions>,
}

/// The log of this process. `tracing`'s macros write to it: `error!` and `warn!` become `#`, `info!`
/// `*`, `debug!` `-` and `trace!` `.`; only lines of this program, none of its libraries.
#[derive(Debug)]
pub struct Log {
    level: AtomicU8,
    role: AtomicU8,
    format: LogFormat,
    sink: Mutex<Sink>,
    syslog: Option<Mutex<Syslog>>,
}

static LOG: OnceLock<Log> = OnceLock::new();

impl Log {
    /// Opens the log and makes it the process's. A second call in one process is refused.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn start(options: &LogOptions) -> io::Result<&'static Log> {
        let log = Log {
            level: AtomicU8::new(options.level as u8),
            role: AtomicU8::new(options.role.letter()),
            format: options.format,
            sink: Mutex::new(Sink::open(options.file.as_deref())?),
            syslog: options.syslog.clone().map(Syslog::new).map(Mutex::new),
        };
        LOG.set(log)
            .map_err(|_| io::Error::other("the log is already open"))?;
        let log = LOG.get().expect("it was just set");
        let subscriber = tracing_subscriber::registry().with(Lines(log));
        tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
        Ok(log)
    }

    /// The log, once started.
    pub fn get() -> Option<&'static Log> {
        LOG.get()
    }

    /// `loglevel` as it is.
    pub fn level(&self) -> LogLevel {
        let level = self.level.load(Ordering::Relaxed);
        LogLevel::ALL[usize::from(level)]
    }

    /// Changes `loglevel`.
    pub fn set_level(&self, level: LogLevel) {
        self.level.store(level as u8, Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
    }

    /// Changes the role letter.
    pub fn set_role(&self, role: Role) {
        self.role.store(role.letter(), Ordering::Relaxed);
    }

    /// Opens the file anew (SIGHUP): it may have been moved away. If that fails the old one stays.
    pub fn reopen(&self) {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        sink.reopen();
    }

    fn write(&self, line: &[u8]) {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        sink.write(line);
    }
}

/// `20 Nov 2026 22:59:01.123`, in local time.
pub fn local_time(at: UnixMillis) -> String {
    zoned(at).strftime("%d %b %Y %H:%M:%S%.3f").to_string()
}

fn zoned(at: UnixMillis) -> jiff::Zoned {
    static ZONE: OnceLock<jiff::tz::TimeZone> = OnceLock::new();
    let zone = ZONE.get_or_init(jiff::tz::TimeZone::system);
    timestamp(at).to_zoned(zone.clone())
}

fn timestamp(at: UnixMillis) -> jiff::Timestamp {
    let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX)
}

#[derive(Debug)]
enum Sink {
    Stdout,
    File {
        path: PathBuf,
        file: File,
        /// Device and inode of `file`.
        identity: (u64, u64),
    },
}

impl Sink {
    fn open(path: Option<&Path>) -> io::Result<Sink> {
        let Some(path) = path else {
            return Ok(Sink::Stdout);
        };
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let meta = file.metadata()?;
        // Absolute, since `dir` may yet be entered.
        let path = std::path::absolute(path)?;
        Ok(Sink::File {
            path,
            file,
            identity: (meta.dev(), meta.ino()),
        })
    }

    fn reopen(&mut self) {
        if let Sink::File { path, .. } = self
            && let Ok(fresh) = Sink::open(Some(path.as_path()))
        {
            *self = fresh;
        }
    }

    /// One `write` per line, so that lines of several processes in one file do not mix. A log that
    /// cannot be written has nowhere to say so.
    fn write(&mut self, line: &[u8]) {
        if let Sink::File { path, identity, .. } = self {
            let current = std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
            if current.ok() != Some(*identity) {
                self.reopen();
            }
        }
        let _ = match self {
            Sink::Stdout => io::stdout().lock().write_all(line),
            Sink::File { file, .. } => file.write_all(line),
        };
    }
}

/// The `tracing` layer that formats events and hands them to the log.
struct Lines(&'static Log);

impl<S: Subscriber> Layer<S> for Lines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_ours(metadata) && *metadata.level() <= self.0.level().filter() {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        is_ours(metadata) && *metadata.level() <= self.0.level().filter()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0.level().filter())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        let role = char::from(self.0.role.load(Ordering::Relaxed));
        let line = match self.0.format {
            LogFormat::Text => text_line(unix_now(), role, level, &fields),
            LogFormat::Json => json_line(unix_now(), role, level, &fields),
        };
        self.0.write(line.as_bytes());
        if let Some(syslog) = &self.0.syslog {
            let mut syslog = syslog.lock().unwrap_or_else(PoisonError::into_inner);
            syslog.send(level, &fields.text());
        }
    }
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    target == "sentinel" || target.starts_with("sentinel::")
}

/// What one event says.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Fields {
    /// The message and what belongs to it, on one line.
    fn text(&self) -> String {
        let mut text = self.message.clone();
        for (name, value) in &self.others {
            let _ = write!(text, " {name}={value}");
        }
        // Text from outside must not be able to forge a line.
        if text.contains(['\n', '\r']) {
            text = text.replace(['\n', '\r'], " ");
        }
        text
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.others.push((field.name(), value.to_owned()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

fn text_line(at: UnixMillis, role: char, level: Level, fields: &Fields) -> String {
    let mark = match level {
        Level::ERROR | Level::WARN => '#',
        Level::INFO => '*',
        Level::DEBUG => '-',
        Level::TRACE => '.',
    };
    let mut line = format!("{}:{role} {} {mark} ", std::process::id(), local_time(at));
    line.push_str(&fields.text());
    line.push('\n');
    line
}

fn json_line(at: UnixMillis, role: char, level: Level, fields: &Fields) -> String {
    let level = match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "notice",
        Level::DEBUG => "verbose",
        Level::TRACE => "debug",
    };
    let time = timestamp(at).strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
    let mut line = format!(
        "{{\"time\":\"{time}\",\"level\":\"{level}\",\"pid\":{},\"role\":\"{role}\",\"message\":",
        std::process::id()
    );
    push_json_string(&fields.message, &mut line);
    for (name, value) in &fields.others {
        line.push(',');
        push_json_string(name, &mut line);
        line.push(':');
        push_json_string(value, &mut line);
    }
    line.push_str("}\n");
    line
}

fn push_json_string(text: &str, line: &mut String) {
    line.push('"');
    for c in text.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            c if u32::from(c) < 0x20 => {
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(message: &str) -> Fields {
        Fields {
            message: message.to_owned(),
            others: vec![("epoch", "7".to_owned())],
        }
    }

    #[test]
    fn a_text_line_is_redis_like() {
        let line = text_line(
            UnixMillis(1_000),
            'X',
            Level::WARN,
            &fields("+sdown\nmaster"),
        );
        let (head, rest) = line.split_once(":X ").unwrap();
        assert_eq!(head, std::process::id().to_string());
        // The zone of this machine decides the hour, nothing else.
        assert!(rest.contains(" 19"), "{rest}");
        assert!(
            rest.ends_with(":01.000 # +sdown master epoch=7\n"),
            "{rest}"
        );
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn a_json_line_escapes_what_it_must() {
        let line = json_line(
            UnixMillis(1_500),
            'M',
            Level::INFO,
            &fields("a \"b\" \\ \u{1} \n"),
        );
        let parsed: serde_yaml::Value = serde_yaml::from_str(&line).unwrap();
        assert_eq!(parsed["message"].as_str(), Some("a \"b\" \\ \u{1} \n"));
        assert_eq!(parsed["time"].as_str(), Some("1970-01-01T00:00:01.500Z"));
        assert_eq!(parsed["level"].as_str(), Some("notice"));
        assert_eq!(parsed["epoch"].as_str(), Some("7"));
    }

    #[test]
    fn a_moved_file_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.log");
        let moved = folder.path().join("s.log.1");
        let mut sink = Sink::open(Some(&path)).unwrap();
        sink.write(b"one\n");
        std::fs::rename(&path, &moved).unwrap();
        sink.write(b"two\n");
        std::fs::remove_file(&path).unwrap();
        sink.write(b"three\n");
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "one\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
    }

    #[test]
    fn levels_have_the_words_of_the_directive() {
        for level in LogLevel::ALL {
            assert_eq!(LogLevel::parse(&level.as_str().to_uppercase()), Some(level));
        }
        assert_eq!(LogLevel::parse("loud"), None);
    }
}
