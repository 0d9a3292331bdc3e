//! Tests with real processes: one file per promise, one binary for all.

mod support;

mod harness;
