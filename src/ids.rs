//! Newtypes for names and numbers that must not be mixed up.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A sentinel epoch: the version of an election or, as a config epoch, of a master's address.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Epoch {
        Epoch(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A byte position in a replication history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplOffset(pub u64);

impl ReplOffset {
    /// Reads the one that a file or a peer names. No stream gets near the end of the 63 bits in which Redis counts:
    /// such an offset is none.
    pub fn from_text(text: &str) -> Option<ReplOffset> {
        const OFFSET_MAX: u64 = 1 << 62;
        let offset = text.parse().ok().filter(|offset| *offset <= OFFSET_MAX);
        offset.map(ReplOffset)
    }
}

impl fmt::Display for ReplOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                $name(Arc::from(text))
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Ok($name::from(&*text))
            }
        }
    };
}

text_id!(
    /// The permanent identity of a sentinel: 40 lower-case hex characters when we make it, any 40
    /// characters when a configuration gives it.
    SentinelId
);
text_id!(
    /// The identity of one run of a data server (`run_id` of INFO); new at every start.
    RunId
);
text_id!(
    /// The identity of a replication history (`master_replid` of INFO).
    ReplId
);
text_id!(
    /// The name under which a master is monitored. Case-sensitive.
    MasterName
);

impl SentinelId {
    /// Characters in an id.
    pub const LEN: usize = 40;
}

/// `N` random bytes as lower-case hex, twice as many characters.
pub fn random_hex<const N: usize>(rng: &mut impl rand::Rng) -> String {
    let mut bytes = [0_u8; N];
    rng.fill_bytes(&mut bytes);
    hex(&bytes)
}

/// Bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn hex_is_forty_characters() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let id = random_hex::<20>(&mut rng);
        assert_eq!(id.len(), SentinelId::LEN);
        assert!(
            id.bytes()
                .all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
        );
    }
}
