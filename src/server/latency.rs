//! The events that took long, for `LATENCY`: the newest of each kind, one for each second.

use std::collections::{BTreeMap, VecDeque};

/// Samples of one kind that are kept.
const SAMPLES_MAX: usize = 160;

/// What is known about one kind of event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    /// Unix seconds and milliseconds, oldest first.
    samples: VecDeque<(u64, u64)>,
    /// The longest ever. Milliseconds.
    pub(crate) max: u64,
}

impl Series {
    /// The samples, oldest first: Unix seconds and milliseconds.
    pub(crate) fn samples(&self) -> impl ExactSizeIterator<Item = (u64, u64)> {
        self.samples.iter().copied()
    }

    /// The newest.
    pub(crate) fn last(&self) -> Option<(u64, u64)> {
        self.samples.back().copied()
    }
}

/// All kinds of events that took long.
#[derive(Debug, Default)]
pub(crate) struct Latencies(BTreeMap<&'static str, Series>);

impl Latencies {
    /// Adds an event. Of several in one second only the longest is kept.
    pub(crate) fn add(&mut self, event: &'static str, at: u64, millis: u64) {
        let series = self.0.entry(event).or_default();
        series.max = series.max.max(millis);
        if let Some((last, longest)) = series.samples.back_mut()
            && *last == at
        {
            *longest = millis.max(*longest);
            return;
        }
        if series.samples.len() == SAMPLES_MAX {
            series.samples.pop_front();
        }
        series.samples.push_back((at, millis));
    }

    /// The kinds by name.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&'static str, &Series)> {
        self.0.iter().map(|(event, series)| (*event, series))
    }

    /// One kind.
    pub(crate) fn get(&self, event: &[u8]) -> Option<&Series> {
        self.0.get(std::str::from_utf8(event).ok()?)
    }

    /// Forgets one kind; false when there is none.
    pub(crate) fn forget(&mut self, event: &[u8]) -> bool {
        let name = std::str::from_utf8(event).unwrap_or_default();
        self.0.remove(name).is_some()
    }

    /// Forgets all; tells how many.
    pub(crate) fn clear(&mut self) -> usize {
        std::mem::take(&mut self.0).len()
    }
}
