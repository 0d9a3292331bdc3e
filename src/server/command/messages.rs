//! `PUBLISH` and `PUBSUB`; subscribing is the front's.

use crate::front::{Call, Channels, CommandSpec, Reply, flag, glob_match};
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
    Spec::new("pubsub", -2, |_, _, _| {})
        .doc("2.8.0", "pubsub", "Depends on subcommand.", "A container for Pub/Sub commands")
        .subcommands(vec![
            Spec::new("channels", -2, channels).flags(FLAGS).doc(
                "2.8.0",
                "pubsub",
                "O(N) where N is the number of active channels, and assuming constant time pattern matching (relatively short channels and patterns)",
                "List active channels",
            ),
            Spec::new("numsub", -2, numsub).flags(FLAGS).doc(
                "2.8.0",
                "pubsub",
                "O(N) for the NUMSUB subcommand, where N is the number of requested channels",
                "Get the count of subscribers for channels",
            ),
            Spec::new("numpat", 2, |s, _, r| r.count(s.front.pubsub.pattern_count()))
                .flags(FLAGS)
                .doc(
                    "2.8.0",
                    "pubsub",
                    "O(1)",
                    "Get the count of unique patterns pattern subscriptions",
                ),
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

fn channels(server: &mut Server, call: &Call<'_>, reply: &mut Reply) {
    let pattern = call.words.get(2);
    let found: Vec<_> = server
        .front
        .pubsub
        .channels()
        .filter(|name| pattern.is_none_or(|pattern| glob_match(pattern, name)))
        .collect();
    reply.array(found.len());
    for name in found {
        reply.bulk(name);
    }
}

fn numsub(server: &mut Server, call: &Call<'_>, reply: &mut Reply) {
    let names = &call.words[2..];
    reply.array(names.len() * 2);
    for name in names {
        reply.bulk(name);
        reply.count(server.front.pubsub.listeners(name));
    }
}
