//! Hashes: fields and their values.

use super::Thresholds;
use super::bulk::Bulk;
use super::field::Field;
use super::listpack::{LISTPACK_BYTES_MAX, Listpack};
use super::table::Table;
use super::text::Element;

/// More than what a listpack needs around a field and its value.
const ROOM_BYTES: usize = 64;

/// The fields of a key. A few small ones lie in a listpack; many or long ones in a table, for good.
#[derive(Clone, Debug)]
pub enum Hash {
    /// Fields and values in turn.
    Packed(Listpack),
    /// The large form.
    Table(Table<Field>),
}

impl Default for Hash {
    fn default() -> Hash {
        Hash::Packed(Listpack::default())
    }
}

impl Hash {
    /// The fields and values of a listpack, in the form for so many of them, however long they are; `None` if a field
    /// comes twice.
    pub fn from_pack(pack: Listpack, thresholds: &Thresholds) -> Option<Hash> {
        if !pack.are_names_distinct() {
            return None;
        }
        if pack.len() / 2 <= thresholds.hash_entries {
            return Some(Hash::Packed(pack));
        }
        Some(Hash::Table(fields_of(&pack).finish()?))
    }

    /// What `OBJECT ENCODING` calls the form.
    pub fn encoding(&self) -> &'static str {
        match self {
            Hash::Packed(_) => "listpack",
            Hash::Table(_) => "hashtable",
        }
    }

    /// Fields.
    pub fn len(&self) -> usize {
        match self {
            Hash::Packed(pack) => pack.len() / 2,
            Hash::Table(table) => table.len(),
        }
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a field.
    pub fn get(&self, name: &[u8]) -> Option<Element<'_>> {
        match self {
            Hash::Packed(pack) => {
                let at = pack.next(pack.find(name, 1)?)?;
                Some(pack.get(at))
            }
            Hash::Table(table) => table.get(name).map(Field::value),
        }
    }

    /// Sets a field; true if it is new.
    pub fn set(&mut self, name: &[u8], value: &[u8], thresholds: &Thresholds) -> bool {
        let is_small = |bytes: &[u8]| bytes.len() <= thresholds.hash_value_bytes;
        if !is_small(name) || !is_small(value) || !self.has_room(name.len() + value.len()) {
            self.make_table();
        }
        match self {
            Hash::Packed(pack) => {
                if let Some(at) = pack.find(name, 1).and_then(|at| pack.next(at)) {
                    pack.replace(at, value);
                    return false;
                }
                pack.insert(None, &[name, value]);
                if pack.len() / 2 > thresholds.hash_entries {
                    self.make_table();
                }
                true
            }
            Hash::Table(table) => {
                table.upsert(name, |field| field.set(value), || Field::new(name, value))
            }
        }
    }

    /// Whether the small form, if it has that, can become so much longer.
    fn has_room(&self, bytes: usize) -> bool {
        match self {
            Hash::Packed(pack) => {
                pack.as_bytes().len().saturating_add(bytes) < LISTPACK_BYTES_MAX - ROOM_BYTES
            }
            Hash::Table(_) => true,
        }
    }

    /// Removes a field; false if there was none.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        match self {
            Hash::Packed(pack) => {
                let Some(at) = pack.find(name, 1) else {
                    return false;
                };
                pack.remove(at, 2);
                true
            }
            Hash::Table(table) => table.remove(name).is_some(),
        }
    }

    /// All fields and values, in no order.
    pub fn iter(&self) -> Box<dyn Iterator<Item = (Element<'_>, Element<'_>)> + '_> {
        match self {
            Hash::Packed(pack) => Box::new(pack.pairs()),
            Hash::Table(table) => Box::new(table.iter().map(pair)),
        }
    }

    /// One step of `HSCAN`: about `count` fields from `cursor` (all of them in the small form); returns the
    /// next cursor, 0 at the end.
    pub fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        mut each: impl FnMut(Element<'a>, Element<'a>),
    ) -> u64 {
        match self {
            Hash::Packed(pack) => {
                pack.pairs().for_each(|(name, value)| each(name, value));
                0
            }
            Hash::Table(table) => table.scan(cursor, count, |field| {
                let (name, value) = pair(field);
                each(name, value);
            }),
        }
    }

    /// A field at random; `dice` is uniform. `None` only when there is none.
    pub fn random(&self, mut dice: impl FnMut() -> u64) -> Option<(Element<'_>, Element<'_>)> {
        match self {
            Hash::Packed(pack) => {
                let len = u64::try_from(self.len()).expect("fits");
                let nth = usize::try_from(dice().checked_rem(len)?).expect("below a usize");
                let at = pack.nth(nth * 2)?;
                Some((pack.get(at), pack.get(pack.next(at)?)))
            }
            Hash::Table(table) => table.random(dice).map(pair),
        }
    }

    /// Bytes of memory beyond those of the `Hash` itself. Of a table, an estimate from some of its fields.
    pub fn heap_bytes(&self, samples: usize) -> usize {
        match self {
            Hash::Packed(pack) => pack.heap_bytes(),
            Hash::Table(table) => {
                table.heap_bytes()
                    + super::estimate(table.iter().map(Field::heap_bytes), table.len(), samples)
            }
        }
    }

    /// Gives it the large form.
    pub fn make_table(&mut self) {
        if let Hash::Packed(pack) = self {
            let mut table = Table::default();
            for (name, value) in pack.pairs() {
                table.insert(Field::new(
                    name.bytes(&mut itoa::Buffer::new()),
                    value.bytes(&mut itoa::Buffer::new()),
                ));
            }
            *self = Hash::Table(table);
        }
    }
}

fn fields_of(pack: &Listpack) -> Bulk<Field> {
    let (mut name_digits, mut value_digits) = (itoa::Buffer::new(), itoa::Buffer::new());
    pack.pairs()
        .map(|(name, value)| {
            Field::new(name.bytes(&mut name_digits), value.bytes(&mut value_digits))
        })
        .collect()
}

/// A hash of which nothing is known yet but how many fields come.
#[derive(Debug)]
pub struct HashBuilder {
    /// The fields in the small form, until one comes that does not fit in there.
    pack: Listpack,
    table: Option<Bulk<Field>>,
}

impl HashBuilder {
    /// Nothing yet of so many fields.
    pub fn new(len: usize, thresholds: &Thresholds) -> HashBuilder {
        HashBuilder {
            pack: Listpack::default(),
            table: (len > thresholds.hash_entries).then(|| Bulk::new(len)),
        }
    }

    /// Adds a field.
    pub fn push(&mut self, name: &[u8], value: &[u8], thresholds: &Thresholds) {
        let longest = name.len().max(value.len());
        let bytes = self.pack.as_bytes().len() + name.len() + value.len();
        let fits =
            longest <= thresholds.hash_value_bytes && bytes < LISTPACK_BYTES_MAX - ROOM_BYTES;
        match &mut self.table {
            None if fits => self.pack.insert(None, &[name, value]),
            table => table
                .get_or_insert_with(|| fields_of(&self.pack))
                .push(Field::new(name, value)),
        }
    }

    /// The hash; `None` if a field has come twice.
    pub fn finish(self, thresholds: &Thresholds) -> Option<Hash> {
        match self.table {
            Some(table) => Some(Hash::Table(table.finish()?)),
            None => Hash::from_pack(self.pack, thresholds),
        }
    }
}

fn pair(field: &Field) -> (Element<'_>, Element<'_>) {
    (Element::Bytes(field.name()), field.value())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_changes_where_it_does_in_redis() {
        let thresholds = Thresholds::default();
        let mut hash = Hash::default();
        for n in 0..512 {
            hash.set(format!("f{n}").as_bytes(), b"v", &thresholds);
        }
        hash.set(b"f0", &[b'x'; 64], &thresholds);
        assert_eq!(hash.encoding(), "listpack");
        hash.set(b"one more", b"v", &thresholds);
        assert_eq!(hash.encoding(), "hashtable");
        for (name, value) in [(64, 65), (65, 64)] {
            let mut hash = Hash::default();
            hash.set(&vec![b'n'; name], &vec![b'v'; value], &thresholds);
            assert_eq!(hash.encoding(), "hashtable");
        }
    }
}
