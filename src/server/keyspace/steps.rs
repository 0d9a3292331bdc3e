//! What the data structures do, counted in tests, which can so say what something costs without a clock: entries
//! looked up or moved, nodes and sums visited, bytes of listpacks copied.

#[cfg(test)]
thread_local! {
    static TAKEN: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Counts steps; outside of tests nothing.
#[inline]
pub(in crate::server) fn count(steps: usize) {
    #[cfg(test)]
    TAKEN.set(TAKEN.get() + steps);
    #[cfg(not(test))]
    let _ = steps;
}

/// How many steps this takes.
#[cfg(test)]
pub(in crate::server) fn of<R>(act: impl FnOnce() -> R) -> (usize, R) {
    let before = TAKEN.get();
    let result = act();
    (TAKEN.get() - before, result)
}
