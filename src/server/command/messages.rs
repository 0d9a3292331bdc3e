//! `PUBLISH` and `PUBSUB`; subscribing is the front's.

use super::args::Failure;
use super::strings::finish;
use crate::front::{
    Call, Channels, CommandSpec, KeySpec, Reply, SubscriptionKind as Kind, flag, glob_match, key,
};
use crate::server::Server;

type Spec = CommandSpec<Server>;

const FLAGS: u32 = flag::PUBSUB | flag::LOADING | flag::STALE;

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![
    Spec::new("publish", 3, publish)
        .flags(FLAGS | flag::FAST | flag::MAY_REPLICATE)
        .channels(Channels::Publish)
        .doc(
            "2.0.0",
            "pubsub",
            "O(N+M) where N is the number of clients subscribed to the receiving channel and M is the total number of subscribed patterns (by any client).",
            "Post a message to a channel",
        ),
    Spec::new("spublish", 3, spublish)
        .flags(FLAGS | flag::FAST | flag::MAY_REPLICATE)
        .keys([KeySpec::one(1, key::NOT_KEY)])
        .channels(Channels::Publish)
        .doc(
            "7.0.0",
            "pubsub",
            "O(N) where N is the number of clients subscribed to the receiving shard channel.",
            "Post a message to a shard channel",
        ),
    Spec::new("pubsub", -2, |_, _, _| {})
        .doc("2.8.0", "pubsub", "Depends on subcommand.", "A container for Pub/Sub commands")
        .subcommands(vec![
            Spec::new("channels", -2, |s, c, r| finish(channels(s, c, r, Kind::Channel), r)).flags(FLAGS).doc(
                "2.8.0",
                "pubsub",
                "O(N) where N is the number of active channels, and assuming constant time pattern matching (relatively short channels and patterns)",
                "List active channels",
            ),
            Spec::new("numsub", -2, |s, c, r| numsub(s, c, r, Kind::Channel)).flags(FLAGS).doc(
                "2.8.0",
                "pubsub",
                "O(N) for the NUMSUB subcommand, where N is the number of requested channels",
                "Get the count of subscribers for channels",
            ),
            Spec::new("numpat", 2, |s, _, r| r.count(s.front.pubsub.name_count(Kind::Pattern)))
                .flags(FLAGS)
                .doc(
                    "2.8.0",
                    "pubsub",
                    "O(1)",
                    "Get the count of unique patterns pattern subscriptions",
                ),
            Spec::new("shardchannels", -2, |s, c, r| finish(channels(s, c, r, Kind::Shard), r))
                .flags(FLAGS)
                .doc(
                    "7.0.0",
                    "pubsub",
                    "O(N) where N is the number of active shard channels, and assuming constant time pattern matching (relatively short shard channels).",
                    "List active shard channels",
                ),
            Spec::new("shardnumsub", -2, |s, c, r| numsub(s, c, r, Kind::Shard))
                .flags(FLAGS)
                .doc(
                    "7.0.0",
                    "pubsub",
                    "O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard channels",
                    "Get the count of subscribers for shard channels",
                ),
            Spec::new("help", 2, |_, _, r| super::admin::help(r, HELP))
                .flags(flag::LOADING | flag::STALE)
                .doc("6.2.0", "pubsub", "O(1)", "Show helpful text about the different subcommands"),
        ]),
]
}

fn publish(server: &mut Server, call: &Call<'_>, reply: &mut Reply) {
    let receivers = server
        .front
        .publish(&call.words[1], &call.words[2], call.now.mono);
    server.propagate_message(call, call.words);
    reply.count(receivers);
}

fn spublish(server: &mut Server, call: &Call<'_>, reply: &mut Reply) {
    let front = &mut server.front;
    let (channel, message) = (&call.words[1], &call.words[2]);
    let receivers =
        front
            .pubsub
            .publish_to_shard(&mut front.clients, channel, message, call.now.mono);
    server.propagate_message(call, call.words);
    reply.count(receivers);
}

fn channels(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    kind: Kind,
) -> Result<(), Failure> {
    if call.words.len() > 3 {
        return Err(super::admin::unknown_subcommand(call, "PUBSUB"));
    }
    let pattern = call.words.get(2);
    let found: Vec<_> = server
        .front
        .pubsub
        .names(kind)
        .filter(|name| pattern.is_none_or(|pattern| glob_match(pattern, name)))
        .collect();
    reply.counts_whole();
    reply.array(found.len());
    for name in found {
        reply.bulk(name);
    }
    Ok(())
}

fn numsub(server: &mut Server, call: &Call<'_>, reply: &mut Reply, kind: Kind) {
    let names = &call.words[2..];
    reply.array(names.len() * 2);
    for name in names {
        reply.bulk(name);
        reply.count(server.front.pubsub.listeners(name, kind));
    }
}

const HELP: &[&str] = &[
    "PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CHANNELS [<pattern>]",
    "    Name the channels that somebody listens to.",
    "NUMPAT",
    "    Tell how many patterns somebody listens to.",
    "NUMSUB [<channel> ...]",
    "    Tell how many listen to these channels, patterns not counted.",
    "SHARDCHANNELS [<pattern>]",
    "    Name the shard channels that somebody listens to.",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    Tell how many listen to these shard channels.",
    "HELP",
    "    Prints this help.",
];
