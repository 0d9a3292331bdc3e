//! Published events as a stream (server-sent events) that can be taken up again where it broke off.
//!
//! The last events are kept in a ring. A reader is a place in it and nothing more: one that falls so far
//! behind that its place is gone loses its connection, comes back with `Last-Event-ID`, and is told that it
//! has missed something.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{self, KeepAlive};
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use utoipa::{IntoParams, ToSchema};

use super::Stop;
use super::reply::{Problem, Query, Refusal};
use crate::ids::RunId;
use crate::sentinel::core::Level;
use crate::sentinel::surface::Published;

/// Events that are kept for readers that are behind, or come back.
const EVENTS_KEPT: usize = 1024;
/// Readers at a time.
const READERS_MAX: usize = 64;
/// A comment is sent after so long without an event, so that whoever is gone is noticed.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// How many characters of the run id stand in the id of an event.
const RUN_CHARS: usize = 8;

/// An event as JSON.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EventData {
    /// Its place in the order of events of this run of the sentinel.
    #[schema(example = 17)]
    pub number: u64,
    /// When it was published: milliseconds since the Unix epoch.
    #[schema(example = 1_764_320_000_000_u64)]
    pub at_ms: u64,
    /// The channel it was published on.
    #[schema(example = "+switch-master")]
    pub event: String,
    /// How important it is: `warning`, `notice` or `verbose`.
    #[schema(example = "warning")]
    pub level: &'static str,
    /// The master it is about, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "mymaster")]
    pub master: Option<String>,
    /// The payload, exactly as published.
    #[schema(example = "mymaster 127.0.0.1 6379 127.0.0.1 6380")]
    pub payload: String,
}

impl From<&Published> for EventData {
    fn from(published: &Published) -> EventData {
        let event = &published.event;
        EventData {
            number: published.number,
            at_ms: published.at.0,
            event: event.kind.channel().to_owned(),
            level: match event.kind.level() {
                Level::Warning => "warning",
                Level::Notice => "notice",
                Level::Verbose => "verbose",
                Level::Debug => "debug",
            },
            master: event.master.as_ref().map(ToString::to_string),
            payload: event.payload.clone(),
        }
    }
}

/// The last events, and who reads them.
#[derive(Debug)]
pub struct Ring {
    run: String,
    kept: Mutex<Kept>,
    newest: watch::Sender<u64>,
    readers: Arc<Semaphore>,
    stop: Stop,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Entry>,
    /// The number of the last event.
    newest: u64,
}

/// An event, rendered once for all readers.
#[derive(Clone, Debug)]
struct Entry {
    number: u64,
    json: Arc<str>,
}

/// What a reader finds at its place.
#[derive(Debug)]
enum Found {
    Event(Entry),
    /// Nothing has come since.
    End,
    /// The next one that there is; those between never came here.
    Hole(u64),
    /// The place is gone: what follows it is no longer kept.
    Gone,
}

impl Kept {
    fn push(&mut self, number: u64, json: Arc<str>) {
        if self.events.len() >= EVENTS_KEPT {
            self.events.pop_front();
        }
        self.events.push_back(Entry { number, json });
        self.newest = number;
    }

    /// The first event after `last`.
    fn after(&self, last: u64) -> Found {
        let at = self.events.partition_point(|entry| entry.number <= last);
        match self.events.get(at) {
            None => Found::End,
            Some(entry) if entry.number == last + 1 => Found::Event(entry.clone()),
            Some(_) if at == 0 => Found::Gone,
            Some(entry) => Found::Hole(entry.number),
        }
    }

    /// The number before the first of the last `count` events.
    fn before_last(&self, count: usize) -> u64 {
        let at = self.events.len().saturating_sub(count);
        self.events
            .get(at)
            .map_or(self.newest, |entry| entry.number - 1)
    }
}

/// From where on a reader wants to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    /// What follows this event.
    After(u64),
    /// All that is kept, behind a word that something is missing.
    Anew,
}

impl Ring {
    /// An empty ring of this run of the process.
    pub fn new(run_id: &RunId, stop: Stop) -> Ring {
        Ring {
            run: run_id.as_str().chars().take(RUN_CHARS).collect(),
            kept: Mutex::default(),
            newest: watch::Sender::new(0),
            readers: Arc::new(Semaphore::new(READERS_MAX)),
            stop,
        }
    }

    /// Takes over what the loop publishes, for as long as it does.
    pub async fn fill(self: Arc<Ring>, mut events: mpsc::Receiver<Published>) {
        while let Some(published) = events.recv().await {
            self.push(&published);
        }
    }

    fn push(&self, published: &Published) {
        let data = EventData::from(published);
        // Plain strings and numbers always become JSON.
        let json = serde_json::to_string(&data).unwrap_or_default();
        self.kept().push(published.number, Arc::from(json));
        self.newest.send_replace(published.number);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a reader takes up: behind the event that it names, behind all but the last few, or at the end.
    fn start(&self, last_id: Option<&str>, tail: Option<usize>) -> Begin {
        let kept = self.kept();
        let Some(last_id) = last_id else {
            return Begin::After(kept.before_last(tail.unwrap_or(0)));
        };
        let number = last_id
            .split_once('-')
            .filter(|(run, _)| *run == self.run)
            .and_then(|(_, number)| number.parse().ok());
        match number {
            Some(number) if number <= kept.newest => match kept.after(number) {
                Found::Event(_) | Found::Hole(_) | Found::End => Begin::After(number),
                Found::Gone => Begin::Anew,
            },
            Some(_) | None => Begin::Anew,
        }
    }

    fn sent(&self, entry: &Entry) -> sse::Event {
        let id = format!("{}-{}", self.run, entry.number);
        sse::Event::default().id(id).data(&*entry.json)
    }
}

/// A place in the ring.
struct Reader {
    ring: Arc<Ring>,
    last: u64,
    is_reset_due: bool,
    newest: watch::Receiver<u64>,
    stop: Stop,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    fn new(ring: &Arc<Ring>, from: Begin, place: OwnedSemaphorePermit) -> Reader {
        let (last, is_reset_due) = match from {
            Begin::After(number) => (number, false),
            Begin::Anew => (ring.kept().before_last(EVENTS_KEPT), true),
        };
        Reader {
            last,
            is_reset_due,
            newest: ring.newest.subscribe(),
            stop: ring.stop.clone(),
            ring: Arc::clone(ring),
            _place: place,
        }
    }

    /// The next event; `None` ends the stream.
    async fn next(&mut self) -> Option<sse::Event> {
        if std::mem::take(&mut self.is_reset_due) {
            return Some(reset());
        }
        loop {
            let found = self.ring.kept().after(self.last);
            match found {
                Found::Event(entry) => {
                    self.last = entry.number;
                    return Some(self.ring.sent(&entry));
                }
                Found::Hole(next) => {
                    self.last = next - 1;
                    return Some(reset());
                }
                Found::Gone => return None,
                Found::End => tokio::select! {
                    changed = self.newest.changed() => changed.ok()?,
                    () = self.stop.wait() => return None,
                },
            }
        }
    }

    fn stream(self) -> impl Stream<Item = Result<sse::Event, Infallible>> {
        stream::unfold(self, |mut reader| async {
            let event = reader.next().await?;
            Some((Ok(event), reader))
        })
    }
}

/// Tells that something is missing before what follows.
fn reset() -> sse::Event {
    sse::Event::default().event("reset").data("{}")
}

/// Where to begin.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Begin with this many of the last events, as far as they are kept.
    #[param(minimum = 0, maximum = 1024)]
    tail: Option<u16>,
}

/// Events as they are published
///
/// A stream of server-sent events whose data are JSON objects (`EventData`). With the header
/// `Last-Event-ID` it goes on behind that event. Where something is missing between them, because it is no
/// longer kept or because the sentinel was started again, an event of type `reset` comes first, and then all
/// that is kept. Who reads too slowly is disconnected and can come back the same way.
#[utoipa::path(
    get,
    path = "/events",
    tag = "events",
    params(
        EventsQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was read"),
    ),
    responses(
        (status = 200, description = "The stream; it has no end", body = EventData, content_type = "text/event-stream"),
        (status = 400, description = "A parameter makes no sense", body = Problem),
        (status = 503, description = "There are too many readers", body = Problem),
    )
)]
pub(super) async fn events(
    State(ring): State<Arc<Ring>>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Refusal> {
    let tail = query.tail.map(usize::from);
    if tail.is_some_and(|tail| tail > EVENTS_KEPT) {
        return Err(Refusal::bad(format!("tail must be 0 to {EVENTS_KEPT}")));
    }
    let place = Arc::clone(&ring.readers).try_acquire_owned();
    let place = place.map_err(|_| {
        Refusal::unavailable(format!("{READERS_MAX} readers are the most at a time"))
            .hint("close another stream, or ask another sentinel")
    })?;
    let last_id = headers
        .get("last-event-id")
        .map(|id| id.to_str().unwrap_or_default());
    let from = ring.start(last_id, tail);
    let reader = Reader::new(&ring, from, place);
    Ok(Sse::new(reader.stream()).keep_alive(KeepAlive::new().interval(SILENCE_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixMillis;
    use crate::sentinel::core::{Event, EventKind};

    fn ring() -> (Arc<Ring>, watch::Sender<bool>) {
        let (sender, stop) = Stop::new();
        let run = RunId::from("0123456789abcdef");
        (Arc::new(Ring::new(&run, stop)), sender)
    }

    fn publish(ring: &Ring, number: u64) {
        ring.push(&Published {
            number,
            at: UnixMillis(5),
            event: Event {
                kind: EventKind::Sdown,
                payload: format!("master m{number}"),
                master: None,
            },
        });
    }

    fn reader(ring: &Arc<Ring>, from: Begin) -> Reader {
        let place = Arc::clone(&ring.readers).try_acquire_owned().unwrap();
        Reader::new(ring, from, place)
    }

    fn on_loop<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test)
    }

    #[test]
    fn a_reader_takes_up_where_it_left() {
        let (ring, _sender) = ring();
        for number in 1..=3 {
            publish(&ring, number);
        }
        assert_eq!(ring.start(None, None), Begin::After(3));
        assert_eq!(ring.start(None, Some(2)), Begin::After(1));
        assert_eq!(ring.start(Some("01234567-1"), None), Begin::After(1));
        assert_eq!(ring.start(Some("01234567-3"), None), Begin::After(3));
        for unknown in ["01234567-4", "76543210-1", "1", "01234567-x", ""] {
            assert_eq!(ring.start(Some(unknown), None), Begin::Anew, "{unknown}");
        }
        on_loop(async {
            let mut reader = reader(&ring, Begin::After(1));
            let text = format!("{:?}", reader.next().await.unwrap());
            assert!(text.contains("01234567-2"), "{text}");
            assert_eq!(reader.last, 2);
        });
    }

    #[test]
    fn who_falls_behind_is_cut_off_and_told_so() {
        let (ring, _sender) = ring();
        publish(&ring, 1);
        let mut slow = reader(&ring, Begin::After(0));
        for number in 2..=EVENTS_KEPT as u64 + 2 {
            publish(&ring, number);
        }
        assert_eq!(ring.kept().events.len(), EVENTS_KEPT);
        on_loop(async {
            assert!(slow.next().await.is_none(), "its place is gone");
            let from = ring.start(Some("01234567-1"), None);
            assert_eq!(from, Begin::Anew);
            let mut again = reader(&ring, from);
            let text = format!("{:?}", again.next().await.unwrap());
            assert!(text.contains("reset"), "{text}");
            drop(again.next().await.unwrap());
            assert_eq!(again.last, 3, "all that is kept follows");
        });
    }

    #[test]
    fn an_event_that_never_came_is_told_of() {
        let (ring, _sender) = ring();
        publish(&ring, 1);
        publish(&ring, 3);
        on_loop(async {
            let mut reader = reader(&ring, ring.start(Some("01234567-1"), None));
            let text = format!("{:?}", reader.next().await.unwrap());
            assert!(text.contains("reset"), "{text}");
            drop(reader.next().await.unwrap());
            assert_eq!(reader.last, 3);
        });
    }

    #[test]
    fn the_end_of_the_process_ends_the_stream() {
        let (ring, sender) = ring();
        sender.send_replace(true);
        on_loop(async { assert!(reader(&ring, Begin::After(0)).next().await.is_none()) });
    }
}
