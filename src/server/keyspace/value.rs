//! What a key holds.

use std::sync::Arc;

use super::dense::Keyed;
use super::field::Field;
use super::hash::Hash;
use super::key::Key;
use super::list::{List, NodeLimit};
use super::ranked::Ranked;
use super::set::Set;
use super::sorted_set::{Scored, SortedSet};
use super::steps;
use super::table::Table;
use super::text::{EMBSTR_BYTES_MAX, Element, Long, Text};

/// A stored value. Each type of Redis that we can hold is one variant; it is `Send`, so that large values
/// can be dropped on another thread and keyspaces can be loaded on one.
#[derive(Clone, Debug)]
pub enum Value {
    /// A string.
    String(Text),
    /// A list.
    List(Box<List>),
    /// A set.
    Set(Box<Set>),
    /// A hash.
    Hash(Box<Hash>),
    /// A sorted set.
    SortedSet(Box<SortedSet>),
}

/// A large value at one moment, on its way into a file or to a replica.
#[derive(Clone, Debug)]
pub enum Image {
    /// A long string.
    Text(Arc<Long>),
    /// A list.
    List(List),
    /// The members of a set.
    Set(Table<Key>),
    /// The fields of a hash.
    Hash(Table<Field>),
    /// The members of a sorted set, in their order.
    SortedSet(Ranked<Scored>),
}

impl Image {
    /// About how many bytes its encoding takes: for bounding queues, no more.
    pub fn estimated_bytes(&self) -> usize {
        /// What a small element comes to.
        const ELEMENT_BYTES: usize = 16;
        /// Nodes of a list that are looked at.
        const SAMPLES: usize = 16;
        match self {
            Image::Text(text) => text.len(),
            Image::List(list) => {
                let nodes = list.nodes();
                let step = nodes.len().div_ceil(SAMPLES).max(1);
                let samples = nodes.iter().step_by(step);
                let bytes = samples.map(|node| node.as_bytes().len()).sum::<usize>();
                bytes * step
            }
            Image::Set(table) => table.len() * ELEMENT_BYTES,
            Image::Hash(table) => table.len() * 2 * ELEMENT_BYTES,
            Image::SortedSet(order) => order.len() * 2 * ELEMENT_BYTES,
        }
    }

    /// Whether dropping it takes long, where nothing else has it any more.
    pub fn is_slow_to_drop(&self) -> bool {
        match self {
            Image::Text(text) => text.len() > SLOW_TEXT_BYTES_MIN,
            Image::List(list) => list.nodes().len() > LARGE_ELEMENTS_MIN,
            Image::Set(table) => table.len() > LARGE_ELEMENTS_MIN,
            Image::Hash(table) => table.len() > LARGE_ELEMENTS_MIN,
            Image::SortedSet(order) => order.len() > LARGE_ELEMENTS_MIN,
        }
    }

    /// How many pieces it is in memory: one, or its nodes, or its groups of elements.
    pub fn pieces(&self) -> usize {
        match self {
            Image::Text(_) => 1,
            Image::List(list) => list.nodes().len(),
            Image::Set(table) => table.groups(),
            Image::Hash(table) => table.groups(),
            Image::SortedSet(order) => order.groups(),
        }
    }
}

/// Where the small forms of collections end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// `hash-max-listpack-entries`
    pub hash_entries: usize,
    /// `hash-max-listpack-value`, bytes.
    pub hash_value_bytes: usize,
    /// `set-max-intset-entries`
    pub intset_entries: usize,
    /// `zset-max-listpack-entries`
    pub sorted_set_entries: usize,
    /// `zset-max-listpack-value`, bytes.
    pub sorted_set_value_bytes: usize,
    /// `list-max-listpack-size`
    pub list_node: NodeLimit,
}

impl Thresholds {
    /// Redis's defaults.
    pub const DEFAULT: Thresholds = Thresholds {
        hash_entries: 512,
        hash_value_bytes: 64,
        intset_entries: 512,
        sorted_set_entries: 128,
        sorted_set_value_bytes: 64,
        list_node: NodeLimit::Bytes(8192),
    };
}

impl Default for Thresholds {
    fn default() -> Thresholds {
        Thresholds::DEFAULT
    }
}

/// A type of value, so that commands can ask for theirs.
pub trait Kind: Default {
    /// The value as this type.
    fn of(value: &Value) -> Option<&Self>;
    /// The value as this type, to be changed.
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    /// A value of this type.
    fn into_value(self) -> Value;
    /// Whether nothing is left in it; keys with empty collections go.
    fn has_nothing(&self) -> bool;
}

macro_rules! collection {
    ($kind:ident) => {
        impl Kind for $kind {
            fn of(value: &Value) -> Option<&$kind> {
                if let Value::$kind(found) = value {
                    Some(found)
                } else {
                    None
                }
            }

            fn of_mut(value: &mut Value) -> Option<&mut $kind> {
                if let Value::$kind(found) = value {
                    Some(found)
                } else {
                    None
                }
            }

            fn into_value(self) -> Value {
                Value::$kind(Box::new(self))
            }

            fn has_nothing(&self) -> bool {
                self.is_empty()
            }
        }
    };
}

collection!(List);
collection!(Set);
collection!(Hash);
collection!(SortedSet);

impl Default for Text {
    fn default() -> Text {
        Text::from_bytes(b"")
    }
}

impl Kind for Text {
    fn of(value: &Value) -> Option<&Text> {
        if let Value::String(text) = value {
            Some(text)
        } else {
            None
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Text> {
        if let Value::String(text) = value {
            Some(text)
        } else {
            None
        }
    }

    fn into_value(self) -> Value {
        Value::String(self)
    }

    /// An empty string is a value like any other.
    fn has_nothing(&self) -> bool {
        false
    }
}

impl Value {
    /// Reads a little of what is not in the value itself. What is returned says nothing.
    pub(super) fn touch(&self) -> usize {
        match self {
            Value::String(text) => text.touch(),
            Value::List(_) | Value::Set(_) | Value::Hash(_) | Value::SortedSet(_) => 0,
        }
    }

    /// Whether its elements are in a table, for [`Value::warm`].
    pub(super) fn has_table(&self) -> bool {
        match self {
            Value::Hash(hash) => matches!(**hash, Hash::Table(_)),
            Value::Set(set) => matches!(**set, Set::Table(_)),
            Value::SortedSet(set) => matches!(**set, SortedSet::Ranked(_)),
            Value::String(_) | Value::List(_) => false,
        }
    }

    /// Has the elements that these requests are about fetched from memory: the first word behind the key, or
    /// in a sorted set, where scores come before members, the last. What is returned says nothing.
    pub(super) fn warm<'a, W: AsRef<[u8]> + 'a>(
        &self,
        requests: impl Iterator<Item = &'a [W]>,
    ) -> usize {
        let behind_key = |words: &'a [W]| words.get(2).map(AsRef::as_ref);
        let last = |words: &'a [W]| words.last().map(AsRef::as_ref);
        match self {
            Value::Hash(hash) => match &**hash {
                Hash::Table(table) => table.warm(requests.filter_map(behind_key)),
                Hash::Packed(_) => 0,
            },
            Value::Set(set) => match &**set {
                Set::Table(table) => table.warm(requests.filter_map(behind_key)),
                Set::Integers(_) => 0,
            },
            Value::SortedSet(set) => match &**set {
                SortedSet::Ranked(ranking) => ranking.warm(requests.filter_map(last)),
                SortedSet::Packed(_) => 0,
            },
            Value::String(_) | Value::List(_) => 0,
        }
    }

    /// The name that `TYPE` and errors use.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::String(_) => "string",
            Value::List(_) => "list",
            Value::Set(_) => "set",
            Value::Hash(_) => "hash",
            Value::SortedSet(_) => "zset",
        }
    }

    /// What `OBJECT ENCODING` calls its form.
    pub fn encoding(&self) -> &'static str {
        match self {
            Value::String(Text::Integer(_)) => "int",
            Value::String(Text::Inline(..)) => "embstr",
            Value::String(Text::Short(text)) if text.len() <= EMBSTR_BYTES_MAX => "embstr",
            Value::String(_) => "raw",
            Value::List(list) => list.encoding(),
            Value::Set(set) => set.encoding(),
            Value::Hash(hash) => hash.encoding(),
            Value::SortedSet(set) => set.encoding(),
        }
    }

    /// A string value holding a copy of `bytes`.
    pub fn string(bytes: &[u8]) -> Value {
        Value::String(Text::from_bytes(bytes))
    }

    /// Elements; of a string, 1. What it costs to free it, in round numbers.
    pub fn elements(&self) -> usize {
        match self {
            Value::String(_) => 1,
            Value::List(list) => list.len(),
            Value::Set(set) => set.len(),
            Value::Hash(hash) => hash.len(),
            Value::SortedSet(set) => set.len(),
        }
    }

    /// What a snapshot takes of a value that it would take long to write out: cheap, because what is large is
    /// shared until it is changed. `None` for one that is better written at once.
    pub fn image(&self) -> Option<Image> {
        if !self.is_large() {
            return None;
        }
        Some(match self {
            Value::String(Text::Long(text)) => Image::Text(Arc::clone(text)),
            Value::String(_) => return None,
            Value::List(list) => Image::List((**list).clone()),
            Value::Set(set) => match &**set {
                Set::Table(table) => Image::Set(table.clone()),
                Set::Integers(_) => return None,
            },
            Value::Hash(hash) => match &**hash {
                Hash::Table(table) => Image::Hash(table.clone()),
                Hash::Packed(_) => return None,
            },
            Value::SortedSet(set) => match &**set {
                SortedSet::Ranked(ranking) => Image::SortedSet(ranking.order().clone()),
                SortedSet::Packed(_) => return None,
            },
        })
    }

    /// Whether it is many pieces, or so long that the kernel takes its memory back: dropping it takes long. Of a text
    /// that others have too, only a count goes down.
    pub fn is_slow_to_drop(&self) -> bool {
        match self {
            Value::String(text) => text.len() > SLOW_TEXT_BYTES_MIN && text.owners() == 1,
            Value::List(list) => list.nodes().len() > LARGE_ELEMENTS_MIN,
            Value::Set(_) | Value::Hash(_) | Value::SortedSet(_) => {
                self.has_table() && self.elements() > LARGE_ELEMENTS_MIN
            }
        }
    }

    /// Whether it takes long to write out: it is then saved away from the keyspace.
    pub fn is_large(&self) -> bool {
        match self {
            Value::String(text) => text.is_large(),
            Value::List(list) => match list.nodes().front() {
                Some(node) => list.nodes().len() > 1 || node.as_bytes().len() > LARGE_BYTES_MIN,
                None => false,
            },
            // A small form is one piece that every change moves as a whole: it is written as a whole, too.
            Value::Set(set) => match &**set {
                Set::Table(table) => is_large_table(table),
                Set::Integers(_) => false,
            },
            Value::Hash(hash) => match &**hash {
                Hash::Table(table) => is_large_table(table),
                Hash::Packed(_) => false,
            },
            Value::SortedSet(set) => match &**set {
                SortedSet::Ranked(ranking) => is_large_table(ranking.members()),
                SortedSet::Packed(_) => false,
            },
        }
    }

    /// About how many bytes snapshots have alone when it is dropped.
    pub(super) fn shared_bytes(&self) -> usize {
        match self {
            Value::String(text) => text.common_bytes(1),
            Value::List(list) => list.shared_bytes(),
            Value::Set(set) => match &**set {
                Set::Table(table) => table.shared_bytes(),
                Set::Integers(_) => 0,
            },
            Value::Hash(hash) => match &**hash {
                Hash::Table(table) => table.shared_bytes(),
                Hash::Packed(_) => 0,
            },
            Value::SortedSet(set) => match &**set {
                // Snapshots have its order, and no table.
                SortedSet::Ranked(ranking) => ranking.order().shared_bytes(),
                SortedSet::Packed(_) => 0,
            },
        }
    }

    /// Bytes of memory beyond those of the value itself; of large collections an estimate from this many of
    /// their elements.
    pub fn heap_bytes(&self, samples: usize) -> usize {
        match self {
            Value::String(text) => text.heap_bytes(),
            Value::List(list) => size_of::<List>() + list.heap_bytes(samples),
            Value::Set(set) => size_of::<Set>() + set.heap_bytes(samples),
            Value::Hash(hash) => size_of::<Hash>() + hash.heap_bytes(samples),
            Value::SortedSet(set) => size_of::<SortedSet>() + set.heap_bytes(samples),
        }
    }

    /// The same, but of what copies and snapshots have too only its fair part: if all of them are dropped, so much
    /// comes free in all. Bytes.
    pub fn fair_bytes(&self, samples: usize) -> usize {
        let bytes = self.heap_bytes(samples);
        match self {
            Value::String(text) => bytes / text.owners(),
            Value::List(list) => list.fair_part(bytes),
            Value::Set(set) => match &**set {
                Set::Table(table) => table.fair_part(bytes),
                Set::Integers(_) => bytes,
            },
            Value::Hash(hash) => match &**hash {
                Hash::Table(table) => table.fair_part(bytes),
                Hash::Packed(_) => bytes,
            },
            Value::SortedSet(set) => set.fair_bytes(samples),
        }
    }
}

/// Tables with no more elements are saved in place, if these are short.
const LARGE_ELEMENTS_MIN: usize = 64;
/// Collections of no more bytes are saved in place, if they are few elements.
const LARGE_BYTES_MIN: usize = 16 * 1024;
/// A text is one piece, so that only a very long one takes long to drop. Bytes.
const SLOW_TEXT_BYTES_MIN: usize = 1 << 20;

fn is_large_table<E: Keyed + Clone + Default>(table: &Table<E>) -> bool {
    let bytes_of = |entry: &E| entry.copied_bytes() + entry.common_bytes(0);
    table.len() > LARGE_ELEMENTS_MIN || table.iter().map(bytes_of).sum::<usize>() > LARGE_BYTES_MIN
}

/// Two values are equal when they have the same type and content, whatever their form.
impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::String(one), Value::String(two)) => one == two,
            (Value::List(one), Value::List(two)) => {
                one.len() == two.len()
                    && one
                        .iter_from(0)
                        .map(Element::to_vec)
                        .eq(two.iter_from(0).map(Element::to_vec))
            }
            (Value::Set(one), Value::Set(two)) => {
                one.len() == two.len() && one.iter().all(|member| two.contains(&member.to_vec()))
            }
            (Value::Hash(one), Value::Hash(two)) => {
                one.len() == two.len()
                    && one.iter().all(|(name, value)| {
                        two.get(&name.to_vec()).map(Element::to_vec) == Some(value.to_vec())
                    })
            }
            (Value::SortedSet(one), Value::SortedSet(two)) => {
                one.len() == two.len()
                    && one
                        .iter()
                        .map(|(member, score)| (member.to_vec(), score))
                        .eq(two.iter().map(|(member, score)| (member.to_vec(), score)))
            }
            (
                Value::String(_)
                | Value::List(_)
                | Value::Set(_)
                | Value::Hash(_)
                | Value::SortedSet(_),
                _,
            ) => false,
        }
    }
}

/// What `len` elements come to, from the first `samples` of them; 0 samples: all.
pub fn estimate(sizes: impl Iterator<Item = usize>, len: usize, samples: usize) -> usize {
    let wanted = if samples == 0 { len } else { samples.min(len) };
    steps::count(wanted);
    let sum: usize = sizes.take(wanted).sum();
    sum.saturating_mul(len).checked_div(wanted).unwrap_or(0)
}
