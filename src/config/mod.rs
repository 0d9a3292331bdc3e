//! Configuration: one definition per directive, the Redis dialect and YAML, and rewriting without loss.
//!
//! * [`directive`]: how directives are defined; start there.
//! * [`forms`]: how values of the common types are written.
//! * [`process`]: the directives that both programs share.
//! * [`lex`], [`rewrite`]: the text level.

pub mod directive;
pub mod errors;
pub mod forms;
pub mod lex;
pub mod process;
pub mod rewrite;

pub use crate::config_at as at;
pub use directive::{Directive, Form, Lens, Seen, SetError, Table, When};
pub use errors::{ConfigErrors, Mistake, Place, Refusal};
pub use forms::{
    Choice, FileMode, Folder, Memory, Milliseconds, Number, OptionalPath, OptionalText, Seconds,
    Text, Words, YesNo,
};
pub use process::{Process, process_directives};

/// The version of Redis that we speak like: clients and tools look at it.
pub const REDIS_VERSION: &str = "7.0.15";
