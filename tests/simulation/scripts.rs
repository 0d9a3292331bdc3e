//! One test per golden-trace script. A name that begins with `w` and a number is about that weakness of
//! redis-sentinel.

macro_rules! scripts {
    ($($name:ident,)*) => {
        $(
            #[test]
            fn $name() {
                crate::script::check(stringify!($name));
            }
        )*

        #[test]
        fn every_script_has_a_test() {
            let mut tests = vec![$(stringify!($name).to_owned(),)*];
            tests.sort();
            assert_eq!(tests, crate::script::names());
        }
    };
}

scripts! {
    a_minority_never_fails_over,
    a_pause_outlives_a_restart_and_ends_by_itself,
    a_paused_quorum_fails_over_on_order_alone,
    a_raised_config_epoch_waits_for_the_disk,
    an_event_that_was_held_back_through_a_stall,
    an_observer_says_what_it_would_do_and_does_nothing,
    an_order_after_a_reset_does_not_lead_alone,
    convert_to_slave,
    crash_failover,
    fix_slave_config,
    hang_failover,
    mixed_quorum_ours_leads,
    mixed_quorum_theirs_leads,
    reboot_rule,
    split_vote,
    w01_w02_a_failover_takes_round_trips,
    w03_the_new_master_is_judged_afresh,
    w04_a_master_that_is_back_keeps_its_place,
    w05_a_leader_that_dies_is_replaced_soon,
    w06_ten_masters_that_die_together,
    w07_a_leader_that_dies_after_the_promotion,
    w08_the_promoted_replica_dies_in_reconfiguration,
    w10_an_ordered_failover_asks_for_votes,
    w12_an_address_of_no_use_changes_nothing,
    w13_absurd_epochs_are_refused,
    w14_ghosts_are_reported,
    w15_a_slow_disk_blocks_nothing,
    w16_who_cannot_write_does_not_lead,
    w16_who_cannot_write_does_not_vote,
    w18_tilt_is_for_stalls_not_for_clocks,
    w19_a_hang_is_agreed_on_at_once,
    w22_a_hung_server_is_not_flooded,
    w24_many_switches_at_once,
    w25_closed_and_then_refused,
    w26_refused_credentials_are_not_death,
    w27_strangers_are_not_promoted,
    w28_fresh_info_at_selection,
    w29_a_reset_is_kept,
    w30_two_names_for_one_master,
}
