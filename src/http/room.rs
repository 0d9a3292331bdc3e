//! Answers that may be large, and room for them: how much of them there is at a time is limited, however slowly their
//! readers read.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::reply::Refusal;

/// KiB of answers that wait for their readers.
const ROOM_KIB: usize = 32 * 1024;
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
        // What is shown is plain data, which can always be written as JSON.
        let bytes = Bytes::from(serde_json::to_vec(value).unwrap_or_default());
        let kib = u32::try_from(bytes.len() / 1024 + 1).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.0).try_acquire_many_owned(kib);
        let room = room.map_err(|_| {
            Refusal::unavailable("too many large answers wait for their readers")
                .hint("try again, or ask for fewer masters at a time")
        })?;
        let body = Body::new(Held { bytes, _room: room });
        Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
    }
}

/// What is left of an answer. It goes piece by piece: a connection would take all of it at once, read or not.
struct Held {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl hyper::body::Body for Held {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let rest = &mut self.get_mut().bytes;
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
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

    #[test]
    fn answers_take_room_until_they_are_read() {
        let room = Room(Arc::new(Semaphore::new(64)));
        let value = "x".repeat(40 * 1024);
        let first = room.json(&value).unwrap();
        let refused = room.json(&value).unwrap_err();
        assert_eq!(refused.status(), 503);
        assert!(room.json(&"small").is_ok());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let read = runtime.block_on(axum::body::to_bytes(first.into_body(), usize::MAX));
        assert_eq!(read.unwrap().len(), value.len() + 2);
        assert!(room.json(&value).is_ok());
    }
}
