//! Reading the files of an append-only file. A plain blocking reader: it runs on a thread of its own and hands
//! what it has read to whoever executes it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::mpsc::Sender;

use super::folder::Folder;
use super::manifest::Manifest;
use crate::resp::{Limits, RequestDecoder, Word};
use crate::server::key_delay::LoadPace;
use crate::server::loading::{Counted, Progress};
use crate::server::persist::rdb_decode::{LoadError, LoadOptions, Loaded, load, used_memory_of};
use crate::server::persist::refused::Refused;

/// How much is read at a time, and about how much is handed on at a time. Bytes.
const CHUNK_BYTES: usize = 256 * 1024;
/// The longest annotation, as redis-server has it. Bytes.
const ANNOTATION_BYTES_MAX: usize = 1024;

/// Why the files cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AofError {
    /// A file cannot be read, or is not there.
    #[error("the append-only file {file}: {error}")]
    Io {
        /// Its path.
        file: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// The data at its beginning.
    #[error("the RDB at the beginning of the append-only file {file}: {error}")]
    Rdb {
        /// Its path.
        file: PathBuf,
        /// What is wrong.
        error: LoadError,
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
    /// A file with others behind it that hold something ends inside a command.
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
    #[error("the append-only file {file} has at byte {at} {refused}; nothing was changed on disk")]
    Unsupported {
        /// Its path.
        file: PathBuf,
        /// Where the command begins.
        at: u64,
        /// The command.
        refused: Refused,
    },
}

/// What has been read.
pub(super) enum Piece {
    /// The data that a file begins with.
    Data(Box<Loaded>),
    /// Commands of one file.
    Commands(Arc<PathBuf>, Commands),
}

/// Commands in order. Their words are parts of the buffers that they were read into.
#[derive(Debug, Default)]
pub(super) struct Commands {
    words: Vec<Word<'static>>,
    /// For each, where its words end, and where in the file it begins.
    ends: Vec<(usize, u64)>,
}

impl Commands {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// True without any.
    fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The words of each, and where in the file it begins, from the one of this number on.
    pub(super) fn iter_from(
        &self,
        first: usize,
    ) -> impl Iterator<Item = (&[Word<'_>], u64)> + Clone {
        (first..self.len()).map(|number| {
            let (end, at) = self.ends[number];
            (&self.words[self.begin(number)..end], at)
        })
    }

    /// Where the words of the command of this number begin.
    fn begin(&self, number: usize) -> usize {
        match number {
            0 => 0,
            _ => self.ends[number - 1].0,
        }
    }

    /// The words that belong to no command yet.
    fn tail(&self) -> &[Word<'_>] {
        &self.words[self.begin(self.len())..]
    }

    fn drop_tail(&mut self) {
        self.words.truncate(self.begin(self.len()));
    }

    fn append(&mut self, other: Commands) {
        let before = self.words.len();
        self.words.extend(other.words);
        let ends = other.ends.into_iter();
        self.ends.extend(ends.map(|(end, at)| (before + end, at)));
    }
}

/// A file that ended inside a unit, and where that unit begins.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) path: PathBuf,
    pub(super) at: u64,
}

/// Reads all files of a manifest, oldest first. A last file that is incomplete is told, not changed. The last one is
/// that behind which all are empty: a rewrite makes the next increment durable while the present one still grows, so
/// that a power cut may tear what is the end of the data. redis-server, which has the same moment, refuses that.
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
        let io_error = |error| AofError::Io {
            file: path.clone(),
            error,
        };
        let opened = File::open(&path).map_err(io_error)?;
        let opened = Counted::new(opened, Arc::clone(progress));
        let mut source = BufReader::with_capacity(CHUNK_BYTES, opened);
        let mut start = 0;
        let head = source.fill_buf().map_err(io_error)?;
        if head.starts_with(b"REDIS") {
            if index > 0 {
                let what = "an RDB, which only the first file may hold".to_owned();
                let (file, at) = (path, 0);
                return Err(AofError::Format { file, at, what });
            }
            progress.set_used_memory(used_memory_of(head));
            tracing::info!("Reading RDB base file on AOF loading...");
            let loaded = load(&mut source, options.clone()).map_err(|error| AofError::Rdb {
                file: path.clone(),
                error,
            })?;
            start = source.stream_position().map_err(io_error)?;
            if out.blocking_send(Piece::Data(Box::new(loaded))).is_err() {
                return Ok(None);
            }
        }
        let mut reader = Reader::new(Arc::new(path), start, &options, out);
        if let Some(at) = reader.read(source)? {
            let path = reader.path.to_path_buf();
            // A base is durable before it counts: no power cut tears it.
            let is_base = manifest.base.as_ref() == Some(*file);
            let mut later = files[index + 1..].iter();
            let is_last = index + 1 == files.len()
                || !is_base && later.all(|file| folder.is_empty_file(file));
            if !is_last {
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
    pace: LoadPace,
    out: &'a Sender<Piece>,
    batch: Commands,
    batch_bytes: u64,
    /// The commands of an open transaction, and where it begins.
    transaction: Option<(u64, Commands)>,
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
            pace: options.pace.clone(),
            out,
            batch: Commands::default(),
            batch_bytes: 0,
            transaction: None,
            decoder: RequestDecoder::default(),
            begin: start,
            next: start,
        }
    }

    /// Reads to the end; where the last unit begins if it is not complete.
    fn read(&mut self, mut source: impl Read) -> Result<Option<u64>, AofError> {
        let mut input = BytesMut::new();
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
                Err(error) => {
                    let file = self.path.to_path_buf();
                    return Err(AofError::Io { file, error });
                }
            };
            input.truncate(before + count);
            let chunk = input.freeze();
            let used = match self.decode(&chunk)? {
                Ok(used) => used,
                Err(Unwanted) => return Ok(None),
            };
            // A word that is not all there stays where it is.
            input = match chunk.try_into_mut() {
                Ok(mut chunk) => {
                    chunk.advance(used);
                    chunk
                }
                Err(chunk) => BytesMut::from(&chunk[used..]),
            };
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
    fn decode(&mut self, input: &Bytes) -> Result<Result<usize, Unwanted>, AofError> {
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
            let commands = match &mut self.transaction {
                Some((_, commands)) => commands,
                None => &mut self.batch,
            };
            let words = &mut commands.words;
            let decoded = self
                .decoder
                .decode_onto(input, &mut at, &self.limits, words);
            self.next += (at - before) as u64;
            match decoded {
                Err(error) => return Err(self.format(&error.to_string())),
                Ok(false) => return Ok(Ok(at)),
                Ok(true) if commands.tail().is_empty() => {
                    return Err(self.format("a command without words"));
                }
                Ok(true) => {
                    let begin = std::mem::replace(&mut self.begin, self.next);
                    self.take(begin);
                    self.pace.rest();
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

    /// Takes the command that has been decoded, which begins at `at`.
    fn take(&mut self, at: u64) {
        let is = |commands: &Commands, name: &[u8]| match commands.tail() {
            [word] => word.eq_ignore_ascii_case(name),
            _ => false,
        };
        match &mut self.transaction {
            None if is(&self.batch, b"multi") => {
                self.batch.drop_tail();
                self.transaction = Some((at, Commands::default()));
            }
            Some((_, commands)) if is(commands, b"exec") => {
                commands.drop_tail();
                self.batch.append(std::mem::take(commands));
                self.transaction = None;
                // However long it was, it is handed on as a whole, and now.
                self.batch_bytes = CHUNK_BYTES as u64;
            }
            // However long it is: the file, which was written here, is its limit.
            Some((_, commands)) => {
                commands.ends.push((commands.words.len(), at));
            }
            None => {
                self.batch_bytes += self.next - at;
                self.batch.ends.push((self.batch.words.len(), at));
            }
        }
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
        pace: crate::server::key_delay::LoadPace::NONE,
        progress: None,
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
            for (words, at) in commands.iter_from(0) {
                let words: Vec<_> = words.iter().map(|w| String::from_utf8_lossy(w)).collect();
                lines.push(format!("{at} {}", words.join(" ")));
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
