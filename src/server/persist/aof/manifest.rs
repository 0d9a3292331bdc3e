//! Which files make up the append-only file: the text of the manifest, and the names of its files.
//!
//! A base holds the data of one moment, increments hold the commands since then, history is what may be
//! deleted. The numbers of bases and of increments only grow, each on their own.

use crate::config::lex;

/// The longest line of a manifest. Bytes, as in redis-server.
const LINE_BYTES_MAX: usize = 1024;
/// The most files of one manifest; each failed rewrite leaves one.
const FILES_MAX: usize = 1 << 20;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AofFile {
    /// Its name in the folder.
    pub name: String,
    /// Its number.
    pub seq: u64,
}

/// The files of one append-only file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The data that everything else builds on.
    pub base: Option<AofFile>,
    /// The commands since then, oldest first.
    pub incrs: Vec<AofFile>,
    /// Files that are not needed any more, and of which kind they were; newest first.
    pub history: Vec<AofFile>,
    /// The highest numbers ever given.
    last_base: u64,
    last_incr: u64,
}

/// Why a manifest cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the AOF manifest: {reason}: {text:?}")]
pub struct ManifestError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: &'static str,
    /// The line.
    pub text: String,
}

impl Manifest {
    /// Reads the text of a manifest. The words of errors are redis-server's.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &[u8]) -> Result<Manifest, ManifestError> {
        let mut manifest = Manifest::default();
        let mut rest = text;
        let mut number = 0;
        while !rest.is_empty() || number == 0 {
            number += 1;
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let (line, after) = rest.split_at(end);
            rest = after;
            manifest.add_line(line).map_err(|reason| ManifestError {
                line: number,
                reason,
                text: line[..line.len().min(LINE_BYTES_MAX)]
                    .trim_ascii_end()
                    .escape_ascii()
                    .to_string(),
            })?;
        }
        Ok(manifest)
    }

    fn add_line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        const INVALID: &str = "Invalid AOF manifest file format";
        if line.is_empty() {
            return Err("Found an empty AOF manifest");
        }
        if line.starts_with(b"#") {
            return Ok(());
        }
        if line.len() > LINE_BYTES_MAX || !line.ends_with(b"\n") {
            return Err("The AOF manifest file contains too long line");
        }
        let words = lex::words(line).ok().flatten().ok_or(INVALID)?;
        if words.len() < 6 || !words.len().is_multiple_of(2) {
            return Err(INVALID);
        }
        let (mut name, mut seq, mut kind) = (None, None, None);
        for pair in words.chunks_exact(2) {
            match pair[0].to_ascii_lowercase().as_str() {
                "file" => name = Some(pair[1].clone()),
                // Redis counts in 63 bits, and the next one must have a number too.
                "seq" => {
                    seq = pair[1]
                        .parse()
                        .ok()
                        .filter(|seq| (1..1 << 62).contains(seq))
                }
                "type" => kind = pair[1].bytes().next(),
                _ => {}
            }
        }
        let name = name.filter(|name| !name.is_empty()).ok_or(INVALID)?;
        if name.contains(['/', '\\']) {
            return Err("File can't be a path, just a filename");
        }
        let file = AofFile {
            name,
            seq: seq.ok_or(INVALID)?,
        };
        if self.incrs.len() + self.history.len() >= FILES_MAX {
            return Err("Too many files");
        }
        match kind.ok_or(INVALID)? {
            b'b' if self.base.is_some() => return Err("Found duplicate base file information"),
            b'b' => {
                self.last_base = self.last_base.max(file.seq);
                self.base = Some(file);
            }
            b'i' if self.incrs.last().is_some_and(|last| file.seq <= last.seq) => {
                return Err("Found a non-monotonic sequence number");
            }
            b'i' => {
                self.last_incr = self.last_incr.max(file.seq);
                self.incrs.push(file);
            }
            b'h' => {
                // Its number must not be given again while it may still be there.
                if file.name.contains(".incr.") {
                    self.last_incr = self.last_incr.max(file.seq);
                } else {
                    self.last_base = self.last_base.max(file.seq);
                }
                self.history.push(file);
            }
            _ => return Err("Unknown AOF file type"),
        }
        Ok(())
    }

    /// The text that [`Manifest::parse`] reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let groups = [
            (self.base.as_slice(), 'b'),
            (self.history.as_slice(), 'h'),
            (self.incrs.as_slice(), 'i'),
        ];
        for (files, kind) in groups {
            for file in files {
                text.push_str("file ");
                lex::push_quoted(&mut text, &file.name);
                text.push_str(&format!(" seq {} type {kind}\n", file.seq));
            }
        }
        text
    }

    /// A manifest of a single-file AOF, as servers before 7.0 wrote it.
    pub fn of_old_file(name: &str) -> Manifest {
        let base = AofFile {
            name: name.to_owned(),
            seq: 1,
        };
        Manifest {
            base: Some(base),
            last_base: 1,
            ..Manifest::default()
        }
    }

    /// The files to be loaded, in their order.
    pub fn live(&self) -> impl Iterator<Item = &AofFile> {
        self.base.iter().chain(&self.incrs)
    }

    /// True without any file to be loaded.
    pub fn is_empty(&self) -> bool {
        self.live().next().is_none()
    }

    /// Makes a new base the beginning of everything; the old one becomes history. Returns its name.
    pub fn add_base(&mut self, file_name: &str, is_rdb: bool) -> String {
        self.last_base += 1;
        let form = if is_rdb { "rdb" } else { "aof" };
        let name = format!("{file_name}.{}.base.{form}", self.last_base);
        let new = AofFile {
            name: name.clone(),
            seq: self.last_base,
        };
        if let Some(old) = self.base.replace(new) {
            self.history.insert(0, old);
        }
        name
    }

    /// Adds an increment, to which commands go from now on. Returns its name.
    pub fn add_incr(&mut self, file_name: &str) -> String {
        self.last_incr += 1;
        let name = format!("{file_name}.{}.incr.aof", self.last_incr);
        self.incrs.push(AofFile {
            name: name.clone(),
            seq: self.last_incr,
        });
        name
    }

    /// Makes the increments before this one history, or all of them.
    pub fn retire_incrs(&mut self, before: Option<u64>) {
        let is_kept = |file: &AofFile| before.is_some_and(|seq| file.seq >= seq);
        let (kept, old) = std::mem::take(&mut self.incrs)
            .into_iter()
            .partition(is_kept);
        self.incrs = kept;
        self.history.splice(0..0, Vec::into_iter(old).rev());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIVE: &str = "file a.aof.3.base.rdb seq 3 type b\n\
                        file a.aof.4.incr.aof seq 4 type i\n\
                        file a.aof.5.incr.aof seq 5 type i\n";

    fn parse(text: &str) -> Result<Manifest, ManifestError> {
        Manifest::parse(text.as_bytes())
    }

    #[test]
    fn what_was_written_is_read() {
        let manifest = parse(LIVE).unwrap();
        assert_eq!(manifest.text(), LIVE);
        let names: Vec<&str> = manifest.live().map(|file| file.name.as_str()).collect();
        assert_eq!(
            names,
            ["a.aof.3.base.rdb", "a.aof.4.incr.aof", "a.aof.5.incr.aof"]
        );
    }

    #[test]
    fn a_rewrite_leaves_history() {
        let mut manifest = parse(LIVE).unwrap();
        assert_eq!(manifest.add_incr("a.aof"), "a.aof.6.incr.aof");
        assert_eq!(manifest.add_base("a.aof", true), "a.aof.4.base.rdb");
        manifest.retire_incrs(Some(6));
        assert_eq!(
            manifest.text(),
            "file a.aof.4.base.rdb seq 4 type b\n\
             file a.aof.5.incr.aof seq 5 type h\n\
             file a.aof.4.incr.aof seq 4 type h\n\
             file a.aof.3.base.rdb seq 3 type h\n\
             file a.aof.6.incr.aof seq 6 type i\n"
        );
        manifest.retire_incrs(None);
        assert_eq!(manifest.incrs, []);
        assert_eq!(manifest.add_incr("a.aof"), "a.aof.7.incr.aof");
    }

    #[test]
    fn any_order_words_and_comments_are_taken() {
        let manifest = parse(
            "# mine\n\
             type incremental seq 2 file \"with \\\"blank\\\".aof\" note x\n\
             file b SEQ 1 TYPE b\n",
        )
        .unwrap();
        assert_eq!(manifest.incrs[0].name, "with \"blank\".aof");
        assert_eq!(manifest.base.as_ref().unwrap().name, "b");
        assert_eq!(parse(&manifest.text()).unwrap(), manifest);
        assert!(parse("# nothing else\n").unwrap().is_empty());
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let long = format!("file {} seq 1 type b\n", "x".repeat(1024));
        for (text, line, reason) in [
            ("", 1, "Found an empty AOF manifest"),
            ("file a seq 1 type b", 1, "contains too long line"),
            (&long, 1, "contains too long line"),
            (
                "file a seq 1 type b\n\n",
                2,
                "Invalid AOF manifest file format",
            ),
            ("file a seq 1 type\n", 1, "Invalid AOF manifest file format"),
            (
                "file a seq 0 type b\n",
                1,
                "Invalid AOF manifest file format",
            ),
            (
                "file a seq 9223372036854775807 type b\n",
                1,
                "Invalid AOF manifest file format",
            ),
            (
                "file a seq x type b\n",
                1,
                "Invalid AOF manifest file format",
            ),
            ("file a seq 1 x b\n", 1, "Invalid AOF manifest file format"),
            (
                "file \"a seq 1 type b\n",
                1,
                "Invalid AOF manifest file format",
            ),
            ("file b/a seq 1 type b\n", 1, "File can't be a path"),
            (
                "#\nfile a seq 1 type b\nfile b seq 2 type b\n",
                3,
                "Found duplicate base file information",
            ),
            (
                "file a seq 2 type i\nfile b seq 2 type i\n",
                2,
                "Found a non-monotonic sequence number",
            ),
            ("file a seq 1 type x\n", 1, "Unknown AOF file type"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text:?}");
            assert!(error.reason.contains(reason), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_so_that_it_is_read_again(
            words in proptest::collection::vec(
                prop_oneof![
                    Just("file".to_owned()), Just("seq".to_owned()), Just("type".to_owned()),
                    Just("b".to_owned()), Just("i".to_owned()), Just("h\n".to_owned()),
                    Just("\"a b\"".to_owned()), Just("\n".to_owned()), "[0-9]{1,3}", ".{0,6}",
                ],
                0..40,
            ),
        ) {
            if let Ok(manifest) = parse(&words.join(" ")) {
                let again = parse(&format!("#\n{}", manifest.text())).unwrap();
                prop_assert_eq!(again.text(), manifest.text());
            }
        }

        #[test]
        fn files_of_any_name_are_read_again(
            names in proptest::collection::vec("[^/\\\\\0]{1,20}", 1..9),
        ) {
            let mut manifest = Manifest::default();
            for name in &names {
                manifest.add_base(name, true);
                manifest.add_incr(name);
            }
            manifest.retire_incrs(Some(2));
            prop_assert_eq!(manifest.clone(), parse(&manifest.text()).unwrap());
            manifest.retire_incrs(None);
            prop_assert_eq!(parse(&manifest.text()).unwrap(), manifest);
        }
    }
}
