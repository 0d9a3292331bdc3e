//! Waiting for the members with the lowest or the highest scores.

use super::args::Failure;
use super::elements::bulk;
use super::pops::{POPPED, numbered, pop_many_or_wait, pop_or_wait};
use super::sorted_set_pops::{PER_KEY_AND_MEMBER, Side, take};
use super::strings::finish;
use crate::front::{Call, CommandSpec, Handler, KeySpec, Reply, category, flag};
use crate::server::Server;
use crate::server::keyspace::{Element, SortedSet};

type Spec = CommandSpec<Server>;

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    let pop = |name, handler: Handler<Server>, summary| {
        Spec::new(name, -3, handler)
            .flags(flag::WRITE | flag::NOSCRIPT | flag::BLOCKING | flag::FAST)
            .acl(category::SORTEDSET)
            .keys([KeySpec::range(1, -2, 1, POPPED)])
            .doc(
                "5.0.0",
                "sorted-set",
                "O(log(N)) with N being the number of elements in the sorted set.",
                summary,
            )
    };
    vec![
        pop(
            "bzpopmin",
            |s, c, r| {
                finish(
                    pop_or_wait::<SortedSet>(s, c, r, |s, c, key, r| {
                        serve_pop(s, c, key, r, Side::Lowest)
                    }),
                    r,
                );
            },
            "Remove and return the member with the lowest score from one or more sorted sets, or block until one is available",
        ),
        pop(
            "bzpopmax",
            |s, c, r| {
                finish(
                    pop_or_wait::<SortedSet>(s, c, r, |s, c, key, r| {
                        serve_pop(s, c, key, r, Side::Highest)
                    }),
                    r,
                );
            },
            "Remove and return the member with the highest score from one or more sorted sets, or block until one is available",
        ),
        Spec::new("bzmpop", -5, |s, c, r| {
            finish(pop_many_or_wait::<SortedSet>(s, c, r), r)
        })
        .flags(flag::WRITE | flag::BLOCKING | flag::MOVABLE_KEYS)
        .acl(category::SORTEDSET)
        .keys(numbered(2))
        .doc(
            "7.0.0",
            "sorted-set",
            PER_KEY_AND_MEMBER,
            "Remove and return members with scores in a sorted set or block until one is available",
        ),
    ]
}

/// Takes one member; replicas hear the plain pop.
fn serve_pop(
    server: &mut Server,
    call: &Call<'_>,
    key: &[u8],
    reply: &mut Reply,
    side: Side,
) -> Result<bool, Failure> {
    if server.lookup::<SortedSet>(call, key)?.is_none() {
        return Ok(false);
    }
    for (member, score) in take(server, call, key, side, 1) {
        reply.array(3);
        reply.bulk(key);
        bulk(reply, Element::Bytes(&member));
        reply.double(score);
    }
    server.propagate(call, &[side.pop_word(), key.into()]);
    Ok(true)
}
