//! Sets: distinct members without order.

use super::Thresholds;
use super::bulk::Bulk;
use super::intset::IntSet;
use super::key::Key;
use super::table::Table;
use super::text::Element;
use crate::resp::canonical_integer;

/// The members of a key. A few integers lie in an intset; anything else in a table, for good.
#[derive(Clone, Debug)]
pub enum Set {
    /// Integers only.
    Integers(IntSet),
    /// The large form.
    Table(Table<Key>),
}

impl Default for Set {
    fn default() -> Set {
        Set::Integers(IntSet::default())
    }
}

impl Set {
    /// What `OBJECT ENCODING` calls the form.
    pub fn encoding(&self) -> &'static str {
        match self {
            Set::Integers(_) => "intset",
            Set::Table(_) => "hashtable",
        }
    }

    /// Members.
    pub fn len(&self) -> usize {
        match self {
            Set::Integers(set) => set.len(),
            Set::Table(table) => table.len(),
        }
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it has a member.
    pub fn contains(&self, member: &[u8]) -> bool {
        match self {
            Set::Integers(set) => canonical_integer(member).is_some_and(|n| set.contains(n)),
            Set::Table(table) => table.get(member).is_some(),
        }
    }

    /// Adds a member; false if it was there.
    pub fn insert(&mut self, member: &[u8], thresholds: &Thresholds) -> bool {
        match (&mut *self, canonical_integer(member)) {
            (Set::Integers(set), Some(n)) => {
                let is_new = set.insert(n);
                if set.len() > thresholds.intset_entries {
                    self.make_table();
                }
                return is_new;
            }
            (Set::Integers(_), None) => self.make_table(),
            (Set::Table(_), _) => {}
        }
        match self {
            Set::Integers(_) => unreachable!("it has just become a table"),
            Set::Table(table) => table.add(member, || Key::from(member)),
        }
    }

    /// Removes a member; false if it was not there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self {
            Set::Integers(set) => canonical_integer(member).is_some_and(|n| set.remove(n)),
            Set::Table(table) => table.remove(member).is_some(),
        }
    }

    /// All members, in no order (integers ascend).
    pub fn iter(&self) -> Box<dyn Iterator<Item = Element<'_>> + '_> {
        match self {
            Set::Integers(set) => Box::new(set.iter().map(Element::Integer)),
            Set::Table(table) => Box::new(table.iter().map(|key| Element::Bytes(key))),
        }
    }

    /// One step of `SSCAN`: about `count` members from `cursor` (all of them in the small form); returns the
    /// next cursor, 0 at the end.
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, mut each: impl FnMut(Element<'a>)) -> u64 {
        match self {
            Set::Integers(set) => {
                set.iter().for_each(|n| each(Element::Integer(n)));
                0
            }
            Set::Table(table) => table.scan(cursor, count, |key| each(Element::Bytes(key))),
        }
    }

    /// A member at random; `dice` is uniform. `None` only when there is none.
    pub fn random(&self, mut dice: impl FnMut() -> u64) -> Option<Element<'_>> {
        match self {
            Set::Integers(set) => {
                let len = u64::try_from(set.len()).expect("fits");
                let nth = usize::try_from(dice().checked_rem(len)?).expect("below a usize");
                Some(Element::Integer(set.get(nth)))
            }
            Set::Table(table) => table.random(dice).map(|key| Element::Bytes(key)),
        }
    }

    /// Bytes of memory beyond those of the `Set` itself. Of a table, an estimate from some of its members.
    pub fn heap_bytes(&self, samples: usize) -> usize {
        match self {
            Set::Integers(set) => set.heap_bytes(),
            Set::Table(table) => {
                table.heap_bytes()
                    + super::estimate(table.iter().map(Key::heap_bytes), table.len(), samples)
            }
        }
    }

    /// Gives it the large form.
    pub fn make_table(&mut self) {
        if let Set::Integers(set) = self {
            let mut table = Table::default();
            for n in set.iter() {
                table.insert(Key::from(itoa::Buffer::new().format(n).as_bytes()));
            }
            *self = Set::Table(table);
        }
    }
}

/// A set of which nothing is known yet but how many members come.
#[derive(Debug)]
pub struct SetBuilder {
    /// The members, until one comes that is no integer.
    integers: IntSet,
    table: Option<Bulk<Key>>,
    is_distinct: bool,
    len: usize,
}

impl SetBuilder {
    /// Nothing yet of so many members.
    pub fn new(len: usize, thresholds: &Thresholds) -> SetBuilder {
        SetBuilder {
            integers: IntSet::default(),
            table: (len > thresholds.intset_entries).then(|| Bulk::new(len)),
            is_distinct: true,
            len,
        }
    }

    /// Adds a member.
    pub fn push(&mut self, member: &[u8]) {
        match (&mut self.table, canonical_integer(member)) {
            (None, Some(n)) => self.is_distinct &= self.integers.insert(n),
            (table, _) => table
                .get_or_insert_with(|| {
                    let mut table = Bulk::new(self.len);
                    let mut digits = itoa::Buffer::new();
                    for n in self.integers.iter() {
                        table.push(Key::from(digits.format(n).as_bytes()));
                    }
                    table
                })
                .push(Key::from(member)),
        }
    }

    /// The set; `None` if a member has come twice.
    pub fn finish(self) -> Option<Set> {
        if !self.is_distinct {
            return None;
        }
        Some(match self.table {
            Some(table) => Set::Table(table.finish()?),
            None => Set::Integers(self.integers),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_changes_where_it_does_in_redis() {
        let thresholds = Thresholds::default();
        let mut set = Set::default();
        for n in 0..512 {
            assert!(set.insert(n.to_string().as_bytes(), &thresholds));
        }
        assert_eq!(set.encoding(), "intset");
        let mut other = set.clone();
        assert!(set.insert(b"512", &thresholds));
        assert_eq!(set.encoding(), "hashtable");
        assert!(other.remove(b"511") && other.insert(b"007", &thresholds));
        assert_eq!((other.encoding(), other.len()), ("hashtable", 512));
        assert!(!other.insert(b"510", &thresholds));
    }
}
