//! Configuration: one definition per directive, the Redis dialect and YAML, and rewriting without loss.
//!
//! * [`directive`]: how directives are defined; start there.
//! * [`forms`]: how values of the common types are written.
//! * [`process`]: the settings that both programs share.
//! * [`lex`], [`load`], [`rewrite`]: the text level.
//! * [`statements`], [`draft`], [`sentinel`], [`yaml`]: what is a sentinel's own.
//! * [`convert`]: from the Redis dialect to YAML.

pub mod convert;
pub mod directive;
pub mod draft;
pub mod errors;
pub mod forms;
pub mod lex;
pub mod load;
pub mod process;
mod process_table;
pub mod rewrite;
pub mod sentinel;
pub mod statements;
pub mod yaml;

pub use crate::config_at as at;
pub use directive::{Directive, Form, Lens, RewriteOf, Seen, SetError, Table, When};
pub use errors::{ConfigErrors, Mistake, Place, Refusal};
pub use forms::{
    AlwaysNo, Choice, FileMode, Folder, Memory, Milliseconds, Number, OptionalPath, OptionalText,
    Seconds, Text, TextOrNone, Words, YesNo,
};
pub use load::{LoadError, Source};
pub use process::Process;
pub use process_table::{OutputLimitsForm, process_directives};
pub use sentinel::{SentinelConfig, load_sentinel};
pub use statements::check_master_name;

/// The version of Redis that we speak like: clients and tools look at it.
pub const REDIS_VERSION: &str = "7.0.15";
