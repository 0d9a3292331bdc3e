//! Everything the sentinel decides, and nothing else: no clock, no socket, no disk, no unseeded die.
//!
//! [`Input`]s go in, [`Output`]s come out, in order. The simulator and the tokio driver are its two
//! drivers.

mod addr;
mod durable;
mod event;
mod io;
mod settings;

pub use addr::Addr;
pub use durable::{Durable, DurableMaster, DurablePeer};
pub use event::{Event, EventKind, Level};
pub use io::{
    Credentials, DownReason, HELLO_CHANNEL, Input, LinkId, LinkKind, Operator, Output, ReplyTo,
    Request, Seq, SetOption,
};
pub use settings::{Globals, MasterSettings, Tuning};
