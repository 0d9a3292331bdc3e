//! The bytes of a link: decoding what arrives, TLS records, writing what the socket takes.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;

use rustix::io::Errno;
use rustix::net::SendFlags;
use rustls::Connection;

use super::READ_BYTES;
use crate::resp::{Limits, decode_value};
use crate::sentinel::core::{DownReason, Input, LinkId};

/// The most that may have arrived of one incomplete message: the largest bulk string and its frame.
const PARTIAL_BYTES_MAX: usize = Limits::INSTANCE.bulk_bytes_max + READ_BYTES;

/// Appends every complete message of `partial` and `bytes`; keeps the rest in `partial`.
pub(super) fn decode(
    link: LinkId,
    bytes: &[u8],
    partial: &mut Vec<u8>,
    inputs: &mut VecDeque<Input>,
) -> Result<(), DownReason> {
    let is_joined = !partial.is_empty();
    let mut joined = std::mem::take(partial);
    let mut rest = if is_joined {
        joined.extend_from_slice(bytes);
        &*joined
    } else {
        bytes
    };
    while !rest.is_empty() {
        match decode_value(rest, &Limits::INSTANCE) {
            Ok(Some((reply, used))) => {
                rest = &rest[used..];
                inputs.push_back(Input::Reply { link, reply });
            }
            Ok(None) if rest.len() > PARTIAL_BYTES_MAX => {
                return Err(DownReason::Failed("a reply is too large".to_owned()));
            }
            Ok(None) => break,
            Err(error) => {
                return Err(DownReason::Failed(format!(
                    "it does not speak RESP: {error}"
                )));
            }
        }
    }
    if is_joined {
        let used = joined.len() - rest.len();
        if used < joined.len() {
            joined.drain(..used);
            *partial = joined;
        }
    } else {
        *partial = rest.to_vec();
    }
    Ok(())
}

pub(super) fn encrypt(session: &mut Connection, bytes: &[u8]) -> io::Result<Vec<u8>> {
    session.writer().write_all(bytes)?;
    let mut out = Vec::with_capacity(bytes.len() + 64);
    while session.wants_write() {
        session.write_tls(&mut out)?;
    }
    Ok(out)
}

pub(super) fn decrypt(session: &mut Connection, mut raw: &[u8]) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    loop {
        if !raw.is_empty() {
            session.read_tls(&mut raw)?;
            let processed = session.process_new_packets();
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
        match session.reader().read_to_end(&mut plain) {
            // A farewell: the end of the connection follows it.
            Ok(_) => return Ok(plain),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if raw.is_empty() {
            return Ok(plain);
        }
    }
}

/// Writes as much as the socket takes.
pub(super) fn send_some(tcp: &TcpStream, bytes: &[u8]) -> Result<usize, DownReason> {
    let mut sent = 0;
    while sent < bytes.len() {
        match rustix::net::send(tcp, &bytes[sent..], SendFlags::NOSIGNAL) {
            Ok(count) => sent += count,
            Err(Errno::AGAIN) => break,
            Err(Errno::INTR) => {}
            Err(Errno::PIPE) => return Err(DownReason::Closed),
            Err(error) => return Err(broken(&error.into())),
        }
    }
    Ok(sent)
}

pub(super) fn broken(error: &io::Error) -> DownReason {
    DownReason::Failed(error.to_string())
}
