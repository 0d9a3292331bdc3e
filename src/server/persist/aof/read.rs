//! Reading the files of an append-only file. A plain blocking reader: it runs on a thread of its own and hands
//! what it has read to whoever executes it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::Sender;

use super::folder::Folder;
use super::manifest::Manifest;
use crate::resp::{Limits, RequestDecoder};
use crate::server::loading::{Counted, Progress};
use crate::server::persist::rdb_decode::{LoadError, LoadOptions, Loaded, load, used_memory_of};

/// How much is read at a time, and about how much is handed on at a time. Bytes.
const CHUNK_BYTES: usize = 256 * 1024;
/// The longest annotation, as redis-server has it. Bytes.
const ANNOTATION_BYTES_MAX: usize = 1024;
/// The most commands of one transaction.
const TRANSACTION_COMMANDS_MAX: usize = 4 * 1024 * 1024;

/// Why the files cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AofError {
    /// A file cannot be read, or is not there.
    #[error("the append-only file {file}: {source}")]
    Io {
        /// Its path.
        file: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The data at its beginning.
    #[error("the RDB at the beginning of the append-only file {file}: {source}")]
    Rdb {
        /// Its path.
        file: PathBuf,
        /// What is wrong.
        source: LoadError,
    },
    /// Bytes that are no command.
    #[error(
        "Bad file format reading the append only file {file} at byte {at}: {what}. Make a backup of your AOF \
         file, then use ./redis-check-aof --fix <filename.manifest>"
    )]
    Format {
        /// Its path.
        file: PathBuf,
        /// Where the command begins.
        at: u64,
        /// What is wrong.
        what: String,
    },
    /// The last file ends inside a command, and that is not allowed.
    #[error(
        "Unexpected end of file reading the append only file {file}: it is complete up to byte {at} only. You \
         can: 1) Make a backup of your AOF file, then use ./redis-check-aof --fix <filename.manifest>. 2) \
         Alternatively you can set the 'aof-load-truncated' configuration option to yes and restart the server."
    )]
    Truncated {
        /// Its path.
        file: PathBuf,
        /// Up to where it is complete.
        at: u64,
    },
    /// Another file than the last one ends inside a command.
    #[error(
        "Fatal error: the truncated file {file} is not the last file: it is complete up to byte {at} only. Make \
         a backup of your AOF files, then use ./redis-check-aof --fix {file}"
    )]
    TruncatedInside {
        /// Its path.
        file: PathBuf,
        /// Up to where it is complete.
        at: u64,
    },
    /// A command that cannot be executed here.
    #[error(
        "the append-only file {file} has at byte {at} the command {command:?} for key {key:?} in database {db}, \
         which this server cannot execute; nothing was changed on disk"
    )]
    Unsupported {
        /// Its path.
        file: PathBuf,
        /// Where the command begins.
        at: u64,
        /// The command.
        command: String,
        /// Its first argument.
        key: String,
        /// The database.
        db: usize,
    },
}

/// What has been read.
pub(super) enum Piece {
    /// The data that a file begins with.
    Data(Box<Loaded>),
    /// Commands of one file.
    Commands(Arc<PathBuf>, Vec<Command>),
}

/// One command, and where it begins.
pub(super) struct Command {
    pub(super) words: Vec<Bytes>,
    pub(super) at: u64,
}

/// A file that ended inside a unit, and where that unit begins.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) path: PathBuf,
    pub(super) at: u64,
}

/// Reads all files of a manifest, oldest first. A last file that is incomplete is told, not changed.
pub(super) fn read_all(
    folder: &Folder,
    manifest: &Manifest,
    options: LoadOptions,
    progress: &Arc<Progress>,
    out: &Sender<Piece>,
) -> Result<Option<Cut>, AofError> {
    let files: Vec<_> = manifest.live().collect();
    let mut cut = None;
    for (index, file) in files.iter().enumerate() {
        let path = folder.file(&file.name);
        let io_error = |source| AofError::Io {
            file: path.clone(),
            source,
        };
        let opened = File::open(&path).map_err(io_error)?;
        let opened = Counted::new(opened, Arc::clone(progress));
        let mut source = BufReader::with_capacity(CHUNK_BYTES, opened);
        let mut start = 0;
        let head = source.fill_buf().map_err(io_error)?;
        if head.starts_with(b"REDIS") {
            progress.set_used_memory(used_memory_of(head));
            tracing::info!("Reading RDB base file on AOF loading...");
            let loaded = load(&mut source, options).map_err(|source| AofError::Rdb {
                file: path.clone(),
                source,
            })?;
            start = source.stream_position().map_err(io_error)?;
            if out.blocking_send(Piece::Data(Box::new(loaded))).is_err() {
                return Ok(None);
            }
        }
        let mut reader = Reader::new(Arc::new(path), start, &options, out);
        if let Some(at) = reader.read(source)? {
            let path = reader.path.to_path_buf();
            if index + 1 < files.len() {
                return Err(AofError::TruncatedInside { file: path, at });
            }
            cut = Some(Cut { path, at });
        }
    }
    Ok(cut)
}

/// Reads the commands of one file.
struct Reader<'a> {
    path: Arc<PathBuf>,
    limits: Limits,
    out: &'a Sender<Piece>,
    batch: Vec<Command>,
    batch_bytes: u64,
    /// The commands of an open transaction, and where it begins.
    transaction: Option<(u64, Vec<Command>)>,
    decoder: RequestDecoder,
    /// Where the next command begins, or the one that is not complete.
    begin: u64,
    /// Where the next byte of the input is.
    next: u64,
}

/// Nobody wants any more of it: the other side has found something wrong.
struct Unwanted;

impl<'a> Reader<'a> {
    fn new(
        path: Arc<PathBuf>,
        start: u64,
        options: &LoadOptions,
        out: &'a Sender<Piece>,
    ) -> Reader<'a> {
        let limits = Limits {
            bulk_bytes_max: usize::try_from(options.string_bytes_max).unwrap_or(usize::MAX >> 1),
            ..Limits::CLIENT
        };
        Reader {
            path,
            limits,
            out,
            batch: Vec::new(),
            batch_bytes: 0,
            transaction: None,
            decoder: RequestDecoder::default(),
            begin: start,
            next: start,
        }
    }

    /// Reads to the end; where the last unit begins if it is not complete.
    fn read(&mut self, mut source: impl Read) -> Result<Option<u64>, AofError> {
        let mut input = Vec::new();
        loop {
            let before = input.len();
            input.resize(before + CHUNK_BYTES, 0);
            let count = match source.read(&mut input[before..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Ok(0) => {
                    input.truncate(before);
                    break;
                }
                Ok(count) => count,
                Err(source) => {
                    let file = self.path.to_path_buf();
                    return Err(AofError::Io { file, source });
                }
            };
            input.truncate(before + count);
            let used = match self.decode(&input)? {
                Ok(used) => used,
                Err(Unwanted) => return Ok(None),
            };
            input.drain(..used);
        }
        if self.flush().is_err() {
            return Ok(None);
        }
        let end = self.next + input.len() as u64;
        Ok(match &self.transaction {
            Some((at, _)) => Some(*at),
            None => (self.begin < end).then_some(self.begin),
        })
    }

    /// Takes the complete commands out of the input; how many bytes are not needed any more.
    fn decode(&mut self, input: &[u8]) -> Result<Result<usize, Unwanted>, AofError> {
        let mut at = 0;
        loop {
            // Between commands there may be annotations, and nothing else.
            if self.next == self.begin {
                match input.get(at) {
                    None => return Ok(Ok(at)),
                    Some(b'#') => {
                        let Some(len) = self.annotation(&input[at..])? else {
                            return Ok(Ok(at));
                        };
                        at += len;
                        self.next += len as u64;
                        self.begin = self.next;
                        continue;
                    }
                    Some(b'*') => {}
                    Some(_) => return Err(self.format("a command must begin with '*'")),
                }
            }
            let before = at;
            let decoded = self.decoder.decode(input, &mut at, &self.limits);
            self.next += (at - before) as u64;
            match decoded {
                Err(error) => return Err(self.format(&error.to_string())),
                Ok(None) => return Ok(Ok(at)),
                Ok(Some(words)) if words.is_empty() => {
                    return Err(self.format("a command without words"));
                }
                Ok(Some(words)) => {
                    let command = Command {
                        words,
                        at: self.begin,
                    };
                    self.begin = self.next;
                    self.take(command)?;
                }
            }
            if self.batch_bytes >= CHUNK_BYTES as u64 && self.flush().is_err() {
                return Ok(Err(Unwanted));
            }
        }
    }

    /// The length of an annotation; `None` when its end is not there.
    fn annotation(&self, rest: &[u8]) -> Result<Option<usize>, AofError> {
        match memchr::memchr(b'\n', rest) {
            Some(end) if end < ANNOTATION_BYTES_MAX => Ok(Some(end + 1)),
            None if rest.len() < ANNOTATION_BYTES_MAX => Ok(None),
            Some(_) | None => Err(self.format("an annotation that is too long")),
        }
    }

    fn take(&mut self, command: Command) -> Result<(), AofError> {
        let is =
            |name: &[u8]| command.words.len() == 1 && command.words[0].eq_ignore_ascii_case(name);
        match &mut self.transaction {
            None if is(b"multi") => self.transaction = Some((command.at, Vec::new())),
            Some((_, commands)) if is(b"exec") => {
                self.batch.append(commands);
                self.transaction = None;
                // However long it was, it is handed on as a whole, and now.
                self.batch_bytes = CHUNK_BYTES as u64;
            }
            Some((at, commands)) => {
                if commands.len() >= TRANSACTION_COMMANDS_MAX {
                    let file = self.path.to_path_buf();
                    let what = "a transaction with too many commands".to_owned();
                    return Err(AofError::Format {
                        file,
                        at: *at,
                        what,
                    });
                }
                commands.push(command);
            }
            None => {
                self.batch_bytes += self.next - command.at;
                self.batch.push(command);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Unwanted> {
        self.batch_bytes = 0;
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        let piece = Piece::Commands(Arc::clone(&self.path), batch);
        self.out.blocking_send(piece).map_err(|_| Unwanted)
    }

    fn format(&self, what: &str) -> AofError {
        AofError::Format {
            file: self.path.to_path_buf(),
            at: self.begin,
            what: what.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OPTIONS: LoadOptions = LoadOptions {
        databases: 16,
        drop_expired_at: None,
        verify_checksum: true,
        string_bytes_max: 1 << 20,
        thresholds: crate::server::keyspace::Thresholds::DEFAULT,
        usage: crate::server::keyspace::Usage {
            now: 1,
            frequency: None,
        },
    };

    /// A source that gives its bytes in parts.
    struct Parts<'a>(&'a [u8], usize);

    impl Read for Parts<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(self.1).min(into.len());
            into[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    /// The commands as lines, and where the tail that is not complete begins.
    fn read(bytes: &[u8], part: usize) -> Result<(Vec<String>, Option<u64>), AofError> {
        let (out, mut pieces) = tokio::sync::mpsc::channel(1000);
        let mut reader = Reader::new(Arc::new("f".into()), 0, &OPTIONS, &out);
        let cut = reader.read(Parts(bytes, part))?;
        drop(reader);
        drop(out);
        let mut lines = Vec::new();
        while let Some(piece) = pieces.blocking_recv() {
            let Piece::Commands(_, commands) = piece else {
                panic!("no data was written");
            };
            for command in commands {
                let words: Vec<_> = command
                    .words
                    .iter()
                    .map(|w| String::from_utf8_lossy(w))
                    .collect();
                lines.push(format!("{} {}", command.at, words.join(" ")));
            }
        }
        Ok((lines, cut))
    }

    const FILE: &[u8] = b"#TS:1\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*1\r\n$5\r\nMULTI\r\n*2\r\n$3\r\nDEL\r\n$1\r\na\r\n\
        #TS:2\r\n*2\r\n$3\r\nDEL\r\n$1\r\nb\r\n*1\r\n$4\r\nEXEC\r\n";

    #[test]
    fn commands_come_with_their_places_however_they_are_cut() {
        let want = ["7 SELECT 0", "45 DEL a", "72 DEL b"];
        for part in [1, 2, 7, 1000] {
            let (lines, cut) = read(FILE, part).unwrap();
            assert_eq!((lines, cut), (want.map(str::to_owned).to_vec(), None));
        }
    }

    #[test]
    fn every_cut_leaves_the_complete_units() {
        for len in 0..FILE.len() {
            let (lines, cut) = read(&FILE[..len], 5).unwrap();
            let (complete, at) = match len {
                0 => (0, None),
                1..=6 => (0, Some(0)),
                7 => (0, None),
                8..=29 => (0, Some(7)),
                30 => (1, None),
                _ => (1, Some(30)),
            };
            assert_eq!((lines.len(), cut), (complete, at), "cut at {len}");
        }
    }

    #[test]
    fn what_is_no_command_is_refused_with_its_place() {
        let begin = &b"*1\r\n$4\r\nPING\r\n"[..];
        for bad in [
            &b"PING\r\n"[..],
            b"\0\0\0",
            b"*0\r\n",
            b"*x\r\n",
            b"*1\r\n+PING\r\n",
            b"*1\r\n$-1\r\n",
            b"\r\n",
        ] {
            let error = read(&[begin, bad].concat(), 3).unwrap_err().to_string();
            assert!(error.contains("f at byte 14:"), "{error}");
        }
        let long = [b"#".as_slice(), &[b'x'; 2000]].concat();
        assert!(read(&long, 100).is_err());
    }

    proptest! {
        /// Any damage is an error, a cut, or still commands; what is cut off begins behind all commands.
        #[test]
        fn damage_never_panics(at in 0..FILE.len(), byte: u8, part in 1_usize..40) {
            let mut bytes = FILE.to_vec();
            bytes[at] = byte;
            if let Ok((lines, Some(cut))) = read(&bytes, part) {
                let last = lines.last().map_or(0, |line| line.split(' ').next().unwrap().parse().unwrap());
                prop_assert!(cut <= bytes.len() as u64 && (lines.is_empty() || last < cut));
            }
        }
    }
}
