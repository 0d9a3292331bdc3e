//! Answers that may be large, and room for them: how much of them there is at a time is limited, however slowly their
//! readers read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use super::connection::WRITE_TIME_MAX;
use super::reply::Refusal;

/// How the descriptions of the routes tell of the refusal.
pub const NO_ROOM: &str = "Too many large answers wait for their readers";
/// KiB of answers that wait for their readers.
const ROOM_KIB: usize = 32 * 1024;
/// Answers up to this size take no room: connections are few enough for them. Bytes.
const SMALL_BYTES: usize = 64 * 1024;
/// As much is handed to a connection at a time. Bytes.
const PIECE_BYTES: usize = 16 * 1024;

/// The room for answers, shared by all connections.
#[derive(Clone, Debug)]
pub struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Room {
        Room(Arc::new(Semaphore::new(ROOM_KIB)))
    }
}

impl Room {
    /// `value` as JSON.
    ///
    /// # Errors
    /// There is no room for it now.
    pub fn json(&self, value: &impl Serialize) -> Result<Response, Refusal> {
        self.json_within(value, WRITE_TIME_MAX)
    }

    /// The same, to be read within `time`.
    fn json_within(&self, value: &impl Serialize, time: Duration) -> Result<Response, Refusal> {
        // What is shown is plain data, which can always be written as JSON.
        let bytes = Bytes::from(serde_json::to_vec(value).unwrap_or_default());
        self.answer_within("application/json", bytes, time)
    }

    /// `bytes` of this `Content-Type`.
    ///
    /// # Errors
    /// There is no room for them now.
    pub fn answer(&self, kind: &'static str, bytes: Bytes) -> Result<Response, Refusal> {
        self.answer_within(kind, bytes, WRITE_TIME_MAX)
    }

    fn answer_within(
        &self,
        kind: &'static str,
        bytes: Bytes,
        time: Duration,
    ) -> Result<Response, Refusal> {
        let kind = [(header::CONTENT_TYPE, kind)];
        if bytes.len() <= SMALL_BYTES {
            return Ok((kind, bytes).into_response());
        }
        // One that is larger than all room has all of it.
        let kib = (bytes.len() / 1024 + 1).min(ROOM_KIB);
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.0).try_acquire_many_owned(kib);
        let room = room.map_err(|_| {
            Refusal::unavailable("too many large answers wait for their readers")
                .hint("try again; where masters are listed, ask for fewer at a time")
        })?;
        let body = Body::new(Held {
            bytes,
            late: Box::pin(tokio::time::sleep(time)),
            _room: room,
        });
        Ok((kind, body).into_response())
    }
}

/// What is left of an answer. It goes piece by piece: a connection would take all of it at once, read or not.
struct Held {
    bytes: Bytes,
    /// The time for the whole of it is over; the connection's own begins anew with each piece.
    late: Pin<Box<Sleep>>,
    _room: OwnedSemaphorePermit,
}

impl hyper::body::Body for Held {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let held = self.get_mut();
        if held.bytes.is_empty() {
            return Poll::Ready(None);
        }
        if held.late.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        }
        let piece = held.bytes.split_to(held.bytes.len().min(PIECE_BYTES));
        // A copy: a part of the answer would keep the whole of it after its room has been given back.
        let piece = Bytes::copy_from_slice(&piece);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_take_room_until_they_are_read() {
        let room = Room(Arc::new(Semaphore::new(128)));
        let value = "x".repeat(SMALL_BYTES);
        let first = room.json(&value).unwrap();
        let refused = room.json(&value).unwrap_err();
        assert_eq!(refused.status(), 503);
        assert!(room.json(&"small").is_ok());
        let read = axum::body::to_bytes(first.into_body(), usize::MAX).await;
        assert_eq!(read.unwrap().len(), value.len() + 2);
        let second = room.json(&value).unwrap();
        drop(second);
        // Nor does a reader that is too slow keep it.
        let third = room.json_within(&value, Duration::ZERO).unwrap();
        // Its time is over in the same turn of the clock as this one's.
        tokio::time::sleep(Duration::ZERO).await;
        let read = axum::body::to_bytes(third.into_body(), usize::MAX).await;
        assert!(read.is_err());
        assert!(room.json(&value).is_ok());
    }
}
