//! Reading arguments, and the error texts that commands share.

use bytes::Bytes;

use crate::clock::UnixMillis;
use crate::resp::{Word, canonical_integer};

/// An unknown or misplaced word.
pub(super) const SYNTAX: &str = "ERR syntax error";
/// A word that must be a number.
pub(super) const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";
/// A number that is too large or too small here.
pub(super) const OUT_OF_RANGE: &str = "ERR value is out of range";
/// A count of elements.
pub(super) const NOT_POSITIVE: &str = "ERR value is out of range, must be positive";
/// A word that must be a number with a fraction.
pub(super) const NOT_A_FLOAT: &str = "ERR value is not a valid float";
/// A key that must exist.
pub(super) const NO_SUCH_KEY: &str = "ERR no such key";
/// A database beyond those that there are.
pub(super) const NO_SUCH_DATABASE: &str = "ERR DB index is out of range";
/// `CONFIG SET` and others inside `MULTI` where Redis forbids it.
pub(super) const NOT_IN_MULTI: &str = "ERR Command not allowed inside a transaction";

/// What a command answers when it fails: the whole line after `-`.
pub(crate) use crate::front::ErrorText as Failure;

/// The number that a word is, in the one spelling that Redis accepts.
pub(super) fn integer(word: &[u8]) -> Result<i64, Failure> {
    canonical_integer(word).ok_or(Failure::from(NOT_AN_INTEGER))
}

/// How many elements a command that picks some at random is to return; negative: they may repeat.
pub(super) fn random_count(word: &[u8]) -> Result<i64, Failure> {
    /// More in one reply, with repetitions, are refused before they fill the memory.
    const REPEATED_MAX: i64 = 1 << 24;
    let count = integer(word)?;
    if count == i64::MIN {
        return Err(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"
                .into(),
        );
    }
    if count < -REPEATED_MAX {
        return Err(OUT_OF_RANGE.into());
    }
    Ok(count)
}

/// A number that must not be negative; `text` answers anything else.
pub(super) fn not_negative(word: &[u8], text: &'static str) -> Result<u64, Failure> {
    canonical_integer(word)
        .and_then(|n| u64::try_from(n).ok())
        .ok_or(Failure::from(text))
}

/// The number of a database that a word names, of `databases`.
pub(super) fn database(word: &[u8], databases: usize) -> Result<usize, Failure> {
    let number = i32::try_from(integer(word)?)
        .map_err(|_| "ERR value is out of range, value must between -2147483648 and 2147483647")?;
    usize::try_from(number)
        .ok()
        .filter(|db| *db < databases)
        .ok_or(Failure::from(NO_SUCH_DATABASE))
}

/// The word in lower case, for comparing options.
pub(super) fn option(word: &[u8]) -> Vec<u8> {
    word.to_ascii_lowercase()
}

/// The unit and the origin of an expiry that a client gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExpiryUnit {
    /// `EX`: seconds from now.
    Seconds,
    /// `PX`: milliseconds from now.
    Millis,
    /// `EXAT`: a moment in seconds.
    UnixSeconds,
    /// `PXAT`: a moment in milliseconds.
    UnixMillis,
}

impl ExpiryUnit {
    /// The unit that an option word names.
    pub(super) fn from_option(lower: &[u8]) -> Option<ExpiryUnit> {
        Some(match lower {
            b"ex" => ExpiryUnit::Seconds,
            b"px" => ExpiryUnit::Millis,
            b"exat" => ExpiryUnit::UnixSeconds,
            b"pxat" => ExpiryUnit::UnixMillis,
            _ => return None,
        })
    }

    /// Whether the time is a moment, not a distance.
    pub(super) fn is_absolute(self) -> bool {
        matches!(self, ExpiryUnit::UnixSeconds | ExpiryUnit::UnixMillis)
    }

    /// The moment in Unix milliseconds; `None` where it does not fit 63 bits.
    pub(super) fn moment(self, n: i64, now: UnixMillis) -> Option<i64> {
        let millis = match self {
            ExpiryUnit::Seconds | ExpiryUnit::UnixSeconds => n.checked_mul(1000)?,
            ExpiryUnit::Millis | ExpiryUnit::UnixMillis => n,
        };
        if self.is_absolute() {
            Some(millis)
        } else {
            millis.checked_add(i64::try_from(now.0).ok()?)
        }
    }
}

/// The expiry of `SET`, `SETEX`, `GETEX`, which must be positive. Unix milliseconds.
pub(super) fn positive_expiry(
    unit: ExpiryUnit,
    word: &[u8],
    now: UnixMillis,
    command: &str,
) -> Result<u64, Failure> {
    let n = integer(word)?;
    let moment = if n > 0 { unit.moment(n, now) } else { None };
    moment
        .and_then(|at| u64::try_from(at).ok())
        .ok_or_else(|| format!("ERR invalid expire time in '{command}' command").into())
}

/// The decimal text of a number, as an argument.
pub(super) fn number(n: u64) -> Word<'static> {
    Word::Own(Bytes::copy_from_slice(
        itoa::Buffer::new().format(n).as_bytes(),
    ))
}

/// A literal word.
pub(super) fn word(text: &'static str) -> Word<'static> {
    text.into()
}
