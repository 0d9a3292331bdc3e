//! What an operator hears whose order is not carried out: in one place, so that whoever translates it, as HTTP does
//! into a status, cannot miss it.

/// No master of that name is monitored.
pub const NO_SUCH_MASTER: &str = "ERR No such master with that name";
/// The state could not be written.
pub const NOT_SAVED: &str = "ERR Failed to save config file. Check server logs.";
/// A failover of that master is under way.
pub const IN_PROGRESS: &str = "INPROG Failover already in progress";
/// No replica can be promoted.
pub const NO_GOOD_REPLICA: &str = "NOGOODSLAVE No suitable replica to promote";
/// Something that would change others is ordered from one that changes nothing.
pub const ONLY_OBSERVES: &str =
    "ERR This sentinel only observes (sentinel observe-only yes) and changes nothing";
/// Too many pauses and resumptions wait for peers.
pub const TOO_MANY_ORDERS: &str =
    "ERR too many orders wait for the answers of other sentinels, try again";
/// A master is to be forgotten.
pub const IS_THE_MASTER: &str =
    "ERR That is the master itself: SENTINEL REMOVE stops monitoring it";
/// Nothing that could be forgotten is there.
pub const UNKNOWN_INSTANCE: &str =
    "ERR No replica or sentinel of that master is known at that address";
