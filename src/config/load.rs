//! Reading a configuration: the file, the files that it includes, and the command line, as one list of
//! lines that know where they stand.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::errors::{ConfigErrors, Place, Refusal};
use super::forms::os_text;
use super::lex;

/// Where a configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file. Made absolute before anything else.
    File(PathBuf),
    /// The bytes of standard input, `-` on the command line.
    Stdin(Vec<u8>),
}

/// A configuration could not be read or is not right. The texts are redis-sentinel's; the process exits
/// with status 1 after printing one.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be opened or read.
    #[error("Fatal error, can't open config file '{path}': {error}")]
    Open {
        /// As it was given.
        path: String,
        /// The operating system's text.
        error: String,
    },
    /// The file was read and has mistakes.
    #[error(transparent)]
    Mistakes(#[from] ConfigErrors),
}

/// One line that is neither blank nor a comment.
#[derive(Clone, Debug)]
pub struct Line {
    /// Where it stands.
    pub place: Place,
    /// Its words; at least one.
    pub words: Vec<String>,
    /// Whether it is from the command line.
    pub from_command_line: bool,
}

/// A source with everything that it includes.
#[derive(Debug, Default)]
pub struct Reading {
    /// All lines, in the order in which they apply.
    pub lines: Vec<Line>,
    /// The text of the source itself, for a rewrite. Files that it includes and that hold lines which a
    /// rewrite must be able to change are copied into it, in the place of their `include` line:
    /// otherwise the next start would find those lines twice.
    pub text: Vec<u8>,
    /// The folder of relative paths behind the last line, where a `dir` has changed it.
    pub base: Option<PathBuf>,
}

/// Bounds on what is read.
mod limits {
    /// The largest file. Bytes. Eight thousand masters with their replicas and peers need about ten
    /// million.
    pub(super) const FILE_BYTES_MAX: u64 = 256 << 20;
    /// How deep files may include files.
    pub(super) const INCLUDE_DEPTH_MAX: usize = 16;
    /// How many files may be included in all.
    pub(super) const INCLUDED_FILES_MAX: usize = 1000;
}

/// Reads a source. `is_state` tells the lines that a rewrite must be able to change. Lines that cannot
/// be split are reported in `errors` and left out.
///
/// # Errors
/// The source itself cannot be read; of included files that is a mistake of the `include` line.
pub fn read(
    source: &Source,
    is_state: &dyn Fn(&[String]) -> bool,
    errors: &mut ConfigErrors,
) -> Result<Reading, LoadError> {
    read_from(None, source, is_state, errors)
}

/// As [`read`], for a process that has left the folder in which it was started: relative `include` lines go by that
/// one, `base`.
///
/// # Errors
/// As of [`read`].
pub fn read_from(
    base: Option<PathBuf>,
    source: &Source,
    is_state: &dyn Fn(&[String]) -> bool,
    errors: &mut ConfigErrors,
) -> Result<Reading, LoadError> {
    let mut reader = Reader::new(is_state, errors);
    reader.base = base;
    let (name, text): (Arc<str>, Vec<u8>) = match source {
        Source::Stdin(bytes) => (Arc::from("-"), bytes.clone()),
        Source::File(path) => {
            let shown = path.display().to_string();
            let bytes = read_file(path).map_err(|error| LoadError::Open {
                path: shown.clone(),
                error,
            })?;
            (Arc::from(shown), bytes)
        }
    };
    let text = reader.file(&name, &text, 0).text;
    Ok(Reading {
        base: reader.base,
        lines: reader.lines,
        text,
    })
}

/// The lines of the command line, [`command_line`], with those of the files that it includes in their place. Relative paths
/// of these are of `base`, see [`Reading::base`].
pub fn arguments(
    arguments: &[String],
    base: Option<PathBuf>,
    errors: &mut ConfigErrors,
) -> Vec<Line> {
    let mut reader = Reader::new(&|_| false, errors);
    reader.base = base;
    for line in command_line(arguments) {
        if line.words[0].eq_ignore_ascii_case("include") {
            reader.include(&line.words, &line.place, 0);
        } else {
            reader.take(line);
        }
    }
    reader.lines
}

/// The whole of a regular file, within [`limits`].
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let read = || -> std::io::Result<Vec<u8>> {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(rustix::io::Errno::ISDIR.into());
        }
        let mut bytes = Vec::new();
        file.take(limits::FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| os_text(&error))?;
    if bytes.len() as u64 > limits::FILE_BYTES_MAX {
        return Err(format!("larger than {} bytes", limits::FILE_BYTES_MAX));
    }
    Ok(bytes)
}

/// What a file amounts to.
struct Flat {
    /// With the files copied in that had to be.
    text: Vec<u8>,
    /// Whether it, or a file that it includes, has lines that a rewrite must be able to change.
    has_state: bool,
}

struct Reader<'a> {
    is_state: &'a dyn Fn(&[String]) -> bool,
    errors: &'a mut ConfigErrors,
    lines: Vec<Line>,
    /// The folder of relative `include` paths: redis-server changes into `dir` as it reads that line.
    base: Option<PathBuf>,
    included: usize,
}

impl<'a> Reader<'a> {
    fn new(is_state: &'a dyn Fn(&[String]) -> bool, errors: &'a mut ConfigErrors) -> Reader<'a> {
        Reader {
            is_state,
            errors,
            lines: Vec::new(),
            base: None,
            included: 0,
        }
    }

    fn take(&mut self, line: Line) {
        if let [name, folder] = line.words.as_slice()
            && name.eq_ignore_ascii_case("dir")
        {
            self.base = Some(self.resolve(folder));
        }
        self.lines.push(line);
    }

    fn file(&mut self, name: &Arc<str>, text: &[u8], depth: usize) -> Flat {
        let mut flat = Flat {
            text: Vec::with_capacity(text.len()),
            has_state: false,
        };
        let body = text.strip_suffix(b"\n").unwrap_or(text);
        if body.is_empty() {
            return flat;
        }
        for (at, line) in body.split(|b| *b == b'\n').enumerate() {
            let place = || Place::new(name, at + 1, &String::from_utf8_lossy(line));
            match lex::words(line) {
                Ok(None) => {}
                Err(refusal) => self.errors.push(place(), refusal, ""),
                Ok(Some(words)) if words[0].eq_ignore_ascii_case("include") => {
                    let inner = self.include(&words, &place(), depth);
                    if inner.has_state {
                        flat.has_state = true;
                        flat.text.extend_from_slice(b"# ");
                        flat.text.extend_from_slice(line.trim_ascii());
                        flat.text.extend_from_slice(COPIED_NOTE.as_bytes());
                        flat.text.extend_from_slice(&inner.text);
                        continue;
                    }
                }
                Ok(Some(words)) => {
                    flat.has_state |= (self.is_state)(&words);
                    self.take(Line {
                        place: place(),
                        words,
                        from_command_line: false,
                    });
                }
            }
            flat.text.extend_from_slice(line);
            flat.text.push(b'\n');
        }
        flat
    }

    fn resolve(&self, path: &str) -> PathBuf {
        match &self.base {
            Some(base) => base.join(path),
            None => PathBuf::from(path),
        }
    }

    fn include(&mut self, words: &[String], place: &Place, depth: usize) -> Flat {
        const USAGE: &str = "include FILE, or a pattern of files";
        let mut flat = Flat {
            text: Vec::new(),
            has_state: false,
        };
        let [_, pattern] = words else {
            let refusal = Refusal::new("Bad directive or wrong number of arguments");
            self.errors.push(place.clone(), refusal, USAGE);
            return flat;
        };
        let paths: Vec<PathBuf> = if pattern.contains(['*', '?', '[']) {
            // The folder has its name and is no pattern.
            let base = self.base.as_ref();
            let base = base.map(|base| glob::Pattern::escape(&base.display().to_string()));
            let pattern = PathBuf::from(base.unwrap_or_default()).join(pattern);
            let found = glob::glob(&pattern.display().to_string());
            found.into_iter().flatten().filter_map(Result::ok).collect()
        } else {
            vec![self.resolve(pattern)]
        };
        for path in paths {
            self.included += 1;
            let bytes = if depth >= limits::INCLUDE_DEPTH_MAX {
                Err(format!(
                    "Files include files more than {} deep",
                    limits::INCLUDE_DEPTH_MAX
                ))
            } else if self.included > limits::INCLUDED_FILES_MAX {
                Err(format!(
                    "More than {} included files",
                    limits::INCLUDED_FILES_MAX
                ))
            } else {
                read_file(&path).map_err(|error| {
                    let path = path.display();
                    format!("Fatal error, can't open config file '{path}': {error}")
                })
            };
            match bytes {
                Err(reason) => {
                    self.errors
                        .push(place.clone(), Refusal::new(reason), "a readable file")
                }
                Ok(bytes) => {
                    let name = Arc::from(path.display().to_string());
                    let inner = self.file(&name, &bytes, depth + 1);
                    flat.has_state |= inner.has_state;
                    flat.text.extend_from_slice(&inner.text);
                }
            }
        }
        flat
    }
}

/// What is said in the place of an `include` line whose file was copied in.
const COPIED_NOTE: &str = " (copied here, because lines in it are kept up to date in this file:)\n";

/// The lines of `--name value…` arguments, split as redis-server 7.0 does: an option takes all words up
/// to the next option, its first value may begin with `--` itself, and one word may hold a whole line
/// (`"--port 6380"`). Words before the first option, or after a bare `--`, are a line as well. `--save`
/// without a value means the empty value; a bare `--sentinel` only selects the program.
pub fn command_line(arguments: &[String]) -> Vec<Line> {
    let source: Arc<str> = Arc::from("the command line");
    // Each with the dashes that it had.
    let mut lines: Vec<(&str, Vec<String>)> = Vec::new();
    let mut wants_value = false;
    let mut arguments = arguments.iter().peekable();
    while let Some(argument) = arguments.next() {
        let Some(option) = option_of(argument).filter(|_| !wants_value) else {
            wants_value = false;
            match lines.last_mut() {
                Some((_, words)) => words.push(argument.clone()),
                None => lines.push(("", vec![argument.clone()])),
            }
            continue;
        };
        let mut words: Vec<String> = option.split_whitespace().map(str::to_owned).collect();
        let is_last = arguments
            .peek()
            .is_none_or(|next| option_of(next).is_some());
        wants_value = words.len() <= 1;
        if words.len() == 1 && is_last {
            if words[0].eq_ignore_ascii_case("sentinel") {
                wants_value = false;
                continue;
            }
            if words[0].eq_ignore_ascii_case("save") {
                wants_value = false;
                words.push(String::new());
            }
        }
        lines.push(("--", words));
    }
    let line = |(dashes, words): (&str, Vec<String>)| {
        let text = lex::join(words.iter().map(String::as_str));
        Line {
            place: Place::new(&source, 0, &format!("{dashes}{text}")),
            words,
            from_command_line: true,
        }
    };
    let lines = lines.into_iter().filter(|(_, words)| !words.is_empty());
    lines.map(line).collect()
}

/// What follows the dashes of an option.
fn option_of(argument: &str) -> Option<&str> {
    argument.strip_prefix("--")
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) => path.display().fmt(f),
            Source::Stdin(_) => f.write_str("-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_state(words: &[String]) -> bool {
        words[0] == "sentinel"
    }

    fn read_ok(path: &Path) -> Reading {
        let mut errors = ConfigErrors::default();
        let reading = read(&Source::File(path.to_owned()), &is_state, &mut errors).unwrap();
        assert!(errors.is_empty(), "{errors}");
        reading
    }

    #[test]
    fn includes_apply_where_they_stand() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a.inc"), "port 1\n").unwrap();
        std::fs::write(at("b.inc"), "# b\nsentinel monitor m 1.1.1.1 1 1").unwrap();
        let main = format!(
            "timeout 1\ninclude {0}/a.inc\ninclude {0}/[b]*.inc\ntimeout 2\n",
            folder.path().display()
        );
        std::fs::write(at("main"), &main).unwrap();
        let reading = read_ok(&at("main"));
        let lines: Vec<String> = reading.lines.iter().map(|l| l.words.join(" ")).collect();
        assert_eq!(
            lines,
            [
                "timeout 1",
                "port 1",
                "sentinel monitor m 1.1.1.1 1 1",
                "timeout 2"
            ]
        );
        assert_eq!(reading.lines[2].place.line, 2);
        let text = String::from_utf8(reading.text).unwrap();
        assert!(
            text.contains("\ninclude "),
            "a file without state stays included: {text}"
        );
        assert!(
            text.contains(":)\n# b\nsentinel monitor m 1.1.1.1 1 1\ntimeout 2\n"),
            "{text}"
        );
    }

    #[test]
    fn a_file_that_includes_itself_is_a_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("main");
        std::fs::write(&path, format!("include {}", path.display())).unwrap();
        let mut errors = ConfigErrors::default();
        read(&Source::File(path), &is_state, &mut errors).unwrap();
        assert!(
            errors
                .to_string()
                .contains("Files include files more than 16 deep")
        );
    }

    #[test]
    fn a_missing_file_is_told_as_redis_tells_it() {
        let error = read(
            &Source::File("/nonexistent/s.conf".into()),
            &is_state,
            &mut ConfigErrors::default(),
        );
        assert_eq!(
            error.unwrap_err().to_string(),
            "Fatal error, can't open config file '/nonexistent/s.conf': No such file or directory"
        );
    }

    #[track_caller]
    fn check_command_line(arguments: &[&str], expected: &[&[&str]]) {
        let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
        let lines = command_line(&arguments);
        let words: Vec<Vec<String>> = lines.into_iter().map(|line| line.words).collect();
        assert_eq!(words, expected);
    }

    #[test]
    fn the_command_line_is_split_as_redis_server_splits_it() {
        let monitor: &[&str] = &["sentinel", "monitor", "m", "::1", "1", "2"];
        let arguments = [
            "--port",
            "7",
            "--sentinel",
            "monitor",
            "m",
            "::1",
            "1",
            "2",
            "--logfile",
            "",
        ];
        check_command_line(&arguments, &[&["port", "7"], monitor, &["logfile", ""]]);
        check_command_line(&["--sentinel", "--port", "7"], &[&["port", "7"]]);
        check_command_line(&["--port", "7", "--sentinel"], &[&["port", "7"]]);
        check_command_line(&["--save", "--port", "7"], &[&["save", ""], &["port", "7"]]);
        check_command_line(
            &["--port 7", "--dir", "/"],
            &[&["port", "7"], &["dir", "/"]],
        );
        check_command_line(&["--requirepass", "--x"], &[&["requirepass", "--x"]]);
        check_command_line(&["--save", "1", "2"], &[&["save", "1", "2"]]);
        let without_dashes: &[&str] = &["port", "7"];
        check_command_line(without_dashes, &[without_dashes]);
        check_command_line(&["port", "7", "--", "port", "7"], &[without_dashes; 2]);
        check_command_line(&["--port", "7", "--"], &[without_dashes]);
    }
}
