//! Replication as commands: `REPLICAOF`, `FAILOVER`, `REPLCONF`, `PSYNC`, `ROLE`, `WAIT`.

use std::sync::Arc;
use std::time::Duration;

use super::args::{Failure, SYNTAX, integer, option};
use super::strings::finish;
use crate::clock::Mono;
use crate::front::{Call, ClientId, ClientKind, CommandSpec, Reply, category, flag};
use crate::ids::ReplOffset;
use crate::resp::{Word, split_words};
use crate::server::Server;

type Spec = CommandSpec<Server>;

/// The longest address that a replica may announce. Bytes.
const ANNOUNCED_IP_BYTES_MAX: usize = 255;

const ROLE_CHANGE: u32 = flag::ADMIN | flag::NOSCRIPT | flag::STALE | flag::NO_ASYNC_LOADING;
const SYNC: u32 = flag::ADMIN | flag::NOSCRIPT | flag::NO_ASYNC_LOADING | flag::NO_MULTI;

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![
    Spec::new("replicaof", 3, |s, c, r| finish(replicaof(s, c, r), r))
        .flags(ROLE_CHANGE)
        .doc(
            "5.0.0",
            "server",
            "O(1)",
            "Make the server a replica of another instance, or promote it as master.",
        ),
    Spec::new("slaveof", 3, |s, c, r| finish(replicaof(s, c, r), r))
        .flags(ROLE_CHANGE)
        .doc(
            "1.0.0",
            "server",
            "O(1)",
            "Make the server a replica of another instance, or promote it as master.",
        ),
    Spec::new("failover", -1, |s, c, r| finish(failover(s, c, r), r))
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::STALE)
        .doc(
            "6.2.0",
            "server",
            "O(1)",
            "Start a coordinated failover between this server and one of its replicas.",
        ),
    Spec::new("replconf", -1, |s, c, r| finish(replconf(s, c, r), r))
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::ALLOW_BUSY)
        .doc(
            "3.0.0",
            "server",
            "O(1)",
            "An internal command for configuring the replication stream",
        ),
    Spec::new("psync", -3, |s, c, r| finish(psync(s, c, r), r))
        .flags(SYNC)
        .doc("2.8.0", "server", "", "Internal command used for replication"),
    Spec::new("sync", 1, |s, c, r| finish(sync(s, c, r), r))
        .flags(SYNC)
        .doc("1.0.0", "server", "", "Internal command used for replication"),
    Spec::new("role", 1, role)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST)
        .acl(category::ADMIN | category::DANGEROUS)
        .doc(
            "2.8.12",
            "server",
            "O(1)",
            "Return the role of the instance in the context of replication",
        ),
    Spec::new("wait", 3, |s, c, r| finish(wait(s, c, r), r))
        .flags(flag::NOSCRIPT)
        .acl(category::CONNECTION)
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .doc(
            "3.0.0",
            "generic",
            "O(1)",
            "Wait for the synchronous replication of all the write commands sent in the context of the current connection",
        ),
]
}

fn replicaof(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    if server.front.clients.current(call.client).kind == ClientKind::Replica {
        return Err("ERR Command is not valid when client is a replica.".into());
    }
    if server.replication.failover.is_some() {
        return Err("ERR REPLICAOF not allowed while failing over.".into());
    }
    let (host, port) = (&call.words[1], &call.words[2]);
    if option(host) == b"no" && option(port) == b"one" {
        server.promote();
        reply.ok();
        return Ok(());
    }
    let port = integer(port)
        .ok()
        .and_then(|port| u16::try_from(port).ok())
        .ok_or("ERR Invalid master port")?;
    let host = std::str::from_utf8(host).map_err(|_| "ERR Invalid master host")?;
    let is_same = server
        .replication
        .link()
        .is_some_and(|link| link.host.eq_ignore_ascii_case(host) && link.port == port);
    if is_same {
        reply.simple("OK Already connected to specified master");
        return Ok(());
    }
    server.replicate_from(Arc::from(host), port, true);
    reply.ok();
    Ok(())
}

/// What `FAILOVER` was asked to do.
#[derive(Default)]
struct FailoverOptions<'a> {
    target: Option<(&'a str, i64)>,
    limit: Option<Duration>,
    is_forced: bool,
}

impl<'a> FailoverOptions<'a> {
    fn parse(words: &'a [Word<'a>]) -> Result<FailoverOptions<'a>, Failure> {
        let mut options = FailoverOptions::default();
        let mut rest = words;
        loop {
            let name = rest.first().map(|word| option(word)).unwrap_or_default();
            rest = match (name.as_slice(), rest) {
                (_, []) => return Ok(options),
                (b"timeout", [_, millis, rest @ ..]) if options.limit.is_none() => {
                    let millis = u64::try_from(integer(millis)?).ok().filter(|n| *n > 0);
                    let millis = millis.ok_or("ERR FAILOVER timeout must be greater than 0")?;
                    options.limit = Some(Duration::from_millis(millis));
                    rest
                }
                (b"to", [_, host, port, rest @ ..]) if options.target.is_none() => {
                    // No replica has a name that is not text.
                    let host = std::str::from_utf8(host).unwrap_or_default();
                    options.target = Some((host, integer(port)?));
                    rest
                }
                (b"force", [_, rest @ ..]) if !options.is_forced => {
                    options.is_forced = true;
                    rest
                }
                _ => return Err(SYNTAX.into()),
            };
        }
    }
}

fn failover(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    if let [word] = call.args()
        && option(word) == b"abort"
    {
        if server.replication.failover.is_none() {
            return Err("ERR No failover in progress.".into());
        }
        server.abort_failover("Failover manually aborted");
        reply.ok();
        return Ok(());
    }
    let options = FailoverOptions::parse(call.args())?;
    if server.replication.failover.is_some() {
        return Err("ERR FAILOVER already in progress.".into());
    }
    if !server.replication.is_master() {
        return Err("ERR FAILOVER is not valid when server is a replica.".into());
    }
    if server.replication.replicas.is_empty() {
        return Err("ERR FAILOVER requires connected replicas.".into());
    }
    if options.is_forced && (options.limit.is_none() || options.target.is_none()) {
        return Err(
            "ERR FAILOVER with force option requires both a timeout and target HOST and IP.".into(),
        );
    }
    let mut target = None;
    if let Some((host, port)) = options.target {
        let port = u16::try_from(port).ok();
        let (id, port) = port
            .and_then(|port| Some((server.replica_at(host, port)?, port)))
            .ok_or("ERR FAILOVER target HOST and PORT is not a replica.")?;
        if !server.feed_mut(id).is_some_and(|feed| feed.is_online()) {
            return Err("ERR FAILOVER target replica is not online.".into());
        }
        target = Some((Arc::from(host), port));
    }
    server.begin_failover(target, options.limit, options.is_forced);
    reply.ok();
    Ok(())
}

fn replconf(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let words = call.args();
    if !words.len().is_multiple_of(2) {
        return Err(SYNTAX.into());
    }
    for pair in words.chunks_exact(2) {
        let (name, value) = (option(&pair[0]), &pair[1]);
        match name.as_slice() {
            b"ack" => {
                if let Ok(offset) = integer(value) {
                    // A redis-server that has come by `SYNC` begins with -1.
                    let offset = u64::try_from(offset).unwrap_or(0);
                    server.acknowledge(call.client, ReplOffset(offset));
                }
                return Ok(());
            }
            b"getack" => return Ok(()),
            b"fack" | b"version" => continue,
            _ => {}
        }
        let introduction = &mut server
            .front
            .clients
            .current(call.client)
            .session
            .introduction;
        match name.as_slice() {
            b"listening-port" => {
                introduction.port = u16::try_from(integer(value)?).unwrap_or(0);
            }
            b"ip-address" if value.len() > ANNOUNCED_IP_BYTES_MAX => {
                return Err(format!(
                    "ERR REPLCONF ip-address provided by replica instance is too long: {} bytes",
                    value.len()
                )
                .into());
            }
            b"ip-address" => introduction.ip = (!value.is_empty()).then(|| value.to_bytes()),
            b"capa" => match option(value).as_slice() {
                b"eof" => introduction.capa_eof = true,
                b"psync2" => introduction.capa_psync2 = true,
                _ => {}
            },
            b"rdb-filter-only" => {
                let filters = split_words(value).ok_or("ERR Missing rdb-filter-only values")?;
                introduction.without_keys = true;
                let unknown = filters.iter().find(|word| option(word) != b"functions");
                if let Some(word) = unknown {
                    let text = Failure::from("ERR Unsupported rdb-filter-only option: ");
                    return Err(text.word(word));
                }
            }
            b"rdb-only" => match integer(value)? {
                flag @ (0 | 1) => introduction.rdb_only = flag == 1,
                _ => return Err("ERR value is out of range, value must between 0 and 1".into()),
            },
            _ => {
                let text = Failure::from("ERR Unrecognized REPLCONF option: ");
                return Err(text.word(&pair[0]));
            }
        }
    }
    reply.ok();
    Ok(())
}

/// Whether a client gets a stream of commands already. What else it asks for in that way is ignored, as
/// redis-server does.
fn has_stream(server: &mut Server, client: ClientId) -> bool {
    let client = server.front.clients.current(client);
    client.session.feed.is_some() || client.is_monitor
}

/// The checks that `PSYNC` and `SYNC` share.
fn check_sync(server: &mut Server, call: &Call<'_>, reply: &Reply) -> Result<(), Failure> {
    let client = server.front.clients.current(call.client);
    let has_pending = !client.output.is_empty() || !reply.is_empty();
    let introduction = client.session.introduction.clone();
    if server.replication.failover.is_some() {
        return Err("NOMASTERLINK Can't SYNC while failing over".into());
    }
    if server.replication.is_link_down() {
        return Err("NOMASTERLINK Can't SYNC while not connected with my master".into());
    }
    if has_pending {
        return Err("ERR SYNC and PSYNC are invalid with pending output".into());
    }
    if introduction.without_keys && !introduction.capa_eof {
        return Err("ERR Filtered replica requires EOF capability".into());
    }
    Ok(())
}

fn psync(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    if has_stream(server, call.client) {
        return Ok(());
    }
    let id = &call.words[1];
    if call
        .words
        .get(3)
        .is_some_and(|word| option(word) == b"failover")
    {
        let history = &server.replication.history;
        if !server.replication.is_master() {
            if !history
                .repl_id()
                .as_str()
                .as_bytes()
                .eq_ignore_ascii_case(id)
            {
                return Err("ERR PSYNC FAILOVER replid must match my replid.".into());
            }
            server.promote();
        } else if !integer(&call.words[2]).is_ok_and(|next| history.branched_off(id, next)) {
            return Err("ERR PSYNC FAILOVER can't be sent to a master.".into());
        }
        // Else it has been promoted by the same request, whose answer was lost: another refusal would have the old
        // master go on as a second one.
    }
    check_sync(server, call, reply)?;
    let offset = integer(&call.words[2])?;
    server.attach_replica(call, reply, Some((id, offset)));
    Ok(())
}

fn sync(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    if !has_stream(server, call.client) {
        check_sync(server, call, reply)?;
        server.attach_replica(call, reply, None);
    }
    Ok(())
}

fn role(server: &mut Server, _: &Call<'_>, reply: &mut Reply) {
    let offset = i64::try_from(server.replication.history.offset().0).unwrap_or(i64::MAX);
    if let Some(link) = server.replication.link() {
        reply.array(5);
        reply.bulk("slave");
        reply.bulk(link.host.as_bytes());
        reply.integer(i64::from(link.port));
        reply.bulk(link.state_name());
        reply.integer(if link.is_up() { offset } else { -1 });
        return;
    }
    reply.array(3);
    reply.bulk("master");
    reply.integer(offset);
    let online: Vec<_> = server
        .feeds()
        .filter(|(_, feed)| feed.is_online())
        .map(|(id, feed)| (server.replica_addr(id), feed.acked))
        .collect();
    reply.array(online.len());
    for ((ip, port), acked) in online {
        reply.array(3);
        reply.bulk(ip);
        reply.bulk(port.to_string());
        reply.bulk(acked.to_string());
    }
}

fn wait(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    if !server.replication.is_master() {
        return Err("ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated.".into());
    }
    let wanted = integer(&call.words[1])?;
    let millis =
        integer(&call.words[2]).map_err(|_| "ERR timeout is not an integer or out of range")?;
    let millis = u64::try_from(millis).map_err(|_| "ERR timeout is negative")?;
    let offset = server.front.clients.current(call.client).session.seen;
    let count = server.replicas_at(offset);
    if count >= wanted || server.in_exec {
        reply.integer(count);
        return Ok(());
    }
    let until = match millis {
        0 => Mono::NEVER,
        millis => call.now.mono + Duration::from_millis(millis),
    };
    // A further `WAIT` need not wait until what asks for acknowledgements is acknowledged.
    server.end_unit();
    server.wait_for_replicas(call.client, offset, wanted, until);
    Ok(())
}

impl Server {
    /// The address under which a replica is shown: what it announced, else where it came from.
    pub(crate) fn replica_addr(&self, id: crate::front::ClientId) -> (String, u16) {
        let Some(client) = self.front.clients.get(id) else {
            return (String::new(), 0);
        };
        let introduction = &client.session.introduction;
        let ip = match &introduction.ip {
            Some(ip) => String::from_utf8_lossy(ip).into_owned(),
            None => match &client.addr {
                crate::front::ClientAddr::Tcp(addr) => addr.ip().to_canonical().to_string(),
                crate::front::ClientAddr::Unix(path) => path.to_string(),
            },
        };
        (ip, introduction.port)
    }
}
