//! Waiting for the members with the lowest or the highest scores.

use bytes::Bytes;

use super::args::{Failure, word};
use super::elements::bulk;
use super::sorted_set_pops::{ManyKeys, Side, take};
use super::strings::finish;
use crate::front::{Begin, Call, CommandSpec, Find, KeySpec, Reply, category, flag, key};
use crate::server::Server;
use crate::server::blocking::{Serve, parse_timeout};
use crate::server::keyspace::{Element, SortedSet};

type Spec = CommandSpec<Server>;

const POPPED: u16 = key::RW | key::ACCESS | key::DELETE;
const FLAGS: u32 = flag::WRITE | flag::NOSCRIPT | flag::BLOCKING | flag::FAST;
const KEYS: &[KeySpec] = &[KeySpec::range(1, -2, 1, POPPED)];

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    let per_set = "O(log(N)) with N being the number of elements in the sorted set.";
    vec![
        Spec::new("bzpopmin", -3, |s, c, r| {
            finish(wait(s, c, r, |s, c, key, r| serve_pop(s, c, key, r, Side::Lowest)), r);
        })
        .flags(FLAGS)
        .acl(category::SORTEDSET)
        .keys(KEYS)
        .doc(
            "5.0.0",
            "sorted-set",
            per_set,
            "Remove and return the member with the lowest score from one or more sorted sets, or block until one is available",
        ),
        Spec::new("bzpopmax", -3, |s, c, r| {
            finish(wait(s, c, r, |s, c, key, r| serve_pop(s, c, key, r, Side::Highest)), r);
        })
        .flags(FLAGS)
        .acl(category::SORTEDSET)
        .keys(KEYS)
        .doc(
            "5.0.0",
            "sorted-set",
            per_set,
            "Remove and return the member with the highest score from one or more sorted sets, or block until one is available",
        ),
        Spec::new("bzmpop", -5, |s, c, r| finish(bzmpop(s, c, r), r))
            .flags(flag::WRITE | flag::BLOCKING | flag::MOVABLE_KEYS)
            .acl(category::SORTEDSET)
            .keys([KeySpec {
                begin: Begin::Index(2),
                find: Find::KeyNum {
                    index: 0,
                    first: 1,
                    step: 1,
                },
                flags: POPPED,
            }])
            .doc(
                "7.0.0",
                "sorted-set",
                "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the sorted set, and M being the number of elements popped.",
                "Remove and return members with scores in a sorted set or block until one is available",
            ),
    ]
}

fn wait(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    serve: Serve,
) -> Result<(), Failure> {
    let last = call.words.len() - 1;
    let until = parse_timeout(call, &call.words[last])?;
    if !server.serve_or_wait::<SortedSet>(call, 1..last, until, serve, reply)? {
        reply.null_array();
    }
    Ok(())
}

/// Takes one member; replicas hear the plain pop.
fn serve_pop(
    server: &mut Server,
    call: &Call<'_>,
    key: &Bytes,
    reply: &mut Reply,
    side: Side,
) -> Result<bool, Failure> {
    if server.lookup::<SortedSet>(call, key)?.is_none() {
        return Ok(false);
    }
    let name = match side {
        Side::Lowest => "ZPOPMIN",
        Side::Highest => "ZPOPMAX",
    };
    for (member, score) in take(server, call, key, side, 1) {
        reply.array(3);
        reply.bulk(key);
        bulk(reply, Element::Bytes(&member));
        reply.double(score);
    }
    server.propagate(call, &[word(name), key.clone()]);
    Ok(true)
}

fn bzmpop(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let until = parse_timeout(call, &call.words[1])?;
    let keys = 3..3 + ManyKeys::parse(&call.words[2..])?.keys.len();
    if !server.serve_or_wait::<SortedSet>(call, keys, until, serve_mpop, reply)? {
        reply.null_array();
    }
    Ok(())
}

fn serve_mpop(
    server: &mut Server,
    call: &Call<'_>,
    key: &Bytes,
    reply: &mut Reply,
) -> Result<bool, Failure> {
    let asked = ManyKeys::parse(&call.words[2..])?;
    let keys = std::slice::from_ref(key);
    ManyKeys { keys, ..asked }.take(server, call, reply)
}
