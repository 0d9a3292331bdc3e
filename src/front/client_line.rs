//! A client as one line: `CLIENT LIST`, `CLIENT INFO`, the ACL log.

use super::client::{Client, ClientAddr, ClientKind, Closing};
use super::table::Catalog;
use crate::clock::Mono;
use crate::resp::Protocol;

/// The line without its line feed. Its sizes are those of our own structures: `tot-mem` is smaller, as no buffer is
/// kept for a client that has nothing in it; `qbuf` has the words of an incomplete request in it, `argv-mem` those of
/// the command in which the client waits, `multi-mem` the keys that it watches. Fields that only make sense for the
/// original's memory management (`rbs`, `rbp`) are 0.
pub fn client_line<S>(client: &Client<S>, catalog: &Catalog, now: Mono) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let command = client
        .last_command
        .map_or("NULL", |id| &*catalog.entry(id).full_name);
    let multi = client
        .multi
        .and_then(|queued| i64::try_from(queued).ok())
        .unwrap_or(-1);
    let redirect = match &client.tracking {
        None => -1,
        Some(tracking) => tracking
            .redirect
            .map_or(0, |id| i64::try_from(id.0).unwrap_or(i64::MAX)),
    };
    let (buffered, pieces, listed) = client.output.shown_sizes();
    format!(
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} \
         multi={multi} qbuf={} qbuf-free={} argv-mem={} multi-mem={} rbs=0 rbp=0 obl={buffered} oll={pieces} \
         omem={listed} tot-mem={} events={} cmd={command} user={} redir={redirect} resp={} \
         lib-name={} lib-ver={}",
        client.id,
        client.addr,
        client.laddr,
        client.fd,
        text(&client.name),
        now.since(client.created).as_secs(),
        now.since(client.last_interaction).as_secs(),
        flags(client),
        client.db,
        client.channels.len(),
        client.patterns.len(),
        client.shard_channels.len(),
        client.query_bytes,
        client.query_free_bytes,
        client.waiting_bytes(),
        client.multi_bytes,
        client.memory_bytes(),
        if buffered + listed > 0 { "rw" } else { "r" },
        user(client),
        match client.protocol {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        },
        text(&client.lib_name),
        text(&client.lib_ver),
    )
}

/// The name of its user. Our master is under nobody's rules.
fn user<S>(client: &Client<S>) -> String {
    match client.kind {
        ClientKind::Master => "(superuser)".to_owned(),
        ClientKind::Normal | ClientKind::Replica => {
            String::from_utf8_lossy(client.user.borrow().name()).into_owned()
        }
    }
}

fn flags<S>(client: &Client<S>) -> String {
    let tracking = client.tracking.as_ref();
    let marks = [
        ('S', client.kind == ClientKind::Replica),
        ('O', client.is_monitor),
        ('M', client.kind == ClientKind::Master),
        ('P', client.subscription_count() > 0),
        ('x', client.multi.is_some()),
        ('b', client.blocked.is_some()),
        ('t', tracking.is_some()),
        ('R', tracking.is_some_and(|tracking| tracking.is_broken)),
        ('B', tracking.is_some_and(|tracking| tracking.broadcast)),
        ('d', client.lost_watch),
        ('c', client.closing == Closing::AfterReplies),
        ('A', client.closing == Closing::Now),
        ('U', matches!(client.addr, ClientAddr::Unix(_))),
        ('e', client.no_evict),
    ];
    let text: String = marks
        .iter()
        .filter(|(_, is_set)| *is_set)
        .map(|(mark, _)| mark)
        .collect();
    if text.is_empty() {
        "N".to_owned()
    } else {
        text
    }
}
