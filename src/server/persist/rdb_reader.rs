//! The bytes of an RDB, and its lengths and strings.

use std::io::{self, Read};

use super::lzf;
use super::rdb::{
    CRC64, ENC_INT8, ENC_INT16, ENC_INT32, ENC_LZF, LEN_32, LEN_64, VERSION_MAX,
    VERSION_WITH_CHECKSUM,
};
use super::rdb_decode::LoadError;
use crate::resp::parse_double;

/// How much room is made for a string before its bytes are there.
const PREALLOCATE_BYTES_MAX: u64 = 1024 * 1024;

/// The bytes of an RDB, and its lengths and strings.
pub struct Reader<R> {
    source: R,
    at: u64,
    digest: Option<Checksum>,
    string_bytes_max: u64,
}

/// The checksum of what was read. Most reads are of a few bytes, and its table takes 16 at a time: they are
/// collected first.
struct Checksum {
    digest: crc::Digest<'static, u64, crc::Table<16>>,
    collected: Vec<u8>,
}

impl Checksum {
    /// So many bytes are collected at most.
    const COLLECTED_BYTES_MAX: usize = 4096;

    fn new() -> Checksum {
        Checksum {
            digest: CRC64.digest(),
            collected: Vec::with_capacity(Checksum::COLLECTED_BYTES_MAX),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        if self.collected.len() + bytes.len() > Checksum::COLLECTED_BYTES_MAX {
            self.digest.update(&self.collected);
            self.collected.clear();
        }
        if bytes.len() > Checksum::COLLECTED_BYTES_MAX {
            self.digest.update(bytes);
        } else {
            self.collected.extend_from_slice(bytes);
        }
    }

    fn finalize(mut self) -> u64 {
        self.digest.update(&self.collected);
        self.digest.finalize()
    }
}

impl<R: Read> Reader<R> {
    /// Nothing is read yet, and no checksum is made.
    pub(super) fn new(source: R, string_bytes_max: u64) -> Reader<R> {
        Reader {
            source,
            at: 0,
            digest: None,
            string_bytes_max,
        }
    }

    /// Makes a checksum of all that is read from now on.
    pub(super) fn begin_checksum(&mut self) {
        self.digest = Some(Checksum::new());
    }

    /// Reads the head of a file; its version.
    pub(super) fn magic(&mut self) -> Result<u32, LoadError> {
        let magic: [u8; 9] = self.array()?;
        let digits = magic.strip_prefix(b"REDIS").ok_or(LoadError::Magic)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(LoadError::Magic);
        }
        let version = digits
            .iter()
            .fold(0, |n, digit| n * 10 + u32::from(digit - b'0'));
        if (1..=VERSION_MAX).contains(&version) {
            Ok(version)
        } else {
            Err(LoadError::Version(version))
        }
    }

    /// Reads the checksum and compares. Zero means that none was made.
    pub(super) fn verify(&mut self, version: u32) -> Result<(), LoadError> {
        if version < VERSION_WITH_CHECKSUM {
            return Ok(());
        }
        let computed = self.digest.take().map(|digest| digest.finalize());
        let stored = u64::from_le_bytes(self.array()?);
        match computed {
            Some(computed) if stored != 0 && stored != computed => {
                Err(LoadError::Checksum { stored, computed })
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn corrupt(&self, what: &'static str) -> LoadError {
        LoadError::Corrupt { at: self.at, what }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), LoadError> {
        self.source
            .read_exact(buffer)
            .map_err(|error| LoadError::Read {
                at: self.at,
                error: if error.kind() == io::ErrorKind::UnexpectedEof {
                    io::Error::new(error.kind(), "it ends there, inside a value")
                } else {
                    error
                },
            })?;
        self.at += buffer.len() as u64;
        if let Some(digest) = &mut self.digest {
            digest.update(buffer);
        }
        Ok(())
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], LoadError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn byte(&mut self) -> Result<u8, LoadError> {
        Ok(self.array::<1>()?[0])
    }

    /// A double as text, of the first form of sorted sets.
    pub(super) fn text_double(&mut self) -> Result<f64, LoadError> {
        Ok(match self.byte()? {
            253 => f64::NAN,
            254 => f64::INFINITY,
            255 => f64::NEG_INFINITY,
            len => {
                let text = self.bytes(u64::from(len))?;
                parse_double(&text).ok_or_else(|| self.corrupt("a score that is no number"))?
            }
        })
    }

    fn bytes(&mut self, len: u64) -> Result<Vec<u8>, LoadError> {
        let mut bytes = Vec::new();
        self.bytes_into(len, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads so many bytes into an empty buffer.
    fn bytes_into(&mut self, len: u64, bytes: &mut Vec<u8>) -> Result<(), LoadError> {
        if len > self.string_bytes_max {
            return Err(self.corrupt("a string longer than this server takes"));
        }
        let mut left = len;
        // A length that lies costs no more memory than the bytes that really come.
        while left > 0 {
            let step = left.min(PREALLOCATE_BYTES_MAX.max(bytes.len() as u64));
            let start = bytes.len();
            let step_len = usize::try_from(step).expect("64 bits");
            bytes.resize(start + step_len, 0);
            self.fill(&mut bytes[start..])?;
            left -= step;
        }
        Ok(())
    }

    pub(super) fn length(&mut self) -> Result<u64, LoadError> {
        let first = self.byte()?;
        self.length_after(first)?
            .ok_or_else(|| self.corrupt("an encoded string where a length must be"))
    }

    /// The length that begins with `first`; `None` if that begins an encoded string instead.
    fn length_after(&mut self, first: u8) -> Result<Option<u64>, LoadError> {
        Ok(Some(match (first >> 6, first) {
            (0, _) => u64::from(first & 0x3f),
            (1, _) => u64::from(first & 0x3f) << 8 | u64::from(self.byte()?),
            (2, LEN_32) => u64::from(u32::from_be_bytes(self.array()?)),
            (2, LEN_64) => u64::from_be_bytes(self.array()?),
            (2, _) => return Err(self.corrupt("an unknown form of length")),
            _ => return Ok(None),
        }))
    }

    pub(super) fn string(&mut self) -> Result<Vec<u8>, LoadError> {
        let mut bytes = Vec::new();
        self.string_into(&mut bytes)?;
        Ok(bytes)
    }

    /// As [`Reader::string`], in the room of one that was read before.
    pub(super) fn string_into(&mut self, bytes: &mut Vec<u8>) -> Result<(), LoadError> {
        bytes.clear();
        let first = self.byte()?;
        if let Some(len) = self.length_after(first)? {
            return self.bytes_into(len, bytes);
        }
        let mut integer =
            |n: i32| bytes.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
        match first {
            ENC_INT8 => integer(i8::from_le_bytes(self.array()?).into()),
            ENC_INT16 => integer(i16::from_le_bytes(self.array()?).into()),
            ENC_INT32 => integer(i32::from_le_bytes(self.array()?)),
            ENC_LZF => {
                let packed = self.length()?;
                let plain = self.length()?;
                // No byte of LZF stands for more.
                if plain > self.string_bytes_max || plain / lzf::MATCH_MAX as u64 > packed {
                    return Err(self.corrupt("a compressed string of impossible length"));
                }
                let packed = self.bytes(packed)?;
                let plain = usize::try_from(plain).expect("64 bits");
                *bytes = lzf::decompress(&packed, plain)
                    .ok_or_else(|| self.corrupt("a compressed string that does not unpack"))?;
            }
            _ => return Err(self.corrupt("an unknown string encoding")),
        }
        Ok(())
    }
}
