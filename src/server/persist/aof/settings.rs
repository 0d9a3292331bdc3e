//! The directives of the append-only file.

use crate::config::{Choice, Directive, Form, Memory, Number, Refusal, Text, When, YesNo, at};

/// When what was written is made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Before the reply leaves.
    Always,
    /// Once a second.
    EverySecond,
    /// When the operating system likes.
    No,
}

/// The settings of the append-only file. `Default` is redis-server 7.0's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a directive of its own, and independent of the others"
)]
pub struct AofConfig {
    /// `appendonly`. Default no.
    pub enabled: bool,
    /// `appendfilename`: how the names of the files begin. Default appendonly.aof.
    pub file_name: String,
    /// `appenddirname`: their folder, in `dir`. Default appendonlydir.
    pub folder_name: String,
    /// `appendfsync`. Default everysec.
    pub fsync: Fsync,
    /// `no-appendfsync-on-rewrite`. Default no.
    pub no_fsync_on_rewrite: bool,
    /// `auto-aof-rewrite-percentage`; 0: never. Default 100.
    pub rewrite_percentage: u32,
    /// `auto-aof-rewrite-min-size`. Default 64 MiB.
    pub rewrite_min_bytes: u64,
    /// `aof-load-truncated`. Default yes.
    pub load_truncated: bool,
    /// `aof-use-rdb-preamble`
    pub use_rdb_preamble: bool,
    /// `aof-timestamp-enabled`. Default no.
    pub timestamps: bool,
}

impl Default for AofConfig {
    fn default() -> AofConfig {
        AofConfig {
            enabled: false,
            file_name: "appendonly.aof".to_owned(),
            folder_name: "appendonlydir".to_owned(),
            fsync: Fsync::EverySecond,
            no_fsync_on_rewrite: false,
            rewrite_percentage: 100,
            rewrite_min_bytes: 64 << 20,
            load_truncated: true,
            use_rdb_preamble: true,
            timestamps: false,
        }
    }
}

/// The directives.
pub fn aof_directives() -> Vec<Directive<AofConfig>> {
    type D = Directive<AofConfig>;
    const POLICIES: &[(&str, Fsync)] = &[
        ("everysec", Fsync::EverySecond),
        ("always", Fsync::Always),
        ("no", Fsync::No),
    ];
    vec![
        D::at_run_time(
            "appendonly",
            YesNo,
            at!(enabled),
            "every write is appended to a file, which is loaded at the start",
        ),
        D::at_start(
            "appendfilename",
            BaseName {
                refusal: "appendfilename can't be a path, just a filename",
            },
            at!(file_name),
            "how the names of those files begin",
        ),
        D::at_start(
            "appenddirname",
            BaseName {
                refusal: "appenddirname can't be a path, just a dirname",
            },
            at!(folder_name),
            "folder of those files, in dir",
        ),
        D::at_run_time(
            "appendfsync",
            Choice::of(POLICIES),
            at!(fsync),
            "when what was appended is made durable",
        ),
        D::at_run_time(
            "no-appendfsync-on-rewrite",
            YesNo,
            at!(no_fsync_on_rewrite),
            "no fsync while a save or a rewrite is in progress",
        ),
        D::at_run_time(
            "auto-aof-rewrite-percentage",
            Number::between(0, i32::MAX),
            at!(rewrite_percentage),
            "growth in percent after which the files are rewritten, 0 for never",
        ),
        D::at_run_time(
            "auto-aof-rewrite-min-size",
            Memory::at_most(i64::MAX.cast_unsigned()),
            at!(rewrite_min_bytes),
            "smaller files are not rewritten by themselves",
        ),
        D::at_run_time(
            "aof-load-truncated",
            YesNo,
            at!(load_truncated),
            "load a file whose last command is incomplete",
        ),
        D::at_run_time(
            "aof-use-rdb-preamble",
            YesNo,
            at!(use_rdb_preamble),
            "a rewrite writes the data as RDB, not as commands",
        ),
        D::at_run_time(
            "aof-timestamp-enabled",
            YesNo,
            at!(timestamps),
            "note the time in the file",
        ),
    ]
}

/// A name without any folder.
struct BaseName {
    refusal: &'static str,
}

impl Form for BaseName {
    type Value = String;

    fn parse(&self, words: &[&str], when: When, value: &mut String) -> Result<(), Refusal> {
        if words[0].is_empty() || words[0].contains(['/', '\\']) || matches!(words[0], "." | "..") {
            return Err(Refusal::new(self.refusal));
        }
        Text.parse(words, when, value)
    }

    fn show(&self, value: &String) -> String {
        value.clone()
    }

    fn expected(&self) -> String {
        "a name without a folder".to_owned()
    }
}
