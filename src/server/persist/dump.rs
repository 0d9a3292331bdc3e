//! The payload of `DUMP` and `RESTORE`: one value as in an RDB file, its version and a checksum.
//!
//! `type │ value │ u16 version (LE) │ u64 CRC64 of all before it (LE)`. It comes from clients, so nothing in it
//! is believed.

use super::rdb::{CRC64, TYPE_SET_LISTPACK, VERSION, type_name};
use super::rdb_encode::{value, value_type};
use super::rdb_reader::Reader;
use super::rdb_values::{is_readable, read_value};
use crate::server::keyspace::{Thresholds, Value};

/// Why a payload is refused. The texts are Redis's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Too short, of a newer version, or damaged.
    #[error("ERR DUMP payload version or checksum are wrong")]
    Trailer,
    /// What it holds is no value that this server has.
    #[error("ERR Bad data format")]
    Format,
}

/// The payload of a value.
pub fn write_payload(content: &Value, compress: bool) -> Vec<u8> {
    let mut out = vec![value_type(content)];
    value(content, compress, &mut out);
    let version = u16::try_from(VERSION).expect("a small number");
    out.extend_from_slice(&version.to_le_bytes());
    out.extend_from_slice(&CRC64.checksum(&out).to_le_bytes());
    out
}

/// The type of the value of a payload, where that is none of ours.
pub(crate) fn absent_type(payload: &[u8]) -> Option<&'static str> {
    let code = *payload.first()?;
    (!is_readable(code)).then(|| type_name(code))
}

/// The value of a payload. Bytes between the value and the trailer are left alone, as Redis does; without
/// `verify_checksum` so is the checksum.
///
/// # Errors
/// See [`PayloadError`].
pub fn read_payload(
    payload: &[u8],
    thresholds: &Thresholds,
    string_bytes_max: u64,
    verify_checksum: bool,
) -> Result<Value, PayloadError> {
    let (signed, checksum) = payload.split_last_chunk().ok_or(PayloadError::Trailer)?;
    let (body, version) = signed.split_last_chunk().ok_or(PayloadError::Trailer)?;
    // Replicas of 7.0 will be sent the same payload: what is newer must not get into the stream.
    if u32::from(u16::from_le_bytes(*version)) > VERSION
        || verify_checksum && u64::from_le_bytes(*checksum) != CRC64.checksum(signed)
    {
        return Err(PayloadError::Trailer);
    }
    let (&code, body) = body.split_first().ok_or(PayloadError::Format)?;
    if !is_readable(code) || code == TYPE_SET_LISTPACK {
        tracing::debug!(code, kind = type_name(code), "RESTORE: no type of ours");
        return Err(PayloadError::Format);
    }
    let mut reader = Reader::new(body, string_bytes_max);
    match read_value(code, &mut reader, thresholds) {
        Ok(value) => value.ok_or(PayloadError::Format),
        Err(error) => {
            tracing::debug!(%error, "RESTORE: the payload is no value");
            Err(PayloadError::Format)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::persist::rdb_decode::STRING_BYTES_MAX;
    use proptest::prelude::*;

    fn read(payload: &[u8]) -> Result<Value, PayloadError> {
        read_payload(payload, &Thresholds::default(), STRING_BYTES_MAX, true)
    }

    #[test]
    fn a_payload_of_redis() {
        let payload = b"\x00\x01v\x0a\x00\x91\x08\xce\xb2\x19\x38\x8a\xce";
        assert_eq!(write_payload(&Value::string(b"v"), true), payload);
        assert_eq!(read(payload), Ok(Value::string(b"v")));
        for cut in 0..payload.len() {
            assert_eq!(read(&payload[..cut]), Err(PayloadError::Trailer), "{cut}");
        }
        let mut unsigned = payload.to_vec();
        unsigned[5..].fill(0);
        assert_eq!(read(&unsigned), Err(PayloadError::Trailer));
        let read = read_payload(&unsigned, &Thresholds::DEFAULT, STRING_BYTES_MAX, false);
        assert_eq!(read, Ok(Value::string(b"v")));
    }

    fn signed(body: &[u8], version: u16) -> Vec<u8> {
        let mut payload = body.to_vec();
        payload.extend_from_slice(&version.to_le_bytes());
        payload.extend_from_slice(&CRC64.checksum(&payload).to_le_bytes());
        payload
    }

    #[test]
    fn versions_types_and_rests() {
        assert_eq!(read(&signed(b"\x00\x01v", 0)), Ok(Value::string(b"v")));
        assert_eq!(read(&signed(b"\x00\x01vjunk", 9)), Ok(Value::string(b"v")));
        assert_eq!(read(&signed(b"\x00\x01v", 11)), Err(PayloadError::Trailer));
        for body in [
            &b""[..],
            b"\x00",
            b"\x00\x02v",
            b"\x14\x00",
            b"\x15\x00",
            b"\x02\x00",
            b"\xff",
        ] {
            assert_eq!(
                read(&signed(body, 10)),
                Err(PayloadError::Format),
                "{body:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bodies_are_no_danger(code in 0_u8..22, body in any::<Vec<u8>>()) {
            let body = [&[code], &body[..]].concat();
            if let Ok(value) = read(&signed(&body, 10)) {
                let again = read(&write_payload(&value, true));
                prop_assert_eq!(again, Ok(value));
            }
        }
    }
}
