//! What the sentinels of a set have published.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Client, Topology, texts};

/// One published event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Which sentinel of the set published it.
    pub(crate) sentinel: usize,
    /// Its name.
    pub(crate) channel: String,
    /// Its payload.
    pub(crate) payload: String,
}

/// A subscription at every sentinel of a set that runs. It ends at a sentinel when that ends.
pub(crate) struct Watch {
    events: Arc<Mutex<Vec<Event>>>,
}

impl Watch {
    /// Subscribes to `channels`; returns when every sentinel has confirmed it.
    pub(crate) fn of(set: &Topology, channels: &[&str]) -> Watch {
        /// Longer than any test: a silent subscription is no fault.
        const SILENCE_MAX: Duration = Duration::from_secs(3600);
        let events = Arc::new(Mutex::new(Vec::new()));
        for (sentinel, node) in set.sentinels.iter().enumerate() {
            let Ok(mut client) = Client::try_to_within(node.port(), SILENCE_MAX) else {
                continue;
            };
            for channel in channels {
                let reply = client.call(&["SUBSCRIBE", channel]);
                assert_eq!(texts(&reply)[..2], ["subscribe", *channel]);
            }
            let events = Arc::clone(&events);
            std::thread::spawn(move || {
                while let Ok(message) = client.receive() {
                    if let [_, channel, payload] = &texts(&message)[..] {
                        let mut events = events.lock().unwrap_or_else(PoisonError::into_inner);
                        events.push(Event {
                            sentinel,
                            channel: channel.clone(),
                            payload: payload.clone(),
                        });
                    }
                }
            });
        }
        Watch { events }
    }

    /// All events so far, in the order in which they came.
    pub(crate) fn seen(&self) -> Vec<Event> {
        self.events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
