//! HyperLogLog: an estimate of how many different elements were added, in the very bytes that redis-server keeps
//! in a string.
//!
//! ```text
//! "HYLL" │ encoding: 0 dense, 1 sparse │ 3 unused │ u64 LE: the last estimate; its top bit: it is out of date
//! dense:  16384 registers of 6 bits, the first in the low bits of the first byte
//! sparse: runs of registers  00nnnnnn           n + 1 zeros
//!                            01nnnnnn nnnnnnnn  n + 1 zeros
//!                            1vvvvvnn           n + 1 times v + 1
//! ```

/// How many registers there are.
pub(super) const REGISTERS: usize = 1 << INDEX_BITS;

const INDEX_BITS: u32 = 14;
/// What a register may hold: zeros that were seen, and one.
const VALUE_MAX: usize = 51;
const MAGIC: &[u8; 4] = b"HYLL";
const HEAD_BYTES: usize = 16;
const DENSE_BYTES: usize = HEAD_BYTES + REGISTERS * 6 / 8;
/// Where the encoding is.
const ENCODING: usize = 4;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
/// Where the last estimate is.
const ESTIMATE: usize = 8;
/// In the last byte of the estimate.
const OUT_OF_DATE: u8 = 0x80;

/// The longest runs of the sparse form.
const ZEROS_MAX: usize = 64;
const RUN_MAX: usize = 4;
/// The greatest value of the sparse form.
const SPARSE_VALUE_MAX: u8 = 32;
/// How many runs are looked at for a merge after a change.
const MERGE_RUNS: usize = 5;

/// The registers, one byte each.
pub(super) type Registers = [u8; REGISTERS];

/// The bytes say that they are a HyperLogLog, but their runs are no 16384 registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a corrupted HyperLogLog")]
pub(super) struct Corrupted;

/// One without elements.
pub(super) fn empty() -> Vec<u8> {
    let mut bytes = vec![0; HEAD_BYTES];
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    bytes[ENCODING] = SPARSE;
    push_zeros(REGISTERS, &mut bytes);
    bytes
}

/// Whether bytes are a HyperLogLog, as far as their head tells.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    bytes.len() >= HEAD_BYTES
        && bytes.starts_with(MAGIC)
        && match bytes[ENCODING] {
            DENSE => bytes.len() == DENSE_BYTES,
            SPARSE => true,
            _ => false,
        }
}

/// Whether it has the sparse form.
pub(super) fn is_sparse(bytes: &[u8]) -> bool {
    bytes[ENCODING] == SPARSE
}

/// The last estimate, if it is still good.
pub(super) fn estimate(bytes: &[u8]) -> Option<u64> {
    let noted = bytes[ESTIMATE..HEAD_BYTES].first_chunk::<8>()?;
    (noted[7] & OUT_OF_DATE == 0).then(|| u64::from_le_bytes(*noted))
}

/// Keeps an estimate.
pub(super) fn note_estimate(bytes: &mut [u8], estimate: u64) {
    bytes[ESTIMATE..HEAD_BYTES].copy_from_slice(&estimate.to_le_bytes());
}

/// Says that the estimate is no good any more.
pub(super) fn forget_estimate(bytes: &mut [u8]) {
    bytes[HEAD_BYTES - 1] |= OUT_OF_DATE;
}

/// The register that an element belongs to, and the value that it asks for.
fn place_of(element: &[u8]) -> (usize, u8) {
    /// Redis's.
    const SEED: u64 = 0xadc8_3b19;
    let hash = murmur_hash_64a(element, SEED);
    let index = usize::try_from(hash & (REGISTERS as u64 - 1)).expect("14 bits");
    let rest = (hash >> INDEX_BITS) | 1 << (64 - INDEX_BITS);
    let zeros = u8::try_from(rest.trailing_zeros()).expect("at most 50");
    (index, zeros + 1)
}

/// Adds an element; true if a register has changed.
pub(super) fn add(
    bytes: &mut Vec<u8>,
    element: &[u8],
    sparse_bytes_max: usize,
) -> Result<bool, Corrupted> {
    let (index, value) = place_of(element);
    raise(bytes, index, value, sparse_bytes_max)
}

/// Raises a register to a value; true if it was lower.
pub(super) fn raise(
    bytes: &mut Vec<u8>,
    index: usize,
    value: u8,
    sparse_bytes_max: usize,
) -> Result<bool, Corrupted> {
    if !is_sparse(bytes) {
        return Ok(raise_dense(&mut bytes[HEAD_BYTES..], index, value));
    }
    if value <= SPARSE_VALUE_MAX
        && let Some(has_changed) = raise_sparse(bytes, index, value, sparse_bytes_max)?
    {
        return Ok(has_changed);
    }
    make_dense(bytes)?;
    Ok(raise_dense(&mut bytes[HEAD_BYTES..], index, value))
}

fn dense_register(registers: &[u8], index: usize) -> u8 {
    let (at, shift) = (index * 6 / 8, index * 6 % 8);
    let low = registers[at] >> shift;
    // The last register ends with its byte.
    let high = registers
        .get(at + 1)
        .map_or(0, |byte| u16::from(*byte) << (8 - shift));
    (low | high.to_le_bytes()[0]) & 63
}

fn raise_dense(registers: &mut [u8], index: usize, value: u8) -> bool {
    if dense_register(registers, index) >= value {
        return false;
    }
    let (at, shift) = (index * 6 / 8, index * 6 % 8);
    let [low, high] = (u16::from(value) << shift).to_le_bytes();
    let [low_mask, high_mask] = (63_u16 << shift).to_le_bytes();
    registers[at] = registers[at] & !low_mask | low;
    if high_mask != 0 {
        registers[at + 1] = registers[at + 1] & !high_mask | high;
    }
    true
}

/// Gives it the dense form; false if it had it.
pub(super) fn make_dense(bytes: &mut Vec<u8>) -> Result<bool, Corrupted> {
    if !is_sparse(bytes) {
        return Ok(false);
    }
    let mut dense = bytes[..HEAD_BYTES].to_vec();
    dense[ENCODING] = DENSE;
    dense.resize(DENSE_BYTES, 0);
    for run in Runs::of(bytes) {
        let run = run?;
        if run.value > 0 {
            for index in run.first..run.first + run.len {
                raise_dense(&mut dense[HEAD_BYTES..], index, run.value);
            }
        }
    }
    *bytes = dense;
    Ok(true)
}

/// Registers in a row that have the same value, in the sparse form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Where its code is.
    at: usize,
    /// Bytes of its code.
    bytes: usize,
    /// The first register.
    first: usize,
    /// How many there are.
    pub(super) len: usize,
    /// What they hold.
    pub(super) value: u8,
}

impl Run {
    /// Whether its code is one byte.
    pub(super) fn is_short(self) -> bool {
        self.bytes == 1
    }
}

/// The run whose code is at `at`. `None` where the bytes end.
fn run_at(bytes: &[u8], at: usize, first: usize) -> Option<Run> {
    let code = *bytes.get(at)?;
    let (size, len, value) = match code >> 6 {
        0 => (1, usize::from(code & 0x3f) + 1, 0),
        1 => {
            let low = *bytes.get(at + 1)?;
            (2, (usize::from(code & 0x3f) << 8 | usize::from(low)) + 1, 0)
        }
        _ => (1, usize::from(code & 3) + 1, (code >> 2 & 0x1f) + 1),
    };
    Some(Run {
        at,
        bytes: size,
        first,
        len,
        value,
    })
}

/// The runs of a sparse one, which are checked to be all registers and no more.
pub(super) struct Runs<'a> {
    bytes: &'a [u8],
    at: usize,
    registers: usize,
}

impl Runs<'_> {
    /// Those of these bytes.
    pub(super) fn of(bytes: &[u8]) -> Runs<'_> {
        Runs {
            bytes,
            at: HEAD_BYTES,
            registers: 0,
        }
    }
}

impl Iterator for Runs<'_> {
    type Item = Result<Run, Corrupted>;

    fn next(&mut self) -> Option<Result<Run, Corrupted>> {
        if self.at == self.bytes.len() && self.registers == REGISTERS {
            return None;
        }
        let found = run_at(self.bytes, self.at, self.registers)
            .filter(|run| run.first + run.len <= REGISTERS)
            .ok_or(Corrupted);
        match found {
            Ok(run) => {
                self.at += run.bytes;
                self.registers += run.len;
            }
            Err(Corrupted) => {
                // Nothing comes behind an error.
                self.at = self.bytes.len();
                self.registers = REGISTERS;
            }
        }
        Some(found)
    }
}

fn push_zeros(len: usize, out: &mut Vec<u8>) {
    let [low, high] = u16::try_from(len - 1).expect("at most 16384").to_le_bytes();
    if len <= ZEROS_MAX {
        out.push(low);
    } else {
        out.extend_from_slice(&[0x40 | high, low]);
    }
}

fn run_code(value: u8, len: usize) -> u8 {
    let len = u8::try_from(len - 1).expect("at most 4");
    0x80 | (value - 1) << 2 | len
}

/// Raises a register of the sparse form; `None` where that would become too long.
fn raise_sparse(
    bytes: &mut Vec<u8>,
    index: usize,
    value: u8,
    bytes_max: usize,
) -> Result<Option<bool>, Corrupted> {
    let mut before = None;
    let mut run = run_at(bytes, HEAD_BYTES, 0).ok_or(Corrupted)?;
    while index >= run.first + run.len {
        before = Some(run.at);
        let next = run_at(bytes, run.at + run.bytes, run.first + run.len);
        run = next.ok_or(Corrupted)?;
    }
    if run.value >= value {
        return Ok(Some(false));
    }
    let mut codes = Vec::with_capacity(5);
    let push_old = |len: usize, codes: &mut Vec<u8>| match (len, run.value) {
        (0, _) => {}
        (len, 0) => push_zeros(len, codes),
        (len, old) => codes.push(run_code(old, len)),
    };
    push_old(index - run.first, &mut codes);
    codes.push(run_code(value, 1));
    push_old(run.first + run.len - 1 - index, &mut codes);
    if codes.len() > run.bytes && bytes.len() + codes.len() - run.bytes > bytes_max {
        return Ok(None);
    }
    bytes.splice(run.at..run.at + run.bytes, codes);
    merge_runs(bytes, before.unwrap_or(HEAD_BYTES));
    Ok(Some(true))
}

/// Joins neighbouring runs of one value, looking at a few from `at` on.
fn merge_runs(bytes: &mut Vec<u8>, mut at: usize) {
    for _ in 0..MERGE_RUNS {
        let Some(run) = run_at(bytes, at, 0) else {
            return;
        };
        let next = run_at(bytes, at + run.bytes, 0);
        match next.filter(|next| run.value > 0 && next.value == run.value) {
            Some(next) if run.len + next.len <= RUN_MAX => {
                bytes[next.at] = run_code(run.value, run.len + next.len);
                bytes.remove(at);
            }
            _ => at += run.bytes,
        }
    }
}

/// Raises each register of `into` to what it is here.
pub(super) fn merge(into: &mut Registers, bytes: &[u8]) -> Result<(), Corrupted> {
    if is_sparse(bytes) {
        for run in Runs::of(bytes) {
            let run = run?;
            for register in &mut into[run.first..run.first + run.len] {
                *register = (*register).max(run.value);
            }
        }
    } else {
        for (index, register) in into.iter_mut().enumerate() {
            *register = (*register).max(dense_register(&bytes[HEAD_BYTES..], index));
        }
    }
    Ok(())
}

/// About how many different elements make such registers.
pub(super) fn count(registers: &Registers) -> u64 {
    /// The constant for infinitely many registers.
    const ALPHA: f64 = 0.721_347_520_444_481_7;
    const M: f64 = REGISTERS as f64;
    let mut histogram = [0_u32; 64];
    for register in registers {
        histogram[usize::from(*register & 63)] += 1;
    }
    let number = |value: usize| f64::from(histogram[value]);
    let mut z = M * tau((M - number(VALUE_MAX)) / M);
    for value in (1..VALUE_MAX).rev() {
        z = (z + number(value)) * 0.5;
    }
    z += M * sigma(number(0) / M);
    let count = (ALPHA * M * M / z).round();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "not negative, and what is too great becomes the greatest"
    )]
    let count = count as u64;
    count
}

/// Ertl's correction for registers without a value.
#[expect(clippy::float_cmp, reason = "it goes on until nothing changes")]
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if before == z {
            return z;
        }
    }
}

/// Ertl's correction for registers that can hold no more.
#[expect(clippy::float_cmp, reason = "it goes on until nothing changes")]
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if before == z {
            return z / 3.0;
        }
    }
}

/// Counts some elements in both forms.
///
/// # Errors
/// An estimate is further off than it may be, which the text tells.
pub(super) fn self_test() -> Result<(), String> {
    /// Six times the standard error.
    const OFF_MAX: f64 = 6.0 * 1.04 / 128.0;
    const ELEMENTS: u32 = 100_000;
    const SPARSE_BYTES_MAX: usize = 3000;
    let mut bytes = empty();
    let mut next_look = 1;
    for n in 1..=ELEMENTS {
        let added = add(&mut bytes, &n.to_le_bytes(), SPARSE_BYTES_MAX);
        added.map_err(|error| error.to_string())?;
        if n == next_look {
            next_look *= 10;
            let mut registers = [0; REGISTERS];
            merge(&mut registers, &bytes).map_err(|error| error.to_string())?;
            let found = count(&registers);
            let off = (found as f64 - f64::from(n)).abs();
            if off > (f64::from(n) * OFF_MAX).ceil() {
                return Err(format!("{found} counted of {n}"));
            }
        }
    }
    Ok(())
}

/// MurmurHash2 for 64 bits, its variant A.
fn murmur_hash_64a(bytes: &[u8], seed: u64) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    const R: u32 = 47;
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(M);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mut k = u64::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ k >> R).wrapping_mul(M);
        hash = (hash ^ k).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(M);
    }
    hash = (hash ^ hash >> R).wrapping_mul(M);
    hash ^ hash >> R
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn registers(bytes: &[u8]) -> Registers {
        let mut registers = [0; REGISTERS];
        merge(&mut registers, bytes).unwrap();
        registers
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn both_forms_hold_the_greatest_values(
            raised in proptest::collection::vec((prop_oneof![0_usize..30, 0..REGISTERS], 1_u8..=51), 1..800),
            bytes_max in prop_oneof![Just(0_usize), 20_usize..3000],
        ) {
            let mut model = [0_u8; REGISTERS];
            let mut bytes = empty();
            for (index, value) in raised {
                let has_changed = raise(&mut bytes, index, value, bytes_max).unwrap();
                prop_assert_eq!(has_changed, value > model[index]);
                model[index] = model[index].max(value);
                prop_assert!(!is_sparse(&bytes) || bytes.len() <= bytes_max.max(HEAD_BYTES + 2));
            }
            prop_assert!(registers(&bytes) == model);
            make_dense(&mut bytes).unwrap();
            prop_assert!(is_one(&bytes) && registers(&bytes) == model);
        }

        #[test]
        fn arbitrary_bytes_are_no_danger(
            codes in proptest::collection::vec(any::<u8>(), 0..60),
            index in 0..REGISTERS,
        ) {
            let mut bytes = empty();
            bytes.truncate(HEAD_BYTES);
            bytes.extend(codes);
            prop_assert!(is_one(&bytes));
            // What is said of such bytes does not matter, but something must be.
            let _ = merge(&mut [0; REGISTERS], &bytes);
            let _ = raise(&mut bytes.clone(), index, 33, 3000);
            let _ = raise(&mut bytes, index, 3, 3000);
        }
    }

    #[test]
    fn it_passes_its_own_test() {
        assert_eq!(self_test(), Ok(()));
    }

    #[test]
    fn counts_are_near() {
        for wanted in [0_u32, 1, 10, 1000, 20_000, 300_000] {
            let mut bytes = empty();
            for n in 0..wanted {
                add(&mut bytes, n.to_string().as_bytes(), 3000).unwrap();
            }
            let found = count(&registers(&bytes));
            let off = (found as f64 - f64::from(wanted)).abs();
            assert!(off <= f64::from(wanted) * 0.03, "{found} for {wanted}");
        }
    }
}
