//! The commands of the data server, one file for each family.

mod admin;
mod args;
mod configuration;
mod counters;
mod digest;
mod expiry;
mod geo;
mod geohash;
mod keys;
mod list_pops;
mod lists;
mod long_double;
mod memory;
mod messages;
mod observing;
mod persistence;
mod replicas;
mod sort;
mod sorted_set_algebra;
mod sorted_set_pops;
mod sorted_set_ranges;
mod sorted_set_waits;
mod sorted_sets;
mod strings;
mod strtod;
pub(crate) mod transactions;

pub(crate) use args::Failure;

use super::Server;
use crate::front::{
    CommandSpec, acl_commands, client_commands, command_commands, connection_commands,
    shard_subscription_commands, subscription_commands, tracking_subcommands,
};

/// Every command: those of the front and our own.
pub(super) fn all() -> Vec<CommandSpec<Server>> {
    let mut all = Vec::from(connection_commands());
    all.extend(subscription_commands());
    all.extend(shard_subscription_commands());
    all.extend(client_commands(tracking_subcommands()));
    all.extend(command_commands());
    all.extend(acl_commands());
    all.extend(strings::commands());
    all.extend(counters::commands());
    all.extend(lists::commands());
    all.extend(list_pops::commands());
    all.extend(sorted_sets::commands());
    all.extend(sorted_set_ranges::commands());
    all.extend(sorted_set_pops::commands());
    all.extend(sorted_set_waits::commands());
    all.extend(sorted_set_algebra::commands());
    all.extend(geo::commands());
    all.extend(sort::commands());
    all.extend(keys::commands());
    all.extend(expiry::commands());
    all.extend(transactions::commands());
    all.extend(messages::commands());
    all.extend(replicas::commands());
    all.extend(persistence::commands());
    all.extend(configuration::commands());
    all.extend(admin::commands());
    all.extend(observing::commands());
    all.extend(memory::commands());
    all
}
