//! The commands of the data server, one file for each family.

mod absent;
mod admin;
mod args;
mod bitfields;
mod bitmaps;
mod configuration;
mod counters;
mod debug;
mod digest;
mod dump;
mod elements;
mod expiry;
mod geo;
mod geohash;
mod hashes;
mod hyperloglogs;
mod keys;
mod lcs;
mod list_pops;
mod lists;
mod lolwut;
pub(super) mod long_double;
mod memory;
mod messages;
mod migrate;
mod moving;
mod object;
mod observing;
mod partial_sort;
mod persistence;
mod pops;
mod replicas;
mod set_algebra;
mod sets;
mod sort;
mod sorted_set_algebra;
mod sorted_set_pops;
mod sorted_set_ranges;
mod sorted_set_waits;
mod sorted_sets;
mod strings;
pub(super) mod strtod;
pub(crate) mod transactions;

pub(super) use absent::ABSENT;
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
    all.extend(bitmaps::commands());
    all.extend(bitfields::commands());
    all.extend(lcs::commands());
    all.extend(hyperloglogs::commands());
    all.extend(hashes::commands());
    all.extend(sets::commands());
    all.extend(set_algebra::commands());
    all.extend(sort::commands());
    all.extend(keys::commands());
    all.extend(moving::commands());
    all.extend(migrate::commands());
    all.extend(object::commands());
    all.extend(dump::commands());
    all.extend(expiry::commands());
    all.extend(transactions::commands());
    all.extend(messages::commands());
    all.extend(replicas::commands());
    all.extend(persistence::commands());
    all.extend(configuration::commands());
    all.extend(admin::commands());
    all.extend(debug::commands());
    all.extend(observing::commands());
    all.extend(memory::commands());
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Write;

    use super::all;

    /// What the README says of the data server's commands, from their table.
    fn compatibility() -> String {
        let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for command in all() {
            let names = groups.entry(command.info.group).or_default();
            names.push(command.info.name.to_ascii_uppercase());
        }
        let mut page = String::from("| group | commands |\n| --- | --- |\n");
        for (group, mut names) in groups {
            names.sort();
            writeln!(page, "| {group} | {} |", names.join(" ")).unwrap();
        }
        page
    }

    #[test]
    fn the_readme_lists_every_command() {
        crate::readme::check_part("README.md", "commands", &compatibility());
    }
}
