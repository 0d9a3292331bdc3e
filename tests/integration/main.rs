//! Tests with real processes: one file per promise, one binary for all.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic as the tests do")]

mod support;

mod a_signal_ends_it_in_good_order;
mod command_line;
mod debian_unit_starts_us;
mod going_back_is_always_possible;
mod harness;
mod replies_equal_redis_sentinel;
mod scripts_inherit_nothing;
mod status;
mod the_log_is_reopened;
mod tls_reaches_real_servers;
mod up;
