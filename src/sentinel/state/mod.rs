//! The durable state of a sentinel: where it is kept, and how it is brought together with the
//! configuration at start.
//!
//! Either the configuration itself is rewritten, as redis-sentinel does, with the operator's comments and
//! order kept; or, with `state-file` (and always for YAML), the configuration is only read and the state
//! has a file of its own in the same dialect, which also records the configured values that it was based
//! on, so that a value which the operator changes later wins over the learned one.

mod files;
mod merge;
#[cfg(test)]
mod tests;
mod text;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::forms::os_text;
use crate::config::load::{read, read_file};
use crate::config::rewrite::{Document, Entry};
use crate::config::sentinel::is_state;
use crate::config::{ConfigErrors, LoadError, SentinelConfig, Source, load_sentinel, statements};
use crate::sentinel::core::{Durable, DurableMaster};

use files::{Disk, RealDisk, Target};
use text::PerMaster;

/// A sentinel cannot start from its configuration and state. The texts are redis-sentinel's where it has
/// them; the process exits with status 1 after printing one.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration or the state file cannot be read, or has mistakes.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Standard input cannot be rewritten.
    #[error(
        "Sentinel needs config file on disk to save state. Exiting... (a configuration from standard \
         input needs 'state-file PATH')"
    )]
    NoPlaceForState,
    /// The file that is to hold the state cannot be written.
    #[error("Sentinel {what} file {path} is not writable: {error}. Exiting...", path = .path.display())]
    NotWritable {
        /// `config` or `state`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's text.
        error: String,
    },
    /// A write that was cut could not be finished.
    #[error(
        "the last write of {path} was cut and its copy cannot be put back: {error}",
        path = .path.display()
    )]
    NotRestored {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Reads the configuration and the state, and opens the place where state is written. Writes nothing,
/// except that it finishes a write in place that was cut.
///
/// Blocks; call it before the loop runs and before `dir` is entered.
///
/// # Errors
/// See [`OpenError`].
pub fn open(source: &Source, arguments: &[String]) -> Result<(SentinelConfig, Store), OpenError> {
    open_on(source, arguments, || Box::new(RealDisk))
}

fn open_on(
    source: &Source,
    arguments: &[String],
    disk: impl Fn() -> Box<dyn Disk>,
) -> Result<(SentinelConfig, Store), OpenError> {
    // A pipe can be read once only, and what is no file was never written in place.
    if let Source::File(path) = source
        && is_special(path).is_none()
    {
        let given = arguments.windows(2).filter(|pair| pair[0] == "--dir");
        let mut dirs: Vec<PathBuf> = given.map(|pair| PathBuf::from(&pair[1])).collect();
        dirs.extend(dirs_in(path));
        restore(&disk, path, &dirs)?;
    }
    let mut config = load_sentinel(source, arguments)?;
    let dir = absolute(&config.process.dir);
    let requirepass = config.process.requirepass.clone();
    let (target, form) = match (&config.state_file, &config.path) {
        (Some(file), _) => {
            let target = Target::new(disk(), file, &dir);
            check_writable("state", target.path())?;
            restore(&disk, file, std::slice::from_ref(&dir))?;
            let base = text::base_text(
                &config.durable,
                &config.process.users,
                requirepass.as_deref(),
            );
            if target.path().exists() {
                merge_state(&mut config, target.path())?;
            }
            let form = Form::StateFile {
                base,
                masters: PerMaster::new(),
            };
            (target, form)
        }
        (None, Some(path)) => {
            let target = Target::new(disk(), path, &dir);
            check_writable("config", target.path())?;
            let form = Form::Rewritten {
                document: None,
                masters: PerMaster::new(),
            };
            (target, form)
        }
        (None, None) => return Err(OpenError::NoPlaceForState),
    };
    let store = Store {
        target,
        form,
        requirepass,
    };
    Ok((config, store))
}

/// A configuration with the state that it names, as [`open`] returns it, without writing anything.
///
/// # Errors
/// See [`OpenError`]; one is that the state could not be written.
pub fn with_state(config: &SentinelConfig) -> Result<SentinelConfig, OpenError> {
    let (what, file) = match (&config.state_file, &config.path) {
        (Some(file), _) => ("state", file),
        (None, Some(path)) => ("config", path),
        (None, None) => return Err(OpenError::NoPlaceForState),
    };
    let target = Target::new(Box::new(RealDisk), file, &absolute(&config.process.dir));
    check_writable(what, target.path())?;
    let mut config = config.clone();
    if config.state_file.is_some() && target.path().exists() {
        merge_state(&mut config, target.path())?;
    }
    Ok(config)
}

/// Writes what a configuration holds of learned state into a new state file, for another configuration
/// that says the same otherwise.
///
/// # Errors
/// The operating system's; the file exists already.
pub fn export(config: &SentinelConfig, path: &Path) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    // The other configuration has never had what was learned; else its lack would count as the operator's wish.
    let unlearned = |master: &Arc<DurableMaster>| {
        Arc::new(DurableMaster {
            replicas: Vec::new(),
            peers: Vec::new(),
            paused: None,
            ..(**master).clone()
        })
    };
    let configured = Durable {
        masters: config.durable.masters.iter().map(unlearned).collect(),
        ..config.durable.clone()
    };
    // Users are not learned: with none here, those of the configuration are taken.
    let base = text::base_text(&configured, &[], None);
    let text = state_text(&base, &mut PerMaster::new(), &config.durable, &[], None);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn restore(
    disk: impl Fn() -> Box<dyn Disk>,
    path: &Path,
    dirs: &[PathBuf],
) -> Result<(), OpenError> {
    files::restore(&mut *disk(), path, dirs).map_err(|error| OpenError::NotRestored {
        path: path.to_owned(),
        error,
    })
}

/// The folders that a configuration, perhaps a damaged one, names as `dir`, and the current one.
fn dirs_in(path: &Path) -> Vec<PathBuf> {
    let text = read_file(path).unwrap_or_default();
    let lines = text.split(|b| *b == b'\n');
    let words = lines.filter_map(|line| crate::config::lex::words(line).ok().flatten());
    let named = words.filter_map(|words| match words.as_slice() {
        [name, dir] if name.eq_ignore_ascii_case("dir") => Some(absolute(Path::new(dir))),
        _ => None,
    });
    named.chain([absolute(Path::new("."))]).collect()
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// What a path is that names something else than a file: a rename would put a file in its place.
fn is_special(path: &Path) -> Option<&'static str> {
    let found = std::fs::metadata(path).ok()?.file_type();
    if found.is_file() {
        None
    } else if found.is_dir() {
        Some("Is a directory")
    } else {
        Some("It is a device, a pipe or a socket, which cannot hold state")
    }
}

/// Asks whether the file, or the folder in which it is to be made, can be written.
fn check_writable(what: &'static str, path: &Path) -> Result<(), OpenError> {
    use rustix::fs::{Access, access};
    if let Some(why) = is_special(path) {
        return Err(OpenError::NotWritable {
            what,
            path: path.to_owned(),
            error: why.to_owned(),
        });
    }
    let writable = match access(path, Access::WRITE_OK) {
        Err(rustix::io::Errno::NOENT) => {
            let folder = path.parent().unwrap_or(Path::new("/"));
            access(folder, Access::WRITE_OK | Access::EXEC_OK)
        }
        done => done,
    };
    writable.map_err(|errno| OpenError::NotWritable {
        what,
        path: path.to_owned(),
        error: os_text(&io::Error::from(errno)),
    })
}

/// Brings the state file into what was configured.
fn merge_state(config: &mut SentinelConfig, path: &Path) -> Result<(), LoadError> {
    let bytes = read_file(path).map_err(|error| LoadError::Open {
        path: path.display().to_string(),
        error,
    })?;
    if bytes.is_empty() {
        // Made by an operator for its owner and mode. We never leave it so.
        return Ok(());
    }
    let state = text::parse_state(path, &bytes).map_err(|errors: ConfigErrors| errors)?;
    let process = &mut config.process;
    process.users = merge_users(&process.users, &state, process.requirepass.as_deref());
    config.durable = merge::merge(&config.durable, &state.base, &state.durable);
    Ok(())
}

/// The `user` lines to start with. The operator's where they were changed, else the state's.
fn merge_users(
    configured: &[String],
    state: &text::StateFile,
    requirepass: Option<&str>,
) -> Vec<String> {
    let name = |line: &String| -> String {
        let words = crate::config::lex::words(line.as_bytes()).ok().flatten();
        words
            .and_then(|words| words.get(1).cloned())
            .unwrap_or_default()
    };
    let of = |lines: &[String], wanted: &str| -> Vec<String> {
        let own = lines.iter().filter(|line| name(line) == wanted);
        own.cloned().collect()
    };
    let password_changed = requirepass.map(text::sha256_hex) != state.base_requirepass;
    let mut names: Vec<String> = Vec::new();
    for line in configured.iter().chain(&state.users) {
        let name = name(line);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut users = Vec::new();
    for name in names {
        let own = of(configured, &name);
        let changed =
            own != of(&state.base_users, &name) || (name == "default" && password_changed);
        users.extend(if changed {
            own
        } else {
            of(&state.users, &name)
        });
    }
    users
}

/// Where state is written. Its methods block; one thread uses it at a time.
pub struct Store {
    target: Target,
    form: Form,
    requirepass: Option<Arc<str>>,
}

enum Form {
    Rewritten {
        /// The file as we last wrote it, and how the file system then described it.
        document: Option<(Document, Stamp)>,
        masters: PerMaster<Arc<[Entry]>>,
    },
    StateFile {
        base: String,
        masters: PerMaster<Arc<str>>,
    },
}

/// Tells whether somebody else has written a file since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        use std::os::unix::fs::MetadataExt;
        let found = std::fs::metadata(path).ok()?;
        Some(Stamp {
            inode: found.ino(),
            bytes: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
        })
    }
}

impl Store {
    /// Where records of decisions are kept: beside the state, because a configuration that we have rewritten must load
    /// in redis-sentinel again.
    pub fn history_path(&self) -> PathBuf {
        files::with_suffix(self.target.path(), ".history")
    }

    /// The file that holds the state, with links followed.
    pub fn path(&self) -> &Path {
        self.target.path()
    }

    /// Writes the state; when it returns `Ok`, a crash of the machine does not lose it. `users` are the
    /// users, each a line as in an ACL file; none at all (as with `aclfile`) leaves what is in the file.
    ///
    /// # Errors
    /// The operating system's. The file then holds an older state, or the next start restores it.
    pub fn write(&mut self, durable: &Durable, users: &[String]) -> io::Result<()> {
        let requirepass = self.requirepass.as_deref();
        match &mut self.form {
            Form::StateFile { base, masters } => {
                let text = state_text(base, masters, durable, users, requirepass);
                self.target.replace(text.as_bytes())
            }
            Form::Rewritten { document, masters } => {
                let path = self.target.path();
                let current = match document.take() {
                    Some((current, stamp)) if Stamp::of(path) == Some(stamp) => current,
                    Some(_) | None => read_document(path)?,
                };
                let users = text::user_entries(users, requirepass, Some(&current));
                let with_users = !users.is_empty();
                let entries = entries(masters, durable, users);
                let next = current.updated(|key| text::is_state(key, with_users), &entries);
                drop(entries);
                self.target.replace(&next.to_bytes())?;
                *document = Stamp::of(self.target.path()).map(|stamp| (next, stamp));
                Ok(())
            }
        }
    }
}

/// The configuration as it is now. One that was deleted meanwhile is made anew.
fn read_document(path: &Path) -> io::Result<Document> {
    if !path.exists() {
        return Ok(Document::default());
    }
    // Included files may have changed, so that lines must be copied from them which were not before.
    let mut errors = ConfigErrors::default();
    let source = Source::File(path.to_owned());
    let reading = read(&source, &is_state, &mut errors).map_err(io::Error::other)?;
    Ok(Document::parse(&reading.text, text::line_key))
}

/// All lines, users first, as redis-sentinel appends them.
fn entries(
    masters: &mut PerMaster<Arc<[Entry]>>,
    durable: &Durable,
    users: Vec<Entry>,
) -> Vec<Entry> {
    let mut entries = users;
    entries.extend(statements::entries_before_masters(durable));
    masters.for_each(
        &durable.masters,
        |master| Arc::from(statements::entries_of_master(master)),
        |made| entries.extend_from_slice(made),
    );
    entries.extend(statements::entries_after_masters(durable));
    entries
}

const STATE_HEADER: &str = "\
# The state of a sentinel, written by itself: do not edit it while it runs.
# The lines marked \"configured\" say what the configuration held when this was written: a value that is
# changed there later wins over the one here.
";

fn state_text(
    base: &str,
    masters: &mut PerMaster<Arc<str>>,
    durable: &Durable,
    users: &[String],
    requirepass: Option<&str>,
) -> String {
    let mut text = String::from(STATE_HEADER);
    let lines = |entries: Vec<Entry>| -> String {
        let written = entries.iter().filter(|entry| !entry.is_default());
        written.flat_map(|entry| [entry.text(), "\n"]).collect()
    };
    text.push_str(&lines(text::user_entries(users, requirepass, None)));
    text.push_str(&lines(statements::entries_before_masters(durable)));
    masters.for_each(
        &durable.masters,
        |master| Arc::from(lines(statements::entries_of_master(master))),
        |made| text.push_str(made),
    );
    text.push_str(&lines(statements::entries_after_masters(durable)));
    text.push_str(base);
    text
}
