//! LZF, the compression of strings in RDB files, as liblzf defines it.
//!
//! ```text
//! 000lllll                        l + 1 bytes follow as they are
//! lllooooo oooooooo               l + 2 bytes (l from 1 to 6) that begin o + 1 bytes back
//! 111ooooo llllllll oooooooo      l + 9 bytes that begin o + 1 bytes back
//! ```

use std::cell::RefCell;

/// The most bytes that one literal run holds.
const LITERALS_MAX: usize = 32;
/// The shortest run that is worth a reference.
const MATCH_MIN: usize = 3;
/// The longest run that a reference makes.
pub(super) const MATCH_MAX: usize = 264;
/// How far back a reference reaches.
const DISTANCE_MAX: usize = 1 << 13;
/// Most references make none of these last bytes.
const LAST_LITERALS: usize = 2;
/// The bytes that must be saved.
const SAVING_MIN: usize = 4;
/// What must be free before a reference is written: three bytes of it, and the head of a run.
const REFERENCE_ROOM: usize = 4;

/// Where three bytes of an input were last, by their hash. It is used again and again without being cleared: what
/// earlier inputs have left is below `base`.
struct Places {
    places: Vec<u32>,
    base: u32,
}

thread_local! {
    static PLACES: RefCell<Places> = const { RefCell::new(Places { places: Vec::new(), base: 0 }) };
}

impl Places {
    /// Makes it ready for an input of so many bytes, and forgets all others.
    fn begin(&mut self, len: u32) {
        if self.places.is_empty() || self.base.checked_add(len).is_none() {
            self.places.clear();
            self.places.resize(1 << 16, 0);
            // 0 is no place.
            self.base = 1;
        }
    }

    /// Notes where these three bytes are, and tells where others with the same hash were before.
    fn replace(&mut self, three: [u8; MATCH_MIN], at: usize) -> Option<usize> {
        let [a, b, c] = three;
        let hash =
            u16::from_be_bytes([a, b]).wrapping_sub(u16::from_be_bytes([b, c]).wrapping_mul(5));
        let at = self.base + u32::try_from(at).expect("below the length");
        let before = std::mem::replace(&mut self.places[usize::from(hash)], at);
        before.checked_sub(self.base).map(|at| at as usize)
    }
}

/// The compressed form, byte for byte the one that Redis 7.0 makes: its choice of references decides what `DUMP`
/// returns. `None` where it saves less than four bytes, or so little more that Redis gives up before it knows.
pub(super) fn compress(input: &[u8]) -> Option<Vec<u8>> {
    let len = u32::try_from(input.len()).ok()?;
    // The first place of an input is 1.
    len.checked_add(1)?;
    let room = input
        .len()
        .checked_sub(SAVING_MIN)
        .filter(|room| *room > 0)?;
    PLACES.with_borrow_mut(|places| {
        places.begin(len);
        let packed = compress_into(input, room, places);
        places.base += len;
        packed
    })
}

fn compress_into(input: &[u8], room: usize, places: &mut Places) -> Option<Vec<u8>> {
    let three_at = |at: usize| input[at..].first_chunk::<MATCH_MIN>();
    let mut out = Run::begin(room);
    let mut at = 0;
    while let Some(three) = three_at(at) {
        let before = places.replace(*three, at);
        let is_match = |before: &usize| {
            *before > 0 && at - before <= DISTANCE_MAX && input[*before..].starts_with(three)
        };
        let Some(before) = before.filter(is_match) else {
            if out.bytes.len() >= room {
                return None;
            }
            out.literal(input[at]);
            at += 1;
            continue;
        };
        out.end();
        if out.bytes.len() + REFERENCE_ROOM >= room {
            return None;
        }
        let len_max = match (input.len() - at - LAST_LITERALS).min(MATCH_MAX) {
            // It looks at sixteen more before it asks whether that is too many.
            len @ 17.. => len.max(MATCH_MIN + 16),
            len => len,
        };
        let mut len = MATCH_MIN;
        while len < len_max && input[before + len] == input[at + len] {
            len += 1;
        }
        out.reference(at - before, len);
        at += len;
        // The places before the end of a run are noted, those inside it are not.
        if three_at(at).is_some() {
            for at in at - 2..at {
                three_at(at).map(|three| places.replace(*three, at));
            }
        }
    }
    if out.bytes.len() + 3 > room {
        return None;
    }
    input[at..].iter().for_each(|byte| out.literal(*byte));
    out.end();
    Some(out.bytes)
}

/// Output that ends with a run of literals, which may be empty.
struct Run {
    bytes: Vec<u8>,
    /// Where the head of the run is.
    head: usize,
}

impl Run {
    fn begin(room: usize) -> Run {
        let mut bytes = Vec::with_capacity(room);
        bytes.push(0);
        Run { bytes, head: 0 }
    }

    fn literal(&mut self, byte: u8) {
        self.bytes.push(byte);
        if self.bytes.len() - self.head > LITERALS_MAX {
            self.end();
            self.start();
        }
    }

    fn start(&mut self) {
        self.head = self.bytes.len();
        self.bytes.push(0);
    }

    /// Ends the run: writes its head, or takes that away if the run is empty.
    fn end(&mut self) {
        match self.bytes.len() - self.head - 1 {
            0 => self.bytes.truncate(self.head),
            len => self.bytes[self.head] = low_byte(len - 1),
        }
    }

    /// Adds a reference behind a run that has ended, and begins the next one.
    fn reference(&mut self, distance: usize, len: usize) {
        let offset = distance - 1;
        let (len, high) = (len - 2, low_byte(offset >> 8));
        if len < 7 {
            self.bytes.push(low_byte(len << 5) | high);
        } else {
            self.bytes
                .extend_from_slice(&[7 << 5 | high, low_byte(len - 7)]);
        }
        self.bytes.push(low_byte(offset));
        self.start();
    }
}

fn low_byte(n: usize) -> u8 {
    n.to_le_bytes()[0]
}

/// Bytes that are copied at once where it does not matter that they are more than needed.
const BLOCK: usize = 16;
/// The longest run of literals, or the shortest that is copied block by block, reaches so far behind its end.
const SLACK: usize = 2 * BLOCK;
/// What is longer is unpacked where it stays. Bytes.
const SCRATCH_MAX: usize = 64 * 1024;

thread_local! {
    /// Room in which short strings are unpacked, with [`SLACK`] behind them.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The bytes that were compressed; `None` where `packed` is not the compressed form of exactly `len` bytes.
pub(super) fn decompress(packed: &[u8], len: usize) -> Option<Vec<u8>> {
    if len > SCRATCH_MAX {
        let mut out = vec![0; len + SLACK];
        decompress_into(packed, &mut out, len)?;
        out.truncate(len);
        return Some(out);
    }
    SCRATCH.with_borrow_mut(|out| {
        if out.len() < len + SLACK {
            out.resize(len + SLACK, 0);
        }
        decompress_into(packed, out, len)?;
        Some(out[..len].to_vec())
    })
}

/// Unpacks exactly `len` bytes; what is behind them in `out` is written over.
fn decompress_into(packed: &[u8], out: &mut [u8], len: usize) -> Option<()> {
    let mut at = 0;
    let mut to = 0;
    while let Some(control) = packed.get(at) {
        at += 1;
        if usize::from(*control) < LITERALS_MAX {
            let count = usize::from(*control) + 1;
            if to + count > len || at + count > packed.len() {
                return None;
            }
            if let Some(block) = packed[at..].first_chunk::<SLACK>() {
                out[to..to + SLACK].copy_from_slice(block);
            } else {
                out[to..to + count].copy_from_slice(&packed[at..at + count]);
            }
            at += count;
            to += count;
            continue;
        }
        let mut count = usize::from(control >> 5) + 2;
        if count == 9 {
            count += usize::from(*packed.get(at)?);
            at += 1;
        }
        let distance = (usize::from(control & 0x1f) << 8) + usize::from(*packed.get(at)?) + 1;
        at += 1;
        let from = to.checked_sub(distance)?;
        if to + count > len {
            return None;
        }
        if distance >= BLOCK {
            for block in (0..count).step_by(BLOCK) {
                out.copy_within(from + block..from + block + BLOCK, to + block);
            }
        } else {
            // What a reference makes may be part of what it refers to.
            for byte in 0..count {
                out[to + byte] = out[from + byte];
            }
        }
        to += count;
    }
    (to == len).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(plain: &[u8], packed: &[u8]) {
        assert_eq!(decompress(packed, plain.len()).as_deref(), Some(plain));
    }

    #[test]
    fn every_form_is_read() {
        for (plain, packed) in [
            (&b""[..], &b""[..]),
            (b"abc", b"\x02abc"),
            (b"aaaaaaa", b"\x00a\x80\x00"),
            (b"abcabcab", b"\x02abc\x60\x02"),
            (&[b'x'; 12], b"\x00x\xe0\x02\x00"),
        ] {
            check(plain, packed);
        }
    }

    #[test]
    fn the_choice_of_references_is_that_of_redis() {
        // As DUMP of redis-server 7.0.15 shows them.
        let packed = compress(&[b'a'; 30]);
        assert_eq!(packed.as_deref(), Some(&b"\x01aa\xe0\x11\x00\x01aa"[..]));
        let packed = compress(&b"abc".repeat(11));
        assert_eq!(packed.as_deref(), Some(&b"\x03abca\xe0\x12\x02\x01bc"[..]));
        assert_eq!(compress(b"no three letters of this come twice"), None);
    }

    #[test]
    fn what_an_input_leaves_is_no_place_in_the_next() {
        let text: Vec<u8> = (0..100_u8).collect();
        for base in [1, u32::MAX - 99, u32::MAX - 100, u32::MAX - 101] {
            PLACES.with_borrow_mut(|places| places.base = base);
            assert_eq!(compress(&text), None);
            assert_eq!(compress(&text), None);
            let twice = compress(&text.repeat(2)).unwrap();
            assert_eq!(decompress(&twice, 200), Some(text.repeat(2)));
        }
    }

    #[test]
    fn what_does_not_make_so_many_bytes_is_refused() {
        for (packed, len) in [
            (&b"\x02ab"[..], 3),   // literals that are not there
            (b"\x02abc", 2),       // more than was promised
            (b"\x02abc", 4),       // less
            (b"\x00a\x80\x01", 7), // from before the beginning
            (b"\x00a\x80", 7),     // half a reference
            (b"\x00a\xe0", 7),     // the same of a long one
            (b"\x00a\x80\x00", 6), // a reference beyond the end
        ] {
            assert_eq!(decompress(packed, len), None, "{packed:?}");
        }
    }

    #[test]
    fn distances_and_lengths_reach_to_their_ends() {
        for distance in [DISTANCE_MAX - 1, DISTANCE_MAX, DISTANCE_MAX + 1] {
            for len in [MATCH_MIN, 8, 9, MATCH_MAX, MATCH_MAX + 1, 3 * MATCH_MAX] {
                let numbers = (1000..u16::MAX).flat_map(u16::to_be_bytes);
                let pattern: Vec<u8> = numbers.take(len).collect();
                let between = vec![0; distance - len];
                let plain = [&b"-"[..], &pattern, &between, &pattern].concat();
                check(&plain, &compress(&plain).unwrap());
            }
        }
    }

    proptest! {
        #[test]
        fn everything_comes_back(
            parts in proptest::collection::vec(
                (proptest::collection::vec(0_u8..4, 0..40), 1_usize..300),
                0..20,
            ),
        ) {
            let plain: Vec<u8> = parts.iter().flat_map(|(part, times)| part.repeat(*times)).collect();
            if let Some(packed) = compress(&plain) {
                prop_assert!(packed.len() + SAVING_MIN <= plain.len());
                prop_assert_eq!(decompress(&packed, plain.len()), Some(plain));
            }
        }

        #[test]
        fn arbitrary_bytes_are_no_danger(
            packed in proptest::collection::vec(any::<u8>(), 0..100),
            len in 0_usize..1000,
        ) {
            if let Some(plain) = decompress(&packed, len) {
                prop_assert_eq!(plain.len(), len);
            }
        }
    }
}
