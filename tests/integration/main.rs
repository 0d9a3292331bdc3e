//! Tests with real processes: one file per promise, one binary for all.

mod support;

mod going_back_is_always_possible;
mod harness;
