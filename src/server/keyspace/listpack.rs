//! Redis's listpack: a few small elements one behind the other, in the very bytes that RDB files hold.
//!
//! Small hashes, sorted sets and the nodes of lists are stored so; saving one is a copy.
//!
//! ```text
//! u32 bytes in all (LE) │ u16 elements (LE; 65535: count them) │ element … │ ff
//! element: encoding and data │ their length, written so that it can be read backwards
//! ```

use std::collections::HashSet;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use super::steps;
use super::text::Element;
use crate::resp::canonical_integer;

const HEAD_BYTES: usize = 6;
const END: u8 = 0xff;
/// This many elements or more are not counted in the head.
const COUNT_UNKNOWN: usize = 65535;

/// The longest that a listpack may become; its head has 32 bits, and Redis stops at a gigabyte.
pub const LISTPACK_BYTES_MAX: usize = 1 << 30;

/// The elements.
#[derive(Debug)]
pub struct Listpack {
    /// Room for elements that come first, and the listpack behind it.
    buffer: Vec<u8>,
    /// Where the listpack begins.
    start: usize,
}

/// Where an element begins. Good until the listpack changes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(usize);

/// The bytes are no listpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a malformed listpack")]
pub struct Malformed;

impl Default for Listpack {
    fn default() -> Listpack {
        let mut bytes = vec![0; HEAD_BYTES];
        bytes.push(END);
        let mut empty = Listpack::of_buffer(bytes);
        empty.set_head(0);
        empty
    }
}

/// Without the room of the original.
impl Clone for Listpack {
    fn clone(&self) -> Listpack {
        steps::count(self.as_bytes().len());
        Listpack::of_buffer(self.as_bytes().to_vec())
    }
}

impl PartialEq for Listpack {
    fn eq(&self, other: &Listpack) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Listpack {}

impl Listpack {
    /// Up to this one is small, and grows by little. Bytes.
    const SMALL_BYTES: usize = 1024;

    /// A listpack of one element.
    pub fn of(element: &[u8]) -> Listpack {
        let mut pack = Listpack::default();
        pack.push(element);
        pack
    }

    fn of_buffer(buffer: Vec<u8>) -> Listpack {
        Listpack { buffer, start: 0 }
    }

    /// Takes over bytes from a file or a peer, after a look at each of them.
    ///
    /// # Errors
    /// They are no listpack, or its head is wrong.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Listpack, Malformed> {
        let claimed = bytes.first_chunk::<4>().ok_or(Malformed)?;
        if u32::from_le_bytes(*claimed) as usize != bytes.len() || bytes.len() <= HEAD_BYTES {
            return Err(Malformed);
        }
        let mut at = HEAD_BYTES;
        let mut count = 0_usize;
        while bytes[at] != END {
            let len = checked_len(&bytes[at..]).ok_or(Malformed)?;
            let end = at + len + back_len(len);
            // The end mark must follow somewhere.
            if end >= bytes.len() {
                return Err(Malformed);
            }
            // Nearly always it is one byte, which is the length.
            let is_right = match &bytes[at + len..end] {
                [byte] => usize::from(*byte) == len,
                found => {
                    let (want, back) = back_bytes(len);
                    *found == want[..back]
                }
            };
            if !is_right {
                return Err(Malformed);
            }
            at = end;
            count += 1;
        }
        let counted = usize::from(u16::from_le_bytes([bytes[4], bytes[5]]));
        if at + 1 != bytes.len() || (counted != COUNT_UNKNOWN && counted != count) {
            return Err(Malformed);
        }
        Ok(Listpack::of_buffer(bytes))
    }

    /// These elements, of which those in text that are numbers become numbers; `None` for more than a listpack may
    /// hold. Room is made for so many bytes of them at first.
    pub fn from_elements<'a>(
        elements: impl Iterator<Item = Element<'a>>,
        room: usize,
    ) -> Option<Listpack> {
        let mut buffer = Vec::with_capacity(HEAD_BYTES + room + 1);
        buffer.resize(HEAD_BYTES, 0);
        let mut count = 0;
        for element in elements {
            match element {
                Element::Integer(n) => {
                    Encoded::of_integer(n).append_to(&mut buffer);
                }
                Element::Bytes(bytes) if bytes.len() < LISTPACK_BYTES_MAX => {
                    encode(bytes, &mut buffer);
                }
                Element::Bytes(_) => return None,
            }
            if buffer.len() >= LISTPACK_BYTES_MAX {
                return None;
            }
            count += 1;
        }
        buffer.push(END);
        buffer.shrink_to_fit();
        let mut pack = Listpack::of_buffer(buffer);
        pack.set_head(count);
        Some(pack)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Bytes of memory that it holds.
    pub fn heap_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// Makes room for so many bytes in all: in front of the elements, or behind them.
    pub fn open(&mut self, bytes: usize, in_front: bool) {
        let room = bytes.saturating_sub(self.as_bytes().len());
        if !in_front {
            self.buffer.reserve_exact(room);
        } else if self.start < room {
            self.open_front(room);
        }
    }

    /// Gives back room for more elements, unless it is too little for that.
    pub fn settle(&mut self) {
        let len = self.as_bytes().len();
        if self.buffer.capacity() - len > len / 16 {
            self.close_front();
            self.buffer.shrink_to_fit();
        }
    }

    /// Elements. Counts them where the head does not say.
    pub fn len(&self) -> usize {
        let head = &self.as_bytes()[..HEAD_BYTES];
        match usize::from(u16::from_le_bytes([head[4], head[5]])) {
            COUNT_UNKNOWN => self.iter().count(),
            count => count,
        }
    }

    /// True without elements.
    pub fn is_empty(&self) -> bool {
        steps::count(1);
        self.as_bytes()[HEAD_BYTES] == END
    }

    /// The first element's place.
    pub fn first(&self) -> Option<Place> {
        (!self.is_empty()).then_some(Place(HEAD_BYTES))
    }

    /// The last element's place.
    pub fn last(&self) -> Option<Place> {
        self.before(self.end())
    }

    /// Where the end mark is.
    fn end(&self) -> usize {
        self.as_bytes().len() - 1
    }

    /// The place after this one.
    pub fn next(&self, at: Place) -> Option<Place> {
        let next = at.0 + self.whole_len(at);
        (self.as_bytes()[next] != END).then_some(Place(next))
    }

    /// Whether there is no other element.
    pub fn is_only(&self, at: Place) -> bool {
        at.0 == HEAD_BYTES && self.next(at).is_none()
    }

    /// The place before this one.
    fn prev(&self, at: Place) -> Option<Place> {
        self.before(at.0)
    }

    /// The place of element `index`, counted from whichever end is nearer.
    pub fn nth(&self, index: usize) -> Option<Place> {
        let len = self.len();
        if index >= len {
            return None;
        }
        if index <= len / 2 {
            let mut place = self.first()?;
            for _ in 0..index {
                place = self.next(place)?;
            }
            Some(place)
        } else {
            let mut place = self.last()?;
            for _ in index + 1..len {
                place = self.prev(place)?;
            }
            Some(place)
        }
    }

    /// What is there.
    pub fn get(&self, at: Place) -> Element<'_> {
        let found = decode(&self.as_bytes()[at.0..]);
        found.expect("a listpack is checked when it comes in").0
    }

    /// All elements.
    pub fn iter(&self) -> impl Iterator<Item = Element<'_>> {
        let mut rest = &self.as_bytes()[HEAD_BYTES..];
        std::iter::from_fn(move || {
            let (element, len) = decode(rest)?;
            rest = &rest[len + back_len(len)..];
            Some(element)
        })
    }

    /// All places.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        std::iter::successors(self.first(), |at| self.next(*at))
    }

    /// All elements in pairs: fields and values, members and scores. An odd one out is left out.
    pub fn pairs(&self) -> impl Iterator<Item = (Element<'_>, Element<'_>)> {
        let mut elements = self.iter();
        std::iter::from_fn(move || Some((elements.next()?, elements.next()?)))
    }

    /// Whether no two of the first elements of pairs, fields or members, are the same.
    pub fn are_names_distinct(&self) -> bool {
        /// Two of so many are looked for before there are more, and of twice as many then: what is nothing but the
        /// same one costs no memory.
        const LOOK_AT: usize = 1024;
        let names = || self.pairs().map(|(name, _)| name.as_number_if_one());
        if self.len() / 2 <= FEW && are_few_distinct(names()) {
            return true;
        }
        let hasher = RandomState::default();
        let mut hashes: Vec<u64> = Vec::with_capacity(LOOK_AT.min(self.len() / 2));
        let mut look_at = LOOK_AT;
        let have_two = |hashes: &mut Vec<u64>| {
            hashes.sort_unstable();
            !hashes.is_sorted_by(|one, next| one < next)
        };
        for name in names() {
            hashes.push(match name {
                Element::Integer(n) => hasher.hash_one(n),
                Element::Bytes(bytes) => hasher.hash_one(bytes),
            });
            if hashes.len() == look_at {
                if have_two(&mut hashes) {
                    break;
                }
                look_at *= 2;
            }
        }
        if !have_two(&mut hashes) {
            return true;
        }
        // Two have the same hash, which all but always means that they are the same.
        let mut seen = HashSet::new();
        names().all(|name| seen.insert(name))
    }

    /// The places of the first elements of all pairs.
    pub fn pair_places(&self) -> impl Iterator<Item = Place> + '_ {
        let whole = |at: Place| self.next(at).is_some();
        let first = self.first().filter(|at| whole(*at));
        std::iter::successors(first, move |at| {
            let second = self.next(*at)?;
            self.next(second).filter(|at| whole(*at))
        })
    }

    /// The first place at which `bytes` stand, looking at one element and skipping `skip` after it.
    pub fn find(&self, bytes: &[u8], skip: usize) -> Option<Place> {
        let number = canonical_integer(bytes);
        let mut place = self.first();
        while let Some(at) = place {
            let is_it = match self.get(at) {
                Element::Integer(n) => number == Some(n),
                Element::Bytes(found) => found == bytes,
            };
            if is_it {
                return Some(at);
            }
            place = self.next(at);
            for _ in 0..skip {
                place = self.next(place?);
            }
        }
        None
    }

    /// Appends an element.
    pub fn push(&mut self, bytes: &[u8]) {
        let count = self.len() + 1;
        let new = Encoded::of(bytes);
        self.make_room(new.len());
        self.buffer.pop();
        new.append_to(&mut self.buffer);
        self.buffer.push(END);
        self.set_head(count);
    }

    /// Puts an element first.
    pub fn push_front(&mut self, bytes: &[u8]) {
        let new = Encoded::of(bytes);
        if self.start < new.len() {
            if self.as_bytes().len() <= Self::SMALL_BYTES {
                return self.splice(HEAD_BYTES, 0, &[bytes], 0);
            }
            self.open_front(new.len().max(self.as_bytes().len() / 2));
        }
        let count = self.len() + 1;
        self.start -= new.len();
        let at = self.start + HEAD_BYTES;
        new.write_to(&mut self.buffer[at..at + new.len()]);
        self.set_head(count);
    }

    /// Makes room for so many bytes at the front.
    fn open_front(&mut self, room: usize) {
        let mut buffer = Vec::with_capacity(room + self.as_bytes().len());
        buffer.resize(room, 0);
        buffer.extend_from_slice(self.as_bytes());
        (self.buffer, self.start) = (buffer, room);
    }

    /// Gives up the room at the front.
    fn close_front(&mut self) {
        self.buffer.drain(..self.start);
        self.start = 0;
    }

    /// Puts elements before the one at `at`; at the end for `None`.
    pub fn insert(&mut self, at: Option<Place>, elements: &[&[u8]]) {
        let at = at.map_or(self.end(), |at| at.0);
        self.splice(at, 0, elements, 0);
    }

    /// Replaces the element at `at`.
    pub fn replace(&mut self, at: Place, bytes: &[u8]) {
        let len = self.whole_len(at);
        self.splice(at.0, len, &[bytes], 1);
    }

    /// Removes `count` elements from `at` on, as far as there are so many.
    pub fn remove(&mut self, at: Place, count: usize) {
        let mut end = at.0;
        let mut removed = 0;
        while removed < count && self.as_bytes()[end] != END {
            end += self.whole_len(Place(end));
            removed += 1;
        }
        if at.0 == HEAD_BYTES && self.as_bytes().len() > Self::SMALL_BYTES {
            let count = self.len() - removed;
            self.start += end - at.0;
            if self.start > self.as_bytes().len() {
                self.close_front();
                self.shrink_if_idle();
            }
            self.set_head(count);
        } else if end == self.end() {
            let count = self.len() - removed;
            self.buffer.truncate(self.start + at.0);
            self.buffer.push(END);
            self.shrink_if_idle();
            self.set_head(count);
        } else {
            self.splice(at.0, end - at.0, &[], removed);
        }
    }

    /// Moves the elements from `at` on into a listpack of their own.
    pub fn split_off(&mut self, at: Place) -> Listpack {
        let len = self.len();
        let head = std::iter::successors(self.first(), |place| self.next(*place))
            .take_while(|place| *place < at)
            .count();
        let mut other = Listpack::default();
        other.buffer.truncate(HEAD_BYTES);
        other.buffer.extend_from_slice(&self.as_bytes()[at.0..]);
        other.set_head(len - head);
        self.buffer.truncate(self.start + at.0);
        self.buffer.push(END);
        self.set_head(head);
        other
    }

    /// Appends all elements of another one.
    pub fn append(&mut self, other: &Listpack) {
        let len = self.len() + other.len();
        self.buffer.pop();
        self.buffer
            .extend_from_slice(&other.as_bytes()[HEAD_BYTES..]);
        self.set_head(len);
    }

    fn before(&self, end: usize) -> Option<Place> {
        if end == HEAD_BYTES {
            return None;
        }
        let mut len = 0_usize;
        let mut shift = 0;
        let mut at = end;
        loop {
            at -= 1;
            let byte = self.as_bytes()[at];
            len |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        Some(Place(at - len))
    }

    /// Bytes of an element with its length behind it.
    fn whole_len(&self, at: Place) -> usize {
        let len =
            checked_len(&self.as_bytes()[at.0..]).expect("a listpack is checked when it comes in");
        len + back_len(len)
    }

    /// Replaces bytes that are `removed` whole elements by others.
    fn splice(&mut self, at: usize, bytes: usize, elements: &[&[u8]], removed: usize) {
        let count = self.len() - removed + elements.len();
        let fits = || elements.iter().map(|e| encoded_len(e)).sum::<usize>() <= bytes;
        let at = self.start + at;
        let added = if bytes > 0 && fits() {
            let mut new = Vec::new();
            elements.iter().for_each(|e| encode(e, &mut new));
            self.buffer[at..at + new.len()].copy_from_slice(&new);
            self.buffer.drain(at + new.len()..at + bytes);
            new.len()
        } else {
            // The new bytes are made at the end, where there is room for any length.
            let end = self.buffer.len();
            self.make_room(elements.iter().map(|e| room_for(e)).sum());
            elements.iter().for_each(|e| encode(e, &mut self.buffer));
            let added = self.buffer.len() - end;
            self.buffer[at + bytes..].rotate_right(added);
            self.buffer.drain(at..at + bytes);
            added
        };
        if added < bytes {
            self.shrink_if_idle();
        }
        self.set_head(count);
    }

    /// Gives back room when more than half is not used.
    fn shrink_if_idle(&mut self) {
        let len = self.as_bytes().len();
        if self.buffer.capacity() > 2 * len {
            self.close_front();
            self.buffer.shrink_to(len + len / 4);
        }
    }

    /// Makes room for so many bytes and some more: an eighth of what is there while that is small, so that little is
    /// wasted on those that stay so, and half of it later, so that those that grow are seldom moved.
    fn make_room(&mut self, bytes: usize) {
        if self.buffer.capacity() - self.buffer.len() < bytes {
            let len = self.as_bytes().len();
            let more = if len <= Self::SMALL_BYTES {
                len / 8
            } else {
                len / 2
            };
            self.buffer.reserve_exact(bytes.max(more));
        }
    }

    fn set_head(&mut self, count: usize) {
        let bytes = u32::try_from(self.as_bytes().len()).expect("within LISTPACK_BYTES_MAX");
        let count = u16::try_from(count.min(COUNT_UNKNOWN)).expect("just bounded");
        let head = &mut self.buffer[self.start..];
        head[..4].copy_from_slice(&bytes.to_le_bytes());
        head[4..6].copy_from_slice(&count.to_le_bytes());
    }
}

/// The longest length behind an element.
const BACK_BYTES_MAX: usize = 5;
/// An encoding with the longest length, and the longest length behind it.
const AROUND_BYTES_MAX: usize = 5 + BACK_BYTES_MAX;

/// Of so many names two fall on the same of [`are_few_distinct`]'s bits in one of nine cases, of twenty in one of ninety.
const FEW: usize = 64;

/// Whether names are distinct by their hashes alone. False says nothing: two that differ may have fallen on the same bit.
fn are_few_distinct<'a>(names: impl Iterator<Item = Element<'a>>) -> bool {
    thread_local! {
        static HASHER: foldhash::fast::RandomState = foldhash::fast::RandomState::default();
    }
    const WORDS: usize = 256;
    let mut seen = [0_u64; WORDS];
    HASHER.with(|hasher| {
        for name in names {
            let hash = match name {
                Element::Integer(n) => hasher.hash_one(n),
                Element::Bytes(bytes) => hasher.hash_one(bytes),
            };
            let [word, bit, ..] = hash.to_le_bytes().map(usize::from);
            let (word, bit) = (&mut seen[word % WORDS], 1 << (bit % 64));
            if *word & bit != 0 {
                return false;
            }
            *word |= bit;
        }
        true
    })
}

/// At least the bytes that an element adds to a listpack, whatever it is.
fn room_for(bytes: &[u8]) -> usize {
    bytes.len() + AROUND_BYTES_MAX
}

/// Bytes that an element adds to a listpack.
pub(super) fn encoded_len(bytes: &[u8]) -> usize {
    Encoded::of(bytes).len()
}

fn integer_len(n: i64) -> usize {
    match n {
        0..=127 => 1,
        -4096..=4095 => 2,
        -32768..=32767 => 3,
        -8_388_608..=8_388_607 => 4,
        -2_147_483_648..=2_147_483_647 => 5,
        _ => 9,
    }
}

/// Bytes of encoding and data of the element at the start of `bytes`; `None` where they are malformed.
fn checked_len(bytes: &[u8]) -> Option<usize> {
    decode(bytes).map(|(_, len)| len)
}

/// The element at the start of `bytes`, and the bytes of its encoding and data; `None` at the end mark, and where they
/// are malformed.
fn decode(bytes: &[u8]) -> Option<(Element<'_>, usize)> {
    let first = *bytes.first()?;
    let text = |head: usize, len: usize| {
        let text = bytes.get(head..head.checked_add(len)?)?;
        Some((Element::Bytes(text), head + len))
    };
    let little = |n: usize| {
        let mut wide = [0_u8; 8];
        wide[..n].copy_from_slice(bytes.get(1..=n)?);
        let unused = 64 - 8 * u32::try_from(n).expect("at most 8");
        let integer = (i64::from_le_bytes(wide) << unused) >> unused;
        Some((Element::Integer(integer), 1 + n))
    };
    match first {
        0x00..=0x7f => Some((Element::Integer(i64::from(first)), 1)),
        0x80..=0xbf => text(1, usize::from(first & 0x3f)),
        0xc0..=0xdf => {
            let n = i64::from(first & 0x1f) << 8 | i64::from(*bytes.get(1)?);
            Some((Element::Integer((n << 51) >> 51), 2))
        }
        0xe0..=0xef => text(
            2,
            usize::from(first & 0x0f) << 8 | usize::from(*bytes.get(1)?),
        ),
        0xf0 => {
            let len = u32::from_le_bytes(*bytes.get(1..)?.first_chunk()?);
            text(5, len as usize)
        }
        0xf1 => little(2),
        0xf2 => little(3),
        0xf3 => little(4),
        0xf4 => little(8),
        _ => None,
    }
}

/// The bytes of an element in a listpack, of which what is long is where it was.
struct Encoded<'a> {
    /// The encoding, with the integer or the length of the text.
    head: [u8; 9],
    head_len: usize,
    text: &'a [u8],
    back: [u8; BACK_BYTES_MAX],
    back_len: usize,
}

impl Encoded<'_> {
    fn of(bytes: &[u8]) -> Encoded<'_> {
        if let Some(n) = canonical_integer(bytes) {
            return Encoded::of_integer(n);
        }
        let len = bytes.len();
        let mut head = [0; 9];
        let head_len = if len < 64 {
            head[0] = 0x80 | low_byte(len);
            1
        } else if len < 4096 {
            head[..2].copy_from_slice(&[0xe0 | low_byte(len >> 8), low_byte(len)]);
            2
        } else {
            head[0] = 0xf0;
            let len = u32::try_from(len).expect("within LISTPACK_BYTES_MAX");
            head[1..5].copy_from_slice(&len.to_le_bytes());
            5
        };
        Encoded::new(head, head_len, bytes)
    }

    fn of_integer(n: i64) -> Encoded<'static> {
        let bytes = n.to_le_bytes();
        let mut head = [0; 9];
        let len = integer_len(n);
        head[0] = match len {
            1 => bytes[0],
            2 => 0xc0 | (bytes[1] & 0x1f),
            3 => 0xf1,
            4 => 0xf2,
            5 => 0xf3,
            _ => 0xf4,
        };
        head[1..len].copy_from_slice(&bytes[..len - 1]);
        Encoded::new(head, len, &[])
    }

    fn new(head: [u8; 9], head_len: usize, text: &[u8]) -> Encoded<'_> {
        let (back, back_len) = back_bytes(head_len + text.len());
        Encoded {
            head,
            head_len,
            text,
            back,
            back_len,
        }
    }

    fn len(&self) -> usize {
        self.head_len + self.text.len() + self.back_len
    }

    fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head[..self.head_len]);
        out.extend_from_slice(self.text);
        out.extend_from_slice(&self.back[..self.back_len]);
    }

    /// Fills exactly its length.
    fn write_to(&self, room: &mut [u8]) {
        let (head, rest) = room.split_at_mut(self.head_len);
        let (text, back) = rest.split_at_mut(self.text.len());
        head.copy_from_slice(&self.head[..self.head_len]);
        text.copy_from_slice(self.text);
        back.copy_from_slice(&self.back[..self.back_len]);
    }
}

fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    Encoded::of(bytes).append_to(out);
}

/// How many bytes say the length `len` behind an element. The bounds are Redis's, one below what fits.
fn back_len(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..=16382 => 2,
        16383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    }
}

/// Those bytes, and how many they are.
fn back_bytes(len: usize) -> ([u8; BACK_BYTES_MAX], usize) {
    let mut bytes = [0; BACK_BYTES_MAX];
    let count = back_len(len);
    for (at, byte) in bytes[..count].iter_mut().enumerate() {
        let more = if at == 0 { 0 } else { 0x80 };
        *byte = low_byte(len >> (7 * (count - 1 - at))) & 0x7f | more;
    }
    (bytes, count)
}

fn low_byte(n: usize) -> u8 {
    n.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(pack: &Listpack) -> Vec<Vec<u8>> {
        pack.iter().map(Element::to_vec).collect()
    }

    #[test]
    fn the_bytes_are_those_of_redis() {
        let mut pack = Listpack::default();
        for word in ["a", "1", "-5", "200"] {
            pack.push(word.as_bytes());
        }
        let want = [
            0x12, 0, 0, 0, 4, 0, 0x81, 0x61, 2, 1, 1, 0xdf, 0xfb, 2, 0xc0, 0xc8, 2, 0xff,
        ];
        assert_eq!(pack.as_bytes(), want);
    }

    #[test]
    fn growth_is_by_little() {
        let mut pack = Listpack::default();
        let mut moves = 0;
        for n in 0..400 {
            let before = pack.heap_bytes();
            pack.insert(None, &[format!("field:{n}").as_bytes(), b"value"]);
            moves += usize::from(pack.heap_bytes() != before);
            let len = pack.as_bytes().len();
            let room = pack.heap_bytes() - len;
            let is_small = len <= Listpack::SMALL_BYTES;
            assert!(
                room <= len / if is_small { 8 } else { 2 } + 20,
                "{room} after {n}"
            );
        }
        assert!(moves < 45, "{moves}");
        let mut pack = Listpack::of(&[b'x'; 64]);
        let before = pack.heap_bytes();
        pack.replace(pack.first().unwrap(), &[b'y'; 64]);
        assert_eq!(
            pack.heap_bytes(),
            before,
            "a replacement as long needs no room"
        );
    }

    #[test]
    fn a_long_one_is_seldom_moved_whichever_end_it_grows_and_shrinks_at() {
        let mut pack = Listpack::default();
        let mut buffers = 0;
        let mut last = pack.buffer.as_ptr();
        let mut is_new = |pack: &Listpack| {
            let before = std::mem::replace(&mut last, pack.buffer.as_ptr());
            buffers += usize::from(before != last);
        };
        for _ in 0..100 {
            pack.push(&[b'x'; 64]);
        }
        for n in 0..1000_i64 {
            if n % 3 == 0 {
                pack.push(n.to_string().as_bytes());
            } else {
                pack.push_front(n.to_string().as_bytes());
            }
            is_new(&pack);
            assert!(pack.heap_bytes() <= 2 * pack.as_bytes().len() + 20);
        }
        while let Some(first) = pack.first() {
            pack.remove(first, 1);
            is_new(&pack);
            let len = pack.as_bytes().len();
            assert!(pack.heap_bytes() <= 3 * len.max(Listpack::SMALL_BYTES));
        }
        assert!(buffers < 40, "{buffers}");
        assert_eq!(pack, Listpack::default());
    }

    fn element() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            any::<i64>().prop_map(|n| n.to_string().into_bytes()),
            (-5000_i64..5000).prop_map(|n| n.to_string().into_bytes()),
            proptest::collection::vec(any::<u8>(), 0..80),
            (4000_usize..4200).prop_map(|n| vec![b'x'; n]),
            Just(vec![b'y'; 16383]),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_sequence(ops in proptest::collection::vec((0_u8..6, any::<proptest::sample::Index>(), element()), 0..60)) {
            let mut pack = Listpack::default();
            let mut model: Vec<Vec<u8>> = Vec::new();
            for (op, index, bytes) in ops {
                let at = index.index(model.len() + 1);
                let place = pack.nth(at);
                prop_assert_eq!(place.is_some(), at < model.len());
                let before = pack.as_bytes().len();
                match (op, place) {
                    (0, _) => {
                        pack.push_front(&bytes);
                        prop_assert_eq!(pack.as_bytes().len(), before + encoded_len(&bytes));
                        model.insert(0, bytes);
                    }
                    (1, _) => {
                        pack.insert(place, &[&bytes, b"2nd"]);
                        model.splice(at..at, [bytes, b"2nd".to_vec()]);
                    }
                    (2, Some(place)) => {
                        pack.replace(place, &bytes);
                        model[at] = bytes;
                    }
                    (3, Some(place)) => {
                        pack.remove(place, 2);
                        model.drain(at..model.len().min(at + 2));
                    }
                    (4, Some(place)) => {
                        let tail = pack.split_off(place);
                        prop_assert_eq!(texts(&tail), &model[at..]);
                        pack.append(&tail);
                    }
                    _ => {
                        pack.push(&bytes);
                        model.push(bytes);
                    }
                }
                prop_assert_eq!(texts(&pack), &model[..]);
                let mut backwards: Vec<Vec<u8>> = std::iter::successors(pack.last(), |at| pack.prev(*at))
                    .map(|at| pack.get(at).to_vec())
                    .collect();
                backwards.reverse();
                prop_assert_eq!(&backwards, &model);
                prop_assert_eq!(Listpack::from_bytes(pack.as_bytes().to_vec()), Ok(pack.clone()));
            }
        }

        #[test]
        fn arbitrary_bytes_are_no_danger(mut bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if bytes.len() >= 4 {
                let len = u32::try_from(bytes.len()).unwrap();
                bytes[..4].copy_from_slice(&len.to_le_bytes());
            }
            if let Ok(pack) = Listpack::from_bytes(bytes) {
                pack.iter().count();
                pack.last();
            }
        }
    }

    #[test]
    fn many_elements_are_counted() {
        let mut pack = Listpack::default();
        for _ in 0..70_000 {
            pack.push(b"1");
        }
        assert_eq!(pack.len(), 70_000);
        pack.remove(Place(HEAD_BYTES), 10_000);
        assert_eq!(pack.len(), 60_000);
        assert_eq!(Listpack::from_bytes(pack.as_bytes().to_vec()), Ok(pack));
    }
}
