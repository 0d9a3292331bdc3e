//! Tests with real processes: one file per promise, one binary for all.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic as the tests do")]

mod aof;
mod cable;
mod data;
mod stream;
mod support;

mod a_master_hands_over;
mod a_restart_knows_everything_again;
mod a_rewrite_holds_everything;
mod a_signal_ends_it_in_good_order;
mod a_simulated_crash_exits_99;
mod a_stopped_sentinel_blames_nobody;
mod append_only;
mod bad_input_from_clients;
mod bad_input_from_instances;
mod bytes_equal_redis_sentinel;
mod clients_follow_a_switch;
mod command_line;
mod debian_unit_starts_us;
mod failover_after_hang;
mod failover_after_kill;
mod failover_after_shutdown;
mod full_disk;
mod going_back_is_always_possible;
mod harness;
mod host_names_are_followed;
mod it_listens_where_it_is_told;
mod links_are_cut_at_random;
mod minority_never_fails_over;
mod mixed_quorum;
mod no_acknowledged_write_is_lost;
mod parallel_syncs;
mod partial_resync_after_reconnect;
mod peers_test_suites;
mod replica_priorities;
mod replicates_with_real_redis;
mod replication_is_reported_as_by_redis;
mod replies_equal_redis;
mod replies_equal_redis_sentinel;
mod scripts_inherit_nothing;
mod server_commands_equal_redis;
mod status;
mod the_data_file_is_exchanged;
mod the_log_is_reopened;
mod tls_reaches_real_servers;
mod up;
